"""What becomes of requests: the part of the fold that opens, decides, expires and withdraws them.

A final state is final (AP1): nothing here moves a request out of one.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from bot.core import events as e
from bot.core.builtins import STOP
from bot.core.people import Actor
from bot.core.state import (
    Activity,
    ActivityStatus,
    Call,
    Post,
    Reminder,
    RequestCard,
    RequestState,
    RequestStatus,
    ThreadState,
    Unchanged,
    Vote,
)
from bot.core.values import Artifact, CallId
from bot.core.wording import NO_WORDS, cut, is_bare_decision, normalise, one_line

_BEFORE = "Before it was changed:"
_NOT_RUNNABLE = " changed it to what cannot be run:"


def open_question(state: ThreadState) -> RequestState | None:
    """The question that a message in the thread would answer."""
    return next(
        (one for one in state.pending if one.request.kind == "question" and one.request.purpose != "in_doubt"), None
    )


def open_approval(state: ThreadState) -> RequestState | None:
    """The approval that waits."""
    return next((one for one in state.pending if one.request.kind == "approval"), None)


def gets_a_hint(state: ThreadState, text: str) -> bool:
    """Whether a message is a mere yes or no while an approval waits, and nothing that it could answer (AP15)."""
    return is_bare_decision(text) and open_question(state) is None and open_approval(state) is not None


def doubtful(state: ThreadState) -> bool:
    """Whether a call is in doubt: nothing goes on before a person has said what became of it."""
    return state.call is not None and state.call.phase == "in_doubt"


def opened(state: ThreadState, event: e.RequestOpened) -> ThreadState:
    """A request waits, and its card is to be shown."""
    request = event.request
    state = state.with_request(RequestState(request, copies=request.copies, escalations_due=request.steps_due))
    if state.conversation:
        state = state.with_post(Post(id=f"{state.thread_id}:{state.seq}:0", content=RequestCard(request.id)))
        for n, address in enumerate(request.copies, 1):
            state = state.with_post(Post(f"{state.thread_id}:{state.seq}:{n}", RequestCard(request.id, address)))
    state = change_stands(state)
    call = state.call
    if call is None or request.call_id != call.id:
        return state
    phase = call.phase if request.purpose == "in_doubt" else "waiting"
    return state.but(call=replace(call, phase=phase, request_id=request.id))


def decided(state: ThreadState, event: e.DecisionMade) -> ThreadState:
    """A permitted decision: the first one settles a pending request, approvals once there are enough of them (AP6)."""
    one = state.requests.get(event.request_id)
    if one is None or one.status != "pending" or (event.verdict == "answer") != (one.request.kind == "question"):
        return state
    if event.verdict == "answer":
        return _answered(state, one, event)
    if event.verdict in {"edit", "ask"}:
        return _put_anew(state, one, event)
    if event.verdict == "deny":
        status: RequestStatus = "cancelled" if event.by.id in one.request.requesters else "denied"
        settled = replace(one, status=status, decided_by=event.by, decided_at=event.at, text=event.text)
        if event.text:  # what comes next answers to the reason: whoever gave it has shaped it (AP7)
            state = steered(state, event.by)
        return _call_dropped(_closed(state, settled), one, f"denied by {event.by.name}").but(heard=state.seq)
    if event.digest != one.request.digest or one.has_vote_of(event.by.id):
        return state
    votes = (*one.votes, Vote(event.by, event.at))
    needed = one.request.rule.approvals if one.request.rule else 1
    if len(votes) < needed:
        return state.with_request(replace(one, votes=votes))
    settled = replace(one, status="approved", votes=votes, decided_by=event.by, decided_at=event.at)
    state = _closed(state, settled)
    call = state.call
    if call is None or call.id != one.request.call_id or call.phase != "waiting":
        return state
    return activity_is(state, call.id, "ready").but(call=replace(call, phase="approved"))


def _put_anew(state: ThreadState, one: RequestState, event: e.DecisionMade) -> ThreadState:
    """An approver changed the call, or asked about it: this request is over, and the call will need another one."""
    name = one_line(event.by.name)
    text = f"{name} changed it" if event.verdict == "edit" else f"{name} asks: {one_line(event.text)}"
    state = _closed(state, replace(one, status="superseded", decided_by=event.by, decided_at=event.at, text=text))
    if event.verdict == "ask":
        state = state.but(asked_by=(*state.asked_by, event.by.id))
    call = state.call
    if call is None or call.id != one.request.call_id or call.phase != "waiting":
        return state
    taken = max(one.escalated, one.request.steps_due)
    steps = one.request.rule.escalation[:taken] if one.request.rule else ()
    if event.verdict == "ask":
        talk = f"{call.talk}\n{text}".strip()
        asked = replace(call, phase="asked_back", request_id=None, talk=talk, escalated=steps)
        return state.but(call=asked, heard=state.seq)
    before = Unchanged(replace(call, escalated=steps), event.by.id, name)
    editors = dict.fromkeys((*filter(None, call.edited_by.split(" and ")), name))
    edited = Call(
        id=call.id, tool=call.tool, arguments=event.arguments or {},
        proposed=call.arguments if call.proposed is None else call.proposed,
        edited_by=" and ".join(editors), before=before, talk=_of_before(call.talk),
    )  # fmt: skip
    return state.but(call=edited)


def change_stands(state: ThreadState) -> ThreadState:
    """What somebody made of the call can be, so they have shaped it: under four eyes another one approves it (AP7)."""
    call = state.call
    if call is None or call.before is None:
        return state
    return state.but(steered_by=state.shaped_by, call=replace(call, before=None))


def _of_before(talk: str) -> str:
    """What was said of other arguments does not vouch for these; that others could not be run is of no matter now."""
    lines = (line for line in talk.splitlines() if line.strip() and _NOT_RUNNABLE not in line)
    return "\n".join(line if line.startswith(_BEFORE) else f"{_BEFORE} {line}" for line in lines)


def change_undone(state: ThreadState, before: Unchanged, why: str) -> ThreadState:
    """What somebody made of a call cannot be: it is put to people as it was, and says so (AP13).

    Whoever tried has shaped nothing of it; what the agent chooses next they have.
    """
    line = f"{before.name}{_NOT_RUNNABLE} {cut(one_line(why), 300)} So it is as it was before."
    again = replace(
        before.call, phase="chosen", prepared=None, request_id=None, talk=f"{before.call.talk}\n{line}".strip()
    )
    return state.but(call=again, asked_by=(*state.asked_by, before.editor))


def reminded(state: ThreadState, event: e.RequestReminded) -> ThreadState:
    """Whoever was asked and has not decided is nudged, each where they were asked."""
    one = state.requests.get(event.request_id)
    if one is None or one.status != "pending" or not state.conversation:
        return state
    voted = {vote.by.id for vote in one.votes}
    left = [actor for actor in (*one.request.deciders, *one.joined) if actor.id not in voted]
    here = one.request.rule is None or any(actor.address and actor.address not in one.copies for actor in left)
    lines = [*([""] if here else []), *(actor.address for actor in left if actor.address in one.copies)]
    for n, line in enumerate(dict.fromkeys(lines)):
        state = state.with_post(Post(f"{state.thread_id}:{state.seq}:{n}", Reminder(one.request.id, line)))
    return state


def escalation_due(state: ThreadState, event: e.EscalationDue) -> ThreadState:
    """The next step of the escalation is to be taken."""
    one = state.requests.get(event.request_id)
    if one is None or one.status != "pending":
        return state
    return state.with_request(replace(one, escalations_due=max(one.escalations_due, event.step + 1)))


def escalated(state: ThreadState, event: e.RequestEscalated) -> ThreadState:
    """More people were brought in."""
    one = state.requests.get(event.request_id)
    if one is None or one.status != "pending":
        return state
    wider = replace(
        one,
        escalated=event.step + 1,
        joined=(*one.joined, *event.deciders),
        copies=(*one.copies, *event.copies),
    )
    state = state.with_request(wider)
    for n, address in enumerate(event.copies, 1):
        state = state.with_post(Post(f"{state.thread_id}:{state.seq}:{n}", RequestCard(one.request.id, address)))
    return state


def answered_by_message(state: ThreadState, event: e.MessageReceived, one: RequestState) -> ThreadState:
    """A reply in the thread answers the open question."""
    settled = replace(one, status="answered", decided_by=event.by, decided_at=event.at, text=event.text)
    said = normalise(event.text)
    stop = one.request.purpose != "model" and (said == normalise(STOP) or said in NO_WORDS)
    return _goes_on(_closed(state, settled), one, stopped_by=event.by if stop else None)


def _answered(state: ThreadState, one: RequestState, event: e.DecisionMade) -> ThreadState:
    settled = replace(one, status="answered", decided_by=event.by, decided_at=event.at, text=event.text)
    state = steered(_closed(state, settled), event.by)
    if one.request.purpose == "in_doubt":
        return _doubt_settled(state, one, event)
    stop = one.request.purpose != "model" and event.text == STOP
    return _goes_on(state, one, stopped_by=event.by if stop else None)


def _goes_on(state: ThreadState, one: RequestState, *, stopped_by: Actor | None) -> ThreadState:
    reason = f"Stopped, as {stopped_by.name} asked." if stopped_by else ""
    state = state.but(heard=state.seq, stop_reason=reason)
    if one.request.purpose == "model":
        own = state.call is not None and state.call.id == one.request.call_id
        return state.but(call=None) if own else state
    return state.but(steps=0, failures={}, model_failures=0, model_problem="", model_blocked=False)


def _doubt_settled(state: ThreadState, one: RequestState, event: e.DecisionMade) -> ThreadState:
    succeeded = bool(one.request.choices) and event.text == one.request.choices[0]
    state = activity_is(
        state, one.request.call_id or "", "succeeded" if succeeded else "failed", f"{event.by.name} says: {event.text}"
    )
    return state.but(call=None, heard=state.seq)


def expired(state: ThreadState, event: e.RequestExpired) -> ThreadState:
    """The life of a request is over: the agent hears "timed out", which is not "denied" (AP4)."""
    one = state.requests.get(event.request_id)
    if one is None or one.status != "pending":
        return state
    state = _closed(state, replace(one, status="expired", decided_at=event.at))
    if one.request.purpose in {"model", "approval"}:
        return _call_dropped(state, one, "nobody decided in time").but(heard=state.seq)
    return state.but(stop_reason="Nobody answered, so I stopped here.")


def superseded(state: ThreadState, at: datetime) -> ThreadState:
    """The model chose something else: what waited for a person waits no more, and whoever asked about it shaped it."""
    for actor_id in (*state.shaped_by, *state.asked_by):
        state = steered_by_id(state, actor_id)
    return withdrawn(state.but(asked_by=()), "superseded", "the plan changed before it ran", at)


def withdrawn(
    state: ThreadState, status: RequestStatus, why: str, at: datetime, by: Actor | None = None
) -> ThreadState:
    """Every pending request ends in `status`, and the call in hand, unless it runs, is put aside."""
    for one in state.pending:
        if one.request.purpose != "in_doubt":
            state = _closed(state, replace(one, status=status, decided_by=by, decided_at=at))
    call = state.call
    if call is None or call.phase in {"started", "in_doubt"}:
        return state
    return activity_is(state, call.id, "not_run", why).but(call=None)


def _closed(state: ThreadState, one: RequestState) -> ThreadState:
    """A request has reached a final state: nobody is asked any more who has not been asked yet."""
    unasked = {
        post.id: post
        for post in state.posts.values()
        if isinstance(post.content, RequestCard | Reminder)
        and post.content.request_id == one.request.id
        and (post.line or isinstance(post.content, Reminder))
        and not (post.shown or post.in_doubt)
    }
    left = {key: post for key, post in state.posts.items() if key not in unasked}
    return state.with_request(one).but(posts=left, called_off={**state.called_off, **unasked})


def steered(state: ThreadState, by: Actor) -> ThreadState:
    """This actor's words shape the run from here on: under four eyes they cannot approve what comes of it."""
    return steered_by_id(state, by.id)


def steered_by_id(state: ThreadState, actor_id: str) -> ThreadState:
    """As `steered`."""
    return state if actor_id in state.steered_by else state.but(steered_by=(*state.steered_by, actor_id))


def activity_is(
    state: ThreadState,
    call_id: CallId,
    status: ActivityStatus,
    summary: str = "",
    *,
    seconds: float = 0.0,
    artifact: Artifact | None = None,
) -> ThreadState:
    """The activity of a call, if people get to see one, has come this far."""
    activity = state.activities.get(call_id)
    if activity is None:
        return state
    changed = Activity(activity.title, status, summary, seconds, artifact or activity.artifact)
    return state.with_activity(call_id, changed)


def _call_dropped(state: ThreadState, one: RequestState, why: str) -> ThreadState:
    call = state.call
    if call is None or call.id != one.request.call_id:
        return state
    return activity_is(state, call.id, "not_run", why).but(call=None)
