"""Takes in mail, whichever way it came: who wrote it, what it is about, and whether it may count.

Every way in calls `take` and says yes to the sender only once it returns (EM1). What cannot be taken gets one clear
receipt; what is forged, automatic or our own gets none, only a line for the audit (EM15).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import structlog

from bot.core.decide import Attempt
from bot.core.events import MessageReceived
from bot.core.hearing import is_heard
from bot.core.log import Log
from bot.core.people import Actor, Address, People
from bot.core.protocols import Clock, DeliveryError
from bot.core.reading import match_choice, read_question
from bot.core.state import RequestState
from bot.core.tokens import Claim, Tokens, Use, read_token
from bot.core.values import Conversation, PostId, ThreadId
from bot.core.wording import cut, plural
from bot.desks.commands import Commands, Where
from bot.runtime.inbox import Inbound, Inbox, ThreadFull, UnknownThread
from bot.runtime.store import Store
from channels.email.client import EmailChannel
from channels.email.receive import Bounce, Mail, OwnMail, Unusable, read_mail
from channels.email.record import CHANNEL, RawMail
from channels.email.trail import read_trail

logger = structlog.get_logger(__name__)

Taken = Literal["launched", "continued", "decided", "refused", "answered", "silent", "bounced", "duplicate"]
_HOUR = timedelta(hours=1)
_MAX_ANSWER = 4_000
_EXACTLY = (
    "Please reply with exactly APPROVE or DENY as the first line; what you add goes below it. Nothing was decided."
)
_UNVERIFIED = (
    "I could not verify that this mail really came from you: your mail server did not vouch for it "
    "(no DMARC pass, and no DKIM signature of your domain). "
    "Nothing was done. Please tell whoever runs your mail, or use another way."
)
_NOT_TO_US = (
    "Your mail was not addressed to the reply address of this request, so it decides nothing. "
    "Please reply to this mail."
)
_MISDIRECTED = (
    "A mail of yours reached me that is not addressed to me, so I did nothing with it. Write to me in the To line."
)
_WHICH = "I do not know which request this is about, so nothing was decided. Please reply to the mail that asked you."
_STRANGER = "I do not know you, so I did nothing. Ask whoever runs me to add {address} to the people file."
_TOO_LARGE = (
    "Your mail is too large for me, so I did not read it, and nothing was decided. Please send it without files."
)
_MAILS_AN_HOUR = 60
"""What one person writes in an hour at most. A machine that answers every mail would go on for ever."""
_TOO_MANY = "That is more mail than I take from one person in an hour. Decisions by reply still count."
_FULL = "This thread is too long for me to go on. Please start a new one, with a new mail."


@dataclass(frozen=True)
class _Place:
    """What a reply is a reply to."""

    log: Log
    post_id: PostId
    owner: Address
    """To whom the post went whose reply address was used."""
    request: RequestState | None
    approves: bool
    """It came to the reply address. A Message-ID alone, which others get to see, approves nothing."""


class EmailDesk:
    """Takes mail in."""

    def __init__(
        self,
        inbox: Inbox,
        channel: EmailChannel,
        people: Callable[[], People],
        store: Store,
        commands: Commands,
        *,
        own: OwnMail,
        tokens: Tokens,
        clock: Clock,
        first_agent: str,
    ) -> None:
        self._inbox = inbox
        self._channel = channel
        self._people = people
        self._store = store
        self._commands = commands
        self._own = own
        self._tokens = tokens
        self._clock = clock
        self._first_agent = first_agent
        self._notices: set[asyncio.Task[None]] = set()

    async def take(self, record: RawMail) -> Taken:
        """Take one mail in. Raises StoreUnavailable: then it is to be sent again."""
        mail = await asyncio.to_thread(read_mail, record, self._own)  # a hostile one may take a while
        match mail:
            case Unusable():
                taken = await self._unusable(mail)
            case Bounce():
                taken = await self._bounce(mail)
            case Mail():
                taken = await self._mail(mail)
        logger.info("mail", way=record.way, outcome=taken, rule=mail.rule if isinstance(mail, Unusable) else "")
        return taken

    async def close(self) -> None:
        """Let the receipts that are under way get out."""
        if self._notices:
            await asyncio.wait(self._notices, timeout=5)

    async def _unusable(self, mail: Unusable) -> Taken:
        await self._refuse(mail.sender, mail.rule, mail.why, source=f"{mail.message_id} {mail.digest}")
        known = self._people().at(_address(mail.sender)) is not None and mail.authentication == "pass"
        if mail.kind == "too_large" and known:
            await self._notify(mail.sender, "Too large", _TOO_LARGE, about="too_large", seed=mail.digest)
            return "refused"
        return "silent"

    async def _bounce(self, bounce: Bounce) -> Taken:
        """A mail of ours came back: for good, and its address is used no more (EM17)."""
        for claim in _claims(bounce.tokens):
            log = await self._store.logs.load(claim.thread_id)
            owner = self._owner(log, claim, "bounce")
            if not owner:
                continue
            # Further on it may have been sent to somebody else, whose trouble is not the owner's.
            if bounce.permanent and owner == _address(bounce.recipient.lower()):
                await self._store.addresses.turn_off(owner, f"mail came back ({bounce.status or 'no status'})")
                await self._report(claim.post_id, f"bounced {bounce.status}", bounce)
                logger.warning("address_bounced", address=owner, status=bounce.status)
            return "bounced"
        await self._refuse(bounce.recipient, "EM17", "a bounce of no mail of ours", source=bounce.digest)
        return "silent"

    async def _report(self, post_id: PostId, detail: str, bounce: Bounce) -> None:
        deliveries = (f"email:{bounce.message_id}:{bounce.digest}",)
        try:
            await self._inbox.report(post_id, "undeliverable", detail, deliveries=deliveries)
        except (UnknownThread, ThreadFull):
            logger.info("bounce_of_no_thread", post=post_id)

    async def _mail(self, mail: Mail) -> Taken:
        by = self._actor(mail)
        place = await self._place(mail)
        log = place.log if place else await self._log_above(mail)
        heard = mail.authentication == "pass" and is_heard(by, self._people(), log)
        if heard and await self._is_command(mail, by, log):
            return "answered"
        one = place.request if place else None
        # A stranger decides nothing; what they answer to a plain question goes on with what they asked.
        only_says = heard and by.kind == "unknown" and one is not None and one.request.rule is None
        if place and one and not only_says and (attempt := self._attempt(mail, by, place, one)):
            return await self._decide(place, attempt, mail)
        if not heard:
            return await self._turned_away(mail, by)
        thread_id = log.thread_id if log else None
        # A mail that somebody only handed on starts nothing in the name of who wrote it, nor does a copy of one.
        if not mail.addressed or (mail.addressed == "cc" and not thread_id):
            return await self._not_taken(mail, "addressed", "not addressed to the bot", _MISDIRECTED)
        if await self._store.rates.add(f"mail:{mail.sender}", _HOUR) > _MAILS_AN_HOUR:
            return await self._not_taken(mail, "EM15", "more mails than anybody writes", _TOO_MANY)
        if thread_id:
            return await self._continue(mail, by, thread_id)
        if mail.decision.verdict:
            return await self._not_taken(mail, "ambiguous", "a decision about nothing", _WHICH)
        return await self._launch(mail, by)

    async def _place(self, mail: Mail) -> _Place | None:
        """The post whose token the mail carries, if it was really made for somebody and has not run out."""
        for claim in _claims(mail.tokens):
            log = await self._store.logs.load(claim.thread_id)
            for use in ("reply", "trace"):
                if owner := self._owner(log, claim, use):
                    one = log.request_of(claim.post_id)
                    return _Place(log, claim.post_id, owner, one, approves=use == "reply")
        return None

    def _owner(self, log: Log, claim: Claim, use: Use) -> Address:
        """For which of the addresses to which its post was ever sent a token was made; empty: for none."""
        now = self._clock.now()
        fitting = (one for one in log.recipients_of(claim.post_id) if self._tokens.fits(use, claim, one, now))
        return next(fitting, "")

    def _attempt(self, mail: Mail, by: Actor, place: _Place, one: RequestState) -> Attempt | None:
        """What the reply is meant to decide; None: it is a message like any other."""
        own = self._same_person(by.address, place.owner)
        takes_part = own and place.owner == place.log.state.owner
        verdict = None if mail.forwarded else mail.decision.verdict
        asks = None if verdict or mail.forwarded else read_question(mail.reply)
        is_question = one.request.kind == "question"
        pending = one.status == "pending"
        asked = any(actor.address == place.owner for actor in one.request.deciders) or not one.request.rule
        if takes_part and (not pending or not asked) and not (verdict and not is_question):
            return None  # what they write below an old mail, or below the note that somebody else is asked
        problem = self._problem(mail, place, own=own, denies=verdict == "deny" and not is_question)
        receipt: Literal["hourly", "never"] = "hourly" if own or mail.authentication == "pass" else "never"
        if is_question:
            text = _answer(mail, one)
            if not text:
                problem = problem or (
                    "ambiguous",
                    "I found no answer in your mail. Please write it above the quoted text.",
                )
            return Attempt(
                one.request.id,
                "answer",
                by,
                text=text,
                source=mail.message_id,
                problem=problem,
                trail=mail.trail if mail.authentication == "pass" else "",
                receipt=receipt,
            )
        if asks:
            return Attempt(
                one.request.id,
                "ask",
                by,
                text=asks,
                source=mail.message_id,
                problem=problem,
                trail=mail.trail if mail.authentication == "pass" else "",
                receipt=receipt,
            )
        if verdict is None:
            problem = problem or ("ambiguous", _EXACTLY)
        return Attempt(
            one.request.id,
            verdict or "unclear",
            by,
            # Words reach the model only of who is proven to have written them; a mere no may come from less (EM19).
            text=mail.decision.comment if verdict == "deny" and mail.authentication == "pass" else "",
            source=mail.message_id,
            problem=problem,
            trail=mail.trail if mail.authentication == "pass" else "",
            receipt=receipt,
        )

    def _problem(self, mail: Mail, place: _Place, *, own: bool, denies: bool) -> tuple[str, str] | None:
        if not own:  # EM9
            person = self._people().at(place.owner)
            whose = person.name if person else "somebody else"
            return "token_owner", f"This request was sent to {whose}, and only they can answer that mail."
        if denies and mail.authentication != "fail":  # EM19
            return None
        if mail.authentication != "pass":
            return "unauthenticated", _UNVERIFIED
        if mail.addressed != "to" or not place.approves:
            return "reply_address", _NOT_TO_US
        return None

    async def _decide(self, place: _Place, attempt: Attempt, mail: Mail) -> Taken:
        thread_id = place.log.thread_id
        _, event = await self._inbox.decide(thread_id, attempt, deliveries=_deliveries(mail))
        if event is None:
            return "duplicate"
        logger.info("mail_decision", thread=thread_id, outcome=event.type, verdict=attempt.verdict, by=attempt.by.id)
        return "decided" if event.type == "decision_made" else "refused"

    async def _turned_away(self, mail: Mail, by: Actor) -> Taken:
        """Somebody nobody knows, or somebody who may be anybody."""
        stranger = by.kind == "unknown"
        rule, why = ("EM18", "not authenticated") if mail.authentication != "pass" else ("stranger", "not known")
        await self._refuse(mail.sender, rule, why, source=f"{mail.message_id} {mail.digest}")
        if mail.authentication == "fail" or (stranger and mail.authentication == "none"):
            return "silent"  # whoever is named as the sender most likely did not write it
        text = _STRANGER.format(address=mail.sender) if stranger else _UNVERIFIED
        await self._notify(mail.sender, mail.subject, text, about=rule, seed=mail.digest, trail=mail.trail)
        return "refused"

    async def _not_taken(self, mail: Mail, rule: str, why: str, text: str) -> Taken:
        await self._refuse(mail.sender, rule, why, source=f"{mail.message_id} {mail.digest}")
        await self._notify(mail.sender, mail.subject, text, about=rule, seed=mail.digest, trail=mail.trail)
        return "refused"

    async def _is_command(self, mail: Mail, by: Actor, log: Log | None) -> bool:
        """Whether it asked the bot itself something; then it is answered, with one mail."""
        whole = mail.reply.strip()
        if not whole and not mail.text.strip() and not mail.parents:
            whole = mail.subject  # nothing but a subject, and that their own
        if mail.forwarded or not whole or mail.addressed != "to":
            return False
        place = Where(_deliveries(mail)[-1], log.thread_id if log else "")
        answer = await self._commands.answer(whole, by, place)
        if answer and answer.text:
            subject = mail.subject or "Switchboard"
            self._send(mail.sender, subject, answer.text, seed=f"command:{mail.digest}", trail=mail.trail)
        return answer is not None

    async def _log_above(self, mail: Mail) -> Log | None:
        """The thread of the mails that this one replies to (EM8); nobody's unproven word is looked up."""
        for message_id in mail.parents[:20] if mail.authentication == "pass" else ():
            thread_id = await self._store.logs.bound_to(_mail_id(message_id))
            if thread_id:
                return await self._store.logs.load(thread_id)
        return None

    async def _continue(self, mail: Mail, by: Actor, thread_id: ThreadId) -> Taken:
        if _has(await self._store.logs.load(thread_id), mail):
            return "duplicate"
        try:
            await self._inbox.add_message(
                thread_id,
                _with_note(mail.reply or mail.text, mail),
                by,
                source=mail.message_id,
                deliveries=_deliveries(mail),
                trail=mail.trail,
            )
        except UnknownThread:
            return await self._launch(mail, by)
        except ThreadFull:
            await self._notify(mail.sender, mail.subject, _FULL, about="full", seed=mail.digest, trail=mail.trail)
            return "refused"
        await self._bound(mail, thread_id)
        return "continued"

    async def _launch(self, mail: Mail, by: Actor) -> Taken:
        place = hashlib.sha256(f"{mail.sender} {mail.message_id}".encode()).hexdigest()[:24]
        body = mail.text if mail.forwarded else mail.reply or mail.text
        inbound = Inbound(
            conversation=Conversation(channel=CHANNEL, ref=f"{mail.sender}/{place}"),
            text=_with_note(f"{mail.subject}\n\n{body}".strip(), mail),
            by=by,
            source=mail.message_id,
            deliveries=_deliveries(mail),
            may_launch=True,
            trail=mail.trail,
        )
        if _has(await self._store.logs.load(await self._inbox.thread_of(inbound.conversation)), mail):
            return "duplicate"
        received = await self._inbox.message(inbound, agent=self._first_agent)
        if received.thread_id:
            await self._bound(mail, received.thread_id)
        return "launched" if received.outcome == "launched" else "duplicate"

    async def _bound(self, mail: Mail, thread_id: ThreadId) -> None:
        """Replies to this mail belong to the thread, unless somebody else's mail of the same id came first."""
        if await self._store.logs.bound_to(_mail_id(mail.message_id)) is None:
            await self._inbox.bind(_mail_id(mail.message_id), thread_id)

    def _actor(self, mail: Mail) -> Actor:
        how = mail.authenticated_by if mail.authentication == "pass" else f"nothing (dmarc {mail.authentication})"
        return self._people().actor(_address(mail.sender), name=mail.sender_name or mail.sender, authenticated_by=how)

    def _same_person(self, one: Address, other: Address) -> bool:
        people = self._people()
        return one == other or (people.at(one) is not None and people.at(one) is people.at(other))

    async def _refuse(self, sender: str, rule: str, why: str, *, source: str) -> None:
        await self._inbox.refuse(_address(sender), rule, why, source=source)

    async def _notify(self, to: str, subject: str, text: str, *, about: str, seed: str, trail: str = "") -> None:
        """A receipt outside of any thread: at most one an hour to somebody about one thing (EM16). Best effort."""
        if await self._store.rates.add(f"receipt:{to}:{about}", _HOUR) == 1:
            self._send(to, subject, text, seed=seed, trail=trail)

    def _send(self, to: str, subject: str, text: str, *, seed: str, trail: str) -> None:
        async def send() -> None:
            try:
                await self._channel.notice(to, cut(subject, 200), text, in_reply_to=read_trail(trail), seed=seed)
            except DeliveryError as error:
                logger.warning("receipt_not_sent", error=error.error)

        task = asyncio.create_task(send())
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)


def _claims(tokens: tuple[str, ...]) -> tuple[Claim, ...]:
    return tuple(claim for token in tokens[:10] if (claim := read_token(token)))


def _address(sender: str) -> Address:
    return f"{CHANNEL}:{sender}"


def _mail_id(message_id: str) -> Conversation:
    return Conversation(channel=CHANNEL, ref=f"id:{message_id}")


def _deliveries(mail: Mail) -> tuple[str, ...]:
    """EM3. The second id is for copies whose Received headers differ: only their own sender could pre-empt it."""
    exact = f"email:{mail.message_id}:{mail.digest}"
    return (exact, f"email:{mail.message_id}:{mail.sender}") if mail.authentication == "pass" else (exact,)


def _has(log: Log, mail: Mail) -> bool:
    """Whether the thread has this mail, however long ago it came."""
    return any(isinstance(event, MessageReceived) and event.source == mail.message_id for event in log.events)


def _answer(mail: Mail, one: RequestState) -> str:
    if one.request.choices:
        return match_choice(mail.reply, one.request.choices) or cut(mail.reply.strip(), 200)
    return cut(mail.reply.strip(), _MAX_ANSWER)


def _with_note(text: str, mail: Mail) -> str:
    if not mail.attachments:
        return text
    return f"{text}\n\n[{plural(mail.attachments, 'attachment')} came with this mail and could not be read.]"
