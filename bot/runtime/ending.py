"""Ends tasks, and makes sure that they have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any


async def end(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel, and wait for the end. Again if need be: a library may turn a cancellation into a time-out of its own.

    Whoever is cancelled meanwhile, however often, still sees them to their end: what is left behind would go on with
    nobody to stop it.
    """
    interrupted = False
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        try:
            await asyncio.wait(running, timeout=0.1)
        except asyncio.CancelledError:
            interrupted = True
    await asyncio.gather(*tasks, return_exceptions=True)
    if interrupted:
        raise asyncio.CancelledError


def is_cancelled() -> bool:
    """Whether the task that asks was cancelled, and a library kept that to itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
