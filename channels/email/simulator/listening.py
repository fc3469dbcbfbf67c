"""The SMTP port of the simulated server, on loopback: open, shut, and open again."""

import asyncio

from channels.email.simulator.reception import Office, Reception, Shut

LOOPBACK = "127.0.0.1"


class Listening:
    """The port and the connections to it."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._server: asyncio.Server | None = None
        self._open: set[Reception] = set()
        self.connections = 0
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen; 0: any free port. Raises OSError when the port is taken."""
        security = self._office.security
        context = security.context if security.tls == "tls" else None
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, LOOPBACK, port, ssl=context, reuse_address=True)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Listen no more, and cut every connection."""
        if self._server is None:
            return
        self._server.close()
        for reception in list(self._open):
            await reception.end()
        await self._server.wait_closed()
        self._server = None

    def _connection(self) -> asyncio.BaseProtocol:
        self.connections += 1
        if fault := self._office.faults.take("connect"):
            return Shut(fault)
        return Reception(self._office, self._open)
