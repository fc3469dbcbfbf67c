"""Timers: a sorted set by due time. Firing appends the event and wakes the thread in one step, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from bot.core.events import Event, event_from_json
from bot.core.protocols import Clock
from bot.core.values import ThreadId
from bot.runtime.store import keys
from bot.runtime.store.connection import Connection, ms, reachable

_ANY = -1


@dataclass(frozen=True)
class DueTimer:
    """A timer whose time has come."""

    thread_id: ThreadId
    field: str
    event: Event | None
    """None: only a wake-up."""


class RedisTimers:
    """The timers of all shards."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    async def due(self, shard: int, *, limit: int = 20) -> list[DueTimer]:
        """Timers of a shard whose time has come, oldest first. They stay until they are fired."""
        with reachable():
            now = ms(self._clock.now())
            found = await self._connection.redis.zrangebyscore(keys.timers(shard), "-inf", now, start=0, num=limit)
            fields = cast("list[bytes]", found)
            if not fields:
                return []
            lines = cast("list[bytes | None]", await self._connection.redis.hmget(keys.timer_events(shard), fields))
        return [
            DueTimer(field.decode().partition("|")[0], field.decode(), event_from_json(line) if line else None)
            for field, line in zip(fields, lines, strict=True)
        ]

    async def fire(self, timer: DueTimer, *, keep: bool, expect: int | None = None) -> bool:
        """Append the timer's event and wake the thread, or drop it. False: the log is not `expect` long, look again."""
        expected = _ANY if expect is None else expect
        now = ms(self._clock.now())
        arguments = [timer.thread_id, timer.field, expected, now, keys.THREAD_LIFE_SECONDS, 1 if keep else 0]
        return int(await self._connection.run("fire", timer.thread_id, arguments)) >= 0
