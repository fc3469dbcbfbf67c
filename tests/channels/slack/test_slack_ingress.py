"""SL5 to SL9: what counts as a message, that each counts once, and that everything else is taken and means nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support import Bench

from bot.core.events import MessageReceived
from channels.slack.dialogs import read_metadata
from channels.slack.receive import read_click, read_message, read_submission
from channels.slack.simulator import Message


def received(on_bench: Bench, asked: Message) -> list[dict[str, Any]]:
    """The events that Slack sent about this message."""
    sent = on_bench.slack.deliveries.sent
    return [one.payload for one in sent if one.payload.get("event", {}).get("ts") == asked.ts]


async def threads(on_bench: Bench) -> int:
    """How many threads there are."""
    return len(await on_bench.store.logs.recent(100))


async def test_a_mention_that_arrives_as_two_events_is_one_message(on_bench: Bench) -> None:
    """SL7: `app_mention` and `message` carry different event ids, and start one run with one message."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot what is on production?")
    log = await on_bench.finished(asked)
    assert len({one["event_id"] for one in received(on_bench, asked)}) == 2
    assert sum(isinstance(event, MessageReceived) for event in log.events) == 1
    assert len(on_bench.texts(asked)) == 2


async def test_twenty_deliveries_at_once_are_one_message(on_bench: Bench) -> None:
    """SL6, SL8: seen and stored are one step, so that no race lets a second one through; all are acknowledged."""
    message = on_bench.slack.workspace.post("C0DEPLOYS", "U0ANA", "<@U0BOT> deploy v1.4.0 to production")
    payloads = on_bench.slack.payloads.posted(message)
    racing = [on_bench.slack.deliveries.send("events_api", payloads[at % 2]) for at in range(20)]
    deliveries = await asyncio.gather(*racing)
    assert all(one.accepted and len(one.attempts) == 1 for one in deliveries)
    await on_bench.card(message)
    log = await on_bench.log_of(message)
    assert [event.type for event in log.events][:2] == ["thread_launched", "message_received"]
    assert sum(isinstance(event, MessageReceived) for event in log.events) == 1
    assert len([one for one in on_bench.slack.thread(message.channel, message.ts) if one.bot_id]) == 1


async def test_a_second_delivery_after_the_run_changes_nothing(on_bench: Bench) -> None:
    """SL6: an event id is remembered, however late Slack repeats it."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot what is on production?")
    log = await on_bench.finished(asked)
    on_bench.clock.advance(minutes=6)
    for payload in received(on_bench, asked):
        assert (await on_bench.slack.deliveries.send("events_api", payload)).accepted
    assert len(await on_bench.log_of(asked)) == len(log)


async def test_the_bot_does_not_answer_itself_or_other_bots(on_bench: Bench) -> None:
    """SL9: messages with a bot's id, and messages of our own user, start and continue nothing."""
    workspace = on_bench.slack.workspace
    own = workspace.post("C0DEPLOYS", "U0BOT", "<@U0BOT> deploy v1.4.0 to production", bot_id="B0BOT")
    own_user = workspace.post("C0DEPLOYS", "U0BOT", "<@U0BOT> deploy v1.4.0 to production")
    other = workspace.post("C0DEPLOYS", "U0ANA", "<@U0BOT> deploy v1.4.0 to production", bot_id="B0OTHER")
    for message in (own, own_user, other):
        for payload in on_bench.slack.payloads.posted(message):
            assert (await on_bench.slack.deliveries.send("events_api", payload)).accepted
    assert await threads(on_bench) == 0


async def test_a_message_of_another_bot_that_has_no_user_is_ignored(on_bench: Bench) -> None:
    """SL9: the older `bot_message` is no message of a person."""
    message = on_bench.slack.workspace.post("C0DEPLOYS", "U0ANA", "<@U0BOT> deploy v1.4.0 to production")
    payload = on_bench.slack.payloads.posted(message)[1]
    del payload["event"]["user"]
    payload["event"] |= {"subtype": "bot_message", "bot_id": "B0OTHER", "username": "ci"}
    assert (await on_bench.slack.deliveries.send("events_api", payload)).accepted
    assert await threads(on_bench) == 0


async def test_editing_or_deleting_a_message_is_not_a_new_message(on_bench: Bench) -> None:
    """SL9: neither starts a thread, nor says anything to one."""
    before = await on_bench.slack.say("ana", "#deploys", "not for the bot")
    await on_bench.slack.edit("ana", before, "@bot deploy v1.4.0 to production")
    await on_bench.slack.delete("ana", before)
    assert await threads(on_bench) == 0

    asked = await on_bench.slack.say("ana", "#deploys", "@bot what is on production?")
    log = await on_bench.finished(asked)
    await on_bench.slack.edit("ana", asked, "@bot deploy v1.4.0 to production")
    await on_bench.slack.delete("ana", asked)
    assert len(await on_bench.log_of(asked)) == len(log)
    kinds = [one.payload["event"].get("subtype") for one in on_bench.slack.deliveries.sent]
    assert kinds.count("message_changed") == 2
    assert kinds.count("message_deleted") == 2


async def test_talk_that_is_not_for_the_bot_is_left_alone(on_bench: Bench) -> None:
    """SL9: a message in a channel that does not mention the bot starts nothing, in a thread of others neither."""
    said = await on_bench.slack.say("ana", "#general", "deploy v1.4.0 to production, shall we?")
    await on_bench.slack.say("lena", "#general", "yes @omar", said.ts)
    assert await threads(on_bench) == 0
    assert len(on_bench.texts(said)) == 2


async def test_everything_that_slack_may_send_is_acknowledged(on_bench: Bench) -> None:
    """SL5: what nobody listens to gets 200 too, or Slack would switch the subscription off."""
    workspace, payloads = on_bench.slack.workspace, on_bench.slack.payloads
    channel = workspace.channel("#deploys")
    card = workspace.post(
        "C0DEPLOYS",
        "U0BOT",
        "a card of long ago",
        bot_id="B0BOT",
        blocks=[{"type": "actions", "elements": [{"type": "button", "action_id": "gone", "value": "x"}]}],
    )
    unknown_click = payloads.block_actions(
        workspace.user("U0ANA"),
        card,
        action={"type": "button", "action_id": "gone", "block_id": "b", "value": "x", "action_ts": "1.2"},
        values={},
        trigger_id="1.2.3",
        response_key="key",
    )
    user = unknown_click["user"]
    modal = {"type": "modal", "id": "V1", "callback_id": "a modal of another age", "private_metadata": "[]"}
    strange: list[dict[str, Any]] = [
        unknown_click,
        {**unknown_click, "actions": [{**unknown_click["actions"][0], "action_id": "line\nbreak"}]},
        {"type": "shortcut", "callback_id": "what", "user": user, "team": {"id": "T0ACME"}, "trigger_id": "1.2.3"},
        {**unknown_click, "type": "message_action", "callback_id": "what"},
        {"type": "view_closed", "user": user, "team": {"id": "T0ACME"}, "view": modal},
        {"type": "view_submission", "user": user, "team": {"id": "T0ACME"}, "view": modal},
        {"type": "view_submission", "user": user, "team": {"id": "T0ACME"}, "view": {**modal, "callback_id": "deny"}},
        {"type": "block_suggestion", "action_id": "a", "block_id": "b", "value": "", "user": user, "view": {}},
        {**unknown_click, "type": "interactive_message", "callback_id": "old", "actions": [{"name": "a"}]},
        {"type": "dialog_submission", "callback_id": "old", "user": user, "team": {"id": "T0ACME"}, "submission": {}},
        {"type": "dialog_cancellation", "callback_id": "old", "user": user, "team": {"id": "T0ACME"}},
        {"type": "something_new", "user": user, "team": {"id": "T0ACME"}},
    ]
    for payload in strange:
        delivery = await on_bench.slack.deliveries.send("interactive", payload)
        assert delivery.accepted, payload["type"]
    events: list[dict[str, Any]] = [
        {"type": "reaction_added", "user": "U0ANA", "reaction": "eyes", "item": {"type": "message"}},
        {"type": "app_home_opened", "user": "U0ANA", "channel": "D0ANA", "tab": "home"},
        {"type": "channel_archive", "channel": "C0GENERAL", "user": "U0ANA"},
        {"type": "message", "subtype": "channel_join", "user": "U0ANA", "channel": "C0DEPLOYS", "ts": "1.3"},
        {"type": "message", "subtype": "a_subtype_of_tomorrow", "channel": "C0DEPLOYS", "ts": "1.4"},
        {"type": "an_event_of_tomorrow"},
    ]
    for event in events:
        delivery = await on_bench.slack.deliveries.send("events_api", payloads.event(event, channel))
        assert delivery.accepted, event["type"]
    limited = {"type": "app_rate_limited", "team_id": "T0ACME", "minute_rate_limited": 1, "api_app_id": "A0BOT"}
    assert (await on_bench.slack.deliveries.send("events_api", limited)).accepted
    assert await threads(on_bench) == 0


async def test_a_slash_command_says_how_to_reach_the_bot(on_bench: Bench) -> None:
    """SL5: there are no commands, and whoever tries one is told what to do instead, privately."""
    assert (await on_bench.slack.command("ana", "#deploys", "/deploy")).accepted
    shown = on_bench.slack.ephemerals("ana")
    assert len(shown) == 1
    assert "Mention me in a channel" in shown[0].text


UNHURRIED = settings(deadline=None)
"""The suite has its own limit; a busy machine is no failure."""

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
FIELDS = (
    *("event", "authorizations", "team", "team_id", "user", "actions", "container", "channel", "message", "view"),
    *("type", "subtype", "text", "ts", "thread_ts", "state", "values", "id", "selected_option", "value", "action_id"),
    *("message_ts", "channel_id", "private_metadata", "callback_id", "event_id", "bot_id", "user_id", "block_id"),
)
ODD = st.recursive(
    st.one_of(JSON, st.sampled_from(["message", "app_mention", "U0ANA", "C0DEPLOYS", "1.2", "<@U0BOT|x>", "²"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(FIELDS), inner, min_size=1, max_size=6)
    ),
    max_leaves=12,
)


@UNHURRIED
@given(body=st.dictionaries(st.sampled_from(FIELDS), ODD, max_size=6))
def test_a_payload_of_any_shape_is_read_or_is_nothing(body: dict[str, Any]) -> None:
    """SL5: what Slack comes to send one day never becomes an error that it would retry for minutes."""
    read_message(body)
    read_click(body)
    read_submission(body)


@UNHURRIED
@given(text=st.one_of(st.text(), JSON.map(json.dumps)))
def test_metadata_of_any_shape_is_read_or_is_nothing(text: str) -> None:
    """SL5: what comes back from a modal is read as carefully as anything else."""
    assert isinstance(read_metadata(text), dict)
    assert read_metadata("[" * 100_000) == {}
