"""The streams of a page: what a browser sees of them, however they go on or end."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request

from bot.testing import wait_until
from channels.simulating import Change, Json, Streams, Subscription, Watched
from channels.simulating.watching import KEPT_CHANGES


async def told(streams: Streams, lines: int, *, after: str = "") -> list[str]:
    """The first lines of a stream, as far as there are so many."""
    request = Request({"type": "http", "headers": [(b"last-event-id", after.encode())], "query_string": b""})
    answer = await streams.endpoint(request)
    found: list[str] = []
    body = getattr(answer, "body_iterator")  # noqa: B009 Starlette's stream
    async for line in body:
        found.append(line)
        if len(found) == lines:
            break
    await body.aclose()
    return found


def shown(change: Change) -> Json:
    return {"kind": change.kind, **change.data}


class Counted(Watched):
    """Knows how many watch it."""

    def __init__(self) -> None:
        super().__init__(0)
        self.watchers = 0

    def subscribe(self, after: int | None = None) -> Subscription | None:
        found = super().subscribe(after)
        self.watchers += found is not None
        return found

    def unsubscribe(self, subscription: Subscription) -> None:
        self.watchers -= 1
        super().unsubscribe(subscription)


async def test_a_quiet_stream_says_that_it_is_still_there() -> None:
    """A proxy or a browser ends a connection on which nothing is ever said."""
    watched = Counted()
    said = await told(Streams(watched, shown, keep_alive_seconds=0.01), 3)
    assert said == [": connected\n\n", ": still here\n\n", ": still here\n\n"]
    assert watched.watchers == 0, "who watches is let go with the browser"


@pytest.mark.parametrize(
    ("after", "then"),
    [("2", 'id: 3\ndata: {"kind": "said", "text": "ä\\n"}\n\n')]
    + [(odd, ": still here\n\n") for odd in ("3", "", "x", "-1", "²")],
)
async def test_a_stream_goes_on_where_the_browser_was(after: str, then: str) -> None:
    """Whatever else it sends as its last event is from now on."""
    watched = Counted()
    for text in ("a", "b", "ä\n"):
        watched.notice("said", {"text": text})
    streams = Streams(watched, shown, keep_alive_seconds=0.01)
    assert await told(streams, 2, after=after) == [": connected\n\n", then]


async def test_a_browser_that_missed_too_much_is_to_read_the_state_again() -> None:
    """So is one that knows another process than this one."""
    watched = Counted()
    for _ in range(KEPT_CHANGES + 2):
        watched.notice("said", {})
    for after in ("1", str(KEPT_CHANGES + 3)):
        assert await told(Streams(watched, shown), 9, after=after) == ["event: reset\ndata: {}\n\n"]


async def test_all_streams_end_together() -> None:
    """So that a server with open pages can stop, and start again."""
    watched = Counted()
    streams = Streams(watched, shown)
    open_ = asyncio.create_task(told(streams, 9))
    await wait_until(lambda: watched.watchers == 1)
    streams.close()
    assert await asyncio.wait_for(open_, 1) == [": connected\n\n"]
    assert watched.watchers == 0
