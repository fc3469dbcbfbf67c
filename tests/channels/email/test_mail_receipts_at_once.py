"""Receipts and links where several things happen at once, or where a request needs several persons."""

from __future__ import annotations

import asyncio
import re
from email.message import EmailMessage
from pathlib import Path

from support import BOT_ADDRESS, Bench, bench

from bot.core.events import DecisionMade, DecisionRefused
from channels.email.record import RawMail
from channels.email.simulator import StoredMail

ANA = "ana@acme.example"


def reply_to(asked: StoredMail, words: str, number: int) -> RawMail:
    mail = EmailMessage()
    mail["Authentication-Results"] = "mx.acme.example; dmarc=pass header.from=acme.example"
    mail["From"], mail["To"] = asked.headers["To"], asked.headers["Reply-To"]
    mail["Subject"], mail["Message-ID"] = "Re: it", f"<{number}@acme.example>"
    mail.set_content(words)
    return RawMail(mail.as_bytes(), "smtp", asked.headers["To"], (BOT_ADDRESS,))


def two_needed(bench: Bench) -> None:
    file = bench.sample.deploy_file
    file.write_text(file.read_text().replace("approvals = 1", "approvals = 2"))


async def test_twenty_unclear_replies_at_once_get_one_receipt_each_person(redis_url: str, tmp_path: Path) -> None:
    """EM16: at most one an hour for each person and request, also when the mails come in together."""
    async with bench(redis_url, tmp_path, mail=True) as post:
        await post.mail.write(ANA, BOT_ADDRESS, "deploy v1.4.0 to production", "")
        desk = post.board.desks.email
        assert desk
        for person in ("lena", "omar"):
            (asked,) = await post.mails(person, 1)
            await asyncio.gather(*(desk.take(reply_to(asked, "yes, maybe", number)) for number in range(10)))
        log = await post.until(
            lambda log: (
                sum(isinstance(event, DecisionRefused) for event in log.events) == 20
                and all(one.shown for one in log.state.posts.values())
            )
        )
        told = [event.by.id for event in log.events if isinstance(event, DecisionRefused) and event.receipt]
        assert sorted(told) == ["lena", "omar"]


async def test_a_link_counts_once_and_then_only_for_a_no(redis_url: str, tmp_path: Path) -> None:
    """EM20, AP6, AP16: the first of two votes uses it up, and says so; what is left to do with it is to deny."""
    async with bench(redis_url, tmp_path, mail=True) as post:
        two_needed(post)
        await post.mail.write(ANA, BOT_ADDRESS, "deploy v1.4.0 to production", "")
        (asked,) = await post.mails("lena", 1)
        found = re.search(r"http://bot\.test(/decide/\S+)", asked.text)
        assert found
        assert (await post.http.post(found[1], data={"verdict": "approve"})).status_code == 303
        again = await post.http.post(found[1], data={"verdict": "approve"}, follow_redirects=True)
        assert "You have decided with this link" in again.text
        assert re.findall(r'<button[^>]* value="([^"]*)"', again.text) == ["deny"]
        assert (await post.http.post(found[1], data={"verdict": "deny"})).status_code == 303
        log = await post.over()
        assert [event.rule for event in log.events if isinstance(event, DecisionRefused)] == ["used"]
        assert [event.verdict for event in log.events if isinstance(event, DecisionMade)] == ["approve", "deny"]
        assert len(post.releases()) == 1


async def test_a_form_with_too_many_fields_is_not_read(redis_url: str, tmp_path: Path) -> None:
    """Bounded input: a refusal, not an error of the server."""
    async with bench(redis_url, tmp_path, mail=True) as post:
        await post.mail.write(ANA, BOT_ADDRESS, "deploy v1.4.0 to production", "")
        (asked,) = await post.mails("lena", 1)
        found = re.search(r"http://bot\.test(/decide/\S+)", asked.text)
        assert found
        flood = {f"field{number}": "x" for number in range(2_000)}
        assert (await post.http.post(found[1], data={"verdict": "approve", **flood})).status_code == 422
