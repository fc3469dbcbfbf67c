"""Runs a `SimulatedMail` inside the current event loop, on loopback only. Leaving the block stops all it started."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from channels.email.simulator.listening import LOOPBACK
from channels.email.simulator.office import SimulatedMail
from channels.email.simulator.pop3 import Pop3


@dataclass(frozen=True, slots=True)
class Ports:
    """Where it listens."""

    host: str
    smtp: int
    pop3: int


@asynccontextmanager
async def serve(office: SimulatedMail, *, smtp_port: int = 0, pop3_port: int = 0) -> AsyncGenerator[Ports]:
    """Serve until the block ends; 0: any free port. Raises OSError when a port is taken."""
    pop3 = Pop3(office.store, office.mailboxes.__contains__, office.security.password)
    await office.listening.start(smtp_port)
    try:
        server = await asyncio.start_server(pop3.connected, LOOPBACK, pop3_port)
        for mail in office.waiting():  # from before a restart
            office.queue.add(mail)
        try:
            yield Ports(LOOPBACK, office.listening.port, int(server.sockets[0].getsockname()[1]))
        finally:
            server.close()
            await pop3.close()
            await server.wait_closed()
    finally:
        await office.queue.close()
        await office.listening.stop()
        office.store.close_subscriptions()
