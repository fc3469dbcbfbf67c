"""Who looks at which thread: wake streams, leases and the sweep.

A wake-up is read by one worker, stays unacknowledged while that worker holds the lease, and goes when it lets go. A
worker that dies leaves both behind: the lease runs out, and the wake-up is taken over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from redis.exceptions import ResponseError

from bot.core.protocols import Lease, LeaseLost
from bot.core.values import ThreadId
from bot.runtime.store import keys
from bot.runtime.store.connection import Connection, ms, reachable

GROUP = "workers"
_MOST_READ = 1_000
"""Wake-ups of a shard that one worker can have read; in truth it is one, and what waits for a free slot."""


@dataclass(frozen=True)
class Wakeup:
    """An entry of a wake stream: a thread to look at."""

    thread_id: ThreadId
    entry_id: str
    fresh: bool
    """False where it was taken over from a worker that seems to be gone."""


class RedisWakeups:
    """The wake streams and the leases."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def prepare_shards(self) -> None:
        """Make the consumer groups. Harmless where they exist."""
        for shard in range(keys.SHARDS):
            with reachable():
                try:
                    await self._connection.redis.xgroup_create(keys.wake(shard), GROUP, id="0", mkstream=True)
                except ResponseError as error:
                    if "BUSYGROUP" not in str(error):
                        raise

    async def next_wakeups(self, shard: int, consumer: str, *, count: int, block_ms: int) -> list[Wakeup]:
        """Up to `count` threads of a shard that somebody has to look at; waits `block_ms` for the first."""
        with reachable():
            reply = await self._connection.redis.xreadgroup(
                GROUP, consumer, {keys.wake(shard): ">"}, count=count, block=block_ms
            )
        streams = cast("list[tuple[bytes, list[Any]]]", reply or [])
        return [_wakeup(entry, fresh=True) for _, entries in streams for entry in entries]

    async def abandoned_wakeups(self, shard: int, consumer: str, *, idle_ms: int) -> list[Wakeup]:
        """Wake-ups whose worker has not been heard of for `idle_ms`, now ours."""
        with reachable():
            reply = await self._connection.redis.xautoclaim(
                keys.wake(shard), GROUP, consumer, min_idle_time=idle_ms, count=10
            )
        return [_wakeup(entry, fresh=False) for entry in reply[1] if entry[1]]

    async def claim(self, wakeup: Wakeup, *, lease_ms: int) -> Lease | None:
        """Take the lease; None while somebody else holds it."""
        arguments = [wakeup.thread_id, GROUP, wakeup.entry_id, lease_ms, 1 if wakeup.fresh else 0]
        fence, recovered = await self._connection.run("claim", wakeup.thread_id, arguments)
        return Lease(wakeup.thread_id, int(fence), wakeup.entry_id, bool(recovered)) if fence else None

    async def renew(self, lease: Lease, consumer: str, *, lease_ms: int) -> int:
        """Keep the lease. Returns the log's length. Raises LeaseLost."""
        arguments = [lease.thread_id, GROUP, lease.entry_id, lease_ms, lease.fence, consumer]
        length = int(await self._connection.run("renew", lease.thread_id, arguments))
        if length < 0:
            raise LeaseLost(lease.thread_id)
        return length

    async def release(self, lease: Lease, *, seen: int, retry_at: datetime | None = None) -> None:
        """Let go, having looked at `seen` events; with `retry_at`, it failed and is to be tried again then."""
        at = ms(retry_at) if retry_at else 0
        await self._connection.run(
            "release", lease.thread_id, [lease.thread_id, GROUP, lease.entry_id, lease.fence, seen, at]
        )

    async def leave(self, consumer: str) -> int:
        """A worker goes in order: what it has read and not looked at is queued again. Returns how much that was.

        Its name goes too, unless something of it has to be taken over.
        """
        found = 0
        for shard in range(keys.SHARDS):
            found += await self._leave(shard, consumer)
        return found

    async def _leave(self, shard: int, consumer: str) -> int:
        redis, stream, handed = self._connection.redis, keys.wake(shard), 0
        with reachable():
            left = await redis.xpending_range(stream, GROUP, min="-", max="+", count=_MOST_READ, consumername=consumer)
        for entry_id in (one["message_id"] for one in left):
            with reachable():
                entries = await redis.xrange(stream, min=entry_id, max=entry_id)
            for wakeup in (_wakeup(entry, fresh=True) for entry in entries):
                arguments = [wakeup.thread_id, GROUP, wakeup.entry_id, consumer]
                handed += int(await self._connection.run("hand_back", wakeup.thread_id, arguments))
        await self._connection.run_on("forget", [stream], [GROUP, consumer])
        return handed

    async def crashes(self, thread_id: ThreadId) -> int:
        """How often in a row driving this thread has failed."""
        with reachable():
            return int(await self._connection.redis.hget(keys.meta(thread_id), "crashes") or 0)

    async def sweep(self, shard: int, *, limit: int = 500) -> int:
        """Queue threads that have unseen events and nobody to look. Returns how many there were."""
        with reachable():
            members = await self._connection.redis.zrange(keys.threads(shard), 0, limit - 1, desc=True)
        found = 0
        for member in members:
            thread_id = member.decode()
            found += int(await self._connection.run("sweep", thread_id, [thread_id]))
        return found

    async def backlog(self) -> int:
        """How many wake-ups are queued or being worked on."""
        with reachable():
            return sum([int(await self._connection.redis.xlen(keys.wake(shard))) for shard in range(keys.SHARDS)])


def _wakeup(entry: Any, *, fresh: bool) -> Wakeup:  # noqa: ANN401 a pair from redis-py
    entry_id, fields = entry
    return Wakeup(fields[b"thread"].decode(), entry_id.decode(), fresh)
