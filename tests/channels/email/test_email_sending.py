"""EM7, EM10, EM21 to EM23: the channel against a real SMTP server on loopback."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bot.core.people import Actor
from bot.core.protocols import DeliveryError, Outgoing
from bot.core.values import Conversation
from bot.core.views import CardView, SayView
from bot.testing import FakeClock
from channels.email.client import EmailChannel, SmtpPlace
from channels.email.simulator import Mailbox, Security, SimulatedMail, StoredMail, serve
from channels.email.trail import Trail

Tls = Literal["starttls", "tls", "none"]
SENDER, LENA, OMAR = "bot@acme.example", "lena@acme.example", "omar@acme.example"
TOKEN = "k5" * 22 + "a"
SAY = Outgoing(
    post_id="t0123456789abcdef01234567:5:0",
    conversation=Conversation(channel="email", ref=f"{LENA}/7"),
    view=SayView("The secret plan is **ready**.", "answer"),
    face="answer",
    to=f"email:{LENA}",
    reply_token=TOKEN,
    trace_token=TOKEN,
    bounce_token=TOKEN,
)
CARD = CardView(
    kind="approval",
    title="Deploy v1.4.0",
    open=True,
    ruled=True,
    deciders=(Actor(kind="person", id="lena", name="Lena Vogt", address=f"email:{LENA}"),),
)


@dataclass
class Post:
    """A server, a channel to it, and the time."""

    mail: SimulatedMail
    channel: EmailChannel
    clock: FakeClock

    def inbox(self, address: str = LENA) -> list[StoredMail]:
        """What somebody got."""
        return self.mail.inbox(address)


@asynccontextmanager
async def posting(
    security: Security | None = None, *, tls: Tls = "none", password: str = "", timeout_seconds: float = 5
) -> AsyncGenerator[Post]:
    """A server with two mailboxes, and the bot's channel with its settings."""
    mail = SimulatedMail(
        [Mailbox(LENA, "Lena Vogt"), Mailbox(OMAR, "Omar Haddad")], bot_address=SENDER, security=security
    )
    async with serve(mail) as ports:
        clock = FakeClock()
        username = SENDER if password else ""
        place = SmtpPlace("127.0.0.1", ports.smtp, username, password, tls, timeout_seconds)
        channel = EmailChannel(place, SENDER, now=clock.now)
        yield Post(mail, channel, clock)
        await channel.close()


async def refused(post: Post, outgoing: Outgoing = SAY) -> DeliveryError:
    """The error of a delivery, which never repeats what was written, to whom, or as whom."""
    with pytest.raises(DeliveryError) as caught:
        await post.channel.deliver(outgoing)
    for secret in ("secret plan", "lena", TOKEN, "hunter2"):
        assert secret not in caught.value.error
    return caught.value


async def test_a_mail_arrives_and_its_envelope_names_the_post() -> None:
    """EM7, EM10, EM23: the ref is the Message-ID; bounces and replies come back to the address with the token."""
    async with posting() as post:
        delivered = await post.channel.deliver(SAY)
        [got] = post.inbox()
        assert got.message_id == delivered.ref
        assert got.mail_from == got.headers["Reply-To"] == f"bot+{TOKEN}@acme.example"
        assert got.rcpt_to == got.headers["To"] == LENA
        assert got.text == "The secret plan is **ready**.\r\n"
        assert "<strong>ready</strong>" in got.html


async def test_each_person_gets_a_mail_of_their_own() -> None:
    """EM23: one mail for each approver, with nobody else's address in it."""
    async with posting() as post:
        await post.channel.deliver(SAY)
        await post.channel.deliver(replace(SAY, to=f"email:{OMAR}", reply_token="b" * 45, trace_token="b" * 45))
        [lenas], [omars] = post.inbox(), post.inbox(OMAR)
        assert lenas.message_id != omars.message_id
        assert b"omar" not in lenas.raw
        assert b"lena" not in omars.raw


async def test_what_follows_keeps_the_first_ref() -> None:
    """EM10: later mails hang below the first; an update without news sends nothing."""
    async with posting() as post:
        asked = replace(SAY, view=CARD, face="pending")
        first = await post.channel.deliver(asked)
        assert await post.channel.deliver(replace(asked, ref=first.ref)) == first
        assert len(post.inbox()) == 1
        done = replace(CARD, open=False, status="Denied by Lena Vogt.", mood="bad")
        again = await post.channel.deliver(replace(asked, view=done, face="denied", ref=first.ref))
        assert again == first
        _, follow_up = post.inbox()
        assert follow_up.headers["In-Reply-To"] == first.ref
        assert follow_up.subject == f"Re: {post.inbox()[0].subject}"
        assert "Denied by Lena Vogt." in follow_up.text


async def test_a_connection_is_used_again_while_it_is_fresh() -> None:
    """One connection brings up to 100 mails; after 30 idle seconds, or when it died, another is made."""
    async with posting() as post:
        await asyncio.gather(*(post.channel.deliver(replace(SAY, face=str(at))) for at in range(99)))
        post.clock.advance(seconds=30)
        await post.channel.deliver(SAY)
        assert post.mail.connections == 1
        await post.channel.deliver(SAY)
        assert post.mail.connections == 2
        post.clock.advance(seconds=31)
        await post.channel.deliver(SAY)
        assert post.mail.connections == 3
        await post.mail.go_down()
        await post.mail.come_back()
        await post.channel.deliver(SAY)
        assert post.mail.connections == 4
        assert len(post.inbox()) == 103


@pytest.mark.parametrize("at", ["connect", "mail", "rcpt", "data"])
@pytest.mark.parametrize("code", [421, 450, 451])
async def test_a_passing_refusal_is_tried_again(at: Literal["connect", "mail", "rcpt", "data"], code: int) -> None:
    """EM22: 4xx at any step is no verdict; the mail goes through later, once."""
    async with posting() as post:
        post.mail.faults.fail_next(code, "4.7.1 lena: try later", at=at)
        error = await refused(post)
        assert error.retry_seconds is not None
        assert error.retry_seconds >= 30
        assert not error.in_doubt
        assert not error.undeliverable
        await post.channel.deliver(SAY)
        assert len(post.inbox()) == 1


@pytest.mark.parametrize(
    ("at", "answer", "undeliverable"),
    [
        ("rcpt", (550, "5.1.1 <lena@acme.example> unknown"), True),
        ("rcpt", (550, "no such user here"), True),
        ("rcpt", (553, "5.1.3 bad address"), True),
        ("rcpt", (551, "not local"), True),
        ("rcpt", (550, "5.2.1 mailbox disabled"), True),
        ("rcpt", (554, "5.1.2 no such domain"), True),
        ("rcpt", (550, "5.7.1 relaying denied"), False),
        ("rcpt", (554, "go away"), False),
        ("mail", (550, "5.1.1 sender"), False),
        ("mail", (552, "5.3.4 too big"), False),
        ("data", (550, "5.1.1 unknown after all"), True),
        ("data", (550, "5.1.8 bad sender"), False),
        ("data", (550, "spam"), False),
        ("data", (554, "5.7.1 looks like lena's spam: the secret plan"), False),
    ],
)
async def test_a_final_refusal_is_final(
    at: Literal["mail", "rcpt", "data"], answer: tuple[int, str], *, undeliverable: bool
) -> None:
    """EM17, EM22: 5xx is never tried again; only what is about the mailbox speaks against the address."""
    async with posting() as post:
        post.mail.faults.fail_next(*answer, at=at)
        error = await refused(post)
        assert error.retry_seconds is None
        assert error.undeliverable is undeliverable
        assert not error.in_doubt
        await post.channel.deliver(replace(SAY, to=f"email:{OMAR}"))  # the connection is fit for the next mail
        assert len(post.inbox(OMAR)) == 1


async def test_an_unknown_mailbox_is_undeliverable() -> None:
    """EM22: what the server itself says of somebody who does not exist."""
    async with posting() as post:
        error = await refused(post, replace(SAY, to="email:nobody@acme.example"))
        assert error.undeliverable
        assert error.retry_seconds is None


async def test_a_mail_that_cannot_be_composed_is_given_up() -> None:
    """EM23: a recipient that no header may hold is permanent, and never reaches a server."""
    async with posting() as post:
        error = await refused(post, replace(SAY, to="email:lena@acme.example\r\nBcc: x@y.example"))
        assert error.retry_seconds is None
        assert post.mail.connections == 0


async def test_a_server_that_is_down_is_waited_for() -> None:
    """EM22: no connection is no verdict."""
    async with posting() as post:
        await post.mail.go_down()
        error = await refused(post)
        assert (error.retry_seconds or 0) >= 30
        assert not error.in_doubt
        await post.mail.come_back()
        await post.channel.deliver(SAY)
        assert len(post.inbox()) == 1


async def test_a_server_that_says_nothing_is_given_up_on() -> None:
    """EM22: a timeout before anything was sent leaves no doubt."""
    hung_up = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        hung_up.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    place = SmtpPlace("127.0.0.1", server.sockets[0].getsockname()[1], "", "", "none", 0.1)
    channel = EmailChannel(place, SENDER, now=FakeClock().now)
    with pytest.raises(DeliveryError) as caught:
        await channel.deliver(SAY)
    assert (caught.value.retry_seconds or 0) >= 30
    assert not caught.value.in_doubt
    await channel.close()
    await hung_up.wait()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("how", ["cut", "silence"])
async def test_a_lost_answer_is_in_doubt_and_the_same_mail_is_sent_again(how: Literal["cut", "silence"]) -> None:
    """EM10, EM22: after DATA nobody knows; the second copy has the same Message-ID."""
    async with posting(timeout_seconds=0.5) as post:
        post.mail.faults.lose_answer_after_data(how=how)
        error = await refused(post)
        assert error.in_doubt
        assert (error.retry_seconds or 0) >= 30
        delivered = await post.channel.deliver(replace(SAY, in_doubt=True))
        assert [one.message_id for one in post.inbox()] == [delivered.ref, delivered.ref]


async def test_a_wrong_password_stops_the_channel() -> None:
    """EM22: 535 is told once and nothing is tried for 15 minutes; then a mended password works again."""
    async with posting(Security(password="right"), password="hunter2") as post:
        with structlog.testing.capture_logs() as logs:
            error = await refused(post)
            assert error.retry_seconds == 900
            assert not error.undeliverable
            post.clock.advance(minutes=14)
            assert (await refused(post)).retry_seconds == 900
        assert post.mail.connections == 1
        assert [(log["event"], log["log_level"]) for log in logs] == [("email_channel_stopped", "error")]
        assert "hunter2" not in str(logs)
        post.mail.security = Security(password="hunter2")
        post.clock.advance(minutes=2)
        await post.channel.deliver(SAY)
        assert len(post.inbox()) == 1


async def test_a_server_that_wants_a_login_stops_the_channel() -> None:
    """EM22: 530 to a channel without a username is a matter of settings too."""
    async with posting(Security(password="right")) as post:
        assert (await refused(post)).retry_seconds == 900
        assert (await refused(post)).retry_seconds == 900
        assert post.mail.connections == 1


async def test_a_login_that_cannot_be_checked_now_is_tried_again() -> None:
    """EM22: 454 says nothing about the password."""
    async with posting(Security(password="hunter2"), password="hunter2") as post:
        post.mail.faults.fail_next(454, "4.7.0 later", 2, at="auth")
        error = await refused(post)
        assert 30 <= (error.retry_seconds or 0) < 900
        await post.channel.deliver(SAY)
        assert len(post.inbox()) == 1


# --- TLS


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that signs itself, and the server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mx.acme.example")])
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=3))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key_pem)
    return pem, context


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_mail_and_password_go_over_tls(tls: Tls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EM21: both ways work against a certificate that the machine trusts, and `ping` says what it found."""
    pem, context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    async with posting(Security("hunter2", tls, context), tls=tls, password="hunter2") as post:
        await post.channel.deliver(SAY)
        await post.channel.deliver(SAY)
        assert len(post.inbox()) == 2
        found = await post.channel.ping()
        assert (found["tls"], found["authenticated"]) == (tls, True)
        assert post.mail.connections == 1


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_an_untrusted_certificate_gets_no_mail(tls: Tls, tmp_path: Path) -> None:
    """EM21: who the server is has to be proven."""
    _, context = certificate(tmp_path)
    async with posting(Security(tls=tls, context=context), tls=tls) as post:
        error = await refused(post)
        assert "certificate" in error.error
        assert error.retry_seconds
        assert post.inbox() == []


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_a_server_without_tls_gets_no_mail(tls: Tls) -> None:
    """EM21: never a downgrade; neither the mail nor the password goes out in the clear."""
    async with posting(Security(password="hunter2"), tls=tls, password="hunter2", timeout_seconds=0.5) as post:
        error = await refused(post)
        assert error.retry_seconds
        assert not error.in_doubt
        assert post.inbox() == []


async def test_a_ping_sends_nothing() -> None:
    """`bot doctor` learns whether the server answers, and why not."""
    async with posting() as post:
        found = await post.channel.ping()
        assert (found["tls"], found["authenticated"]) == ("none", False)
        assert post.inbox() == []
        await post.mail.go_down()
        with pytest.raises(DeliveryError):
            await post.channel.ping()


async def test_a_notice_goes_to_whoever_wrote() -> None:
    """EM16: below their mail, marked as a reply, from the bot's plain address."""
    async with posting() as post:
        trail = Trail(subject="hello", message_id="<1@mx.acme.example>")
        await post.channel.notice(LENA, "Not taken", "Your mail was too large.", in_reply_to=trail, seed="s")
        [got] = post.inbox()
        assert got.headers["Auto-Submitted"] == "auto-replied"
        assert got.headers["In-Reply-To"] == "<1@mx.acme.example>"
        assert got.mail_from == SENDER
        assert got.text == "Your mail was too large.\r\n"
        with pytest.raises(DeliveryError):
            await post.channel.notice("nobody@acme.example", "x", "x", in_reply_to=Trail(), seed="s")
        with pytest.raises(DeliveryError, match="not sent"):
            await post.channel.notice("a\r\nb@acme.example", "x", "x", in_reply_to=Trail(), seed="s")
