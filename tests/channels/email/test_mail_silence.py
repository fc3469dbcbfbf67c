"""Mail that gets no thread: from machines, from strangers, from who may be anybody, or too large."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from support import BOT_ADDRESS, Bench, bench

from channels.email.record import RawMail

ANA, LENA, EVE = "ana@acme.example", "lena@acme.example", "eve@acme.example"
OURS = "mx.acme.example"


@pytest.fixture
async def post(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, mail=True) as found:
        yield found


async def taken(post: Bench) -> None:
    """Once every mail is in and every receipt is out."""
    await post.mail.queue.until_empty()
    assert post.board.desks.email
    await post.board.desks.email.close()
    await post.mail.queue.until_empty()


def mail(*headers: str, text: str = "deploy v1.4.0 to production", number: int = 1) -> bytes:
    """A mail as bytes, with an id of its own."""
    return "\r\n".join((f"Message-ID: <m{number}@acme.example>", *headers, "", text, "")).encode()


async def hand_over(post: Bench, raw: bytes, mail_from: str = ANA) -> None:
    """Straight to the bot's listener: by a server in front that adds nothing to it."""

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", post.mail.bot_port or 0, timeout=10, local_hostname="mx") as smtp:
            smtp.sendmail(mail_from, [BOT_ADDRESS], raw)

    await asyncio.to_thread(send)
    await taken(post)


def sent(post: Bench) -> int:
    """How many mails the bot has sent to anybody."""
    return sum(len(post.mail.inbox(one)) for one in post.mail.mailboxes)


async def audit(post: Bench) -> list[tuple[str, str]]:
    """The rule and the address of each line of today's audit."""
    return [(one.rule, one.address) for one in await post.refused("email")]


PASS = f"Authentication-Results: {OURS}; dmarc=pass header.from=acme.example"
FROM_ANA = f"From: Ana Ruiz <{ANA}>"
AUTOMATIC = (
    ("Auto-Submitted: auto-replied", FROM_ANA),
    ("Auto-Submitted: auto-generated", FROM_ANA),
    ("X-Autoreply: yes", FROM_ANA),
    ("X-Loop: whoever", FROM_ANA),
    ("Precedence: bulk", FROM_ANA),
    ("Precedence: list", FROM_ANA),
    ("Precedence: auto_reply", FROM_ANA),
    ("List-Id: <news.acme.example>", FROM_ANA),
    ("List-Unsubscribe: <https://acme.example/off>", FROM_ANA),
    ("Return-Path: <>", FROM_ANA),
    ("From: Mail Delivery System <MAILER-DAEMON@acme.example>",),
    ("From: postmaster@acme.example",),
    ("From: no-reply@acme.example",),
    ("Subject: Automatische Antwort: Approval needed", FROM_ANA),
    ("Subject: Out of Office Re: deploy", FROM_ANA),
    ("Content-Type: multipart/report; report-type=disposition-notification; boundary=x", FROM_ANA),
)


async def test_mail_that_no_person_wrote_starts_nothing_and_is_not_answered(post: Bench) -> None:
    """EM15: auto-replies, lists, machines, reports; each leaves one line for the audit, a repeated one no more."""
    for number, headers in enumerate(AUTOMATIC):
        raw = mail(PASS, *headers, number=number)
        await hand_over(post, raw)
        await hand_over(post, raw)
    assert await post.threads() == []
    assert sent(post) == 0
    assert [rule for rule, _ in await audit(post)] == ["EM15"] * len(AUTOMATIC)
    await hand_over(post, mail(PASS, FROM_ANA, "Auto-Submitted: no", number=99))  # what a person writes does
    assert len(await post.threads()) == 1


async def test_an_automatic_reply_to_a_request_decides_nothing(post: Bench) -> None:
    """EM15: Lena's vacation notice quotes her token and says APPROVE: the request waits on, nobody is written to."""
    await post.mail.write(ANA, BOT_ADDRESS, "Release", "deploy v1.4.0 to production")
    for person in ("ana", "lena", "omar"):
        await post.mails(person, 1)
    asked = post.mail.inbox(LENA)[0]
    before = await post.until(lambda log: log.state.pending)
    vacation = {"Auto-Submitted": "auto-replied (vacation)", "Precedence": "bulk"}
    await post.mail.write(LENA, "", "", "APPROVE", in_reply_to=asked, headers=vacation)
    away = "Automatic reply: Approval needed"
    await post.mail.write(LENA, "", away, "yes", in_reply_to=asked)
    await taken(post)
    after = await post.store.logs.load(before.thread_id)
    assert [event.type for event in after.events if event.type.startswith("decision")] == []
    assert after.state.pending
    assert sent(post) == 3
    assert await audit(post) == [("EM15", f"email:{LENA}")] * 2


async def test_a_bounce_of_nothing_and_our_own_mail_are_met_with_silence(post: Bench) -> None:
    """EM15, EM17: a report that returns no mail of ours turns no address off; mail from our own address is no loop."""
    report = (
        "From: MAILER-DAEMON@acme.example",
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"',
    )
    parts = (
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx\r\n\r\n"
        f"Final-Recipient: rfc822; {LENA}\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
        "--b\r\nContent-Type: text/rfc822-headers\r\n\r\n"
        f"Message-ID: <{'a' * 45}.0123456789@acme.example>\r\nReply-To: bot+{'a' * 45}@acme.example\r\n\r\n--b--"
    )
    await hand_over(post, mail(*report, text=parts), mail_from="")
    for number, sender in enumerate((BOT_ADDRESS, "Switchboard <BOT+abc@acme.example>"), 2):
        await hand_over(post, mail(PASS, f"From: {sender}", number=number))
    assert await post.threads() == []
    assert sent(post) == 0
    assert await audit(post) == [
        ("EM17", f"email:{LENA}"),
        ("EM15", f"email:{BOT_ADDRESS}"),
        ("EM15", "email:bot+abc@acme.example"),
    ]
    assert await post.store.addresses.why_off(f"email:{LENA}") is None


async def test_a_stranger_is_told_once_an_hour_and_starts_nothing(post: Bench) -> None:
    """EM16, AP8: Eve's mail is proven to be hers, but nobody knows her, whatever name she writes under."""
    for text in ("deploy v1.4.0 to production", "hello?"):
        await post.mail.write(EVE, BOT_ADDRESS, "Release", text, headers={"From": f"Lena Vogt <{EVE}>"})
    await taken(post)
    (told,) = post.mail.inbox(EVE)
    assert told.subject == "Re: Release"
    assert f"add {EVE} to the people file" in told.text
    assert told.headers["Auto-Submitted"] == "auto-replied"
    assert told.headers["Reply-To"] is None
    post.clock.advance(minutes=61)
    await post.mail.write(EVE, BOT_ADDRESS, "Release", "anybody?")
    await taken(post)
    assert len(post.mail.inbox(EVE)) == 2
    assert await post.threads() == []
    assert await audit(post) == [("stranger", f"email:{EVE}")] * 3
    assert sent(post) == 2


async def test_a_stranger_who_may_be_anybody_is_not_written_to(post: Bench) -> None:
    """EM18: backscatter would hit whoever is named; without a DMARC pass there is only a line for the audit."""
    await hand_over(post, mail(f"From: <{EVE}>"), mail_from=EVE)
    failed = f"Authentication-Results: {OURS}; dmarc=fail header.from=acme.example"
    await hand_over(post, mail(failed, f"From: <{EVE}>", number=2), mail_from=EVE)
    await hand_over(post, mail(failed, FROM_ANA, number=3), mail_from=EVE)
    assert await post.threads() == []
    assert sent(post) == 0
    assert await audit(post) == [("EM18", f"email:{EVE}")] * 2 + [("EM18", f"email:{ANA}")]


async def test_a_known_person_whom_nobody_vouches_for_is_told_once_an_hour(post: Bench) -> None:
    """EM16, EM18: no DMARC result: nothing is launched, and Ana learns why."""
    for number in range(3):
        await hand_over(post, mail(FROM_ANA, "Subject: Release", number=number))
    (told,) = post.mail.inbox(ANA)
    assert "could not verify" in told.text
    assert told.headers["In-Reply-To"] == "<m0@acme.example>"
    post.clock.advance(minutes=61)
    await hand_over(post, mail(FROM_ANA, "Subject: Release", number=4))
    assert len(post.mail.inbox(ANA)) == 2
    assert await post.threads() == []


async def test_a_mail_that_is_too_large_is_said_to_be(post: Bench) -> None:
    """EM5: the listener refuses it by its size; one that comes another way gets a receipt, and is not read."""
    raw = mail(PASS, FROM_ANA, text="deploy v1.4.0 to production\r\n" + "x" * 11 * 1024 * 1024)
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        await hand_over(post, raw)
    assert refused.value.smtp_code == 552
    desk = post.board.desks.email
    assert desk
    assert await desk.take(RawMail(raw, "imap")) == "refused"
    assert await desk.take(RawMail(raw + b"more\r\n", "imap")) == "refused"
    many = "".join(f'--b\r\nContent-Disposition: attachment; filename="{n}"\r\n\r\n.\r\n' for n in range(30)) + "--b--"
    parts = mail(PASS, FROM_ANA, 'Content-Type: multipart/mixed; boundary="b"', text=many, number=2)
    assert await desk.take(RawMail(parts, "imap")) == "refused"
    # A stranger's is not worth an answer.
    assert await desk.take(RawMail(raw.replace(ANA.encode(), EVE.encode()), "imap")) == "silent"
    await taken(post)
    (told,) = post.mail.inbox(ANA)
    assert "too large" in told.text
    assert sent(post) == 1
    assert await post.threads() == []
    assert [rule for rule, _ in await audit(post)] == ["EM5"] * 4
