"""A decision by button: who may, what each click does, and that nobody is left without an answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from support import PEOPLE, Bench, bench

from bot.core.events import DecisionMade, DecisionRefused, PostSent, RequestOpened
from bot.testing import wait_until
from channels.slack.client import SlackChannel
from channels.slack.simulator import Message, RateLimited, Refused, ServerError, Slow, User

ASK = "@bot deploy v1.4.0 to production"


async def asked_for(on_bench: Bench, by: str = "ana", text: str = ASK) -> tuple[Message, Message]:
    """What was asked, and its card."""
    asked = await on_bench.slack.say(by, "#deploys", text)
    return asked, await on_bench.card(asked)


def whispers(on_bench: Bench, person: str) -> list[str]:
    """What only this person was told."""
    return [one.text for one in on_bench.slack.ephemerals(person)]


async def whispered(on_bench: Bench, person: str, text: str) -> None:
    """Wait until this person was told this."""
    await wait_until(lambda: any(text in one for one in whispers(on_bench, person)))


def now(on_bench: Bench, card: Message) -> Message:
    """The card as it looks now."""
    return on_bench.slack.workspace.message(card.channel, card.ts)


def stranger(on_bench: Bench) -> None:
    """Somebody of the workspace whom the people file does not name."""
    workspace = on_bench.slack.workspace
    eve = User(id="U0EVE", name="eve", real_name="Eve", team_id="T0ACME")
    workspace.users[eve.id] = eve
    channel = workspace.channel("#deploys")
    workspace.channels[channel.id] = replace(channel, members=(*channel.members, eve.id))


async def test_the_request_is_stored_before_its_card_is_posted(on_bench: Bench) -> None:
    """Decision by button, 1: while Slack takes no card the request stands in the log; then its place is recorded."""
    on_bench.slack.faults.script("chat.postMessage", RateLimited(30))
    asked = await on_bench.slack.say("ana", "#deploys", ASK)
    log = await on_bench.settled(asked, lambda log: any(post.blocked for post in log.state.posts.values()))
    assert on_bench.texts(asked)[1:] == []
    request = log.state.pending[0].request
    assert len(request.digest) == 64
    assert request.rule is not None
    assert request.rule.roles == ("approver",)
    assert request.expires_at is not None
    on_bench.clock.advance(seconds=31)
    card = await on_bench.card(asked)
    log = await on_bench.settled(asked, lambda log: isinstance(log.events[-1], PostSent))
    sent = log.events[-1]
    assert isinstance(sent, PostSent)
    assert sent.ref == f"{card.channel}/{card.ts}"


async def test_a_button_carries_the_opaque_id_of_its_request_and_nothing_else(on_bench: Bench) -> None:
    """SL15: at least 128 bits of chance, new for each request, and no word of what would be decided."""
    asked, card = await asked_for(on_bench)
    other_asked, other = await asked_for(on_bench, "omar")
    requests = {
        (await on_bench.log_of(one)).state.pending[0].request.id: shown
        for one, shown in ((asked, card), (other_asked, other))
    }
    assert len(requests) == 2
    for request_id, shown in requests.items():
        buttons = on_bench.slack.card_actions(shown)
        assert {one["value"] for one in buttons.values()} == {request_id}
        assert len(request_id) >= 22  # 128 bits in base64


async def test_an_approved_card_is_updated_in_place(on_bench: Bench) -> None:
    """Decision by button, 4: the same message, without buttons, says who, when and what came of it."""
    asked, card = await asked_for(on_bench)
    on_bench.clock.advance(minutes=7)
    await on_bench.slack.click("lena", card, "approve")
    await on_bench.finished(asked)
    settled = now(on_bench, card)
    assert settled.edited
    assert not on_bench.slack.card_actions(settled)
    assert "Approved by Lena Vogt, 09:07 UTC." in settled.text
    assert "v1.4.0" in settled.text
    assert "runs on production" in settled.text
    assert whispers(on_bench, "lena") == []


async def test_a_failed_update_is_repeated(on_bench: Bench) -> None:
    """Decision by button, 4: the card is made anew from the log until Slack has it; the deploy does not wait for it."""
    asked, card = await asked_for(on_bench)
    on_bench.slack.faults.script("chat.update", ServerError(500))
    await on_bench.slack.click("lena", card, "approve")
    await on_bench.settled(asked, lambda log: log.state.run == "finished")
    assert on_bench.slack.card_actions(now(on_bench, card))
    assert len(on_bench.releases()) == 2
    on_bench.clock.advance(minutes=1)
    await on_bench.finished(asked)
    assert "runs on production" in now(on_bench, card).text
    assert not on_bench.slack.card_actions(now(on_bench, card))


async def test_the_loser_and_the_double_click_are_told_who_was_first(on_bench: Bench) -> None:
    """Decision by button, 3: both are answered, only to themselves, and nothing happens twice."""
    asked, card = await asked_for(on_bench)
    await on_bench.slack.click("lena", card, "approve")
    await on_bench.finished(asked)
    public = on_bench.texts(asked)
    await on_bench.slack.click("omar", card, "approve")
    await on_bench.slack.click("lena", card, "approve")
    await on_bench.slack.click("omar", card, "deny")
    for person in ("omar", "lena"):
        await whispered(on_bench, person, "already approved by Lena Vogt at 09:00 UTC.")
    await wait_until(lambda: len(whispers(on_bench, "omar")) == 2)
    assert on_bench.texts(asked) == public
    assert len(on_bench.releases()) == 2
    assert on_bench.slack.views("omar") == []


async def test_twenty_clicks_at_once_decide_once(on_bench: Bench) -> None:
    """Decision by button, 2 and 3, AP2: one compare-and-set wins, and each other click is answered."""
    asked, card = await asked_for(on_bench)
    await asyncio.gather(*(on_bench.slack.click(("lena", "omar")[at % 2], card, "approve") for at in range(20)))
    log = await on_bench.finished(asked)
    assert sum(isinstance(event, DecisionMade) for event in log.events) == 1
    assert sum(isinstance(event, DecisionRefused) for event in log.events) == 19
    assert len(whispers(on_bench, "lena")) + len(whispers(on_bench, "omar")) == 19
    assert len(on_bench.releases()) == 2


async def test_the_same_click_delivered_twice_is_one_click(on_bench: Bench) -> None:
    """SL6: a repeated delivery of one click is no double click, so nobody is told off for it."""
    asked, card = await asked_for(on_bench)
    click = await on_bench.slack.click("lena", card, "approve")
    assert (await on_bench.slack.deliveries.send("interactive", click.payload)).accepted
    log = await on_bench.finished(asked)
    assert not any(isinstance(event, DecisionRefused) for event in log.events)


async def test_who_may_not_decide_is_told_who_may(on_bench: Bench) -> None:
    """Decision by button, 3, AP16: only the one who clicked is told, the card stays open, and the log has it."""
    asked, card = await asked_for(on_bench)
    await on_bench.slack.click("ana", card, "approve")
    await whispered(on_bench, "ana", "it takes the role approver (yours: engineer). Lena Vogt or Omar Haddad can.")
    await on_bench.slack.click("gil", card, "deny")
    await whispered(on_bench, "gil", "You cannot decide this")
    assert on_bench.slack.views("gil") == []
    log = await on_bench.log_of(asked)
    assert [event.rule for event in log.events if isinstance(event, DecisionRefused)] == ["role", "role"]
    assert "approve" in on_bench.slack.card_actions(now(on_bench, card))
    assert len(on_bench.releases()) == 1


async def test_whoever_asked_may_not_approve_it_and_may_take_it_back(on_bench: Bench) -> None:
    """AP7: four eyes on production; a denial by the requester counts."""
    asked, card = await asked_for(on_bench, "lena")
    assert "U0LENA" not in str(card.blocks)
    await on_bench.slack.click("lena", card, "approve")
    await whispered(on_bench, "lena", "You asked for this, so somebody else has to approve it. Omar Haddad can.")
    assert len(on_bench.releases()) == 1
    await on_bench.slack.click("lena", card, "deny")
    await on_bench.slack.submit("lena", on_bench.slack.views("lena")[0], {})
    await on_bench.finished(asked)
    assert "Withdrawn by Lena Vogt" in now(on_bench, card).text


async def test_a_person_of_another_workspace_may_not_approve(redis_url: str, tmp_path: Path) -> None:
    """SL22: not even with the role of an approver."""
    people = tmp_path / "people.toml"
    people.write_text(PEOPLE.read_text().replace('roles = ["guest"]', 'roles = ["approver"]'))
    async with bench(redis_url, tmp_path, people_file=people) as on_bench:
        asked, card = await asked_for(on_bench)
        await on_bench.slack.click("gil", card, "approve")
        await whispered(on_bench, "gil", "Members of another organisation cannot approve.")
        log = await on_bench.log_of(asked)
        assert [event.rule for event in log.events if isinstance(event, DecisionRefused)] == ["external"]
        assert len(on_bench.releases()) == 1


async def test_a_stranger_may_not_decide(on_bench: Bench) -> None:
    """AP8: somebody whom the people file does not name is told so, and the refusal is in the log."""
    asked, card = await asked_for(on_bench)
    stranger(on_bench)
    await on_bench.slack.click("eve", card, "approve")
    await whispered(on_bench, "eve", "so you cannot decide.")
    log = await on_bench.log_of(asked)
    refused = [event for event in log.events if isinstance(event, DecisionRefused)]
    assert [event.by.address for event in refused] == ["slack:T0ACME/U0EVE"]


async def test_a_card_that_nobody_decided_says_timed_out(on_bench: Bench) -> None:
    """Decision by button, 6, AP4: it is not called a denial, and a click afterwards is answered with the same word."""
    asked, card = await asked_for(on_bench)
    on_bench.clock.advance(hours=1, seconds=1)
    await on_bench.finished(asked)
    assert "Timed out: nobody decided." in now(on_bench, card).text
    assert "enied" not in now(on_bench, card).text
    assert not on_bench.slack.card_actions(now(on_bench, card))
    assert on_bench.texts(asked)[-1].startswith("Nobody decided in time, so nothing was deployed.")
    await on_bench.slack.click("lena", card, "approve")
    await whispered(on_bench, "lena", "This timed out")
    assert len(on_bench.releases()) == 1


async def test_a_click_after_the_end_counts_no_more_though_the_timer_is_late(redis_url: str, tmp_path: Path) -> None:
    """AP4, AP5: the expiry holds by the clock; without any worker to fire the timer, the click is refused."""
    async with bench(redis_url, tmp_path) as on_bench:
        asked, card = await asked_for(on_bench)
        await on_bench.stop_workers()
        on_bench.clock.advance(hours=1)
        await on_bench.slack.click("lena", card, "approve")
        log = await on_bench.log_of(asked)
        assert [event.rule for event in log.events if isinstance(event, DecisionRefused)] == ["expired"]
        await on_bench.start_worker()
        await whispered(on_bench, "lena", "This request has timed out.")
        assert len(on_bench.releases()) == 1


async def test_yes_in_the_thread_decides_nothing(on_bench: Bench) -> None:
    """AP15: free text gets a hint to use the buttons, and changes nothing, whoever writes it."""
    asked, card = await asked_for(on_bench)
    for person, text in (("lena", "ok"), ("omar", "Yes!"), ("ana", "@bot approve"), ("lena", "no")):
        await on_bench.slack.say(person, "#deploys", text, asked.ts)
    for person in ("lena", "omar", "ana"):
        await whispered(on_bench, person, "Please decide on the request itself")
    log = await on_bench.settled(asked, lambda log: len(log.state.posts) == 1)
    assert [one.request.id for one in log.state.pending] == [
        on_bench.slack.card_actions(card)["approve"]["value"],
    ]
    assert [event.type for event in log.events].count("tool_chosen") == 2  # the hand-off and the deploy
    assert len([one for one in on_bench.slack.thread(asked.channel, asked.ts) if one.bot_id]) == 1
    assert len(on_bench.releases()) == 1


async def test_talk_beside_an_open_card_leaves_it_open(on_bench: Bench) -> None:
    """AP15: the agent considers what is said, keeps to the approval, and the card can still be decided."""
    asked, card = await asked_for(on_bench)
    await on_bench.slack.say("omar", "#deploys", "is the migration reversible?", asked.ts)
    await on_bench.settled(asked, lambda log: log.events[-1].type == "tool_chosen" and log.state.pending)
    await on_bench.slack.click("lena", card, "approve")
    await on_bench.finished(asked)
    assert len(on_bench.releases()) == 2


async def test_a_changed_wish_withdraws_the_card_and_a_stale_click_is_answered(on_bench: Bench) -> None:
    """AP3: the old buttons die with the old arguments, and whoever clicks them is told why."""
    asked, card = await asked_for(on_bench)
    await on_bench.slack.say("ana", "#deploys", "no wait, deploy v1.3.1 to production", asked.ts)
    await wait_until(lambda: not on_bench.slack.card_actions(now(on_bench, card)))
    assert "Withdrawn: the plan changed." in now(on_bench, card).text
    newer = await on_bench.card(asked)
    assert newer.ts != card.ts
    assert "v1.3.1" in newer.text
    await on_bench.slack.click("lena", card, "approve")
    await whispered(on_bench, "lena", ", because the plan changed")
    assert len(on_bench.releases()) == 1
    await on_bench.slack.click("lena", newer, "approve")
    await on_bench.finished(asked)
    assert on_bench.releases()[-1].split()[2] == "v1.3.1"


async def test_a_click_on_a_card_whose_thread_is_gone_is_answered(on_bench: Bench, redis_url: str) -> None:
    """Decision by button, 3: after the log's 90 days nobody clicks into the void."""
    asked, card = await asked_for(on_bench)
    await on_bench.stop_workers()
    await on_bench.store.connection.redis.flushall()
    assert (await on_bench.slack.click("lena", card, "approve")).accepted
    await whispered(on_bench, "lena", "I do not know this card any more.")
    assert not (await on_bench.log_of(asked)).events
    (kept,) = await on_bench.refused("slack")  # AP16
    assert (kept.rule, kept.address) == ("unknown", "slack:T0ACME/U0LENA")


async def test_a_denial_with_a_reason_leads_to_a_new_proposal(on_bench: Bench) -> None:
    """Decision by button, 5, AP12: the reason is asked for in a dialog, shown on the card, and read by the agent."""
    asked, card = await asked_for(on_bench)
    await on_bench.slack.click("lena", card, "deny")
    view = on_bench.slack.views("lena")[0]
    assert "Deploy v1.4.0 to production" in str(view.payload["blocks"])
    assert on_bench.slack.card_actions(now(on_bench, card)), "nothing is decided before the dialog is sent"
    await on_bench.slack.submit("lena", view, {"reason": {"text": "  1.4.0 is broken, use v1.3.1 <!here>  "}})
    assert on_bench.slack.views("lena") == []
    await wait_until(lambda: not on_bench.slack.card_actions(now(on_bench, card)))
    newer = await on_bench.card(asked)
    settled = now(on_bench, card)
    assert "Denied by Lena Vogt, 09:00 UTC: “1.4.0 is broken, use v1.3.1 &lt;!here&gt;”" in settled.text
    assert "It was not run." in settled.text
    assert "Deploy v1.3.1 to production" in newer.text
    assert len(on_bench.releases()) == 1


async def test_a_denial_with_words_is_answered_with_them(on_bench: Bench) -> None:
    """AP12: the agent takes up a reason that names no other release."""
    asked, card = await asked_for(on_bench)
    await on_bench.slack.click("omar", card, "deny")
    await on_bench.slack.submit("omar", on_bench.slack.views("omar")[0], {"reason": {"text": "not on a Friday"}})
    await on_bench.finished(asked)
    assert "Omar Haddad said no: “not on a Friday”" in on_bench.texts(asked)[-1]


async def test_a_denial_needs_no_reason(on_bench: Bench) -> None:
    """AP12: the reason is optional, and its absence is said."""
    asked, card = await asked_for(on_bench)
    await on_bench.slack.click("lena", card, "deny")
    await on_bench.slack.submit("lena", on_bench.slack.views("lena")[0], {})
    await on_bench.finished(asked)
    assert "Denied by Lena Vogt, 09:00 UTC, without a reason." in now(on_bench, card).text


async def test_a_closed_dialog_decides_nothing_and_a_late_one_is_told_so(on_bench: Bench) -> None:
    """AP4, AP5: only sending the dialog is a decision, and only while the request is open."""
    asked, card = await asked_for(on_bench)
    await on_bench.slack.click("lena", card, "deny")
    await on_bench.slack.close_view("lena", on_bench.slack.views("lena")[0])
    await on_bench.slack.click("lena", card, "deny")
    late = on_bench.slack.views("lena")[0]
    await on_bench.slack.click("omar", card, "approve")
    await on_bench.finished(asked)
    await on_bench.slack.submit("lena", late, {"reason": {"text": "too risky"}})
    await whispered(on_bench, "lena", "already approved by Omar Haddad")
    log = await on_bench.log_of(asked)
    assert [event.verdict for event in log.events if isinstance(event, DecisionMade)] == ["approve"]


async def test_an_expired_trigger_is_told_and_decides_nothing(on_bench: Bench) -> None:
    """SL16: where Slack does not open the dialog any more, the person is asked to press the button again."""
    asked, card = await asked_for(on_bench)
    on_bench.slack.faults.script("views.open", Refused("expired_trigger_id"))
    assert (await on_bench.slack.click("lena", card, "deny")).accepted
    await whispered(on_bench, "lena", "Nothing was decided; please press the button again.")
    assert (await on_bench.log_of(asked)).state.pending
    await on_bench.slack.click("lena", card, "deny")
    assert on_bench.slack.views("lena")


async def test_a_slow_dialog_does_not_keep_slack_waiting(on_bench: Bench) -> None:
    """SL3, SL16: the click is acknowledged within Slack's three seconds, though Slack itself does not answer."""
    assert on_bench.board.channels.slack
    assert SlackChannel.dialog_seconds < 3
    on_bench.board.channels.slack.dialog_seconds = 0.1
    asked, card = await asked_for(on_bench)
    answered = asyncio.Event()
    on_bench.slack.faults.script("views.open", Slow(until=answered))
    async with asyncio.timeout(3):
        assert (await on_bench.slack.click("lena", card, "deny")).accepted
    answered.set()
    await whispered(on_bench, "lena", "Slack has not said whether it opened the dialog.")
    assert (await on_bench.log_of(asked)).state.pending


async def test_a_card_is_never_ephemeral(on_bench: Bench) -> None:
    """SL17: what people have to decide stays in the thread; only receipts are for one person."""
    asked, card = await asked_for(on_bench)
    assert card.ephemeral_to is None
    await on_bench.slack.click("ana", card, "approve")
    await on_bench.slack.say("lena", "#deploys", "ok", asked.ts)
    await whispered(on_bench, "lena", "buttons")
    await on_bench.slack.click("lena", card, "approve")
    await on_bench.finished(asked)
    everybody = [one for person in ("ana", "lena", "omar", "gil") for one in on_bench.slack.ephemerals(person)]
    assert len(everybody) == 2
    assert not any(on_bench.slack.card_actions(one) for one in everybody)
    assert all(one.thread_ts == asked.ts for one in everybody)


async def test_every_request_has_its_card_in_the_thread_that_asked(on_bench: Bench) -> None:
    """AP10: where the answer goes comes from the conversation, never from a text."""
    asked, _ = await asked_for(on_bench, text="@bot deploy v1.4.0 to production and tell #general")
    log = await on_bench.log_of(asked)
    assert sum(isinstance(event, RequestOpened) for event in log.events) == 1
    assert on_bench.slack.workspace.messages("#general") == []
