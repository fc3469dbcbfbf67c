"""Logs in Redis, what lies beside them, and who watches them.

The store knows events only as lines to keep; what they mean is the fold's business.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

from bot.core.events import Event, event_from_json, stored_form
from bot.core.log import Log
from bot.core.protocols import Appended, Clock, Lease, LeaseLost, Stale, ThreadSummary
from bot.core.schedule import timers_of
from bot.core.values import Conversation, ThreadId
from bot.runtime.store import keys
from bot.runtime.store.connection import Connection, ms, reachable

_ANY = -1


class RedisLogs:
    """The thread store."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    async def load(self, thread_id: ThreadId) -> Log:
        """The whole log; empty where there is none."""
        with reachable():
            lines = await self._connection.redis.lrange(keys.log(thread_id), 0, -1)
        return Log.of(thread_id, map(event_from_json, lines))

    async def refresh(self, log: Log) -> Log:
        """The log with what was added since."""
        with reachable():
            lines = await self._connection.redis.lrange(keys.log(log.thread_id), len(log), -1)
        return log.plus(map(event_from_json, lines)) if lines else log

    async def length(self, thread_id: ThreadId) -> int:
        """How many events a log has, without reading them."""
        with reachable():
            return int(await self._connection.redis.llen(keys.log(thread_id)))

    async def receive(
        self,
        thread_id: ThreadId,
        events: Sequence[Event],
        *,
        deliveries: Sequence[str] = (),
        expect: int | None = None,
        max_length: int | None = None,
    ) -> Appended:
        """Append what came from outside and queue a wake-up, all or nothing (see the protocol)."""
        expected = _ANY if expect is None else expect
        limit = _ANY if max_length is None else max_length
        outcome, length, _ = await self._append(
            thread_id, events, expect=expected, fence=_ANY, known=_ANY, deliveries=deliveries, max_length=limit
        )
        return Appended(cast("Any", outcome), length)

    async def append(self, log: Log, event: Event, lease: Lease) -> Log:
        """Append under a lease; the answer brings along whatever else arrived."""
        expect = len(log) if event.needs_fresh_log else _ANY
        outcome, _, tail = await self._append(
            log.thread_id, (event,), expect=expect, fence=lease.fence, known=len(log), deliveries=(), max_length=_ANY
        )
        if outcome == "fenced":
            raise LeaseLost(log.thread_id)
        grown = log.plus(map(event_from_json, tail))
        if outcome == "stale":
            raise Stale(grown)
        return grown

    async def _append(
        self,
        thread_id: ThreadId,
        events: Sequence[Event],
        *,
        expect: int,
        fence: int,
        known: int,
        deliveries: Sequence[str],
        max_length: int,
    ) -> tuple[str, int, list[bytes]]:
        timers = [timer for event in events for timer in timers_of(event)]
        arguments: list[str | int] = [
            *(thread_id, expect, fence, known, ms(self._clock.now())),
            *(keys.THREAD_LIFE_SECONDS, keys.SEEN_LIFE_SECONDS, max_length),
            len(events),
            *(stored_form(event) for event in events),
            len(timers),
        ]
        for timer in timers:
            arguments += [timer.name, ms(timer.at), stored_form(timer.event)]
        seen = [keys.seen(thread_id, delivery) for delivery in deliveries]
        outcome, length, tail = await self._connection.run("append", thread_id, arguments, seen)
        return outcome.decode(), int(length), tail

    async def write_artifact(self, thread_id: ThreadId, name: str, offset: int, chunk: bytes) -> None:
        """Keep a piece of a large result, up to 1 MiB in all. The same piece may be written twice."""
        room = keys.MAX_ARTIFACT_BYTES - offset
        if room <= 0 or not chunk:
            return
        key = keys.artifact(thread_id, name)
        with reachable():
            async with self._connection.redis.pipeline(transaction=True) as pipe:
                pipe.setrange(key, offset, chunk[:room])
                pipe.expire(key, keys.THREAD_LIFE_SECONDS)
                await pipe.execute()

    async def read_artifact(self, thread_id: ThreadId, name: str) -> bytes:
        """A large result; empty where there is none."""
        with reachable():
            return cast("bytes", await self._connection.redis.get(keys.artifact(thread_id, name)) or b"")

    async def bind(self, conversation: Conversation, thread_id: ThreadId) -> None:
        """From now on this conversation belongs to that thread."""
        with reachable():
            await self._connection.redis.set(keys.conversation(conversation), thread_id, ex=keys.THREAD_LIFE_SECONDS)

    async def bound_to(self, conversation: Conversation) -> ThreadId | None:
        """The thread that a conversation was bound to."""
        with reachable():
            # Looked up is used: the binding lives as long as its conversation does.
            found = await self._connection.redis.getex(keys.conversation(conversation), ex=keys.THREAD_LIFE_SECONDS)
        return found.decode() if found else None

    async def recent(self, limit: int) -> list[ThreadSummary]:
        """Threads, the one touched last first."""
        found: list[ThreadSummary] = []
        for shard in range(keys.SHARDS):
            with reachable():
                rows = await self._connection.redis.zrange(
                    keys.threads(shard), 0, limit - 1, desc=True, withscores=True
                )
            found += [ThreadSummary(row[0].decode(), datetime.fromtimestamp(row[1] / 1000, UTC)) for row in rows]
        return sorted(found, key=lambda one: one.touched_at, reverse=True)[:limit]

    async def changes(self, thread_id: ThreadId) -> AsyncGenerator[int]:
        """Yields the length of a log, now and whenever it grows. Close the iterator to stop."""
        with reachable():
            async with self._subscribed(keys.log(thread_id)) as subscription:
                known = -1
                length = int(await self._connection.redis.llen(keys.log(thread_id)))
                while True:
                    if length != known:
                        known = length
                        yield length
                    message = await subscription.get_message(ignore_subscribe_messages=True, timeout=15)
                    # Without news, look: a message may be lost where a connection is.
                    length = int(message["data"] if message else await self._connection.redis.llen(keys.log(thread_id)))

    @asynccontextmanager
    async def _subscribed(self, channel: str) -> AsyncGenerator[Any]:
        subscription = self._connection.redis.pubsub()
        await subscription.subscribe(channel)
        try:
            yield subscription
        finally:
            await subscription.aclose()
