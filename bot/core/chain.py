"""A trail of records in which each carries the hash of the one before it. Pure: lines in, findings out.

Plain SHA-256, so that anybody can check a trail with nothing but the file. Whoever can rewrite all of a file can make a
chain that fits: what shows that is the hash of its last record, kept in another place.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

MAX_LINE_BYTES = 1024 * 1024
_PLACE = ("number", "previous", "hash")
_TOO_HIGH = 2**53
_THREAD = re.compile(r"[!-~]{1,200}")


@dataclass(frozen=True)
class Tail:
    """Where a trail stands."""

    number: int = 0
    hash: str = "0" * 64
    lost: int = 0
    """Lines since then that could not be believed: what follows them need not continue the record before them."""


@dataclass(frozen=True)
class Checked:
    """What one line turned out to be."""

    tail: Tail
    record: dict[str, Any] | None = None
    """None: it is none that can be believed."""
    problem: str = ""


def linked(entry: Mapping[str, Any], tail: Tail) -> tuple[str, Tail]:
    """The entry as the next line of a trail (without the line break), and where the trail stands then."""
    record = {**entry, "number": tail.number + 1, "previous": tail.hash}
    own = _hash(record)
    return _canonical({**record, "hash": own}), Tail(tail.number + 1, own)


def check(tail: Tail, line: bytes) -> Checked:
    """Hold the next line (without its line break) against where the trail stands. Never raises."""
    parsed = _parsed(line)
    if parsed is None:
        return Checked(_past(tail), problem="this is not a record")
    record, fits = parsed
    stated, number = record["hash"], record["number"]
    if not fits:
        return Checked(_past(tail), problem=f"record {number} was changed: its hash does not fit what it says")
    here, expected = Tail(number, stated), tail.number + 1
    if tail.lost and expected <= number <= expected + tail.lost:
        return Checked(here, record)  # what is wrong was said of the lines before
    if number > expected:
        gone = f"record {expected} is" if number == expected + 1 else f"records {expected} to {number - 1} are"
        return Checked(here, record, f"{gone} missing before record {number}")
    if number < expected:
        problem = f"record {number} stands where record {expected} belongs: repeated, inserted or out of order"
        return Checked(tail, record, problem)
    if record["previous"] != tail.hash:
        return Checked(here, record, f"record {number} does not continue the one before it: one of them was replaced")
    return Checked(here, record)


def entry_in(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says, without its place in the trail."""
    return {key: value for key, value in record.items() if key not in _PLACE}


def _past(tail: Tail) -> Tail:
    return Tail(tail.number, tail.hash, tail.lost + 1)


def _parsed(line: bytes) -> tuple[dict[str, Any], bool] | None:
    """The record in a line, and whether its hash fits it."""
    if len(line) > MAX_LINE_BYTES or not line.isascii():
        return None
    try:
        found: object = json.loads(line)
        if not isinstance(found, dict):
            return None
        record = cast("dict[str, Any]", found)
        own = _hash({key: value for key, value in record.items() if key != "hash"})
        fits = own == record.get("hash") and _canonical(record).encode() == line
    except (ValueError, RecursionError):
        return None
    numbers = all(type(record.get(key)) is int and 0 < record[key] < _TOO_HIGH for key in ("number", "seq"))
    texts = all(isinstance(record.get(key), str) for key in ("previous", "hash", "thread", "at", "what"))
    return (record, fits) if numbers and texts and _THREAD.fullmatch(record["thread"]) else None


def _hash(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(record).encode()).hexdigest()


def _canonical(record: Mapping[str, Any]) -> str:
    """Sorted keys, no blanks, ASCII only: one record has one line, and no character in it can upset a terminal."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
