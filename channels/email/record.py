"""A mail as it came in, whichever way it came (EM1). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CHANNEL = "email"
MAX_RAW_BYTES = 10 * 1024 * 1024
"""EM5."""

Way = Literal["imap", "smtp", "postmark", "sendgrid", "mailgun"]


@dataclass(frozen=True)
class Verdict:
    """What was found out about the sender of a mail, by the provider that took it or by a check of our own."""

    dmarc: Literal["pass", "fail", "none"]
    """`pass`: SPF or DKIM passed for a domain that is aligned with `domain`."""
    domain: str
    """The domain of the From header that this is about, lowercase."""
    by: str = ""
    """What proved it, such as `dkim by acme.example`; empty: the provider's own check."""


class CannotTell(Exception):  # noqa: N818 an answer: try again later
    """Who sent the mail cannot be told just now, and may be later. The text says what is in the way."""


@dataclass(frozen=True)
class RawMail:
    """One mail: its raw bytes, its envelope, and the verdict about its sender."""

    raw: bytes
    way: Way
    envelope_from: str | None = None
    """Empty: the null sender `<>`. None: not known (IMAP), where `Return-Path` may tell."""
    envelope_to: tuple[str, ...] = ()
    verdict: Verdict | None = None
    """None: nothing but the mail's own headers can tell."""
