"""Sends what belongs to no thread, without making whoever brought a message wait for it.

Best effort: nothing has happened that such a notice would have to report, so one that fails is not sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from bot.core.protocols import DeliveryError

logger = structlog.get_logger(__name__)


class Notices:
    """The notices of one desk that are under way. `failed` is the name in the log of one that could not be sent."""

    def __init__(self, failed: str = "notice_not_sent") -> None:
        self._failed = failed
        self._under_way: set[asyncio.Task[None]] = set()

    def send(self, sending: Coroutine[Any, Any, None]) -> None:
        """Begin to send, and return at once."""
        task = asyncio.create_task(self._sent(sending))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Let those that are under way get out, for up to 5 s."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=5)

    async def _sent(self, sending: Coroutine[Any, Any, None]) -> None:
        try:
            await sending
        except DeliveryError as error:
            logger.warning(self._failed, error=error.error)
