"""A thread's log with its state. A value: appending makes a new one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from bot.core.events import (
    CallPrepared,
    DecisionRefused,
    Event,
    PostFailed,
    PostSent,
    RequestEscalated,
    RequestOpened,
    RequestReminded,
)
from bot.core.fold import fold, step
from bot.core.people import Address
from bot.core.state import RequestState, ThreadState, Whisper
from bot.core.values import CallId, PostId, RequestId, ThreadId


@dataclass(frozen=True)
class Log:
    """What happened in a thread, and what is so because of it."""

    thread_id: ThreadId
    events: tuple[Event, ...] = ()
    state: ThreadState = field(default_factory=ThreadState)

    def __post_init__(self) -> None:
        if self.state.thread_id != self.thread_id:  # made without events
            object.__setattr__(self, "state", fold(self.thread_id, self.events))

    @classmethod
    def of(cls, thread_id: ThreadId, events: Iterable[Event]) -> Log:
        """The log with these events, folded."""
        known = tuple(events)
        return cls(thread_id, known, fold(thread_id, known))

    def plus(self, events: Iterable[Event]) -> Log:
        """This log with more events at its end; only these are folded."""
        more = tuple(events)
        state = self.state
        for event in more:
            state = step(state, event)
        return Log(self.thread_id, (*self.events, *more), state)

    def asking(self, post_id: PostId) -> Event | None:
        """The event that asked for a post; None where the id is none of this log's."""
        thread_id, _, seq = post_id.rpartition(":")[0].rpartition(":")
        known = thread_id == self.thread_id and seq.isdigit() and 1 <= int(seq) <= len(self.events)
        return self.events[int(seq) - 1] if known else None

    def request_of(self, post_id: PostId) -> RequestState | None:
        """The request that a post is about, as it is now: its card, a copy, or a receipt for who tried to decide."""
        match self.asking(post_id):
            case RequestOpened(request=request):
                return self.state.requests.get(request.id)
            case (
                DecisionRefused(request_id=request_id)
                | RequestReminded(request_id=request_id)
                | RequestEscalated(request_id=request_id)
            ):
                return self.state.requests.get(request_id)
            case _:
                return None

    def request_id_of(self, post_id: PostId) -> RequestId:
        """The id of that request, empty where a post is about none. What answers the post answers this and no other."""
        one = self.request_of(post_id)
        return one.request.id if one else ""

    def chosen_at(self, call_id: CallId) -> datetime:
        """When the call was chosen: with its id it names the call for ever, though a log may be lost or end."""
        return self.events[int(call_id.split(":")[1]) - 1].at

    def prepared_at(self, call_id: CallId) -> datetime:
        """When the call was prepared last. Raises StopIteration where it never was."""
        return next(one.at for one in reversed(self.events) if isinstance(one, CallPrepared) and one.call_id == call_id)

    def recipient_of(self, post_id: PostId) -> Address:
        """Whom a post was sent to last, or is meant for; empty where that is the conversation."""
        for event in reversed(self.events):
            if isinstance(event, PostSent | PostFailed) and event.post_id == post_id and event.to:
                return event.to
        post = self.state.posts.get(post_id)
        if post and isinstance(post.content, Whisper):
            return post.content.address
        return (post.line if post else "") or self.state.owner

    def recipients_of(self, post_id: PostId) -> tuple[Address, ...]:
        """Everybody to whom a post was sent, at whatever address, and whom it is meant for; the newest first."""
        sent = [
            event.to
            for event in reversed(self.events)
            if isinstance(event, PostSent) and event.post_id == post_id and event.to
        ]
        return tuple(filter(None, dict.fromkeys([*sent, self.recipient_of(post_id)])))

    def reader_of(self, post_id: PostId, address: Address) -> str:
        """The id of the person to whom a post was sent at this address, last; empty where nobody is known to be."""
        sent = (event for event in reversed(self.events) if isinstance(event, PostSent) and event.post_id == post_id)
        return next((event.person for event in sent if event.to == address), "")

    def has(self, event: Event) -> bool:
        """Whether this event is in it; looked for from the end."""
        return event in reversed(self.events)

    def __len__(self) -> int:
        return len(self.events)
