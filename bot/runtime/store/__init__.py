"""The only place that knows Redis."""

from __future__ import annotations

from bot.core.protocols import Clock
from bot.runtime.store.addresses import CodeOwner, RedisAddresses, RedisCodes, RedisRates
from bot.runtime.store.connection import Connection
from bot.runtime.store.keys import SHARDS
from bot.runtime.store.logs import RedisLogs
from bot.runtime.store.timers import DueTimer, RedisTimers
from bot.runtime.store.wakeups import RedisWakeups, Wakeup

__all__ = [
    "SHARDS",
    "CodeOwner",
    "DueTimer",
    "RedisAddresses",
    "RedisCodes",
    "RedisLogs",
    "RedisRates",
    "RedisTimers",
    "RedisWakeups",
    "Store",
    "Wakeup",
]


class Store:
    """Everything that is kept: logs, wake-ups, timers, addresses, over one pool of connections."""

    def __init__(self, url: str, clock: Clock, *, max_connections: int = 64) -> None:
        self.connection = Connection(url, max_connections=max_connections)
        self.logs = RedisLogs(self.connection, clock)
        self.wakeups = RedisWakeups(self.connection)
        self.timers = RedisTimers(self.connection, clock)
        self.addresses = RedisAddresses(self.connection)
        self.codes = RedisCodes(self.connection, clock)
        self.rates = RedisRates(self.connection, clock)

    async def close(self) -> None:
        """Let go of all connections."""
        await self.connection.close()
