"""What the audit reads: which threads there are, and their logs exactly as they are stored. It writes nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import cast

from bot.core.values import ThreadId
from bot.runtime.store import keys
from bot.runtime.store.connection import Connection, ms, reachable

_AT_ONCE = 500


class RedisAudit:
    """Reads the logs for the audit."""

    def __init__(self, connection: Connection) -> None:
        self._redis = connection.redis

    async def threads(self, *, since: datetime | None = None) -> AsyncGenerator[ThreadId]:
        """Every thread of the index, in no order, those of what was refused at the door included.

        `since`: only those touched then or later. One that is touched during the walk may come twice; none is left out.
        """
        bound = ms(since) if since else 0
        for shard in range(keys.SHARDS):
            cursor = 0
            while True:
                with reachable():
                    found = await self._redis.zscan(keys.threads(shard), cursor=cursor, count=_AT_ONCE)
                cursor, rows = cast("tuple[int, list[tuple[bytes, float]]]", found)
                for thread_id, touched in rows:
                    if touched >= bound:
                        yield thread_id.decode()
                if not cursor:
                    break

    async def lines(self, thread_id: ThreadId) -> list[bytes]:
        """The events of a thread as they are stored; empty where there is no log (any more)."""
        with reachable():
            return cast("list[bytes]", await self._redis.lrange(keys.log(thread_id), 0, -1))
