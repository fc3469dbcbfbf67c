"""The simulated mail server is one: smtplib, poplib and a listener of the bot's find what RFCs and servers promise."""

from __future__ import annotations

import asyncio
import poplib
import smtplib
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from bot.testing import FakeClock, wait_until
from channels.email.simulator import MAX_SIZE_BYTES, Mailbox, Ports, Security, SimulatedMail, serve
from channels.simulating import Change

BOT, LENA, ANA = "bot@acme.example", "lena@acme.example", "ana@acme.example"
PEOPLE = (Mailbox(LENA, "Lena Vogt"), Mailbox(ANA, "Ana Ünal"))


class Listener:
    """The bot's own SMTP listener: keeps what it gets, and refuses as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, list[str], bytes]] = []
        self.answers: list[str] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: ARG002, N802
        if self.answers:
            return self.answers.pop(0)
        assert isinstance(envelope.content, bytes)
        self.got.append((envelope.mail_from or "", envelope.rcpt_tos, envelope.content))
        return "250 OK"


class Pauses:
    """Pauses that pass once the test lets them."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await self.over.wait()


@asynccontextmanager
async def listening(listener: Listener) -> AsyncGenerator[int]:
    """The listener on a free port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(listener, hostname="bot", loop=loop), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


def office(
    *,
    bot_port: int | None = None,
    save_to: Path | None = None,
    security: Security | None = None,
    pauses: Pauses | None = None,
) -> SimulatedMail:
    """The server of acme.example, with two mailboxes and a bot."""
    return SimulatedMail(
        PEOPLE,
        bot_address=BOT,
        bot_port=bot_port,
        now=FakeClock().now,
        sleep=pauses or Pauses(),
        save_to=save_to,
        security=security,
    )


def plain(text: str = "hello", *, sender: str = LENA, to: str = ANA) -> EmailMessage:
    """A small mail."""
    message = EmailMessage(policy=WIRE)
    message["From"], message["To"], message["Subject"] = sender, to, "hi"
    message.set_content(text)
    return message


def client(ports: Ports) -> smtplib.SMTP:
    """The standard library's client, connected."""
    return smtplib.SMTP(ports.host, ports.smtp, timeout=10, local_hostname="[127.0.0.1]")


async def test_mail_between_people_is_kept_as_it_came() -> None:
    """What smtplib hands in lies in the mailbox, below the server's own stamps; each copy is a mail."""
    mail = office()
    async with serve(mail) as ports:

        def send() -> None:
            with client(ports) as smtp:
                smtp.send_message(plain("hello\n.\n..dots\nend"))
                smtp.send_message(plain("hello\n.\n..dots\nend"))

        await asyncio.to_thread(send)
        first, second = mail.inbox(ANA)
        assert second.number > first.number
        assert first.text == "hello\r\n.\r\n..dots\r\nend\r\n"
        assert first.mail_from == LENA
        assert first.headers["Return-Path"] == f"<{LENA}>"
        assert str(first.headers["Received"]).startswith("from [127.0.0.1] by mx.acme.example")
        assert mail.inbox(LENA) == []
        assert mail.connections == 1


async def test_what_the_server_refuses() -> None:
    """Strangers' mailboxes, other domains, 8-bit data, and mails over the size are refused, and the client is told."""
    mail = office()
    async with serve(mail) as ports:

        def refusals() -> list[int]:
            codes: list[int] = []
            with client(ports) as smtp:
                smtp.ehlo()
                assert smtp.esmtp_features["size"] == str(MAX_SIZE_BYTES)
                assert {"8bitmime", "smtputf8", "starttls", "auth"}.isdisjoint(smtp.esmtp_features)
                for to in ("nobody@acme.example", "lena@other.example", f"{'x' * 65}@acme.example"):
                    smtp.rset()
                    smtp.mail(LENA)
                    codes.append(smtp.rcpt(to)[0])
                smtp.rset()
                codes.append(smtp.mail(LENA, ["BODY=8BITMIME"])[0])
                codes.append(smtp.mail(LENA, [f"SIZE={MAX_SIZE_BYTES + 1}"])[0])
                for body in (b"Subject: x\r\n\r\n\xff\r\n", b"x" * 1_100 + b"\r\n"):
                    smtp.rset()
                    smtp.mail(LENA)
                    smtp.rcpt(ANA)
                    codes.append(smtp.data(body)[0])
            return codes

        assert await asyncio.to_thread(refusals) == [550, 550, 553, 555, 552, 554, 500]
        assert mail.inbox(ANA) == []


async def test_a_bare_line_feed_does_not_end_a_mail() -> None:
    """Smuggling: a second mail behind an end that is none is part of the first, and refused with it."""
    mail = office()
    async with serve(mail) as ports:

        def smuggle() -> None:
            with socket.create_connection((ports.host, ports.smtp), timeout=10) as raw, raw.makefile("rb") as answers:
                for line in (b"", b"EHLO x", f"MAIL FROM:<{LENA}>".encode(), f"RCPT TO:<{ANA}>".encode(), b"DATA"):
                    if line:
                        raw.sendall(line + b"\r\n")
                    while answers.readline()[3:4] == b"-":
                        pass
                evil = f"\n.\nMAIL FROM:<{BOT}>\nRCPT TO:<{ANA}>\nDATA\nSubject: evil\n\nx\n.\n".encode()
                raw.sendall(b"Subject: one\r\n\r\nx" + evil + b"\r\n.\r\n")
                assert answers.readline().startswith(b"550 5.6.11")
                raw.sendall(b"NOOP\r\n")
                assert answers.readline().startswith(b"250")

        await asyncio.to_thread(smuggle)
        assert mail.inbox(ANA) == []


@pytest.mark.parametrize("line_end", [b"\n", b"\r"], ids=["LF", "CR"])
async def test_other_line_ends_than_those_of_smtp_are_refused_aloud(line_end: bytes) -> None:
    """What smtplib hands in as bytes goes out as it is; the bot would find a broken header in it and say nothing."""
    mail = office()
    async with serve(mail):
        short, longer = (plain("hello\n" * count).as_bytes().replace(b"\r\n", line_end) for count in (1, 500))
        codes: list[int] = []
        for raw in (short, longer):
            with pytest.raises(smtplib.SMTPDataError) as refused:
                await mail.submit(raw, mail_from=LENA, rcpt_to=[ANA])
            codes.append(refused.value.smtp_code)
        assert codes == [550, 500]
        assert mail.inbox(ANA) == []


async def test_any_mail_program_can_read_the_mailboxes() -> None:
    """POP3: list, read, peek, delete and change one's mind, with the standard library's client."""
    mail = office()
    async with serve(mail) as ports:
        await mail.write(LENA, ANA, "one", "first\n.dot")
        await mail.write(LENA, ANA, "two", "second")

        def read() -> None:
            with pytest.raises(poplib.error_proto, match="AUTH"):
                logged_in("nobody@acme.example", ports)
            box = logged_in(ANA, ports)
            with pytest.raises(poplib.error_proto, match="IN-USE"):
                logged_in(ANA, ports)
            assert {"UIDL", "TOP"} <= box.capa().keys()
            assert box.stat() == (2, sum(len(one.raw) for one in mail.inbox(ANA)))
            assert len(box.list()[1]) == 2
            assert len(set(box.uidl()[1])) == 2
            assert b"\r\n".join(box.retr(1)[1]) + b"\r\n" == mail.inbox(ANA)[0].raw
            top = box.top(2, 0)[1]
            assert b"Subject: two" in top
            assert b"second" not in top
            box.dele(1)
            with pytest.raises(poplib.error_proto):
                box.retr(1)
            box.rset()
            box.dele(2)
            with pytest.raises(poplib.error_proto):
                box.retr(99)
            box.noop()
            box.quit()

        await asyncio.to_thread(read)
        assert [one.subject for one in mail.inbox(ANA)] == ["one"]


def logged_in(address: str, ports: Ports, password: str = "any") -> poplib.POP3:
    """A session of the standard library's client; closed where the login fails."""
    box = poplib.POP3(ports.host, ports.pop3, timeout=10)
    try:
        box.user(address)
        box.pass_(password)
    except poplib.error_proto:
        box.close()
        raise
    return box


async def test_a_session_that_breaks_off_deletes_nothing() -> None:
    """POP3: only QUIT deletes."""
    mail = office()
    async with serve(mail) as ports:
        await mail.write(LENA, ANA, "one", "x")

        def read() -> None:
            box = logged_in(ANA, ports)
            box.dele(1)
            box.close()

        await asyncio.to_thread(read)
        assert len(mail.inbox(ANA)) == 1


async def test_where_a_password_is_set_it_is_needed() -> None:
    """SMTP and POP3 ask for it; people write with it."""
    mail = office(security=Security(password="right"))
    async with serve(mail) as ports:

        def wrong() -> None:
            with client(ports) as smtp:
                with pytest.raises(smtplib.SMTPSenderRefused, match="530"):
                    smtp.send_message(plain())
                with pytest.raises(smtplib.SMTPAuthenticationError):
                    smtp.login(LENA, "wrong")
            with pytest.raises(poplib.error_proto):
                logged_in(LENA, ports, "wrong")
            logged_in(LENA, ports, "right").quit()

        await asyncio.to_thread(wrong)
        await mail.write(LENA, ANA, "hi", "x")
        assert len(mail.inbox(ANA)) == 1


async def test_mail_for_the_bot_goes_on_with_the_servers_verdict() -> None:
    """The listener gets the envelope with the token, and on top what the server itself found out about the sender."""
    listener = Listener()
    async with listening(listener) as port:
        mail = office(bot_port=port)
        async with serve(mail):
            forged = "mx.acme.example; dmarc=pass header.from=acme.example"
            headers = {"Authentication-Results": forged, "X-Kept": "yes"}
            await mail.write(LENA, "Bot+tok123@acme.example", "hi", "deploy, please", headers=headers)
            await mail.queue.until_empty()
            assert mail.waiting() == []
        [(mail_from, rcpt_tos, raw)] = listener.got
        assert (mail_from, rcpt_tos) == (LENA, ["Bot+tok123@acme.example"])
        assert raw.lower().count(b"authentication-results:") == 1
        assert raw.index(b"dmarc=pass header.from=acme.example") < raw.index(b"From:")
        assert b"X-Kept: yes" in raw


@pytest.mark.parametrize(
    ("header", "envelope", "verdict"),
    [
        (LENA, LENA, "dmarc=pass header.from=acme.example"),
        (f"Lena <{LENA.upper()}>", LENA, "dmarc=pass header.from=acme.example"),
        (LENA, ANA, "dmarc=fail header.from=acme.example"),
        (LENA, "eve@evil.example", "dmarc=fail header.from=acme.example"),
        ("eve@evil.example", "eve@evil.example", "dmarc=none header.from=evil.example"),
        (f"{LENA}, {ANA}", LENA, "dmarc=none header.from=unknown"),
        ("", LENA, "dmarc=none header.from=unknown"),
    ],
)
async def test_only_who_handed_it_in_passes(header: str, envelope: str, verdict: str) -> None:
    """A From that is not the envelope sender's own does not pass."""
    mail = office()
    async with serve(mail):
        raw = b"Authentication-Results: (x) MX.acme.example (y) 1;\r\n dmarc=pass header.from=acme.example\r\n"
        raw += b"Authentication-Results: other.example; dmarc=pass\r\n"
        await mail.submit(raw + f"From: {header}\r\n\r\nx\r\n".encode(), mail_from=envelope, rcpt_to=[ANA])
        [got] = mail.inbox(ANA)
        ours, other = got.headers.get_all("Authentication-Results", [])
        assert verdict in ours
        assert other.startswith("other.example")


async def test_a_bot_that_is_not_there_gets_its_mail_later() -> None:
    """The queue waits and tries again; once the listener takes it, it is there once."""
    listener = Listener()
    listener.answers = ["451 later", "451 later"]
    pauses = Pauses()
    mail = office(pauses=pauses)
    async with serve(mail):
        changes = mail.subscribe()
        assert changes is not None
        await mail.write(LENA, BOT, "hi", "x")
        seen: list[Change] = []

        async def until(kind: str) -> None:
            while not seen or seen[-1].kind != kind:
                seen.append(await anext(changes))

        await until("delayed")
        assert len(mail.waiting()) == 1
        async with listening(listener) as port:
            mail.bot_port = port
            pauses.over.set()
            await mail.queue.until_empty()
        assert len(listener.got) == 1
        assert pauses.seconds == [1, 2, 5]
        assert mail.waiting() == []
        await until("handed_on")
        numbers = [one.number for one in seen]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert mail.subscribe(after=0) is None
        mail.store.unsubscribe(changes)


async def test_a_bot_that_never_comes_back_is_given_up_on() -> None:
    """After the last attempt the sender is told; the pauses between grow."""
    pauses = Pauses()
    pauses.over.set()
    mail = office(pauses=pauses)
    async with serve(mail):
        await mail.write(LENA, BOT, "hi", "x")
        await mail.queue.until_empty()
        assert mail.waiting() == []
        assert [one.subject for one in mail.inbox(LENA)] == ["Undelivered Mail Returned to Sender"]
    assert pauses.seconds == sorted(pauses.seconds)
    assert len(pauses.seconds) > 10


async def test_mail_that_the_bot_refuses_comes_back() -> None:
    """A final refusal becomes a bounce with its status in the sender's mailbox; a bounce itself never bounces."""
    listener = Listener()
    listener.answers = ["554 5.6.0 no"]
    async with listening(listener) as port:
        mail = office(bot_port=port)
        async with serve(mail):
            await mail.write(LENA, BOT, "hi", "x")
            await wait_until(lambda: len(mail.inbox(LENA)) == 1)
            [bounce] = mail.inbox(LENA)
            assert bounce.headers.get_content_type() == "multipart/report"
            assert bounce.headers["Auto-Submitted"] == "auto-replied"
            assert bounce.mail_from == ""
            assert b"554 5.6.0 no" in bounce.raw
            await mail.send_back(bounce)
            assert mail.inbox(LENA) == []
            assert mail.waiting() == []


async def test_a_late_bounce_reaches_the_bot_at_the_address_of_the_post() -> None:
    """EM17: the report goes to the envelope sender, which has the token, from nobody."""
    listener = Listener()
    async with listening(listener) as port:
        mail = office(bot_port=port)
        async with serve(mail):
            token = "bot+tok123@acme.example"
            await mail.submit(plain(sender=BOT, to=LENA).as_bytes(), mail_from=token, rcpt_to=[LENA])
            await mail.send_back(mail.inbox(LENA)[0], status="5.1.1", why="550 5.1.1 gone")
            await mail.queue.until_empty()
        [(mail_from, rcpt_tos, raw)] = listener.got
        assert mail_from in {"", "<>"}
        assert rcpt_tos == [token]
        assert b"Status: 5.1.1" in raw
        assert b"Final-Recipient: rfc822; lena@acme.example" in raw


async def test_people_answer_as_their_programs_do() -> None:
    """The reply is on top, the original is quoted in both parts, and the thread goes on."""
    mail = office()
    async with serve(mail):
        first_id = await mail.write(ANA, LENA, "Freigabe für heute", "Geht das?\nGruß", headers={"Reply-To": BOT})
        [first] = mail.inbox(LENA)
        assert first.headers["From"] == "Ana Ünal <ana@acme.example>"
        await mail.write(LENA, "", "", "APPROVE\nfine by me", in_reply_to=first)
        [answer] = mail.waiting()
        assert answer.rcpt_to == BOT
        assert answer.subject == "Re: Freigabe für heute"
        assert answer.headers["In-Reply-To"] == answer.headers["References"] == first_id
        lines = answer.text.splitlines()
        assert lines[:2] == ["APPROVE", "fine by me"]
        assert "> Geht das?" in lines
        assert any(line.startswith("On Fri, Mar 20, 2026 at 09:00 AM Ana Ünal") for line in lines)
        assert '<blockquote class="gmail_quote"' in answer.html
        again = await mail.write(LENA, "", "", "and more", in_reply_to=answer)
        assert mail.inbox(LENA)[-1].headers["References"].split() == [first_id, answer.message_id]
        assert mail.inbox(LENA)[-1].message_id == again
        with pytest.raises(KeyError):
            await mail.write("nobody@acme.example", LENA, "x", "x")
        with pytest.raises(ValueError, match="recipient"):
            await mail.write(LENA, "", "x", "x")


async def test_a_restart_keeps_the_mail(tmp_path: Path) -> None:
    """Mailboxes and what waits for the bot are found again, and what waits goes on."""
    mail = office(save_to=tmp_path)
    async with serve(mail):
        await mail.write(LENA, ANA, "one", "x")
        await mail.write(LENA, ANA, "two", "x")
        await mail.write(LENA, BOT, "three", "x")
        mail.store.remove(mail.inbox(ANA)[0], "deleted")
    listener = Listener()
    async with listening(listener) as port:
        again = office(save_to=tmp_path, bot_port=port)
        async with serve(again):
            assert again.inbox(ANA) == mail.inbox(ANA)
            assert [one.subject for one in again.inbox(ANA)] == ["two"]
            await again.queue.until_empty()
            await again.write(LENA, ANA, "four", "x")
            assert len({one.number for one in again.inbox(ANA)}) == 2
    assert len(listener.got) == 1


async def test_a_server_that_went_down_comes_back_on_its_port() -> None:
    """Whoever was connected is cut off; the mailboxes stay."""
    mail = office()
    async with serve(mail) as ports:
        await mail.write(LENA, ANA, "one", "x")
        held = await asyncio.to_thread(client, ports)
        await mail.go_down()
        with pytest.raises(OSError, match="refused"):
            await mail.write(LENA, ANA, "two", "x")
        with pytest.raises(smtplib.SMTPServerDisconnected):
            await asyncio.to_thread(held.noop)
        held.close()
        await mail.come_back()
        await mail.write(LENA, ANA, "three", "x")
        assert [one.subject for one in mail.inbox(ANA)] == ["one", "three"]
