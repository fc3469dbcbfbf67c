"""POP3 (RFC 1939) over the simulated mailboxes, so that any mail program can be pointed at them. Loopback only."""

import asyncio
import contextlib
from collections.abc import Callable

from channels.email.simulator.records import StoredMail
from channels.email.simulator.store import Store

_MAX_LINE = 512
"""Characters of a command that are looked at; there is none that needs more."""
_CAPABILITIES = ("USER", "UIDL", "TOP", "RESP-CODES")


class _No(Exception):  # noqa: N818 an answer of the protocol
    """An answer that begins with `-ERR`."""


class Pop3:
    """The maildrops. As in the RFC, one session at a time has a maildrop, and deletes when it quits."""

    def __init__(self, store: Store, is_mailbox: Callable[[str], bool], password: str | None) -> None:
        self._store = store
        self._is_mailbox = is_mailbox
        self._password = password
        self._open: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        if task:
            self._tasks.add(task)
        session = _Session(self._store)
        try:
            await self._talk(session, reader, writer)
        except (ConnectionError, asyncio.LimitOverrunError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # nothing is deleted unless the client quits in order; a cancelled session is the server's end
        finally:
            self._open.discard(session.owner)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()
            if task:
                self._tasks.discard(task)

    async def close(self) -> None:
        """End every session."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _talk(self, session: "_Session", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+OK ready\r\n")
        while True:
            await writer.drain()
            line = await reader.readuntil(b"\n")
            command, _, argument = line.decode("utf-8", "replace").strip().partition(" ")
            command = command.upper()
            try:
                writer.write(self._answer(session, command[:_MAX_LINE], argument.strip()[:_MAX_LINE]))
            except _No as error:
                writer.write(f"-ERR {error}\r\n".encode())
            if command == "QUIT":
                await writer.drain()
                return

    def _answer(self, session: "_Session", command: str, argument: str) -> bytes:
        match command:
            case "CAPA":
                return _lines("capabilities", _CAPABILITIES)
            case "NOOP":
                return b"+OK\r\n"
            case "QUIT":
                session.settle()
                return b"+OK bye\r\n"
            case "USER" if not session.owner:
                session.user = argument.lower()
                return b"+OK\r\n"
            case "PASS" if session.user and not session.owner:
                return self._log_in(session, argument)
            case _ if session.owner:
                return session.answer(command, argument)
            case _:
                raise _No("log in first")

    def _log_in(self, session: "_Session", password: str) -> bytes:
        known = self._is_mailbox(session.user)
        if not known or (self._password is not None and password != self._password):
            raise _No("[AUTH] no such mailbox or wrong password")
        if session.user in self._open:
            raise _No("[IN-USE] somebody else reads this mailbox")
        self._open.add(session.user)
        session.log_in()
        return b"+OK\r\n"


class _Session:
    """One maildrop, as it was at the login."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.user = ""
        self.owner = ""
        self._mails: list[StoredMail] = []
        self._deleted: set[int] = set()

    def log_in(self) -> None:
        self.owner = self.user
        self._mails = self._store.of(self.owner)

    def settle(self) -> None:
        """Delete what was marked."""
        for at in self._deleted:
            self._store.remove(self._mails[at - 1], "deleted")

    def answer(self, command: str, argument: str) -> bytes:
        there = [(at, mail) for at, mail in enumerate(self._mails, 1) if at not in self._deleted]
        match command:
            case "STAT":
                return f"+OK {len(there)} {sum(len(mail.raw) for _, mail in there)}\r\n".encode()
            case "LIST" | "UIDL":
                entry = _size if command == "LIST" else _unique
                if argument:
                    at, mail = self._one(argument)
                    return f"+OK {entry(at, mail)}\r\n".encode()
                return _lines(f"{len(there)} mails", [entry(at, mail) for at, mail in there])
            case "RETR":
                _, mail = self._one(argument)
                return _raw(mail.raw)
            case "TOP":
                number, _, count = argument.partition(" ")
                _, mail = self._one(number)
                if not count.strip().isdecimal():
                    raise _No("TOP takes a number and a count")
                head, gap, body = mail.raw.partition(b"\r\n\r\n")
                return _raw(head + gap + b"".join(body.splitlines(keepends=True)[: int(count)]))
            case "DELE":
                self._deleted.add(self._one(argument)[0])
                return b"+OK\r\n"
            case "RSET":
                self._deleted.clear()
                return b"+OK\r\n"
            case _:
                raise _No("unknown command")

    def _one(self, number: str) -> tuple[int, StoredMail]:
        at = int(number) if number.isdecimal() and len(number) < 10 else 0  # noqa: PLR2004
        if not 1 <= at <= len(self._mails) or at in self._deleted:
            raise _No("no such mail")
        return at, self._mails[at - 1]


def _size(at: int, mail: StoredMail) -> str:
    return f"{at} {len(mail.raw)}"


def _unique(at: int, mail: StoredMail) -> str:
    return f"{at} mail-{mail.number:08d}"


def _lines(first: str, lines: tuple[str, ...] | list[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in (f"+OK {first}", *lines, ".")).encode()


def _raw(raw: bytes) -> bytes:
    stuffed = b"".join(b"." + line if line.startswith(b".") else line for line in raw.splitlines(keepends=True))
    end = b"" if stuffed.endswith(b"\r\n") else b"\r\n"
    return b"+OK\r\n" + stuffed + end + b".\r\n"
