"""The page in the browser: its files, the state it shows, and what a person does on it.

It acts for people only, never for the bot. It answers nobody but a page that it served itself: the Host must be
loopback and a POST must come from the same origin, so that no foreign web page can drive it.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from channels.slack.simulator.records import Json
from channels.slack.simulator.watching import Subscription
from channels.slack.simulator.workspace import Workspace

if TYPE_CHECKING:
    from channels.slack.simulator.app import SimulatedSlack

FILES = Path(__file__).with_name("page")
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
KEEP_ALIVE_SECONDS = 15.0


def refusal(request: Request) -> str | None:
    """Why a request does not come from this page itself, or None when it may be served."""
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname
    if host not in {"127.0.0.1", "localhost"}:
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


class Page:
    """The page's endpoints over one `SimulatedSlack`."""

    def __init__(self, simulator: "SimulatedSlack") -> None:
        self._simulator = simulator
        self._workspace: Workspace = simulator.workspace

    def routes(self) -> list[Route]:
        """`/`, its files, and `/page/…`."""
        acts = {"say": self._say, "click": self._click, "select": self._click, "submit": self._submit}
        return [
            Route("/", self._index),
            Route("/page/state", self._guarded(self._state)),
            Route("/page/changes", self._guarded(self._changes)),
            Route("/page/files/{name}", self._guarded(self._file)),
            *(Route(f"/page/{name}", self._guarded(_acting(act)), methods=["POST"]) for name, act in acts.items()),
            Route("/page/close", self._guarded(_acting(self._close)), methods=["POST"]),
        ]

    @staticmethod
    def _guarded(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            if reason := refusal(request):
                return PlainTextResponse(reason, 403, headers=HEADERS)
            return await endpoint(request)

        return guarded

    async def _index(self, request: Request) -> Response:
        if urlsplit(f"//{request.headers.get('host', '')}").hostname not in {"127.0.0.1", "localhost"}:
            return PlainTextResponse("only loopback hosts are served", 403, headers=HEADERS)
        return FileResponse(FILES / "index.html", media_type="text/html", headers=HEADERS)

    @staticmethod
    async def _file(request: Request) -> Response:
        known = {path.name: path for path in FILES.iterdir() if path.suffix in MEDIA_TYPES}
        path = known.get(request.path_params["name"])
        if path is None:
            return PlainTextResponse("no such file", 404, headers=HEADERS)
        return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=HEADERS)

    async def _state(self, _request: Request) -> Response:
        workspace = self._workspace
        channels = [asdict(channel) for channel in workspace.channels.values()]
        state = {
            "number": workspace.change_number,
            "notice": self._simulator.notice,
            "links": [{"label": label, "url": url} for label, url in self._simulator.links],
            "team": {"id": workspace.team_id, "name": workspace.team_name},
            "bot": workspace.bot.id,
            "users": [asdict(user) for user in workspace.users.values()],
            "channels": channels,
            "messages": [
                asdict(message)
                for channel in workspace.channels
                for message in workspace.messages(channel, ephemeral=True)
            ],
            "views": [asdict(view) for view in workspace.views.values()],
            "files": [asdict(file) for file in workspace.files.values()],
        }
        return JSONResponse(state, headers=HEADERS)

    async def _changes(self, request: Request) -> Response:
        after = request.headers.get("last-event-id") or request.query_params.get("after") or ""
        subscription = self._workspace.subscribe(int(after) if after.isdigit() else None)
        return StreamingResponse(self._stream(subscription), media_type="text/event-stream", headers=HEADERS)

    async def _stream(self, subscription: Subscription | None) -> AsyncGenerator[str]:
        if subscription is None:
            # The watcher missed too much, or this is another process than the one it knew.
            yield "event: reset\ndata: {}\n\n"
            return
        try:
            yield ": connected\n\n"
            async for change in subscription.with_pauses(KEEP_ALIVE_SECONDS):
                if change is None:
                    yield ": still here\n\n"
                    continue
                data = json.dumps({"kind": change.kind, "data": change.data}, ensure_ascii=False)
                yield f"id: {change.number}\ndata: {data}\n\n"
        finally:
            self._workspace.unsubscribe(subscription)

    async def _say(self, body: Json) -> None:
        text = str(body["text"]).strip()
        if text.startswith("/"):
            command, _, rest = text.partition(" ")
            await self._simulator.command(str(body["user"]), str(body["channel"]), command, rest)
        elif text:
            await self._simulator.say(str(body["user"]), str(body["channel"]), text, body.get("thread_ts"))

    async def _click(self, body: Json) -> None:
        message = self._workspace.message(str(body["channel"]), str(body["ts"]))
        await self._simulator.click(
            str(body["user"]), message, str(body["action_id"]), body.get("value"), block_id=body.get("block_id")
        )

    async def _submit(self, body: Json) -> None:
        view = self._workspace.view(str(body["view"]))
        await self._simulator.submit(str(body["user"]), view, body["values"])

    async def _close(self, body: Json) -> None:
        await self._simulator.close_view(str(body["user"]), self._workspace.view(str(body["view"])))


def _acting(act: Callable[[Json], Awaitable[None]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            body: Any = await request.json()
            if not isinstance(body, dict):
                raise ValueError("a JSON object is needed")  # noqa: TRY301, TRY004 - answered like any bad request
            await act(cast("Json", body))
        except (LookupError, ValueError, PermissionError) as problem:
            # A modal that Slack's client refuses, a button that went away meanwhile: the page shows the words.
            return JSONResponse({"ok": False, "error": str(problem)}, headers=HEADERS)
        return JSONResponse({"ok": True}, headers=HEADERS)

    return endpoint
