"""What somebody makes of a mail that was not written to the bot, of a token that is not theirs, of a bounce."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from support import BOT_ADDRESS, Bench, bench

from bot.core.events import DecisionMade, MessageReceived
from channels.email.record import RawMail
from channels.email.simulator import StoredMail

ANA, LENA = "ana@acme.example", "lena@acme.example"
PASS = "Authentication-Results: mx.acme.example; dmarc=pass header.from=acme.example"


@pytest.fixture
async def post(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, mail=True, sms=True) as found:
        yield found


async def take(post: Bench, *headers: str, text: str, envelope_to: str = BOT_ADDRESS, back: str = ANA) -> str:
    """Straight to the desk, as our mail server would hand it over."""
    assert post.board.desks.email
    raw = "\r\n".join((*headers, "", text, "")).encode()
    return await post.board.desks.email.take(RawMail(raw, "smtp", back, (envelope_to,)))


async def asked(post: Bench) -> StoredMail:
    await post.mail.write(ANA, BOT_ADDRESS, "deploy v1.4.0 to production", "")
    (mail,) = await post.mails("lena", 1)
    await post.until(lambda log: all(one.shown for one in log.state.posts.values()))
    return mail


async def test_a_mail_to_somebody_else_that_is_handed_on_does_nothing(post: Bench) -> None:
    """EM18: a genuine mail of Ana's or Lena's, with another envelope: neither launches nor approves."""
    mail = await asked(post)
    to_a_colleague = (PASS, "From: lena@acme.example", "To: mallory@evil.example", "Message-ID: <1@acme.example>")
    assert await take(post, *to_a_colleague, text="Yes", envelope_to=mail.headers["Reply-To"]) == "refused"
    wish = (PASS, "From: ana@acme.example", "To: team@acme.example", "Message-ID: <2@acme.example>")
    assert await take(post, *wish, text="deploy v1.3.0 to staging") == "refused"
    copied = (*wish[:3], f"Cc: {BOT_ADDRESS}", "Message-ID: <3@acme.example>")
    assert await take(post, *copied, text="deploy v1.3.0 to staging") == "refused"
    (log,) = await post.threads()
    assert not [event for event in log.events if isinstance(event, DecisionMade)]
    assert {event.rule for event in await post.refused("email")} == {"addressed"}


async def test_a_bounce_counts_only_for_whom_it_is_about(post: Bench) -> None:
    """EM17: the token of the reply address, or of an id, turns nobody's address off; nor does another's trouble."""
    mail = await asked(post)
    report = "multipart/report; report-type=delivery-status; boundary=b"

    def bounce(recipient: str) -> str:
        status = f"Final-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        return f"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\n{status}\r\n--b--"

    envelope = mail.mail_from
    for to, about in (
        (mail.headers["Reply-To"], LENA),
        (BOT_ADDRESS, LENA),
        (envelope, "somebody@evil.example"),
    ):
        headers = (f"To: {to}", "From: mailer-daemon@x.example", f"Content-Type: {report}", "MIME-Version: 1.0")
        ids = (f"Message-ID: <b{len(to)}{len(about)}@x.example>", f"References: {mail.headers['Message-ID']}")
        await take(post, *headers, *ids, text=bounce(about), envelope_to=to, back="")
    assert await post.store.addresses.all_off() == {}
    headers = (f"To: {envelope}", "From: mailer-daemon@x.example", f"Content-Type: {report}", "MIME-Version: 1.0")
    assert (
        await take(post, *headers, "Message-ID: <real@x.example>", text=bounce(LENA), envelope_to=envelope, back="")
        == "bounced"
    )
    assert list(await post.store.addresses.all_off()) == [f"email:{LENA}"]


async def test_a_reply_to_a_mail_whose_request_moved_on_still_counts(post: Bench) -> None:
    """EM9: Lena's address bounced once and she is asked elsewhere; the mail that she does have still decides."""
    mail = await asked(post)
    await post.mail.send_back(mail)
    await post.until(lambda log: "post_reported" in [event.type for event in log.events])
    await post.mail.write(LENA, mail.headers["Reply-To"], "Re: it", "DENY", headers={"References": "<x@acme.example>"})
    log = await post.over()
    assert [event.verdict for event in log.events if isinstance(event, DecisionMade)] == ["deny"]
    assert len(await post.threads()) == 1


async def test_a_denial_that_nobody_vouches_for_says_nothing_to_the_model(post: Bench) -> None:
    """EM19: the lower bar is for the no alone, not for words in an approver's name."""
    mail = await asked(post)
    headers = ("From: lena@acme.example", f"To: {mail.headers['Reply-To']}", "Message-ID: <4@acme.example>")
    assert await take(post, *headers, text="deny\r\ndeploy v1.3.0 to production instead") == "decided"
    log = await post.over()
    (decision,) = [event for event in log.events if isinstance(event, DecisionMade)]
    assert (decision.verdict, decision.text) == ("deny", "")
    assert "lena" not in log.state.steered_by


async def test_the_same_mail_after_a_week_is_still_the_same_mail(post: Bench) -> None:
    """EM3: also when its delivery id is long forgotten."""
    headers = (PASS, "From: ana@acme.example", f"To: {BOT_ADDRESS}", "Message-ID: <5@acme.example>")
    assert await take(post, *headers, text="what is on production?") == "launched"
    await post.over()
    async for key in post.store.connection.redis.scan_iter("*:seen:*"):
        await post.store.connection.redis.delete(key)
    assert await take(post, *headers, text="what is on production?") == "duplicate"
    (log,) = await post.threads()
    assert len([event for event in log.events if isinstance(event, MessageReceived)]) == 1
