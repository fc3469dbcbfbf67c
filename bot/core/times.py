"""Times as a person reads them. Pure."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo


def on_the_clock(at: datetime, timezone: str) -> tuple[datetime, str]:
    """A time as it is where this IANA time zone is, and what people there call the zone: 14:00, "CEST"."""
    local = at.astimezone(ZoneInfo(timezone))
    name = local.tzname() or timezone
    return local, f"UTC{name}" if name[0] in "+-" else name
