"""The seams: what the shell provides to the loop, each small enough to fake in a page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

from bot.core.agent import Agent
from bot.core.events import Event
from bot.core.log import Log
from bot.core.people import Address
from bot.core.values import Arguments, Conversation, PostId, RequestId, ThreadId, Usage
from bot.core.views import View

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> datetime:
        """The time, in UTC."""
        ...


# --- the model


@dataclass(frozen=True)
class Choice:
    """The model's answer: exactly one tool call."""

    tool: str
    arguments: Arguments
    usage: Usage


class ModelError(Exception):
    """The model gave no usable answer; `retry_seconds` says when asking again by itself makes sense."""

    def __init__(
        self,
        reason: Literal["refusal", "max_tokens", "context_window", "no_tool_call", "unavailable", "rejected"],
        detail: str,
        *,
        retry_seconds: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(detail)
        self.reason: Literal["refusal", "max_tokens", "context_window", "no_tool_call", "unavailable", "rejected"] = (
            reason
        )
        self.detail = detail
        self.retry_seconds = retry_seconds
        self.usage = usage


class Model(Protocol):
    """Chooses the next tool call."""

    @property
    def name(self) -> str:
        """What is behind it, for people."""
        ...

    async def choose(self, agent: Agent, log: Log) -> Choice:
        """The next call. Raises ModelError."""
        ...

    async def ping(self) -> None:
        """Whether it can be asked. Raises ModelError."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


# --- channels


@dataclass(frozen=True)
class Outgoing:
    """A post on its way out."""

    post_id: PostId
    conversation: Conversation
    view: View
    face: str = ""
    """What `view` shows, in a word or two. Together with `post_id` it names one sending, over all its retries."""
    asked_at: datetime = EPOCH
    """When the post was asked for: the same over all retries."""
    to: Address = ""
    """The person it is for, where one can be told. A shared conversation needs it only for copies."""
    timezone: str = "UTC"
    """Theirs, by its IANA name: a time that only they read is told as their clock shows it."""
    private: bool = False
    """A copy for `to` alone, who takes no part in `conversation`."""
    trail: str = ""
    """What the channel noted about the newest message of `to` in this thread (`MessageReceived.trail`)."""
    ref: str | None = None
    """The channel's reference to what is to be updated; None: it is new."""
    in_doubt: bool = False
    """An earlier attempt may have arrived: look for `post_id` before sending (SL19)."""
    reply_token: str = ""
    """Stands for this post and `to` in a reply (EM7)."""
    trace_token: str = ""
    """Stands for them in the id of a message, which everybody sees who is sent a reply (EM8)."""
    bounce_token: str = ""
    """Stands for them where a message that cannot be delivered comes back (EM17)."""
    decide_url: str = ""
    """The page on which `to` can decide, for a request that is open (EM20)."""
    full_text_url: str = ""
    """Where the whole text stands, for a text that has to be cut."""
    artifact_url: str = ""


class DeliveryError(Exception):
    """A post did not get through.

    `retry_seconds` None: it never will. `undeliverable`: nothing will get through to this address any more.
    """

    def __init__(
        self, error: str, *, retry_seconds: float | None = None, in_doubt: bool = False, undeliverable: bool = False
    ) -> None:
        super().__init__(error)
        self.error = error
        self.retry_seconds = retry_seconds
        self.in_doubt = in_doubt
        self.undeliverable = undeliverable


@dataclass(frozen=True)
class Delivered:
    """A post that got through."""

    ref: str
    conversation: Conversation | None = None
    """Where replies to it will come from, where that is a conversation of its own."""
    tracked: bool = False
    """The channel will report later what became of it (`PostReported`)."""


class Channel(Protocol):
    """A way to reach people."""

    @property
    def name(self) -> str:
        """The prefix of its addresses and the `channel` of its conversations."""
        ...

    def is_shared(self, conversation: Conversation) -> bool:
        """Whether everybody who may decide sees this conversation: one card does for all of them."""
        ...

    async def deliver(self, outgoing: Outgoing) -> Delivered:
        """Send or update. Raises DeliveryError."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class CodeBook(Protocol):
    """Short codes that stand for a request on one address (SM5)."""

    async def issue(self, address: Address, post_id: PostId, request_id: RequestId, until: datetime | None) -> str:
        """Six random digits, unique among those of this address. The same request gets the same code again."""
        ...


# --- the store


class StoreUnavailable(Exception):  # noqa: N818 a state of the world, not a mistake
    """The store cannot be reached. Whoever sent us something should send it again."""


class Stale(Exception):  # noqa: N818 the normal way to learn that something arrived
    """The log has grown since the state that the event was based on. `log` is the log as it is now."""

    def __init__(self, log: Log) -> None:
        super().__init__(f"{log.thread_id} has grown to {len(log)} events")
        self.log = log


class LeaseLost(Exception):  # noqa: N818 another worker took over
    """Somebody else drives this thread now; whatever this worker wanted to say about it is void."""


@dataclass(frozen=True)
class Lease:
    """The right to drive a thread, until it runs out."""

    thread_id: ThreadId
    fence: int
    entry_id: str
    recovered: bool
    """The holder before did not let go in order: what it was sending may have arrived."""


@dataclass(frozen=True)
class Appended:
    """What became of events from outside."""

    outcome: Literal["appended", "duplicate", "stale", "full"]
    length: int


@dataclass(frozen=True)
class ThreadSummary:
    """A thread in a listing."""

    thread_id: ThreadId
    touched_at: datetime


class ThreadStore(Protocol):
    """Keeps logs. Appending is atomic: there is no moment at which an event exists and nobody will look."""

    async def load(self, thread_id: ThreadId) -> Log:
        """The whole log; empty where there is none."""
        ...

    async def length(self, thread_id: ThreadId) -> int:
        """How many events a log has, without reading them; 0 where there is none."""
        ...

    async def receive(
        self,
        thread_id: ThreadId,
        events: Sequence[Event],
        *,
        deliveries: Sequence[str] = (),
        expect: int | None = None,
        max_length: int | None = None,
    ) -> Appended:
        """Append what came from outside, remember its delivery ids, and queue a wake-up: all or nothing.

        `duplicate`: one of the deliveries was seen. `stale`: the log has not `expect` events. `full`: it would get
        longer than `max_length`.
        """
        ...

    async def append(self, log: Log, event: Event, lease: Lease) -> Log:
        """Append under a lease. Raises Stale (a decision based on an old log), LeaseLost, StoreUnavailable."""
        ...

    async def refresh(self, log: Log) -> Log:
        """The log with what was added since."""
        ...

    async def write_artifact(self, thread_id: ThreadId, name: str, offset: int, chunk: bytes) -> None:
        """Keep a piece of a large result. The same piece may be written twice."""
        ...

    async def read_artifact(self, thread_id: ThreadId, name: str) -> bytes:
        """A large result; empty where there is none."""
        ...

    async def bind(self, conversation: Conversation, thread_id: ThreadId) -> None:
        """From now on this conversation belongs to that thread."""
        ...

    async def bound_to(self, conversation: Conversation) -> ThreadId | None:
        """The thread that a conversation was bound to."""
        ...

    async def recent(self, limit: int) -> Sequence[ThreadSummary]:
        """Threads, the one touched last first."""
        ...

    def changes(self, thread_id: ThreadId) -> AsyncGenerator[int]:
        """Yields the length of a log, now and whenever it grows. Close it to stop."""
        ...
