"""Why a provider's request is not taken. None of the texts holds anything that was sent. Pure."""

from __future__ import annotations

MAX_AHEAD_SECONDS = 300
"""How far a signed timestamp may lie in the future: clocks differ."""


class Refused(Exception):  # noqa: N818 an answer: 401
    """Nothing proves that the provider sent this (EM2). The text says what is wrong."""


class Malformed(Exception):  # noqa: N818 an answer: 400
    """The provider's format is something else."""


class Incomplete(Exception):  # noqa: N818 an answer: 422
    """The raw mail is not in it. The text says which box to tick at the provider."""


def check_age(timestamp: str, now: float, max_age_seconds: int) -> None:
    """Refuse a timestamp (whole Unix seconds) that is missing, no number, too old, or ahead. Raises Refused.

    The age is to be longer than the provider goes on trying: a retry may carry the timestamp of the first try (EM1).
    """
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):  # noqa: PLR2004 digits of a date
        raise Refused("the timestamp is missing or not a number")
    age = now - int(timestamp)
    if age > max_age_seconds:
        raise Refused("the timestamp is too old")
    if age < -MAX_AHEAD_SECONDS:
        raise Refused("the timestamp is more than five minutes ahead")
