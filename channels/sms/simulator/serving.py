"""Runs a `SimulatedTwilio` on loopback. Leaving the block stops everything it started."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from channels.simulating import keep_saved
from channels.simulating.serving import serve_app
from channels.sms.simulator.app import SimulatedTwilio


@asynccontextmanager
async def serve(simulator: SimulatedTwilio, port: int = 0) -> AsyncGenerator[str]:
    """Serve until the block ends; gives the base URL, "http://127.0.0.1:8002" (0: any free port).

    Raises `OSError` when the port is taken.
    """
    async with serve_app(simulator.app, port) as simulator.base_url:
        saving = keep_saved(simulator.network, simulator.save_to, simulator.network.save)
        try:
            yield simulator.base_url
        finally:
            await simulator.close()
            if saving:
                await saving
