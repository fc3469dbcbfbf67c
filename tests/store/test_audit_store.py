from __future__ import annotations

import asyncio
import json
import os
import tracemalloc
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from logs import ANA, LENA, T0, asks_approval, at, chose, decided, launched, opened, prepared, said
from support import emptied

from bot.core import events as e
from bot.core.audit_record import Fingerprints
from bot.core.chain import Tail, entry_in, linked
from bot.core.events import event_to_json
from bot.runtime.audit import TrailDamaged, export
from bot.runtime.audit_check import Verified, verify
from bot.runtime.store import Store, keys
from bot.runtime.store.audit import RedisAudit
from bot.testing import FakeClock

MARKS = Fingerprints.of(b"a key of the tests")
STORY = (
    launched(),
    said("please write"),
    chose("write", 2),
    prepared(3, asks_approval(), writes=True),
    opened(3),
    decided("deny", text="not now"),
    chose("look", 6),
    e.RunFinished(at=at(2), message="I did not."),
)
REFUSED = e.InboundRefused(
    at=at(3), channel="email", address="email:x@y.example", rule="EM18", why="forged", source="m1"
)


class Desk:
    """A store with two threads and what was turned away, and a file to export to."""

    def __init__(self, store: Store, file: Path) -> None:
        self.store = store
        self.file = file
        self.logs = RedisAudit(store.connection)

    async def export(self) -> int:
        return (await export(self.file, self.logs, MARKS)).added

    async def verify(
        self, *, head: str = "", marks: Fingerprints = MARKS, now: datetime = T0, alone: bool = False
    ) -> Verified:
        logs = None if alone else self.logs
        return await verify(self.file, head=head, logs=logs, fingerprints=marks, now=now)

    async def problems(self) -> list[str]:
        return (await self.verify()).problems

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_bytes().splitlines()]

    def rewrite(self, records: list[dict[str, Any]]) -> None:
        """As somebody would who makes every hash anew."""
        tail, lines = Tail(), list[str]()
        for record in records:
            line, tail = linked(entry_in(record), tail)
            lines.append(f"{line}\n")
        self.file.write_text("".join(lines))

    @property
    def redis(self) -> Any:  # noqa: ANN401 as the connection has it
        return self.store.connection.redis


@pytest.fixture
async def desk(redis_url: str, tmp_path: Path) -> AsyncGenerator[Desk]:
    clock = FakeClock(T0)
    store = Store(redis_url, clock)
    await store.logs.receive("t1", STORY)
    await store.logs.receive("t2", (launched(LENA), said("hello", LENA, minutes=1)))
    await store.logs.receive("refused-email-2026-03-20", (REFUSED,))
    yield Desk(store, tmp_path / "audit.jsonl")
    await store.close()


# --- export


async def test_an_export_has_every_log_and_holds(desk: Desk) -> None:
    """AP16: by time, then thread, then position; what was refused at the door too; each event at most once."""
    assert await desk.export() == 7
    assert [(one["thread"], one["seq"], one["what"]) for one in desk.records()] == [
        ("t1", 1, "launched"), ("t1", 2, "said"), ("t1", 5, "request_opened"), ("t2", 1, "launched"),
        ("t1", 6, "decided"), ("t2", 2, "said"), ("refused-email-2026-03-20", 1, "turned_away"),
    ]  # fmt: skip
    found = await desk.verify()
    assert (found.problems, found.compared, found.not_exported, found.tail.number) == ([], 7, 0, 7)
    assert desk.file.stat().st_mode & 0o777 == 0o600


async def test_a_second_export_adds_only_what_is_new(desk: Desk) -> None:
    """Run by cron, it may find nothing; what old threads did since comes at the end, and nothing is written again."""
    await desk.export()
    before = desk.file.read_bytes()
    assert await desk.export() == 0
    assert desk.file.read_bytes() == before
    await desk.store.logs.receive("t1", (said("again", minutes=0.5),))
    assert (await desk.verify()).not_exported == 1
    assert await desk.export() == 1
    assert desk.file.read_bytes().startswith(before)
    last = desk.records()[-1]
    assert (last["thread"], last["seq"], last["number"]) == ("t1", 9, 8)
    assert await desk.problems() == []


async def test_a_thread_keeps_its_order_where_clocks_disagree(desk: Desk) -> None:
    """The second worker's clock is behind: its event still comes after the one before it."""
    await desk.store.logs.receive("t3", (launched(), said("late", minutes=9), said("early", minutes=-9)))
    await desk.export()
    assert [one["seq"] for one in desk.records() if one["thread"] == "t3"] == [1, 2, 3]
    assert await desk.problems() == []


async def test_exports_at_the_same_time_write_each_record_once(desk: Desk, redis_url: str) -> None:
    """Each waits for the other, and finds its work done."""

    async def elsewhere() -> int:
        store = Store(redis_url, FakeClock(T0))
        try:
            return (await export(desk.file, RedisAudit(store.connection), MARKS)).added
        finally:
            await store.close()

    added = await asyncio.gather(*(asyncio.to_thread(asyncio.run, elsewhere()) for _ in range(4)))
    assert sorted(added) == [0, 0, 0, 7]
    assert await desk.problems() == []


async def test_an_interrupted_export_is_mended(desk: Desk) -> None:
    """Wherever the last line broke off, the next export makes it anew, and the file is what it would have been."""
    await desk.export()
    whole = desk.file.read_bytes()
    for left in (1, 40, len(whole.splitlines()[-1])):
        desk.file.write_bytes(whole[:-left])
        assert any("unfinished" in one for one in await desk.problems())
        done = await export(desk.file, desk.logs, MARKS)
        assert (done.mended, done.added) == (True, 1)
        assert desk.file.read_bytes() == whole


async def test_half_a_line_goes_though_nothing_takes_its_place(desk: Desk, redis_url: str) -> None:
    """Where the logs have lived their life, the file still ends with a whole record."""
    await desk.export()
    whole = desk.file.read_bytes()
    desk.file.write_bytes(whole[:-1])
    await emptied(redis_url)
    done = await export(desk.file, desk.logs, MARKS)
    assert (done.mended, done.added) == (True, 0)
    assert desk.file.read_bytes() == b"".join(whole.splitlines(keepends=True)[:-1])


async def test_a_thread_that_began_anew_is_no_silent_hole(desk: Desk) -> None:
    """AP16: its id comes from its place, so it comes again after its log has ended; the export says so, each time."""
    await desk.export()
    await desk.redis.delete(keys.log("t2"), keys.meta("t2"))
    await desk.store.logs.receive("t2", (launched(LENA), said("again", LENA, minutes=90)))
    for _ in range(2):
        (problem,) = (await export(desk.file, desk.logs, MARKS)).problems
        assert problem.startswith("thread t2: its log is another one than the file has")
    assert (await export(desk.file.with_name("new.jsonl"), desk.logs, MARKS)).problems == []


async def test_nothing_is_added_to_a_damaged_trail(desk: Desk) -> None:
    """It would make the damage look like a part of the chain. The file stays as it is."""
    await desk.export()
    lines = desk.file.read_bytes().splitlines(keepends=True)
    desk.file.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    before = desk.file.read_bytes()
    with pytest.raises(TrailDamaged, match="line 3: record 3 is missing before record 4"):
        await desk.export()
    assert desk.file.read_bytes() == before


async def test_a_log_that_cannot_be_read_does_not_stop_the_others(desk: Desk) -> None:
    """What comes before the broken event is exported, and the place is named."""
    await desk.redis.lset(keys.log("t1"), 1, "garbage")
    done = await export(desk.file, desk.logs, MARKS)
    assert done.added == 4
    assert done.problems == ["thread t1, event 2: what is stored is not an event"]


async def test_many_records_take_little_memory(redis_url: str, tmp_path: Path) -> None:
    """Only the list of threads grows with what is exported: records go through a file, in a check too."""
    store = Store(redis_url, FakeClock(T0))
    messages = [event_to_json(one) for one in (launched(), *(said("hello", minutes=n) for n in range(40)))]
    for n in range(100):
        thread_id = f"t{n:024x}"
        await store.connection.redis.rpush(keys.log(thread_id), *messages)
        await store.connection.redis.expire(keys.log(thread_id), 600)
        await store.connection.redis.zadd(keys.threads(keys.shard_of(thread_id)), {thread_id: 1.0})
    desk = Desk(store, tmp_path / "audit.jsonl")
    await desk.export()  # imports and caches are in memory from here on
    desk.file.unlink()
    tracemalloc.start()
    try:
        assert await desk.export() == 4100
        assert await desk.problems() == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    await store.close()
    assert desk.file.stat().st_size > 1_500_000
    assert peak < 1_000_000


# --- what is wrong in the file


@pytest.mark.parametrize("fate", ["change", "drop", "swap", "repeat", "insert", "garbage"])
async def test_tampering_with_the_file_is_found_without_redis(desk: Desk, fate: str) -> None:
    """The line is named; nothing but the file is needed."""
    await desk.export()
    lines = desk.file.read_bytes().splitlines(keepends=True)
    made_up = f"{linked(entry_in(json.loads(lines[0])), Tail(2, json.loads(lines[1])['hash']))[0]}\n".encode()
    tampered, line = {
        "change": ([*lines[:2], lines[2].replace(b'"approver"', b'"engineer"'), *lines[3:]], 3),
        "drop": ([*lines[:2], *lines[3:]], 3),
        "swap": ([*lines[:2], lines[3], lines[2], *lines[4:]], 3),
        "repeat": ([*lines[:3], lines[1], *lines[3:]], 4),
        "insert": ([*lines[:2], made_up, *lines[2:]], 3),
        "garbage": ([*lines[:2], b"\xff\n", *lines[2:]], 3),
    }[fate]
    desk.file.write_bytes(b"".join(tampered))
    found = await desk.verify(alone=True)
    assert found.problems[0].startswith(f"line {line}: "), found.problems


async def test_a_cut_end_is_found_by_the_last_known_hash(desk: Desk) -> None:
    """A file may have grown since that hash was told, but it must have it."""
    await desk.export()
    assert (await desk.verify(head="0" * 64, alone=True)).problems == []  # told of an empty trail
    head = desk.records()[-1]["hash"]
    assert (await desk.verify(head=head, alone=True)).problems == []
    await desk.store.logs.receive("t2", (said("more", LENA),))
    await desk.export()
    assert (await desk.verify(head=head, alone=True)).problems == []
    lines = desk.file.read_bytes().splitlines(keepends=True)
    desk.file.write_bytes(b"".join(lines[:-2]))
    assert (await desk.verify(alone=True)).problems == []
    (problem,) = (await desk.verify(head=head, alone=True)).problems
    assert problem.startswith(f"end: no record has the hash {head}")


async def test_a_file_that_was_rewritten_with_all_its_hashes_is_found_by_redis(desk: Desk) -> None:
    """What the chain cannot tell: another decider, and a record left out. The logs still know."""
    await desk.export()
    records = desk.records()
    records[4]["who"]["id"] = "omar"
    desk.rewrite([one for one in records if one["what"] != "said"])
    assert (await desk.verify(alone=True)).problems == []
    found = await desk.problems()
    assert any(one.startswith("line 4: thread t1, event 6: Redis says otherwise of: who") for one in found), found
    assert "thread t1, event 2: the file has no good record of it" in found


async def test_a_second_record_of_one_event_is_found(desk: Desk) -> None:
    """Even where the chain was made to fit."""
    await desk.export()
    records = desk.records()
    desk.rewrite([*records, records[4]])
    (problem,) = (await desk.verify(alone=True)).problems
    assert problem == "line 8: event 6 of thread t1 has a record in an earlier line"


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\n\n\n", b"x" * 3_000_000, b"x" * 3_000_000 + b"\n", os.urandom(5000)]
)
async def test_a_file_of_anything_is_read_to_its_end(desk: Desk, content: bytes) -> None:
    """An empty one is an empty trail; anything else has findings, and never an error."""
    desk.file.write_bytes(content)
    assert bool((await desk.verify(alone=True)).problems) == bool(content)


# --- what is wrong in Redis


async def test_a_changed_event_is_found(desk: Desk) -> None:
    """Somebody made it look as if Ana had decided."""
    await desk.export()
    forged = event_to_json(decided("deny", ANA, text="not now"))
    await desk.redis.lset(keys.log("t1"), 5, forged)
    (problem,) = await desk.problems()
    assert problem.startswith("line 5: thread t1, event 6: Redis says otherwise of: ")
    assert "who" in problem


@pytest.mark.parametrize(
    ("seq", "forged", "place"),
    [
        (2, said("pleaSe write"), "line 2: thread t1, event 2: the log in Redis is not the one that was exported"),
        (3, chose("write", 2, sudo=True), "line 3: thread t1, event 5: the log in Redis is not the one"),
    ],
)
async def test_a_change_that_no_record_holds_is_found_by_the_fingerprint(
    desk: Desk, seq: int, forged: e.Event, place: str
) -> None:
    """A text of the same length, or an event that has no record: the records after it do not fit the log any more."""
    await desk.export()
    await desk.redis.lset(keys.log("t1"), seq - 1, event_to_json(forged))
    (problem,) = await desk.problems()
    assert problem.startswith(place), problem
    found = await desk.verify(marks=Fingerprints.of(b"the next SECRET_KEY"))
    assert (found.problems, found.other_key) == ([], 7)


async def test_deleted_events_are_found(desk: Desk) -> None:
    """In the middle, what follows has moved; at the end, it is gone; all of them, and the thread is."""
    await desk.export()
    whole = await desk.logs.lines("t1")
    await desk.redis.lrem(keys.log("t1"), 1, whole[3])
    assert any(one.startswith("line 3: thread t1, event 5: ") for one in await desk.problems())
    await desk.redis.ltrim(keys.log("t2"), 0, 0)
    assert "line 6: thread t2, event 2: Redis no longer has this event" in await desk.problems()
    await desk.redis.delete(keys.log("t2"))
    assert any(one.startswith("thread t2: gone from Redis, although") for one in await desk.problems())


async def test_an_inserted_event_is_found(desk: Desk) -> None:
    """An approval that was put in afterwards, before what had been exported."""
    await desk.export()
    whole = await desk.logs.lines("t1")
    await desk.redis.linsert(keys.log("t1"), "BEFORE", whole[5], event_to_json(decided("approve")))
    assert any(one.startswith("line 5: thread t1, event 6: ") for one in await desk.problems())


async def test_an_event_that_is_none_any_more_is_found(desk: Desk) -> None:
    """What comes before it is still compared."""
    await desk.export()
    await desk.redis.lset(keys.log("t1"), 5, "garbage")
    assert await desk.problems() == ["thread t1, event 6: what is stored is not an event"]


async def test_what_redis_forgot_in_due_time_is_no_finding(desk: Desk) -> None:
    """90 days after its last event a log is gone; the file is what is left of it."""
    await desk.export()
    await desk.redis.delete(keys.log("t1"), keys.log("t2"), keys.log("refused-email-2026-03-20"))
    found = await desk.verify(now=T0 + timedelta(days=90))
    assert (found.problems, found.forgotten) == ([], 7)
    assert len((await desk.verify(now=T0 + timedelta(days=60))).problems) == 3


async def test_a_started_call_that_has_gone_on_since_still_fits(desk: Desk) -> None:
    """A log that has grown is not a log that was changed."""
    await desk.store.logs.receive("t4", (launched(), said(), chose("look", 2), prepared(3)))
    await desk.export()
    await desk.store.logs.receive("t4", (e.ToolStarted(at=at(5), call_id="t4:3:0", place="p"),))
    found = await desk.verify()
    assert (found.problems, found.not_exported) == ([], 1)


# --- what the store reads


async def test_the_walk_finds_every_thread_and_knows_when_it_was_touched(redis_url: str) -> None:
    """More than one page of a shard; those of before a time are passed over."""
    clock = FakeClock(T0)
    store = Store(redis_url, clock)
    logs = RedisAudit(store.connection)
    for n in range(1200):
        thread_id = f"t{n:024x}"
        score = 1000.0 * n
        await store.connection.redis.zadd(keys.threads(keys.shard_of(thread_id)), {thread_id: score})
    assert len({one async for one in logs.threads()}) == 1200
    since = datetime.fromtimestamp(1000, UTC)
    assert {one async for one in logs.threads(since=since)} == {f"t{n:024x}" for n in range(1000, 1200)}
    assert await logs.lines("nothing") == []
    await store.close()
