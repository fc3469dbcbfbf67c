"""Mail signed with DKIM, and the DNS that has its key, for tests of the providers that give no verdict."""

from __future__ import annotations

import base64
from typing import Any, cast

import dkim
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

_KEY = rsa.generate_private_key(65537, 2048)
_HEADERS = [b"from", b"to", b"subject", b"message-id"]


def signed(raw: bytes, domain: str = "acme.example") -> bytes:
    """The mail as the domain's own server would send it."""
    pem = _KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return bytes(cast("Any", dkim).sign(raw, b"tests", domain.encode(), pem, include_headers=_HEADERS)) + raw


async def lookup(name: str) -> bytes | None:
    """The record of acme.example's key; nothing else is there."""
    if name.rstrip(".") != "tests._domainkey.acme.example":
        return None
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(
        _KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
