"""The small values that events are made of. They are recorded in logs for ever, so a field is added, never renamed."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from bot.core.people import Actor, Address, Frozen, RoleName

ThreadId = str
PostId = str
"""`{thread}:{seq}:{n}` of the event that asked for the post: deterministic, so a retry carries the same id."""
CallId = str
"""`{thread}:{seq}:0` of the event that chose the tool; it is the tool's idempotency key."""
RequestId = str
"""Opaque, 128 random bits or more: it is what a button carries (SL15)."""

Risk = Literal["low", "medium", "high"]
Urgency = Literal["low", "medium", "high"]
RequestKind = Literal["question", "approval"]
Purpose = Literal["model", "approval", "step_limit", "failures", "in_doubt", "model_trouble"]
AnswerFormat = Literal["free_text", "yes_no", "multiple_choice"]
Arguments = dict[str, Any]


class Conversation(Frozen):
    """A place in a channel. Only the channel that made `ref` can read it."""

    channel: str
    ref: str


class Usage(Frozen):
    """What one answer of the model took."""

    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    latency_ms: int = 0
    cost_usd: float | None = None
    """None where the price of the model is not known."""


class Fact(Frozen):
    """One line of a preview: a label and what is so."""

    label: str = Field(max_length=75)
    value: str = Field(max_length=1900)


class Preview(Frozen):
    """What an approver is shown: made from the tool's own facts, never from the model's words (AP14)."""

    title: str = Field(max_length=150)
    facts: tuple[Fact, ...] = ()
    warnings: tuple[str, ...] = ()
    details: str = ""
    """Longer plain text, such as a list of commits."""


class EscalationStep(Frozen):
    """Who is asked too, once nobody has decided for a while."""

    name: str = ""
    after: float = Field(gt=0, lt=1)
    """The share of the request's life that has passed."""
    roles: tuple[RoleName, ...] = ()
    persons: tuple[str, ...] = ()
    """Ids of persons."""
    channels: tuple[str, ...] = ()
    """Where they are asked, the best first; none named: wherever they can be reached."""


class ApprovalRule(Frozen):
    """Who may let a call run, and for how long the question stands."""

    risk: Risk = "medium"
    roles: tuple[RoleName, ...] = ()
    """Persons with one of these may decide."""
    persons: tuple[str, ...] = ()
    """Ids of persons who may decide, whatever roles they hold. No roles and no persons: nobody may."""
    approvals: int = Field(default=1, ge=1, le=10)
    """Distinct persons needed (AP6)."""
    four_eyes: bool = False
    """Whoever asked may not approve (AP7)."""
    channels: tuple[str, ...] = ()
    """Channels over which it may be approved; none named: every one that is good enough for the risk (AP9, SM8)."""
    life_seconds: int | None = Field(default=3600, ge=1, le=7 * 86400)
    """None: the request never expires (AP4)."""
    reminders: tuple[float, ...] = (0.5, 0.9)
    """Shares of the life after which whoever has not decided is reminded (AP11)."""
    escalation: tuple[EscalationStep, ...] = ()
    wakes: bool = False
    """Asks people in their quiet hours too."""


class Ruling(Frozen):
    """The policy's word on a call. Make one with `may_run`, `needs_approval` or `must_not_run`."""

    verdict: Literal["run", "approve", "refuse"]
    rule: ApprovalRule | None = None
    """Who decides, where the verdict is `approve`."""
    why: str = ""
    """What the model and the person are told, where the verdict is `refuse`."""
    entry: str = ""
    """Which entry of the policy file said so, and what that is about (AP16); empty: the tool itself."""


def may_run() -> Ruling:
    """The call runs at once."""
    return Ruling(verdict="run")


def needs_approval(rule: ApprovalRule) -> Ruling:
    """People decide first."""
    return Ruling(verdict="approve", rule=rule)


def must_not_run(why: str) -> Ruling:
    """The call does not run, and the model is told why."""
    return Ruling(verdict="refuse", why=why)


class Prepared(Frozen):
    """A call made exact, before anybody approves it."""

    arguments: Arguments
    preview: Preview
    ruling: Ruling
    writes: bool = False
    """Changes the world, so people get to see that it ran."""


class Artifact(Frozen):
    """A pointer to a large result that is stored beside the log."""

    name: str
    size_bytes: int
    title: str = ""


class Resting(Frozen):
    """Somebody who is asked only when their quiet hours are over."""

    id: str
    name: str
    until: datetime


class Request(Frozen):
    """A question or an approval that waits for a person."""

    id: RequestId = Field(min_length=20)
    kind: RequestKind
    purpose: Purpose
    call_id: CallId | None = None
    prompt: str
    context: str = ""
    urgency: Urgency = "medium"
    format: AnswerFormat = "free_text"
    choices: tuple[str, ...] = ()
    preview: Preview | None = None
    digest: str = ""
    rule: ApprovalRule | None = None
    """Who may decide; None: anybody the bot knows."""
    entry: str = ""
    """The entry of the policy file that the rule comes from (`Ruling.entry`)."""
    deciders: tuple[Actor, ...] = ()
    """Who could decide when it was made, each with the address at which they are asked, if there is one; who may is
    looked up again at the decision (AP7)."""
    copies: tuple[Address, ...] = ()
    """The deciders' addresses that the conversation does not reach: each gets a copy of its own."""
    resting: tuple[Resting, ...] = ()
    """Whose copies wait, because it was made in their quiet hours."""
    asked_by: str = ""
    """The name of whoever asked first, and of those who had a say since; for people to read."""
    requesters: tuple[str, ...] = ()
    """Ids of the actors who asked for this run or steered it before the request was made."""
    proposed: Arguments | None = None
    """What the model had proposed, where a person changed it (AP13)."""
    changed_to: Arguments | None = None
    """What a person made of it."""
    edited_by: str = ""
    """The names of whoever changed it."""
    more_may_join: bool = True
    """Whether the escalation can bring in somebody who was not asked when it was made."""
    steps_due: int = 0
    """Steps of the escalation that are taken at once, because they were taken before somebody asked about the call."""
    expires_at: datetime | None = None
