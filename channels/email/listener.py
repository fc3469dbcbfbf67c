"""An SMTP port of our own, for a mail server in front that hands us our mail (EM1). No relay, no login.

It says 250 only once the mail is stored; where that failed, 451, and the server in front keeps it and tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import cast

import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session

from bot.core.protocols import StoreUnavailable
from channels.email.record import MAX_RAW_BYTES, RawMail

logger = structlog.get_logger(__name__)

Take = Callable[[RawMail], Awaitable[object]]

MAX_RECIPIENTS = 20
_AGAIN = "451 4.3.0 Not stored, please try again later"
_CROWDED = b"421 4.3.2 Too many connections, please try again later\r\n"
_COMMANDS = 1000
"""Of one kind on one connection."""
_GOODBYE_SECONDS = 2.0


class MailListener:
    """The port. Takes mail for `own_address`, and for it with a `+tag`, from anybody who can connect."""

    def __init__(
        self,
        take: Take,
        own_address: str,
        *,
        host: str = "127.0.0.1",
        port: int = 2525,
        max_connections: int = 20,
        timeout_seconds: float = 120.0,
        drain_seconds: float = 10.0,
    ) -> None:
        self._desk = _Desk(take, own_address)
        self._host = host
        self.port = port
        """Where it listens; with 0 given, known once it does."""
        self._max_connections = max_connections
        self._timeout_seconds = timeout_seconds
        self._drain_seconds = drain_seconds
        self._open: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises OSError where somebody else does, or the host is none of ours."""
        logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd's own lines repeat addresses and commands
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, self._host, self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more, let the mails in hand be stored, and end every connection."""
        if self._server is None:
            return
        self._server.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._desk.idle.wait(), self._drain_seconds)
        ended = [connection.end() for connection in list(self._open)]
        await asyncio.gather(*ended)
        await self._server.wait_closed()
        self._server = None

    def _connection(self) -> asyncio.BaseProtocol:
        if len(self._open) >= self._max_connections:
            return _Crowded()
        return _Connection(self._desk, self._open, self._timeout_seconds)


class _Connection(SMTP):
    """One connection. aiosmtpd ends a mail at CR LF `.` CR LF and nowhere else: nothing can be smuggled behind it."""

    local_part_limit = 64

    def __init__(self, desk: _Desk, opened: set[_Connection], timeout_seconds: float) -> None:
        super().__init__(
            desk,
            data_size_limit=MAX_RAW_BYTES,
            hostname=desk.own_address.rpartition("@")[2],
            ident="ESMTP",
            timeout=timeout_seconds,
            command_call_limit=_COMMANDS,
            loop=asyncio.get_running_loop(),
        )
        self._opened = opened
        self._lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._opened.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._opened.discard(self)
        self._lost.set()
        super().connection_lost(error)

    async def end(self) -> None:
        """Hang up, once what was said is out; at once where the other side does not read."""
        transport = cast("asyncio.Transport | None", self.transport)
        if transport is None:
            return
        transport.close()
        try:
            await asyncio.wait_for(self._lost.wait(), _GOODBYE_SECONDS)
        except TimeoutError:
            transport.abort()


class _Crowded(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        writer = cast("asyncio.Transport", transport)
        writer.write(_CROWDED)
        writer.close()


class _Desk:
    """The answers to the commands, as aiosmtpd asks for them."""

    def __init__(self, take: Take, own_address: str) -> None:
        self.own_address = own_address.lower()
        self.idle = asyncio.Event()
        """No mail is being stored."""
        self.idle.set()
        self._take = take
        self._in_hand = 0

    async def handle_RCPT(  # noqa: N802 aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, session, options
        if not self._is_own(address):
            return "550 5.7.1 No relay: this takes mail for one address only"
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        del server, session
        sender = envelope.mail_from or ""
        mail = RawMail(
            raw=cast("bytes", envelope.content),
            way="smtp",
            envelope_from="" if sender == "<>" else sender,
            envelope_to=tuple(dict.fromkeys(envelope.rcpt_tos)),
        )
        self._in_hand += 1
        self.idle.clear()
        try:
            await self._take(mail)
        except StoreUnavailable:
            logger.warning("mail_not_stored", way="smtp")
            return _AGAIN
        except Exception:  # the sender is to keep the mail, whatever went wrong here
            logger.exception("mail_not_taken", way="smtp")
            return _AGAIN
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self.idle.set()
        return "250 2.0.0 OK, stored"

    async def handle_exception(self, error: Exception) -> str:
        """What is said about a mistake of ours: nothing that it holds."""
        logger.error("smtp_session_failed", error=type(error).__name__)
        return "451 4.3.0 Error in processing, please try again later"

    def _is_own(self, address: str) -> bool:
        local, _, domain = address.lower().rpartition("@")
        own_local, _, own_domain = self.own_address.rpartition("@")
        return domain == own_domain and (local == own_local or local.startswith(f"{own_local}+"))
