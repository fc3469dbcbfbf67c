"""What a check still finds of a file that somebody wrote anew, every hash included, by holding it against Redis."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from logs import LENA, REQUEST_ID, T0, asks_approval, at, chose, decided, launched, opened, prepared, said

from bot.core import events as e
from bot.core.audit import FORMAT
from bot.core.audit_record import Fingerprints
from bot.core.chain import Tail, entry_in, linked
from bot.runtime.audit import export
from bot.runtime.audit_check import EXPORT_MARGIN, Verified, verify
from bot.runtime.store import Store, keys
from bot.runtime.store.audit import RedisAudit
from bot.testing import FakeClock

MARKS = Fingerprints.of(b"a key of the tests")
NEXT = Fingerprints.of(b"the next SECRET_KEY")
DAY = 24 * 60
Record = dict[str, Any]


class Trail:
    """Logs in Redis, and a file that is exported from them."""

    def __init__(self, store: Store, file: Path) -> None:
        self.store = store
        self.file = file
        self.logs = RedisAudit(store.connection)

    async def add(self, thread: str, *events: e.Event) -> None:
        await self.store.logs.receive(thread, events)

    async def export(self, marks: Fingerprints = MARKS) -> list[Record]:
        """The records of the file, after an export."""
        await export(self.file, self.logs, marks)
        return [json.loads(line) for line in self.file.read_bytes().splitlines()]

    def rewrite(self, records: list[Record]) -> None:
        """As somebody would who makes every hash anew."""
        tail, lines = Tail(), list[str]()
        for record in records:
            line, tail = linked(entry_in(record), tail)
            lines.append(f"{line}\n")
        self.file.write_text("".join(lines))

    async def verify(self, *, days: float = 3, marks: Fingerprints = MARKS, alone: bool = False) -> Verified:
        now = T0 + timedelta(days=days)
        return await verify(self.file, head="", logs=None if alone else self.logs, fingerprints=marks, now=now)


@pytest.fixture
async def trail(redis_url: str, tmp_path: Path) -> AsyncGenerator[Trail]:
    """A decision on the first day, a talk on the second."""
    store = Store(redis_url, FakeClock(T0))
    found = Trail(store, tmp_path / "audit.jsonl")
    story = (chose("write", 2), prepared(3, asks_approval(), writes=True), opened(3), decided("deny", text="not now"))
    await found.add("t1", launched(), said("please write"), *story)
    await found.add("t2", launched(LENA), said("hello", LENA, minutes=DAY))
    yield found
    await store.close()


def another_decider(record: Record) -> None:
    if record["what"] == "decided":
        record["who"] = {"id": "omar", "kind": "person", "name": "Omar Haddad"}


def foreign(record: Record) -> None:
    record["fingerprint"] = f"00000000:{'0' * 64}"


def format_of(value: object) -> Callable[[Record], None]:
    def change(record: Record) -> None:
        record["format"] = value

    return change


def no_format(record: Record) -> None:
    del record["format"]


# --- what records say


@pytest.mark.parametrize("own_key", [True, False], ids=["own key", "foreign key"])
@pytest.mark.parametrize(
    "change",
    [format_of(FORMAT), format_of(FORMAT + 1), format_of(FORMAT - 1), format_of(-1), format_of("1"), no_format],
    ids=["same", "newer", "older", "negative", "text", "none"],
)
async def test_another_decider_is_found_whatever_format_and_key_a_record_claims(
    trail: Trail, change: Callable[[Record], None], *, own_key: bool
) -> None:
    """AP16: what a record says is held against Redis, and nothing that is written in it turns that off."""
    records = await trail.export()
    for record in records:
        another_decider(record)
        change(record)
        if not own_key:
            foreign(record)
    trail.rewrite(records)
    found = await trail.verify()
    assert any("thread t1, event 6: Redis says otherwise of: who" in one for one in found.problems), found.problems


@pytest.mark.parametrize("alone", [True, False], ids=["file alone", "against Redis"])
async def test_a_format_that_is_not_known_is_a_finding_by_itself(trail: Trail, *, alone: bool) -> None:
    """Nobody could say what was compared: told once, with its first line, also where Redis is not asked."""
    records = await trail.export()
    for record in records[2:]:
        record["format"] = FORMAT + 1
        foreign(record)
    trail.rewrite(records)
    (problem,) = (await trail.verify(alone=alone)).problems
    assert problem == "line 3: this record is of a format that this version does not know, and so are 3 later ones"


async def test_a_new_secret_key_is_no_finding(trail: Trail) -> None:
    """After SECRET_KEY was changed, what the records say is still compared, and how many these are is told."""
    await trail.export()
    assert ((await trail.verify(marks=NEXT)).problems, (await trail.verify(marks=NEXT)).other_key) == ([], 6)
    await trail.add("t2", said("more", LENA, minutes=2 * DAY))
    records = await trail.export(NEXT)
    found = await trail.verify(marks=NEXT)
    assert (found.problems, found.compared, found.other_key, found.not_exported) == ([], 7, 6, 0)
    for record in records:
        another_decider(record)
    trail.rewrite(records)
    assert len((await trail.verify(marks=NEXT)).problems) == 1


# --- what the file lacks


async def test_a_thread_that_was_taken_out_is_missing(trail: Trail) -> None:
    """AP16: the file goes on a day after it, so the export that wrote that had it to write."""
    records = await trail.export()
    trail.rewrite([one for one in records if one["thread"] != "t1"])
    assert (await trail.verify(alone=True)).problems == []
    found = await trail.verify()
    assert found.problems == ["thread t1: the file has nothing of it, and goes on long after 4 events of it"]
    assert found.not_exported == 0
    await trail.export()
    assert (await trail.verify()).problems == []  # the next export puts it back


async def test_the_end_of_a_thread_that_was_taken_out_is_missing(trail: Trail) -> None:
    """AP16: not the whole thread, only what was decided in it."""
    records = await trail.export()
    trail.rewrite([one for one in records if one["what"] != "decided"])
    assert (await trail.verify(alone=True)).problems == []
    (problem,) = (await trail.verify()).problems
    assert problem.startswith("thread t1, event 6: the file has no record of it"), problem


@pytest.mark.parametrize("foreign_key", [False, True])
async def test_a_thread_under_another_name_is_missing(trail: Trail, *, foreign_key: bool) -> None:
    """Its records, given to a thread that Redis does not have and made old, say nothing of it."""
    records = await trail.export()
    for record in records:
        if record["thread"] == "t1":
            record["thread"], record["at"] = "t0", "2025-03-20T09:00:00Z"
        if foreign_key:
            foreign(record)
    trail.rewrite(records)
    found = await trail.verify()
    assert found.forgotten == 4
    assert [one.partition(":")[0] for one in found.problems] == ["thread t1"]


async def test_an_end_that_was_cut_off_may_be_an_export_that_is_behind(trail: Trail) -> None:
    """Without the hash of the last record nobody can tell these apart: it is counted, and no finding."""
    records = await trail.export()
    trail.rewrite(records[:3])
    found = await trail.verify()
    assert (found.problems, found.not_exported) == ([], 3)
    trail.rewrite([])
    found = await trail.verify()
    assert (found.problems, found.not_exported) == ([], 6)


# --- no false alarms


async def test_an_export_that_is_behind_is_no_finding(trail: Trail) -> None:
    """However long ago it was: threads and events since then are only counted."""
    await trail.export()
    await trail.add("t1", said("again", minutes=3 * DAY))
    await trail.add("t3", said("new", minutes=2 * DAY), said("more", minutes=30 * DAY))
    found = await trail.verify(days=60)
    assert (found.problems, found.not_exported) == ([], 3)


@pytest.mark.parametrize(
    ("before", "problems"),
    [(timedelta(0), 0), (EXPORT_MARGIN, 0), (EXPORT_MARGIN + timedelta(seconds=1), 1)],
)
async def test_what_began_while_an_export_ran_is_no_finding(trail: Trail, before: timedelta, problems: int) -> None:
    """An export reads one log after the other, and clocks differ a little: there is a margin of an hour."""
    await trail.export()
    minutes = DAY - before / timedelta(minutes=1)
    await trail.add("t3", said("new", minutes=minutes))
    found = await trail.verify()
    assert (len(found.problems), found.not_exported) == (problems, 1 - problems)


async def test_a_timer_that_fired_late_is_no_finding(trail: Trail) -> None:
    """No worker ran for a day: what it writes down then has the time at which it was due."""
    await trail.add("t3", launched(), said("write"), chose("write", 2), prepared(3, asks_approval()), opened(3))
    await trail.export()
    await trail.add("t3", e.RequestReminded(at=at(30), request_id=REQUEST_ID, share=0.5))
    await trail.add("t3", e.RequestExpired(at=at(60), request_id=REQUEST_ID))
    found = await trail.verify()
    assert (found.problems, found.not_exported) == ([], 2)
    await trail.add("t3", said("what now?", minutes=2 * DAY))
    found = await trail.verify()
    assert (found.problems, found.not_exported) == ([], 3)


async def test_a_clock_that_is_ahead_makes_no_findings_of_what_is_new(trail: Trail) -> None:
    """A record of the far future says nothing of what happened since: the check's own time bounds it."""
    await trail.add("t2", said("from the future", LENA, minutes=400 * DAY))
    await trail.export()
    await trail.add("t3", said("new", minutes=3 * DAY - 30))
    found = await trail.verify(days=3)
    assert (found.problems, found.not_exported) == ([], 1)


@pytest.mark.parametrize("time", ["", "soon", "2026-03-20", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
async def test_a_forged_time_upsets_nothing(trail: Trail, time: str) -> None:
    """Whatever it is, the record differs from what Redis says, and that is the finding."""
    records = await trail.export()
    records[-1]["at"] = time
    trail.rewrite(records)
    found = await trail.verify()
    assert any("Redis says otherwise of: at" in one for one in found.problems), found.problems


async def test_a_log_that_could_not_be_read_is_named_once(trail: Trail) -> None:
    """Only as much of it as an export could read is expected in the file."""
    await trail.store.connection.redis.lset(keys.log("t1"), 1, "garbage")
    await trail.export()
    found = await trail.verify()
    assert found.problems == ["thread t1, event 2: what is stored is not an event"]
