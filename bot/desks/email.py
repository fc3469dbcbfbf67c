"""Takes in mail, whichever way it came: who wrote it, what it is about, and whether it may count.

Every way in calls `take` and says yes to the sender only once it returns (EM1). What cannot be taken gets one clear
receipt; what is forged, automatic or our own gets none, only a line for the audit (EM15). What a reply decides stands
in `email_decisions`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Literal

import structlog

from bot.core.events import MessageReceived
from bot.core.hearing import is_heard
from bot.core.log import Log
from bot.core.people import Actor, Address, People
from bot.core.protocols import Clock
from bot.core.tokens import Tokens
from bot.core.values import Conversation, PostId, ThreadId
from bot.core.wording import cut, plural
from bot.desks.commands import Commands, Where
from bot.desks.email_decisions import UNVERIFIED, EmailDecisions
from bot.desks.notices import Notices
from bot.runtime.inbox import Inbound, Inbox, ThreadFull, UnknownThread
from bot.runtime.store import Store
from channels.email.client import EmailChannel
from channels.email.receive import Bounce, Mail, OwnMail, Unusable, read_mail
from channels.email.record import CHANNEL, RawMail
from channels.email.trail import read_trail

logger = structlog.get_logger(__name__)

Taken = Literal["launched", "continued", "decided", "refused", "answered", "silent", "bounced", "duplicate"]
_HOUR = timedelta(hours=1)
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
        self._first_agent = first_agent
        self._decisions = EmailDecisions(inbox, people, store, tokens=tokens, clock=clock)
        self._notices = Notices(failed="receipt_not_sent")

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
        await self._notices.close()

    async def _unusable(self, mail: Unusable) -> Taken:
        await self._refuse(mail.sender, mail.rule, mail.why, source=f"{mail.message_id} {mail.digest}")
        known = self._people().at(_address(mail.sender)) is not None and mail.authentication == "pass"
        if mail.kind == "too_large" and known:
            await self._notify(mail.sender, "Too large", _TOO_LARGE, about="too_large", seed=mail.digest)
            return "refused"
        return "silent"

    async def _bounce(self, bounce: Bounce) -> Taken:
        """A mail of ours came back: for good, and its address is used no more (EM17)."""
        place = await self._decisions.place(bounce.tokens, "bounce")
        if place is None:
            await self._refuse(bounce.recipient, "EM17", "a bounce of no mail of ours", source=bounce.digest)
            return "silent"
        # Further on it may have been sent to somebody else, whose trouble is not the owner's.
        if bounce.permanent and place.owner == _address(bounce.recipient.lower()):
            await self._store.addresses.turn_off(place.owner, f"mail came back ({bounce.status or 'no status'})")
            await self._report(place.post_id, f"bounced {bounce.status}", bounce)
            logger.warning("address_bounced", address=place.owner, status=bounce.status)
        return "bounced"

    async def _report(self, post_id: PostId, detail: str, bounce: Bounce) -> None:
        deliveries = (f"email:{bounce.message_id}:{bounce.digest}",)
        try:
            await self._inbox.report(post_id, "undeliverable", detail, deliveries=deliveries)
        except (UnknownThread, ThreadFull):
            logger.info("bounce_of_no_thread", post=post_id)

    async def _mail(self, mail: Mail) -> Taken:
        by = self._actor(mail)
        place = await self._decisions.place(mail.tokens, "reply", "trace")
        log = place.log if place else await self._log_above(mail)
        heard = mail.authentication == "pass" and is_heard(by, self._people(), log)
        if heard and await self._is_command(mail, by, log):
            return "answered"
        one = place.request if place else None
        # A stranger decides nothing; what they answer to a plain question goes on with what they asked.
        only_says = heard and by.kind == "unknown" and one is not None and one.request.rule is None
        if place and not only_says:
            decided = await self._decisions.take(mail, by, place, deliveries=_deliveries(mail))
            if decided:
                return decided
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

    async def _turned_away(self, mail: Mail, by: Actor) -> Taken:
        """Somebody nobody knows, or somebody who may be anybody."""
        stranger = by.kind == "unknown"
        rule, why = ("EM18", "not authenticated") if mail.authentication != "pass" else ("stranger", "not known")
        await self._refuse(mail.sender, rule, why, source=f"{mail.message_id} {mail.digest}")
        if mail.authentication == "fail" or (stranger and mail.authentication == "none"):
            return "silent"  # whoever is named as the sender most likely did not write it
        text = _STRANGER.format(address=mail.sender) if stranger else UNVERIFIED
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

    async def _refuse(self, sender: str, rule: str, why: str, *, source: str) -> None:
        await self._inbox.refuse(_address(sender), rule, why, source=source)

    async def _notify(self, to: str, subject: str, text: str, *, about: str, seed: str, trail: str = "") -> None:
        """A receipt outside of any thread: at most one an hour to somebody about one thing (EM16). Best effort."""
        if await self._store.rates.add(f"receipt:{to}:{about}", _HOUR) == 1:
            self._send(to, subject, text, seed=seed, trail=trail)

    def _send(self, to: str, subject: str, text: str, *, seed: str, trail: str) -> None:
        self._notices.send(self._channel.notice(to, cut(subject, 200), text, in_reply_to=read_trail(trail), seed=seed))


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


def _with_note(text: str, mail: Mail) -> str:
    if not mail.attachments:
        return text
    return f"{text}\n\n[{plural(mail.attachments, 'attachment')} came with this mail and could not be read.]"
