"""What holds for every log, however odd: found by trying many."""

from __future__ import annotations

import random
from dataclasses import asdict

from hypothesis import given, settings
from hypothesis import strategies as st
from logs import (
    AGENT,
    ANA,
    LENA,
    OMAR,
    PEOPLE,
    PLACE,
    REQUEST_ID,
    STRANGER,
    T0,
    asks_approval,
    at,
    call,
    chose,
    decided,
    launched,
    opened,
    prepared,
    said,
)

from bot.core import events as e
from bot.core.context import render_context
from bot.core.decide import Attempt, judge
from bot.core.events import Event, event_from_json, event_to_json
from bot.core.faces import face_of
from bot.core.fold import fold, step
from bot.core.log import Log
from bot.core.policy import next_effect
from bot.core.state import ThreadState
from bot.core.views import view_of
from bot.runtime.inbox import Inbound, Inbox
from bot.testing import FakeClock, MemoryStore

FINAL = {"approved", "denied", "answered", "expired", "cancelled", "superseded"}
SEQS = st.integers(1, 14)


def _events() -> st.SearchStrategy[Event]:
    fixed: list[Event] = [
        launched(),
        launched(place=None),
        said(),
        said("ok", LENA),
        said("later", OMAR, minutes=5),
        decided("approve"),
        decided("approve", OMAR),
        decided("deny", text="no"),
        decided("answer", text="Stop"),
        e.RequestExpired(at=at(60), request_id=REQUEST_ID),
        e.DecisionRefused(at=T0, request_id=REQUEST_ID, verdict="approve", by=STRANGER, why="no", rule="identity"),
        e.Paused(at=T0, by=ANA),
        e.Resumed(at=T0, by=ANA),
        e.Cancelled(at=T0, by=ANA),
        e.ModelFailed(at=T0, reason="unavailable", detail="x", retry_at=at(1)),
        e.ModelFailed(at=T0, reason="refusal", detail="x"),
        e.ModelRetryDue(at=T0),
        e.WaitStarted(at=T0, reason="x"),
        e.WaitEnded(at=T0),
        e.HandedOff(at=T0, agent="a", brief="x"),
        e.RunFinished(at=T0, message="done"),
        e.FactsGathered(at=T0, agent="a", text="f"),
    ]
    made: list[st.SearchStrategy[Event]] = [
        st.tuples(st.sampled_from(["look", "write", "again", "wait", "fly"]), SEQS).map(lambda it: chose(*it)),
        SEQS.map(prepared),
        SEQS.map(lambda seq: prepared(seq, asks_approval(), writes=True)),
        SEQS.map(opened),
        SEQS.map(lambda seq: e.CallRefused(at=T0, call_id=call(seq), why="no")),
        SEQS.map(lambda seq: e.ToolStarted(at=T0, call_id=call(seq), place="p")),
        SEQS.map(lambda seq: e.ToolFinished(at=T0, call_id=call(seq), result="r")),
        SEQS.map(lambda seq: e.ToolFailed(at=T0, call_id=call(seq), error="r")),
        SEQS.map(lambda seq: e.ToolInDoubt(at=T0, call_id=call(seq), why="r")),
        SEQS.map(lambda seq: e.PostSent(at=T0, post_id=call(seq), ref="C/1", face="pending")),
        SEQS.map(lambda seq: e.PostSent(at=T0, post_id=call(seq), ref="C/1", face="said")),
        SEQS.map(lambda seq: e.PostFailed(at=T0, post_id=call(seq), face="said", error="x", retry_at=at(1))),
        SEQS.map(lambda seq: e.PostFailed(at=T0, post_id=call(seq), face="said", error="x")),
        SEQS.map(lambda seq: e.PostRetryDue(at=T0, post_id=call(seq))),
    ]
    return st.one_of(st.sampled_from(fixed), *made)


LOGS = st.lists(_events(), max_size=30)


@settings(max_examples=400, deadline=None)
@given(LOGS)
def test_any_log_folds_and_every_reader_of_its_state_can_read_it(events: list[Event]) -> None:
    """Duplicated, reordered, senseless: the fold takes it, and policy, cards and context cope with the result."""
    log = Log.of("t1", events)
    assert log.state.seq == len(events)
    assert log == Log("t1").plus(events[:7]).plus(events[7:])
    next_effect(log.state, AGENT)
    render_context("t1", events)
    for post in log.state.posts.values():
        assert face_of(log.state, post)
        view_of(log.state, post)
    for verdict in ("approve", "deny", "answer"):
        judge(log.state, Attempt(REQUEST_ID, verdict, LENA), PEOPLE, at(2))


@settings(max_examples=300, deadline=None)
@given(LOGS)
def test_a_final_request_stays_as_it_is(events: list[Event]) -> None:
    """AP1, AP5: whatever comes later, a settled request is never settled again."""
    state = ThreadState(thread_id="t1")
    settled: dict[str, str] = {}
    opened_once = False  # an id is drawn at random, so the same one is never opened twice
    for event in events:
        if event.type == "request_opened":
            if opened_once:
                continue
            opened_once = True
        state = step(state, event)
        for key, one in state.requests.items():
            assert settled.get(key, one.status) == one.status
            if one.status in FINAL:
                settled[key] = one.status


@settings(max_examples=200, deadline=None)
@given(LOGS)
def test_nothing_runs_that_was_not_permitted(events: list[Event]) -> None:
    """AP3, AP4: a writing call whose ruling was `approve` is run only with an approved request of its own digest."""
    log = Log.of("t1", events)
    effect = next_effect(log.state, AGENT)
    if type(effect).__name__ != "RunTool" or getattr(effect, "resumed", False):
        return
    held = log.state.call
    assert held
    assert held.prepared
    if held.prepared.ruling.verdict == "approve":
        request = log.state.requests[held.request_id or ""]
        assert request.status == "approved"
        assert request.request.call_id == held.id


@settings(max_examples=100, deadline=None)
@given(LOGS)
def test_a_log_survives_being_written_and_read(events: list[Event]) -> None:
    """What is stored is what was meant."""
    again = [event_from_json(event_to_json(event)) for event in events]
    assert again == events
    assert asdict(fold("t1", again)) == asdict(fold("t1", events))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8))
async def test_duplicated_and_reordered_deliveries_are_stored_once_each(seed: int, count: int) -> None:
    """SL6, SL7, SL8: however often and in whatever order a provider sends its messages, each is in the log once."""
    chance = random.Random(seed)
    store = MemoryStore(FakeClock())
    inbox = Inbox(store, FakeClock(), lambda: PEOPLE)
    deliveries = [
        Inbound(
            PLACE, f"message {n}", ANA, f"ts{n}", (f"shared:{n}", f"event:{n}:{twin}"), may_launch=n == 0 or bool(twin)
        )
        for n in range(count)
        for twin in (0, 1)
        for _ in range(chance.randint(1, 3))
    ]
    chance.shuffle(deliveries)
    first = next(one for one in deliveries if one.may_launch)
    await inbox.message(first, agent="a")
    for inbound in deliveries:
        await inbox.message(inbound, agent="a")
    log = await store.load(await inbox.thread_of(PLACE))
    texts = [event.text for event in log.events if event.type == "message_received"]
    assert sorted(texts) == sorted({one.text for one in deliveries})
    assert [event.type for event in log.events].count("thread_launched") == 1
