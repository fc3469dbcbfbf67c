"""Telling watchers what happens to the mail, in order and without gaps. Nothing here blocks who gives a notice."""

import asyncio
from collections import deque
from collections.abc import Iterable

from channels.email.simulator.records import Change

KEPT_CHANGES = 2_000
"""How many notices a watcher that was away can catch up on; beyond that it must read the mailboxes again."""


class Subscription:
    """The notices from one moment on: `async for` it, and `close` it from anywhere to end the loop."""

    def __init__(self, backlog: Iterable[Change]) -> None:
        self._queue: asyncio.Queue[Change | None] = asyncio.Queue()
        for change in backlog:
            self._queue.put_nowait(change)

    def put(self, change: Change) -> None:
        """Called for each change."""
        self._queue.put_nowait(change)

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
    """Numbers the notices and keeps the last ones. `first` is larger than any number of an earlier process."""

    def __init__(self, first: int) -> None:
        self.change_number = first
        self._changes: deque[Change] = deque(maxlen=KEPT_CHANGES)
        self._subscriptions: set[Subscription] = set()

    def notice(self, kind: str, *, mail: int, owner: str) -> None:
        """Tell every watcher."""
        self.change_number += 1
        change = Change(self.change_number, kind, mail, owner)
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
