"""What a reply by mail decides: of which request it speaks, what it means, and what keeps it from counting.

A reply is known by the token of the address that it was sent to. Whether it counts in the end, the inbox says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import structlog

from bot.core.decide import Attempt, Verdict
from bot.core.events import DecisionRefused
from bot.core.log import Log
from bot.core.people import Actor, Address, People
from bot.core.protocols import Clock
from bot.core.reading import match_choice, read_question
from bot.core.state import RequestState
from bot.core.tokens import Claim, Tokens, Use, read_token
from bot.core.values import PostId
from bot.core.wording import cut
from bot.runtime.inbox import MAX_LOG_LENGTH, Inbox
from bot.runtime.store import Store
from channels.email.receive import Mail

logger = structlog.get_logger(__name__)

Decided = Literal["decided", "refused", "duplicate"]
UNVERIFIED = (
    "I could not verify that this mail really came from you: your mail server did not vouch for it "
    "(no DMARC pass, and no DKIM signature of your domain). "
    "Nothing was done. Please tell whoever runs your mail, or use another way."
)
_MAX_ANSWER = 4_000
_MAX_REFUSALS = MAX_LOG_LENGTH // 10
"""Refusals in a thread after which it takes none more of mail that anybody can send, with any sender."""
_NO_ANSWER = "I found no answer in your mail. Please write it above the quoted text."
_EXACTLY = (
    "Please reply with exactly APPROVE or DENY as the first line, or with ASK and your question below it. "
    "What else you add goes below the first line. Nothing was decided."
)
_FORWARDED = "A mail that is passed on decides nothing. Please reply to the mail that I sent you. Nothing was decided."
_NOT_TO_US = (
    "Your mail was not addressed to the reply address of this request, so it decides nothing. "
    "Please reply to this mail."
)
_Problem = tuple[str, str]
"""The rule that it breaks, and what its writer is told."""


@dataclass(frozen=True)
class MailPlace:
    """What a mail replies to, or brings back."""

    log: Log
    post_id: PostId
    owner: Address
    """Where the post went whose token was used."""
    person: str
    """The id of whoever had that address then; empty where that is not known."""
    request: RequestState | None
    approves: bool
    """It came to the reply address. A Message-ID alone, which others get to see, approves nothing."""


class EmailDecisions:
    """Decides by mail."""

    def __init__(
        self, inbox: Inbox, people: Callable[[], People], store: Store, *, tokens: Tokens, clock: Clock
    ) -> None:
        self._inbox = inbox
        self._people = people
        self._store = store
        self._tokens = tokens
        self._clock = clock

    async def place(self, tokens: tuple[str, ...], *uses: Use) -> MailPlace | None:
        """The post that one of the tokens was really made for, for such a use, if it has not run out.

        Raises StoreUnavailable.
        """
        for claim in filter(None, map(read_token, tokens[:10])):
            log = await self._store.logs.load(claim.thread_id)
            for use in uses:
                if owner := self._owner(log, claim, use):
                    one = log.request_of(claim.post_id)
                    person = log.reader_of(claim.post_id, owner)
                    return MailPlace(log, claim.post_id, owner, person, one, approves=use == "reply")
        return None

    async def take(self, mail: Mail, by: Actor, place: MailPlace, *, deliveries: tuple[str, ...]) -> Decided | None:
        """What became of a reply to a request; None: it is a message like any other. Raises StoreUnavailable."""
        attempt = _attempt(mail, by, place, place.request, self._people()) if place.request else None
        if attempt is None:
            return None
        thread_id = place.log.thread_id
        refused = None
        if mail.authentication != "pass" or by.kind == "unknown":
            would_be = self._inbox.would_be(place.log, attempt)
            refused = would_be if would_be.type == "decision_refused" else None
        if refused and _refusals(place.log) >= _MAX_REFUSALS:
            return await self._only_noted(mail, refused)
        once = _once_an_hour(refused) if refused else ()
        log, event = await self._inbox.decide(thread_id, attempt, deliveries=(*deliveries, *once))
        if event is None:
            if refused and not _has(log, mail):
                return await self._only_noted(mail, refused)
            return "duplicate"
        logger.info("mail_decision", thread=thread_id, outcome=event.type, verdict=attempt.verdict, by=attempt.by.id)
        return "decided" if event.type == "decision_made" else "refused"

    async def _only_noted(self, mail: Mail, refused: DecisionRefused) -> Decided:
        """Kept for the audit among what was refused at the door, so that nobody can fill a thread's log by mail."""
        why = f"a further attempt at the request {refused.request_id} by somebody who is not known or not proven"
        source = f"{mail.message_id} {mail.digest}"
        await self._inbox.refuse(refused.by.address, refused.rule, why, source=source)
        return "refused"

    def _owner(self, log: Log, claim: Claim, use: Use) -> Address:
        """For which of the addresses to which its post was ever sent a token was made; empty: for none."""
        now, binds = self._clock.now(), log.request_id_of(claim.post_id)
        known = log.recipients_of(claim.post_id)
        return next((one for one in known if self._tokens.fits(use, claim, one, now, binds=binds)), "")


def _once_an_hour(refused: DecisionRefused) -> tuple[str, ...]:
    """What makes a further refusal of the same a duplicate, within an hour of the clock."""
    what = f"{refused.request_id}:{refused.verdict}:{refused.rule}:{refused.by.address}"
    return (f"email:refused:{what}:{refused.at:%Y-%m-%dT%H}",)


def _refusals(log: Log) -> int:
    return sum(isinstance(event, DecisionRefused) for event in log.events)


def _has(log: Log, mail: Mail) -> bool:
    """Whether the thread has this mail as one that was refused."""
    return any(isinstance(event, DecisionRefused) and event.source == mail.message_id for event in log.events)


def _attempt(mail: Mail, by: Actor, place: MailPlace, one: RequestState, people: People) -> Attempt | None:
    """What the reply is meant to decide; None: it is a message like any other."""
    own = _is_reader(by, place, people)
    proven = mail.authentication == "pass"
    is_question = one.request.kind == "question"
    verdict, text, unclear = _meant(mail, one)
    decides = not is_question and verdict in {"approve", "deny"}
    asked = any(actor.address == place.owner for actor in one.request.deciders) or not one.request.rule
    takes_part = own and place.owner == place.log.state.owner
    if takes_part and (one.status != "pending" or not asked) and not decides:
        return None  # what they write below an old mail, or below the note that somebody else is asked
    return Attempt(
        one.request.id,
        verdict,
        by,
        text=text,
        source=mail.message_id,
        problem=_problem(mail, place, people, own=own, denies=verdict == "deny") or unclear,
        trail=mail.trail if proven else "",
        receipt="hourly" if own or proven else "never",
    )


def _meant(mail: Mail, one: RequestState) -> tuple[Verdict, str, _Problem | None]:
    """What it decides, its words, and what is unclear about it."""
    if one.request.kind == "question":
        text = _answer(mail, one)
        return "answer", text, None if text else ("ambiguous", _NO_ANSWER)
    if mail.forwarded:  # EM13
        return "unclear", "", ("forwarded", _FORWARDED)
    verdict = mail.decision.verdict
    if verdict:
        # Words reach the model only of who is proven to have written them; a mere no may come from less (EM19).
        worded = verdict == "deny" and mail.authentication == "pass"
        return verdict, mail.decision.comment if worded else "", None
    asks = read_question(mail.reply)
    return ("ask", asks, None) if asks else ("unclear", "", ("ambiguous", _EXACTLY))


def _problem(mail: Mail, place: MailPlace, people: People, *, own: bool, denies: bool) -> _Problem | None:
    if not own:  # EM9
        person = people.get(place.person) or people.at(place.owner)
        whose = person.name if person else "somebody else"
        return "token_owner", f"This request was sent to {whose}, and only they can answer that mail."
    if denies and mail.authentication != "fail":  # EM19
        return None
    if mail.authentication != "pass":
        return "unauthenticated", UNVERIFIED
    if mail.addressed != "to" or not place.approves:
        return "reply_address", _NOT_TO_US
    return None


def _answer(mail: Mail, one: RequestState) -> str:
    if one.request.choices:
        return match_choice(mail.reply, one.request.choices) or cut(mail.reply.strip(), 200)
    return cut(mail.reply.strip(), _MAX_ANSWER)


def _is_reader(by: Actor, place: MailPlace, people: People) -> bool:
    """Whether somebody is who the post was sent to, and not only the next one to have that address (EM9)."""
    if place.person:
        return by.id == place.person
    own = people.at(by.address)
    return by.address == place.owner or (own is not None and own is people.at(place.owner))
