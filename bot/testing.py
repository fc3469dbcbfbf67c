"""For tests of agents, without Redis, without a model and without waiting: a clock to turn, a store in memory, a stage.

Shipped, because whoever writes an agent wants to test it:

    log = await Stage(agent, people=people).say("deploy v1.4.0 to production", by=ana)
    assert log.state.pending
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime, timedelta

from bot.core.agent import Agent
from bot.core.events import Event, event_from_json, stored_form
from bot.core.log import Log
from bot.core.people import Actor, Address, People
from bot.core.protocols import Appended, Channel, Clock, Lease, Model, Stale, ThreadSummary
from bot.core.tokens import Tokens
from bot.core.values import Conversation, ThreadId
from bot.runtime.inbox import Inbox
from bot.runtime.links import Links
from bot.runtime.outbox import Outbox
from bot.runtime.perform import Perform
from bot.runtime.routing import Routing
from bot.runtime.runner import Runner
from bot.runtime.scripted import ScriptedModel

__all__ = ["FakeClock", "MemoryStore", "ScriptedModel", "Stage", "wait_until"]


class FakeClock:
    """Time that passes only when it is told to."""

    def __init__(self, start: datetime = datetime(2026, 3, 20, 9, 0, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        """The time, in UTC."""
        return self._now

    def advance(self, **duration: float) -> None:
        """Let time pass: `advance(minutes=5)`."""
        self._now += timedelta(**duration)


class MemoryStore:
    """A thread store in a dictionary: the same promises as the real one, for one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._logs: dict[ThreadId, tuple[Event, ...]] = {}
        self._seen: set[tuple[ThreadId, str]] = set()
        self._artifacts: dict[tuple[ThreadId, str], bytearray] = defaultdict(bytearray)
        self._bound: dict[Conversation, ThreadId] = {}
        self._touched: dict[ThreadId, datetime] = {}
        self._grown = asyncio.Condition()

    async def load(self, thread_id: ThreadId) -> Log:
        """The whole log."""
        return Log.of(thread_id, self._logs.get(thread_id, ()))

    async def refresh(self, log: Log) -> Log:
        """The log with what was added since."""
        return log.plus(self._logs.get(log.thread_id, ())[len(log) :])

    async def length(self, thread_id: ThreadId) -> int:
        """How many events a log has."""
        return len(self._logs.get(thread_id, ()))

    async def receive(
        self,
        thread_id: ThreadId,
        events: Sequence[Event],
        *,
        deliveries: Sequence[str] = (),
        expect: int | None = None,
        max_length: int | None = None,
    ) -> Appended:
        """Append what came from outside (see the protocol)."""
        length = len(self._logs.get(thread_id, ()))
        if any((thread_id, delivery) in self._seen for delivery in deliveries):
            return Appended("duplicate", length)
        if expect is not None and expect != length:
            return Appended("stale", length)
        if max_length is not None and length + len(events) > max_length:
            return Appended("full", length)
        self._seen |= {(thread_id, delivery) for delivery in deliveries}
        await self._add(thread_id, events)
        return Appended("appended", length + len(events))

    async def append(self, log: Log, event: Event, lease: Lease) -> Log:
        """Append under a lease."""
        del lease
        now = await self.refresh(log)
        if event.needs_fresh_log and len(now) != len(log):
            raise Stale(now)
        await self._add(log.thread_id, (event,))
        return await self.refresh(now)

    async def write_artifact(self, thread_id: ThreadId, name: str, offset: int, chunk: bytes) -> None:
        """Keep a piece of a large result."""
        self._artifacts[thread_id, name][offset : offset + len(chunk)] = chunk

    async def read_artifact(self, thread_id: ThreadId, name: str) -> bytes:
        """A large result."""
        return bytes(self._artifacts[thread_id, name])

    async def bind(self, conversation: Conversation, thread_id: ThreadId) -> None:
        """From now on this conversation belongs to that thread."""
        self._bound[conversation] = thread_id

    async def bound_to(self, conversation: Conversation) -> ThreadId | None:
        """The thread that a conversation was bound to."""
        return self._bound.get(conversation)

    async def recent(self, limit: int) -> list[ThreadSummary]:
        """Threads, the one touched last first."""
        found = [ThreadSummary(thread_id, at) for thread_id, at in self._touched.items()]
        return sorted(found, key=lambda one: one.touched_at, reverse=True)[:limit]

    async def changes(self, thread_id: ThreadId) -> AsyncGenerator[int]:
        """Yields the length of a log, now and whenever it grows."""
        known = len(self._logs.get(thread_id, ()))
        yield known
        while True:
            async with self._grown:
                await self._grown.wait_for(lambda: len(self._logs.get(thread_id, ())) > known)  # noqa: B023
            known = len(self._logs[thread_id])
            yield known

    async def _add(self, thread_id: ThreadId, events: Sequence[Event]) -> None:
        kept = (event_from_json(stored_form(event)) for event in events)
        self._logs[thread_id] = (*self._logs.get(thread_id, ()), *kept)
        self._touched[thread_id] = self._clock.now()
        async with self._grown:
            self._grown.notify_all()


class MemoryAddresses:
    """Which addresses are out of use, in memory."""

    def __init__(self) -> None:
        self._off: dict[Address, str] = {}

    async def why_off(self, address: Address) -> str | None:
        """Why nothing is sent there."""
        return self._off.get(address)

    async def turn_off(self, address: Address, why: str) -> None:
        """Send nothing there."""
        self._off[address] = why


class Stage:
    """Agents on a stage: what people say goes in, and each call returns when the thread waits on the world."""

    def __init__(
        self,
        *agents: Agent,
        people: People | None = None,
        model: Model | None = None,
        channel: Channel | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.store = MemoryStore(self.clock)
        self._people = people or People()
        self._first = agents[0].name
        self._channel = channel
        self.inbox = Inbox(self.store, self.clock, lambda: self._people)
        routing = Routing(lambda: self._people, {channel.name: channel} if channel else {}, MemoryAddresses())
        outbox = Outbox(self.store, routing, self.clock, Links("", b""), Tokens(b"stage"))
        perform = Perform(
            store=self.store,
            model=model or ScriptedModel(),
            agents={agent.name: agent for agent in agents},
            outbox=outbox,
            routing=routing,
            people=lambda: self._people,
            clock=self.clock,
            place="stage",
        )
        self._runner = Runner(self.store, perform)
        self.thread_id: ThreadId = ""

    async def say(self, text: str, *, by: Actor) -> Log:
        """Launch a thread, or go on with it."""
        if not self.thread_id:
            place = Conversation(channel=self._channel.name, ref="stage") if self._channel else None
            launched = await self.inbox.launch(self._first, text, by, conversation=place)
            self.thread_id = launched.thread_id or ""
        else:
            await self.inbox.add_message(self.thread_id, text, by)
        return await self.go_on()

    async def go_on(self) -> Log:
        """Drive the thread until it waits on the world, or is at its end."""
        return await self._runner.advance(Lease(self.thread_id, 1, "", recovered=False), _never)


async def wait_until(condition: Callable[[], object], *, seconds: float = 10.0) -> None:
    """Return when the condition holds. Raises AssertionError when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} seconds: {condition}")
        await asyncio.sleep(0.01)


async def _never() -> None:
    await asyncio.Event().wait()
