"""What the model gets to see: the log rendered as text blocks.

Storage is what happened, context is what the model needs. Blocks are only ever added at the end (so that a prompt cache
hits), except that errors which were overcome disappear. What humans and tools wrote is escaped, so that it cannot pose
as structure, and secrets are hidden.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from bot.core import events as e
from bot.core.fold import step
from bot.core.people import Actor
from bot.core.redact import redact
from bot.core.requests import gets_a_hint
from bot.core.state import ThreadState
from bot.core.values import CallId, Request, ThreadId
from bot.core.wording import is_bare_decision


def render_context(thread_id: ThreadId, log: Sequence[e.Event]) -> tuple[str, ...]:
    """The thread as the model sees it: one block for each event that matters, oldest first."""
    calls = _calls(thread_id, log)
    hidden = _overcome(thread_id, log, calls) | _dropped(log) | _hinted(thread_id, log)
    requests: dict[str, Request] = {}
    blocks: list[str] = []
    for seq, event in enumerate(log, start=1):
        if isinstance(event, e.RequestOpened):
            requests[event.request.id] = event.request
        if seq in hidden:
            continue
        block = _block(event, calls, requests)
        if block:
            blocks.append(block)
    return tuple(blocks)


def _calls(thread_id: ThreadId, log: Sequence[e.Event]) -> dict[CallId, str]:
    chosen = ((seq, event) for seq, event in enumerate(log, start=1) if isinstance(event, e.ToolChosen))
    return {f"{thread_id}:{seq}:0": event.tool for seq, event in chosen}


def _overcome(thread_id: ThreadId, log: Sequence[e.Event], calls: dict[CallId, str]) -> set[int]:
    """Positions of failed calls, and of their choices, whose tool succeeded later."""
    succeeded_later: set[str] = set()
    hidden: set[int] = set()
    for seq in range(len(log), 0, -1):
        event = log[seq - 1]
        if isinstance(event, e.ToolFinished):
            succeeded_later.add(calls.get(event.call_id, ""))
        elif isinstance(event, e.ToolFailed | e.CallRefused) and calls.get(event.call_id) in succeeded_later:
            hidden.add(seq)
            hidden.add(int(event.call_id.removeprefix(f"{thread_id}:").partition(":")[0]))
    return hidden


def _dropped(log: Sequence[e.Event]) -> set[int]:
    """Positions of choices that were made without a message that was already there."""
    dropped: set[int] = set()
    heard = 0
    for seq, event in enumerate(log, start=1):
        if isinstance(event, e.MessageReceived):
            heard = seq
        elif isinstance(event, e.ToolChosen) and event.saw < heard:
            dropped.add(seq)
    return dropped


def _hinted(thread_id: ThreadId, log: Sequence[e.Event]) -> set[int]:
    """Positions of a bare yes or no to an approval: it got a hint (AP15), and its writer has no say in what comes."""
    if not any(isinstance(event, e.MessageReceived) and is_bare_decision(event.text) for event in log):
        return set()
    hinted, state = set[int](), ThreadState(thread_id=thread_id)
    for seq, event in enumerate(log, start=1):
        if isinstance(event, e.MessageReceived) and gets_a_hint(state, event.text):
            hinted.add(seq)
        state = step(state, event)
    return hinted


def _block(event: e.Event, calls: dict[CallId, str], requests: dict[str, Request]) -> str:  # noqa: C901, PLR0912 one match over all events
    match event:
        case e.ThreadLaunched():
            where = event.conversation.channel if event.conversation else "api"
            return _tag("launched", "", by=_who(event.by), on=where, at=_time(event.at))
        case e.MessageReceived():
            text = event.text + (f"\n[{event.cut_characters} characters cut]" if event.cut_characters else "")
            return _tag("message", text, by=_who(event.by), at=_time(event.at))
        case e.FactsGathered():
            return _tag("facts", event.text, at=_time(event.at))
        case e.ToolChosen():
            return _tag("you_chose", json.dumps(event.arguments, ensure_ascii=False), tool=event.tool)
        case e.ModelFailed():
            if event.reason in {"max_tokens", "no_tool_call"}:
                return _tag(
                    "error", "Your last answer held no complete tool call. Answer with exactly one, and be brief."
                )
            return ""
        case e.CallRefused():
            return _tag("error", event.why, tool=calls.get(event.call_id, ""))
        case e.RequestOpened():
            return _opened(event.request)
        case e.DecisionMade():
            return _decision(event, requests.get(event.request_id))
        case e.RequestExpired():
            return _tag("timed_out", "Nobody decided in time. That is not a denial.")
        case e.ToolFinished():
            return _tag("result", event.result, tool=calls.get(event.call_id, ""))
        case e.ToolFailed():
            return _tag("error", event.error, tool=calls.get(event.call_id, ""))
        case e.ToolInDoubt():
            return _tag("in_doubt", event.why, tool=calls.get(event.call_id, ""))
        case e.WaitStarted():
            return ""
        case e.WaitEnded():
            return _tag("waited", "The time you wanted to wait is over.", at=_time(event.at))
        case e.HandedOff():
            return _tag("handed_off", event.brief, to=event.agent)
        case e.RunFinished():
            return "" if event.by_model else _tag("run_ended", event.message)
        case e.Cancelled():
            return _tag("cancelled", "", by=_who(event.by))
        case (
            e.ModelRetryDue()
            | e.CallPrepared()
            | e.DecisionRefused()
            | e.ToolStarted()
            | e.Paused()
            | e.Resumed()
            | e.RequestReminded()
            | e.EscalationDue()
            | e.RequestEscalated()
            | e.PostSent()
            | e.PostFailed()
            | e.PostHeld()
            | e.PostReported()
            | e.PostRetryDue()
            | e.InboundRefused()
        ):
            return ""
        case _:
            assert_never(event)


def _opened(request: Request) -> str:
    if request.kind == "question":
        return _tag("asked", request.prompt) if request.purpose != "model" else ""
    shown = [request.preview.title] if request.preview else []
    if request.preview:
        shown += [f"{fact.label}: {fact.value}" for fact in request.preview.facts]
        shown += [f"warning: {warning}" for warning in request.preview.warnings]
    return _tag("approval_requested", "\n".join(shown))


def _decision(event: e.DecisionMade, request: Request | None) -> str:
    match event.verdict:
        case "answer":
            return _tag("answer", event.text, by=_who(event.by), to=request.purpose if request else "")
        case "approve":
            return _tag("approved", "", by=_who(event.by))
        case "deny":
            return _tag("denied", event.text or "No reason was given.", by=_who(event.by))
        case "edit":
            arguments = json.dumps(event.arguments, ensure_ascii=False, default=str)
            return _tag("changed", f"The call goes on with these arguments instead: {arguments}", by=_who(event.by))
        case "ask":
            return _tag("approver_asks", event.text, by=_who(event.by))


def _tag(name: str, body: str, **attributes: str) -> str:
    given = "".join(f' {key}="{_quoted(value)}"' for key, value in attributes.items() if value)
    text = escape(redact(body))
    return f"<{name}{given}>\n{text}\n</{name}>" if text else f"<{name}{given}/>"


def escape(text: str) -> str:
    """Text that cannot pose as a tag."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _quoted(text: str) -> str:
    return escape(redact(text)).replace('"', "&quot;").replace("\n", " ")


def _who(actor: Actor) -> str:
    return actor.name


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
