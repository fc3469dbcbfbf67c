"""Postmark's inbound webhook: HTTP basic auth, JSON (EM2). Pure.

Postmark signs nothing. It lists `Received-SPF` and `X-Spam-Tests` among the headers of the mail, where a sender may
have put headers of the same name, and it does not promise to drop those: so nothing in it is a verdict.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Sequence
from typing import cast

from channels.email.providers.errors import Incomplete, Malformed, Refused
from channels.email.record import MAX_RAW_BYTES, RawMail

MAX_BODY_BYTES = 32 * 1024 * 1024
"""The raw mail, and beside it its texts and attachments once more."""
_MAX_LOGIN = 1000
_TICK = (
    "The raw mail is missing: tick “Include raw email content in JSON payload” "
    "in the settings of Postmark's inbound stream."
)


def verify_postmark(authorization: str | None, logins: Sequence[str]) -> None:
    """Check the `Authorization` header against the logins, each `user:password`. Raises Refused."""
    scheme, _, encoded = (authorization or "").strip().partition(" ")
    if scheme.lower() != "basic" or len(encoded) > _MAX_LOGIN:
        raise Refused("there is no basic authentication")
    try:
        given = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("the login cannot be read") from None
    if not any(hmac.compare_digest(given, one.encode()) for one in logins if one.strip(": ")):
        raise Refused("the login is wrong")


def read_postmark(body: bytes) -> RawMail:
    """The mail. Raises Malformed, Incomplete."""
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        raise Malformed("The body is no JSON.") from None
    if not isinstance(found, dict):
        raise Malformed("The body is no JSON object.")
    event = cast("dict[str, object]", found)
    raw, recipient = event.get("RawEmail"), event.get("OriginalRecipient")
    if not raw:
        raise Incomplete(_TICK)
    if not isinstance(raw, str) or not isinstance(recipient, str):
        raise Malformed("RawEmail or OriginalRecipient is no text.")
    # Its `From` is the header, not the envelope: Return-Path may tell.
    raw_bytes = raw.encode("utf-8", "replace")[: MAX_RAW_BYTES + 1]
    return RawMail(raw_bytes, "postmark", envelope_to=(recipient,) if recipient else ())
