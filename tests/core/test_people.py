"""What is known of people: when they do not want to be asked."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest

from bot.core.people import QuietHours

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("begin", "end", "now", "until"),
    [
        (time(22), time(7), "2026-03-20T20:59", None),  # 21:59 there
        (time(22), time(7), "2026-03-20T21:00", "2026-03-21T06:00"),
        (time(22), time(7), "2026-03-21T05:59", "2026-03-21T06:00"),
        (time(22), time(7), "2026-03-21T06:00", None),
        (time(12), time(13), "2026-03-20T11:30", "2026-03-20T12:00"),  # by day
        (time(12), time(13), "2026-03-20T12:00", None),
        (time(22), time(2, 30), "2026-10-25T00:15", "2026-10-25T00:30"),  # 02:15, before clocks are set back
        (time(22), time(2, 30), "2026-10-25T01:15", "2026-10-25T01:30"),  # 02:15 once more
        (time(22), time(2, 30), "2026-10-25T01:30", None),
        (time(22), time(7), "2026-03-28T22:00", "2026-03-29T05:00"),  # the night that is an hour short
    ],
)
def test_quiet_hours_end_when_they_end_there_and_never_in_the_past(
    begin: time, end: time, now: str, until: str | None
) -> None:
    """AP11: what is held until a moment that is over would be held again and again."""
    found = QuietHours(begin=begin, end=end, timezone=BERLIN).until(datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert found == (datetime.fromisoformat(until).replace(tzinfo=UTC) if until else None)
