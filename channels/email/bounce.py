"""What a delivery report says (EM17, RFC 3464). Pure.

A report can be forged like any mail: it means something only together with a token of ours that it returns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from channels.email.automatic import has_null_sender
from channels.email.mime import Content, Headers, OverLimit, Part, decoded, media_type, read_headers
from channels.email.record import RawMail
from channels.email.words import ascii_lower

_FIELD = re.compile(
    r"^(final-recipient|original-recipient|action|status|diagnostic-code)[ \t]*:[ \t]*(.{0,1000})",
    re.IGNORECASE | re.MULTILINE,
)
_STATUS = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
_RETURNED = frozenset({"message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers"})
_STATUS_KINDS = frozenset({"message/delivery-status", "message/global-delivery-status"})


@dataclass(frozen=True)
class Report:
    """The recipient that failed first."""

    status: str
    recipient: str
    returned: Headers | None
    """Of our mail that could not be delivered, where the report has them."""

    @property
    def permanent(self) -> bool:
        """5.x.x: this address will not work later either."""
        return self.status.startswith("5")


def may_be_report(record: RawMail, headers: Headers) -> bool:
    """Whether it is worth looking for a delivery status in it."""
    kind, parameters = media_type(headers.first("content-type"))
    if kind == "multipart/report" and parameters.get("report-type", "").lower() == "delivery-status":
        return True
    return has_null_sender(record, headers) and kind.startswith("multipart/")


def read_report(content: Content) -> Report | None:
    """The report, or None where no part of the mail is a delivery status."""
    status = next((part for part in content.parts if part.kind in _STATUS_KINDS), None)
    if status is None:
        return None
    returned = next((part for part in content.parts if part.kind in _RETURNED), None)
    blocks = [_fields(block) for block in re.split(r"\n[ \t]*\n", decoded(status)[:100_000])]
    recipients = [block for block in blocks if "final-recipient" in block or "original-recipient" in block]
    failed = [block for block in recipients if block.get("action", "").lower().startswith("failed")]
    worst = (failed or recipients or blocks)[0]
    found = _STATUS.search(worst.get("status", "")) or _STATUS.search(worst.get("diagnostic-code", ""))
    return Report(found.group(1) if found else "", _recipient(worst), _headers_of(returned))


def _fields(block: str) -> dict[str, str]:
    unfolded = re.sub(r"\n[ \t]+", " ", block)
    return {name.lower(): value.strip() for name, value in reversed(_FIELD.findall(unfolded))}


def _recipient(block: dict[str, str]) -> str:
    """The address that we wrote to, rather than where it was forwarded."""
    said = block.get("original-recipient") or block.get("final-recipient", "")
    address = said.partition(";")[2].strip().strip("<>")
    return ascii_lower(address)[:320] if "@" in address and not re.search(r"\s", address) else ""


def _headers_of(part: Part | None) -> Headers | None:
    if part is None:
        return None
    try:
        return read_headers(decoded(part).encode("latin-1", "replace"))[0]
    except OverLimit:
        return None
