"""Checks DKIM signatures: what proves a sender where the provider gives no verdict of its own (EM1, EM18).

The cryptography is dkimpy's. What a signature has to cover is decided here, and stricter than RFC 6376 asks, because
whoever holds a signed mail may send it on with anything about it changed that the signature leaves open.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import dkim
import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver
from dkim.util import InvalidTagValueList

from channels.email.mime import MAX_HEADER_BYTES, Headers, OverLimit, read_headers
from channels.email.providers.alignment import aligned
from channels.email.record import MAX_RAW_BYTES, CannotTell, Verdict
from channels.email.sender import read_sender

Lookup = Callable[[str], Awaitable[bytes | None]]
"""The TXT record of a name, or None where there is none. Raises CannotTell where that is not known."""

DNS_SECONDS = 5.0
"""For one key, with all retries. The keys of a mail are asked for at once."""
MAX_SIGNATURES = 5
_MIN_KEY_BITS = 1024
_MAX_KEY_BYTES = 1024
"""Of a key record, which holds up to 4096 bits of RSA in 800; a key without bounds would keep the processor busy."""
_MAX_HEADER_BYTES, _MAX_SIGNATURE_BYTES = 64 * 1024, 4096
"""dkimpy's time grows with the square of these."""
_MAX_BLANKS = 1_000_000
"""dkimpy takes two hundred bytes for each. Files in base64 have none."""
_LONG_BLANK = re.compile(rb"\s{20}")
_COVERED = frozenset({b"from", b"to", b"cc", b"subject", b"message-id"})
"""What the mail has of these is to be signed. The bot acts on them: who writes, the tokens in To and Cc (EM8), the
subject, which begins the text of a new thread, and the id that makes of copies one mail (EM3). Date it does not read.
"""
_DOMAIN = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(?:\.[A-Za-z0-9_-]{1,63})+")
_SELECTOR = re.compile(rb"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63}){0,3}")
_LONGEST_NAME = 253
_KEY_TAGS = ((b"t", b""), (b"s", b"*"), (b"h", b"sha256"))
"""Flags, services, hashes, and what stands for each where it is not there."""
_SILENT = logging.Logger("dkim", level=logging.CRITICAL + 1)  # noqa: LOG001 of its own: what dkimpy logs are headers
# What dkimpy raises for hostile signatures and keys, from its parsers too.
_BROKEN = (dkim.DKIMException, InvalidTagValueList, ValueError, LookupError, TypeError, ArithmeticError, AssertionError)


class DkimCheck:
    """Judges mails by their DKIM signatures. `lookup` asks the DNS unless told otherwise, `now` gives Unix seconds."""

    def __init__(self, lookup: Lookup | None = None, *, now: Callable[[], float] = time.time) -> None:
        self._lookup = lookup or txt_record
        self._now = now
        self._turns = asyncio.Semaphore(2)  # a large mail may take a second and two hundred megabytes

    async def verdict(self, raw: bytes) -> Verdict:
        """`pass` if a signature proves the From domain, else `none`: `fail` would need the policy of the domain.

        Raises CannotTell where no signature proves it, and the DNS did not answer for one that may.
        """
        domain, signatures = await asyncio.to_thread(_signatures, raw, self._now())
        names = {one.key_name for one in signatures}
        keys = dict(zip(names, await asyncio.gather(*map(self._key, names)), strict=True))
        fit = [(one, key) for one in signatures if isinstance(key := keys[one.key_name], bytes) and _is_good(key, one)]
        async with self._turns:
            signer = await asyncio.to_thread(_signer, raw, fit) if fit else None
        if signer:
            return Verdict("pass", domain, by=f"dkim by {signer}")
        for key in keys.values():
            if isinstance(key, CannotTell):
                raise key
        return Verdict("none", domain)

    async def _key(self, name: str) -> bytes | CannotTell | None:
        try:
            return await self._lookup(name)
        except CannotTell as error:
            return error


async def txt_record(name: str, resolver: dns.asyncresolver.Resolver | None = None) -> bytes | None:
    """The one TXT record of a name; None where there is none, or several. Raises CannotTell."""
    try:
        answer = await (resolver or _resolver()).resolve(dns.name.from_text(name), "TXT", search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return None
    except (dns.exception.DNSException, OSError) as error:
        raise CannotTell("the DNS does not answer for the key of a signature") from error
    records = [b"".join(one.strings) for one in answer]
    return records[0] if len(records) == 1 else None


def _resolver() -> dns.asyncresolver.Resolver:
    """What this machine is set up to ask."""
    made = dns.asyncresolver.Resolver()
    made.lifetime = DNS_SECONDS
    return made


@dataclass(frozen=True)
class _Signature:
    """One that would prove the From domain, if its key says so."""

    place: int
    """Among the signatures of the mail, the topmost is 0."""
    domain: str
    selector: str
    own_identity: bool
    """Its identity (`i=`) is of the very domain, not of one below."""
    relaxed_body: bool

    @property
    def key_name(self) -> str:
        return f"{self.selector}._domainkey.{self.domain}."


def _signatures(raw: bytes, now: float) -> tuple[str, list[_Signature]]:
    """The From domain, and the signatures that could prove it."""
    if len(raw) > MAX_RAW_BYTES:
        return "", []
    try:
        headers, body = read_headers(raw[: MAX_HEADER_BYTES + 1])
    except OverLimit:
        return "", []
    sender = read_sender(headers)
    if isinstance(sender, str):
        return "", []
    if body > _MAX_HEADER_BYTES:
        return sender.domain, []
    found: list[_Signature] = []
    present = Counter(name.encode() for name, _ in headers.fields)
    for place, value in enumerate(_written(raw[:body], headers)):
        one = _read(place, value, present, now)
        if one and aligned(one.domain, sender.domain):
            found.append(one)
    return sender.domain, found[:MAX_SIGNATURES]


def _written(block: bytes, headers: Headers) -> list[bytes]:
    """The signatures as dkimpy reads them; none where it sees other headers than we do."""
    try:
        seen = _message(block).headers
    except _BROKEN:
        return []
    if [bytes(name).lower().decode("ascii") for name, _ in seen] != [name for name, _ in headers.fields]:
        return []
    return [bytes(value) for name, value in seen if bytes(name).lower() == b"dkim-signature"]


def _read(place: int, value: bytes, present: Counter[bytes], now: float) -> _Signature | None:
    """A signature that is plain, whole (no `l=`), in force, and covers what it has to."""
    if len(value) > _MAX_SIGNATURE_BYTES or _LONG_BLANK.search(value):
        return None
    tags = _tags(value)
    domain, selector, expiry = tags.get(b"d", b""), tags.get(b"s", b""), tags.get(b"x")
    if tags.get(b"a") != b"rsa-sha256" or b"l" in tags:
        return None
    if expiry is not None and not (re.fullmatch(rb"[0-9]{1,12}", expiry) and int(expiry) >= now):
        return None
    signed = Counter(name.strip().lower() for name in tags.get(b"h", b"").split(b":"))
    # A signature covers the lowest ones: whatever is there more often was put on top by somebody else.
    if b"from" not in signed or any(present[name] > signed[name] for name in _COVERED | set(signed)):
        return None
    if not _DOMAIN.fullmatch(domain) or not _SELECTOR.fullmatch(selector):
        return None
    one = _Signature(
        place=place,
        domain=domain.lower().decode("ascii"),
        selector=selector.decode("ascii"),
        own_identity=tags.get(b"i", b"@" + domain).rpartition(b"@")[2].lower() == domain.lower(),
        relaxed_body=tags.get(b"c", b"").endswith(b"/relaxed"),
    )
    return one if len(one.key_name) <= _LONGEST_NAME else None


def _is_good(key: bytes, signature: _Signature) -> bool:
    """Whether the key record may be used for this. RFC 6376 3.6.1; dkimpy looks at none of these tags but `k`."""
    if len(key) > _MAX_KEY_BYTES:
        return False
    tags = _tags(key)
    flags, services, hashes = (_listed(tags.get(name, other)) for name, other in _KEY_TAGS)
    if b"y" in flags or (b"s" in flags and not signature.own_identity):  # `y`: only a test, as good as not signed
        return False
    return tags.get(b"k", b"rsa") == b"rsa" and bool(services & {b"*", b"email"}) and b"sha256" in hashes


def _listed(value: bytes) -> set[bytes]:
    return {one.strip().lower() for one in value.split(b":")}


def _signer(raw: bytes, signatures: Sequence[tuple[_Signature, bytes]]) -> str | None:
    """The domain of the first signature that holds."""
    if raw.count(b" ") + raw.count(b"\t") > _MAX_BLANKS:
        return None
    body = read_headers(raw[: MAX_HEADER_BYTES + 1])[1]
    opened: dict[bool, Any] = {}
    for one, key in signatures:
        if one.relaxed_body not in opened:
            opened[one.relaxed_body] = _message(raw[:body])
            opened[one.relaxed_body].body = _body(raw[body:], relaxed=one.relaxed_body)
        if _holds(opened[one.relaxed_body], one, key):
            return one.domain
    return None


def _body(text: bytes, *, relaxed: bool) -> bytes:
    """As dkimpy makes it of a whole mail, but without a list of its lines, which takes half a gigabyte.

    The relaxed form stays the same without long blanks, and on those dkimpy's time grows with the square.
    """
    if relaxed:
        text = text.replace(b"\t", b" ")
        while b"  " in text:
            text = text.replace(b"  ", b" ")
    return text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _holds(message: Any, one: _Signature, key: bytes) -> bool:  # noqa: ANN401 dkimpy has no types
    def known(name: bytes, timeout: float) -> bytes | None:
        del timeout
        return key if name.lower() == one.key_name.lower().encode() else None

    try:
        return message.verify(one.place, dnsfunc=known) is True
    except _BROKEN:
        return False


def _message(raw: bytes) -> Any:  # noqa: ANN401 dkimpy has no types
    return cast("Any", dkim).DKIM(raw, logger=_SILENT, minkey=_MIN_KEY_BITS)


def _tags(value: bytes) -> Mapping[bytes, bytes]:
    """The `name=value` list of a signature or key; empty where it is none, or a name is there twice."""
    try:
        return cast("Any", dkim).util.parse_tag_value(value)
    except InvalidTagValueList:
        return {}
