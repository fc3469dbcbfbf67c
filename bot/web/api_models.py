"""What the API takes and gives. The shapes are the documentation: `/docs` is made from them."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bot.core.events import event_to_json
from bot.core.log import Log
from bot.core.state import RequestState
from bot.core.values import Preview


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _says_something(text: str) -> str:
    if not text.replace("\x00", "").strip():
        raise ValueError("write something")
    return text


Text = Annotated[str, AfterValidator(_says_something)]
"""Text that is more than blanks."""


_SLACK_REF = re.compile(r"[CGD][A-Z0-9]{1,29}(/\d{1,20}\.\d{1,10})?", re.ASCII)


def _is_channel(ref: str) -> str:
    # Slack takes a person's id as well, but what is posted there nobody else sees who may decide.
    if not _SLACK_REF.fullmatch(ref):
        raise ValueError(
            "send a channel's id (C0DEPLOYS), or CHANNEL/THREAD_TS for a thread in it; the id of a person (U…) is none"
        )
    return ref


class ConversationIn(_In):
    """Where answers and questions go."""

    channel: Literal["slack"] = Field(description="The channel.")
    ref: Annotated[str, AfterValidator(_is_channel)] = Field(
        description="Slack: a channel id, or CHANNEL/THREAD_TS for a thread.",
        examples=["C0DEPLOYS"],
        json_schema_extra={"pattern": f"^{_SLACK_REF.pattern}$"},
    )


class LaunchIn(_In):
    """Start an agent."""

    message: Text = Field(min_length=1, max_length=40_000, examples=["deploy v1.4.0 to production"])
    agent: str = Field(default="triage", description="Which agent starts; `triage` hands it to the one that fits.")
    idempotency_key: str | None = Field(default=None, max_length=200, description="The same key launches once.")
    conversation: ConversationIn | None = None


class MessageIn(_In):
    """Say something to a thread."""

    message: Text = Field(min_length=1, max_length=40_000)
    idempotency_key: str | None = Field(default=None, max_length=200)


class ResponseIn(_In):
    """Answer a question, or decide an approval."""

    decision: Literal["approve", "deny", "ask", "edit"] | None = Field(default=None, description="For an approval.")
    reason: str = Field(default="", max_length=1_000, description="For `deny`; the agent reads it.")
    question: str = Field(
        default="", max_length=1_000, description="For `ask`: the agent answers, then the call is put to people again."
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict[str, Any],
        description="For `edit`: the arguments to replace. The other ones stay as they were proposed, "
        "as the event `tool_chosen` has them. The changed call is ruled on anew.",
    )
    answer: Text | None = Field(default=None, max_length=10_000, description="For a question.")


class RequestOut(BaseModel):
    """A question or an approval."""

    id: str
    kind: Literal["question", "approval"]
    status: str
    prompt: str
    context: str = Field(description="The agent's words to a question; what was asked and answered about an approval.")
    format: str
    choices: list[str]
    preview: Preview | None
    risk: str | None
    roles: list[str]
    deciders: list[str] = Field(description="Ids of who was asked; who may is looked up anew at each decision.")
    approvals: int = Field(description="How many persons have to approve; 0 for a question.")
    approved_by: list[str] = Field(description="Ids of who has approved so far.")
    digest: str
    expires_at: datetime | None
    decided_by: str | None
    text: str

    @classmethod
    def of(cls, one: RequestState) -> RequestOut:
        """From the state of a request."""
        request, rule = one.request, one.request.rule
        return cls(
            id=request.id,
            kind=request.kind,
            status=one.status,
            prompt=request.prompt,
            context=request.context,
            format=request.format,
            choices=list(request.choices),
            preview=request.preview,
            risk=rule.risk if rule else None,
            roles=list(rule.roles) if rule else [],
            deciders=list(dict.fromkeys(actor.id for actor in (*request.deciders, *one.joined))),
            approvals=rule.approvals if rule and request.kind == "approval" else 0,
            approved_by=[vote.by.id for vote in one.votes],
            digest=request.digest,
            expires_at=request.expires_at,
            decided_by=one.decided_by.name if one.decided_by else None,
            text=one.text,
        )


class ThreadOut(BaseModel):
    """A thread in short."""

    id: str
    status: str = Field(description="working, waiting, paused, finished or cancelled")
    agent: str
    length: int = Field(description="How many events its log has.")
    launched_by: str | None
    launched_at: datetime | None
    updated_at: datetime | None
    message: str = Field(description="The beginning of its first message.")
    cost_usd: float
    tokens: int
    pending: list[RequestOut]

    @classmethod
    def of(cls, log: Log) -> ThreadOut:
        """From a log."""
        state, first = log.state, log.events[0] if log.events else None
        said = next((event.text for event in log.events if event.type == "message_received"), "")
        return cls(
            id=log.thread_id,
            status=state.status,
            agent=state.agent,
            length=len(log),
            launched_by=first.by.name if first and first.type == "thread_launched" else None,
            launched_at=first.at if first else None,
            updated_at=log.events[-1].at if log.events else None,
            message=said[:200],
            cost_usd=round(state.cost_usd, 6),
            tokens=state.tokens,
            pending=[RequestOut.of(one) for one in state.pending],
        )


class ThreadDetailOut(ThreadOut):
    """A thread with its whole log."""

    requests: list[RequestOut]
    events: list[dict[str, Any]] = Field(description="Every event, oldest first; its place in the list is its seq - 1.")

    @classmethod
    def of(cls, log: Log) -> ThreadDetailOut:
        """From a log."""
        short = ThreadOut.of(log).model_dump()
        requests = [RequestOut.of(one) for one in log.state.requests.values()]
        return cls(**short, requests=requests, events=[json.loads(event_to_json(event)) for event in log.events])


class ThreadsOut(BaseModel):
    """Threads, the one touched last first."""

    threads: list[ThreadOut]


class ErrorOut(BaseModel):
    """What went wrong, and what would work."""

    error: str
    pending: list[RequestOut] = Field(default_factory=list[RequestOut], description="What can be answered now.")
