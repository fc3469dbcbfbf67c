"""The streams of a page: what a browser sees of them, however they go on or end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.requests import Request

from channels.simulating import Notice, Streams


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


async def test_a_quiet_stream_says_that_it_is_still_there() -> None:
    """A proxy or a browser ends a connection on which nothing is ever said."""
    ended: list[bool] = []

    async def quiet(after: int | None) -> AsyncGenerator[Notice]:
        try:
            await asyncio.Event().wait()
            yield Notice(1, {})
        finally:
            ended.append(True)

    said = await told(Streams(quiet, keep_alive_seconds=0.01), 3)
    assert said == [": connected\n\n", ": still here\n\n", ": still here\n\n"]
    assert ended == [True], "who watches is let go with the browser"


@pytest.mark.parametrize(("after", "wanted"), [("7", 7), ("", None), ("x", None), ("-1", None), ("²", None)])
async def test_a_stream_goes_on_where_the_browser_was(after: str, wanted: int | None) -> None:
    """Whatever else it sends as its last event is from now on."""
    seen: list[int | None] = []

    async def two(after: int | None) -> AsyncGenerator[Notice]:
        seen.append(after)
        yield Notice(8, {"text": "ä\n"})
        raise LookupError("it was too slow")

    assert await told(Streams(two), 9, after=after) == [
        ": connected\n\n",
        'id: 8\ndata: {"text": "ä\\n"}\n\n',
        "event: reset\ndata: {}\n\n",
    ]
    assert seen == [wanted]


async def test_all_streams_end_together() -> None:
    """So that a server with open pages can stop, and start again."""

    async def quiet(after: int | None) -> AsyncGenerator[Notice]:
        await asyncio.Event().wait()
        yield Notice(1, {})

    streams = Streams(quiet)
    open_ = asyncio.create_task(told(streams, 9))
    await asyncio.sleep(0.02)
    streams.close()
    assert await asyncio.wait_for(open_, 1) == [": connected\n\n"]
