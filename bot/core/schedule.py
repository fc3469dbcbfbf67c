"""Which timers an event sets, and whether one that is due still means anything. The store keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bot.core import events as e
from bot.core.state import ThreadState
from bot.core.values import Request

_REMINDERS = (0.5, 0.9)
"""Where a request has no rule (AP11)."""


@dataclass(frozen=True)
class Timer:
    """At `at`, append `event`. A timer of the same name replaces the one before."""

    name: str
    at: datetime
    event: e.Event


def timers_of(event: e.Event) -> tuple[Timer, ...]:
    """The timers that are set together with this event, in the same atomic step."""
    match event:
        case e.RequestOpened(request=request) if request.expires_at:
            return _of_request(request, event.at, request.expires_at)
        case e.ModelFailed(retry_at=at) if at:
            return (Timer("model", at, e.ModelRetryDue(at=at)),)
        case e.PostFailed(retry_at=at) | e.PostReported(retry_at=at) if at:
            return (Timer(f"post:{event.post_id}", at, e.PostRetryDue(at=at, post_id=event.post_id)),)
        case e.PostHeld(until=at):
            return (Timer(f"post:{event.post_id}", at, e.PostRetryDue(at=at, post_id=event.post_id)),)
        case e.WaitStarted(until=at) if at:
            return (Timer("wait", at, e.WaitEnded(at=at)),)
        case _:
            return ()


def _of_request(request: Request, opened: datetime, end: datetime) -> tuple[Timer, ...]:
    """The end of a request; on the way there reminders, and who else is asked."""
    life = end - opened
    rule = request.rule
    timers = [Timer(f"expiry:{request.id}", end, e.RequestExpired(at=end, request_id=request.id))]
    for share in rule.reminders if rule else _REMINDERS:
        at = opened + life * share
        timers.append(
            Timer(f"remind:{request.id}:{share:g}", at, e.RequestReminded(at=at, request_id=request.id, share=share))
        )
    for step, one in enumerate(rule.escalation if rule else ()):
        if step < request.steps_due:
            continue
        at = opened + life * one.after
        timers.append(
            Timer(f"escalate:{request.id}:{step}", at, e.EscalationDue(at=at, request_id=request.id, step=step))
        )
    return tuple(timers)


def still_due(state: ThreadState, event: e.Event, now: datetime) -> bool:
    """Whether the event of a timer would change anything; if not, the timer is dropped without a trace.

    Timers that came due while no worker ran fire together: then nobody is nudged about a request whose end has come.
    """
    match event:
        case e.RequestExpired(request_id=request_id):
            one = state.requests.get(request_id)
            return one is not None and one.status == "pending"
        case e.RequestReminded(request_id=request_id) | e.EscalationDue(request_id=request_id):
            one = state.requests.get(request_id)
            over = one is not None and one.request.expires_at is not None and now >= one.request.expires_at
            return one is not None and one.status == "pending" and not over
        case e.ModelRetryDue():
            return state.model_blocked
        case e.PostRetryDue(post_id=post_id):
            post = state.posts.get(post_id)
            return post is not None and post.blocked
        case e.WaitEnded():
            return state.idle
        case _:
            return True
