"""Takes in text messages: codes, answers, opt-outs, and what is meant for an agent.

An approval always needs its code; a text without one never decides what is only "the most recent" (SM6).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

import structlog

from bot.core.decide import Attempt
from bot.core.events import DecisionMade, PostSent
from bot.core.hearing import is_heard
from bot.core.people import Actor, Address, People
from bot.core.protocols import Clock, DeliveryError
from bot.core.reading import match_choice, read_question
from bot.core.state import RequestState
from bot.core.wording import cut, is_bare_decision
from bot.desks.commands import Commands, Where
from bot.runtime.inbox import Inbound, Inbox, ThreadFull, UnknownThread
from bot.runtime.store import CodeOwner, Store
from channels.sms.client import SmsChannel
from channels.sms.receive import (
    CHANNEL,
    Intent,
    SmsText,
    StatusReport,
    address_of,
    conversation_of,
    outcome_of,
    read_intent,
)

logger = structlog.get_logger(__name__)

Taken = Literal[
    "launched", "continued", "decided", "refused", "listed", "answered", "silent", "opted_out", "opted_in", "duplicate"
]
_HOUR, _DAY, _SEEN = timedelta(hours=1), timedelta(days=1), timedelta(days=3)
_WRONG_CODES = 5
_ANSWERS_AN_HOUR = 10
_SILENCE = timedelta(hours=1)


@dataclass(frozen=True)
class Caps:
    """How many texts a day are given to an agent (SM7)."""

    per_number: int
    total: int


@dataclass(frozen=True)
class _Pending:
    """A request that waits for whoever has this number."""

    code: str
    owner: CodeOwner
    request: RequestState


class SmsDesk:
    """Takes texts in."""

    def __init__(
        self,
        inbox: Inbox,
        channel: SmsChannel,
        people: Callable[[], People],
        store: Store,
        commands: Commands,
        *,
        caps: Caps,
        clock: Clock,
        first_agent: str,
    ) -> None:
        self._inbox = inbox
        self._channel = channel
        self._people = people
        self._store = store
        self._commands = commands
        self._caps = caps
        self._clock = clock
        self._first_agent = first_agent
        self._notices: set[asyncio.Task[None]] = set()

    async def text(self, text: SmsText) -> Taken:
        """Take one text in. Raises StoreUnavailable: then it is to be sent again."""
        # Messages and decisions are stored once by their own delivery ids; this is for all that is no event.
        if await self._store.rates.recent(f"text:{text.sid}", _SEEN):
            return "duplicate"
        taken = await self._text(text)
        await self._store.rates.add(f"text:{text.sid}", _SEEN)
        logger.info("text", outcome=taken)
        return taken

    async def status(self, report: StatusReport) -> None:
        """What became of a text that was sent (SM11). Raises StoreUnavailable."""
        outcome = outcome_of(report)
        if outcome is None or not report.post_id:
            return
        detail = f"{report.status} {report.error_code or ''}".strip()
        log = await self._store.logs.load(report.post_id.partition(":")[0])
        if log.asking(report.post_id) is None:
            return
        sent = next((event for event in log.events if isinstance(event, PostSent) and event.ref == report.sid), None)
        if outcome == "undeliverable" and sent and sent.to.startswith(f"{CHANNEL}:"):
            # The address of this very text: by now its post may have gone elsewhere.
            await self._store.addresses.turn_off(sent.to, f"texts do not arrive ({detail})")
        known = "failed" if outcome == "filtered" else outcome
        await self._report(report.post_id, known, detail, ref=report.sid, delivery=f"status:{report.sid}:{known}")

    async def close(self) -> None:
        """Let the texts that are under way get out."""
        if self._notices:
            await asyncio.wait(self._notices, timeout=5)

    async def _text(self, text: SmsText) -> Taken:
        address = address_of(text.number)
        by = self._people().actor(address, name=text.number, authenticated_by="twilio-signature")
        if not is_heard(by, self._people()):  # SM7: no agent, and no answer
            await self._inbox.refuse(address, "SM7", "not a number of anybody known", source=text.sid)
            return "silent"
        if text.opt == "stop":
            return await self._opted_out(address, text)
        if text.opt == "start" and await self._store.addresses.turn_on(address):
            return "opted_in"
        place = Where(f"sms:{text.sid}", await self._inbox.thread_of(conversation_of(text.number)))
        if answer := await self._commands.answer(text.text, by, place):
            if answer.text:
                self._notify(text.number, answer.text)
            return "answered"
        if by.kind == "unknown":  # never decides: what they say goes on with what they asked
            return await self._message(text, by)
        return await self._routed(text, by)

    async def _routed(self, text: SmsText, by: Actor) -> Taken:
        intent = read_intent(text.text)
        if intent.code:
            owner = await self._store.codes.owner(by.address, intent.code)
            request = await self._request(owner) if owner else None
            tries = bool(intent.verdict or read_question(intent.rest)) or not intent.rest.strip()
            # Counted before it is known to be right, so that many at once are no more tries than five.
            locked = tries and await self._tried(intent.code, by) > _WRONG_CODES
            if locked and not (owner and intent.verdict == "deny"):  # a no fails safe
                await self._inbox.refuse(by.address, "SM5", "locked after wrong codes", source=text.sid)
                return "silent"
            if owner and request:
                await self._store.rates.forget(f"codes:{by.address}", intent.code)
                return await self._decide(text, by, owner, _attempt(text, intent, by, request))
            if tries:
                return await self._wrong_code(text, by)
        if await self._store.rates.recent(f"codes:{by.address}", _HOUR) >= _WRONG_CODES:  # SM5
            await self._inbox.refuse(by.address, "SM5", "locked after wrong codes", source=text.sid)
            return "silent"
        pending = await self._pending(by.address)
        questions = [one for one in pending if one.request.request.kind == "question"]
        bare = is_bare_decision(text.text) or intent.stray
        if len(questions) == 1 and (len(pending) == 1 or not bare):
            only = questions[0]
            return await self._decide(text, by, only.owner, _attempt(text, intent, by, only.request))
        if pending and (bare or len(questions) > 1):
            return await self._listed(text, by, pending) if await self._is_first(text) else "duplicate"
        return await self._message(text, by)

    async def _decide(self, text: SmsText, by: Actor, owner: CodeOwner, attempt: Attempt) -> Taken:
        # A phone that answers by itself does not stop, and each answer to it is paid for.
        refused = not isinstance(await self._inbox.would_be(owner.thread_id, attempt), DecisionMade)
        if refused and await self._store.rates.add(f"told:{by.address}", _HOUR, member=text.sid) > _ANSWERS_AN_HOUR:
            attempt = replace(attempt, receipt="never")
        _, event = await self._inbox.decide(owner.thread_id, attempt, deliveries=(f"sms:{text.sid}",))
        if event is None:
            return "duplicate"
        logger.info("text_decision", thread=owner.thread_id, outcome=event.type, verdict=attempt.verdict, by=by.id)
        return "decided" if event.type == "decision_made" else "refused"

    async def _wrong_code(self, text: SmsText, by: Actor) -> Taken:
        if not await self._is_first(text):
            return "duplicate"
        locked = await self._store.rates.recent(f"codes:{by.address}", _HOUR) >= _WRONG_CODES
        why = "locked after wrong codes" if locked else "wrong code"
        await self._inbox.refuse(by.address, "SM5", why, source=text.sid)
        tail = " That was one too many: I take nothing from this number for an hour." if locked else ""
        self._notify(text.number, f"I do not know this code. Nothing was decided.{tail}")
        return "refused"

    async def _listed(self, text: SmsText, by: Actor, pending: list[_Pending]) -> Taken:
        """Several wait, or one that needs its code: which is which (SM6)."""
        # Two machines that answer each other would go on for ever, and each answer is paid for.
        if await self._store.rates.add(f"told:{by.address}", _HOUR) > _ANSWERS_AN_HOUR:
            return "refused"
        lines = [f"{_title(one.request)}: {_how(one)}" for one in pending[:5]]
        more = f"\nand {len(pending) - 5} more." if len(pending) > 5 else ""  # noqa: PLR2004
        self._notify(text.number, "Nothing was decided. Please reply with the code:\n" + "\n".join(lines) + more)
        return "listed"

    async def _message(self, text: SmsText, by: Actor) -> Taken:
        if not text.text.strip() or not await self._within_caps(text, by):
            return "refused"
        conversation = conversation_of(text.number)
        thread_id = await self._inbox.thread_of(conversation)
        log = await self._store.logs.load(thread_id)
        over = log.state.run in {"finished", "cancelled"}
        if over and self._clock.now() - log.events[-1].at > _SILENCE:
            await self._inbox.begin_anew(conversation, after=thread_id)
        inbound = Inbound(
            conversation=conversation,
            text=text.text,
            by=by,
            source=text.sid,
            deliveries=(f"sms:{text.sid}",),
            may_launch=True,
        )
        received = await self._inbox.message(inbound, agent=self._first_agent)
        if received.outcome == "full":  # a number has no other place to go on in
            await self._inbox.begin_anew(conversation, after=thread_id)
            received = await self._inbox.message(inbound, agent=self._first_agent)
        known: dict[str, Taken] = {"launched": "launched", "continued": "continued", "duplicate": "duplicate"}
        return known.get(received.outcome, "refused")

    async def _within_caps(self, text: SmsText, by: Actor) -> bool:
        count = self._store.rates.add if await self._is_first(text) else self._store.rates.recent
        own = await count(f"texts:{by.address}", _DAY)
        total = await count("texts", _DAY)
        if own <= self._caps.per_number and total <= self._caps.total:
            return True
        await self._inbox.refuse(by.address, "SM7", "over the daily cap", source=text.sid)
        if await self._store.rates.add(f"cap:{by.address}", _DAY) == 1:
            self._notify(text.number, "That is more texts than I take in a day. Decisions with a code still count.")
        return False

    async def _tried(self, code: str, by: Actor) -> int:
        """How many codes were tried from this number within the hour; the same one again is no further guess."""
        return await self._store.rates.add(f"codes:{by.address}", _HOUR, member=code)

    async def _is_first(self, text: SmsText) -> bool:
        """Whether this text was not counted or answered yet, by this delivery or one beside it."""
        return await self._store.rates.add(f"counted:{text.sid}", _SEEN) == 1

    async def _opted_out(self, address: Address, text: SmsText) -> Taken:
        """A STOP never denies: whoever is asked at this number is asked elsewhere (SM4)."""
        await self._store.addresses.turn_off(address, "opted out with STOP")
        await self._inbox.refuse(address, "SM4", "opted out", source=text.sid)
        for code, owner in (await self._store.codes.all(address)).items():
            log = await self._store.logs.load(owner.thread_id)
            request = log.state.requests.get(owner.request_id)
            if request and request.status == "pending" and log.recipient_of(owner.post_id) == address:
                await self._report(owner.post_id, "undeliverable", "opted out", delivery=f"stop:{text.sid}:{code}")
        return "opted_out"

    async def _report(
        self,
        post_id: str,
        outcome: Literal["delivered", "undeliverable", "failed", "retry"],
        detail: str,
        *,
        delivery: str,
        ref: str = "",
    ) -> None:
        try:
            await self._inbox.report(post_id, outcome, detail, ref=ref, deliveries=(delivery,))
        except (UnknownThread, ThreadFull):
            logger.info("report_of_no_thread", post=post_id)

    async def _pending(self, address: Address) -> list[_Pending]:
        found: list[_Pending] = []
        for code, owner in (await self._store.codes.all(address)).items():
            request = await self._request(owner)
            if request and request.status == "pending":
                found.append(_Pending(code, owner, request))
        return found

    async def _request(self, owner: CodeOwner) -> RequestState | None:
        log = await self._store.logs.load(owner.thread_id)
        return log.state.requests.get(owner.request_id)

    def _notify(self, number: str, text: str) -> None:
        """A text outside of any thread. Best effort: nothing has happened that it would have to report."""

        async def send() -> None:
            try:
                await self._channel.notice(number, text)
            except DeliveryError as error:
                logger.warning("notice_not_sent", error=error.error)

        task = asyncio.create_task(send())
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)


def _attempt(text: SmsText, intent: Intent, by: Actor, one: RequestState) -> Attempt:
    request = one.request
    if request.kind == "question":
        said = text.text.replace(intent.code, " ", 1).strip() if intent.code else text.text.strip()
        answer = match_choice(said, request.choices) if request.choices else cut(said, 1_600)
        problem = None if said else ("ambiguous", "I found no answer in your text. Please write it behind the code.")
        return Attempt(request.id, "answer", by, text=answer or cut(said, 200), source=text.sid, problem=problem)
    if intent.verdict:
        reason = cut(intent.rest.strip(), 1_000) if intent.verdict == "deny" else ""
        return Attempt(request.id, intent.verdict, by, text=reason, source=text.sid)
    if asks := read_question(intent.rest):
        return Attempt(request.id, "ask", by, text=asks, source=text.sid)
    code = intent.code or ""
    problem = ("ambiguous", f"Nothing was decided. Reply with exactly YES {code} or NO {code}.")
    return Attempt(request.id, "unclear", by, source=text.sid, problem=problem)


def _title(one: RequestState) -> str:
    return cut(one.request.preview.title if one.request.preview else one.request.prompt, 80)


def _how(one: _Pending) -> str:
    if one.request.request.kind == "approval":
        return f"YES {one.code} or NO {one.code}"
    return f"{one.code} and your answer"
