"""Reads request bodies within a bound. What is larger is refused before it is read to its end."""

from __future__ import annotations

from fastapi import HTTPException, Request

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
