"""What is kept about addresses, whatever thread they take part in: which are out of use, codes, how often what."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.core.people import Address
from bot.core.protocols import Clock
from bot.core.values import PostId, RequestId, ThreadId
from bot.runtime.store import keys
from bot.runtime.store.connection import Connection, ms, reachable

_CANDIDATES = 16
"""Random codes to choose from: with that many at once, all of them taken is as likely as never."""
_LATE = timedelta(days=1)
"""A code is known for a while after its request has run out, so that who comes late is told so."""


@dataclass(frozen=True)
class CodeOwner:
    """What a code stands for."""

    post_id: PostId
    request_id: RequestId

    @property
    def thread_id(self) -> ThreadId:
        """The thread of the request."""
        return self.post_id.partition(":")[0]


class RedisAddresses:
    """Which addresses nothing is sent to."""

    def __init__(self, connection: Connection) -> None:
        self._redis = connection.redis

    async def why_off(self, address: Address) -> str | None:
        """Why nothing is sent there; None: it is in use."""
        with reachable():
            why = await self._redis.hget(keys.ADDRESSES_OFF, address)
        return why.decode() if why is not None else None

    async def turn_off(self, address: Address, why: str) -> None:
        """Send nothing there until it is turned on again."""
        with reachable():
            await self._redis.hset(keys.ADDRESSES_OFF, address, why)

    async def turn_on(self, address: Address) -> bool:
        """Use it again. False: it was in use."""
        with reachable():
            return bool(await self._redis.hdel(keys.ADDRESSES_OFF, address))

    async def all_off(self) -> dict[Address, str]:
        """Every address that is out of use, and why."""
        with reachable():
            found: dict[bytes, bytes] = await self._redis.hgetall(keys.ADDRESSES_OFF)
        return {address.decode(): why.decode() for address, why in found.items()}


class RedisCodes:
    """Short codes that stand for a request on one address (SM5)."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    async def issue(self, address: Address, post_id: PostId, request_id: RequestId, until: datetime | None) -> str:
        """Six random digits, unique among those of this address. The same request gets the same code again."""
        now = self._clock.now()
        end = (until or now + timedelta(seconds=keys.THREAD_LIFE_SECONDS)) + _LATE
        candidates = [f"{secrets.randbelow(1_000_000):06d}" for _ in range(_CANDIDATES)]
        entry = json.dumps([post_id, request_id, ms(end)])
        life_ms = max(1, ms(end) - ms(now))
        code = await self._connection.run_on("issue", [keys.codes(address)], [ms(now), life_ms, entry, *candidates])
        return code.decode()

    async def owner(self, address: Address, code: str) -> CodeOwner | None:
        """What this code stands for on this address, if it is one that is still known."""
        with reachable():
            entry = await self._connection.redis.hget(keys.codes(address), code)
        post_id, request_id, end = json.loads(entry) if entry else ("", "", 0)
        return CodeOwner(post_id, request_id) if end > ms(self._clock.now()) else None

    async def all(self, address: Address) -> dict[str, CodeOwner]:
        """Every code of this address that is still known."""
        with reachable():
            found: dict[bytes, bytes] = await self._connection.redis.hgetall(keys.codes(address))
        entries: dict[str, list[Any]] = {code.decode(): json.loads(entry) for code, entry in found.items()}
        now = ms(self._clock.now())
        return {code: CodeOwner(one[0], one[1]) for code, one in entries.items() if one[2] > now}


class RedisRates:
    """How often something happened lately."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    async def add(self, name: str, window: timedelta, *, member: str = "") -> int:
        """It happens once more: how often within the window that ends now, this time included.

        The same `member` counts once, and can be forgotten.
        """
        return await self._count(name, window, member or secrets.token_hex(8))

    async def forget(self, name: str, member: str) -> None:
        """It did not happen after all."""
        with reachable():
            await self._connection.redis.zrem(keys.rate(name), member)

    async def recent(self, name: str, window: timedelta) -> int:
        """How often it happened within the window that ends now."""
        return await self._count(name, window, "")

    async def _count(self, name: str, window: timedelta, member: str) -> int:
        window_ms = int(window.total_seconds() * 1000)
        arguments: list[str | int] = [ms(self._clock.now()), window_ms, member]
        return int(await self._connection.run_on("count", [keys.rate(name)], arguments))
