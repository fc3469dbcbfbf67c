"""Server-sent events: what happens, told to a page for as long as it is open."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from channels.simulating.guard import HEADERS, Json
from channels.simulating.watching import Change, Subscription, Watched

KEEP_ALIVE_SECONDS = 15.0
_RESET = "event: reset\ndata: {}\n\n"
"""The page missed too much, or knows another process than this one: it has to read the state again."""


class Streams:
    """The streams of one page: each change as `shown` makes it. One ends when its browser goes, all with `close`."""

    def __init__(
        self, watched: Watched, shown: Callable[[Change], Json], *, keep_alive_seconds: float = KEEP_ALIVE_SECONDS
    ) -> None:
        self._watched = watched
        self._shown = shown
        self._keep_alive_seconds = keep_alive_seconds
        self._closing = asyncio.Event()

    async def endpoint(self, request: Request) -> Response:
        """Stream from after `Last-Event-ID`, or `?after=`."""
        after = request.headers.get("last-event-id") or request.query_params.get("after") or ""
        lines = self._lines(int(after) if after.isdecimal() else None)
        return StreamingResponse(lines, media_type="text/event-stream", headers=HEADERS)

    def close(self) -> None:
        """End every stream that is open, so that a server can stop."""
        closing, self._closing = self._closing, asyncio.Event()
        closing.set()

    async def _lines(self, after: int | None) -> AsyncGenerator[str]:
        changes = self._watched.subscribe(after)
        if changes is None:
            yield _RESET
            return
        closing = asyncio.create_task(self._closing.wait())
        coming = asyncio.create_task(_next(changes))
        try:
            yield ": connected\n\n"
            while True:
                waiting = {coming, closing}
                await asyncio.wait(waiting, timeout=self._keep_alive_seconds, return_when=asyncio.FIRST_COMPLETED)
                if closing.done():
                    return
                if not coming.done():
                    yield ": still here\n\n"
                    continue
                change = coming.result()
                if change is None:
                    return
                coming = asyncio.create_task(_next(changes))
                yield f"id: {change.number}\ndata: {json.dumps(self._shown(change), ensure_ascii=False)}\n\n"
        finally:
            self._watched.unsubscribe(changes)
            closing.cancel()
            coming.cancel()
            await asyncio.gather(closing, coming, return_exceptions=True)


async def _next(changes: Subscription) -> Change | None:
    return await anext(changes, None)
