"""Which timers an event sets, and whether one that is due still means anything. The store keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bot.core import events as e
from bot.core.state import ThreadState


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
            at = request.expires_at
            return (Timer(f"expiry:{request.id}", at, e.RequestExpired(at=at, request_id=request.id)),)
        case e.ModelFailed(retry_at=at) if at:
            return (Timer("model", at, e.ModelRetryDue(at=at)),)
        case e.PostFailed(retry_at=at) | e.PostReported(retry_at=at) if at:
            return (Timer(f"post:{event.post_id}", at, e.PostRetryDue(at=at, post_id=event.post_id)),)
        case e.WaitStarted(until=at) if at:
            return (Timer("wait", at, e.WaitEnded(at=at)),)
        case _:
            return ()


def still_due(state: ThreadState, event: e.Event) -> bool:
    """Whether the event of a timer would change anything; if not, the timer is dropped without a trace."""
    match event:
        case e.RequestExpired(request_id=request_id):
            one = state.requests.get(request_id)
            return one is not None and one.status == "pending"
        case e.ModelRetryDue():
            return state.model_blocked
        case e.PostRetryDue(post_id=post_id):
            post = state.posts.get(post_id)
            return post is not None and post.blocked
        case e.WaitEnded():
            return state.idle
        case _:
            return True
