"""`bot imap` and `bot smtp`: the ways in for mail that are processes of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

import structlog
import typer

from bot.cli.board import Board, assemble
from bot.cli.waiting import be_off, stop_event
from bot.desks.email import EmailDesk
from bot.logs import set_up_logging
from bot.runtime.private_server import reachable_redis
from bot.settings import Settings, SettingsError, load_settings
from channels.email.client.imap import ImapMailbox, ImapPlace
from channels.email.listener import MailListener

logger = structlog.get_logger(__name__)

Reading = Callable[[EmailDesk, asyncio.Event], Awaitable[None]]
"""Takes mail in until the event is set."""


def imap(context: typer.Context) -> None:
    """Read the mailbox at IMAP_HOST. What is unseen is taken and then marked as seen; nothing is deleted.

    One of these is enough. The mailbox keeps what comes in while it is away.
    """
    settings = load_settings()

    async def read(desk: EmailDesk, stop: asyncio.Event) -> None:
        await ImapMailbox(imap_place(settings), desk.take).run(stop)

    hint = "set EMAIL_ADDRESS, SMTP_HOST, IMAP_HOST, IMAP_USERNAME, and IMAP_PASSWORD or IMAP_ACCESS_TOKEN"
    _run(context, settings, "imap", "" if settings.imap_is_on else hint, read)


def smtp(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 2525,
) -> None:
    """Listen for mail to EMAIL_ADDRESS that a mail server in front hands over by SMTP. No login, no TLS, no relay."""
    settings = load_settings()

    async def listen(desk: EmailDesk, stop: asyncio.Event) -> None:
        listener = MailListener(desk.take, settings.email_address, host=host, port=port)
        try:
            await listener.start()
        except OSError as error:
            raise SettingsError(f"--host, --port: {host}:{port} cannot be listened on; choose another") from error
        logger.info("smtp_listens", host=host, port=port)
        try:
            await stop.wait()
        finally:
            await listener.close()

    hint = "" if settings.email_is_on else "set EMAIL_ADDRESS and SMTP_HOST"
    _run(context, settings, "smtp", hint, listen)


def imap_place(settings: Settings) -> ImapPlace:
    """The mailbox of the settings."""
    return ImapPlace(
        host=settings.imap_host,
        port=settings.imap_port,
        username=settings.imap_username,
        password=settings.imap_password.get_secret_value(),
        access_token=settings.imap_access_token.get_secret_value(),
        tls=settings.imap_tls,
    )


def _run(context: typer.Context, settings: Settings, process: str, hint: str, reading: Reading) -> None:
    set_up_logging(settings.log_level, process=process)
    if hint:
        be_off(f"{process}_is_off", hint)
        return
    with reachable_redis(settings.redis_url, settings.data_dir) as url:
        asyncio.run(_take_in(assemble(context, settings, url), reading))


async def _take_in(board: Board, reading: Reading) -> None:
    stop = stop_event()
    desk = board.desks.email
    try:
        if desk is not None:
            await reading(desk, stop)
    finally:
        await board.close()
