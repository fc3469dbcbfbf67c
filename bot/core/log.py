"""A thread's log with its state. A value: appending makes a new one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bot.core.events import Event
from bot.core.fold import fold, step
from bot.core.state import ThreadState
from bot.core.values import ThreadId


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

    def __len__(self) -> int:
        return len(self.events)
