"""Whether an exported trail holds: its chain, and what it says against the logs that Redis still has."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.core.audit import FORMAT, Found, Unreadable, entries_of
from bot.core.audit_record import Fingerprints
from bot.core.chain import Tail, entry_in
from bot.core.values import ThreadId
from bot.core.wording import plural
from bot.runtime.audit import Logs, found_in
from bot.runtime.audit_file import Line, locked_for_reading, read_trail
from bot.runtime.audit_spool import Spool, spool

LOG_LIFE = timedelta(days=90)
_MARGIN = timedelta(days=1)
"""Clocks differ, so a log may be gone a little early."""
EXPORT_MARGIN = timedelta(hours=1)
"""An export takes a while, and clocks differ: what is older than the file's newest record by more was there for it."""
_BELATED = frozenset({"expired", "reminded", "withdrawn"})
"""Told by timers: such an event has the time when it was due, however late a worker wrote it down."""
_NEVER = datetime.min.replace(tzinfo=UTC)

Row = tuple[int, int, str]
"""Seq, line of the file, record as JSON."""


@dataclass
class Verified:
    """What a check found."""

    problems: list[str] = field(default_factory=list[str])
    """Each begins with its place: a line of the file, its end, or a thread."""
    tail: Tail = field(default_factory=Tail)
    records: int = 0
    """In the file, as far as they can be believed."""
    compared: int = 0
    """Records that were held against their logs."""
    forgotten: int = 0
    """Records whose logs Redis no longer has, as is due after 90 days."""
    other_key: int = 0
    """Records that were fingerprinted with another key: of them, only what they say was compared."""
    not_exported: int = 0
    """Records that are not in the file, and may be too new for it."""


async def verify(path: Path, *, head: str, logs: Logs | None, fingerprints: Fingerprints, now: datetime) -> Verified:
    """Check the chain of a file and, with `logs`, whether it says what they say. Raises OSError, StoreUnavailable.

    `head`: the hash that the last export told; empty where it is not known.
    """
    done = Verified()
    with spool() as kept:
        with locked_for_reading(path) as file:
            read = _read(read_trail(file), kept, done, head)
        if head and not read.has_head:
            done.problems.append(f"end: no record has the hash {head}: the end is missing, or the trail was rewritten")
        if logs:
            redis = _Redis(logs, fingerprints, now, min(read.newest, now))
            for thread_id in kept.threads():
                await redis.compare(thread_id, kept.of(thread_id), done)
            await redis.look_for_more(kept, done)
    return done


@dataclass
class _Read:
    """What the lines of the file were together."""

    has_head: bool
    newest: datetime = _NEVER
    """The newest time in it: the record that has it was exported then or later."""
    strange: list[int] = field(default_factory=list[int])
    """Lines of records that are of no format known here."""


def _read(lines: Iterator[Line], kept: Spool, done: Verified, head: str) -> _Read:
    """Every record that can be believed, into the spool."""
    read = _Read(has_head=head == Tail().hash)  # told when there was nothing yet: every trail goes on from there
    for line in lines:
        if line.torn:
            done.problems.append(
                f"line {line.number}: unfinished: an export was interrupted; the next one makes it anew"
            )
            break
        done.tail = line.tail
        if line.problem:
            done.problems.append(f"line {line.number}: {line.problem}")
        record = line.record
        if record is None:
            continue
        done.records += 1
        read.has_head = read.has_head or record["hash"] == head
        read.newest = max(read.newest, _time(record["at"]) or read.newest)
        if record.get("format") != FORMAT:
            read.strange.append(line.number)
        fresh = kept.add(record["thread"], record["seq"], json.dumps(entry_in(record)), line=line.number)
        if not fresh and not line.problem:
            event = f"event {record['seq']} of thread {record['thread']}"
            done.problems.append(f"line {line.number}: {event} has a record in an earlier line")
    if read.strange:
        more = f", and so are {len(read.strange) - 1} later ones" if read.strange[1:] else ""
        done.problems.append(
            f"line {read.strange[0]}: this record is of a format that this version does not know{more}"
        )
    return read


@dataclass(frozen=True)
class _Redis:
    """What the logs are read with."""

    logs: Logs
    fingerprints: Fingerprints
    now: datetime
    newest: datetime
    """Of the records in the file."""

    def was_there(self, found: Found) -> bool:
        """Whether an export that wrote the newest record of the file must have seen this one."""
        return found.entry.get("what") not in _BELATED and self.newest - found.after > EXPORT_MARGIN

    async def look_for_more(self, kept: Spool, done: Verified) -> None:
        """What the file lacks of threads that are not in it at all."""
        missing = Counter[ThreadId]()
        async for thread_id, found in found_in(self.logs, self.fingerprints, done.problems, but=kept.has):
            if self.was_there(found):
                missing[thread_id] += 1
            else:
                done.not_exported += 1
        done.problems += [
            f"thread {thread_id}: the file has nothing of it, and goes on long after {plural(count, 'event')} of it"
            for thread_id, count in missing.items()
        ]

    async def compare(self, thread_id: ThreadId, rows: Sequence[Row], done: Verified) -> None:
        """Hold the records of one thread against its log."""
        stored = await self.logs.lines(thread_id)
        if not stored:
            newest = max(json.loads(text)["at"] for _, _, text in rows)
            if _is_young(newest, self.now):
                done.problems.append(f"thread {thread_id}: gone from Redis, although its last record is of {newest}")
            else:
                done.forgotten += len(rows)
            return
        derived = dict[int, Found]()
        try:
            for found in entries_of(thread_id, stored, self.fingerprints):
                derived[found.seq] = found
        except Unreadable as problem:
            done.problems.append(str(problem))
            stored, rows = stored[: problem.seq - 1], [row for row in rows if row[0] < problem.seq]
        last = rows[-1][0] if rows else 0
        known = {seq for seq, _, _ in rows}
        absent = sorted(seq for seq in derived if seq < last and seq not in known)
        done.problems += [f"thread {thread_id}, event {seq}: the file has no good record of it" for seq in absent]
        later = [found for seq, found in derived.items() if seq > last]
        missing = [found.seq for found in later if self.was_there(found)]
        done.not_exported += len(later) - len(missing)
        if missing:
            count = plural(len(missing), "event")
            done.problems.append(
                f"thread {thread_id}, event {missing[0]}: the file has no record of it, and goes on long after"
                f" {count} of this thread that it lacks"
            )
        done.compared += len(rows)
        done.other_key += sum(_key_of(json.loads(text)) != self.fingerprints.key_id for _, _, text in rows)
        entries = {seq: found.entry for seq, found in derived.items()}
        differing = list(_differences(rows, entries, len(stored), self.fingerprints.key_id))
        if differing:
            seq, line, problem = differing[0]
            more = f" (and so it is with {len(differing) - 1} later records of this thread)" if differing[1:] else ""
            done.problems.append(f"line {line}: thread {thread_id}, event {seq}: {problem}{more}")


def _differences(
    rows: Sequence[Row], derived: Mapping[int, Mapping[str, Any]], length: int, key_id: str
) -> Iterator[tuple[int, int, str]]:
    """Seq, line and what is wrong, for each record that its log does not bear out."""
    agreed = 0
    for seq, line, text in rows:
        recorded, mine = json.loads(text), derived.get(seq)
        if mine is None:
            gone = "Redis no longer has this event" if seq > length else "in Redis, this event is nothing to record"
            yield seq, line, gone
            continue
        fields = {key for key in {*recorded, *mine} if recorded.get(key) != mine.get(key)} - {"fingerprint", "format"}
        if fields:
            yield seq, line, f"Redis says otherwise of: {', '.join(sorted(fields))}"
        elif _key_of(recorded) == key_id and recorded.get("fingerprint") != mine["fingerprint"]:
            since = f"after event {agreed}" if agreed else "from its beginning on"
            yield (
                seq,
                line,
                f"the log in Redis is not the one that was exported: it was changed {since}, up to this one",
            )
        else:
            agreed = seq


def _key_of(record: Mapping[str, Any]) -> str:
    return str(record.get("fingerprint", "")).partition(":")[0]


def _is_young(at: str, now: datetime) -> bool:
    when = _time(at)
    return when is None or now - when < LOG_LIFE - _MARGIN


def _time(at: str) -> datetime | None:
    """A record's time; None for what a forged one may give as such."""
    try:
        when = datetime.fromisoformat(at)
        return when.astimezone(UTC) if when.tzinfo else None
    except (ValueError, OverflowError):
        return None
