"""The SMTP port, spoken to over a real socket (EM1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from bot.core.protocols import StoreUnavailable
from bot.testing import wait_until
from channels.email.listener import MAX_RECIPIENTS, MailListener
from channels.email.record import MAX_RAW_BYTES, RawMail

OWN = "bot@acme.example"
MAIL = b"From: lena@acme.example\r\nSubject: Hi\r\n\r\nHello\r\n"


@dataclass
class Desk:
    """Takes mail, as the test wants it."""

    taken: list[RawMail] = field(default_factory=list[RawMail])
    tried: int = 0
    fails: Exception | None = None
    may_end: asyncio.Event | None = None

    async def take(self, record: RawMail) -> None:
        self.tried += 1
        if self.fails:
            raise self.fails
        if self.may_end:
            await self.may_end.wait()
        self.taken.append(record)


class Client:
    """A mail server in front, or somebody who would like to be one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def say(self, *lines: str) -> str:
        """Say the lines one by one; the answer to the last."""
        answer = ""
        for line in lines:
            answer = await self.send(line.encode() + b"\r\n")
        return answer

    async def send(self, raw: bytes) -> str:
        """Say these bytes; the answer."""
        self._writer.write(raw)
        return await self.answer()

    async def answer(self) -> str:
        """The next answer, its last line; empty once the other side has hung up."""
        async with asyncio.timeout(10):
            while (line := (await self._reader.readline()).decode().rstrip("\r\n"))[3:4] == "-":
                pass
        return line

    async def hand_in(self, raw: bytes = MAIL, sender: str = "lena@acme.example", to: tuple[str, ...] = (OWN,)) -> str:
        """A whole mail; the answer to it."""
        await self.say(f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{one}>" for one in to), "DATA")
        return await self.send(raw.replace(b"\r\n.", b"\r\n..") + b".\r\n")


@asynccontextmanager
async def connected(listener: MailListener) -> AsyncGenerator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    client = Client(reader, writer)
    assert (await client.answer()).startswith("220 ")
    await client.say("EHLO mx.acme.example")
    try:
        yield client
    finally:
        writer.close()
        await asyncio.wait({asyncio.create_task(writer.wait_closed())})


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def listener(desk: Desk) -> AsyncGenerator[MailListener]:
    found = MailListener(desk.take, OWN, port=0, max_connections=3)
    await found.start()
    yield found
    await found.close()


async def test_a_mail_is_taken_with_its_envelope_and_its_exact_bytes(listener: MailListener, desk: Desk) -> None:
    """EM1: dots at the start of a line and 8-bit bytes come through as they are."""
    raw = b"Subject: Hi\r\n\r\n.a dot\r\n..two\r\n\xff\xfe caf\xc3\xa9\r\n"
    async with connected(listener) as client:
        assert await client.hand_in(raw, to=(OWN, "Bot+TOKEN@ACME.example")) == "250 2.0.0 OK, stored"
    recipients = (OWN, "Bot+TOKEN@ACME.example")
    assert desk.taken == [RawMail(raw, "smtp", envelope_from="lena@acme.example", envelope_to=recipients)]


async def test_the_null_sender_is_kept_as_such(listener: MailListener, desk: Desk) -> None:
    """EM15 needs it: a bounce comes from `<>`."""
    async with connected(listener) as client:
        await client.hand_in(sender="")
    assert desk.taken[0].envelope_from == ""


@pytest.mark.parametrize("fails", [StoreUnavailable(), ValueError("a mistake")])
async def test_what_was_not_stored_is_to_be_sent_again(listener: MailListener, desk: Desk, fails: Exception) -> None:
    """EM1: our own failure answers 4xx, whatever it was, and the next try is taken."""
    desk.fails = fails
    with capture_logs():
        async with connected(listener) as client:
            assert (await client.hand_in()).startswith("451 4.3.0 ")
            desk.fails = None
            assert (await client.hand_in()).startswith("250 ")
    assert len(desk.taken) == 1


async def test_the_yes_comes_after_the_mail_is_stored(listener: MailListener, desk: Desk) -> None:
    """EM1."""
    desk.may_end = asyncio.Event()
    async with connected(listener) as client:
        answer = asyncio.create_task(client.hand_in())
        await wait_until(lambda: desk.tried)
        assert not answer.done()
        desk.may_end.set()
        assert (await answer).startswith("250 ")
        assert desk.taken


@pytest.mark.parametrize(
    "address",
    [
        "lena@acme.example",
        "bot@other.example",
        "bot@sub.acme.example",
        "botx@acme.example",
        "bot+x@acme.example.evil.example",
        "x+bot@acme.example",
        "bot%evil.example@acme.example",
        '"bot@acme.example"@evil.example',
        "bot",
    ],
)
async def test_nothing_is_relayed(listener: MailListener, desk: Desk, address: str) -> None:
    """Only our own address is taken, with or without a tag."""
    async with connected(listener) as client:
        assert (await client.say("MAIL FROM:<a@b.example>", f"RCPT TO:<{address}>"))[0] == "5"
        assert (await client.say("DATA")).startswith("503 ")
    assert not desk.tried


async def test_recipients_are_bounded(listener: MailListener) -> None:
    """Tags are free, so their number is not."""
    async with connected(listener) as client:
        await client.say("MAIL FROM:<a@b.example>", *(f"RCPT TO:<bot+{n}@acme.example>" for n in range(MAX_RECIPIENTS)))
        assert (await client.say("RCPT TO:<bot@acme.example>")).startswith("452 ")


async def test_a_mail_that_is_too_large_is_refused_when_it_is_announced_and_when_it_is_not(
    listener: MailListener, desk: Desk
) -> None:
    """EM5: 10 MB."""
    async with connected(listener) as client:
        assert (await client.say(f"MAIL FROM:<a@b.example> SIZE={MAX_RAW_BYTES + 1}")).startswith("552 ")
        assert (await client.hand_in(b"x" * 98 + b"\r\n" + (b"y" * 98 + b"\r\n") * (MAX_RAW_BYTES // 100))).startswith(
            "552 "
        )
        assert (await client.hand_in()).startswith("250 ")
    assert [one.raw for one in desk.taken] == [MAIL]


async def test_lines_are_bounded(listener: MailListener, desk: Desk) -> None:
    """In commands and in mails."""
    async with connected(listener) as client:
        assert (await client.say("MAIL FROM:<" + "a" * 5000 + "@b.example>")).startswith("500 ")
        assert (await client.hand_in(b"x" * 5000 + b"\r\n")).startswith("500 ")
    assert not desk.tried


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n\n.\r\n", b"\r\n\0.\r\n"]
)
async def test_a_second_mail_cannot_be_smuggled_in(listener: MailListener, desk: Desk, end: bytes) -> None:
    """Only CR LF . CR LF ends a mail: what a server in front took for a part of the text stays one."""
    smuggled = (
        b"MAIL FROM:<boss@acme.example>\r\nRCPT TO:<bot@acme.example>\r\nDATA\r\nFrom: boss@acme.example\r\n\r\nAPPROVE"
    )
    raw = b"Subject: Hi\r\n\r\nHello" + end + smuggled + b"\r\n"
    async with connected(listener) as client:
        await client.say("MAIL FROM:<evil@x.example>", "RCPT TO:<bot@acme.example>", "DATA")
        assert (await client.send(raw + b".\r\n")).startswith("250 ")
        assert (await client.say("NOOP")).startswith("250 ")
    # A dot at the start of a line is taken off (RFC 5321, 4.5.2).
    assert [(one.envelope_from, one.raw) for one in desk.taken] == [("evil@x.example", raw.replace(b"\r\n.", b"\r\n"))]


@pytest.mark.parametrize("command", ["AUTH PLAIN AGEAYg==", "STARTTLS", "VRFY bot", "EXPN all", "BDAT 5"])
async def test_there_is_nothing_else_to_be_had(listener: MailListener, command: str) -> None:
    """No login, no list of who is here."""
    async with connected(listener) as client:
        assert not (await client.say(command)).startswith(("235", "220", "250"))


async def test_connections_are_bounded(listener: MailListener) -> None:
    """One too many is told so, and may come back when another has gone."""
    async with connected(listener), connected(listener):
        async with connected(listener):
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            assert (await reader.read()).startswith(b"421 4.3.2 ")
            writer.close()
            await writer.wait_closed()
        async with connected(listener) as again:
            assert (await again.say("NOOP")).startswith("250 ")


async def test_a_silent_connection_is_ended(desk: Desk) -> None:
    """After its time, which is short here."""
    listener = MailListener(desk.take, OWN, port=0, timeout_seconds=0.1)
    await listener.start()
    async with connected(listener) as client:
        assert await client.answer() == ""
    await listener.close()


async def test_closing_lets_the_mail_in_hand_be_stored(desk: Desk) -> None:
    """EM1: the sender gets its yes, and then nobody listens any more."""
    desk.may_end = asyncio.Event()
    listener = MailListener(desk.take, OWN, port=0)
    await listener.start()
    async with connected(listener) as client, connected(listener) as silent:
        answer = asyncio.create_task(client.hand_in())
        await wait_until(lambda: desk.tried)
        closing = asyncio.create_task(listener.close())
        await asyncio.sleep(0)
        desk.may_end.set()
        assert (await answer).startswith("250 ")
        assert await silent.answer() == ""
        await closing
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", listener.port)


async def test_a_port_that_is_taken_is_told(listener: MailListener, desk: Desk) -> None:
    """With OSError."""
    with pytest.raises(OSError, match="address already in use"):
        await MailListener(desk.take, OWN, port=listener.port).start()
