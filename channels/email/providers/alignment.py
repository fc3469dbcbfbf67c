"""What SendGrid's SPF and DKIM results prove about the From header (EM18). Pure, and `none` in every case of doubt.

Aligned means: the domain that passed is the From domain or a parent of it. DMARC's relaxed mode would also take a
sibling or a subdomain, but where an organisation begins only the public suffix list tells: `evil.github.io` is not
github.io. A parent is safe without it, because whoever holds a zone holds what lies below.
"""

from __future__ import annotations

import re

from channels.email.mime import MAX_HEADER_BYTES, Headers, OverLimit, read_headers
from channels.email.record import Verdict
from channels.email.sender import read_sender
from channels.email.words import ascii_lower

_DOMAIN = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_-]{1,63})+"
_IDENTITY = rf"[A-Za-z0-9._+-]{{0,64}}@{_DOMAIN}"
# Perl's Mail::DKIM explains a failure in words that may repeat a tag of the signature: only words that cannot are read.
_RESULT = r"(?:pass|none|neutral|temperror|permerror|(?:fail|invalid)(?: \((?:body|message) has been altered\))?)"
_ENTRY = re.compile(rf"({_IDENTITY}) : ({_RESULT})")
_FIELD = re.compile(rf"\{{{_IDENTITY} : {_RESULT}(?:, {_IDENTITY} : {_RESULT})*\}}")
_TAG = re.compile(r"(?:^|;)\s*(d|i|l)\s*=([^;]*)")
_MAX_DKIM, _MAX_SIGNATURES = 2000, 20


def judge(raw: bytes, *, spf: str, dkim: str, envelope_from: str) -> Verdict:
    """SendGrid's results as a verdict. `dkim` is like `{@acme.example : pass, @mail.example : fail}`."""
    try:
        headers, _ = read_headers(raw[: MAX_HEADER_BYTES + 1])
    except OverLimit:
        return Verdict("none", "")
    sender = read_sender(headers)
    if isinstance(sender, str):
        return Verdict("none", "")
    domain = sender.domain
    if any(aligned(one, domain) for one in _dkim_domains(headers, dkim)):
        return Verdict("pass", domain)
    if aligned(ascii_lower(envelope_from.rpartition("@")[2]), domain):
        if spf.lower() == "pass":
            return Verdict("pass", domain)
        if spf.lower() == "fail":
            return Verdict("fail", domain)
    return Verdict("none", domain)


def aligned(proven: str, claimed: str) -> bool:
    """Whether who holds the domain `proven` may speak for `claimed`. Both lowercase."""
    return "." in proven and (claimed == proven or claimed.endswith(f".{proven}"))


def _dkim_domains(headers: Headers, dkim: str) -> list[str]:
    """The signing domains that passed.

    The field names identities (`i=`), and a signer chooses his own: one that is not plain could spell the entry of
    another domain, so with such a one in the mail no entry is believed.
    """
    signatures = headers.all("dkim-signature")
    if len(signatures) > _MAX_SIGNATURES or len(dkim) > _MAX_DKIM or not _FIELD.fullmatch(dkim):
        return []
    signers: dict[str, str] = {}
    for signature in signatures:
        signer = _signer(signature)
        if signer is None:
            return []
        signers[signer[0]] = signer[1]
    passed = [ascii_lower(identity) for identity, result in _ENTRY.findall(dkim[1:-1]) if result == "pass"]
    return [signers[identity] for identity in passed if identity in signers]


def _signer(signature: str) -> tuple[str, str] | None:
    """Identity and domain of a signature. None where it is not plain, or covers only a part of the body (`l=`)."""
    tags = [(name, value.strip()) for name, value in _TAG.findall(signature)]
    found = dict(tags)
    domain = ascii_lower(found.get("d", ""))
    identity = ascii_lower(found.get("i", f"@{domain}"))
    if len(found) != len(tags) or "l" in found or not re.fullmatch(_DOMAIN, domain):
        return None
    behind = identity.rpartition("@")[2]
    if not re.fullmatch(_IDENTITY, identity) or not (behind == domain or behind.endswith(f".{domain}")):
        return None
    return identity, domain
