"""The worker: reads wake-ups, drives threads under a lease, fires timers, and lets go in order when it is told to stop.

Any number of workers share the work; what one leaves behind when it dies, another takes over.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import structlog

from bot.core.log import Log
from bot.core.protocols import Clock, Lease, LeaseLost, StoreUnavailable
from bot.core.schedule import still_due
from bot.runtime.ending import end, is_cancelled
from bot.runtime.runner import Runner
from bot.runtime.store import SHARDS, DueTimer, Store, Wakeup

logger = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Pace:
    """How often the worker does what it does again and again; seconds."""

    lease_seconds: float = 30.0
    heartbeat_seconds: float = 2.0
    block_seconds: float = 2.0
    timers_seconds: float = 0.5
    takeover_seconds: float = 5.0
    sweep_seconds: float = 60.0
    outage_seconds: float = 1.0
    drain_seconds: float = 25.0
    """How long running work may take to end after SIGTERM; then it is left to another worker."""


class Worker:
    """One worker process."""

    def __init__(
        self, store: Store, runner: Runner, clock: Clock, *, concurrency: int = 16, pace: Pace | None = None
    ) -> None:
        self._store = store
        self._runner = runner
        self._clock = clock
        self._pace = pace or Pace()
        self._slots = asyncio.Semaphore(concurrency)
        self._driving: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"

    def stop(self) -> None:
        """Take no new work, finish what runs, then let `run` return."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`."""
        await self._patiently(self._store.wakeups.prepare_shards)
        loops = [asyncio.create_task(self._read(shard)) for shard in range(SHARDS)]
        loops += [
            asyncio.create_task(self._again_and_again(self.fire_timers, self._pace.timers_seconds)),
            asyncio.create_task(self._again_and_again(self.take_over, self._pace.takeover_seconds)),
            asyncio.create_task(self._again_and_again(self.sweep, self._pace.sweep_seconds)),
        ]
        logger.info("worker_started", worker=self.name)
        try:
            await self._stopping.wait()
        finally:
            await end(loops)
            await self._drain()
            with suppress(StoreUnavailable):  # or others take over what it had read, once they miss it
                await self._store.wakeups.leave(self.name)
            logger.info("worker_stopped", worker=self.name)

    async def drive(self, wakeup: Wakeup) -> None:
        """Look at one thread: claim it, advance it, let go. The worker's top: no exception gets past it."""
        log = logger.bind(thread=wakeup.thread_id)
        lease = None
        try:
            lease = await self._store.wakeups.claim(wakeup, lease_ms=self._lease_ms)
            if lease is not None:
                await self._drive(lease)
        except LeaseLost:
            log.warning("lease_lost")
        except StoreUnavailable as error:
            log.warning("store_unavailable", error=str(error))  # the lease runs out, and the wake-up stands
        except asyncio.CancelledError:
            if lease is not None:
                await self._give_back(lease, delay_seconds=0.0)
            raise
        except Exception:
            log.exception("thread_failed")
            if lease is not None:
                failures = await self._patiently(lambda: self._store.wakeups.crashes(wakeup.thread_id))
                await self._give_back(lease, delay_seconds=min(2.0**failures, 300.0))

    async def fire_timers(self) -> int:
        """Fire what is due. Returns how many timers fired or were dropped."""
        fired = 0
        for shard in range(SHARDS):
            for timer in await self._store.timers.due(shard):
                try:
                    fired += await self._fire(timer)
                except StoreUnavailable:
                    raise
                except Exception:  # a thread that cannot be read keeps no other one waiting
                    logger.exception("timer_failed", thread=timer.thread_id)
        return fired

    async def take_over(self) -> None:
        """Drive the threads of workers that are gone."""
        for shard in range(SHARDS):
            idle_ms = int(self._lease_ms * 1.1)
            for wakeup in await self._store.wakeups.abandoned_wakeups(shard, self.name, idle_ms=idle_ms):
                logger.warning("taken_over", thread=wakeup.thread_id)
                await self._start(wakeup)

    async def sweep(self) -> None:
        """Queue what nobody looks at. It should find nothing, ever."""
        for shard in range(SHARDS):
            found = await self._store.wakeups.sweep(shard)
            if found:
                logger.warning("swept", shard=shard, threads=found)

    @property
    def _lease_ms(self) -> int:
        return int(self._pace.lease_seconds * 1000)

    async def _drive(self, lease: Lease) -> None:
        heartbeat = Heartbeat(self._store, lease, self.name, self._pace)
        advancing = asyncio.ensure_future(self._runner.advance(lease, heartbeat.grown))
        beating = asyncio.ensure_future(heartbeat.run(advancing))
        try:
            log: Log = await advancing
        except asyncio.CancelledError:
            if heartbeat.lost:
                raise LeaseLost(lease.thread_id) from None
            raise
        finally:
            await end([advancing, beating])
        await self._store.wakeups.release(lease, seen=len(log))
        logger.info("thread_looked_at", thread=lease.thread_id, events=len(log), status=log.state.status)

    async def _give_back(self, lease: Lease, *, delay_seconds: float) -> None:
        retry_at = self._clock.now() + timedelta(seconds=delay_seconds)
        with suppress(StoreUnavailable):
            await self._store.wakeups.release(lease, seen=0, retry_at=retry_at)

    async def _read(self, shard: int) -> None:
        while True:
            async with self._slots:
                pass  # wait for room before taking work that another worker could do now
            try:
                wakeups = await self._store.wakeups.next_wakeups(
                    shard, self.name, count=1, block_ms=int(self._pace.block_seconds * 1000)
                )
            except StoreUnavailable as error:
                logger.warning("store_unavailable", error=str(error))
                await asyncio.sleep(self._pace.outage_seconds)
                with suppress(StoreUnavailable):
                    await self._store.wakeups.prepare_shards()
                continue
            except Exception:
                logger.exception("reader_failed", shard=shard)  # nobody else reads this shard for this worker
                await asyncio.sleep(self._pace.outage_seconds)
                continue
            for wakeup in wakeups:
                await self._start(wakeup)

    async def _start(self, wakeup: Wakeup) -> None:
        await self._slots.acquire()
        task = asyncio.create_task(self.drive(wakeup))
        self._driving.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._driving.discard(task)
        self._slots.release()

    async def _fire(self, timer: DueTimer) -> int:
        if timer.event is None:  # a wake-up only
            return int(await self._store.timers.fire(timer, keep=True))
        while True:
            log = await self._store.logs.load(timer.thread_id)
            keep = still_due(log.state, timer.event, self._clock.now())
            if await self._store.timers.fire(timer, keep=keep, expect=len(log)):
                return 1

    async def _again_and_again(self, work: Callable[[], Awaitable[object]], pause_seconds: float) -> None:
        while True:
            try:
                await work()
            except StoreUnavailable as error:
                logger.warning("store_unavailable", error=str(error))
                await asyncio.sleep(self._pace.outage_seconds)
            except Exception:
                logger.exception("chore_failed")  # the next round may do better, and the others must go on
            await asyncio.sleep(pause_seconds)

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await work()
            except StoreUnavailable as error:
                logger.warning("store_unavailable", error=str(error))
                await asyncio.sleep(self._pace.outage_seconds)

    async def _drain(self) -> None:
        if self._driving:
            logger.info("draining", threads=len(self._driving))
            await asyncio.wait(self._driving, timeout=self._pace.drain_seconds)
        await end(list(self._driving))


class Heartbeat:
    """Keeps a lease while its thread is driven, and notices that the log has grown."""

    def __init__(self, store: Store, lease: Lease, consumer: str, pace: Pace) -> None:
        self._store = store
        self._lease = lease
        self._consumer = consumer
        self._pace = pace
        self._length = 0
        self._beat = asyncio.Event()
        self.lost = False

    async def grown(self) -> None:
        """Return when the log has grown since the last call returned, or at the next beat that sees it."""
        await self._beat.wait()
        self._beat.clear()

    async def run(self, driving: asyncio.Future[Log]) -> None:
        """Renew the lease until cancelled; end `driving` if the lease is lost."""
        while not is_cancelled():
            await asyncio.sleep(self._pace.heartbeat_seconds)
            try:
                length = await self._store.wakeups.renew(
                    self._lease, self._consumer, lease_ms=int(self._pace.lease_seconds * 1000)
                )
            except LeaseLost:
                self.lost = True
                driving.cancel()
                return
            except StoreUnavailable:
                continue  # nobody else can take the lease either
            if length > self._length:
                self._length = length
                self._beat.set()
