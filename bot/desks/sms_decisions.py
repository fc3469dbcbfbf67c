"""What a text decides: by its code, or as the answer to the only question that waits.

An approval always needs its code; a text without one never decides what is only "the most recent" (SM6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

import structlog

from bot.core.decide import Attempt
from bot.core.events import DecisionMade, DecisionRefused
from bot.core.log import Log
from bot.core.people import Actor, Address
from bot.core.reading import match_choice, read_question
from bot.core.state import RequestState
from bot.core.wording import cut, is_bare_decision
from bot.runtime.inbox import Inbox
from bot.runtime.store import CodeOwner, Store
from channels.sms.receive import Intent, SmsText, read_intent

logger = structlog.get_logger(__name__)

Decided = Literal["decided", "refused", "listed", "silent", "duplicate"]
SEEN = timedelta(days=3)
"""How long it is known that a text came."""
_HOUR = timedelta(hours=1)
_WRONG_CODES = 5
_ANSWERS_AN_HOUR = 10


@dataclass(frozen=True)
class _Asked:
    """A request that was put to whoever has this number, with a code."""

    code: str
    log: Log
    request: RequestState
    reader: str
    """The id of whoever had the number when the code was sent there; empty where that is not known."""


class SmsDecisions:
    """Decides by text. `tell` sends a text (the number, the words) outside of any thread."""

    def __init__(self, inbox: Inbox, store: Store, tell: Callable[[str, str], None]) -> None:
        self._inbox = inbox
        self._store = store
        self._tell = tell

    async def take(self, text: SmsText, by: Actor) -> Decided | None:
        """What became of the text; None: it decides nothing, it is for an agent. Raises StoreUnavailable."""
        intent = read_intent(text.text)
        if intent.code:
            owner = await self._store.codes.owner(by.address, intent.code)
            asked = await self._asked(by.address, intent.code, owner) if owner else None
            tries = bool(intent.verdict or read_question(intent.rest)) or not intent.rest.strip()
            # Counted before it is known to be right, so that many at once are no more tries than five.
            locked = tries and await self._tried(intent.code, by) > _WRONG_CODES
            if locked and not (owner and intent.verdict == "deny"):  # a no fails safe
                await self._inbox.refuse(by.address, "SM5", "locked after wrong codes", source=text.sid)
                return "silent"
            if asked:
                await self._store.rates.forget(f"codes:{by.address}", intent.code)
                return await self._decide(text, by, asked, _attempt(text, intent, by, asked))
            if tries:
                return await self._wrong_code(text, by)
        if await self._store.rates.recent(f"codes:{by.address}", _HOUR) >= _WRONG_CODES:  # SM5
            await self._inbox.refuse(by.address, "SM5", "locked after wrong codes", source=text.sid)
            return "silent"
        pending = [one for one in await self._pending(by.address) if one.reader in {"", by.id}]
        questions = [one for one in pending if one.request.request.kind == "question"]
        bare = is_bare_decision(text.text) or intent.stray
        if len(questions) == 1 and (len(pending) == 1 or not bare):
            only = questions[0]
            return await self._decide(text, by, only, _attempt(text, intent, by, only))
        if pending and (bare or len(questions) > 1):
            return await self._listed(text, by, pending) if await is_first(text, self._store) else "duplicate"
        return None

    async def _decide(self, text: SmsText, by: Actor, asked: _Asked, attempt: Attempt) -> Decided:
        # A phone that answers by itself does not stop, and each answer to it is paid for.
        refused = not isinstance(self._inbox.would_be(asked.log, attempt), DecisionMade)
        if refused and await self._store.rates.add(f"told:{by.address}", _HOUR, member=text.sid) > _ANSWERS_AN_HOUR:
            attempt = replace(attempt, receipt="never")
        thread_id = asked.log.thread_id
        log, event = await self._inbox.decide(thread_id, attempt, deliveries=(f"sms:{text.sid}",))
        if event is None:
            return "duplicate"
        if isinstance(event, DecisionRefused) and event.receipt and not log.has(event):
            self._tell(text.number, event.why)
        logger.info("text_decision", thread=thread_id, outcome=event.type, verdict=attempt.verdict, by=by.id)
        return "decided" if event.type == "decision_made" else "refused"

    async def _wrong_code(self, text: SmsText, by: Actor) -> Decided:
        if not await is_first(text, self._store):
            return "duplicate"
        locked = await self._store.rates.recent(f"codes:{by.address}", _HOUR) >= _WRONG_CODES
        why = "locked after wrong codes" if locked else "wrong code"
        await self._inbox.refuse(by.address, "SM5", why, source=text.sid)
        tail = "A code counts only from the number that it was sent to; `pending` lists yours."
        if locked:
            tail = "That was one too many: for an hour no code approves anything from this number. A NO still counts."
        self._tell(text.number, f"I do not know this code. Nothing was decided. {tail}")
        return "refused"

    async def _listed(self, text: SmsText, by: Actor, pending: list[_Asked]) -> Decided:
        """Several wait, or one that needs its code: which is which (SM6)."""
        # Two machines that answer each other would go on for ever, and each answer is paid for.
        if await self._store.rates.add(f"told:{by.address}", _HOUR) > _ANSWERS_AN_HOUR:
            return "refused"
        lines = [f"{_title(one.request)}: {self._how(one, by)}" for one in pending[:5]]
        more = f"\nand {len(pending) - 5} more." if len(pending) > 5 else ""  # noqa: PLR2004
        self._tell(text.number, "Nothing was decided. Please reply with the code:\n" + "\n".join(lines) + more)
        return "listed"

    def _how(self, one: _Asked, by: Actor) -> str:
        request = one.request.request
        if request.kind == "question":
            return f"{one.code} and your answer"
        approving = self._inbox.would_be(one.log, Attempt(request.id, "approve", by))
        may = isinstance(approving, DecisionMade) or by.id not in request.requesters
        return f"YES {one.code} or NO {one.code}" if may else f"NO {one.code} takes it back; others approve it"

    async def _tried(self, code: str, by: Actor) -> int:
        """How many codes were tried from this number within the hour; the same one again is no further guess."""
        return await self._store.rates.add(f"codes:{by.address}", _HOUR, member=code)

    async def _pending(self, address: Address) -> list[_Asked]:
        issued = await self._store.codes.all(address)
        found = [await self._asked(address, code, owner) for code, owner in issued.items()]
        return [one for one in found if one and one.request.status == "pending"]

    async def _asked(self, address: Address, code: str, owner: CodeOwner) -> _Asked | None:
        log = await self._store.logs.load(owner.thread_id)
        request = log.state.requests.get(owner.request_id)
        return _Asked(code, log, request, log.reader_of(owner.post_id, address)) if request else None


async def is_first(text: SmsText, store: Store) -> bool:
    """Whether this text was not counted or answered yet, by this delivery or one beside it. From now on it was."""
    return await store.rates.add(f"counted:{text.sid}", SEEN) == 1


def _attempt(text: SmsText, intent: Intent, by: Actor, asked: _Asked) -> Attempt:
    attempt = _meant(text, intent, by, asked.request)
    if asked.reader in {"", by.id}:
        return attempt
    why = "This code was sent to whoever had your number before, and only they can use it. Nothing was decided."
    return replace(attempt, problem=("token_owner", why))


def _meant(text: SmsText, intent: Intent, by: Actor, one: RequestState) -> Attempt:
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
    problem = ("ambiguous", "Nothing was decided. Reply with nothing but YES or NO, and the code that I sent for it.")
    return Attempt(request.id, "unclear", by, source=text.sid, problem=problem)


def _title(one: RequestState) -> str:
    return cut(one.request.preview.title if one.request.preview else one.request.prompt, 80)
