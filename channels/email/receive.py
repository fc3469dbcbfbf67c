"""What comes in by email: the bytes of one mail to what it means. Pure; a value for whatever comes, never an exception.

The order is fixed: size, headers, delivery report, automatic or our own, sender, body. What an earlier step refuses,
no later one reads. Nothing here knows a person or a request, and nothing here is a decision before the desk has checked
the token, the person and the authentication (EM18).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from bot.core.reading import Decision, read_decision
from bot.core.wording import cut
from channels.email import thread_marks
from channels.email.automatic import is_own, why_automatic
from channels.email.bounce import may_be_report, read_report
from channels.email.html_lines import html_lines
from channels.email.mime import MAX_HEADER_BYTES, Content, Headers, OverLimit, decoded, read_content, read_headers
from channels.email.record import MAX_RAW_BYTES, RawMail
from channels.email.reply_text import MAX_LINE, deciding_text, is_forward, reply_of
from channels.email.sender import Authentication, Sender, authenticated, read_sender
from channels.email.trail import Trail
from channels.email.words import decode_header

MAX_TEXT = 100_000
MAX_SUBJECT = 300
Unreadable = Literal["automatic", "own", "forged_sender", "too_large", "unreadable"]
"""`own` and `automatic` get no answer, the others may."""
_NOTHING = Decision(None)
_REPLY_PREFIX = re.compile(
    r"(?:re|aw|antw|sv|vs|odp|rif|res|ref|r|ynt|vá|bls|回复|回覆|答复|返信|απ|на|отв?)"
    r"\s*(?:\[\d{1,3}\]|\(\d{1,3}\)|\^?\d{1,2})?\s*[:：]\s*",
    re.IGNORECASE,
)
_FORWARD_PREFIX = re.compile(
    r"(?:fwd?|wg|tr|rv|i|enc|vb|vl|pd|doorst|wtrlt|ilt|i̇lt|转发|轉寄|転送|전달|πρθ|továbbítás|пересл)"
    r"\s*(?:\[\d{1,3}\]|\(\d{1,3}\))?\s*[:：]",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class OwnMail:
    """Who we are."""

    address: str
    """EMAIL_ADDRESS."""
    authserv_id: str
    """EMAIL_AUTHSERV_ID. Empty: no Authentication-Results header is believed."""


@dataclass(frozen=True)
class Mail:
    """Something that a person wrote."""

    sender: str
    """The one address of the From header, lowercase."""
    sender_name: str
    """For people only: it authorises nothing."""
    authentication: Authentication
    """Whether the domain of `sender` is proven (EM18)."""
    authenticated_by: str
    """`dmarc by mx.acme.example`; empty where nobody says anything."""
    message_id: str
    """With its angle brackets; made of the checksum where the mail has none that is sound."""
    digest: str
    """SHA-256 of the raw bytes, hex."""
    subject: str
    """One line, without `Re:`."""
    parents: tuple[str, ...]
    """The Message-IDs that it answers, the nearest first."""
    tokens: tuple[str, ...]
    """In the order of EM8. Well formed; whether one is good only its HMAC tells."""
    text: str
    """All that can be read, quotes included."""
    reply: str
    """Without quotes and signature."""
    decision: Decision
    forwarded: bool
    """A forwarded mail: it never decides, whatever stands in it (EM13)."""
    attachments: int
    trail: str
    """A `Trail` as JSON."""


@dataclass(frozen=True)
class Bounce:
    """A report that a mail of ours did not arrive, or not yet (EM17). Anybody can write one: a token must prove it."""

    tokens: tuple[str, ...]
    status: str
    """`5.1.1`; empty where it is not told."""
    permanent: bool
    recipient: str
    message_id: str
    digest: str


@dataclass(frozen=True)
class Unusable:
    """A mail that was not read any further."""

    kind: Unreadable
    rule: str
    why: str
    """One line that holds nothing of the mail."""
    sender: str
    """Empty unless the From header is sound: nobody else may get an answer."""
    message_id: str
    digest: str
    tokens: tuple[str, ...]
    authentication: Authentication = "none"


def read_mail(record: RawMail, own: OwnMail) -> Mail | Bounce | Unusable:
    """What a mail is, and what it says."""
    digest = hashlib.sha256(record.raw).hexdigest()
    try:
        headers, body = read_headers(record.raw[: MAX_HEADER_BYTES + 1])
    except OverLimit as over:
        return _Opened(record, own, Headers((), broken=True), digest).unusable("too_large", "EM5", str(over))
    mail = _Opened(record, own, headers, digest)
    if not headers.fields:
        return mail.unusable("unreadable", "EM4", "no header that can be read")
    content, over_limit = _content(record, headers, body)
    report = read_report(content) if content and may_be_report(record, headers) else None
    if report is not None:
        return Bounce(
            tokens=mail.tokens(below=report.returned),
            status=report.status,
            permanent=report.permanent,
            recipient=report.recipient,
            message_id=mail.message_id,
            digest=digest,
        )
    if is_own(record, headers, own.address):
        return mail.unusable("own", "EM15", "it comes from our own address")
    # Before the caps are told of: an automatic mail gets no answer, however large it is.
    if automatic := why_automatic(record, headers):
        return mail.unusable("automatic", "EM15", automatic)
    if content is None:
        return mail.unusable("too_large", "EM5", over_limit)
    sender = read_sender(headers)
    if isinstance(sender, str):
        return mail.unusable("forged_sender", "EM18", sender)
    return _mail(mail, sender, content)


@dataclass(frozen=True)
class _Opened:
    """A mail whose headers were read."""

    record: RawMail
    own: OwnMail
    headers: Headers
    digest: str

    @property
    def message_id(self) -> str:
        return thread_marks.message_id(self.headers, self.digest)

    def tokens(self, *, below: Headers | None = None) -> tuple[str, ...]:
        return thread_marks.tokens(self.headers, self.own.address, self.record.envelope_to, below=below)

    def unusable(self, kind: Unreadable, rule: str, why: str) -> Unusable:
        sender = read_sender(self.headers)
        if isinstance(sender, str):
            return Unusable(kind, rule, why, "", self.message_id, self.digest, self.tokens())
        proven, _ = authenticated(self.record, self.headers, sender, self.own.authserv_id)
        return Unusable(kind, rule, why, sender.address, self.message_id, self.digest, self.tokens(), proven)


def _content(record: RawMail, headers: Headers, body: int) -> tuple[Content | None, str]:
    """The parts, or None and the cap that they exceed."""
    if len(record.raw) > MAX_RAW_BYTES:
        return None, "more than 10 MB"
    try:
        return read_content(headers, record.raw, body), ""
    except OverLimit as over:
        return None, str(over)


def _mail(mail: _Opened, sender: Sender, content: Content) -> Mail:
    subject = decode_header(mail.headers.first("subject"))
    topic = _topic(subject)
    bodies = [(part.kind, decoded(part)) for part in content.parts if part.is_body]
    plain = _lines("\n".join(text for kind, text in bodies if kind == "text/plain"))
    pages = [html_lines(text) for kind, text in bodies if kind == "text/html"]
    shown = [line for lines, _ in pages for line in lines]
    said_plainly = any(line.strip() for line in plain)
    lines = plain if said_plainly else _lines("\n".join(shown))
    forwarded = (
        bool(_FORWARD_PREFIX.match(subject)) or is_forward(lines) or any(part.is_message for part in content.parts)
    )
    # A style sheet that hides something cannot be followed; a plain part that says the same settles it.
    hiding = not said_plainly and any(hides for _, hides in pages)
    readings = [plain] * said_plainly + [shown] * bool(pages)
    unclear = content.damaged or forwarded or hiding
    authentication, by = authenticated(mail.record, mail.headers, sender, mail.own.authserv_id)
    trail = Trail(subject=topic, message_id=mail.message_id, references=thread_marks.chain(mail.headers))
    return Mail(
        sender=sender.address,
        sender_name=sender.name,
        authentication=authentication,
        authenticated_by=by,
        message_id=mail.message_id,
        digest=mail.digest,
        subject=topic,
        parents=thread_marks.parents(mail.headers),
        tokens=mail.tokens(),
        text=cut("\n".join(lines).strip("\n"), MAX_TEXT),
        reply=reply_of(lines),
        decision=_NOTHING if unclear else _decision(readings),
        forwarded=forwarded,
        attachments=content.attachments,
        trail=trail.model_dump_json(),
    )


def _decision(readings: list[list[str]]) -> Decision:
    """What the mail decides; nothing where two parts say different things, as only one of them was seen."""
    decisions = [read_decision(deciding_text(lines)) for lines in readings]
    return decisions[0] if len({one.verdict for one in decisions}) == 1 else _NOTHING


def _lines(text: str) -> list[str]:
    return [line[:MAX_LINE] for line in text[:MAX_TEXT].split("\n")]


def _topic(subject: str) -> str:
    while prefix := _REPLY_PREFIX.match(subject):
        subject = subject[prefix.end() :]
    return cut(subject, MAX_SUBJECT)
