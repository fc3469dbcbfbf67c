"""What is so in a thread: the value that the fold makes of its log, and that the policy looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from bot.core.people import Actor, Address, RoleName
from bot.core.values import (
    Arguments,
    Artifact,
    CallId,
    Conversation,
    EscalationStep,
    PostId,
    Prepared,
    Request,
    RequestId,
    ThreadId,
)

Phase = Literal["chosen", "prepared", "waiting", "asked_back", "approved", "started", "in_doubt"]
RequestStatus = Literal["pending", "approved", "denied", "answered", "expired", "cancelled", "superseded"]
ActivityStatus = Literal["ready", "running", "succeeded", "failed", "in_doubt", "not_run"]
RunStatus = Literal["empty", "working", "finished", "cancelled"]
Status = RunStatus | Literal["waiting", "paused"]


@dataclass(frozen=True)
class Call:
    """The one call in hand: what the model chose and how far it has come."""

    id: CallId
    tool: str
    arguments: Arguments
    phase: Phase = "chosen"
    prepared: Prepared | None = None
    request_id: RequestId | None = None
    place: str = ""
    """Where it was started."""
    proposed: Arguments | None = None
    """What the model had proposed, where a person changed it (AP13)."""
    edited_by: str = ""
    before: Unchanged | None = None
    """What it was before somebody changed it, until the changed one has been prepared."""
    talk: str = ""
    """What an approver asked about it, and what the agent answered; which change could not be made."""
    escalated: tuple[EscalationStep, ...] = ()
    """The steps that were taken before somebody asked about it. The request that follows takes them at once, if its own
    escalation begins with the same ones."""

    @property
    def exact_arguments(self) -> Arguments:
        """The arguments that run: the prepared ones, once there are any."""
        return self.prepared.arguments if self.prepared else self.arguments


@dataclass(frozen=True)
class Unchanged:
    """A call before somebody changed it."""

    call: Call
    editor: str
    """The id of whoever changed it."""
    name: str
    """Their name."""


@dataclass(frozen=True)
class Vote:
    """One person's approval."""

    by: Actor
    at: datetime


@dataclass(frozen=True)
class RequestState:
    """A request and what became of it."""

    request: Request
    status: RequestStatus = "pending"
    votes: tuple[Vote, ...] = ()
    decided_by: Actor | None = None
    decided_at: datetime | None = None
    text: str = ""
    """The answer, or the reason of a denial."""
    escalations_due: int = 0
    """How many steps of the escalation have come due."""
    escalated: int = 0
    """How many of them were taken."""
    joined: tuple[Actor, ...] = ()
    """Whom they brought in."""
    copies: tuple[Address, ...] = ()
    """Every address outside of the conversation that was asked."""

    def has_vote_of(self, person: str) -> bool:
        """Whether this person has approved already."""
        return any(vote.by.id == person for vote in self.votes)

    @property
    def roles(self) -> frozenset[RoleName]:
        """Whoever holds one of these may decide by now."""
        rule = self.request.rule
        steps = rule.escalation[: self.escalated] if rule else ()
        return frozenset((*(rule.roles if rule else ()), *(role for step in steps for role in step.roles)))

    @property
    def persons(self) -> frozenset[str]:
        """Ids of persons who may decide by now, whatever roles they hold."""
        rule = self.request.rule
        steps = rule.escalation[: self.escalated] if rule else ()
        return frozenset((*(rule.persons if rule else ()), *(person for step in steps for person in step.persons)))


@dataclass(frozen=True)
class Activity:
    """A call that changes the world, as people see it: what it is and how it went."""

    title: str
    status: ActivityStatus = "ready"
    summary: str = ""
    seconds: float = 0.0
    artifact: Artifact | None = None


@dataclass(frozen=True)
class Say:
    """A text for the conversation."""

    text: str
    tone: Literal["answer", "notice", "problem"] = "answer"


@dataclass(frozen=True)
class RequestCard:
    """The card of a request; it changes as the request and its call do."""

    request_id: RequestId
    to: Address = ""
    """A copy for this person; empty: the one in the conversation."""


@dataclass(frozen=True)
class Reminder:
    """A nudge about a request that still waits."""

    request_id: RequestId
    to: Address = ""
    """Empty: in the conversation."""


@dataclass(frozen=True)
class ActivityCard:
    """The card of a call that ran without an approval."""

    call_id: CallId


@dataclass(frozen=True)
class Whisper:
    """A receipt for one person only."""

    address: str
    text: str


Content = Say | RequestCard | Reminder | ActivityCard | Whisper


@dataclass(frozen=True)
class Report:
    """What a channel says became of one sending."""

    ref: str
    """Which one; empty: whatever was sent last."""
    outcome: Literal["delivered", "undeliverable", "failed", "retry"]
    retry_at: datetime | None


@dataclass(frozen=True)
class Post:
    """Something that the conversation is to be shown, and what it shows so far."""

    id: PostId
    content: Content
    ref: str | None = None
    shown: str = ""
    """The face that the channel shows now; empty before it was sent."""
    attempts: int = 0
    blocked: bool = False
    """Waits for its retry timer."""
    in_doubt: bool = False
    """An earlier attempt may have arrived (SL19)."""
    to: Address = ""
    """Whom it was sent to, where that was one person."""
    tracked: bool = False
    """The channel has yet to report what became of it."""
    resent: bool = False
    """It was sent once more, because the first one did not arrive."""
    lost: bool = False
    """Nobody can be reached with it, and the conversation was told."""
    early: tuple[Report, ...] = ()
    """Reports on sendings that are not on record: a report may be faster than whoever sent."""

    @property
    def line(self) -> Address:
        """Whose eyes it is for; empty: the conversation. Posts of one line keep their order."""
        return self.content.to if isinstance(self.content, RequestCard | Reminder) else ""


def receipt_key(address: Address, request_id: RequestId) -> str:
    """Names the receipts of one person about one request."""
    return f"{address} {request_id}"


@dataclass(frozen=True)
class ThreadState:
    """A thread, folded."""

    thread_id: ThreadId = ""
    seq: int = 0
    agent: str = ""
    conversation: Conversation | None = None
    requester: Actor | None = None
    """Who started the current run."""
    steered_by: tuple[str, ...] = ()
    """Ids of everybody whose words the model was shown: they shaped what it chooses, in later runs too (AP7)."""
    asked_by: tuple[str, ...] = ()
    """Ids of approvers whose questions the model was shown: they join `steered_by` once it proposes something else."""
    run: RunStatus = "empty"
    paused: bool = False

    heard: int = 0
    """The seq of the newest event that the model has to see."""
    seen: int = 0
    """The seq up to which the model has seen the log."""
    briefed: tuple[str, ...] = ()
    """Agents whose facts were gathered in this run."""
    steps: int = 0
    """Choices of the model in this run."""
    failures: Mapping[str, int] = field(default_factory=dict[str, int])
    """Failures in a row, by tool."""
    last_error: str = ""
    model_failures: int = 0
    model_problem: str = ""
    """The reason of the newest failure of the model, until it answers."""
    model_blocked: bool = False
    """Waits for the model's retry timer."""
    stop_reason: str = ""
    """Set where a person, or the model's refusal, ended the run: what the thread is told."""

    call: Call | None = None
    idle: bool = False
    """The agent chose to wait, and nothing has happened since."""
    requests: Mapping[RequestId, RequestState] = field(default_factory=dict[RequestId, RequestState])
    activities: Mapping[CallId, Activity] = field(default_factory=dict[CallId, Activity])
    posts: Mapping[PostId, Post] = field(default_factory=dict[PostId, Post])
    """What is not yet shown as it should be, cards that may still change, and what a channel has yet to report on."""
    called_off: Mapping[PostId, Post] = field(default_factory=dict[PostId, Post])
    """Cards and reminders that nobody needs any more and that are not known to be sent; one may be on its way."""
    trails: Mapping[Address, str] = field(default_factory=dict[Address, str])
    """What the channel noted about everybody's newest message."""
    reached: tuple[Address, ...] = ()
    """Addresses outside the conversation to which something was sent."""
    told: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    """When somebody was last told that a decision did not count, by `receipt_key`."""
    cost_usd: float = 0.0
    tokens: int = 0

    @property
    def status(self) -> Status:
        """The thread in one word, for people and for the API."""
        if self.paused:
            return "paused"
        if self.run == "working" and (self.pending or self.idle or self.model_blocked):
            return "waiting"
        return self.run

    @property
    def shaped_by(self) -> tuple[str, ...]:
        """Ids of everybody who shaped the call in hand; whoever changes it too, before that is known to be possible."""
        before = self.call.before if self.call else None
        new = before is not None and before.editor not in self.steered_by
        return (*self.steered_by, before.editor) if before and new else self.steered_by

    @property
    def pending(self) -> tuple[RequestState, ...]:
        """Requests that wait for a person, oldest first."""
        return tuple(one for one in self.requests.values() if one.status == "pending")

    @property
    def owner(self) -> Address:
        """The address in the conversation's channel of whoever started the current run; empty where there is none."""
        address = self.requester.address if self.requester else ""
        here = self.conversation is not None and address.partition(":")[0] == self.conversation.channel
        return address if here else ""

    def but(self, **changes: Any) -> ThreadState:  # noqa: ANN401 typed by the fields it replaces
        """A copy with some fields changed.

        Written out because `dataclasses.replace` goes through all fields one by one, and this is what a fold does most.
        """
        if unknown := changes.keys() - self.__dict__.keys():
            raise TypeError(f"no such field: {', '.join(unknown)}")
        copy = object.__new__(ThreadState)
        copy.__dict__.update(self.__dict__, **changes)
        return copy

    def with_post(self, post: Post) -> ThreadState:
        """A copy with this post added or replaced."""
        return self.but(posts={**self.posts, post.id: post})

    def with_request(self, request: RequestState) -> ThreadState:
        """A copy with this request added or replaced."""
        return self.but(requests={**self.requests, request.request.id: request})

    def with_activity(self, call_id: CallId, activity: Activity) -> ThreadState:
        """A copy with this activity added or replaced."""
        return self.but(activities={**self.activities, call_id: activity})
