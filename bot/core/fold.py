"""The fold: state + event -> state. The only place that says what an event means.

It accepts any event in any order, because a log is the truth even when it is odd: what makes no sense in a state
changes nothing but the position.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce
from typing import assert_never

from bot.core import events as e
from bot.core import posts as p
from bot.core import requests as r
from bot.core.builtins import ANSWER, WAIT
from bot.core.people import ADDRESS_KEYS, Address
from bot.core.state import Activity, ActivityCard, Call, Post, RequestCard, ThreadState, Whisper, receipt_key
from bot.core.values import ThreadId
from bot.core.wording import one_line, plural


def fold(thread_id: ThreadId, log: Iterable[e.Event]) -> ThreadState:
    """The state of a thread after its whole log."""
    return reduce(step, log, ThreadState(thread_id=thread_id))


def step(state: ThreadState, event: e.Event) -> ThreadState:
    """The state after one more event."""
    state = state.but(seq=state.seq + 1)
    match event:
        case e.ThreadLaunched():
            return state.but(agent=event.agent, conversation=event.conversation, requester=event.by, run="working")
        case e.MessageReceived():
            return _message(state, event)
        case e.FactsGathered():
            return state.but(briefed=(*state.briefed, event.agent))
        case e.ToolChosen():
            return _chosen(state, event)
        case e.ModelFailed():
            return _model_failed(state, event)
        case e.ModelRetryDue():
            return state.but(model_blocked=False)
        case e.CallPrepared():
            return _prepared(state, event)
        case e.CallRefused():
            return _call_failed(state, event.call_id, event.why, status="not_run")
        case e.RequestOpened():
            return r.opened(state, event)
        case e.DecisionMade():
            return _decided(state, event)
        case e.DecisionRefused():
            return _refused(state, event)
        case e.RequestExpired():
            return r.expired(state, event)
        case e.RequestReminded():
            return r.reminded(state, event)
        case e.EscalationDue():
            return r.escalation_due(state, event)
        case e.RequestEscalated():
            return r.escalated(state, event)
        case e.ToolStarted():
            return _started(state, event)
        case e.ToolFinished():
            return _finished(state, event)
        case e.ToolFailed():
            return _failed(state, event)
        case e.ToolInDoubt():
            return _in_doubt(state, event)
        case e.WaitStarted():
            return state.but(call=None, idle=True)
        case e.WaitEnded():
            return state.but(idle=False, heard=state.seq) if state.idle else state
        case e.HandedOff():
            return state.but(call=None, agent=event.agent, heard=state.seq, failures={})
        case e.RunFinished():
            left = r.withdrawn(state, "cancelled", "the run ended before it ran", event.at)
            done = left.but(idle=False, run="finished", stop_reason="", seen=state.seq)
            return p.say(done, event.message, tone="answer" if event.by_model else "notice")
        case e.Paused():
            return p.say(
                state.but(paused=True), f"Paused by {event.by.name}. Nothing further runs until it is resumed."
            )
        case e.Resumed():
            return p.say(state.but(paused=False), f"Resumed by {event.by.name}.") if state.paused else state
        case e.Cancelled():
            return _cancelled(state, event)
        case e.PostSent() | e.PostFailed() | e.PostHeld() | e.PostReported() | e.PostRetryDue():
            return p.delivered(state, event)
        case e.InboundRefused():
            return state
        case _:
            assert_never(event)


def whisper(state: ThreadState, address: str, text: str, *, known: bool = False) -> ThreadState:
    """One person is to be told something, where they take part or were asked, or anywhere if they are known."""
    channel = address.partition(":")[0]
    here = state.conversation is not None and state.conversation.channel == channel
    elsewhere = address in state.reached or (known and channel in ADDRESS_KEYS.values())
    if not here and not (elsewhere and state.conversation):
        return state
    return state.with_post(Post(id=f"{state.thread_id}:{state.seq}:0", content=Whisper(address, text)))


def _decided(state: ThreadState, event: e.DecisionMade) -> ThreadState:
    """A decision; and a receipt where it came from, if no card is there that will say so."""
    address, one = event.by.address, state.requests.get(event.request_id)
    shown = any(
        isinstance(post.content, RequestCard) and address in {post.to, post.line} for post in state.posts.values()
    )
    state = r.decided(state, event)
    if one is None or address not in state.reached:
        return state
    now = state.requests[event.request_id]
    votes_more = now.status == "pending" and len(now.votes) > len(one.votes)  # a copy changes only at the end
    if shown and not votes_more:
        return state
    title = one.request.preview.title if one.request.preview else one.request.prompt
    verb = {"approve": "You approved", "deny": "You denied"}.get(event.verdict, "You answered")
    missing = (one.request.rule.approvals if one.request.rule else 1) - len(now.votes)
    more = f" {plural(missing, 'more approval')} needed." if votes_more else ""
    return whisper(state, address, f"{verb}: {title}. It is recorded.{more}")


def _trailed(state: ThreadState, address: Address, trail: str) -> ThreadState:
    return state.but(trails={**state.trails, address: trail}) if trail else state


def _refused(state: ThreadState, event: e.DecisionRefused) -> ThreadState:
    if not event.receipt:
        return state
    state = _trailed(state, event.by.address, event.trail)
    key = receipt_key(event.by.address, event.request_id)
    told = state.but(told={**state.told, key: event.at})
    return whisper(told, event.by.address, event.why, known=event.by.kind == "person")


def _message(state: ThreadState, event: e.MessageReceived) -> ThreadState:
    state = _trailed(state, event.by.address, event.trail)
    if state.run in {"finished", "cancelled"}:
        state = state.but(
            run="working",
            steps=0,
            failures={},
            model_failures=0,
            model_problem="",
            briefed=(),
            requester=event.by,
            stop_reason="",
        )
    open_question = r.open_question(state)
    if r.gets_a_hint(state, event.text):
        return whisper(
            state,
            event.by.address,
            "A message in the thread does not decide. Please decide on the request itself: with its buttons, its code, "
            "or a reply to its mail.",
        )
    if r.doubtful(state):
        hint = "I first have to know what became of the interrupted call: please choose on the card above."
        return whisper(r.steered(state, event.by), event.by.address, hint).but(heard=state.seq)
    # Whoever speaks now is heard, even where the run was about to end by itself.
    declined = state.model_problem == "refusal"
    state = r.steered(state, event.by).but(
        idle=False, heard=state.seq, stop_reason="", model_problem="" if declined else state.model_problem
    )
    return r.answered_by_message(state, event, open_question) if open_question else state


def _spent(state: ThreadState, event: e.ToolChosen | e.ModelFailed) -> ThreadState:
    if event.usage is None:
        return state
    used = event.usage
    tokens = used.input_tokens + used.output_tokens + used.cache_read_tokens + used.cache_write_tokens
    return state.but(cost_usd=state.cost_usd + (used.cost_usd or 0.0), tokens=state.tokens + tokens)


def _model_failed(state: ThreadState, event: e.ModelFailed) -> ThreadState:
    state = _spent(state, event)
    if event.saw is not None and event.saw < state.heard and event.reason == "refusal":
        return state  # it declined without the newest message: asked again, as with a choice
    return state.but(
        model_failures=state.model_failures + 1,
        model_problem=event.reason,
        last_error=event.detail,
        model_blocked=event.retry_at is not None,
    )


def _chosen(state: ThreadState, event: e.ToolChosen) -> ThreadState:
    state = _spent(state, event).but(steps=state.steps + 1, model_failures=0, model_problem="", model_blocked=False)
    if event.saw < state.heard:
        return state  # chosen without the newest message: dropped, and asked again
    if state.call and state.call.phase in {"started", "in_doubt"}:
        return state  # a running call is never put aside
    kept = _kept_call(state, event)
    if kept:
        return kept
    dropped = r.superseded(state, event.at)
    call = Call(id=f"{state.thread_id}:{state.seq}:0", tool=event.tool, arguments=event.arguments)
    return dropped.but(call=call, seen=event.saw, idle=False)


def _kept_call(state: ThreadState, event: e.ToolChosen) -> ThreadState | None:
    """The model keeps to the call in hand: it waits for its request, or answers what an approver asked about it."""
    call = state.call
    if call is None or event.tool not in {WAIT, ANSWER}:
        return None
    if call.phase != "asked_back":
        return state.but(seen=event.saw) if event.tool == WAIT else None
    answer = event.arguments.get("answer") if event.tool == ANSWER else None
    # In one line: on the card, nothing of it can pose as a line of somebody else (AP14).
    talk = f"{call.talk}\nThe agent answers: {one_line(answer)}" if isinstance(answer, str) else call.talk
    again = Call(
        id=call.id, tool=call.tool, arguments=call.arguments, proposed=call.proposed, edited_by=call.edited_by,
        talk=talk, escalated=call.escalated,
    )  # fmt: skip
    return state.but(call=again, seen=event.saw)


def _prepared(state: ThreadState, event: e.CallPrepared) -> ThreadState:
    call = state.call
    if call is None or call.id != event.call_id or call.phase not in {"chosen", "prepared"}:
        return state
    prepared = event.prepared
    before = call.prepared.ruling.verdict if call.prepared and call.phase == "prepared" else ""
    state = state.but(call=replace(call, phase="prepared", prepared=prepared))
    if not prepared.writes or prepared.ruling.verdict == "refuse":
        return state
    state = state.with_activity(call.id, Activity(title=prepared.preview.title))
    if before == "run" and prepared.ruling.verdict == "approve":  # what is shown of it must not look as if it ran
        return r.activity_is(state, call.id, "not_run", "it takes an approval by now")
    if before != "run" and prepared.ruling.verdict == "run" and state.conversation:
        return state.with_post(Post(id=f"{state.thread_id}:{state.seq}:0", content=ActivityCard(call.id)))
    return state


def _started(state: ThreadState, event: e.ToolStarted) -> ThreadState:
    call = state.call
    if call is None or call.id != event.call_id:
        return state
    state = r.change_stands(state)
    state = state.but(call=replace(state.call or call, phase="started", place=event.place))
    return r.activity_is(state, call.id, "running")


def _finished(state: ThreadState, event: e.ToolFinished) -> ThreadState:
    call = state.call
    if call is None or call.id != event.call_id:
        return state
    left = {tool: count for tool, count in state.failures.items() if tool != call.tool}
    state = state.but(call=None, failures=left, heard=state.seq)
    return r.activity_is(state, call.id, "succeeded", event.summary, seconds=event.seconds, artifact=event.artifact)


def _failed(state: ThreadState, event: e.ToolFailed) -> ThreadState:
    state = _call_failed(state, event.call_id, event.error, status="failed", summary=event.summary)
    done = state.activities.get(event.call_id)
    if done is None or done.status != "failed":
        return state
    return state.with_activity(event.call_id, replace(done, seconds=event.seconds, artifact=event.artifact))


def _call_failed(state: ThreadState, call_id: str, error: str, *, status: str, summary: str = "") -> ThreadState:
    call = state.call
    if call is None or call.id != call_id:
        return state
    if call.before and call.phase in {"chosen", "prepared"}:
        return r.change_undone(state, call.before, error)
    failures = {**state.failures, call.tool: state.failures.get(call.tool, 0) + 1}
    state = state.but(call=None, failures=failures, last_error=error, heard=state.seq)
    return r.activity_is(state, call_id, "failed" if status == "failed" else "not_run", summary or error)


def _in_doubt(state: ThreadState, event: e.ToolInDoubt) -> ThreadState:
    call = state.call
    if call is None or call.id != event.call_id:
        return state
    state = state.but(call=replace(call, phase="in_doubt", request_id=None), last_error=event.why)
    return r.activity_is(state, call.id, "in_doubt", event.why)


def _cancelled(state: ThreadState, event: e.Cancelled) -> ThreadState:
    if state.run in {"empty", "finished", "cancelled"}:
        return state
    running = state.call is not None and state.call.phase in {"started", "in_doubt"}
    left = r.withdrawn(state, "cancelled", f"cancelled by {event.by.name}", event.at, event.by)
    left = left.but(run="cancelled", idle=False, paused=False, model_blocked=False)
    tail = "What is running now is left to finish; nothing further runs." if running else "Nothing further runs."
    return p.say(left, f"Cancelled by {event.by.name}. {tail}")
