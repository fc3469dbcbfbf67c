"""Fixtures for all tests: a real server, emptied for each test, and a check that no key outlives its purpose."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any, cast

import pytest
import redis.asyncio as redis_client
from support import Bench, bench

from bot.runtime.private_server import private_server

_WITHOUT_TTL = re.compile(r"\{s\d\d\}:(wake|timers|timer_events|threads)|addresses:off")
"""What the key table says may live for ever; see bot/runtime/store/keys.py."""


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A real server, as `bot dev` starts one."""
    with private_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
async def redis_url(redis_server: str) -> AsyncGenerator[str]:
    """The server, empty; afterwards every key has a TTL or a place in the key table."""
    client: Any = cast("Any", redis_client.Redis).from_url(redis_server)
    await client.flushall()
    yield redis_server
    leaked = [
        key.decode()
        for key in await client.keys("*")
        if await client.ttl(key) < 0 and not _WITHOUT_TTL.fullmatch(key.decode())
    ]
    await client.aclose()
    assert not leaked, f"keys without a TTL that the key table does not name: {leaked}"


@pytest.fixture
async def on_bench(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    """The whole bot with one worker."""
    async with bench(redis_url, tmp_path) as found:
        yield found
