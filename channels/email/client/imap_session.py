"""One connection to a mailbox: the only place that knows aioimaplib. Every failure is a MailboxError of one line.

aioimaplib leaves three things open, which are done here: a command that waits when the connection ends waits for ever,
STARTTLS does not exist, and news that comes in beside an answer is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from aioimaplib import aioimaplib as vendor

from channels.email.record import MAX_RAW_BYTES

_TIMEOUT_SECONDS = 30.0
_LITERAL = re.compile(rb"\d+ FETCH \(.*BODY\[\](?:<0>)? \{\d+\}", re.IGNORECASE)
_EMPTY = re.compile(rb'\d+ FETCH \(.*BODY\[\](?:<0>)? (?:""|NIL)', re.IGNORECASE)
_UID = re.compile(rb"\bUID (\d+)\b", re.IGNORECASE)
_VALIDITY = re.compile(rb"\[UIDVALIDITY (\d+)\]", re.IGNORECASE)
_NEWS = re.compile(rb"\* \d+ (?:EXISTS|RECENT)", re.IGNORECASE)
_NUMBERS = re.compile(rb"(?:\d+ ?)*")


class MailboxError(Exception):
    """The mailbox cannot be used now. One line that says why, without what a server said or a password."""


@dataclass(frozen=True)
class ImapPlace:
    """Which mailbox is read, and as whom."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    access_token: str = field(repr=False)
    """For XOAUTH2. Where there is one, the password is not used."""
    tls: Literal["tls", "starttls", "none"]
    """`none` sends in the clear, also the password: for a server on the same machine."""


class _Protocol(vendor.IMAP4ClientProtocol):
    """aioimaplib's, with ears for news and a word for XOAUTH2's error."""

    news: asyncio.Event

    def _untagged_response(self, line: bytes) -> Any:  # noqa: ANN401 aioimaplib's own Command
        if _NEWS.match(line):
            self.news.set()
        return super()._untagged_response(line)

    def _continuation(self, line: bytes) -> None:
        super()._continuation(line)
        waiting = self.pending_sync_command
        if waiting is not None and waiting.name == "AUTHENTICATE":
            cast("Any", self.transport).write(b"\r\n")  # the error is told; only an empty line gets it ended


class _Client(vendor.IMAP4):
    def create_client(self, host: str, port: int, loop: Any, conn_lost_cb: Any = None, ssl_context: Any = None) -> None:  # noqa: ANN401 aioimaplib's
        loop = asyncio.get_running_loop()
        protocol = _Protocol(loop, conn_lost_cb)
        protocol.news = asyncio.Event()
        self.protocol = protocol
        self.connecting = loop.create_task(loop.create_connection(lambda: protocol, host, port, ssl=ssl_context))
        self._client_task = self.connecting

    def drop(self) -> None:
        itself: Any = self  # aioimaplib's types say little
        for task in (itself.connecting, *itself.tasks, *itself.protocol.tasks):
            task.cancel()
        if self.protocol.transport is not None:
            cast("asyncio.Transport", self.protocol.transport).abort()


class ImapSession:
    """A mailbox that is open for reading."""

    def __init__(self, client: _Client, lost: asyncio.Event) -> None:
        self._client: Any = client  # aioimaplib's types say little
        self._wire: Any = client.protocol
        self._lost = lost
        self.uid_validity = 0

    @staticmethod
    async def open(place: ImapPlace, mailbox: str = "INBOX") -> ImapSession:
        """Connect, log in, select. Raises MailboxError."""
        logging.getLogger("aioimaplib").setLevel(logging.ERROR)  # its lines repeat what is in the mails
        lost = asyncio.Event()
        context = ssl.create_default_context() if place.tls != "none" else None
        client = _Client(
            place.host,
            place.port,
            timeout=_TIMEOUT_SECONDS,
            conn_lost_cb=lambda _: lost.set(),
            ssl_context=cast("ssl.SSLContext", context if place.tls == "tls" else None),
        )
        session = ImapSession(client, lost)
        try:
            await session._connect(place)
            if place.tls == "starttls":
                await session._start_tls(place, cast("ssl.SSLContext", context))
            await session._log_in(place)
            await session._select(mailbox)
        except BaseException:
            session.drop()
            raise
        return session

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What the server says it can do."""
        return tuple(sorted(self._wire.capabilities))

    @property
    def news(self) -> asyncio.Event:
        """Set when the server says that there is more in the mailbox."""
        return cast("asyncio.Event", self._wire.news)

    async def unseen(self) -> tuple[int, ...]:
        """The UIDs of all mails that are not marked as seen. Raises MailboxError."""
        found = await self._done("search", self._client.uid_search("UNSEEN", charset=None))
        lines = [bytes(line) for line in found.lines[:-1]]
        return tuple(sorted({int(one) for line in lines if _NUMBERS.fullmatch(line) for one in line.split()}))

    async def fetch(self, uid: int) -> bytes | None:
        """The raw mail, or its first `MAX_RAW_BYTES + 1` bytes. It stays unseen. None: it is gone.

        Raises MailboxError.
        """
        # So nothing larger is ever read, whatever the server says about the size.
        parts = f"(UID BODY.PEEK[]<0.{MAX_RAW_BYTES + 1}>)"
        lines = (await self._done("fetch", self._client.uid("FETCH", str(uid), parts), None)).lines
        for place, line in enumerate(lines):
            if isinstance(line, bytearray):
                continue  # a mail
            literal, after = _LITERAL.fullmatch(line), lines[place + 2 : place + 3]
            about = _UID.search(line) or _UID.search(b"".join(after) if literal else b"")
            if about is None or int(about[1]) != uid:
                continue
            if literal:
                return bytes(lines[place + 1])
            if _EMPTY.match(line):
                return b""
        return None

    async def mark_seen(self, uid: int) -> None:
        """Raises MailboxError."""
        await self._done("store", self._client.uid("STORE", str(uid), "+FLAGS.SILENT", r"(\Seen)"))

    async def wait_for_news(self, stop: asyncio.Event, *, idle_seconds: float, poll_seconds: float) -> None:
        """Wait until there is news, or the time is over, or `stop`. Raises MailboxError."""
        if not self._client.has_capability("IDLE"):
            await self._first(stop, self.news, seconds=poll_seconds)
            return
        idle = asyncio.create_task(self._client.idle())
        try:
            await self._until("idle", self._wire.wait_for_idle_response(), also=idle)
            await self._first(stop, self.news, seconds=idle_seconds)
            self._client.idle_done()
            await self._until("idle", asyncio.shield(idle))
        finally:
            idle.cancel()
            await asyncio.gather(idle, return_exceptions=True)
            while not self._wire.idle_queue.empty():
                self._wire.idle_queue.get_nowait()

    async def close(self) -> None:
        """Log out, if the server still listens."""
        try:
            await self._until("logout", self._client.logout(), seconds=2.0)
        except MailboxError:
            pass
        finally:
            self.drop()

    def drop(self) -> None:
        """Let go of the connection at once."""
        self._client.drop()

    async def _connect(self, place: ImapPlace) -> None:
        try:
            await self._until("connect", self._client.wait_hello_from_server())
        except ssl.SSLCertVerificationError as error:
            raise MailboxError(f"the certificate of {place.host} is not trusted") from error
        except ssl.SSLError as error:
            raise MailboxError(f"{place.host}:{place.port} does not speak TLS from the start; see IMAP_TLS") from error
        except OSError as error:
            raise MailboxError(f"no connection to {place.host}:{place.port}") from error

    async def _start_tls(self, place: ImapPlace, context: ssl.SSLContext) -> None:
        """Never goes on in the clear: a server that does not offer it, or is already logged in, is refused."""
        if self._wire.state != vendor.NONAUTH or not self._client.has_capability("STARTTLS"):
            raise MailboxError(f"{place.host} does not offer STARTTLS; see IMAP_TLS")
        command = vendor.Command("STARTTLS", self._wire.new_tag(), loop=self._wire.loop)
        await self._done("STARTTLS", self._wire.execute(command))
        if self._wire.incomplete_line:
            raise MailboxError(f"{place.host} said something between STARTTLS and TLS")
        loop = asyncio.get_running_loop()
        try:
            secure = await loop.start_tls(self._wire.transport, self._wire, context, server_hostname=place.host)
        except ssl.SSLCertVerificationError as error:
            raise MailboxError(f"the certificate of {place.host} is not trusted") from error
        except OSError as error:
            raise MailboxError(f"TLS with {place.host} failed") from error
        self._wire.transport = secure
        self._wire.capabilities = set[str]()  # what was said in the clear does not count
        await self._until("capability", self._wire.capability())

    async def _log_in(self, place: ImapPlace) -> None:
        try:
            if place.access_token:
                answer = await self._until("login", self._wire.xoauth2(place.username, place.access_token))
            elif self._client.has_capability("LOGINDISABLED"):
                raise MailboxError(f"{place.host} takes no password without TLS; see IMAP_TLS")
            else:
                answer = await self._until("login", self._wire.login(vendor.quoted(place.username), place.password))
        except ValueError as error:
            raise MailboxError("IMAP_USERNAME, IMAP_PASSWORD or IMAP_ACCESS_TOKEN holds what cannot be sent") from error
        if answer.result != "OK":
            what = "XOAUTH2, IMAP_ACCESS_TOKEN" if place.access_token else "IMAP_PASSWORD"
            raise MailboxError(f"{place.host} does not accept the login: see IMAP_USERNAME and {what}")
        await self._until("capability", self._wire.capability())

    async def _select(self, mailbox: str) -> None:
        found = await self._done("select", self._client.select(mailbox))
        validity = next((one for line in found.lines if (one := _VALIDITY.search(line))), None)
        if validity is None:
            raise MailboxError("the server has no lasting UIDs")
        if b"READ-ONLY" in found.lines[-1].upper():
            raise MailboxError("the mailbox is read-only, so nothing can be marked as seen")
        self.uid_validity = int(validity[1])

    async def _done(
        self, step: str, command: Coroutine[Any, Any, Any], seconds: float | None = _TIMEOUT_SECONDS
    ) -> Any:  # noqa: ANN401
        """The answer to a command, if it is OK. Raises MailboxError."""
        answer = await self._until(step, command, seconds=seconds)
        if answer.result != "OK":
            raise MailboxError(f"the server refuses {step}")
        return answer

    async def _until(
        self,
        step: str,
        doing: Any,  # noqa: ANN401 aioimaplib's answers
        *,
        also: asyncio.Task[Any] | None = None,
        seconds: float | None = _TIMEOUT_SECONDS,
    ) -> Any:  # noqa: ANN401
        """What `doing` gives, unless the connection ends, `also` is over, or the time is. Raises MailboxError."""
        task = asyncio.ensure_future(doing)
        lost = asyncio.ensure_future(self._lost.wait())
        waiting = {task, lost, *([also] if also else [])}
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
        except vendor.CommandTimeout as error:
            raise MailboxError(f"the server does not answer ({step})") from error
        except vendor.AioImapException as error:
            raise MailboxError(f"the server answers something else ({step})") from error
        except TimeoutError as error:
            raise MailboxError(f"the server does not answer ({step})") from error
        finally:
            task.cancel()
            lost.cancel()
        raise MailboxError("the connection was lost" if self._lost.is_set() else f"the server does not answer ({step})")

    async def _first(self, *events: asyncio.Event, seconds: float) -> None:
        """Until one of them is set, or the time is over. Raises MailboxError once the connection is lost."""
        waiting = [asyncio.ensure_future(one.wait()) for one in (*events, self._lost)]
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
        if self._lost.is_set():
            raise MailboxError("the connection was lost")
