"""Telling watchers what happens in a simulator, in order and without gaps.

A watcher that was away catches up from the last notice that it saw, or is told that it cannot. Nothing here blocks the
one who gives a notice.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from channels.simulating.guard import Json

KEPT_CHANGES = 2_000
"""How many notices a watcher that lost its connection can catch up on; beyond that it must read the state again."""


@dataclass(frozen=True, slots=True)
class Change:
    """A notice: `number` counts up by one, `data` is ready for JSON. Which kinds there are, each simulator says."""

    number: int
    kind: str
    data: Json


class Subscription:
    """The notices from one moment on; `async for` it, and `close` it from anywhere to end the loop."""

    def __init__(self, backlog: Iterable[Change]) -> None:
        self._queue: asyncio.Queue[Change | None] = asyncio.Queue()
        for change in backlog:
            self._queue.put_nowait(change)

    def put(self, change: Change) -> None:
        """Called for each change."""
        self._queue.put_nowait(change)

    def skip(self) -> None:
        """Drop the notices that wait, for a watcher who only asks whether anything changed."""
        while not self._queue.empty():
            if self._queue.get_nowait() is None:
                self.close()
                return

    def close(self) -> None:
        """End the iteration after what is already queued."""
        self._queue.put_nowait(None)

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Change:
        change = await self._queue.get()
        if change is None:
            raise StopAsyncIteration
        return change


class Watched:
    """Something that gives numbered notices, since `since` (seconds since the epoch)."""

    def __init__(self, since: float) -> None:
        self._changes: deque[Change] = deque(maxlen=KEPT_CHANGES)
        self._subscriptions: set[Subscription] = set()
        # Numbers of an earlier process are always smaller, so that its watchers notice that they must start anew.
        self.change_number = int(since * 1_000)

    def notice(self, kind: str, data: Json) -> None:
        """Tell every watcher; also used for what leaves no trace in the store, such as a failed delivery."""
        self.change_number += 1
        change = Change(self.change_number, kind, data)
        self._changes.append(change)
        for subscription in self._subscriptions:
            subscription.put(change)

    def subscribe(self, after: int | None = None) -> Subscription | None:
        """Watch from after notice number `after` (from now on by default); None when that is too long ago."""
        after = self.change_number if after is None else after
        oldest = self._changes[0].number if self._changes else self.change_number + 1
        if after > self.change_number or after < oldest - 1:
            return None
        subscription = Subscription(change for change in self._changes if change.number > after)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop telling this watcher, and end its iteration."""
        self._subscriptions.discard(subscription)
        subscription.close()

    def close_subscriptions(self) -> None:
        """End every watcher's iteration, so that a server with open streams can stop."""
        for subscription in list(self._subscriptions):
            self.unsubscribe(subscription)


def keep_saved(watched: Watched, path: Path | None, save: Callable[[Path], None]) -> asyncio.Task[None] | None:
    """Save to `path` whenever something has happened, and once more when the subscriptions end; None: nowhere."""
    changes = watched.subscribe() if path else None
    return asyncio.create_task(_saving(changes, path, save)) if path and changes else None


async def _saving(changes: Subscription, path: Path, save: Callable[[Path], None]) -> None:
    async for _ in changes:
        changes.skip()
        save(path)
    save(path)
