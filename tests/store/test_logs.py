"""What a thread store promises, held against the one in Redis and the one in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from logs import ANA, T0, chose, launched, said

from bot.core.events import RunFinished, ToolFinished
from bot.core.protocols import Lease, Stale, ThreadStore
from bot.core.values import Conversation
from bot.runtime.store import Store
from bot.testing import FakeClock, MemoryStore

LEASE = Lease("t1", 0, "", recovered=False)


@pytest.fixture(params=["redis", "memory"])
async def store(request: pytest.FixtureRequest, redis_url: str) -> AsyncGenerator[ThreadStore]:
    """Each of the stores, empty."""
    if request.param == "memory":
        yield MemoryStore(FakeClock())
        return
    real = Store(redis_url, FakeClock())
    yield real.logs
    await real.close()


async def test_what_was_appended_is_loaded_in_order(store: ThreadStore) -> None:
    """A log is its events; an unknown thread is an empty log."""
    assert len(await store.load("t1")) == 0
    await store.receive("t1", (launched(), said("a")))
    await store.receive("t1", (said("b"),))
    log = await store.load("t1")
    assert log.events == (launched(), said("a"), said("b"))
    assert log.state.seq == 3
    assert await store.length("t1") == 3
    assert await store.length("nobody") == 0


async def test_a_delivery_is_stored_once_whichever_of_its_ids_comes_again(store: ThreadStore) -> None:
    """SL6, SL7, SL8: remembered in the same step as the event; any known id makes it a duplicate."""
    assert (await store.receive("t1", (said(),), deliveries=("a", "b"))).outcome == "appended"
    assert (await store.receive("t1", (said(),), deliveries=("b",))).outcome == "duplicate"
    assert (await store.receive("t1", (said(),), deliveries=("c", "a"))).outcome == "duplicate"
    assert (await store.receive("t1", (said(),), deliveries=("c",))).outcome == "appended", "c was not marked as seen"
    assert len(await store.load("t1")) == 2


async def test_twenty_concurrent_deliveries_are_one_event(store: ThreadStore) -> None:
    """SL8: of all who come at once, one wins."""
    outcomes = await asyncio.gather(*(store.receive("t1", (said(),), deliveries=("x",)) for _ in range(20)))
    assert sorted(one.outcome for one in outcomes) == ["appended", *["duplicate"] * 19]


async def test_an_expected_length_is_a_compare_and_set(store: ThreadStore) -> None:
    """AP2: of a hundred who decide on the same state, one gets through."""
    await store.receive("t1", (launched(),))
    outcomes = await asyncio.gather(*(store.receive("t1", (said(str(n)),), expect=1) for n in range(100)))
    assert sorted(one.outcome for one in outcomes) == ["appended", *["stale"] * 99]
    assert len(await store.load("t1")) == 2


async def test_a_full_log_takes_no_more_from_outside(store: ThreadStore) -> None:
    """What comes from outside is bounded, and nothing is half stored."""
    assert (await store.receive("t1", (said(), said()), max_length=2)).outcome == "appended"
    assert (await store.receive("t1", (said(),), max_length=2)).outcome == "full"


async def test_a_decision_on_an_old_log_is_stale_and_a_fact_is_not(store: ThreadStore) -> None:
    """Decision 6: the worker learns what arrived with the answer to its append."""
    await store.receive("t1", (launched(), said()))
    old = await store.load("t1")
    await store.receive("t1", (said("wait!"),))
    with pytest.raises(Stale) as caught:
        await store.append(old, RunFinished(at=T0, message="done"), LEASE)
    assert caught.value.log.events[-1] == said("wait!")
    grown = await store.append(old, ToolFinished(at=T0, call_id="c", result="r"), LEASE)
    assert [event.type for event in grown.events] == ["thread_launched", *["message_received"] * 2, "tool_finished"]
    assert grown == await store.load("t1")


async def test_a_log_is_refreshed_by_its_tail(store: ThreadStore) -> None:
    """Only what is new is read."""
    await store.receive("t1", (launched(),))
    log = await store.load("t1")
    assert await store.refresh(log) == log
    await store.receive("t1", (said(),))
    assert (await store.refresh(log)).events == (launched(), said())


async def test_an_artifact_can_be_written_twice_and_in_pieces(store: ThreadStore) -> None:
    """A run that is taken up again writes the same bytes to the same places."""
    for _ in range(2):
        await store.write_artifact("t1", "output", 0, b"one ")
        await store.write_artifact("t1", "output", 4, b"two")
    assert await store.read_artifact("t1", "output") == b"one two"
    assert await store.read_artifact("t1", "other") == b""


async def test_a_conversation_is_bound_to_a_thread(store: ThreadStore) -> None:
    """Replies find the thread that posted there."""
    place = Conversation(channel="slack", ref="C1/2.0")
    assert await store.bound_to(place) is None
    await store.bind(place, "t1")
    assert await store.bound_to(place) == "t1"


async def test_threads_are_listed_by_their_last_event(store: ThreadStore) -> None:
    """Every thread is in the list once."""
    for name in ("t1", "t2", "t3"):
        await store.receive(name, (launched(),))
    assert {one.thread_id for one in await store.recent(10)} == {"t1", "t2", "t3"}
    assert len(await store.recent(2)) == 2


async def test_whoever_watches_a_log_hears_of_its_growth(store: ThreadStore) -> None:
    """First the length as it is, then each new one."""
    await store.receive("t1", (launched(),))
    changes = store.changes("t1")
    assert await anext(changes) == 1
    waiting = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    await store.receive("t1", (said(by=ANA), chose("look", 1)))
    assert await asyncio.wait_for(waiting, 5) == 3
    await changes.aclose()
