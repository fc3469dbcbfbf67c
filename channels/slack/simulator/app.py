"""`SimulatedSlack`: a whole Slack in one object, with people that a test or the page can act as.

The composition root of the simulator: the only place where its parts meet. What people can do is in `acting`. It must
never listen anywhere by itself: `serving` does that, on loopback.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import cast

import httpx
from starlette.routing import Route, WebSocketRoute

from channels.simulating import Panel
from channels.slack.simulator.acting import Acting
from channels.slack.simulator.delivery import Deliveries
from channels.slack.simulator.faults import Faults
from channels.slack.simulator.methods import Methods
from channels.slack.simulator.page import Page
from channels.slack.simulator.payloads import Payloads
from channels.slack.simulator.sample import sample_workspace
from channels.slack.simulator.socket_mode import Sockets
from channels.slack.simulator.tickets import Tickets
from channels.slack.simulator.uploads import Uploads
from channels.slack.simulator.web_api import PostLimiter, Tokens, WebApi
from channels.slack.simulator.workspace import Workspace


class SimulatedSlack(Acting):
    """A stateful Slack counterpart. Serve it with `serving.serve` and set `events_url` to the app's address.

    Tokens are made up unless given. `now` gives seconds since the epoch; `sleep` waits between retries. `ack_seconds`
    is Slack's patience with the app, `posts_per_second` the limit for each channel (None: unlimited, Slack: about 1).
    `notice` and `links` (label, address) appear on the page; `save_to` keeps the conversations over restarts.
    """

    def __init__(
        self,
        *,
        workspace: Workspace | None = None,
        events_url: str | None = None,
        http: httpx.AsyncClient | None = None,
        bot_token: str | None = None,
        app_token: str | None = None,
        signing_secret: str | None = None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        ack_seconds: float = 3.0,
        posts_per_second: float | None = None,
        notice: str = "",
        links: Iterable[tuple[str, str]] = (),
        save_to: Path | None = None,
    ) -> None:
        self.now, self.save_to = now, save_to
        self.workspace = workspace or _kept(save_to, now) or sample_workspace(now)
        self.tokens = Tokens(
            bot_token=bot_token or f"xoxb-{secrets.token_hex(16)}",
            app_token=app_token or f"xapp-1-{secrets.token_hex(16)}",
            signing_secret=signing_secret or secrets.token_hex(16),
        )
        self.base_url = "http://127.0.0.1"
        self.faults = Faults()
        self.tickets = Tickets(now)
        self.sockets = Sockets(app_id=self.workspace.app_id, ack_seconds=ack_seconds)
        self._own_http = None if http else httpx.AsyncClient()
        self.deliveries = Deliveries(
            http=http or cast("httpx.AsyncClient", self._own_http),
            url=events_url,
            sockets=self.sockets,
            signing_secret=self.tokens.signing_secret,
            now=now,
            sleep=sleep,
            ack_seconds=ack_seconds,
        )
        self.payloads = Payloads(self.workspace, lambda key: f"{self.base_url}/response/{key}")
        self.methods = Methods(self.workspace, self.payloads, self.tickets, self._tell)
        self.uploads = Uploads(self.workspace, self.methods, lambda key: f"{self.base_url}/upload/{key}")
        self.limiter = PostLimiter(posts_per_second, now)
        self.web_api = WebApi(
            workspace=self.workspace,
            methods=self.methods,
            tickets=self.tickets,
            faults=self.faults,
            tokens=self.tokens,
            limiter=self.limiter,
            socket_url=self._socket_url,
            sleep=sleep,
        )
        self.page = Page(self, notice=notice, links=links)
        self.panel = Panel(
            key="chat",
            label="Chat",
            path="/",
            routes=[
                Route("/api/{method}", self.web_api.call, methods=["GET", "POST"]),
                Route("/response/{key}", self.web_api.respond, methods=["POST"]),
                Route("/upload/{key}", self.uploads.receive, methods=["POST"]),
                WebSocketRoute("/link", self.sockets.endpoint),
                *self.page.routes(),
            ],
            arrived=self.page.arrived,
            close=self.page.streams.close,
        )

    @property
    def api_url(self) -> str:
        """What the app takes as `SLACK_API_URL`."""
        return f"{self.base_url}/api/"

    @property
    def events_url(self) -> str | None:
        """Where events, interactions and commands are sent."""
        return self.deliveries.url

    @events_url.setter
    def events_url(self, url: str | None) -> None:
        self.deliveries.url = url

    def _socket_url(self) -> str:
        return f"{self.base_url.replace('http', 'ws', 1)}/link?ticket={self.sockets.ticket()}"

    async def close_streams(self) -> None:
        """End what would keep a server from stopping: the page's streams and the app's sockets."""
        self.workspace.close_subscriptions()
        await self.sockets.close()

    async def close(self) -> None:
        """Stop all deliveries and free the connections; what was said stays readable."""
        await self.close_streams()
        await self.deliveries.close()
        if self._own_http:
            await self._own_http.aclose()


def _kept(path: Path | None, now: Callable[[], float]) -> Workspace | None:
    return Workspace.load(path, now) if path and path.exists() else None
