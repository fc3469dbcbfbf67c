"""Threads by their ids, or by how an id begins, as the bot's own answers print it."""

from __future__ import annotations

import re

from bot.core.values import ThreadId
from bot.runtime.store import Store
from bot.runtime.store.audit import RedisAudit

_BEGINNING = re.compile(r"t[0-9a-f]{6,24}")
SHORTEST = "write at least `t` and 6 letters or digits of the id"


def is_meant(thread_id: ThreadId, typed: str) -> bool:
    """Whether this id, or how it begins, was typed."""
    return thread_id == typed or (_BEGINNING.fullmatch(typed) is not None and thread_id.startswith(typed))


def can_be_meant(typed: str) -> bool:
    """Whether this can stand for more than the one id that it is."""
    return _BEGINNING.fullmatch(typed) is not None


async def all_meant(store: Store, typed: str) -> list[ThreadId]:
    """The threads that were meant, in the order of their ids; an id that is there means itself alone."""
    if len(await store.logs.load(typed)):
        return [typed]
    if not can_be_meant(typed):
        return []
    threads = RedisAudit(store.connection).threads()
    return sorted({thread_id async for thread_id in threads if is_meant(thread_id, typed)})
