"""Takes in text messages: opt-outs, reports, commands, and what is meant for an agent.

What a text decides stands in `sms_decisions`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import structlog

from bot.core.events import PostSent
from bot.core.hearing import is_heard
from bot.core.people import Actor, Address, People
from bot.core.protocols import Clock
from bot.desks.commands import Commands, Where
from bot.desks.notices import Notices
from bot.desks.sms_decisions import SEEN, SmsDecisions, is_first
from bot.runtime.inbox import Inbound, Inbox, ThreadFull, UnknownThread
from bot.runtime.store import Store
from channels.sms.client import SmsChannel
from channels.sms.receive import CHANNEL, SmsText, StatusReport, address_of, conversation_of, outcome_of

logger = structlog.get_logger(__name__)

Taken = Literal[
    "launched", "continued", "decided", "refused", "listed", "answered", "silent", "opted_out", "opted_in", "duplicate"
]
_DAY = timedelta(days=1)
_SILENCE = timedelta(hours=1)


@dataclass(frozen=True)
class Caps:
    """How many texts a day are given to an agent (SM7)."""

    per_number: int
    total: int


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
        self._decisions = SmsDecisions(inbox, store, self._notify)
        self._notices = Notices()

    async def text(self, text: SmsText) -> Taken:
        """Take one text in. Raises StoreUnavailable: then it is to be sent again."""
        # Messages and decisions are stored once by their own delivery ids; this is for all that is no event.
        if await self._store.rates.recent(f"text:{text.sid}", SEEN):
            return "duplicate"
        taken = await self._text(text)
        await self._store.rates.add(f"text:{text.sid}", SEEN)
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
        # The address of this very text: by now its post may have gone elsewhere. Twilio may be faster than our worker.
        to = sent.to if sent else address_of(report.to)
        if outcome == "undeliverable" and to.startswith(f"{CHANNEL}:") and to in log.recipients_of(report.post_id):
            await self._store.addresses.turn_off(to, f"texts do not arrive ({detail})")
        known = "failed" if outcome == "filtered" else outcome
        await self._report(report.post_id, known, detail, ref=report.sid, delivery=f"status:{report.sid}:{known}")

    async def close(self) -> None:
        """Let the texts that are under way get out."""
        await self._notices.close()

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
        return await self._decisions.take(text, by) or await self._message(text, by)

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
        count = self._store.rates.add if await is_first(text, self._store) else self._store.rates.recent
        own = await count(f"texts:{by.address}", _DAY)
        total = await count("texts", _DAY)
        if own <= self._caps.per_number and total <= self._caps.total:
            return True
        await self._inbox.refuse(by.address, "SM7", "over the daily cap", source=text.sid)
        if await self._store.rates.add(f"cap:{by.address}", _DAY) == 1:
            self._notify(text.number, "That is more texts than I take in a day. Decisions with a code still count.")
        return False

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

    def _notify(self, number: str, text: str) -> None:
        self._notices.send(self._channel.notice(number, text))
