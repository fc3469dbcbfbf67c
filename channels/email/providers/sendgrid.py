"""SendGrid's Inbound Parse, raw, with its signature: ECDSA over timestamp and body (EM2). Pure.

Its `SPF` and `dkim` fields are made by SendGrid from the mail and the connection, and signed with the rest.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from channels.email.providers.alignment import judge
from channels.email.providers.errors import Incomplete, Malformed, Refused, check_age
from channels.email.providers.forms import read_form
from channels.email.record import MAX_RAW_BYTES, RawMail

MAX_BODY_BYTES = 12 * 1024 * 1024
"""The raw mail, and the small fields around it."""
MAX_AGE_SECONDS = 3 * 24 * 3600
"""SendGrid tries for 72 hours. What comes again meanwhile is the same mail, which is taken once (EM3)."""
_MAX_SIGNATURE = 200
_TICK = "The raw mail is missing: tick “POST the raw, full MIME message” in SendGrid's settings of Inbound Parse."


def verify_sendgrid_time(timestamp: str | None, now: float) -> None:
    """What can be refused before the body is read. Raises Refused."""
    check_age(timestamp or "", now, MAX_AGE_SECONDS)


def verify_sendgrid(body: bytes, timestamp: str | None, signature: str | None, keys: Sequence[str], now: float) -> None:
    """Check the headers `X-Twilio-Email-Event-Webhook-…` against the public keys (base64 of DER). Raises Refused."""
    verify_sendgrid_time(timestamp, now)
    if not signature or len(signature) > _MAX_SIGNATURE:
        raise Refused("the signature is missing")
    try:
        given = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("the signature cannot be read") from None
    if not any(_fits(key, given, (timestamp or "").encode("ascii") + body) for key in keys):
        raise Refused("the signature is wrong")


def read_sendgrid(body: bytes, content_type: str) -> RawMail:
    """The mail, with SendGrid's verdict. Raises Malformed, Incomplete."""
    fields = read_form(body, content_type)
    raw = fields.get("email", b"")
    if not raw:
        raise Incomplete(_TICK)
    envelope_from, envelope_to = _envelope(fields.get("envelope", b""))
    said = {name: fields.get(name, b"").decode("utf-8", "replace").strip() for name in ("SPF", "dkim")}
    return RawMail(
        raw[: MAX_RAW_BYTES + 1],
        "sendgrid",
        envelope_from=envelope_from,
        envelope_to=envelope_to,
        verdict=judge(raw, spf=said["SPF"], dkim=said["dkim"], envelope_from=envelope_from),
    )


def _fits(key: str, signature: bytes, signed: bytes) -> bool:
    try:
        public_key = load_der_public_key(base64.b64decode(key, validate=True))
        if not isinstance(public_key, ec.EllipticCurvePublicKey):
            return False
        public_key.verify(signature, signed, ec.ECDSA(SHA256()))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):  # a key that is none refuses everything
        return False
    return True


def _envelope(value: bytes) -> tuple[str, tuple[str, ...]]:
    try:
        found: object = json.loads(value)
    except (ValueError, RecursionError):
        raise Malformed("The envelope is no JSON.") from None
    envelope = cast("dict[str, object]", found) if isinstance(found, dict) else {}
    sender, recipients = envelope.get("from"), envelope.get("to")
    if not isinstance(sender, str) or not isinstance(recipients, list):
        raise Malformed("The envelope has no sender or no recipients.")
    each = cast("list[object]", recipients)
    return sender.strip().removeprefix("<").removesuffix(">"), tuple(one for one in each[:100] if isinstance(one, str))
