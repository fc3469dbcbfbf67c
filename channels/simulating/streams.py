"""Server-sent events: what happens, told to a page for as long as it is open."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from channels.simulating.guard import HEADERS, Json

KEEP_ALIVE_SECONDS = 15.0
_RESET = "event: reset\ndata: {}\n\n"
"""The page missed too much, or knows another process than this one: it has to read the state again."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something happened. Numbers grow; a page that was away asks for what came after the last one it saw."""

    number: int
    data: Json


Watch = Callable[[int | None], AsyncGenerator[Notice] | None]
"""Gives the notices after a number (None: from now on), or None where they are not known any more."""


class Streams:
    """The streams of one page. They end when the browser goes, or all at once with `close`."""

    def __init__(self, watch: Watch, *, keep_alive_seconds: float = KEEP_ALIVE_SECONDS) -> None:
        self._watch = watch
        self._keep_alive_seconds = keep_alive_seconds
        self._closing = asyncio.Event()

    async def endpoint(self, request: Request) -> Response:
        """Stream from after `Last-Event-ID`, or `?after=`."""
        after = request.headers.get("last-event-id") or request.query_params.get("after") or ""
        notices = self._watch(int(after) if after.isdecimal() else None)
        return StreamingResponse(self._lines(notices), media_type="text/event-stream", headers=HEADERS)

    def close(self) -> None:
        """End every stream that is open, so that a server can stop."""
        closing, self._closing = self._closing, asyncio.Event()
        closing.set()

    async def _lines(self, notices: AsyncGenerator[Notice] | None) -> AsyncGenerator[str]:
        if notices is None:
            yield _RESET
            return
        closing = asyncio.create_task(self._closing.wait())
        coming = asyncio.create_task(_next(notices))
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
                notice = coming.result()
                if notice is None:
                    return
                coming = asyncio.create_task(_next(notices))
                yield f"id: {notice.number}\ndata: {json.dumps(notice.data, ensure_ascii=False)}\n\n"
        except LookupError:
            yield _RESET
        finally:
            closing.cancel()
            coming.cancel()
            await asyncio.gather(closing, coming, return_exceptions=True)
            await notices.aclose()


async def _next(notices: AsyncGenerator[Notice]) -> Notice | None:
    return await anext(notices, None)
