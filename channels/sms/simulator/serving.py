"""Runs a `SimulatedTwilio` under uvicorn inside the current event loop, on loopback only.

It installs no signal handlers: whoever starts it decides when it ends. Leaving the block stops everything it started.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from channels.sms.simulator.app import SimulatedTwilio
from channels.sms.simulator.network import Network

LOOPBACK = "127.0.0.1"


class _CuttableProtocol(H11Protocol):
    """Lets an endpoint reach its connection (`request.state.transport`), for answers that are lost on the way."""

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


@asynccontextmanager
async def serve(simulator: SimulatedTwilio, port: int = 0) -> AsyncGenerator[str]:
    """Serve until the block ends; gives the base URL, "http://127.0.0.1:8002" (0: any free port).

    Raises `OSError` when the port is taken.
    """
    config = uvicorn.Config(
        simulator.app, host=LOOPBACK, port=port, http=_CuttableProtocol, ws="none", lifespan="off", log_config=None,
        access_log=False, timeout_graceful_shutdown=2,
    )  # fmt: skip
    server = _Server(config)
    running = asyncio.create_task(_listen(server, port))
    listening = asyncio.create_task(server.listening.wait())
    await asyncio.wait({running, listening}, return_when=asyncio.FIRST_COMPLETED)
    listening.cancel()
    if running.done():
        running.result()
    simulator.base_url = f"http://{LOOPBACK}:{server.servers[0].sockets[0].getsockname()[1]}"
    saving = asyncio.create_task(_save(simulator.network, simulator.save_to)) if simulator.save_to else None
    try:
        yield simulator.base_url
    finally:
        await simulator.close()
        server.should_exit = True
        await running
        if saving:
            await saving


async def _listen(server: _Server, port: int) -> None:
    try:
        await server.serve()
    except SystemExit:
        # uvicorn leaves the process when it cannot bind; inside somebody else's loop that is an error like any other.
        raise OSError(f"port {port} on {LOOPBACK} is taken") from None


async def _save(network: Network, path: Path) -> None:
    async with contextlib.aclosing(network.subscribe()) as changes:
        async for change in changes:
            if change.number == network.change_number:  # the last of what has gathered
                network.save(path)
    network.save(path)
