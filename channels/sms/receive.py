"""What comes in from Twilio, once its signature is verified: texts, status reports, and what a text wants. Pure.

A form that means nothing to the bot is None, never an error.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import phonenumbers

from bot.core.reading import read_decision
from bot.core.values import Conversation, PostId
from channels.sms.segments import MAX_CHARACTERS

CHANNEL = "sms"
STOP_WORDS = frozenset({"stop", "unsubscribe", "end", "quit", "stopall", "revoke", "optout", "cancel"})
START_WORDS = frozenset({"start", "yes", "unstop"})
"""SM4, as Twilio has them: the whole text, in any case. With punctuation they are neither for Twilio nor for us."""
_CUT = " [cut]"
_SID = re.compile(r"(?:SM|MM)[0-9a-f]{32}")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_MAX_TO, _MAX_POST_ID, _MAX_MEDIA = 40, 200, 10

Opt = Literal["stop", "start"]
Verdict = Literal["approve", "deny"]
Outcome = Literal["delivered", "undeliverable", "retry", "filtered", "failed"]


@dataclass(frozen=True)
class SmsText:
    """A text that somebody sent us."""

    number: str
    """Who sent it, in E.164. Twilio's word, and still not proof (SM8)."""
    to: str
    text: str
    sid: str
    """The delivery id (SM3)."""
    opt: Opt | None
    """Twilio has just opted this number out, or in again (SM4)."""
    media: int
    """How many pictures or files came with it; they are not fetched (SM12)."""


def conversation_of(number: str) -> Conversation:
    """The place that a number's texts belong to."""
    return Conversation(channel=CHANNEL, ref=number)


def address_of(number: str) -> str:
    """As the people file has it."""
    return f"{CHANNEL}:{number}"


def is_number(text: str) -> bool:
    """Whether it is a phone number in E.164 that can exist. Short codes and names of senders are not."""
    if not _E164.fullmatch(text):
        return False
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(text))
    except phonenumbers.NumberParseException:
        return False


def read_text(form: Mapping[str, str]) -> SmsText | None:
    """An inbound text. None: not a text from a phone, or nothing that Twilio would send."""
    number, to, sid = form.get("From", ""), form.get("To", ""), form.get("MessageSid", "")
    body = form.get("Body")
    if body is None or not is_number(number) or not 0 < len(to) <= _MAX_TO or not _SID.fullmatch(sid):
        return None
    if len(body) > MAX_CHARACTERS:
        # Seen to be cut, so that what is left of it can never be a bare "yes" and a code.
        body = body[: MAX_CHARACTERS - len(_CUT)] + _CUT
    media = _count(form.get("NumMedia", "0"))
    if media is None:
        return None
    text = body.encode("utf-8", "replace").decode()  # a lone surrogate could not be stored
    return SmsText(number=number, to=to, text=text, sid=sid, opt=_opt(form, text), media=min(media, _MAX_MEDIA))


def opt_of(text: str) -> Opt | None:
    """What Twilio makes of a text by itself (SM4)."""
    word = text.strip().lower()
    if word in STOP_WORDS:
        return "stop"
    return "start" if word in START_WORDS else None


def _opt(form: Mapping[str, str], text: str) -> Opt | None:
    # The field is there only for a Messaging Service with Advanced Opt-Out, which has its own list of words.
    said = form.get("OptOutType")
    if not said:
        return opt_of(text)
    if said == "STOP":
        return "stop"
    return "start" if said == "START" else None  # HELP is neither


# --- what a text wants

# Six digits that are no part of anything longer. Letters without case may touch them: Japanese has no spaces.
_CODE = re.compile(r"(?<![0-9A-Za-z_.+/@=\-])(?<![0-9][,:])[0-9]{6}(?![0-9A-Za-z_/@=\-]|[.,:][0-9])")
_HALVES = re.compile(r"(?<![0-9A-Za-z_.+/@=\-])(?<![0-9][,:])[0-9]{3}[ \-][0-9]{3}(?![0-9A-Za-z_/@=\-]|[.,:][0-9])")
_BEFORE_CODE, _AFTER_CODE = " \t\n,:;-([#\"'", " \t\n.,:;!-)]\"'"
"""What may stand between the code and a word. A question mark does not: it decides nothing."""


@dataclass(frozen=True)
class Intent:
    """What a text says about a code. It is not looked up yet, and nobody's right to decide is checked."""

    code: str | None
    """Six ASCII digits; None: there is none, or more than one."""
    verdict: Verdict | None
    """Never without a code (SM6)."""
    rest: str
    """Everything but the code and the deciding word: the reason of a denial, the answer to a question."""
    stray: bool
    """Something in it looks like a decision and is none: say how one is written, do not guess."""


def read_intent(text: str) -> Intent:
    """A code, and whether the word beside it decides.

    An approval is a deciding word and the code, in either order, and nothing else. A denial may go on with its reason:
    reading a no where none was meant costs a question, so `no 482190` counts whatever follows it, unless that is a yes.
    `482 190`, as phones dictate it, counts only where the text holds nothing but it and a deciding word: elsewhere two
    numbers are two numbers.
    """
    digits = "".join(map(_ascii_digit, text))
    found = list(_CODE.finditer(digits))
    codes = {one[0] for one in found}
    if len(codes) > 1:
        return Intent(None, None, text.strip(), stray=True)
    if not found:
        return _in_halves(text, digits)
    if len(found) > 1:
        rest = _without(text, [one.span() for one in found])
        return Intent(found[0][0], None, rest, stray=_any_verdict(rest))
    (only,) = found
    return _decided(only[0], text[: only.start()].strip(), text[only.end() :].strip())


def _decided(code: str, before: str, after: str) -> Intent:
    before, after = before.rstrip(_BEFORE_CODE), after.lstrip(_AFTER_CODE)
    rest = f"{before} {after}".strip()
    if not (before and after) and (verdict := _verdict(rest)):
        return Intent(code, verdict, "", stray=False)
    word, reason = (before, after) if before else _first_word(after)
    if _verdict(word) == "deny" and _verdict(_first_word(reason)[0]) != "approve":
        return Intent(code, "deny", reason.lstrip(_AFTER_CODE), stray=False)
    return Intent(code, None, rest, stray=_any_verdict(rest))


def _in_halves(text: str, digits: str) -> Intent:
    nothing = Intent(None, None, text.strip(), stray=False)
    found = list(_HALVES.finditer(digits))
    if len(found) != 1:
        return nothing
    (only,) = found
    before, after = text[: only.start()].strip(), text[only.end() :].strip()
    intent = _decided(only[0].replace(" ", "").replace("-", ""), before, after)
    return intent if not intent.rest and not intent.stray else nothing


def _verdict(text: str) -> Verdict | None:
    """What a text decides that says nothing else."""
    said = read_decision(text)
    return None if said.comment else said.verdict


def _any_verdict(text: str) -> bool:
    return any(_verdict(word) for word in text.split())


def _first_word(text: str) -> tuple[str, str]:
    word, *more = text.split(maxsplit=1) or [""]
    return word, more[0] if more else ""


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    at, kept = 0, list[str]()
    for start, end in spans:
        kept.append(text[at:start].strip())
        at = end
    return " ".join(part for part in [*kept, text[at:].strip()] if part)


def _ascii_digit(character: str) -> str:
    """Full-width and other decimal digits as ASCII ones, place for place."""
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)


# --- what became of a text of ours


STATUS_RANKS: Mapping[str, int] = {
    **dict.fromkeys(("accepted", "scheduled", "queued"), 0),
    "sending": 1,
    "sent": 2,
    **dict.fromkeys(("delivered", "read", "undelivered", "failed", "canceled"), 3),
}
"""SM11: a report with a lower rank than one before it came late, and says nothing any more."""
UNDELIVERABLE = frozenset({21211, 21610, 21614, 21635, 30005, 30006})
"""Invalid, opted out, not a mobile, a landline, unknown, a landline or an unreachable carrier."""
SLOW_DOWN = frozenset({21611, 30001, 30022})
"""Our queue is full, or overflowed; the carriers take less."""
_UNREACHABLE, _FILTERED = 30003, 30007


@dataclass(frozen=True)
class StatusReport:
    """What Twilio says became of a text."""

    sid: str
    status: str
    error_code: int | None
    post_id: PostId
    to: str
    """The number that it was sent to."""

    @property
    def rank(self) -> int:
        """How far along its way the text is, from 0 to 3; 3 is final."""
        return STATUS_RANKS[self.status]


def read_status(form: Mapping[str, str], query: Mapping[str, str]) -> StatusReport | None:
    """A status callback. `query` is that of our own callback address and names the post."""
    sid, status = form.get("MessageSid", ""), form.get("MessageStatus", "")
    post_id = query.get("post", "")
    if not _SID.fullmatch(sid) or status not in STATUS_RANKS or not 0 < len(post_id) <= _MAX_POST_ID:
        return None
    return StatusReport(
        sid=sid,
        status=status,
        error_code=_count(form.get("ErrorCode", "")) or None,
        post_id=post_id,
        to=form.get("To", ""),
    )


def outcome_of(report: StatusReport) -> Outcome | None:
    """What a final report means for the post (SM11); None: it is not final.

    `retry`: once more, later. `filtered`: a carrier took it for spam, and sending it again makes that worse.
    """
    if report.status in {"delivered", "read"}:
        return "delivered"
    if report.status not in {"undelivered", "failed", "canceled"}:
        return None
    code = report.error_code
    if code in UNDELIVERABLE:
        return "undeliverable"
    if code in SLOW_DOWN or code == _UNREACHABLE:
        return "retry"
    return "filtered" if code == _FILTERED else "failed"


def _count(text: str) -> int | None:
    """A small whole number, or None."""
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text) else None
