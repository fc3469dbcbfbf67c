"""A mail as a mail program lists and shows it. Pure; a mail that is broken is shown as far as it goes."""

import re
from email.utils import getaddresses

from channels.email.simulator.records import StoredMail
from channels.simulating import Json

_IDS = re.compile(r"<[^<>\s]+>")
_PREVIEW = 140
_BROKEN = (LookupError, ValueError, TypeError, AttributeError)
"""What Python's mail parser raises over charsets that there are not, and headers that are none."""


def body_of(mail: StoredMail, kind: str) -> str:
    """The `plain` or `html` part; empty where there is none."""
    try:
        return mail.text if kind == "plain" else mail.html
    except _BROKEN:
        return ""


def summary_of(mail: StoredMail, key: str, *, sent: bool) -> Json:
    """What a list shows of it: who, what, when, and the ids that its conversation is known by."""
    name, address = next(iter(getaddresses([_header(mail, "From")])), ("", ""))
    return {
        "key": key,
        "owner": mail.owner,
        "sent": sent,
        "from": {"name": name or address, "address": address},
        "to": _header(mail, "To"),
        "subject": _header(mail, "Subject"),
        "at": mail.received_at.isoformat(),
        "id": _header(mail, "Message-ID").strip(),
        "parents": _IDS.findall(f"{_header(mail, 'References')} {_header(mail, 'In-Reply-To')}"),
        "preview": " ".join(_unquoted(body_of(mail, "plain")).split())[:_PREVIEW],
    }


def _header(mail: StoredMail, name: str) -> str:
    try:
        return str(mail.headers[name] or "")
    except _BROKEN:
        return ""


def _unquoted(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith(">"))
