"""How a thread stands, in a sentence or two, for whoever asks the bot itself. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.core.events import Cancelled, MessageReceived, Paused, RequestOpened, ToolStarted, WaitStarted
from bot.core.log import Log
from bot.core.state import RequestState
from bot.core.values import ThreadId
from bot.core.wording import cut, one_line, plural

_SHORT_ID = 9
_MOST_NAMES = 5


def standing(log: Log, at: datetime) -> str:
    """What a thread is doing now, in one sentence, and the last error where it is in trouble."""
    state = log.state
    trouble = bool(state.failures or state.model_failures) and bool(state.last_error)
    error = f" The last error: {cut(one_line(state.last_error), 160)}" if trouble else ""
    return f"{_doing(log, at)}{error}"


def _doing(log: Log, at: datetime) -> str:
    state, call = log.state, log.state.call
    activity = state.activities.get(call.id) if call else None
    if state.run == "cancelled":
        by = next((event.by.name for event in reversed(log.events) if isinstance(event, Cancelled)), "somebody")
        tail = " What ran by then is left to finish." if call and call.phase == "started" else ""
        return f"Cancelled by {one_line(by)}.{tail}"
    if call and call.phase == "started":
        since = _since(log, ToolStarted)
        return f"Running “{one_line(activity.title if activity else call.tool)}”{since}."
    if state.pending:
        return _waiting(log, state.pending[0], at)
    if state.run == "finished":
        return "Finished."
    if state.paused:
        by = next((event.by.name for event in reversed(log.events) if isinstance(event, Paused)), "somebody")
        return f"Paused by {one_line(by)}."
    if state.model_blocked:
        return "The model gave no answer; I ask it again in a while."
    if state.idle:
        found = next((event for event in reversed(log.events) if isinstance(event, WaitStarted)), None)
        until = f" until {found.until:%H:%M} UTC" if found and found.until else ""
        return f"Waiting{until}{_since(log, WaitStarted)}: {cut(one_line(found.reason), 120) if found else ''}"
    return f"Working: {one_line(activity.title if activity else call.tool)}." if call else "Working on it."


def _waiting(log: Log, one: RequestState, at: datetime) -> str:
    request = one.request
    opened = (event.at for event in log.events if isinstance(event, RequestOpened) and event.request.id == request.id)
    left = f" ({duration(request.expires_at - at)} left)" if request.expires_at else ""
    alone = request.rule is not None and request.rule.approvals - len(one.votes) == 1
    verb = {"approval": " to approve" if alone else "", "question": " to answer" if request.rule else ""}[request.kind]
    more = len(log.state.pending) - 1
    also = f" {more} more wait." if more else ""
    return f"Waiting for {deciders(one)}{verb}: “{title(one)}”, since {next(opened, at):%H:%M} UTC{left}.{also}"


def _since(log: Log, kind: type[ToolStarted | WaitStarted]) -> str:
    found = next((event.at for event in reversed(log.events) if isinstance(event, kind)), None)
    return f", since {found:%H:%M} UTC" if found else ""


def deciders(one: RequestState) -> str:
    """Who is asked, by name."""
    if one.request.rule is None:
        return "an answer"
    voted = {vote.by.id for vote in one.votes}
    able = {actor.id: one_line(actor.name) for actor in (*one.request.deciders, *one.joined) if actor.id not in voted}
    if not able:
        return "somebody who may decide; nobody in the people file may"
    missing = one.request.rule.approvals - len(voted)
    names = [*able.values()][:_MOST_NAMES]
    names += [f"{len(able) - _MOST_NAMES} more"] if len(able) > _MOST_NAMES else []
    return " or ".join(names) if missing == 1 else f"{plural(missing, 'approval')} of {', '.join(names)}"


def title(one: RequestState) -> str:
    """What a request is about."""
    request = one.request
    return cut(one_line(request.preview.title if request.preview else request.prompt), 120)


def subject(log: Log) -> str:
    """What a thread is about: the words that began it."""
    return next((one_line(event.text) for event in log.events if isinstance(event, MessageReceived)), "")


def ago(log: Log, at: datetime) -> str:
    """When something last happened in a thread."""
    gone = at - log.events[-1].at if log.events else timedelta()
    return "just now" if gone < timedelta(minutes=1) else f"{duration(gone)} ago"


def duration(left: timedelta) -> str:
    """`45 seconds`, `12 minutes`, `2 h 5 min`, `3 days`."""
    seconds = max(0, int(left.total_seconds()))
    minutes, hours = seconds // 60, seconds // 3600
    if not minutes:
        return plural(seconds, "second")
    if not hours:
        return plural(minutes, "minute")
    return f"{hours} h {minutes % 60} min" if hours < 48 else plural(hours // 24, "day")  # noqa: PLR2004


def short(thread_id: ThreadId) -> str:
    """As much of a thread's id as people are shown and need to write."""
    return thread_id[:_SHORT_ID]
