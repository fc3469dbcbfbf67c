"""The deploy conversation in Slack, through the public entry points: a signed webhook in, Slack's store out."""

from __future__ import annotations

from support import Bench


async def test_a_mention_becomes_a_deploy_that_a_person_approved(on_bench: Bench) -> None:
    """AP14, SL11: the card shows the exact commit, an approver clicks, exactly that commit is deployed."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    card = await on_bench.card(asked)
    assert "Deploy v1.4.0 to production" in str(card.blocks)
    assert on_bench.releases()[-1].split()[2] == "v1.3.2"

    await on_bench.slack.click("lena", card, "approve")
    log = await on_bench.finished(asked)

    assert len(on_bench.releases()) == 2
    assert on_bench.releases()[-1].split()[2] == "v1.4.0"
    shown = on_bench.slack.thread(asked.channel, asked.ts)
    assert "Approved by Lena Vogt" in shown[1].text
    assert "runs on production" in shown[1].text
    assert not on_bench.slack.card_actions(shown[1])
    assert shown[-1].text.startswith("Done: v1.4.0")
    assert [event.type for event in log.events].count("tool_started") == 1
