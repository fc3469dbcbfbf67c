"""A mail as a mail program lists and shows it. Pure; a mail that is broken is shown as far as it goes."""

import re
from email.utils import getaddresses

from channels.email.simulator.records import StoredMail
from channels.simulating import Json

_IDS = re.compile(r"<[^<>\s]+>")
_SAID = re.compile(r"^On [^\n]*(?:\n[^\n]+)?wrote:\s*\Z", re.MULTILINE)
_PREVIEW = 140
_BROKEN = (LookupError, ValueError, TypeError, AttributeError)
"""What Python's mail parser raises over charsets that there are not, and headers that are none."""


def body_of(mail: StoredMail, kind: str) -> str:
    """The `plain` or `html` part; empty where there is none."""
    try:
        return (mail.text if kind == "plain" else mail.html).replace("\r\n", "\n")
    except _BROKEN:
        return ""


def summary_of(mail: StoredMail, key: str, *, sent: bool) -> Json:
    """What a list shows of it: who, what, when, and the ids that its conversation is known by."""
    name, address = next(iter(getaddresses([_header(mail, "From")])), ("", ""))
    return {
        "key": key,
        "number": mail.number,
        "owner": mail.owner,
        "sent": sent,
        "from": {"name": name or address, "address": address},
        "to": _header(mail, "To"),
        "subject": _header(mail, "Subject"),
        "at": mail.received_at.isoformat(),
        "id": _header(mail, "Message-ID").strip(),
        "parents": _IDS.findall(f"{_header(mail, 'References')} {_header(mail, 'In-Reply-To')}"),
        "preview": _preview(_unquoted(body_of(mail, "plain")), _header(mail, "Subject")),
    }


def _header(mail: StoredMail, name: str) -> str:
    try:
        return str(mail.headers[name] or "")
    except _BROKEN:
        return ""


def _preview(text: str, subject: str) -> str:
    """The first words that the subject did not say already."""
    words = " ".join(text.split())
    return (words.removeprefix(subject).strip() or words)[:_PREVIEW]


def _unquoted(text: str) -> str:
    """What stands above the quoted mail, and above the line that says whose it is."""
    return _SAID.sub("", re.split(r"^>", text, maxsplit=1, flags=re.MULTILINE)[0])
