"""The SMTP side of the simulated server: what it offers, whom it takes mail for, and the trouble that a test asks for.

aiosmtpd speaks the protocol (line ends, sizes, dot-stuffing); here stands what an organisation's server decides.
"""

# ruff: noqa: ARG001, ARG002 the hooks have the arguments that aiosmtpd gives

import asyncio
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, LoginPassword, Session

from channels.email.simulator.faults import Faults

MAX_SIZE_BYTES = 10 * 1024 * 1024
_ASCII = 128
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")
"""A line end that is none in SMTP (RFC 5321, 2.3.8)."""


@dataclass(frozen=True)
class Security:
    """What a client has to bring. Without a password anybody may hand in mail: it is on loopback."""

    password: str | None = None
    tls: Literal["starttls", "tls", "none"] = "none"
    context: ssl.SSLContext | None = None
    """The server's own, with its certificate; needed unless `tls` is `none`."""


class Office(Protocol):
    """What the reception asks of the server behind it."""

    faults: Faults
    security: Security
    authserv_id: str

    def takes_mail_for(self, address: str) -> bool:
        """Whether this address is one of ours."""
        ...

    def take(self, raw: bytes, *, mail_from: str, rcpt_to: str, helo: str) -> None:
        """Keep a mail for one recipient."""
        ...


class Reception(SMTP):
    """One connection."""

    local_part_limit = 64

    def __init__(self, office: Office, seen: set["Reception"]) -> None:
        security = office.security
        super().__init__(
            _Desk(office),
            data_size_limit=MAX_SIZE_BYTES,
            hostname=office.authserv_id,
            ident="ESMTP",
            tls_context=security.context if security.tls == "starttls" else None,
            require_starttls=security.tls == "starttls",
            auth_require_tls=False,
            auth_exclude_mechanism=() if security.password else ("LOGIN", "PLAIN"),
            authenticator=_authenticator(office),
            loop=asyncio.get_running_loop(),
        )
        self._seen = seen

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Also called once TLS has begun."""
        self._seen.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """The end, whoever made it."""
        self._seen.discard(self)
        super().connection_lost(error)

    def cut(self) -> None:
        """End the connection without a word."""
        for transport in (self.transport, self._original_transport):
            if transport is not None:
                cast("asyncio.Transport", transport).abort()

    async def end(self) -> None:
        """The same, and wait for it: a client that left in the middle of a handshake is not noticed otherwise."""
        self.cut()
        talking = self._handler_coroutine
        if talking:
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)
        self._seen.discard(self)


class Shut(asyncio.Protocol):
    """A connection that gets an error in place of the greeting."""

    def __init__(self, line: str) -> None:
        self._line = line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say it, and hang up."""
        writer = cast("asyncio.Transport", transport)
        writer.write(f"{self._line}\r\n".encode())
        writer.close()


class _Desk:
    """The answers to each command, as aiosmtpd asks for them."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def handle_EHLO(  # noqa: N802 aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [line for line in responses if line != "250-8BITMIME" and line.strip() != "250-AUTH"]

    async def handle_AUTH(self, server: SMTP, session: Session, envelope: Envelope, args: list[str]) -> Any:  # noqa: N802, ANN401
        return self._office.faults.take("auth") or MISSING

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._office.security.password and not session.authenticated:
            return "530 5.7.0 Authentication required"
        if "BODY=8BITMIME" in options:
            return "555 5.5.4 8BITMIME is not offered"
        if fault := self._office.faults.take("mail"):
            return _said(fault, server)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if fault := self._office.faults.take("rcpt"):
            return _said(fault, server)
        if not self._office.takes_mail_for(address):
            return f"550 5.1.1 <{address}>: Recipient address rejected: User unknown"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if fault := self._office.faults.take("data"):
            return _said(fault, server)
        raw = cast("bytes", envelope.content)
        if _BARE.search(raw):
            # As Exchange Online does, instead of mending it: aiosmtpd, for which only CR LF ends a line, has refused
            # the longer ones of such mails already, as one long line.
            return "550 5.6.11 A line of this mail ends in LF or CR alone; SMTP wants CR LF"
        if any(byte >= _ASCII for byte in raw):
            return "554 5.6.3 8-bit data, but 8BITMIME is not offered"
        mail_from = "" if envelope.mail_from in {None, "<>"} else str(envelope.mail_from)
        for rcpt_to in dict.fromkeys(envelope.rcpt_tos):
            self._office.take(raw, mail_from=mail_from, rcpt_to=rcpt_to, helo=session.host_name or "")
        match self._office.faults.take_loss():
            case "cut":
                cast("Reception", server).cut()
            case "silence":
                await asyncio.Event().wait()  # until the client hangs up
            case None:
                pass
        return "250 2.0.0 Ok: queued"


def _said(fault: str, server: SMTP) -> str:
    if fault.startswith("421") and server.transport is not None:
        asyncio.get_running_loop().call_soon(server.transport.close)  # after the answer was written
    return fault


def _authenticator(office: Office) -> Callable[..., AuthResult]:
    def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: LoginPassword) -> AuthResult:
        good = given.password == (office.security.password or "").encode()
        return AuthResult(success=good, handled=False)

    return check
