"""Runs a `SimulatedSlack` inside the current event loop, on loopback only. Leaving the block stops all it started."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from channels.simulating import Panel, keep_saved, serve_pages
from channels.slack.simulator.app import SimulatedSlack


@asynccontextmanager
async def serve(simulator: SimulatedSlack, port: int = 0, *, beside: Sequence[Panel] = ()) -> AsyncGenerator[str]:
    """Serve until the block ends; gives the base URL, "http://127.0.0.1:8001" (0: any free port).

    The Web API is at `simulator.api_url`, the page at `/`, and those of `beside` where they say. Raises `OSError` when
    the port is taken.
    """
    saving = None
    try:
        async with serve_pages([simulator.panel, *beside], port) as base_url:
            simulator.base_url = base_url
            saving = keep_saved(simulator.workspace, simulator.save_to, simulator.workspace.save)
            try:
                yield base_url
            finally:
                await simulator.close_streams()
    finally:
        await simulator.close()
        if saving:
            await saving
