"""Mail that anybody can send, with any sender, fills no thread: whoever takes part in it can go on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from support import BOT_ADDRESS, Bench, bench

from bot.core.events import DecisionMade, DecisionRefused
from bot.core.log import Log
from channels.email.record import RawMail

ANA, LENA, OMAR, ZED = "ana@acme.example", "lena@acme.example", "omar@acme.example", "zed@evil.example"


@pytest.fixture
async def post(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    """Lena and Omar were asked whether v1.4.0 may go to production."""
    async with bench(redis_url, tmp_path, mail=True) as found:
        found.clock.advance(minutes=30)
        await found.mail.write(ANA, BOT_ADDRESS, "Release", "deploy v1.4.0 to production")
        await found.mails("lena", 1)
        await found.mails("omar", 1)
        yield found


async def take(post: Bench, number: int, *, sender: str = ZED, text: str = "APPROVE", dmarc: str = "") -> str:
    """A mail that gives the Message-ID of the mail that Lena got, which others get to see; what becomes of it."""
    found = re.search(r"(?im)^message-id:\s*(<[^>]+>)", post.mail.inbox(LENA)[0].raw.decode())
    assert found
    domain = sender.partition("@")[2]
    top = f"Authentication-Results: mx.acme.example; dmarc={dmarc} header.from={domain}\r\n" if dmarc else ""
    raw = (
        f"{top}From: {sender}\r\nTo: {BOT_ADDRESS}\r\nSubject: x\r\nMessage-ID: <q{number}@evil.example>\r\n"
        f"In-Reply-To: {found[1]}\r\n\r\n{text}\r\n"
    )
    desk = post.board.desks.email
    assert desk
    return await desk.take(RawMail(raw.encode(), "smtp", sender, (BOT_ADDRESS,)))


async def refusals(post: Bench) -> list[tuple[str, str]]:
    """Whose attempts stand in the thread, and the rules that they broke."""
    (log,) = await post.threads()
    return [(event.by.address, event.rule) for event in log.events if isinstance(event, DecisionRefused)]


def made(log: Log) -> list[tuple[str, str]]:
    return [(event.by.id, event.verdict) for event in log.events if isinstance(event, DecisionMade)]


@pytest.mark.parametrize("dmarc", ["", "none", "fail", "pass"])
async def test_a_flood_of_one_sender_leaves_one_refusal_an_hour(post: Bench, dmarc: str) -> None:
    """EM16, AP16: the first is in the thread, the others are only noted; a domain of one's own is no help."""
    taken = [await take(post, number, dmarc=dmarc) for number in range(12)]
    assert taken == ["refused"] * 12
    assert await refusals(post) == [(f"email:{ZED}", "token_owner")]
    noted = await post.refused("email")
    assert [(one.address, one.rule) for one in noted] == [(f"email:{ZED}", "token_owner")] * 11
    post.clock.advance(minutes=30)
    await asyncio.gather(*(take(post, number, dmarc=dmarc) for number in range(20, 30)))
    assert await refusals(post) == [(f"email:{ZED}", "token_owner")] * 2


async def test_each_sender_and_verdict_is_recorded_and_a_mail_that_comes_twice_is_not(post: Bench) -> None:
    """EM3, AP16: what differs is another attempt; the same mail by another way is the same."""
    assert [await take(post, 1), await take(post, 1)] == ["refused", "duplicate"]
    assert await take(post, 2, text="DENY") == "refused"
    assert await take(post, 3, sender=OMAR) == "refused"
    assert await refusals(post) == [(f"email:{one}", "token_owner") for one in (ZED, ZED, OMAR)]
    assert await post.refused("email") == []


async def test_senders_without_number_fill_a_part_of_the_log_and_no_more(
    post: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AP16: after so many refusals such mail is only noted, and the thread goes on as if nothing had been."""
    monkeypatch.setattr("bot.desks.email_decisions._MAX_REFUSALS", 20)
    for number in range(30):
        assert await take(post, number, sender=f"z{number}@evil.example") == "refused"
    assert len(await refusals(post)) == 20
    assert {one.address for one in await post.refused("email")} == {f"email:z{n}@evil.example" for n in range(20, 30)}
    # Who is proven is recorded as ever, and told.
    assert await take(post, 40, sender=OMAR, dmarc="pass") == "refused"
    assert (await refusals(post))[-1] == (f"email:{OMAR}", "token_owner")
    await post.mail.write(LENA, "", "", "APPROVE", in_reply_to=post.mail.inbox(LENA)[0])
    assert made(await post.over()) == [("lena", "approve")]


async def test_a_flood_in_her_name_keeps_no_denial_of_hers_out(post: Bench) -> None:
    """EM19: a no without a verdict of the server counts, whatever was refused in this hour under her address."""
    for number in range(5):
        assert await take(post, number, sender=LENA) == "refused"
    assert await refusals(post) == [(f"email:{LENA}", "unauthenticated")]
    for number in range(5, 10):
        assert await take(post, number, sender=LENA, text="DENY", dmarc="fail") == "refused"
    assert await refusals(post) == [(f"email:{LENA}", "unauthenticated")] * 2
    told = [mail for mail in await post.mails("lena", 2) if "could not verify" in mail.text]
    assert len(told) == 1
    assert await take(post, 20, sender=LENA, text="DENY") == "decided"
    assert made((await post.threads())[0]) == [("lena", "deny")]


async def test_who_is_proven_is_recorded_each_time(post: Bench) -> None:
    """AP16: a person whom one can ask about it has every attempt on record."""
    for number in range(3):
        assert await take(post, number, sender=OMAR, dmarc="pass") == "refused"
    assert await refusals(post) == [(f"email:{OMAR}", "token_owner")] * 3
    assert await post.refused("email") == []
