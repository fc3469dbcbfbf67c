"""The connection to Redis: its pool, its scripts, and how its absence is told.

Every connection problem surfaces as `StoreUnavailable`; its text names no data.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from bot.core.protocols import StoreUnavailable
from bot.core.values import ThreadId
from bot.runtime.store import keys

_SCRIPTS = ("append", "claim", "renew", "release", "hand_back", "forget", "fire", "sweep", "issue", "count")
_UNREACHABLE = (RedisConnectionError, RedisTimeoutError, OSError)
_NOT_NOW = ("LOADING", "READONLY", "MASTERDOWN", "OOM", "MISCONF", "CLUSTERDOWN", "NOGROUP", "UNBLOCKED")


class Connection:
    """A pool of connections, and the scripts."""

    def __init__(self, url: str, *, max_connections: int = 64) -> None:
        # redis-py raises where its ordinary pool is empty; this one waits for a connection. RESP2 keeps replies flat.
        pool = BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType] untyped keyword arguments
            url,
            max_connections=max_connections,
            timeout=10,
            socket_timeout=15,
            socket_connect_timeout=3,
            protocol=2,
        )
        self.redis: Any = Redis(connection_pool=pool)  # redis-py's annotations mix its sync and async results
        self._pool = pool
        self._scripts: dict[str, Callable[..., Awaitable[Any]]] = {
            name: self.redis.register_script(_source(name)) for name in _SCRIPTS
        }

    async def run(
        self, script: str, thread_id: ThreadId, arguments: Sequence[str | int], more_keys: Sequence[str] = ()
    ) -> Any:  # noqa: ANN401 each script answers in its own shape
        """Run a script on a thread's keys and its shard's (all of them share a hash tag)."""
        shard = keys.shard_of(thread_id)
        own = [keys.log(thread_id), keys.meta(thread_id)]
        shared = [keys.wake(shard), keys.timers(shard), keys.timer_events(shard), keys.threads(shard)]
        with reachable():
            return await self._scripts[script](keys=[*own, *shared, *more_keys], args=list(arguments))

    async def run_on(self, script: str, on: Sequence[str], arguments: Sequence[str | int]) -> Any:  # noqa: ANN401 as above
        """Run a script on keys that belong to no thread."""
        with reachable():
            return await self._scripts[script](keys=list(on), args=list(arguments))

    async def ping(self) -> float:
        """Seconds that the server takes to answer."""
        started = time.perf_counter()
        with reachable():
            await self.redis.ping()
        return time.perf_counter() - started

    async def wait_until_reachable(self, *, timeout_seconds: float, pause_seconds: float = 0.2) -> None:
        """Return once the server answers. Raises StoreUnavailable when the time is over."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                await self.ping()
            except StoreUnavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(pause_seconds)
            else:
                return

    async def close(self) -> None:
        """Let go of all connections."""
        await self.redis.aclose()
        await self._pool.disconnect()


class reachable:  # noqa: N801 reads as a statement
    """Turns every way in which Redis can be away into `StoreUnavailable`."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _UNREACHABLE):
            raise StoreUnavailable(f"Redis cannot be reached ({type(error).__name__})") from error
        if isinstance(error, RedisError) and str(error).startswith(_NOT_NOW):
            raise StoreUnavailable(f"Redis does not take writes ({str(error).split()[0]})") from error


def ms(at: datetime) -> int:
    """Unix milliseconds."""
    return int(at.timestamp() * 1000)


def _source(name: str) -> str:
    folder = files("bot.runtime.store") / "lua"
    return (folder / "common.lua").read_text() + (folder / f"{name}.lua").read_text()
