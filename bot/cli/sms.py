"""`bot sms`: picks up the texts that a webhook missed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog
import typer

from bot.cli.board import Board, assemble
from bot.cli.waiting import be_off, stop_event
from bot.core.protocols import DeliveryError, StoreUnavailable
from bot.logs import set_up_logging
from bot.runtime.private_server import reachable_redis
from bot.settings import load_settings

logger = structlog.get_logger(__name__)

POLL_SECONDS = 60.0
_BACK = timedelta(days=2)
"""How far back is looked; a text that was taken is known by its id for three days."""


def sms(context: typer.Context) -> None:
    """Look into Twilio's message list every minute, for texts that came in while the web process was away.

    What the webhook has delivered is known by its id and passed over. One of these is enough.
    """
    settings = load_settings()
    set_up_logging(settings.log_level, process="sms")
    if not settings.sms_is_on:
        be_off("sms_is_off", "set TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN, TWILIO_FROM_NUMBER and PUBLIC_URL")
        return
    with reachable_redis(settings.redis_url, settings.data_dir) as url:
        asyncio.run(_watch(assemble(context, settings, url)))


async def _watch(board: Board) -> None:
    stop = stop_event()
    try:
        while not stop.is_set():
            await pick_up(board)
            try:
                await asyncio.wait_for(stop.wait(), POLL_SECONDS)
            except TimeoutError:
                continue
    finally:
        await board.close()


async def pick_up(board: Board) -> int:
    """Take in every recent text that is not known yet. Gives how many were new."""
    desk, channel = board.desks.sms, board.channels.sms
    if desk is None or channel is None:
        return 0
    new = 0
    try:
        texts = await channel.recent_inbound(board.clock.now() - _BACK)
        for place, text in enumerate(texts):
            if text.opt == "stop" and any(one.opt == "start" and one.number == text.number for one in texts[place:]):
                continue  # they have come back since
            new += await desk.text(text) != "duplicate"
    except (DeliveryError, StoreUnavailable) as error:
        logger.warning("texts_not_read", error=str(error))
    if new:
        logger.info("texts_picked_up", number=new)
    return new
