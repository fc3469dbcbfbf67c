"""What comes in from outside: messages, decisions, control. Each is durable before anybody is answered.

Nothing here acts on an event: that is the worker's business, which the append wakes.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel

from bot.core.agent import Agent
from bot.core.decide import Attempt, as_typed, judge
from bot.core.editing import Field, arguments_from, arguments_with, fields_of
from bot.core.events import (
    Cancelled,
    DecisionMade,
    DecisionRefused,
    Event,
    InboundRefused,
    MessageReceived,
    Paused,
    PostReported,
    Resumed,
    ThreadLaunched,
)
from bot.core.log import Log
from bot.core.people import Actor, Address, People
from bot.core.protocols import Clock, ThreadStore
from bot.core.tokens import without_tokens
from bot.core.values import Arguments, Conversation, PostId, RequestId, ThreadId

MAX_MESSAGE_CHARACTERS = 40_000
MAX_LOG_LENGTH = 5_000
"""Events after which a thread takes no more messages: what comes from outside is bounded."""
MAX_REFUSED_LENGTH = 2_500
"""Events after which a thread takes no more attempts that do not count: they are recorded with what was turned away at
the door, so that nobody can fill a thread by pressing buttons."""

RESEND_AFTER = timedelta(minutes=5)
"""A phone that is off, or a carrier that is overloaded, is left alone for a while."""
REFUSED = "refused-"
"""Begins the ids of logs that no thread is behind: what was refused at the door, one for each channel and day."""

Control = Literal["pause", "resume", "cancel"]
ReportedOutcome = Literal["delivered", "undeliverable", "failed", "retry"]


class UnknownThread(Exception):  # noqa: N818 an answer, not a mistake
    """There is no such thread."""


class ThreadFull(Exception):  # noqa: N818 an answer, not a mistake
    """The thread takes no more events from outside."""


class ConversationTaken(Exception):  # noqa: N818 an answer, not a mistake
    """The conversation belongs to another thread, whose id this carries."""


@dataclass(frozen=True)
class Inbound:
    """A message that a channel has verified."""

    conversation: Conversation
    text: str
    by: Actor
    source: str
    deliveries: tuple[str, ...]
    """Every id under which the provider may send this again."""
    may_launch: bool
    """Addressed to the bot, so that it starts a thread where there is none."""
    trail: str = ""
    """What the channel wants to know of it when it answers (`MessageReceived.trail`)."""


@dataclass(frozen=True)
class Received:
    """What became of a message."""

    thread_id: ThreadId | None
    outcome: Literal["launched", "continued", "duplicate", "ignored", "full"]


class Inbox:
    """The way in."""

    def __init__(
        self, store: ThreadStore, clock: Clock, people: Callable[[], People], agents: Mapping[str, Agent] | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._people = people
        self._agents = agents or {}

    async def message(self, inbound: Inbound, *, agent: str) -> Received:
        """Continue the conversation's thread, or launch `agent` in a new one. Raises StoreUnavailable."""
        thread_id = await self.thread_of(inbound.conversation)
        message = self._message(inbound.text, inbound.by, inbound.source, inbound.trail)
        if inbound.may_launch:
            launch = ThreadLaunched(at=message.at, agent=agent, by=inbound.by, conversation=inbound.conversation)
            appended = await self._store.receive(thread_id, (launch, message), deliveries=inbound.deliveries, expect=0)
            if appended.outcome == "appended":
                return Received(thread_id, "launched")
            if appended.outcome == "duplicate":
                return Received(thread_id, "duplicate")
        elif not await self._store.length(thread_id):
            return Received(None, "ignored")
        appended = await self._store.receive(
            thread_id, (message,), deliveries=inbound.deliveries, max_length=MAX_LOG_LENGTH
        )
        known: dict[str, Literal["continued", "duplicate", "full"]] = {
            "appended": "continued",
            "duplicate": "duplicate",
        }
        return Received(thread_id, known.get(appended.outcome, "full"))

    async def takes_part(self, conversation: Conversation) -> bool:
        """Whether a thread of the bot's lives in this conversation."""
        return await self._store.length(await self.thread_of(conversation)) > 0

    async def thread_of(self, conversation: Conversation) -> ThreadId:
        """The thread that a conversation belongs to, whether it exists yet or not."""
        bound = await self._store.bound_to(conversation)
        return bound or thread_id_for(f"{conversation.channel}:{conversation.ref}")

    async def launch(
        self,
        agent: str,
        text: str,
        by: Actor,
        *,
        conversation: Conversation | None = None,
        bind: bool = False,
        key: str | None = None,
    ) -> Received:
        """Start an agent without a message in a channel. The same `key` of the same caller launches once.

        `bind`: replies in the conversation belong to this thread from the beginning; without it, from the first post
        on, which then is what people reply to. Raises ConversationTaken where it belongs to another thread.
        """
        seed = f"launch:{by.id}:{key}" if key else f"launch:{secrets.token_hex(16)}"
        thread_id = thread_id_for(seed)
        if conversation and bind:
            owner = await self.thread_of(conversation)
            if owner != thread_id and await self._store.length(owner):
                raise ConversationTaken(owner)
            await self._store.bind(conversation, thread_id)
        message = self._message(text, by, seed)
        launch = ThreadLaunched(at=message.at, agent=agent, by=by, conversation=conversation)
        appended = await self._store.receive(thread_id, (launch, message), deliveries=(seed,), expect=0)
        return Received(thread_id, "launched" if appended.outcome == "appended" else "duplicate")

    async def begin_anew(self, conversation: Conversation, after: ThreadId) -> None:
        """The conversation goes on in a new thread; whoever says so about the same old one means the same new one."""
        await self._store.bind(conversation, thread_id_for(f"{conversation.channel}:{conversation.ref}:after:{after}"))

    async def bind(self, conversation: Conversation, thread_id: ThreadId) -> None:
        """Messages in this conversation belong to that thread."""
        await self._store.bind(conversation, thread_id)

    async def add_message(
        self,
        thread_id: ThreadId,
        text: str,
        by: Actor,
        *,
        source: str = "",
        deliveries: Sequence[str] = (),
        trail: str = "",
    ) -> Log:
        """A further message to a thread that exists. Raises UnknownThread, ThreadFull."""
        await self.log(thread_id)
        message = self._message(text, by, source, trail)
        await self._from_outside(thread_id, (message,), deliveries or ((source,) if source else ()))
        return await self._store.load(thread_id)

    async def decide(
        self, thread_id: ThreadId, attempt: Attempt, *, deliveries: Sequence[str] = (), once: Sequence[str] = ()
    ) -> tuple[Log, DecisionMade | DecisionRefused | None]:
        """Judge and record a decision; the compare-and-set is the append itself (AP2).

        `once`: as `deliveries`, but used up only by a decision that counts. The event is None for a duplicate; one that
        the log has not (`Log.has`) was recorded elsewhere, so the thread tells nobody. Raises UnknownThread,
        StoreUnavailable.
        """
        log, attempt = await self.log(thread_id), as_typed(attempt)
        while True:
            event = self.would_be(log, attempt)
            # That a request is settled stays true whatever else arrives. Anything else is judged anew: by now it may be
            # settled, or somebody told already.
            counts = isinstance(event, DecisionMade)
            stays = not counts and event.rule == "late" and not (attempt.receipt == "hourly" and event.receipt)
            appended = await self._store.receive(
                thread_id,
                (event,),
                deliveries=(*deliveries, *once) if counts else deliveries,
                expect=None if stays else len(log),
                max_length=None if counts else MAX_REFUSED_LENGTH,
            )
            if appended.outcome == "duplicate":
                return await self._store.refresh(log), None
            if appended.outcome == "full" and not counts:
                await self._refused_elsewhere(event)
            if appended.outcome in {"appended", "full"}:
                return await self._store.refresh(log), event
            log = await self._store.refresh(log)

    async def _refused_elsewhere(self, event: DecisionRefused) -> None:
        why = f"an attempt at the request {event.request_id}, whose thread takes no more of them"
        await self.refuse(event.by.address, event.rule, why, source=event.source)

    def editable(self, log: Log, request_id: RequestId) -> tuple[Field, ...]:
        """What can be changed in the call that a request is about; empty: nothing."""
        found = self._proposed(log, request_id)
        return fields_of(*found) if found else ()

    def edited(self, log: Log, request_id: RequestId, typed: Mapping[str, str]) -> Arguments:
        """What a person typed, as arguments of the call. Raises ValueError with what is wrong with it."""
        found = self._proposed(log, request_id)
        if found is None:
            raise ValueError("there is nothing to change here any more")
        return arguments_from(found[0], typed, found[1])

    def changed(self, log: Log, request_id: RequestId, changes: Arguments) -> Arguments:
        """As `edited`, with values instead of typed text: only those that change. Raises ValueError."""
        found = self._proposed(log, request_id)
        if found is None:
            raise ValueError("there is nothing to change here any more")
        return arguments_with(found[0], changes, found[1])

    def _proposed(self, log: Log, request_id: RequestId) -> tuple[Arguments, type[BaseModel]] | None:
        one, call = log.state.requests.get(request_id), log.state.call
        if one is None or call is None or one.request.call_id != call.id or one.request.kind != "approval":
            return None
        agent = self._agents.get(log.state.agent)
        tool = agent.tool(call.tool) if agent else None
        return (call.arguments, tool.arguments) if tool else None

    def would_be(self, log: Log, attempt: Attempt) -> DecisionMade | DecisionRefused:
        """What would become of a decision now, as the log stands. Nothing is recorded."""
        return judge(log.state, attempt, self._people(), self._clock.now())

    async def report(
        self, post_id: PostId, outcome: ReportedOutcome, detail: str, *, ref: str = "", deliveries: Sequence[str] = ()
    ) -> None:
        """What became of a post that had been sent. Raises UnknownThread, ThreadFull."""
        thread_id = post_id.partition(":")[0]
        await self.log(thread_id)
        at = self._clock.now()
        retry_at = at + RESEND_AFTER if outcome == "retry" else None
        reported = PostReported(
            at=at, post_id=post_id, ref=ref, outcome=outcome, detail=detail[:300], retry_at=retry_at
        )
        await self._from_outside(thread_id, (reported,), deliveries)

    async def refuse(self, address: Address, rule: str, why: str, *, source: str = "") -> None:
        """Note for the audit that something came in which no thread was given. A day holds so many, then no more."""
        channel = address.partition(":")[0]
        at = self._clock.now()
        refused = InboundRefused(
            at=at,
            channel=channel,
            address=without_tokens(address)[:300],  # a mail of ours that comes back has them
            rule=rule,
            why=why[:300],
            source=without_tokens(source)[:300],
        )
        deliveries = (f"refused:{source}",) if source else ()
        await self._store.receive(
            f"{REFUSED}{channel}-{at:%Y-%m-%d}", (refused,), deliveries=deliveries, max_length=MAX_LOG_LENGTH
        )

    async def control(self, thread_id: ThreadId, what: Control, by: Actor, *, deliveries: Sequence[str] = ()) -> Log:
        """Pause, resume or cancel. Raises UnknownThread, ThreadFull."""
        await self.log(thread_id)
        at = self._clock.now()
        events: dict[Control, Event] = {
            "pause": Paused(at=at, by=by),
            "resume": Resumed(at=at, by=by),
            "cancel": Cancelled(at=at, by=by),
        }
        # A thread that takes no more messages can still be cancelled.
        limit = None if what == "cancel" else MAX_LOG_LENGTH
        await self._from_outside(thread_id, (events[what],), deliveries, limit=limit)
        return await self._store.load(thread_id)

    async def _from_outside(
        self,
        thread_id: ThreadId,
        events: Sequence[Event],
        deliveries: Sequence[str],
        *,
        limit: int | None = MAX_LOG_LENGTH,
    ) -> None:
        appended = await self._store.receive(thread_id, events, deliveries=deliveries, max_length=limit)
        if appended.outcome == "full":
            raise ThreadFull(thread_id)

    async def log(self, thread_id: ThreadId) -> Log:
        """The log of a thread that exists. Raises UnknownThread."""
        log = await self._store.load(thread_id)
        if not len(log):
            raise UnknownThread(thread_id)
        return log

    def _message(self, text: str, by: Actor, source: str, trail: str = "") -> MessageReceived:
        clean = text.replace("\x00", "")
        kept = clean[:MAX_MESSAGE_CHARACTERS]
        cut_characters = len(clean) - len(kept)
        return MessageReceived(
            at=self._clock.now(), text=kept, by=by, source=source, cut_characters=cut_characters, trail=trail
        )


def thread_id_for(seed: str) -> ThreadId:
    """A thread's id, derived from what started it: the same seed is the same thread."""
    return "t" + hashlib.sha256(seed.encode()).hexdigest()[:24]
