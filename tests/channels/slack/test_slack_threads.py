"""SL11, SL12 and who is heard: where answers go, what the bot remembers by itself, and whom it does not know."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import redis.asyncio as redis_client
from support import Bench

from bot.core.events import MessageReceived
from bot.testing import wait_until
from channels.slack.simulator import Message, User


def answers(on_bench: Bench, asked: Message) -> list[Message]:
    """What the bot wrote in the thread."""
    thread = on_bench.slack.thread(asked.channel, asked.thread_ts or asked.ts)
    return [one for one in thread if one.bot_id]


def stranger(on_bench: Bench) -> None:
    """Somebody of the workspace whom the people file does not name."""
    workspace = on_bench.slack.workspace
    workspace.users["U0EVE"] = User(id="U0EVE", name="eve", real_name="Eve", team_id="T0ACME")
    for name in ("#deploys", "#general"):
        channel = workspace.channel(name)
        workspace.channels[channel.id] = replace(channel, members=(*channel.members, "U0EVE"))


async def keys_in(redis_url: str) -> set[str]:
    """Every key of a thread, of a delivery or of a timer."""
    client: Any = cast("Any", redis_client.Redis).from_url(redis_url)
    found = {key.decode() for key in await client.keys("*")}
    await client.aclose()
    return {key for key in found if not key.endswith(":wake")}


async def test_a_message_in_a_channel_is_answered_in_a_thread_of_its_own(on_bench: Bench) -> None:
    """SL11: `thread_ts` is the message's `ts`; the channel itself stays quiet."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot what is on production?")
    await on_bench.finished(asked)
    assert [one.thread_ts for one in answers(on_bench, asked)] == [asked.ts]
    in_channel = [one for one in on_bench.slack.workspace.messages("#deploys") if one.bot_id and not one.thread_ts]
    assert in_channel == []


async def test_a_mention_inside_a_thread_is_answered_there(on_bench: Bench) -> None:
    """SL11: `thread_ts` is the one of the thread that the mention stands in."""
    root = await on_bench.slack.say("omar", "#general", "the shop is slow today")
    asked = await on_bench.slack.say("ana", "#general", "@bot what is on production?", root.ts)
    await on_bench.finished(asked)
    assert [one.thread_ts for one in answers(on_bench, asked)] == [root.ts]


async def test_a_direct_message_needs_no_mention_and_is_answered_in_a_thread(on_bench: Bench) -> None:
    """SL11: in direct messages too, so that two questions there do not become one conversation."""
    one = await on_bench.slack.say("ana", "U0ANA", "what is on production?")
    other = await on_bench.slack.say("ana", "U0ANA", "what is on staging?")
    await on_bench.finished(one)
    await on_bench.finished(other)
    assert [message.thread_ts for message in answers(on_bench, one)] == [one.ts]
    assert "production" in answers(on_bench, one)[0].text
    assert [message.thread_ts for message in answers(on_bench, other)] == [other.ts]
    assert "staging" in answers(on_bench, other)[0].text


async def test_a_reply_in_the_thread_goes_on_without_a_mention(on_bench: Bench) -> None:
    """SL11: a thread of the bot's is a conversation; who answers in it is heard."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot what is on production?")
    await on_bench.finished(asked)
    more = await on_bench.slack.say("omar", "#deploys", "and what is on staging?", asked.ts)
    log = await on_bench.settled(more, lambda log: len([e for e in log.events if e.type == "run_finished"]) == 2)
    assert [event.by.id for event in log.events if isinstance(event, MessageReceived)] == ["ana", "omar"]
    await wait_until(lambda: len(answers(on_bench, asked)) == 2)
    assert "staging" in answers(on_bench, asked)[-1].text


async def test_an_ordinary_journey_never_reads_slacks_history(on_bench: Bench) -> None:
    """SL12: the log is the transcript; Slack is only ever written to."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    card = await on_bench.card(asked)
    await on_bench.slack.say("omar", "#deploys", "looks good to me", asked.ts)
    await on_bench.slack.click("lena", card, "approve")
    await on_bench.finished(asked)
    assert {method for method, _ in on_bench.slack.web_api.calls} == {"chat.postMessage", "chat.update"}


async def test_no_call_carries_an_empty_thread(on_bench: Bench) -> None:
    """SL11: `thread_ts` is a timestamp or is not there; an empty one is an error at Slack."""
    stranger(on_bench)
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    card = await on_bench.card(asked)
    await on_bench.slack.say("eve", "#deploys", "@bot deploy v1.4.0 to production")
    await on_bench.slack.click("ana", card, "approve")
    await wait_until(lambda: on_bench.slack.ephemerals("eve") and on_bench.slack.ephemerals("ana"))
    assert all(arguments.get("thread_ts", "1.2") for _, arguments in on_bench.slack.web_api.calls)


async def test_a_stranger_is_told_how_to_become_known_and_nothing_is_kept(on_bench: Bench, redis_url: str) -> None:
    """AP8, SL7: no word of theirs is stored or reaches a model; one note, for them alone, where they can see it."""
    stranger(on_bench)
    asked = await on_bench.slack.say("eve", "#deploys", "@bot deploy v1.4.0 to production")
    await on_bench.slack.say("eve", "#general", "@bot deploy v1.4.0 to production")
    await wait_until(lambda: len(on_bench.slack.ephemerals("eve")) >= 2)
    await on_bench.slack.deliveries.settle()
    notes = on_bench.slack.ephemerals("eve")
    assert [note.channel for note in notes] == ["C0DEPLOYS", "C0GENERAL"]
    for note in notes:
        assert "I do not know you yet" in note.text
        assert "T0ACME/U0EVE" in note.text
        # Slack shows an ephemeral reply only in a thread that has replies, and this one has none.
        assert note.thread_ts is None
    assert await keys_in(redis_url) == set()
    assert answers(on_bench, asked) == []


async def test_a_stranger_in_a_thread_of_the_bot_is_told_there(on_bench: Bench) -> None:
    """AP8: their reply continues nothing and withdraws nothing."""
    stranger(on_bench)
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    await on_bench.card(asked)
    before = await on_bench.settled(asked, lambda log: log.events[-1].type == "post_sent")
    await on_bench.slack.say("eve", "#deploys", "cancel that, deploy v1.3.1 to production", asked.ts)
    await wait_until(lambda: on_bench.slack.ephemerals("eve"))
    assert [note.thread_ts for note in on_bench.slack.ephemerals("eve")] == [asked.ts]
    assert await on_bench.log_of(asked) == before


async def test_a_stranger_who_does_not_speak_to_the_bot_hears_nothing(on_bench: Bench) -> None:
    """AP8: the bot does not tell everybody in a channel that it does not know them."""
    stranger(on_bench)
    said = await on_bench.slack.say("eve", "#general", "lunch?")
    await on_bench.slack.say("eve", "#general", "anybody?", said.ts)
    await on_bench.slack.deliveries.settle()
    assert on_bench.slack.ephemerals("eve") == []


async def test_a_guest_may_ask_what_runs_and_not_deploy(on_bench: Bench) -> None:
    """SL22: the policy refuses before anybody is bothered with a card, and the guest is told why."""
    asked = await on_bench.slack.say("gil", "#deploys", "@bot deploy v1.4.0 to production")
    log = await on_bench.finished(asked)
    assert log.state.requests == {}
    assert "Gil Park may not deploy to production" in on_bench.texts(asked)[-1]
    assert len(on_bench.releases()) == 1
    question = await on_bench.slack.say("gil", "#deploys", "@bot what is on production?")
    await on_bench.finished(question)
    assert "v1.3.2" in on_bench.texts(question)[-1]


async def test_what_people_write_arrives_as_they_read_it(on_bench: Bench) -> None:
    """SL14: entities are undone once, names stay names, and the mention of the bot is no part of the text."""
    asked = await on_bench.slack.say(
        "ana", "#deploys", "@bot is a < b && c > d, @lena? see https://x.example/?a=1&b=2 in #general &lt;"
    )
    log = await on_bench.finished(asked)
    texts = [event.text for event in log.events if isinstance(event, MessageReceived)]
    assert texts == ["is a < b && c > d, @U0LENA? see https://x.example/?a=1&b=2 in #general &lt;"]


async def test_forty_thousand_characters_are_a_message_like_any_other(on_bench: Bench) -> None:
    """SL13: Slack's longest message is stored whole, and what the bot says about it is within the limits again."""
    text = "<@U0BOT> what is on production? " + "🚢&" * 19_000
    asked = await on_bench.slack.say("ana", "#deploys", text[:40_000])
    log = await on_bench.finished(asked)
    kept = next(event for event in log.events if isinstance(event, MessageReceived))
    assert len(kept.text) > 37_000
    assert kept.cut_characters == 0
    assert answers(on_bench, asked)
