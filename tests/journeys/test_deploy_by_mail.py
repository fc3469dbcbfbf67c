"""The deploy journey by mail: over a real SMTP server in, what lies in people's mailboxes out."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from support import BOT_ADDRESS, Bench, bench

ANA, LENA = "ana@acme.example", "lena@acme.example"


@pytest.fixture
async def post(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, mail=True) as found:
        yield found


async def test_a_mail_becomes_a_deploy_that_a_person_approved_by_reply(post: Bench) -> None:
    """EM7, EM10, EM11, EM23: Ana writes, Lena and Omar each get a mail, Lena replies APPROVE, it runs once."""
    await post.mail.write(ANA, BOT_ADDRESS, "Release", "Hello,\n\ndeploy v1.4.0 to production\n\nThanks, Ana")

    (asked,) = await post.mails("lena", 1)
    await post.mails("omar", 1)
    assert asked.headers["Subject"] == "Approval needed: Deploy v1.4.0 to production"
    assert "Ana Ruiz" in asked.text
    (waiting,) = await post.mails("ana", 1)
    assert waiting.headers["Subject"] == "Re: Release"
    before = post.releases()

    await post.mail.write(LENA, "", "", "Approve.\nGood luck!", in_reply_to=asked)
    log = await post.over()

    assert len(post.releases()) == len(before) + 1
    decision = next(event for event in log.events if event.type == "decision_made")
    assert (decision.by.id, decision.by.address) == ("lena", f"email:{LENA}")
    assert decision.by.authenticated_by == "dmarc by mx.acme.example"
    told = await post.mails("ana", 4)
    assert [mail.headers["Subject"] for mail in told] == ["Re: Release"] * 4
    assert "v1.4.0" in told[-1].text
    outcome = (await post.mails("omar", 2))[-1]
    assert "Approved by Lena Vogt" in outcome.text


async def test_a_mail_becomes_a_deploy_that_a_person_approved_on_the_page(post: Bench) -> None:
    """EM20: opening the page decides nothing; its button does, once, and then the page tells the outcome."""
    await post.mail.write(ANA, BOT_ADDRESS, "deploy v1.4.0 to production", "")
    (asked,) = await post.mails("lena", 1)
    found = re.search(r"http://bot\.test(/decide/\S+)", asked.text)
    assert found, asked.text
    before = post.releases()

    shown = await post.http.get(found[1])
    assert shown.status_code == 200
    assert "v1.4.0" in shown.text
    assert shown.headers["Referrer-Policy"] == "no-referrer"
    assert shown.headers["Cache-Control"] == "no-store"

    pressed = await post.http.post(found[1], data={"verdict": "approve"})
    assert pressed.status_code == 303
    log = await post.over()
    assert len(post.releases()) == len(before) + 1
    decision = next(event for event in log.events if event.type == "decision_made")
    assert (decision.by.id, decision.by.authenticated_by) == ("lena", "email-link")

    again = await post.http.post(found[1], data={"verdict": "deny"}, follow_redirects=True)
    assert "Approved by Lena Vogt" in again.text
    assert "<button" not in again.text
    told = [event.type for event in (await post.over()).events if event.type.startswith("decision_")]
    assert told == ["decision_made", "decision_refused"]
