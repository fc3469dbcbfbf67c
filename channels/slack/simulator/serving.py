"""Runs a `SimulatedSlack` inside the current event loop, on loopback only. Leaving the block stops all it started."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from channels.simulating import Panel, serve_pages
from channels.slack.simulator.app import SimulatedSlack
from channels.slack.simulator.watching import Subscription
from channels.slack.simulator.workspace import Workspace


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
            saving = _start_saving(simulator)
            try:
                yield base_url
            finally:
                await simulator.close_streams()
    finally:
        await simulator.close()
        if saving:
            await saving


def _start_saving(simulator: SimulatedSlack) -> asyncio.Task[None] | None:
    changes = simulator.workspace.subscribe()
    if simulator.save_to is None or changes is None:
        return None
    return asyncio.create_task(_save(simulator.workspace, simulator.save_to, changes))


async def _save(workspace: Workspace, path: Path, changes: Subscription) -> None:
    async for _ in changes:
        changes.skip()
        workspace.save(path)
    workspace.save(path)
