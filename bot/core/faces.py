"""What a post has to show now. A post whose face differs from what was shown last is delivered (again)."""

from __future__ import annotations

from bot.core.state import Activity, ActivityCard, Post, Reminder, RequestCard, Say, ThreadState, Whisper

_DONE = frozenset({"succeeded", "failed", "not_run"})


def face_of(state: ThreadState, post: Post) -> str:
    """A short text that changes exactly when the post must look different."""
    match post.content:
        case Say() | Whisper() | Reminder():
            return "said"
        case ActivityCard(call_id):
            return _seen(state.activities[call_id])
        case RequestCard(request_id, to) if to:
            return state.requests[request_id].status  # a copy says what was decided, not how the call went
        case RequestCard(request_id):
            one = state.requests[request_id]
            activity = state.activities.get(one.request.call_id or "")
            parts = [one.status]
            if one.votes and one.status == "pending":
                parts.append(f"{len(one.votes)} of {one.request.rule.approvals if one.request.rule else 1}")
            if activity and one.status == "approved" and one.request.kind == "approval":
                parts.append(_seen(activity))
            return ", ".join(parts)


def _seen(activity: Activity) -> str:
    """How an activity stands, for people: to be started and to run look the same, which saves a call to the channel."""
    return "running" if activity.status == "ready" else activity.status


def is_settled(state: ThreadState, post: Post) -> bool:
    """Whether the post shows what it should and will never change again."""
    face = face_of(state, post)
    if post.shown != face or post.tracked:
        return False
    match post.content:
        case Say() | Whisper() | Reminder():
            return True
        case ActivityCard():
            return face in _DONE
        case RequestCard(request_id, to):
            one = state.requests[request_id]
            if one.status == "pending" or to:
                return one.status != "pending"
            activity = state.activities.get(one.request.call_id or "")
            return one.status != "approved" or activity is None or activity.status in _DONE


def needs_delivery(state: ThreadState, post: Post) -> bool:
    """Whether the channel should be called for this post now."""
    return not post.blocked and post.shown != face_of(state, post)
