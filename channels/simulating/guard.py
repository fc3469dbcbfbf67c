"""Whom a page answers: nobody but a page that it served itself.

The Host must be loopback and a POST must be JSON from the same origin, so that no foreign web page can drive it.
"""

from collections.abc import Awaitable, Callable
from typing import Any, cast
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

Json = dict[str, Any]
"""A decoded JSON object."""
Endpoint = Callable[[Request], Awaitable[Response]]

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Of every answer."""
MAX_BODY_BYTES = 512 * 1024


def is_loopback(request: Request) -> bool:
    """Whether the browser thinks that it talks to this machine."""
    return urlsplit(f"//{request.headers.get('host', '')}").hostname in {"127.0.0.1", "localhost"}


def refusal(request: Request) -> str | None:
    """Why a request does not come from a page of this server, or None when it may be served."""
    if not is_loopback(request):
        return "only loopback hosts are served"
    site = request.headers.get("sec-fetch-site")
    if site not in {None, "same-origin", "none"}:
        return "only this page's own requests are served"
    if request.method == "POST":
        origin = request.headers.get("origin")
        if origin is not None and origin != f"http://{request.headers['host']}":
            return "only this page's own requests are served"
        if origin is None and site != "same-origin":
            return "a POST must say where it comes from"
        if not request.headers.get("content-type", "").startswith("application/json"):
            return "a POST must be JSON"
    return None


def guarded(endpoint: Endpoint) -> Endpoint:
    """The endpoint, for the page's own requests only; any other gets 403."""

    async def only_ours(request: Request) -> Response:
        if reason := refusal(request):
            return PlainTextResponse(reason, 403, headers=HEADERS)
        return await endpoint(request)

    return only_ours


def reading(read: Callable[[], Json]) -> Endpoint:
    """An endpoint that answers with what `read` gives."""

    async def endpoint(_request: Request) -> Response:
        return JSONResponse(read(), headers=HEADERS)

    return guarded(endpoint)


def acting(act: Callable[[Json], Awaitable[None]]) -> Endpoint:
    """An endpoint that does what a JSON object asks for; `{"ok": false, "error": …}` where that cannot be done.

    LookupError, ValueError and PermissionError of `act` are such answers, with their own words for the page to show.
    """

    async def endpoint(request: Request) -> Response:
        try:
            body: Any = await _bounded_json(request)
            if not isinstance(body, dict):
                raise ValueError("a JSON object is needed")  # noqa: TRY301, TRY004 - answered like any bad request
            await act(cast("Json", body))
        except (LookupError, ValueError, PermissionError) as problem:
            return JSONResponse({"ok": False, "error": str(problem)}, headers=HEADERS)
        return JSONResponse({"ok": True}, headers=HEADERS)

    return guarded(endpoint)


async def _bounded_json(request: Request) -> Any:  # noqa: ANN401 whatever was sent
    if int(request.headers.get("content-length", MAX_BODY_BYTES + 1)) > MAX_BODY_BYTES:
        raise ValueError(f"at most {MAX_BODY_BYTES:,} bytes are taken")
    return await request.json()
