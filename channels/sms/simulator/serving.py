"""Runs a `SimulatedTwilio` on loopback. Leaving the block stops everything it started."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from channels.simulating.serving import serve_app
from channels.sms.simulator.app import SimulatedTwilio
from channels.sms.simulator.network import Network


@asynccontextmanager
async def serve(simulator: SimulatedTwilio, port: int = 0) -> AsyncGenerator[str]:
    """Serve until the block ends; gives the base URL, "http://127.0.0.1:8002" (0: any free port).

    Raises `OSError` when the port is taken.
    """
    async with serve_app(simulator.app, port) as simulator.base_url:
        saving = asyncio.create_task(_save(simulator.network, simulator.save_to)) if simulator.save_to else None
        try:
            yield simulator.base_url
        finally:
            await simulator.close()
            if saving:
                await saving


async def _save(network: Network, path: Path) -> None:
    async with contextlib.aclosing(network.subscribe()) as changes:
        async for change in changes:
            if change.number == network.change_number:  # the last of what has gathered
                network.save(path)
    network.save(path)
