"""A mail as it goes over the wire: its addresses, the thread that it stands in, and what says that a machine wrote it.

Pure. Nothing that could start another header ever gets into one (EM23): whatever would is refused, never mended.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime

from bot.core.protocols import Outgoing
from bot.core.views import WhisperView
from channels.email.render import MailContent, render_receipt
from channels.email.sheet import subject_line
from channels.email.trail import Trail, read_trail

SENDER_NAME = "Switchboard"
MAX_LOCAL_PART = 64
KEPT_REFERENCES = 50
"""Of a long chain the first and this many of the last are kept: the first names the thread, the last find its end."""
_MAX_ADDRESS, _MAX_WORD = 254, 60
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_TOKEN = re.compile(r"[a-z0-9]{10,60}")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{3,500}>")
_RE = re.compile(r"^(re|aw|sv|antw)(\[\d+\])?:\s*", re.IGNORECASE)
_IDS = frozenset(("message-id", "in-reply-to", "references"))


class _Wire(EmailPolicy):
    """Folds what Python's own policy folds wrongly.

    It turns a message id that does not fit a line into encoded words, and loses blanks between encoded words.
    """

    def fold(self, name: str, value: str) -> str:
        if name.lower() in _IDS:
            return f"{name}: {f'{self.linesep} '.join(str(value).split())}{self.linesep}"
        if name.lower() == "subject":
            folded = _header(str(value)).encode(linesep=self.linesep)
            return f"{name}: {folded}{self.linesep}"
        return super().fold(name, value)

    def fold_binary(self, name: str, value: str) -> bytes:
        return self.fold(name, value).encode("ascii")


_POLICY = _Wire(linesep="\r\n", cte_type="7bit", max_line_length=78)


def compose(outgoing: Outgoing, content: MailContent, sender: str, now: datetime) -> EmailMessage:
    """The mail to the one recipient (EM23), ready to send; its bytes are ASCII throughout.

    `sender` is the bot's own address. The same post, face and recipient give the same Message-ID (EM10). Raises
    ValueError, which says nothing of what was written, where it cannot be sent.
    """
    trail = read_trail(outgoing.trail)
    subject = _answering(trail.subject) if trail.message_id else content.subject
    if outgoing.ref and not trail.message_id:
        subject = f"Re: {content.subject}"
    parents = [*trail.references, trail.message_id, outgoing.ref or ""]
    receipt = isinstance(outgoing.view, WhisperView)
    message = _mail(recipient_of(outgoing), subject, content, sender=sender, parents=parents, now=now, receipt=receipt)
    if outgoing.reply_token:
        message["Reply-To"] = reply_address(sender, outgoing.reply_token)
    name = outgoing.trace_token or hashlib.sha256(outgoing.post_id.encode()).hexdigest()[:24]
    face = hashlib.sha256((outgoing.post_id + outgoing.face).encode()).hexdigest()[:10]
    message["Message-ID"] = f"<{name}.{face}@{_domain(sender)}>"
    return message


def compose_notice(
    to: str, subject: str, text: str, *, sender: str, in_reply_to: Trail, now: datetime, seed: str
) -> EmailMessage:
    """A receipt that belongs to no thread of ours, below the mail that it is about. Raises ValueError.

    `subject` is used where that mail had none. The same `seed` gives the same Message-ID.
    """
    line = _answering(in_reply_to.subject) if in_reply_to.message_id else subject
    parents = [*in_reply_to.references, in_reply_to.message_id]
    message = _mail(to, line, render_receipt(text), sender=sender, parents=parents, now=now, receipt=True)
    message["Message-ID"] = f"<{hashlib.sha256(seed.encode()).hexdigest()[:24]}.notice@{_domain(sender)}>"
    return message


def recipient_of(outgoing: Outgoing) -> str:
    """Who it goes to: `to`, else the address at the start of the conversation's ref (`address` or `address/suffix`)."""
    if outgoing.to:
        channel, _, address = outgoing.to.partition(":")
        if channel != "email":
            raise ValueError("the recipient has no mail address")
        return address
    local, _, rest = outgoing.conversation.ref.partition("@")
    return f"{local}@{rest.partition('/')[0]}"


def plain_address(address: str) -> str:
    """An address as it stands in an envelope: ASCII, its domain in IDNA form. Raises ValueError for any other."""
    local, at, domain = address.rpartition("@")
    try:
        ascii_domain = domain if domain.isascii() else domain.encode("idna").decode()
    except UnicodeError:
        raise ValueError("the domain of the address is not valid") from None
    plain = f"{local}@{ascii_domain}"
    good = at and len(local) <= MAX_LOCAL_PART and len(plain) <= _MAX_ADDRESS
    if not (good and _LOCAL_PART.fullmatch(local) and _DOMAIN.fullmatch(ascii_domain)):
        raise ValueError("this is no mail address that can be written to")
    return plain


def reply_address(sender: str, token: str) -> str:
    """Where an answer to one mail goes (EM7): `local+TOKEN@domain`. Raises ValueError."""
    if not _TOKEN.fullmatch(token):
        raise ValueError("this is no reply token")
    local, _, domain = plain_address(sender).rpartition("@")
    if len(local) + 1 + len(token) > MAX_LOCAL_PART:
        raise ValueError(f"the bot's own address leaves no room for a reply token of {len(token)} characters")
    return f"{local}+{token}@{domain}"


def _mail(
    to: str, subject: str, content: MailContent, *, sender: str, parents: Iterable[str], now: datetime, receipt: bool
) -> EmailMessage:
    if any(unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"} for one in subject):
        raise ValueError("the subject holds a character that no header may hold")
    message = EmailMessage(policy=_POLICY)
    message["From"] = f"{SENDER_NAME} <{plain_address(sender)}>"
    message["To"] = plain_address(to)
    # What looks like an encoded word would be decoded on the way in, so it goes in encoded.
    message["Subject"] = _header(subject).encode(maxlinelen=0) if "=?" in subject else subject
    message["Date"] = format_datetime(now)
    chain = list(dict.fromkeys(one for one in parents if _MESSAGE_ID.fullmatch(one)))
    if chain:
        message["In-Reply-To"] = chain[-1]
        message["References"] = " ".join(
            chain if len(chain) <= KEPT_REFERENCES else chain[:1] + chain[-KEPT_REFERENCES:]
        )
    message["Auto-Submitted"] = "auto-replied" if receipt else "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(content.text, subtype="plain", charset="utf-8", cte="quoted-printable")
    message.add_alternative(content.html, subtype="html", charset="utf-8", cte="quoted-printable")
    # Else the generator makes one up by chance, and a mail that is sent again would not be the same mail.
    message.set_boundary(f"=_{hashlib.sha256((content.text + content.html).encode()).hexdigest()[:40]}")
    return message


def _header(subject: str) -> Header:
    """Encoded where it has to be: also what only looks so, and words too long for a line."""
    plain = subject.isascii() and "=?" not in subject and max(map(len, subject.split(" "))) <= _MAX_WORD
    return Header(subject, "us-ascii" if plain else "utf-8", maxlinelen=76, header_name="Subject")


def _answering(subject: str) -> str:
    """`Re: ` exactly once (EM10). A trail's subject was written by somebody else, so it is made fit for a header."""
    line = subject_line(subject)
    while found := _RE.match(line):
        line = line[found.end() :]
    return f"Re: {line}" if line else "Re: (no subject)"


def _domain(sender: str) -> str:
    return plain_address(sender).rpartition("@")[2]
