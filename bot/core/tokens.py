"""Tokens that stand for a post and the person it went to, in a reply address or a link (EM7, EM20). Pure.

A token says which post it is for and when it ends; it is only as good as its HMAC, which also covers the person's
address and, for a link, the person (an address may become somebody else's) and the digest of what is decided. Lowercase
base32: mail servers may change an address's case.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from bot.core.people import Address
from bot.core.values import PostId, ThreadId

LIFE = timedelta(days=90)
"""As long as a log is kept: a late answer is still recognised, and told that it is late."""
LENGTH = 45
"""Characters of a token."""
HIDDEN = "[token]"
_ANY = re.compile(rf"(\b[0-9a-f]{{64}}\b)|[a-z2-7]{{{LENGTH},}}", re.ASCII | re.IGNORECASE)
"""A SHA-256 in hex, which is none; else a run of so many of a token's characters. Any such run reads as a token."""
_THREAD_BYTES, _MAC_BYTES = 12, 10
_SEQ_BITS, _N_BITS = 20, 12
_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Use = Literal["reply", "trace", "bounce", "decide"]
"""In the reply address; in a Message-ID, which others get to see and which approves nothing; in the address that
bounces come back to; in the link to the page."""


@dataclass(frozen=True)
class Claim:
    """What a token says. Nothing of it is true before `Tokens.fits` says so."""

    thread_id: ThreadId
    seq: int
    n: int
    day: int
    """The last day on which it is good, counted from 1970-01-01."""
    token: str

    @property
    def post_id(self) -> PostId:
        """The post that it was made for."""
        return f"{self.thread_id}:{self.seq}:{self.n}"


@dataclass(frozen=True)
class Tokens:
    """Makes and checks tokens."""

    secret: bytes

    def make(self, use: Use, post_id: PostId, address: Address, asked_at: datetime, *, binds: str = "") -> str:
        """The token for this post and address, and for what else it `binds`. The same arguments give the same token.

        Raises ValueError.
        """
        thread_id, seq, n = post_id.rsplit(":", 2)
        thread = bytes.fromhex(thread_id.removeprefix("t"))
        if len(thread) != _THREAD_BYTES:
            raise ValueError("this is not a thread's id")
        day = (asked_at + LIFE - _EPOCH) // _DAY
        if not (0 <= int(seq) < 1 << _SEQ_BITS and 0 <= int(n) < 1 << _N_BITS):
            raise ValueError("no token is made for an event or a copy as late as this")
        head = thread + (int(seq) << _N_BITS | int(n)).to_bytes(4) + day.to_bytes(2)
        return _encoded(head + self._mac(use, head, address, binds))

    def fits(self, use: Use, claim: Claim, address: Address, at: datetime, *, binds: str = "") -> bool:
        """Whether it was made here, for this person, and has not run out."""
        raw = _decoded(claim.token)
        if raw is None:
            return False
        head, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        good = hmac.compare_digest(mac, self._mac(use, head, address, binds))
        return good and (at - _EPOCH) // _DAY <= claim.day

    def _mac(self, use: Use, head: bytes, address: Address, binds: str) -> bytes:
        payload = b"\n".join((use.encode(), head.hex().encode(), address.encode(), binds.encode()))
        return hmac.new(self.secret, payload, hashlib.sha256).digest()[:_MAC_BYTES]


def link_binds(person: str, digest: str) -> str:
    """What a link to the page binds beside its address: whose it is, and what is decided (EM20)."""
    return f"{person} {digest}"


def read_token(text: str) -> Claim | None:
    """What a token claims; None where this is none."""
    raw = _decoded(text)
    if raw is None:
        return None
    thread, rest = raw[:_THREAD_BYTES], raw[_THREAD_BYTES:]
    place, day = int.from_bytes(rest[:4]), int.from_bytes(rest[4:6])
    return Claim(f"t{thread.hex()}", place >> _N_BITS, place % (1 << _N_BITS), day, _encoded(raw))


def without_tokens(text: str) -> str:
    """The text with `[token]` for everything that `read_token` would take for one, whatever it is glued to."""
    return _ANY.sub(lambda found: found[1] or HIDDEN, text)


def _encoded(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()


def _decoded(text: str) -> bytes | None:
    if len(text) != LENGTH or not text.isascii():
        return None
    try:
        return base64.b32decode(f"{text.upper()}===")
    except binascii.Error:
        return None
