"""How a process of the Procfile waits for its end."""

from __future__ import annotations

import asyncio
import signal

import structlog

logger = structlog.get_logger(__name__)


def stop_event() -> asyncio.Event:
    """Set by SIGTERM and by Ctrl-C. For the running loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def be_off(event: str, hint: str) -> None:
    """Say once what is missing, and wait for the end: a process that ends would take the others with it."""
    asyncio.run(_be_off(event, hint))


async def _be_off(event: str, hint: str) -> None:
    stop = stop_event()
    logger.warning(event, hint=hint)
    await stop.wait()
