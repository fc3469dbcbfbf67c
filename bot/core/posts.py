"""What becomes of posts: the part of the fold that follows what a channel says of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from bot.core import events as e
from bot.core.faces import is_settled
from bot.core.state import Post, Report, Say, ThreadState
from bot.core.values import PostId

_MOST_EARLY = 5
"""Reports on one post that are kept until it is known which sending they are about."""


def say(state: ThreadState, text: str, *, tone: str = "notice") -> ThreadState:
    """The conversation is to be told something. Its id comes from the event that says so."""
    known = {"answer": "answer", "notice": "notice", "problem": "problem"}
    post = Post(id=f"{state.thread_id}:{state.seq}:0", content=Say(text, known[tone]))  # type: ignore[arg-type]
    return state.with_post(post) if state.conversation else state


def delivered(
    state: ThreadState, event: e.PostSent | e.PostFailed | e.PostHeld | e.PostReported | e.PostRetryDue
) -> ThreadState:
    """The state after a channel said what became of a post, or after a pause was over."""
    if event.post_id in state.called_off:
        if isinstance(event, e.PostReported):
            return _noted(state, event)
        if _may_have_arrived(event):
            state = _back(state, event.post_id)
    post = state.posts.get(event.post_id)
    if post is None:
        return state
    match event:
        case e.PostRetryDue():
            return state.with_post(replace(post, blocked=False))
        case e.PostHeld():
            return state.with_post(replace(post, blocked=True))
        case e.PostFailed():
            return _post_failed(state, post, event)
        case e.PostReported():
            return _reported(state, post, _report(event), event.at)
        case e.PostSent():
            return _sent(state, post, event)


def _sent(state: ThreadState, post: Post, event: e.PostSent) -> ThreadState:
    state = state.but(conversation=event.conversation or state.conversation)
    if event.to and event.to not in state.reached:
        state = state.but(reached=(*state.reached, event.to))
    shown = replace(
        post, ref=event.ref, shown=event.face, attempts=0, in_doubt=False, blocked=False,
        to=event.to, tracked=event.tracked, early=(),
    )  # fmt: skip
    known = [one for one in post.early if one.ref in {event.ref, ""}]
    return _reported(state, shown, known[-1], event.at) if known else _kept(state, shown)


def _may_have_arrived(event: e.Event) -> bool:
    return isinstance(event, e.PostSent) or (isinstance(event, e.PostFailed) and event.in_doubt)


def _back(state: ThreadState, post_id: PostId) -> ThreadState:
    """It was on its way when it was called off: whoever got it is to see how that ended (AP11)."""
    left = {key: post for key, post in state.called_off.items() if key != post_id}
    return state.with_post(state.called_off[post_id]).but(called_off=left)


def _post_failed(state: ThreadState, post: Post, event: e.PostFailed) -> ThreadState:
    lost = event.unreachable and bool(post.line)
    if lost and not post.lost:
        place = post.line.partition(":")[2]
        state = say(state, f"I cannot reach {place}, who may decide this, and know no other way.", tone="problem")
    if event.retry_at is None:
        return _without(state, post)
    tried = replace(post, attempts=post.attempts + 1, blocked=True, in_doubt=event.in_doubt, lost=lost)
    return state.with_post(tried)


def _report(event: e.PostReported) -> Report:
    return Report(event.ref, event.outcome, event.retry_at)


def _noted(state: ThreadState, event: e.PostReported) -> ThreadState:
    """A report on a post that was called off while it was on its way, in case that it turns out to have been sent."""
    post = _with_early(state.called_off[event.post_id], _report(event))
    return state.but(called_off={**state.called_off, post.id: post})


def _with_early(post: Post, report: Report) -> Post:
    return replace(post, early=(*post.early, report)[-_MOST_EARLY:])


def _reported(state: ThreadState, post: Post, report: Report, at: datetime) -> ThreadState:
    """What became of a post on its way. A report that comes twice changes nothing, and one may come early (SM11)."""
    if not post.ref or (report.ref and report.ref != post.ref):
        # Of a sending that is not on record yet, or of one before. Without a ref, what was sent anew could be either.
        return state if post.resent and not report.ref else state.with_post(_with_early(post, report))
    if report.ref and not post.tracked:
        return state
    again = report.outcome == "undeliverable" or (report.outcome == "retry" and not post.resent)
    if not again:
        return _kept(state, replace(post, tracked=False))
    # Sent anew: the outbox knows by now which addresses are of no use, and takes another one of the same person.
    waits = report.retry_at is not None and report.retry_at > at
    return state.with_post(replace(post, ref=None, shown="", to="", tracked=False, resent=True, blocked=waits))


def _kept(state: ThreadState, post: Post) -> ThreadState:
    """With the post as it is now, unless there is nothing left to do for it."""
    return _without(state, post) if is_settled(state, post) else state.with_post(post)


def _without(state: ThreadState, post: Post) -> ThreadState:
    return state.but(posts={key: one for key, one in state.posts.items() if key != post.id})
