"""AP2: a hundred mixed decisions at once, over three channels, by several persons, against a real Redis."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from support import BOT_ADDRESS, Bench, bench

from bot.core.events import DecisionMade, DecisionRefused
from bot.core.log import Log
from channels.email.record import RawMail
from channels.email.simulator import StoredMail
from channels.slack.simulator import Message

PEOPLE = """
[people.ana]
name = "Ana Ruiz"
roles = ["engineer"]
slack = ["T0ACME/U0ANA"]
[people.lena]
name = "Lena Vogt"
roles = ["approver"]
slack = ["T0ACME/U0LENA"]
[people.omar]
name = "Omar Haddad"
roles = ["approver"]
mail = ["omar@acme.example"]
[people.nia]
name = "Nia Stone"
roles = ["approver"]
phone = ["+12025550103"]
"""
NIA = "+12025550103"


def replied(asked: StoredMail, words: str, number: int) -> RawMail:
    """Omar's reply, as our mail server hands it over."""
    mail = EmailMessage()
    mail["Authentication-Results"] = "mx.acme.example; dmarc=pass header.from=acme.example"
    mail["From"], mail["To"] = "Omar Haddad <omar@acme.example>", asked.headers["Reply-To"]
    mail["Subject"], mail["Message-ID"] = f"Re: {asked.headers['Subject']}", f"<reply-{number}@acme.example>"
    mail["In-Reply-To"] = asked.headers["Message-ID"]
    mail.set_content(words)
    return RawMail(mail.as_bytes(), "smtp", "omar@acme.example", (BOT_ADDRESS,))


async def one_round(bench: Bench, seed: int) -> tuple[Message, Log, list[DecisionRefused]]:
    """Ask, have a hundred decisions made at once, and wait until it is over."""
    chance = random.Random(seed)
    mails, texts = len(bench.mail.inbox("omar@acme.example")), len(bench.twilio.sent_to(NIA))
    asked = await bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    card = await bench.card(asked)
    mail = (await bench.mails("omar", mails + 1))[-1]
    text = (await bench.sms("nia", texts + 1))[-1]
    code = text.body.split("YES ")[1][:6]
    desk = bench.board.desks.email
    assert desk

    deeds: list[Coroutine[Any, Any, object]] = []
    for number in range(100):
        yes = chance.random() < 0.5
        match number % 3:
            case 0:
                deeds.append(bench.slack.click("lena", card, "approve"))
            case 1:
                deeds.append(desk.take(replied(mail, "APPROVE" if yes else "DENY", seed * 1000 + number)))
            case _:
                deeds.append(bench.twilio.text(NIA, f"{'YES' if yes else 'NO'} {code}"))
    chance.shuffle(deeds)
    await asyncio.gather(*deeds)
    log = await bench.finished(asked)
    return asked, log, [event for event in log.events if isinstance(event, DecisionRefused)]


@pytest.mark.timeout(120)
async def test_a_hundred_decisions_make_one_transition_and_ninety_nine_truthful_receipts(
    redis_url: str, tmp_path: Path
) -> None:
    """AP2, AP6: one decision, one resume, at most one run; everybody else is told what became of it, truly."""
    people = tmp_path / "people.toml"
    people.write_text(PEOPLE)
    async with bench(redis_url, tmp_path, workers=3, mail=True, sms=True, people_file=people) as found:
        for seed in range(10):
            before = len(found.releases())
            _, log, refused = await one_round(found, seed)
            made = [event for event in log.events if isinstance(event, DecisionMade)]
            assert len(made) == 1
            approved = made[0].verdict == "approve"
            assert len(refused) == 99
            told = f"This was already {'approved' if approved else 'denied'} by {made[0].by.name} at "
            assert {event.rule for event in refused} == {"late"}
            assert all(event.why.startswith(told) for event in refused)
            started = [event for event in log.events if event.type == "tool_started"]
            assert len(started) == (1 if approved else 0)
            assert len(found.releases()) == before + len(started)
