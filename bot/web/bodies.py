"""Reads request bodies within a bound. What is larger is refused before it is read to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

MAX_BODY_BYTES = 1024 * 1024


async def bounded_body(request: Request, limit: int = MAX_BODY_BYTES) -> bytes:
    """The body. Raises 413 where it is larger than `limit`."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise HTTPException(413, f"The body is larger than {limit} bytes.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise HTTPException(413, f"The body is larger than {limit} bytes.")
    return bytes(body)


class BoundedRoute(APIRoute):
    """A route whose body is read within the bound before anything is made of it."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # pyright: ignore[reportIncompatibleMethodOverride] FastAPI only awaits it
        """The handler, behind the bound."""
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            body = await bounded_body(request)

            async def replay() -> Message:
                return {"type": "http.request", "body": body, "more_body": False}

            return await handle(Request(request.scope, replay))

        return bounded
