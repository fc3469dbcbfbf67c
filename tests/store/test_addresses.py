"""What is kept about addresses: which are out of use, the codes of their requests, and how often what happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest

from bot.runtime.store import CodeOwner, Store
from bot.testing import FakeClock

LENA, OMAR = "sms:+12025550102", "sms:+12025550103"
POST = "t0123456789abcdef01234567:7:0"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(redis_url: str, clock: FakeClock) -> AsyncGenerator[Store]:
    found = Store(redis_url, clock)
    yield found
    await found.close()


async def test_codes_of_a_number_are_unique_though_they_are_issued_at_once(store: Store, clock: FakeClock) -> None:
    """SM5: 200 requests of one number at the same time get 200 codes of six digits, each with its own owner."""
    until = clock.now() + HOUR
    codes = await asyncio.gather(*(store.codes.issue(LENA, f"{POST}{n}", f"r{n}", until) for n in range(200)))
    assert len(set(codes)) == 200
    assert {len(code) for code in codes} == {6}
    assert all(code.isascii() and code.isdigit() for code in codes)
    assert await store.codes.all(LENA) == {code: CodeOwner(f"{POST}{n}", f"r{n}") for n, code in enumerate(codes)}
    assert sorted(codes) != codes  # drawn, not counted


async def test_a_request_keeps_its_code(store: Store, clock: FakeClock) -> None:
    """SM5: asked for again, also by ten at once, it is the same code; on another number it is another request's."""
    until = clock.now() + HOUR
    codes = await asyncio.gather(*(store.codes.issue(LENA, POST, "r1", until) for _ in range(10)))
    assert len(set(codes)) == 1
    (code,) = set(codes)
    owner = await store.codes.owner(LENA, code)
    assert owner
    assert owner == CodeOwner(POST, "r1")
    assert owner.thread_id == "t0123456789abcdef01234567"
    assert await store.codes.owner(OMAR, code) is None
    assert await store.codes.all(OMAR) == {}


async def test_a_late_code_is_known_for_a_day_and_then_makes_room(store: Store, clock: FakeClock) -> None:
    """SM5, AP5: whoever comes late is told so for a day; after that the code is free, and the request is forgotten."""
    code = await store.codes.issue(LENA, POST, "r1", clock.now() + HOUR)
    clock.advance(hours=24, minutes=59)
    assert await store.codes.owner(LENA, code) == CodeOwner(POST, "r1")
    assert await store.codes.issue(LENA, POST, "r1", clock.now() + HOUR) == code
    clock.advance(minutes=1)
    assert await store.codes.owner(LENA, code) is None
    assert await store.codes.all(LENA) == {}
    other = await store.codes.issue(LENA, POST, "r2", clock.now() + HOUR)
    assert await store.codes.all(LENA) == {other: CodeOwner(POST, "r2")}


async def test_the_code_of_a_request_without_an_end_outlives_a_short_one(store: Store, clock: FakeClock) -> None:
    """SM5: a code lives as long as its own request, whatever was issued to the number before or after it."""
    for_ever = await store.codes.issue(LENA, POST, "r1", None)
    brief = await store.codes.issue(LENA, POST, "r2", clock.now() + timedelta(minutes=1))
    clock.advance(days=30)
    assert await store.codes.owner(LENA, for_ever) == CodeOwner(POST, "r1")
    assert await store.codes.owner(LENA, brief) is None


async def test_a_rate_counts_what_happened_within_the_window(store: Store, clock: FakeClock) -> None:
    """SM5, SM7: the window slides with the clock; looking does not count; names and windows are apart."""
    assert await store.rates.recent("codes:a", HOUR) == 0
    assert [await store.rates.add("codes:a", HOUR) for _ in range(3)] == [1, 2, 3]
    clock.advance(minutes=40)
    assert await store.rates.add("codes:a", HOUR) == 4
    assert await store.rates.recent("codes:b", HOUR) == 0
    clock.advance(minutes=19, seconds=59)
    assert [await store.rates.recent("codes:a", HOUR) for _ in range(2)] == [4, 4]
    clock.advance(seconds=1)
    assert await store.rates.recent("codes:a", HOUR) == 1
    clock.advance(hours=1)
    assert await store.rates.add("codes:a", HOUR) == 1


async def test_what_happens_at_once_is_counted_each(store: Store) -> None:
    """SM7: twenty at the same moment are twenty, and each is told a number of its own."""
    counted = await asyncio.gather(*(store.rates.add("texts", DAY) for _ in range(20)))
    assert sorted(counted) == list(range(1, 21))


async def test_an_address_is_off_until_it_is_turned_on(store: Store) -> None:
    """SM4, EM17: with the reason; the newest one counts; turning on says whether that changed anything."""
    assert await store.addresses.why_off(LENA) is None
    assert await store.addresses.turn_on(LENA) is False
    await store.addresses.turn_off(LENA, "opted out with STOP")
    await store.addresses.turn_off(OMAR, "mail came back")
    await store.addresses.turn_off(LENA, "texts do not arrive")
    assert await store.addresses.why_off(LENA) == "texts do not arrive"
    assert await store.addresses.all_off() == {LENA: "texts do not arrive", OMAR: "mail came back"}
    assert await store.addresses.turn_on(LENA) is True
    assert await store.addresses.why_off(LENA) is None
    assert await store.addresses.all_off() == {OMAR: "mail came back"}
