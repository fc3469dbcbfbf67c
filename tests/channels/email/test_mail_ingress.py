"""Each mail is taken once: while the store is away it is not acknowledged, and copies, at once or later, are one mail.

The outage is a real one: see `Outage`.
"""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from channel_contract import Outage
from support import BOT_ADDRESS, Bench, bench

from bot.core.events import DecisionMade, DecisionRefused, MessageReceived
from bot.core.faces import needs_delivery
from bot.core.log import Log
from channels.email.record import RawMail
from channels.email.simulator import StoredMail

ANA, LENA, OMAR, EVE = "ana@acme.example", "lena@acme.example", "omar@acme.example", "eve@acme.example"
PASS = "Authentication-Results: mx.acme.example; dmarc=pass header.from=acme.example"


@pytest.fixture
async def post(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, mail=True) as found:
        yield found


def is_at_rest(log: Log) -> bool:
    """Nothing is left to do or to send before somebody writes."""
    sent = not any(needs_delivery(log.state, one) for one in log.state.posts.values())
    return sent and log.state.heard <= log.state.seen and log.state.status in {"waiting", "finished"}


def mail(sender: str, text: str, message_id: str = "<one@acme.example>", to: str = BOT_ADDRESS) -> bytes:
    """A mail that our server vouches for."""
    headers = (PASS, f"From: <{sender}>", f"To: {to}", "Subject: Release", f"Message-ID: {message_id}")
    return "\r\n".join((*headers, "", text, "")).encode()


async def asked(post: Bench) -> StoredMail:
    """Ana wants a deploy; the mail that asks Lena."""
    await post.mail.write(ANA, BOT_ADDRESS, "Release", "deploy v1.4.0 to production")
    await post.mails("omar", 1)
    await post.until(lambda log: log.state.pending and is_at_rest(log))
    return post.mail.inbox(LENA)[0]


async def outcomes(post: Bench, *records: RawMail) -> list[str]:
    """What becomes of these mails, taken in at once."""
    desk = post.board.desks.email
    assert desk
    return sorted(await asyncio.gather(*map(desk.take, records)))


def said(log: Log) -> list[str]:
    """What people wrote to the thread."""
    return [event.text for event in log.events if isinstance(event, MessageReceived)]


async def test_while_the_store_is_away_the_sender_keeps_the_mail(redis_url: str, tmp_path: Path) -> None:
    """EM1: 451 for a message and for a decision, until the store is back; then each is taken, once."""
    outage = Outage(redis_url, tmp_path / "redis")
    async with bench(outage.url, tmp_path, mail=True) as post:
        await outage.begin()
        raw = mail(ANA, "deploy v1.4.0 to production")

        def hand_in() -> None:
            with smtplib.SMTP("127.0.0.1", post.mail.bot_port or 0, timeout=20) as smtp:
                smtp.sendmail(ANA, [BOT_ADDRESS], raw)

        with pytest.raises(smtplib.SMTPDataError) as refused:
            await asyncio.to_thread(hand_in)
        assert refused.value.smtp_code == 451
        outage.end()
        for _ in range(2):
            await asyncio.to_thread(hand_in)
        (ask,) = await post.mails("lena", 1)
        await post.until(lambda log: log.state.pending and is_at_rest(log))
        assert len(await post.threads()) == 1

        await outage.begin()
        changes = post.mail.subscribe()
        assert changes
        await post.mail.write(LENA, "", "", "APPROVE", in_reply_to=ask)
        async for change in changes:
            if change.kind == "delayed":
                break
        post.mail.store.unsubscribe(changes)
        assert len(post.mail.waiting()) == 1
        outage.end()
        await post.mail.queue.until_empty()
        log = await post.over()
        assert [event.verdict for event in log.events if isinstance(event, DecisionMade)] == ["approve"]
        assert len(post.releases()) == 2
        assert len(post.mail.inbox(LENA)) == 2  # what was asked and how it ended: no bounce


async def test_copies_of_a_mail_are_one_mail(post: Bench) -> None:
    """EM3: ten copies at once make one thread with one message; so do copies that took another way here."""
    raw = mail(ANA, "what is on production?")
    assert await outcomes(post, *[RawMail(raw, "smtp", ANA)] * 10) == ["duplicate"] * 9 + ["launched"]
    longer = b"Received: from elsewhere by mx.acme.example; Fri, 20 Mar 2026 09:00:00 +0000\r\n"
    assert await outcomes(post, *[RawMail(longer + raw, "imap")] * 3) == ["duplicate"] * 3
    for _ in range(2):
        await post.mail.submit(raw, mail_from=ANA, rcpt_to=[BOT_ADDRESS])
    await post.mail.queue.until_empty()
    log = await post.over()
    assert said(log) == ["Release\n\nwhat is on production?"]
    assert len(await post.threads()) == 1
    assert len(post.mail.inbox(ANA)) == 1

    reply_to = post.mail.inbox(ANA)[0].headers["Reply-To"]
    more = mail(ANA, "and on staging?", "<two@acme.example>", reply_to)
    await outcomes(post, *[RawMail(more, "smtp", ANA, (reply_to,))] * 10)
    log = await post.until(lambda log: is_at_rest(log) and len(post.mail.inbox(ANA)) == 2)
    assert said(log)[1:] == ["and on staging?"]


async def test_a_message_id_belongs_to_nobody(post: Bench) -> None:
    """EM3: Omar, and a forger, send first under the id of Ana's mail: Ana's is taken all the same."""
    forged = mail(ANA, "what is on staging?").replace(b"dmarc=pass", b"dmarc=fail")
    taken = [await outcomes(post, RawMail(one, "smtp", EVE)) for one in (forged, mail(OMAR, "what is on staging?"))]
    assert taken == [["silent"], ["launched"]]
    assert await outcomes(post, RawMail(mail(ANA, "what is on production?"), "smtp", ANA)) == ["launched"]
    (mine,) = await post.mails("ana", 1)
    assert "production runs" in mine.text
    assert sorted(log.state.requester.id for log in await post.threads() if log.state.requester) == ["ana", "omar"]


async def test_a_mail_without_an_id_is_known_by_its_checksum(post: Bench) -> None:
    """EM3, EM4: none, a broken one or two of them: taken once, and answered below it as far as that goes."""
    raw = mail(ANA, "what is on production?").replace(b"Message-ID: <one@acme.example>\r\n", b"")
    assert await outcomes(post, *[RawMail(raw, "smtp", ANA)] * 3) == ["duplicate"] * 2 + ["launched"]
    broken = mail(ANA, "what is on production?", "<[abc]>")
    assert await outcomes(post, *[RawMail(broken, "smtp", ANA)] * 3) == ["duplicate"] * 2 + ["launched"]
    answers = await post.mails("ana", 2)
    assert {one.subject for one in answers} == {"Re: Release"}
    assert all(one.headers["In-Reply-To"].endswith("@checksum.invalid>") for one in answers)


async def test_decisions_that_arrive_at_once_make_one(post: Bench) -> None:
    """AP2: Lena and Omar, ten mails each, approve and deny at once: one counts, each other one is told it is late."""
    replies = {LENA: (await asked(post)).headers["Reply-To"], OMAR: post.mail.inbox(OMAR)[0].headers["Reply-To"]}
    records = [
        RawMail(mail(who, "APPROVE" if n % 2 else "DENY", f"<{n}.{who}>", to), "smtp", who, (to,))
        for n in range(10)
        for who, to in replies.items()
    ]
    assert await outcomes(post, *records) == ["decided"] + ["refused"] * 19
    log = await post.over()
    (made,) = [event for event in log.events if isinstance(event, DecisionMade)]
    rules = [event.rule for event in log.events if isinstance(event, DecisionRefused)]
    assert rules == ["late"] * 19
    assert len(post.releases()) == (2 if made.verdict == "approve" else 1)
    for who in (LENA, OMAR):
        assert any(f"by {made.by.name} at 09:00 UTC. That changed nothing" in one.text for one in post.mail.inbox(who))
    assert await outcomes(post, *records) == ["duplicate"] * 20


async def test_nobody_can_use_up_the_id_of_another_s_decision(post: Bench) -> None:
    """EM3: Omar answers the same request first, under the id of Lena's coming mail: her APPROVE counts all the same."""
    lena = (await asked(post)).headers["Reply-To"]
    omar = post.mail.inbox(OMAR)[0].headers["Reply-To"]
    first = RawMail(mail(OMAR, "hm", "<same@acme.example>", omar), "smtp", OMAR, (omar,))
    second = RawMail(mail(LENA, "APPROVE", "<same@acme.example>", lena), "smtp", LENA, (lena,))
    assert [await outcomes(post, one) for one in (first, second)] == [["refused"], ["decided"]]
    await post.over()
    assert len(post.releases()) == 2
