"""What becomes of posts: the part of the fold that follows what a channel says of them."""

from __future__ import annotations

from dataclasses import replace

from bot.core import events as e
from bot.core.faces import is_settled
from bot.core.state import Post, Say, ThreadState
from bot.core.values import PostId


def say(state: ThreadState, text: str, *, tone: str = "notice") -> ThreadState:
    """The conversation is to be told something. Its id comes from the event that says so."""
    known = {"answer": "answer", "notice": "notice", "problem": "problem"}
    post = Post(id=f"{state.thread_id}:{state.seq}:0", content=Say(text, known[tone]))  # type: ignore[arg-type]
    return state.with_post(post) if state.conversation else state


def delivered(
    state: ThreadState, event: e.PostSent | e.PostFailed | e.PostHeld | e.PostReported | e.PostRetryDue
) -> ThreadState:
    """The state after a channel said what became of a post, or after a pause was over."""
    if event.post_id in state.called_off and _may_have_arrived(event):
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
            return _reported(state, post, event)
        case e.PostSent():
            state = state.but(conversation=event.conversation or state.conversation)
            if event.to and event.to not in state.reached:
                state = state.but(reached=(*state.reached, event.to))
            shown = replace(
                post, ref=event.ref, shown=event.face, attempts=0, in_doubt=False, blocked=False,
                to=event.to, tracked=event.tracked,
            )  # fmt: skip
            return _kept(state, shown)


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


def _reported(state: ThreadState, post: Post, event: e.PostReported) -> ThreadState:
    """What became of a post on its way. A report that comes late or twice changes nothing (SM11)."""
    stale = bool(event.ref) and (event.ref != post.ref or not post.tracked)
    if not post.ref or stale:
        return state
    again = event.outcome == "undeliverable" or (event.outcome == "retry" and not post.resent)
    if not again:
        return _kept(state, replace(post, tracked=False))
    # Sent anew: the outbox knows by now which addresses are of no use, and takes another one of the same person.
    anew = replace(post, ref=None, shown="", to="", tracked=False, resent=True, blocked=event.retry_at is not None)
    return state.with_post(anew)


def _kept(state: ThreadState, post: Post) -> ThreadState:
    """With the post as it is now, unless there is nothing left to do for it."""
    return _without(state, post) if is_settled(state, post) else state.with_post(post)


def _without(state: ThreadState, post: Post) -> ThreadState:
    return state.but(posts={key: one for key, one in state.posts.items() if key != post.id})
