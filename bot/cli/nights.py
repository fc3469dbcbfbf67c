"""When everybody who decides something has quiet hours: what begins and ends then reaches nobody. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from bot.core.people import People, Person
from bot.core.standing import duration
from bot.core.values import ApprovalRule

_STEP = timedelta(minutes=5)
_DAY = timedelta(days=1)


def reaches_nobody(rule: ApprovalRule, able: Sequence[Person], people: People, at: datetime) -> Iterator[str]:
    """Said where a request can live and die within such a night. `at`: any time of the day that is meant."""
    if rule.wakes or rule.life_seconds is None:
        return
    later = (one for step in rule.escalation for one in people.deciders(step.roles, step.persons))
    asked = list({one.id: one for one in (*able, *later)}.values())
    night = longest_night(asked, at)
    if night is None:
        return
    begin, end = night
    if timedelta(seconds=rule.life_seconds) >= end - begin:
        return
    who = "everybody who is asked has" if asked[1:] else f"{asked[0].name} has"
    life = duration(timedelta(seconds=rule.life_seconds))
    yield (
        f"{begin:%H:%M} to {end:%H:%M} UTC {who} quiet hours, and a request lives {life}: one that is made then may "
        "reach nobody by mail, text or direct message; give it a longer life, wakes = true, or an escalation to "
        "somebody who is awake"
    )


def longest_night(persons: Sequence[Person], at: datetime) -> tuple[datetime, datetime] | None:
    """The longest time of that day in which all of them have quiet hours; None: at any time somebody has none."""
    if not persons:
        return None
    begin = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    nights, since = list[tuple[datetime, datetime]](), None
    for n in range(2 * _DAY // _STEP + 1):  # two days, because a night goes over midnight
        moment = begin + n * _STEP
        quiet = all(one.quiet and one.quiet.until(moment) for one in persons)
        if quiet and since is None:
            since = moment
        if not quiet and since is not None:
            nights.append((since, moment))
            since = None
    if since is not None:
        nights.append((since, begin + 2 * _DAY))
    return max(nights, key=lambda one: one[1] - one[0], default=None)
