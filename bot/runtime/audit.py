"""The audit trail as a file: made from the logs, and only ever added to.

The logs stay the only truth. An export adds what the file does not have yet; nothing in the hot path knows of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from bot.core.audit import Found, Unreadable, entries_of
from bot.core.audit_record import Fingerprints
from bot.core.chain import Tail, linked
from bot.core.values import ThreadId
from bot.runtime.audit_file import locked_for_adding, read_trail
from bot.runtime.audit_spool import spool


class Logs(Protocol):
    """Where the logs are."""

    def threads(self, *, since: datetime | None = None) -> AsyncGenerator[ThreadId]:
        """Every thread, in no order; one may come twice."""
        ...

    async def lines(self, thread_id: ThreadId) -> list[bytes]:
        """Its events as they are stored; empty where there are none."""
        ...


@dataclass
class Exported:
    """What an export did."""

    added: int = 0
    tail: Tail = field(default_factory=Tail)
    mended: bool = False
    """The last line was unfinished, and was made again."""
    problems: list[str] = field(default_factory=list[str])
    """Logs that could not be read to their end."""


class Last(NamedTuple):
    """The last record that a file has of a thread."""

    seq: int
    at: str


class TrailDamaged(Exception):  # noqa: N818 a state of the file
    """Nothing is added to a trail that does not hold. The text says where it breaks."""


async def export(path: Path, logs: Logs, fingerprints: Fingerprints) -> Exported:
    """Add to the file what it does not have yet. Raises TrailDamaged, OSError, StoreUnavailable."""
    with locked_for_adding(path) as file:
        exported, known, end = Exported(), dict[ThreadId, Last](), 0
        for line in read_trail(file):
            if line.torn:
                exported.mended = True
                break
            if line.problem or line.record is None:
                raise TrailDamaged(f"line {line.number}: {line.problem}")
            last = Last(line.record["seq"], line.record["at"])
            known[line.record["thread"]] = max(last, known.get(line.record["thread"], last))
            exported.tail, end = line.tail, line.end
        file.seek(end)
        file.truncate()
        await _add(file, logs, fingerprints, known, exported)
        file.flush()
        os.fsync(file.fileno())
        return exported


async def export_to(out: BinaryIO, logs: Logs, fingerprints: Fingerprints) -> Exported:
    """Write everything that the logs have, as a trail of its own. Raises OSError, StoreUnavailable."""
    exported = Exported()
    await _add(out, logs, fingerprints, {}, exported)
    out.flush()
    return exported


async def _add(
    out: BinaryIO, logs: Logs, fingerprints: Fingerprints, known: Mapping[ThreadId, Last], exported: Exported
) -> None:
    with spool() as new:
        walked, the_same = set[ThreadId](), set[ThreadId]()
        async for thread_id, found in found_in(logs, fingerprints, exported.problems):
            walked.add(thread_id)
            last = known.get(thread_id)
            if last == Last(found.seq, found.entry.get("at", "")):
                the_same.add(thread_id)
            if last is None or found.seq > last.seq:
                new.add(thread_id, found.seq, json.dumps(found.entry), after=found.after)
        for thread_id in sorted((walked & known.keys()) - the_same):
            exported.problems.append(
                f"thread {thread_id}: its log is another one than the file has; it ended and began anew, or lost its "
                "end. What the file has of it stays; export to a new file, which has what Redis says"
            )
        for text in new.by_time():
            line, exported.tail = linked(json.loads(text), exported.tail)
            out.write(f"{line}\n".encode("ascii"))
            exported.added += 1


async def found_in(
    logs: Logs,
    fingerprints: Fingerprints,
    problems: list[str],
    *,
    since: datetime | None = None,
    but: Callable[[ThreadId], bool] = lambda _: False,
) -> AsyncIterator[tuple[ThreadId, Found]]:
    """The records of all logs, one log after the other. Where one cannot be read, that goes to `problems`.

    `since`: only of threads touched then or later. `but`: threads that are left out.
    """
    walked = set[ThreadId]()
    async with aclosing(logs.threads(since=since)) as threads:
        async for thread_id in threads:
            if thread_id in walked or but(thread_id):
                continue
            walked.add(thread_id)
            try:
                for found in entries_of(thread_id, await logs.lines(thread_id), fingerprints):
                    yield thread_id, found
            except Unreadable as problem:
                problems.append(str(problem))
