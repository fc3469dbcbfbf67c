"""Runs pages under uvicorn inside the current event loop, on loopback only.

It installs no signal handlers: whoever starts it decides when it ends. Leaving the block stops everything it started.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from channels.simulating.panels import Panel, pages

LOOPBACK = "127.0.0.1"
_GRACE_SECONDS = 2.0


class _CuttableProtocol(H11Protocol):
    """Lets a response reach its connection (`request.state.transport`), for answers that are lost on the way."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    """A server that leaves the process's signals alone and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @property
    def port(self) -> int:
        return self.servers[0].sockets[0].getsockname()[1]

    async def end(self) -> None:
        """Take nothing new, let what is being answered be answered, within reason.

        uvicorn's own end waits for ticks of 100 ms, twice: a third of the time of a short test.
        """
        for one in self.servers:
            one.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if answering := list(self.server_state.tasks):
            _, left = await asyncio.wait(answering, timeout=_GRACE_SECONDS)
            for task in left:
                task.cancel()


@asynccontextmanager
async def serve_app(app: ASGIApp, port: int = 0) -> AsyncGenerator[str]:
    """Serve until the block ends; gives the base URL, "http://127.0.0.1:8001" (0: any free port).

    Raises `OSError` when the port is taken. What keeps a connection open must have ended before the block does.
    """
    config = uvicorn.Config(
        app,
        host=LOOPBACK,
        port=port,
        http=_CuttableProtocol,
        ws="websockets-sansio",
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    server = _Server(config)
    running = asyncio.create_task(_listen(server, port))
    listening = asyncio.create_task(server.listening.wait())
    await asyncio.wait({running, listening}, return_when=asyncio.FIRST_COMPLETED)
    listening.cancel()
    if running.done():
        running.result()
    try:
        yield f"http://{LOOPBACK}:{server.port}"
    finally:
        try:
            await server.end()
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


@asynccontextmanager
async def serve_pages(panels: Sequence[Panel], port: int = 0) -> AsyncGenerator[str]:
    """Serve these panels as `serve_app` does, and end their streams with the block."""
    async with serve_app(pages(panels), port) as base_url:
        try:
            yield base_url
        finally:
            for panel in panels:
                panel.close()


async def _listen(server: _Server, port: int) -> None:
    try:
        await server.serve()
    except SystemExit:
        # uvicorn leaves the process when it cannot bind; inside somebody else's loop that is an error like any other.
        raise OSError(f"port {port} on {LOOPBACK} is taken") from None
