"""The whole life of a request, driven by the clock: prompt, reminders, escalation, expiry, a late answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from requesting import audited, is_sent
from support import PHONES, Bench, bench

from bot.core.log import Log


@pytest.fixture
async def everywhere(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    policies = tmp_path / "policy.toml"
    policies.write_text(
        """
        [escalations.night]
        persons = ["omar"]
        channels = ["sms"]
        after = "75%"

        [[policies]]
        tool = "deploy"
        when = { environment = "production" }
        roles = []
        persons = ["lena"]
        life = "1h"
        escalation = "night"
        wakes = true
        """
    )
    async with bench(redis_url, tmp_path, mail=True, sms=True, policy_file=policies) as found:
        yield found


def kinds(log: Log) -> list[str]:
    return [event.type for event in log.events]


async def test_prompt_two_reminders_escalation_from_slack_to_sms_expiry_late_answer(everywhere: Bench) -> None:
    """AP4, AP5, AP11: each once; "timed out" is not "denied"; a late answer changes nothing and is told so."""
    bench = everywhere
    asked = await bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    card = await bench.card(asked)
    bench.clock.advance(minutes=30)
    await bench.settled(asked, lambda log: kinds(log).count("request_reminded") == 1)
    bench.clock.advance(minutes=15)
    (text,) = await bench.sms("omar", 1)
    assert "YES" in text.body
    bench.clock.advance(minutes=9)
    await bench.settled(asked, lambda log: kinds(log).count("request_reminded") == 2 and is_sent(log))
    bench.clock.advance(minutes=6)
    log = await bench.settled(asked, lambda log: "request_expired" in kinds(log) and is_sent(log))
    assert kinds(log).count("request_escalated") == 1
    code = text.body.split("YES ")[1][:6]
    await bench.twilio.text(PHONES["omar"], f"YES {code}")
    log = await bench.settled(asked, lambda log: "decision_refused" in kinds(log))
    prompt, reminder, outcome, late = [one.body for one in await bench.sms("omar", 4)]
    assert prompt.startswith("Approve?")
    assert reminder.startswith("Reminder. Approve?")
    assert f"YES {code}" in reminder
    assert outcome.endswith("Timed out: nobody decided. It was not run.")
    assert late.startswith("This timed out")
    assert len(bench.releases()) == 1
    told = bench.texts(asked)
    assert len([text for text in told if text.startswith("Reminder:")]) == 2
    assert any(text.startswith("Nobody decided in time, so nothing was deployed.") for text in told)
    assert not [text for text in told if "enied" in text]
    shown = bench.slack.workspace.message(card.channel, card.ts)
    assert "Timed out: nobody decided." in shown.text
    assert not bench.slack.card_actions(shown)
    (entry,) = audited(log)
    assert (entry.get("rule"), entry.get("status"), entry.get("address")) == (
        "late",
        "expired",
        f"sms:{PHONES['omar']}",
    )
    assert [len(audited(log, what)) for what in ("reminded", "escalated", "expired")] == [2, 1, 1]
