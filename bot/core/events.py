"""The facts that a thread's log is made of.

An event is past tense and immutable; a position in the log is its `seq`, counted from 1. To add one: write the class,
put it into `Event`, and let the type checker lead through the fold and the rendering.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal, cast

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from bot.core.people import Actor, Address, Frozen
from bot.core.values import Arguments, Artifact, CallId, Conversation, PostId, Prepared, Request, RequestId, Usage

_MAX_DEPTH: Final = 60
"""Tables and lists in one another; a reader of JSON gives up at about 200."""


class Recorded(Frozen):
    """What every event has."""

    needs_fresh_log: ClassVar[bool] = False
    """True for a decision of the bot's own: it is appended only if nothing arrived since the state it was based on."""
    at: datetime


class ThreadLaunched(Recorded):
    """A conversation or a caller started an agent."""

    type: Literal["thread_launched"] = "thread_launched"
    agent: str
    by: Actor
    conversation: Conversation | None = None


class MessageReceived(Recorded):
    """A person said something to the thread."""

    type: Literal["message_received"] = "message_received"
    text: str
    by: Actor
    source: str = ""
    """The provider's id of the message."""
    cut_characters: int = 0
    """How much of an oversized message was left out."""
    trail: str = ""
    """What the channel wants to know of this message when it answers it: a mail's subject and ids. Only it reads it."""


class FactsGathered(Recorded):
    """What an agent would have asked for first was fetched before it was asked."""

    type: Literal["facts_gathered"] = "facts_gathered"
    agent: str
    text: str


class ToolChosen(Recorded):
    """The model answered with one tool call."""

    type: Literal["tool_chosen"] = "tool_chosen"
    tool: str
    arguments: Arguments
    saw: int
    """The last seq that the model was shown. A choice made without a newer message is dropped."""
    usage: Usage


class ModelFailed(Recorded):
    """The model gave no usable answer."""

    type: Literal["model_failed"] = "model_failed"
    reason: Literal["refusal", "max_tokens", "context_window", "no_tool_call", "unavailable", "rejected"]
    detail: str
    retry_at: datetime | None = None
    """When to ask again by itself; None: at once, or not at all, as the policy says."""
    usage: Usage | None = None
    saw: int | None = None
    """The last seq that the model was shown."""


class ModelRetryDue(Recorded):
    """The pause after a failure of the model is over."""

    type: Literal["model_retry_due"] = "model_retry_due"


class CallPrepared(Recorded):
    """A call was made exact, and the policy ruled on it."""

    needs_fresh_log = True
    type: Literal["call_prepared"] = "call_prepared"
    call_id: CallId
    prepared: Prepared


class CallRefused(Recorded):
    """A call does not run: unknown tool, invalid arguments, the policy, or an approval that no longer holds."""

    needs_fresh_log = True
    type: Literal["call_refused"] = "call_refused"
    call_id: CallId
    why: str


class RequestOpened(Recorded):
    """A person was asked."""

    needs_fresh_log = True
    type: Literal["request_opened"] = "request_opened"
    request: Request


class DecisionMade(Recorded):
    """A person decided or answered, and was allowed to."""

    type: Literal["decision_made"] = "decision_made"
    request_id: RequestId
    verdict: Literal["approve", "deny", "answer", "edit", "ask"]
    """`edit`: the call, with other arguments, is put to people anew. `ask`: the agent is asked something first."""
    by: Actor
    text: str = ""
    """The answer, the reason of a denial, or the question."""
    arguments: Arguments | None = None
    """What an `edit` wants to run instead."""
    digest: str = ""
    source: str = ""


class DecisionRefused(Recorded):
    """Somebody tried to decide and could not: too late, not allowed, or not understood (AP5, AP16)."""

    type: Literal["decision_refused"] = "decision_refused"
    request_id: RequestId
    verdict: Literal["approve", "deny", "answer", "edit", "ask", "unclear"]
    by: Actor
    why: str
    rule: str
    """The check that refused it, for the audit."""
    source: str = ""
    trail: str = ""
    """As that of a message."""
    receipt: bool = True
    """Whether the person is told now: where each receipt is a mail, one an hour is enough (EM16)."""


class RequestExpired(Recorded):
    """Nobody decided in time. That is not a denial (AP4)."""

    type: Literal["request_expired"] = "request_expired"
    request_id: RequestId


class RequestReminded(Recorded):
    """A share of a request's life has passed, and it still waits (AP11)."""

    type: Literal["request_reminded"] = "request_reminded"
    request_id: RequestId
    share: float


class EscalationDue(Recorded):
    """It is time to ask somebody else too."""

    type: Literal["escalation_due"] = "escalation_due"
    request_id: RequestId
    step: int
    """Index into the rule's `escalation`."""


class RequestEscalated(Recorded):
    """More people may decide, and were asked."""

    needs_fresh_log = True
    type: Literal["request_escalated"] = "request_escalated"
    request_id: RequestId
    step: int
    deciders: tuple[Actor, ...] = ()
    """Who they are, each with the address at which they are asked."""
    copies: tuple[Address, ...] = ()
    """Their addresses that the conversation does not reach."""


class ToolStarted(Recorded):
    """A tool is about to run; recorded first, so that a crash leaves a trace."""

    needs_fresh_log = True
    type: Literal["tool_started"] = "tool_started"
    call_id: CallId
    place: str
    """The machine's data directory, by its id: only there can a detached run be taken up again."""


class ToolFinished(Recorded):
    """A tool returned."""

    type: Literal["tool_finished"] = "tool_finished"
    call_id: CallId
    result: str
    summary: str = ""
    """One line for people, made by the tool from what happened."""
    artifact: Artifact | None = None
    seconds: float = 0.0


class ToolFailed(Recorded):
    """A tool ran, or was being prepared, and did not succeed."""

    type: Literal["tool_failed"] = "tool_failed"
    call_id: CallId
    error: str
    summary: str = ""
    artifact: Artifact | None = None
    seconds: float = 0.0


class ToolInDoubt(Recorded):
    """A tool started and nobody can know whether it finished. It is never run again silently."""

    type: Literal["tool_in_doubt"] = "tool_in_doubt"
    call_id: CallId
    why: str


class WaitStarted(Recorded):
    """The agent chose to wait."""

    needs_fresh_log = True
    type: Literal["wait_started"] = "wait_started"
    reason: str
    until: datetime | None = None


class WaitEnded(Recorded):
    """The time that the agent wanted to wait is over."""

    type: Literal["wait_ended"] = "wait_ended"


class HandedOff(Recorded):
    """One agent passed the thread to another."""

    needs_fresh_log = True
    type: Literal["handed_off"] = "handed_off"
    agent: str
    brief: str


class RunFinished(Recorded):
    """The agent is done for now, and says so."""

    needs_fresh_log = True
    type: Literal["run_finished"] = "run_finished"
    message: str
    by_model: bool = True


class Paused(Recorded):
    """Nothing further is done until the thread is resumed."""

    type: Literal["paused"] = "paused"
    by: Actor


class Resumed(Recorded):
    """A paused thread goes on."""

    type: Literal["resumed"] = "resumed"
    by: Actor


class Cancelled(Recorded):
    """The run is over; what waits is withdrawn."""

    type: Literal["cancelled"] = "cancelled"
    by: Actor


class PostSent(Recorded):
    """A message or a card reached its channel."""

    type: Literal["post_sent"] = "post_sent"
    post_id: PostId
    ref: str
    """The channel's own reference to it, for updates."""
    face: str
    """What it showed."""
    conversation: Conversation | None = None
    """The conversation that it began, where there was none yet: the thread goes on there."""
    to: Address = ""
    """Whom it went to, where that was one person."""
    person: str = ""
    """The id of whoever had this address then: it may become somebody else's."""
    tracked: bool = False
    """The channel will report what became of it."""


class PostFailed(Recorded):
    """A message or a card did not reach its channel."""

    type: Literal["post_failed"] = "post_failed"
    post_id: PostId
    face: str
    error: str
    retry_at: datetime | None = None
    """None: given up."""
    in_doubt: bool = False
    """It may have arrived: look before sending again (SL19)."""
    to: Address = ""
    unreachable: bool = False
    """There is no way left to reach the person it is for."""


class PostHeld(Recorded):
    """A post waits for the end of somebody's quiet hours."""

    type: Literal["post_held"] = "post_held"
    post_id: PostId
    face: str
    until: datetime


class PostReported(Recorded):
    """A channel, or a mail server on the way, says what became of a post that it had taken (EM17, SM11)."""

    type: Literal["post_reported"] = "post_reported"
    post_id: PostId
    ref: str = ""
    """Which sending it is about, where the channel says so; empty: whatever was sent last."""
    outcome: Literal["delivered", "undeliverable", "failed", "retry"]
    """`failed`: it did not arrive. `undeliverable`: nothing will at this address. `retry`: send it once more."""
    detail: str = ""
    retry_at: datetime | None = None
    """When to send it once more."""


class InboundRefused(Recorded):
    """Something came in that no thread was given: forged, automatic, from a stranger. Kept for the audit (EM15, EM18).

    It stands in a log of its own, which no agent reads.
    """

    type: Literal["inbound_refused"] = "inbound_refused"
    channel: str
    address: Address
    rule: str
    why: str
    """Nothing of what it said."""
    source: str = ""


class PostRetryDue(Recorded):
    """The pause after a failed delivery is over."""

    type: Literal["post_retry_due"] = "post_retry_due"
    post_id: PostId


Event = (
    ThreadLaunched
    | MessageReceived
    | FactsGathered
    | ToolChosen
    | ModelFailed
    | ModelRetryDue
    | CallPrepared
    | CallRefused
    | RequestOpened
    | DecisionMade
    | DecisionRefused
    | RequestExpired
    | RequestReminded
    | EscalationDue
    | RequestEscalated
    | ToolStarted
    | ToolFinished
    | ToolFailed
    | ToolInDoubt
    | WaitStarted
    | WaitEnded
    | HandedOff
    | RunFinished
    | Paused
    | Resumed
    | Cancelled
    | PostSent
    | PostFailed
    | PostHeld
    | PostReported
    | PostRetryDue
    | InboundRefused
)

_adapter: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def event_to_json(event: Event) -> str:
    """The stored form: one line of JSON, defaults left out to keep logs small.

    A default is therefore part of the format: changing one changes what old logs say (tests/replay would fail).
    """
    payload = event.model_dump_json(exclude_defaults=True)
    return f'{{"type":"{event.type}",{payload[1:]}'


def stored_form(event: Event) -> str:
    """As `event_to_json`; what JSON in UTF-8 cannot hold, or nobody could read again, is replaced.

    What models, tools and people write may have halves of characters in it, and tables in tables without end. It is
    replaced before anything is made of it: what people are shown and what runs is what is stored.
    """
    try:
        line = event_to_json(event)
        event_from_json(line)
    except (PydanticSerializationError, ValidationError):
        return event_to_json(type(event).model_validate(_plain(event.model_dump(mode="python"), _MAX_DEPTH)))
    return line


def _plain(value: object, depth: int) -> object:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict | list | tuple) and not depth:
        return "[nested too deeply]"
    if isinstance(value, dict):
        known = cast("dict[object, object]", value)
        return {_plain(key, depth): _plain(one, depth - 1) for key, one in known.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, depth - 1) for one in cast("Sequence[object]", value)]
    return value


def event_from_json(line: str | bytes) -> Event:
    """Read the stored form. Raises pydantic.ValidationError where the line is not an event."""
    return _adapter.validate_json(line)
