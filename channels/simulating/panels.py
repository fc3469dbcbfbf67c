"""The panels of the page server: each has its place in the rail at the left, and its routes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from channels.simulating.guard import Json, reading


@dataclass(frozen=True)
class Panel:
    """One simulated counterpart, as people see it."""

    key: str
    """`chat`, `mail`, `phone`: its picture in the rail."""
    label: str
    path: str
    """Where its page is; all its routes are its own."""
    routes: Sequence[BaseRoute]
    arrived: Callable[[], int]
    """How much has come from the bot so far; what came since one looked is unread."""
    close: Callable[[], None]
    """Ends its streams."""


def pages(panels: Sequence[Panel]) -> Starlette:
    """All of them as one application, with `/panels` for the rail. Without a panel at `/`, that leads to the first."""

    def listed() -> Json:
        shown = [{"key": p.key, "label": p.label, "path": p.path, "arrived": p.arrived()} for p in panels]
        return {"panels": shown}

    async def first(_request: Request) -> Response:
        return RedirectResponse(panels[0].path)

    routes = [Route("/panels", reading(listed)), *(route for panel in panels for route in panel.routes)]
    if all(panel.path != "/" for panel in panels):
        routes.append(Route("/", first))
    return Starlette(routes=routes)
