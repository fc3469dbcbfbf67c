"""The loop: ask the policy what to do, do it, append what happened, ask again.

There is no second path for resuming: after a crash, a restart or a week of waiting, the log is loaded and asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from bot.core.effects import RunTool
from bot.core.events import Event, ToolStarted
from bot.core.log import Log
from bot.core.policy import next_delivery, next_effect
from bot.core.protocols import Lease, LeaseLost, Stale, StoreUnavailable, ThreadStore
from bot.runtime.perform import Perform

Grown = Callable[[], Awaitable[None]]
"""Returns when the log has grown behind the runner's back."""


class Runner:
    """Drives threads."""

    def __init__(
        self, store: ThreadStore, perform: Perform, *, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._store = store
        self._perform = perform
        self._pause = pause

    async def advance(self, lease: Lease, grown: Grown) -> Log:
        """Drive a thread until it finishes or waits on the world. Raises LeaseLost, StoreUnavailable."""
        log = await self._store.load(lease.thread_id)
        while effect := next_effect(log.state, self._perform.agent_of(log)):
            try:
                if isinstance(effect, RunTool):
                    log = await self._run_tool(effect, log, lease, grown)
                else:
                    log = await self._append(log, await self._perform(effect, log, lease), lease)
            except Stale as stale:
                log = stale.log  # something arrived that the effect did not know of: ask again
        return log

    async def _run_tool(self, effect: RunTool, log: Log, lease: Lease, grown: Grown) -> Log:
        """Record the start, run the tool, and keep delivering posts while it runs."""
        if not effect.resumed:
            start = await self._perform(effect, log, lease)
            log = await self._append(log, start, lease)
            if not isinstance(start, ToolStarted):
                return log
        running, trouble = asyncio.ensure_future(self._perform.run_tool(effect, log)), None
        try:
            while not running.done():
                try:
                    log = log if trouble else await self._deliver_while(running, log, lease)
                except LeaseLost:
                    raise
                except Exception as error:  # noqa: BLE001 no post is a reason to stop a tool half-way
                    trouble = error
                await _first_of(running, grown())
            log = await self._append(log, running.result(), lease)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        if trouble:
            raise trouble
        return log

    async def _deliver_while(self, running: asyncio.Future[Event], log: Log, lease: Lease) -> Log:
        """Bring posts up to date until the tool ends: what became of it is recorded before any further post."""
        with suppress(StoreUnavailable):  # an outage of the store is no reason to stop a tool half-way
            log = await self._store.refresh(log)
            while not running.done() and (delivery := next_delivery(log.state)):
                log = await self._append(log, await self._perform(delivery, log, lease), lease)
        return log

    async def _append(self, log: Log, event: Event, lease: Lease) -> Log:
        """Append; what has happened already is kept through an outage of the store, however long the lease holds."""
        while True:
            try:
                return await self._store.append(log, event, lease)
            except StoreUnavailable:
                if event.needs_fresh_log:
                    raise  # nothing has been done yet
            await self._pause(0.5)
            with suppress(StoreUnavailable):
                now = await self._store.refresh(log)
                if event in now.events[len(log) :]:
                    return now  # it had arrived; only the answer was lost


async def _first_of(running: asyncio.Future[Event], grown: Awaitable[None]) -> None:
    watching = asyncio.ensure_future(grown)
    try:
        await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
