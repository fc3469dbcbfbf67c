"""Answers commands: looks up what the wording in `bot.core.commands` needs, and cancels. No model, no new thread.

What is asked is read from the logs that were touched last; nothing else is kept about it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from bot.core import commands as c
from bot.core.agent import Agent
from bot.core.hearing import may_cancel, may_see, takes_part
from bot.core.log import Log
from bot.core.people import Actor, People
from bot.core.protocols import Clock
from bot.core.reading import match_choice
from bot.core.standing import short
from bot.core.values import ThreadId
from bot.runtime.inbox import REFUSED, Inbox, UnknownThread
from bot.runtime.listing import readable
from bot.runtime.store import CodeOwner, Store

logger = structlog.get_logger(__name__)

LOOKED_AT = 200
"""Threads, those touched last: what is older is not found by `pending`, nor in the lists of `status` and `cancel`."""
_AT_ONCE = 20
_LISTED = 5
_HOUR, _SEEN = timedelta(hours=1), timedelta(days=3)
_AN_HOUR = {"slack": 120, "email": 20, "sms": 20}
_TOO_MANY = "These are more questions than I answer in an hour. `cancel` still works."


@dataclass(frozen=True)
class Where:
    """Where a message stands."""

    delivery: str
    """The id under which the provider may send it again: it is answered once."""
    thread_id: ThreadId = ""
    """The thread that it is part of, whether that exists or not; empty: none."""
    shared: bool = False
    """Everybody who can write there sees the whole thread."""


@dataclass(frozen=True)
class Answer:
    """A message was a command. An empty text: it was answered before, or the thread itself says it."""

    text: str


class Commands:
    """Answers what people ask the bot itself."""

    def __init__(
        self, inbox: Inbox, people: Callable[[], People], store: Store, *, clock: Clock, agents: Sequence[Agent]
    ) -> None:
        self._inbox = inbox
        self._people = people
        self._store = store
        self._clock = clock
        self._agents = [(one.name, one.purpose) for one in agents]
        self._under_way: set[str] = set()

    async def answer(self, text: str, by: Actor, place: Where) -> Answer | None:
        """The answer to somebody whom the channel has authenticated; None: no command. Raises StoreUnavailable."""
        command = c.read_command(text)
        if command is None:
            return None
        log = await self._store.logs.load(place.thread_id) if place.thread_id else Log(place.thread_id)
        if not command.thread_id and _names_a_choice(text, log):
            return None
        name = f"command:{place.delivery}"
        # Of a mention Slack tells twice, at the same time (SL7): the second one must not cancel once more.
        if name in self._under_way:
            return Answer("")
        self._under_way.add(name)
        try:
            if await self._store.rates.recent(name, _SEEN):
                return Answer("")
            return await self._answered(command, by, place, log)
        finally:
            self._under_way.discard(name)

    async def _answered(self, command: c.Command, by: Actor, place: Where, log: Log) -> Answer:
        counted = f"commands:{by.address}"
        before, limit = await self._store.rates.recent(counted, _HOUR), _AN_HOUR.get(by.address.partition(":")[0], 20)
        text = _TOO_MANY if before == limit else ""
        if before < limit or command.name == "cancel":  # what fails safe is never out of reach
            said = await self._said(command, by, place, log)
            text = said if before < limit else text
        # Noted last: where the store goes away before, the provider sends it again and it is answered then.
        if await self._store.rates.add(f"command:{place.delivery}", _SEEN) > 1:
            return Answer("")
        await self._store.rates.add(counted, _HOUR)
        logger.info("command", command=command.name, by=by.id, answered=bool(text))
        return Answer(text)

    async def _said(self, command: c.Command, by: Actor, place: Where, log: Log) -> str:
        match command.name:
            case "help":
                return c.help_text(_channel(by), self._agents)
            case "whoami":
                return c.whoami_text(by, self._people())
            case "pending":
                return await self._pending(by, place)
            case "status":
                return await self._status(command, by, place, log)
            case "cancel":
                return await self._cancel(command, by, place, log)

    async def _pending(self, by: Actor, place: Where) -> str:
        at, people, issued = self._clock.now(), self._people(), await self._codes(by)
        mine: list[c.Waiting] = []
        others: list[c.Waiting] = []
        for log in await self._recent():
            here = log.thread_id == place.thread_id
            able = c.to_decide(log, by, people, at)
            # What was sent to whoever had this number before is no code of theirs.
            codes = {
                owner.request_id: code
                for code, owner in issued.items()
                if owner.thread_id == log.thread_id and log.reader_of(owner.post_id, by.address) in {"", by.id}
            }
            mine += [c.waiting(log, one, by, at, deciding=True, here=here, codes=codes) for one in able]
            others += [
                c.waiting(log, one, by, at, deciding=False, here=here, codes={})
                for one in c.asked_for(log, by, at)
                if one not in able
            ]
        return c.pending_text(_channel(by), mine, others)

    async def _codes(self, by: Actor) -> dict[str, CodeOwner]:
        """Only those that were sent to the number that asks now."""
        return await self._store.codes.all(by.address) if _channel(by) == "sms" else {}

    async def _status(self, command: c.Command, by: Actor, place: Where, log: Log) -> str:
        at = self._clock.now()
        if command.thread_id:
            found = await self._named(command.thread_id, by)
            return c.status_text(found, at) if found else _unknown(command.thread_id)
        if len(log) and (place.shared or may_see(log, by)):
            return c.status_text(log, at)
        own = [one for one in await self._recent() if takes_part(one, by)]
        if not own:
            return "You have no threads with me lately."
        return c.threads_text(_channel(by), "Your last threads:", own[:_LISTED], at)

    async def _cancel(self, command: c.Command, by: Actor, place: Where, log: Log) -> str:
        if command.thread_id:
            found = await self._named(command.thread_id, by)
            return await self._cancelled(found, by, place) if found else _unknown(command.thread_id)
        if log.state.run == "working":
            return await self._cancelled(log, by, place)
        at = self._clock.now()
        running = [one for one in await self._recent() if one.state.run == "working" and takes_part(one, by)]
        nothing = "Nothing runs in this thread" if len(log) else "Nothing of yours runs"
        if not running:
            return f"{nothing}, so there is nothing to cancel."
        head = f"{nothing}. Of yours these do, or wait:" if len(log) else "Of yours these run, or wait:"
        tail = "Write cancel and the id of the one to end."
        return c.threads_text(_channel(by), head, running[: 2 * _LISTED], at, tail=tail)

    async def _cancelled(self, log: Log, by: Actor, place: Where) -> str:
        if log.state.run != "working":
            return (
                f"Nothing runs in this thread, so there is nothing to cancel. {c.status_text(log, self._clock.now())}"
            )
        if not may_cancel(log, by, self._people()):
            return c.not_yours(log, self._people())
        try:
            await self._inbox.control(
                log.thread_id, "cancel", by, deliveries=(f"cancel:{place.delivery}",) if place.delivery else ()
            )
        except UnknownThread:
            return "This thread is gone."
        logger.info("cancelled_by_command", thread=log.thread_id, by=by.id)
        told = log.thread_id == place.thread_id and (place.shared or log.state.owner == by.address)
        # Where the thread itself says so to them, saying it twice helps nobody.
        return "" if told and log.state.conversation else f"Cancelled thread {short(log.thread_id)}."

    async def _named(self, thread_id: ThreadId, by: Actor) -> Log | None:
        """The one thread whose id this is, or begins like this, if the person may know of it."""
        if c.is_whole(thread_id):
            found = [await self._store.logs.load(thread_id)]
        else:
            found = [log for log in await self._recent() if log.thread_id.startswith(thread_id)]
        people = self._people()
        known = [log for log in found if may_see(log, by) or (len(log) and may_cancel(log, by, people))]
        return known[0] if len(known) == 1 else None

    async def _recent(self) -> list[Log]:
        """The threads that were touched last, folded, the newest first."""
        listed = await self._store.logs.recent(LOOKED_AT)
        ids = [one.thread_id for one in listed if not one.thread_id.startswith(REFUSED)]
        logs: list[Log] = []
        for start in range(0, len(ids), _AT_ONCE):
            logs += await readable(self._store.logs, ids[start : start + _AT_ONCE])
        return [log for log in logs if log.state.run != "empty"]


def _names_a_choice(text: str, log: Log) -> bool:
    """Whether a question in the thread offers this very word: then it is the answer, and no command."""
    questions = (one.request for one in log.state.pending if one.request.kind == "question" and one.request.choices)
    return any(match_choice(text, one.choices) for one in questions)


def _channel(by: Actor) -> str:
    return by.address.partition(":")[0]


def _unknown(thread_id: ThreadId) -> str:
    return f"I know no thread {thread_id} of yours, or more than one begins like that."
