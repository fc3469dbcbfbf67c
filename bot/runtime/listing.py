"""Several threads at once, for lists."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from bot.core.log import Log
from bot.core.protocols import ThreadStore
from bot.core.values import ThreadId

logger = structlog.get_logger(__name__)


async def readable(store: ThreadStore, thread_ids: Iterable[ThreadId]) -> list[Log]:
    """Their logs, in this order, without those that cannot be read: one of them must not hide all others.

    Raises StoreUnavailable.
    """
    found = await asyncio.gather(*(_readable(store, one) for one in thread_ids))
    return [log for log in found if log is not None]


async def _readable(store: ThreadStore, thread_id: ThreadId) -> Log | None:
    try:
        return await store.load(thread_id)
    except ValueError as error:  # of a newer version, or damaged
        logger.warning("thread_unreadable", thread=thread_id, error=type(error).__name__)
        return None
