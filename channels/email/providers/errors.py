"""Why a provider's request is not taken. None of the texts holds anything that was sent. Pure."""

from __future__ import annotations

MAX_AGE_SECONDS = 300
"""Of a signed timestamp, in either direction."""


class Refused(Exception):  # noqa: N818 an answer: 401
    """Nothing proves that the provider sent this (EM2). The text says what is wrong."""


class Malformed(Exception):  # noqa: N818 an answer: 400
    """The provider's format is something else."""


class Incomplete(Exception):  # noqa: N818 an answer: 422
    """The raw mail is not in it. The text says which box to tick at the provider."""


def check_age(timestamp: str, now: float) -> None:
    """Refuse a timestamp (whole Unix seconds) that is missing, no number, or not of these minutes. Raises Refused."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):  # noqa: PLR2004 digits of a date
        raise Refused("the timestamp is missing or not a number")
    if abs(now - int(timestamp)) > MAX_AGE_SECONDS:
        raise Refused("the timestamp is more than five minutes away")
