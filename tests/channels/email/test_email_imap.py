"""The mailbox, read from a real Dovecot (EM1, EM6)."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from dovecot import Dovecot, access_token, dovecot, why_missing
from structlog.testing import capture_logs

from bot.core.protocols import StoreUnavailable
from bot.testing import wait_until
from channels.email.client.imap import ImapMailbox, ImapPlace, MailboxError
from channels.email.record import MAX_RAW_BYTES, RawMail

MISSING = why_missing()
REQUIRED = bool(os.environ.get("REQUIRE_DOVECOT"))
needs_dovecot = pytest.mark.skipif(bool(MISSING) and not REQUIRED, reason=MISSING or "there is one")


def mail(subject: str) -> bytes:
    return f"From: lena@acme.example\r\nTo: bot@acme.example\r\nSubject: {subject}\r\n\r\nHi (there) {{7}}\r\n".encode()


@dataclass
class Desk:
    """Takes mail, as the test wants it."""

    taken: list[RawMail] = field(default_factory=list[RawMail])
    tried: int = 0
    store_is_away: bool = False
    poison: bytes = b"Subject: poison"
    may_end: asyncio.Event | None = None

    async def take(self, record: RawMail) -> None:
        self.tried += 1
        if self.store_is_away:
            raise StoreUnavailable
        if self.poison in record.raw:
            raise ValueError("this mail breaks the code")
        if self.may_end:
            await self.may_end.wait()
        self.taken.append(record)

    @property
    def subjects(self) -> list[str]:
        return [one.raw.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode() for one in self.taken]


@pytest.fixture
def server() -> Generator[Dovecot]:
    assert not MISSING, MISSING
    with dovecot() as found:
        yield found


@asynccontextmanager
async def reading(place: ImapPlace, desk: Desk, *, idle_seconds: float = 600.0) -> AsyncGenerator[None]:
    """The process that reads, for as long as the block runs."""
    stop = asyncio.Event()
    mailbox = ImapMailbox(place, desk.take, idle_seconds=idle_seconds, poll_seconds=0.05, backoff_seconds=(0.05, 0.2))
    task = asyncio.create_task(mailbox.run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


@needs_dovecot
async def test_what_lies_there_unseen_is_taken_at_the_start_and_marked_as_seen(server: Dovecot) -> None:
    """EM6: the raw bytes come as they are; only what was taken is marked."""
    names = [server.deliver(mail(str(n))) for n in range(3)]
    desk = Desk()
    async with reading(server.place(), desk):
        await wait_until(lambda: all(server.is_seen(name) for name in names))
    assert desk.subjects == ["0", "1", "2"]
    assert desk.taken[0] == RawMail(raw=mail("0"), way="imap")


@needs_dovecot
async def test_a_mail_that_arrives_is_pushed(server: Dovecot) -> None:
    """EM6: with IDLE nothing is polled; the next IDLE alone would come after ten minutes."""
    desk = Desk()
    first = server.deliver(mail("first"))
    async with reading(server.place(), desk):
        await wait_until(lambda: server.is_seen(first))
        second = server.deliver(mail("second"))
        await wait_until(lambda: server.is_seen(second))
        third = server.deliver(mail("third"))
        await wait_until(lambda: server.is_seen(third))
    assert desk.subjects == ["first", "second", "third"]


@needs_dovecot
async def test_a_mail_is_marked_as_seen_only_after_it_was_stored(server: Dovecot) -> None:
    """EM1, EM6: not while it is being taken."""
    name = server.deliver(mail("slow"))
    desk = Desk(may_end=asyncio.Event())
    async with reading(server.place(), desk):
        await wait_until(lambda: desk.tried)
        assert desk.may_end
        assert not server.is_seen(name)
        desk.may_end.set()
        await wait_until(lambda: server.is_seen(name))
    assert desk.tried == 1


@needs_dovecot
async def test_a_mail_that_could_not_be_stored_is_tried_again(server: Dovecot) -> None:
    """EM1: while the store is away the mail stays unseen; afterwards it is taken once."""
    name = server.deliver(mail("patient"))
    desk = Desk(store_is_away=True)
    async with reading(server.place(), desk):
        await wait_until(lambda: desk.tried >= 2)
        assert not server.is_seen(name)
        desk.store_is_away = False
        await wait_until(lambda: server.is_seen(name))
    assert desk.subjects == ["patient"]


@needs_dovecot
async def test_a_lost_connection_is_made_anew(server: Dovecot) -> None:
    """EM6: the server's process is killed while it idles; what comes then is read by the next connection."""
    desk = Desk()
    first = server.deliver(mail("before"))
    async with reading(server.place(), desk):
        await wait_until(lambda: server.is_seen(first))
        old = server.sessions()
        server.kill_sessions()
        await wait_until(lambda: (now := server.sessions()) and now != old)
        second = server.deliver(mail("after"))
        await wait_until(lambda: server.is_seen(second))
    assert desk.subjects == ["before", "after"]


@needs_dovecot
async def test_a_connection_that_dies_while_a_mail_is_stored_does_not_take_it_twice(server: Dovecot) -> None:
    """EM6: it is known by UIDVALIDITY and UID, and only marked by the next connection."""
    name = server.deliver(mail("once"))
    desk = Desk(may_end=asyncio.Event())
    async with reading(server.place(), desk):
        await wait_until(lambda: desk.tried)
        server.kill_sessions()
        assert desk.may_end
        desk.may_end.set()
        await wait_until(lambda: server.is_seen(name))
    assert desk.subjects == ["once"]
    assert desk.tried == 1


@needs_dovecot
async def test_a_mailbox_that_was_made_anew_is_read_again(server: Dovecot) -> None:
    """EM6: after a change of UIDVALIDITY a known UID is another mail."""
    desk = Desk()
    poison = server.deliver(mail("poison"))
    async with reading(server.place(), desk):
        await wait_until(lambda: desk.tried)
        desk.poison = b"nothing any more"
        server.make_anew()
        server.kill_sessions()
        await wait_until(lambda: server.is_seen(poison))
    assert desk.subjects == ["poison"]


@needs_dovecot
async def test_a_mail_that_breaks_the_code_stays_and_blocks_no_other(server: Dovecot) -> None:
    """EM6: it is left unseen for a person, is not tried in a loop, and the others are taken."""
    names = [server.deliver(mail(one)) for one in ("poison", "good")]
    desk = Desk()
    with capture_logs() as logs:
        async with reading(server.place(), desk):
            await wait_until(lambda: server.is_seen(names[1]))
            later = server.deliver(mail("later"))
            await wait_until(lambda: server.is_seen(later))
    assert not server.is_seen(names[0])
    assert desk.subjects == ["good", "later"]
    assert desk.tried == 3
    assert [one["event"] for one in logs if one["log_level"] == "error"] == ["mail_not_taken"]


@needs_dovecot
async def test_of_a_mail_that_is_too_large_only_enough_is_read_to_refuse_it(server: Dovecot) -> None:
    """EM5: a mail of 11 MB comes as 10 MB and a byte, which is over the cap."""
    name = server.deliver(mail("large") + b"x" * 70 * 1024 * 160)
    desk = Desk()
    async with reading(server.place(), desk):
        await wait_until(lambda: server.is_seen(name), seconds=20)
    assert len(desk.taken[0].raw) == MAX_RAW_BYTES + 1


@needs_dovecot
async def test_idle_is_asked_for_again_and_again(server: Dovecot) -> None:
    """EM6: within its time, on the same connection, and nothing is lost between two of them."""
    desk = Desk()
    async with reading(server.place(), desk, idle_seconds=0.05):
        await wait_until(server.sessions)
        before = server.sessions()
        names: list[str] = []
        for n in range(5):
            names.append(server.deliver(mail(str(n))))
            await wait_until(lambda: server.is_seen(names[-1]))
        assert server.sessions() == before
    assert desk.subjects == ["0", "1", "2", "3", "4"]


@needs_dovecot
async def test_ping_logs_in_and_tells_what_the_server_can_do(server: Dovecot) -> None:
    """A password with quotes and a backslash arrives as it is."""
    assert "IDLE" in await ImapMailbox(server.place(), Desk().take).ping()


@needs_dovecot
async def test_ping_takes_an_access_token(server: Dovecot) -> None:
    """XOAUTH2, checked by the server itself."""
    place = server.place(access_token=access_token(), password="")
    assert "IDLE" in await ImapMailbox(place, Desk().take).ping()


@needs_dovecot
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"password": "wrong"}, "127.0.0.1 does not accept the login: see IMAP_USERNAME and IMAP_PASSWORD"),
        (
            {"access_token": access_token(key=b"another")},
            "127.0.0.1 does not accept the login: see IMAP_USERNAME and XOAUTH2, IMAP_ACCESS_TOKEN",
        ),
        ({"password": "two\r\nlines"}, "IMAP_USERNAME, IMAP_PASSWORD or IMAP_ACCESS_TOKEN holds what cannot be sent"),
        ({"tls": "tls"}, "the certificate of 127.0.0.1 is not trusted"),
        ({"tls": "starttls"}, "the certificate of 127.0.0.1 is not trusted"),
        ({"port": 1}, "no connection to 127.0.0.1:1"),
    ],
)
async def test_what_is_wrong_is_told_in_a_line(server: Dovecot, changes: dict[str, str | int], says: str) -> None:
    """And the line holds no password."""
    with pytest.raises(MailboxError) as failed:
        await ImapMailbox(server.place(**changes), Desk().take).ping()
    assert str(failed.value) == says


@needs_dovecot
@pytest.mark.parametrize("tls", ["tls", "starttls"])
async def test_both_ways_to_tls_work_with_a_certificate_that_is_trusted(
    server: Dovecot, tls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
    name = server.deliver(mail("in private"))
    desk = Desk()
    async with reading(server.place(tls=tls), desk):
        await wait_until(lambda: server.is_seen(name))
    assert desk.subjects == ["in private"]


class Scripted:
    """A server that says what a test wants, and keeps what it heard."""

    def __init__(self, greeting: str, capabilities: str, answers: dict[str, str] | None = None) -> None:
        self.greeting, self.capabilities, self.answers = greeting, capabilities, answers or {}
        self.heard: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        writer.write(f"{self.greeting}\r\n".encode())
        with contextlib.suppress(ConnectionError):
            while line := (await reader.readline()).decode():
                self.heard.append(line.strip())
                tag, _, rest = line.strip().partition(" ")
                answer = self.answers.get(rest.split(" ", maxsplit=1)[0], "{tag} OK done\r\n")
                if rest == "CAPABILITY":
                    answer = f"* CAPABILITY IMAP4rev1 {self.capabilities}\r\n{{tag}} OK done\r\n"
                writer.write(answer.format(tag=tag).encode())
        writer.close()


@asynccontextmanager
async def scripted(server: Scripted, **changes: str) -> AsyncGenerator[ImapPlace]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    values = {"username": "bot", "password": "secret", "access_token": "", "tls": "none"} | changes
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        yield ImapPlace(host="127.0.0.1", port=port, **values)  # pyright: ignore[reportArgumentType]
        for writer in server.writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@pytest.mark.parametrize(
    ("greeting", "capabilities"), [("* OK hello", "IDLE"), ("* PREAUTH hello", "STARTTLS"), ("* PREAUTH hello", "IDLE")]
)
async def test_starttls_never_goes_on_in_the_clear(greeting: str, capabilities: str) -> None:
    """Whoever stands in between may take STARTTLS out, or greet as if we were logged in: no login is sent."""
    server = Scripted(greeting, capabilities)
    async with scripted(server, tls="starttls") as place:
        with pytest.raises(MailboxError, match="does not offer STARTTLS"):
            await ImapMailbox(place, Desk().take).ping()
    assert all(line.endswith("CAPABILITY") for line in server.heard)


async def test_no_password_is_sent_where_the_server_does_not_want_it_in_the_clear() -> None:
    """LOGINDISABLED."""
    server = Scripted("* OK hello", "LOGINDISABLED")
    async with scripted(server) as place:
        with pytest.raises(MailboxError, match="takes no password without TLS"):
            await ImapMailbox(place, Desk().take).ping()
    assert not any("LOGIN" in line for line in server.heard)


async def test_without_idle_the_mailbox_is_asked_every_minute() -> None:
    """A poll is a search; the interval is injected here."""
    select = "* OK [UIDVALIDITY 7] valid\r\n{tag} OK [READ-WRITE] done\r\n"
    server = Scripted("* OK hello", "UIDPLUS", {"SELECT": select, "UID": "* SEARCH\r\n{tag} OK done\r\n"})
    async with scripted(server) as place, reading(place, Desk()):
        await wait_until(lambda: sum("SEARCH" in line for line in server.heard) > 2)
    assert not any("IDLE" in line for line in server.heard)
    assert sum("LOGIN" in line for line in server.heard) == 1


async def test_a_mailbox_that_cannot_be_written_is_an_error() -> None:
    """Nothing could be marked as seen, so every mail would come again and again."""
    server = Scripted("* OK hello", "IDLE", {"SELECT": "* OK [UIDVALIDITY 7] x\r\n{tag} OK [READ-ONLY] done\r\n"})
    async with scripted(server) as place:
        with pytest.raises(MailboxError, match="read-only"):
            await ImapMailbox(place, Desk().take).ping()


async def test_a_server_that_hangs_up_is_told_at_once() -> None:
    """Not after a time-out: the end of the connection is enough."""
    server = Scripted("* OK hello", "IDLE")

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK hello\r\n")
        await reader.readline()
        writer.close()

    server.serve = hang_up
    async with scripted(server) as place, asyncio.timeout(5):
        with pytest.raises(MailboxError, match="the connection was lost"):
            await ImapMailbox(place, Desk().take).ping()
