"""The file that a trail is kept in: locked, read line by line, and only ever added to."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from bot.core.chain import MAX_LINE_BYTES, Tail, check


@dataclass(frozen=True)
class Line:
    """A line of the file, read and held against those before it."""

    number: int
    """Counted from 1, as editors do."""
    tail: Tail
    record: dict[str, Any] | None
    problem: str
    end: int
    """Bytes up to here, the line break included."""
    torn: bool = False
    """The last line, without its line break: whoever wrote it was interrupted, and no hash of it was ever told."""


@contextmanager
def locked_for_adding(path: Path) -> Generator[BinaryIO]:
    """The file, made if there is none (for its owner only). Waits for whoever else is adding. Raises OSError."""
    with open(path, "r+b", opener=lambda name, flags: os.open(name, flags | os.O_CREAT, 0o600)) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


@contextmanager
def locked_for_reading(path: Path) -> Generator[BinaryIO]:
    """The file; waits until nobody adds to it. Raises OSError."""
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield file


def read_trail(file: BinaryIO) -> Iterator[Line]:
    """Every line from the beginning, however the file was tampered with; no more than one of them is in memory."""
    file.seek(0)
    tail, number, end = Tail(), 0, 0
    while line := file.readline(MAX_LINE_BYTES + 2):
        number, end = number + 1, end + len(line)
        whole = line.endswith(b"\n")
        while not whole and (rest := file.readline(MAX_LINE_BYTES)):  # far too long: not kept, only passed over
            end, whole = end + len(rest), rest.endswith(b"\n")
        checked = check(tail, line.removesuffix(b"\n"))
        tail = checked.tail
        yield Line(number, tail, checked.record, checked.problem, end, torn=not whole)
