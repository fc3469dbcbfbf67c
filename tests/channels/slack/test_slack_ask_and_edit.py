"""Asking first and changing a call before it is approved, through Slack's dialogs (AP3, AP7, AP13)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import PEOPLE, Bench, bench

from bot.core.events import CallPrepared, DecisionMade, DecisionRefused
from bot.testing import wait_until
from channels.slack.receive import read_submission
from channels.slack.simulator import Message


async def asked_for(bench: Bench, by: str = "ana") -> tuple[Message, Message]:
    asked = await bench.slack.say(by, "#deploys", "@bot deploy v1.4.0 to production")
    return asked, await bench.card(asked)


async def newer(bench: Bench, asked: Message, than: Message) -> Message:
    """The card that took the place of this one."""
    await bench.settled(
        asked, lambda log: any(post.ref and than.ts not in post.ref for post in log.state.posts.values())
    )
    found = await bench.card(asked)
    assert found.ts != than.ts
    return found


async def test_a_question_goes_to_the_agent_and_the_request_is_made_anew(on_bench: Bench) -> None:
    """The card closes, the agent answers, a new card carries both; the asker may approve it: nothing was changed."""
    asked, card = await asked_for(on_bench)
    await on_bench.slack.click("lena", card, "ask")
    (view,) = on_bench.slack.views("lena")
    await on_bench.slack.submit("lena", view, {"question": {"text": "Is there a migration in it?"}})

    again = await newer(on_bench, asked, card)
    assert "Is there a migration in it?" in str(again.blocks)
    assert "The agent answers: I am a script" in str(again.blocks)
    closed = on_bench.slack.thread(asked.channel, asked.ts)[1]
    assert "Lena Vogt asks: Is there a migration in it?" in closed.text
    assert not on_bench.slack.card_actions(closed)

    await on_bench.slack.click("lena", card, "approve")  # the old one is dead (AP3)
    await on_bench.slack.click("lena", again, "approve")
    log = await on_bench.finished(asked)
    assert len(on_bench.releases()) == 2
    assert [event.rule for event in log.events if isinstance(event, DecisionRefused)] == ["late"]


@pytest.mark.parametrize("action", ["deny", "ask"])
async def test_a_dialog_belongs_to_the_card_that_it_was_opened_from(
    redis_url: str, tmp_path: Path, action: str
) -> None:
    """AP3: that card was deleted meanwhile, and the one in its place may say more: that one is read first."""
    policy = tmp_path / "policy.toml"
    policy.write_text('[[policies]]\ntool = "deploy"\nwhen = { environment = "production" }\napprovals = 2\n')
    async with bench(redis_url, tmp_path, policy_file=policy) as found:
        asked, card = await asked_for(found)
        await found.slack.click("lena", card, action)
        (view,) = found.slack.views("lena")
        found.slack.workspace.delete(card.channel, card.ts)
        await found.slack.click("omar", card, "approve")
        again = await newer(found, asked, card)
        typed = {"reason": {"text": "not now"}} if action == "deny" else {"question": {"text": "why now?"}}
        await found.slack.submit("lena", view, typed)
        await wait_until(lambda: found.slack.ephemerals("lena"))
        assert found.slack.ephemerals("lena")[-1].text.startswith("This card is out of date")
        await found.slack.click("lena", again, "approve")
        log = await found.finished(asked)
        assert [event.rule for event in log.events if isinstance(event, DecisionRefused)] == ["card"]
        assert len(found.releases()) == 2


async def test_what_an_approver_changed_is_checked_and_put_to_the_others(on_bench: Bench) -> None:
    """AP13: proposed and effective arguments are kept; the policy rules again; the editor is no second pair of eyes."""
    asked, card = await asked_for(on_bench)
    await on_bench.slack.click("lena", card, "edit")
    (view,) = on_bench.slack.views("lena")
    await on_bench.slack.submit("lena", view, {"argument:reference": {"text": "v1.3.1"}})

    again = await newer(on_bench, asked, card)
    assert "Changed by Lena Vogt" in str(again.blocks)
    assert "reference: v1.4.0 → v1.3.1" in str(again.blocks)
    await on_bench.slack.click("lena", again, "approve")
    await on_bench.settled(asked, lambda log: any(isinstance(event, DecisionRefused) for event in log.events))
    await on_bench.slack.click("omar", again, "approve")
    log = await on_bench.finished(asked)

    assert on_bench.releases()[-1].split()[2] == "v1.3.1"
    edit = next(event for event in log.events if isinstance(event, DecisionMade) and event.verdict == "edit")
    assert edit.arguments == {"reference": "v1.3.1", "environment": "production"}
    prepared = [event.prepared.arguments["reference"] for event in log.events if isinstance(event, CallPrepared)]
    assert prepared[-2:] == ["v1.4.0", "v1.3.1"]
    assert [event.rule for event in log.events if isinstance(event, DecisionRefused)] == ["four_eyes"]


async def test_a_change_that_cannot_run_is_told_and_changes_nothing(on_bench: Bench) -> None:
    """AP13: it is held against the tool's schema first."""
    asked, card = await asked_for(on_bench)
    await on_bench.slack.click("lena", card, "edit")
    (view,) = on_bench.slack.views("lena")
    await on_bench.slack.submit("lena", view, {"argument:environment": {"text": "   "}})
    log = await on_bench.settled(asked, lambda log: any(isinstance(event, DecisionRefused) for event in log.events))
    assert [event.rule for event in log.events if isinstance(event, DecisionRefused)] == ["arguments"]
    assert log.state.pending


async def test_a_dialog_of_another_workspace_s_person_counts_no_more_than_their_click(
    redis_url: str, tmp_path: Path
) -> None:
    """SL22: Slack names their workspace as `team`, and the one that the bot is installed in only within the view."""
    people = tmp_path / "people.toml"
    people.write_text(PEOPLE.read_text().replace('roles = ["guest"]', 'roles = ["approver"]'))
    async with bench(redis_url, tmp_path, people_file=people) as on_bench:
        slack = on_bench.slack
        asked, card = await asked_for(on_bench)
        await slack.click("lena", card, "edit")
        (view,) = slack.views("lena")
        typed = {"argument:reference": {"text": {"type": "plain_text_input", "value": "v1.3.1"}}}
        payload = slack.payloads.view_submission(slack.workspace.user("U0GIL"), view, typed, "1.2.3")
        assert payload["team"]["id"] == "T0PARTNER"
        assert (await slack.deliveries.send("interactive", payload)).accepted
        log = await on_bench.settled(asked, lambda log: any(isinstance(one, DecisionRefused) for one in log.events))
        assert [event.rule for event in log.events if isinstance(event, DecisionRefused)] == ["external"]
        assert log.state.pending


@pytest.mark.parametrize(
    ("user_team", "team", "installed", "address", "external"),
    [
        ("T1", "T1", "T1", "slack:T1/U1", False),
        ("T2", "T2", "T1", "slack:T2/U1", True),
        ("T2", "T1", "T1", "slack:T2/U1", True),
        ("", "T2", "T1", "slack:T2/U1", True),
        ("T1", "T1", "", "slack:T1/U1", False),
        ("T2", "T1", "", "slack:T2/U1", True),
        ("T1", "", "T1", "slack:T1/U1", False),
        ("T2", "", "T1", "slack:T2/U1", True),
    ],
)
def test_whose_workspace_a_dialog_was_submitted_in(
    user_team: str, team: str, installed: str, address: str, *, external: bool
) -> None:
    """SL22: the view's word on where the bot is installed goes before `team`, which may be the person's own."""
    body: dict[str, Any] = {
        "type": "view_submission",
        "team": {"id": team, "domain": "somewhere"} if team else None,
        "user": {"id": "U1", "username": "gil", **({"team_id": user_team} if user_team else {})},
        "view": {"id": "V1", "callback_id": "edit", "state": {"values": {}}, "hash": "1.2"},
    }
    if installed:
        body["view"]["app_installed_team_id"] = installed
    submission = read_submission(body)
    assert submission
    assert (submission.user.address, submission.user.external) == (address, external)
