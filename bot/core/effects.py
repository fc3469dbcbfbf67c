"""What the policy can ask the shell to do: imperative, derived from state, carried out by `perform`."""

from __future__ import annotations

from dataclasses import dataclass

from bot.core.state import Call
from bot.core.values import (
    AnswerFormat,
    ApprovalRule,
    Arguments,
    CallId,
    PostId,
    Preview,
    Purpose,
    RequestId,
    RequestKind,
    Urgency,
)


@dataclass(frozen=True)
class RequestDraft:
    """A request without its id and its expiry, which need chance and a clock."""

    kind: RequestKind
    purpose: Purpose
    prompt: str
    call_id: CallId | None = None
    context: str = ""
    urgency: Urgency = "medium"
    format: AnswerFormat = "free_text"
    choices: tuple[str, ...] = ()
    preview: Preview | None = None
    digest: str = ""
    rule: ApprovalRule | None = None
    entry: str = ""
    requesters: tuple[str, ...] = ()
    life_seconds: int | None = 24 * 3600
    proposed: Arguments | None = None
    changed_to: Arguments | None = None
    edited_by: str = ""
    steps_due: int = 0


@dataclass(frozen=True)
class Deliver:
    """Send a post, or bring a sent one up to date."""

    post_id: PostId
    face: str


@dataclass(frozen=True)
class AskModel:
    """Have the model choose the next tool."""


@dataclass(frozen=True)
class GatherFacts:
    """Fetch what the agent would ask for first anyway."""


@dataclass(frozen=True)
class PrepareCall:
    """Make a chosen call exact."""

    call: Call


@dataclass(frozen=True)
class RefuseCall:
    """Do not run this call, and say why."""

    call_id: CallId
    why: str


@dataclass(frozen=True)
class OpenRequest:
    """Ask people."""

    draft: RequestDraft


@dataclass(frozen=True)
class Escalate:
    """Bring in whom the next step of a request's escalation names."""

    request_id: RequestId
    step: int


@dataclass(frozen=True)
class RunTool:
    """Run a call that may run.

    `resumed`: an earlier worker started it. `may_begin`: if it should turn out that it has not begun, it still may.
    """

    call: Call
    resumed: bool = False
    may_begin: bool = True


@dataclass(frozen=True)
class MarkInDoubt:
    """Record that nobody knows what became of a started call."""

    call_id: CallId
    why: str


@dataclass(frozen=True)
class StartWait:
    """Sleep until a message comes or the minutes are over."""

    reason: str
    minutes: int | None


@dataclass(frozen=True)
class HandOver:
    """Pass the thread to another agent."""

    agent: str
    brief: str


@dataclass(frozen=True)
class FinishRun:
    """End the run with a message."""

    message: str
    by_model: bool = True


Effect = (
    Deliver
    | GatherFacts
    | AskModel
    | PrepareCall
    | RefuseCall
    | OpenRequest
    | Escalate
    | RunTool
    | MarkInDoubt
    | StartWait
    | HandOver
    | FinishRun
)
