"""What a receiving server writes on top of a mail, and what it must take out first (RFC 8601, section 5). Pure."""

import email
import email.policy
import re
from datetime import datetime
from email.utils import format_datetime, getaddresses

_FIELDS = re.compile(rb"(?:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)")
_OUR_RESULTS = re.compile(rb"authentication-results\s*:(?P<value>.*)", re.IGNORECASE | re.DOTALL)
_COMMENT = re.compile(rb"\([^()]*\)")


def stamped(
    raw: bytes,
    *,
    authserv_id: str,
    own_addresses: frozenset[str],
    mail_from: str,
    rcpt_to: str,
    helo: str,
    number: int,
    at: datetime,
) -> bytes:
    """The mail as the server stores it or hands it on.

    `own_addresses`, lowercase and without tokens, are those that this server answers for: a From that is one of them
    passes where the envelope sender is the same, fails where it is not, and any other From has no verdict.
    """
    sender = bare(mail_from)
    domain, dmarc = _verdict(raw, sender, own_addresses)
    spf = "pass" if sender in own_addresses else "none"
    top = (
        f"Return-Path: <{mail_from}>\r\n"
        f"Delivered-To: {rcpt_to}\r\n"
        f"Received: from {_token(helo)} by {authserv_id} with ESMTP id {number:08d}\r\n"
        f" for <{rcpt_to}>; {format_datetime(at)}\r\n"
        f"Authentication-Results: {authserv_id};\r\n"
        f" dmarc={dmarc} header.from={domain};\r\n"
        f" spf={spf} smtp.mailfrom={mail_from.rpartition('@')[2] or 'none'}\r\n"
    )
    return top.encode() + without_results(raw, authserv_id)


def without_results(raw: bytes, authserv_id: str) -> bytes:
    """Without the Authentication-Results that claim to be ours: only this server may say what this server found out."""
    head, gap, body = raw.partition(b"\r\n\r\n")
    fields: list[bytes] = _FIELDS.findall(head + b"\r\n")
    kept = b"".join(field for field in fields if not _claims(field, authserv_id))
    return kept + (gap[2:] if gap else b"") + body


def bare(address: str) -> str:
    """An address without its `+token`, lowercase."""
    local, _, domain = address.strip().strip("<>").lower().rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


def _claims(field: bytes, authserv_id: str) -> bool:
    found = _OUR_RESULTS.match(field)
    if not found:
        return False
    words = _COMMENT.sub(b" ", found["value"]).partition(b";")[0].split()
    return bool(words) and words[0].strip(b'"').lower() == authserv_id.lower().encode()


def _verdict(raw: bytes, sender: str, own_addresses: frozenset[str]) -> tuple[str, str]:
    head = email.message_from_bytes(raw.partition(b"\r\n\r\n")[0], policy=email.policy.compat32)
    given = [str(value) for value in head.get_all("From", [])]
    found = [address.lower() for _, address in getaddresses(given)]
    if len(given) != 1 or len(found) != 1 or "@" not in found[0]:
        return "unknown", "none"
    domain = _token(found[0].rpartition("@")[2])
    if found[0] == sender and sender in own_addresses:
        return domain, "pass"
    return domain, "fail" if domain in {one.rpartition("@")[2] for one in own_addresses} else "none"


def _token(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.\-\[\]:]", "", text)[:255] or "unknown"
