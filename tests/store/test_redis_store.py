"""What only Redis can show: leases, wake-ups, timers, outages, the cluster, and what a step costs."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from logs import T0, at, launched, said
from support import FAST, Bench, bench

from bot.core.events import ModelFailed, ToolFinished, WaitStarted
from bot.core.protocols import Lease, LeaseLost, StoreUnavailable
from bot.runtime.private_server import server_binary
from bot.runtime.store import SHARDS, Store, Wakeup, keys
from bot.testing import FakeClock, wait_until


@pytest.fixture
async def store(redis_url: str) -> AsyncGenerator[Store]:
    """A store with its consumer groups."""
    found = Store(redis_url, FakeClock())
    await found.wakeups.prepare_shards()
    yield found
    await found.close()


async def wakeups(store: Store, consumer: str = "w1") -> list[Wakeup]:
    """What waits for a worker now."""
    return [
        one
        for shard in range(SHARDS)
        for one in await store.wakeups.next_wakeups(shard, consumer, count=10, block_ms=1)
    ]


async def claimed(store: Store, consumer: str = "w1", lease_ms: int = 60_000) -> Lease:
    """The lease of the only thread that waits."""
    (wakeup,) = await wakeups(store, consumer)
    lease = await store.wakeups.claim(wakeup, lease_ms=lease_ms)
    assert lease
    return lease


async def test_many_messages_queue_one_wake_up(store: Store) -> None:
    """A thread is looked at once for all that arrived; after the claim, what arrives queues the next."""
    for n in range(5):
        await store.logs.receive("t1", (said(str(n)),))
    lease = await claimed(store)
    assert await wakeups(store) == []
    await store.logs.receive("t1", (said("more"),))
    assert len(await wakeups(store)) == 1
    assert lease.fence == 1


async def test_a_live_lease_is_refused_and_its_holder_looks_again(store: Store) -> None:
    """A wake-up that comes while a thread is driven is not lost: the holder queues it when it lets go."""
    await store.logs.receive("t1", (launched(),))
    lease = await claimed(store)
    await store.logs.receive("t1", (said(),))
    (second,) = await wakeups(store, "w2")
    assert await store.wakeups.claim(second, lease_ms=60_000) is None
    await store.wakeups.release(lease, seen=2)
    again = await claimed(store, "w2")
    assert again.fence == 2
    await store.wakeups.release(again, seen=2)
    assert await wakeups(store) == []


async def test_a_release_queues_again_what_came_after_the_last_look(store: Store) -> None:
    """The log grew past what was seen: somebody looks again at once."""
    await store.logs.receive("t1", (launched(),))
    lease = await claimed(store)
    await wakeups(store)
    await store.logs.receive("t1", (said(),))
    await wakeups(store)  # read by a worker that dies before it claims
    await store.wakeups.release(lease, seen=1)
    await store.logs.receive("t1", (said("x"),))
    assert (await store.connection.redis.hget(keys.meta("t1"), "queued")) == b"1"


async def test_a_worker_that_lost_its_lease_can_write_nothing(store: Store) -> None:
    """The fence: whoever is paused for longer than its lease finds that it is no longer the one."""
    await store.logs.receive("t1", (launched(),))
    old = await claimed(store, lease_ms=1)
    await wait_until(lambda: True)
    await asyncio.sleep(0.01)
    (taken,) = await store.wakeups.abandoned_wakeups(keys.shard_of("t1"), "w2", idle_ms=1)
    new = await store.wakeups.claim(taken, lease_ms=60_000)
    assert new
    assert new.recovered, "the holder before did not let go"
    log = await store.logs.load("t1")
    fact = ToolFinished(at=T0, call_id="c", result="late")
    with pytest.raises(LeaseLost):
        await store.logs.append(log, fact, old)
    with pytest.raises(LeaseLost):
        await store.wakeups.renew(old, "w1", lease_ms=1000)
    await store.wakeups.release(old, seen=1)
    assert len(await store.logs.append(log, fact, new)) == 2


async def test_a_dead_holder_s_wake_up_stays_until_it_is_taken_over(store: Store) -> None:
    """Refusing a taken-over wake-up must not remove it, or nobody would notice the holder's death."""
    await store.logs.receive("t1", (launched(),))
    await claimed(store)
    (taken,) = await store.wakeups.abandoned_wakeups(keys.shard_of("t1"), "w2", idle_ms=0)
    assert await store.wakeups.claim(taken, lease_ms=1) is None
    assert await store.wakeups.backlog() == 1


async def test_a_worker_that_goes_hands_back_what_it_had_read(store: Store) -> None:
    """Another one reads it at once, without waiting for it to look abandoned; what is being driven stays."""
    await store.logs.receive("t1", (launched(),))
    assert await wakeups(store, "w1")
    assert await store.wakeups.leave("w1") == 1
    lease = await claimed(store, "w2")
    assert (lease.fence, lease.recovered) == (1, False)
    assert await store.wakeups.leave("w2") == 0
    assert await store.wakeups.backlog() == 1
    await store.wakeups.release(lease, seen=1)
    assert await store.wakeups.leave("w2") == 0
    shard = keys.wake(keys.shard_of("t1"))
    assert await store.connection.redis.xinfo_consumers(shard, "workers") == []


async def test_what_is_handed_back_of_a_thread_that_is_driven_is_looked_at_afterwards(store: Store) -> None:
    """Its holder looks again when it lets go, without anybody having to miss the worker that went."""
    await store.logs.receive("t1", (launched(),))
    lease = await claimed(store, "w1")
    await store.logs.receive("t1", (said(),))
    assert await wakeups(store, "w2")
    assert await store.wakeups.leave("w2") == 1
    await store.wakeups.release(lease, seen=2)
    assert (await claimed(store, "w3")).fence == 2


async def test_what_somebody_else_has_taken_over_is_not_handed_back(store: Store) -> None:
    """The entry belongs to whoever took it, and stands for their life."""
    await store.logs.receive("t1", (launched(),))
    (read,) = await wakeups(store, "w1")
    shard = keys.shard_of("t1")
    assert await store.wakeups.abandoned_wakeups(shard, "w2", idle_ms=0)
    arguments = ["t1", "workers", read.entry_id, "w1"]
    assert await store.connection.run("hand_back", "t1", arguments) == 1
    assert await store.wakeups.backlog() == 1
    assert await store.connection.run_on("forget", [keys.wake(shard)], ["workers", "w2"]) == 0
    assert await store.connection.run_on("forget", [keys.wake(shard)], ["workers", "w1"]) == 1


async def test_a_restart_holds_nothing_up(redis_url: str, tmp_path: Path) -> None:
    """A wake-up that a worker had read when it was told to stop does not lie there until it looks abandoned."""
    async with bench(redis_url, tmp_path, workers=0) as found:
        await found.store.wakeups.prepare_shards()
        worker = found.board.worker(FAST)
        asked = await found.slack.say("ana", "#deploys", "@bot what is on production?")
        assert len(await wakeups(found.store, worker.name)) == 1
        worker.stop()
        await worker.run()
        await found.start_worker(replace(FAST, takeover_seconds=600.0, sweep_seconds=600.0))
        await found.finished(asked)


async def test_the_sweep_finds_what_nobody_looks_at(store: Store) -> None:
    """A net under everything: a wake-up that vanished is made anew."""
    await store.logs.receive("t1", (launched(),))
    shard = keys.shard_of("t1")
    await store.connection.redis.xtrim(keys.wake(shard), maxlen=0)
    await store.connection.redis.hset(keys.meta("t1"), "queued", "0")
    assert await wakeups(store) == []
    assert await store.wakeups.sweep(shard) == 1
    assert await store.wakeups.sweep(shard) == 0
    assert len(await wakeups(store)) == 1


async def test_a_timer_fires_once_whoever_fires_it(store: Store) -> None:
    """Due: event and wake-up in one step. Ten workers at once fire it once."""
    await store.logs.receive("t1", (launched(),))
    lease = await claimed(store)
    log = await store.logs.append(await store.logs.load("t1"), WaitStarted(at=T0, reason="x", until=at(5)), lease)
    clock: Any = store.timers._clock  # pyright: ignore[reportPrivateUsage]
    shard = keys.shard_of("t1")
    assert await store.timers.due(shard) == []
    clock.advance(minutes=5)
    (due,) = await store.timers.due(shard)
    assert not await store.timers.fire(due, keep=True, expect=len(log) - 1)  # judged on a log of before
    assert not await store.timers.fire(due, keep=False, expect=len(log) - 1)
    assert len(await store.logs.load("t1")) == len(log)
    await asyncio.gather(*(store.timers.fire(due, keep=True, expect=len(log)) for _ in range(10)))
    types = [event.type for event in (await store.logs.load("t1")).events]
    assert types == ["thread_launched", "wait_started", "wait_ended"]
    assert await store.timers.due(shard) == []


async def test_a_timer_of_the_same_name_replaces_the_one_before(store: Store) -> None:
    """A second pause of the model moves the time; it does not add one."""
    await store.logs.receive("t1", (ModelFailed(at=T0, reason="unavailable", detail="x", retry_at=at(1)),))
    await store.logs.receive("t1", (ModelFailed(at=T0, reason="unavailable", detail="x", retry_at=at(9)),))
    clock: Any = store.timers._clock  # pyright: ignore[reportPrivateUsage]
    clock.advance(minutes=2)
    assert await store.timers.due(keys.shard_of("t1")) == []
    clock.advance(minutes=8)
    assert len(await store.timers.due(keys.shard_of("t1"))) == 1


async def test_an_unreachable_server_is_told_as_such() -> None:
    """No library's exception gets out, and the text names no data."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        away = Store(f"redis://127.0.0.1:{unused.getsockname()[1]}/0", FakeClock())
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await away.logs.receive("t1", (said("a secret"),))
        with pytest.raises(StoreUnavailable):
            await away.logs.load("t1")
        await away.close()


def test_all_keys_of_a_script_share_a_slot() -> None:
    """Cluster: a thread's keys and those of its shard carry the same hash tag."""
    for n in range(200):
        name = f"t{n}"
        shard = keys.shard_of(name)
        own = [keys.log(name), keys.meta(name), keys.artifact(name, "x"), keys.seen(name, "d")]
        shared = [keys.wake(shard), keys.timers(shard), keys.timer_events(shard), keys.threads(shard)]
        assert len({key[: key.index("}")] for key in own + shared}) == 1
    assert {keys.shard_of(f"t{n}") for n in range(200)} == set(range(SHARDS))


@pytest.fixture
def cluster(tmp_path: Path) -> Generator[str]:
    """A real cluster of one node: it refuses whatever would cross slots."""
    port = _free_port_below(50_000)  # the cluster bus listens 10,000 above it
    binary = server_binary()[0]
    words = [binary, "--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--dir", str(tmp_path)]
    process = subprocess.Popen([*words, "--save", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait()


def _free_port_below(limit: int) -> int:
    for port in range(limit - 1, 1024, -1):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


async def test_the_deploy_journey_runs_on_a_cluster(cluster: str, tmp_path: Path) -> None:
    """No command and no script touches two slots."""
    store = Store(cluster, FakeClock())
    await store.connection.wait_until_reachable(timeout_seconds=10)
    await store.connection.redis.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    for _ in range(500):
        info: object = await store.connection.redis.execute_command("CLUSTER", "INFO")
        if "'ok'" in str(info) or "cluster_state:ok" in str(info):
            break
        await asyncio.sleep(0.01)
    await store.close()
    async with bench(cluster, tmp_path) as found:
        asked = await found.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
        await found.slack.click("lena", await found.card(asked), "approve")
        await found.finished(asked)
        assert len(found.releases()) == 2


async def test_bytes_written_a_step_do_not_grow_with_the_thread(store: Store) -> None:
    """One append writes one event, whether the thread has ten events or a thousand."""
    written: dict[int, int] = {}
    for length in (10, 1000):
        name = f"t{length}"
        await store.logs.receive(name, [said(str(n)) for n in range(length)])
        log = await store.logs.load(name)
        lease = Lease(name, 0, "", recovered=False)
        before = await _bytes_in(store)
        for n in range(10):
            log = await store.logs.append(log, ToolFinished(at=T0, call_id=f"c{n}", result="r" * 200), lease)
        written[length] = await _bytes_in(store) - before
    assert written[1000] < written[10] * 1.1, written


async def _bytes_in(store: Store) -> int:
    return int((await store.connection.redis.info("stats"))["total_net_input_bytes"])


async def test_a_turn_costs_a_known_number_of_commands(redis_url: str, tmp_path: Path) -> None:
    """One Lua append a step: the commands of the worker for a whole deploy journey, counted by Redis itself."""
    quiet = replace(FAST, block_seconds=5.0, timers_seconds=60.0, takeover_seconds=60.0, heartbeat_seconds=30.0)
    async with bench(redis_url, tmp_path, workers=0) as found:
        await found.start_worker(quiet)
        asked = await found.slack.say("ana", "#deploys", "@bot what is on production?")
        await found.finished(asked)  # warm: scripts loaded, groups made
        before = await _calls(found)
        asked = await found.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
        card = await found.card(asked)
        await found.settled(asked, lambda log: log.events[-1].type == "post_sent")
        polling = await _calls(found)
        await found.slack.click("lena", card, "approve")
        log = await found.finished(asked)
        after = await _calls(found)
        scripts = after["evalsha"] - before["evalsha"]
        # 17 events: 2 come in with one append, 1 with another; 14 from the worker, one append each;
        # 2 claims, 2 releases; the second delivery of the mention is refused twice (launch, then message).
        assert len(log) == 17
        assert scripts <= 17 + 2 + 2 + 3, (scripts, polling)


async def _calls(found: Bench) -> dict[str, int]:
    stats = await found.store.connection.redis.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): int(row["calls"]) for name, row in stats.items()}
    return {"evalsha": 0, **calls}


def test_the_server_of_the_tests_is_a_real_one() -> None:
    """Redis or Valkey, 6.2 or newer."""
    binary, version = server_binary()
    assert shutil.which(binary)
    assert "-server" in version


async def test_a_worker_survives_the_loss_of_its_consumer_groups(on_bench: Bench) -> None:
    """A failover to an empty server, or a hand that deletes a stream: the groups are made anew, and work goes on."""
    await on_bench.store.connection.redis.flushall()
    asked = await on_bench.slack.say("ana", "#deploys", "@bot what is on production?")
    await on_bench.finished(asked)
