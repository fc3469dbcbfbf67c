"""AP2: a hundred mixed decisions at once, over three channels, by several persons, against a real Redis."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from requesting import DEPLOY, NIA, OMAR, PRODUCTION, code_in, is_sent, kinds
from support import BOT_ADDRESS, Bench, bench

from bot.core.events import DecisionMade, DecisionRefused
from bot.core.log import Log
from channels.email.simulator import StoredMail
from channels.sms.simulator import Text

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
_BY_TEXT_AN_HOUR = 10
"""Refusals that a phone is told of (docs/sms.md): two phones that answer by themselves would never stop."""


@dataclass
class Round:
    """What a hundred decisions at once came to, and what was brought to whom."""

    log: Log
    made: list[DecisionMade]
    refused: list[DecisionRefused]
    in_slack: dict[str, list[str]]
    """What each person in Slack was told alone."""
    by_text: list[str]
    by_mail: list[str]

    def told(self, who: str) -> list[str]:
        """Why the attempts of this person did not count, as they are on record."""
        return [event.why for event in self.refused if event.by.id == who]


def replied(asked: StoredMail, words: str, number: int) -> bytes:
    """Omar's reply, as our mail server hands it over."""
    mail = EmailMessage()
    mail["Authentication-Results"] = "mx.acme.example; dmarc=pass header.from=acme.example"
    mail["From"], mail["To"] = "Omar Haddad <omar@acme.example>", asked.headers["Reply-To"]
    mail["Subject"], mail["Message-ID"] = f"Re: {asked.headers['Subject']}", f"<reply-{number}@acme.example>"
    mail["In-Reply-To"] = asked.headers["Message-ID"]
    mail.set_content(words)
    return mail.as_bytes()


async def one_round(bench: Bench, seed: int) -> Round:
    """Ask, have a hundred decisions made at once, and wait until it is over and everybody was told."""
    chance = random.Random(seed)
    mails, texts = len(bench.mail.inbox(OMAR)), len(bench.twilio.phone(NIA))
    before = {who: len(bench.slack.ephemerals(who)) for who in ("ana", "lena")}
    asked = await bench.slack.say("ana", "#deploys", DEPLOY)
    card = await bench.card(asked)
    await bench.settled(asked, lambda log: log.state.pending and is_sent(log))
    mail = bench.mail.inbox(OMAR)[mails]
    (text,) = arrived(bench)[-1:]
    code = code_in(text.body)
    # Dialogs that were opened while it was open; sent off, they are decisions like any other.
    dialogs = {"lena": 12, "ana": 4}
    for who, number in dialogs.items():
        for _ in range(number):
            await bench.slack.click(who, card, "deny")
    views = [(who, view) for who in dialogs for view in bench.slack.views(who)[-dialogs[who] :]]
    doors = asyncio.Semaphore(10)

    async def by_mail(raw: bytes) -> None:
        async with doors:
            await aiosmtplib.send(
                raw, sender=OMAR, recipients=[BOT_ADDRESS], hostname="127.0.0.1", port=bench.mail.bot_port,
                start_tls=False,
            )  # fmt: skip

    deeds: list[Coroutine[Any, Any, object]] = [bench.slack.submit(who, view, {}) for who, view in views]
    deeds += [bench.slack.click("lena", card, "approve") for _ in range(18)]
    for number in range(66 // 2):
        deeds.append(by_mail(replied(mail, chance.choice(["APPROVE", "DENY"]), seed * 1000 + number)))
        deeds.append(bench.twilio.text(NIA, f"{chance.choice(['YES', 'NO'])} {code}"))
    assert len(deeds) == 100
    chance.shuffle(deeds)
    await asyncio.gather(*deeds)
    log = await bench.finished(asked)
    await bench.settled_texts()
    await bench.slack.deliveries.settle()
    return Round(
        log,
        made=[event for event in log.events if isinstance(event, DecisionMade)],
        refused=[event for event in log.events if isinstance(event, DecisionRefused)],
        in_slack={who: [one.text for one in bench.slack.ephemerals(who)[count:]] for who, count in before.items()},
        by_text=[one.body for one in bench.twilio.phone(NIA)[texts:] if one.to == NIA],
        by_mail=[one.text for one in bench.mail.inbox(OMAR)[mails:]],
    )


def arrived(bench: Bench) -> list[Text]:
    """What came to Nia's phone."""
    return [text for text in bench.twilio.phone(NIA) if text.to == NIA]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("approvals", "rounds"), [(1, 6), (2, 4)])
async def test_a_hundred_decisions_make_one_transition_and_ninety_nine_truthful_receipts(
    redis_url: str, tmp_path: Path, approvals: int, rounds: int
) -> None:
    """AP2, AP5, AP6: one transition, one resume, at most one run; everybody else is told what became of it, truly."""
    people, policy = tmp_path / "people.toml", tmp_path / "policy.toml"
    people.write_text(PEOPLE)
    policy.write_text(f"{PRODUCTION}approvals = {approvals}\n")
    came_to = Counter[str]()
    async with bench(
        redis_url, tmp_path, workers=3, mail=True, sms=True, people_file=people, policy_file=policy
    ) as found:
        for seed in range(rounds):
            before = len(found.releases())
            one = await one_round(found, seed)
            status = settled_once(one, approvals)
            came_to[status] += 1
            assert len(found.releases()) == before + (status == "approved")
            assert kinds(one.log, "tool_started") == (status == "approved")
            assert kinds(one.log, "run_finished") == 1
            truly_told(one)
            found.clock.advance(hours=2)  # a phone and a mailbox are told so much an hour
    assert len(came_to) > 1, came_to  # or it was no race


def settled_once(one: Round, approvals: int) -> str:
    """Holds the log against what may have happened; gives what became of the request."""
    (request,) = one.log.state.requests.values()
    *votes, last = one.made
    assert [event.verdict for event in votes] == ["approve"] * len(votes)
    assert len({event.by.id for event in one.made if event.verdict == "approve"}) == len(votes) + (
        last.verdict == "approve"
    )
    assert len(votes) < approvals
    if last.verdict == "approve":
        assert (len(votes), request.status) == (approvals - 1, "approved")
    else:
        assert request.status == ("cancelled" if last.by.id == "ana" else "denied")
    assert request.decided_by == last.by
    assert len(one.made) + len(one.refused) == 100
    became = f"This was already {request.status} by {last.by.name} at "
    for event in one.refused:
        settled = one.log.events.index(event) > one.log.events.index(last)
        assert event.why.startswith(became if settled else "You have approved this already; it needs 1 more person.")
        assert event.rule == ("late" if settled else "twice")
    return request.status


def truly_told(one: Round) -> None:
    """What reached people is what is on record: all in Slack, ten by text and one by mail an hour at least (EM16)."""
    for who, seen in one.in_slack.items():
        assert Counter(seen) == Counter(one.told(who))
    receipt = re.compile(r"^(This was already|You have approved)")
    by_text = [text for text in one.by_text if receipt.match(text)]
    # Those that could have counted when they came in are told beyond the ten.
    assert len(by_text) >= min(_BY_TEXT_AN_HOUR, len(one.told("nia")))
    assert not Counter(by_text) - Counter(one.told("nia"))
    by_mail = [why for why in set(one.told("omar")) for text in one.by_mail if why in " ".join(text.split())]
    assert len(by_mail) == 1
