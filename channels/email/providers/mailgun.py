"""Mailgun's routes: HMAC over timestamp and token, a form with the raw mail in `body-mime` (EM2). Pure.

The signature covers neither the mail nor its envelope, so a token counts for one content; who calls this remembers
which. A retry may be the first try once more, with its timestamp, its token and the same content.
Mailgun puts `X-Mailgun-Spf` and `X-Mailgun-Dkim-Check-Result` among the headers of the mail, where a sender may have
put them before, and they do not name the domain that passed: so nothing in it is a verdict.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

from channels.email.providers.errors import Incomplete, Refused, check_age
from channels.email.record import MAX_RAW_BYTES, RawMail

MAX_BODY_BYTES = 16 * 1024 * 1024
"""The raw mail, URL-encoded where there is no attachment, and the form around it."""
MAX_AGE_SECONDS = 9 * 3600
"""Mailgun tries for eight hours."""
_TOKEN = re.compile(rb"[\x21-\x7e]{1,128}")
_URL = "The raw mail is missing: let the URL of Mailgun's route end in /email/mailgun/mime."


def verify_mailgun(fields: Mapping[str, bytes], keys: Sequence[str], now: float) -> str:
    """Check the signature against the signing keys. Gives the token. Raises Refused."""
    timestamp, token = fields.get("timestamp", b""), fields.get("token", b"")
    check_age(timestamp.decode("latin-1"), now, MAX_AGE_SECONDS)
    if not _TOKEN.fullmatch(token):
        raise Refused("the token is missing")
    given = fields.get("signature", b"")
    if not any(hmac.compare_digest(_signature(key, timestamp + token), given) for key in keys if key):
        raise Refused("the signature is missing or wrong")
    return token.decode("ascii")


def mailgun_digest(fields: Mapping[str, bytes]) -> str:
    """What a token counts for: the mail and its envelope, as a SHA-256 in hex."""
    parts = (hashlib.sha256(fields.get(name, b"")).digest() for name in ("body-mime", "recipient", "sender"))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def read_mailgun(fields: Mapping[str, bytes]) -> RawMail:
    """The mail. Raises Incomplete."""
    raw = fields.get("body-mime", b"")
    if not raw:
        raise Incomplete(_URL)
    recipient, sender = _text(fields.get("recipient", b"")), fields.get("sender")
    return RawMail(
        raw[: MAX_RAW_BYTES + 1],
        "mailgun",
        envelope_from=None if sender is None else _text(sender).removeprefix("<").removesuffix(">"),
        envelope_to=tuple(one for part in recipient.split(",") if (one := part.strip())),
    )


def _signature(key: str, signed: bytes) -> bytes:
    return hmac.new(key.encode(), signed, hashlib.sha256).hexdigest().encode()


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace").strip()
