"""Copies in direct messages: whom none reaches is asked elsewhere, none comes twice, and who is not there gets one."""

from __future__ import annotations

from pathlib import Path

import pytest
from requesting import DEPLOY, NIA, is_sent, made, office
from support import BOT_ADDRESS, Bench

from bot.core.events import PostFailed
from bot.core.log import Log
from bot.core.values import Conversation
from bot.testing import wait_until
from channels.slack.client.web import SlackChannel
from channels.slack.simulator import LostAnswer, Message, RateLimited, Refused, ServerError
from channels.slack.simulator.records import Channel

PEOPLE = """
[people.ana]
name = "Ana Ruiz"
roles = ["engineer"]
mail = "ana@acme.example"
slack = "T0ACME/U0ANA"
[people.lena]
name = "Lena Vogt"
roles = ["engineer", "approver"]
slack = "T0ACME/U0LENA"
"""
WITH_PHONE = f'{PEOPLE}phone = "{NIA}"\n'
LENA = "slack:T0ACME/U0LENA"


async def ask_by_mail(found: Bench) -> None:
    """Ana asks for a deploy by mail: the copy for Lena is all that goes to Slack."""
    await found.mail.write("ana@acme.example", BOT_ADDRESS, "Release", DEPLOY.removeprefix("@bot "))
    await found.mail.queue.until_empty()


async def failed(found: Bench, times: int) -> Log:
    """The log, once so many sendings have failed and nothing else is left to do."""

    def so(log: Log) -> bool:
        return len(failures(log)) == times and all(post.shown or post.blocked for post in log.state.posts.values())

    return await found.until(so)


def failures(log: Log) -> list[PostFailed]:
    """Every sending that failed."""
    return [event for event in log.events if isinstance(event, PostFailed)]


def calls(found: Bench, method: str) -> int:
    """How often Slack was called."""
    return sum(called == method for called, _ in found.slack.web_api.calls)


def cards_of(found: Bench, person: str) -> list[Message]:
    """What the bot wrote directly to the person with this id."""
    workspace = found.slack.workspace
    return [one for one in workspace.messages(workspace.channel(person).id) if one.bot_id]


# --- whom nothing reaches


@pytest.mark.parametrize("code", ["channel_not_found", "user_disabled", "is_archived", "cannot_dm_bot"])
async def test_whom_no_direct_message_reaches_is_asked_elsewhere(redis_url: str, tmp_path: Path, code: str) -> None:
    """AP10: a copy that Slack refuses for good goes to another address of the same person, and the first one is off."""
    async with office(redis_url, tmp_path, people=WITH_PHONE) as found:
        found.slack.faults.script("chat.postMessage", Refused(code))
        await ask_by_mail(found)
        await failed(found, 1)
        found.clock.advance(minutes=1)
        log = await found.until(lambda log: log.state.pending and is_sent(log))
        await found.settled_texts()
        assert [event.error for event in failures(log)] == [code]
        assert await found.store.addresses.why_off(LENA) == code
        assert "YES" in found.twilio.phone(NIA)[-1].body
        assert not cards_of(found, "U0LENA")


async def test_the_conversation_is_told_whom_nothing_reaches(redis_url: str, tmp_path: Path) -> None:
    """AP10: without another address whoever asked is told that nobody was asked in their place."""
    async with office(redis_url, tmp_path, people=PEOPLE) as found:
        found.slack.faults.script("chat.postMessage", Refused("user_not_found"))
        await ask_by_mail(found)
        log = await failed(found, 1)
        assert failures(log)[0].unreachable
        assert any("I cannot reach T0ACME/U0LENA" in mail.text for mail in found.mail.inbox("ana@acme.example"))


async def test_whoever_clicks_or_writes_is_reached_again(redis_url: str, tmp_path: Path) -> None:
    """AP10: the address that was given up is in use again, because its person is there."""
    async with office(redis_url, tmp_path, people=WITH_PHONE) as found:
        await found.store.addresses.turn_off(LENA, "channel_not_found")
        await found.slack.say("lena", "#deploys", "@bot what is on production?")
        await wait_until(lambda: found.slack.workspace.messages("#deploys"))
        assert await found.store.addresses.why_off(LENA) is None


async def test_what_is_wrong_with_the_app_turns_nobodys_address_off(redis_url: str, tmp_path: Path) -> None:
    """AP10: once an administrator has mended it, the copy comes, and everybody is reached as before."""
    async with office(redis_url, tmp_path, people=WITH_PHONE) as found:
        found.slack.faults.script("chat.postMessage", Refused("messages_tab_disabled"))
        await ask_by_mail(found)
        await failed(found, 1)
        assert await found.store.addresses.why_off(LENA) is None
        found.clock.advance(minutes=6)
        await found.until(lambda log: log.state.pending and is_sent(log))
        (card,) = cards_of(found, "U0LENA")
        await found.slack.click("lena", card, "approve")
        assert made(await found.over()) == [("lena", "approve")]


async def test_a_channel_that_is_gone_turns_nobodys_address_off(redis_url: str, tmp_path: Path) -> None:
    """AP10: what Slack says of a channel is not said of the person who asked there."""
    async with office(redis_url, tmp_path, people=PEOPLE) as found:
        found.slack.faults.script("chat.postMessage", Refused("channel_not_found"))
        await found.slack.say("ana", "U0ANA", "what is on production?")
        await failed(found, 1)
        assert await found.store.addresses.all_off() == {}


# --- a copy whose answer is lost


@pytest.mark.parametrize("fault", [LostAnswer(), ServerError(503)], ids=str)
async def test_a_copy_whose_answer_is_lost_is_looked_for(
    redis_url: str, tmp_path: Path, fault: LostAnswer | ServerError
) -> None:
    """SL19: there is one card in the direct message, and none stays open after the decision."""
    async with office(redis_url, tmp_path, people=PEOPLE) as found:
        found.slack.faults.script("chat.postMessage", fault)
        await ask_by_mail(found)
        assert failures(await failed(found, 1))[0].in_doubt
        assert calls(found, "conversations.open") == 0
        found.clock.advance(minutes=1)
        await found.until(lambda log: log.state.pending and is_sent(log))
        (card,) = cards_of(found, "U0LENA")
        await found.slack.click("lena", card, "approve")
        assert made(await found.over()) == [("lena", "approve")]
        (card,) = [one for one in cards_of(found, "U0LENA") if "Deploy v1.4.0" in one.text]
        assert not found.slack.card_actions(card)
        assert calls(found, "conversations.open") == 1


async def test_no_copy_is_sent_on_a_guess(redis_url: str, tmp_path: Path) -> None:
    """SL19: while Slack cannot be asked where the copy would be, or whether it is there, it stays in doubt."""
    async with office(redis_url, tmp_path, people=PEOPLE) as found:
        found.slack.faults.script("chat.postMessage", LostAnswer())
        found.slack.faults.script("conversations.open", RateLimited(20), ServerError(500))
        found.slack.faults.script("conversations.history", ServerError(503))
        await ask_by_mail(found)
        for times in (1, 2, 3, 4):
            log = await failed(found, times)
            assert failures(log)[-1].in_doubt
            found.clock.advance(minutes=1)
        await found.until(lambda log: log.state.pending and is_sent(log))
        assert len(cards_of(found, "U0LENA")) == 1
        assert calls(found, "chat.postMessage") == 1


async def test_without_the_scope_a_copy_is_sent_again_rather_than_never(redis_url: str, tmp_path: Path) -> None:
    """SL19: an app that may not open direct messages posts a second card; the newer one decides."""
    async with office(redis_url, tmp_path, people=PEOPLE) as found:
        found.slack.faults.script("chat.postMessage", LostAnswer())
        found.slack.faults.script("conversations.open", Refused("missing_scope"))
        await ask_by_mail(found)
        await failed(found, 1)
        found.clock.advance(minutes=1)
        await found.until(lambda log: log.state.pending and is_sent(log))
        older, newer = cards_of(found, "U0LENA")
        await found.slack.click("lena", older, "approve")
        await wait_until(lambda: found.slack.workspace.ephemerals("U0LENA"))
        assert "I do not know this card any more" in found.slack.workspace.ephemerals("U0LENA")[-1].text
        await found.slack.click("lena", newer, "approve")
        assert made(await found.over()) == [("lena", "approve")]


# --- who is not where the card is


@pytest.mark.parametrize(
    ("ref", "is_shared"),
    [("C0DEPLOYS/1.2", True), ("C0DEPLOYS", True), ("D0ANA/1.2", False), ("G0GROUP/1.2", False), ("U0ANA", False)],
)
def test_only_a_channel_is_shared(*, ref: str, is_shared: bool) -> None:
    """AP11: one card is enough where everybody who may decide can be expected, and nowhere else."""
    channel = SlackChannel.at("http://slack.test/", "xoxb-test")
    assert channel.is_shared(Conversation(channel="slack", ref=ref)) is is_shared


async def test_approvers_who_are_not_in_a_group_message_get_a_copy(redis_url: str, tmp_path: Path) -> None:
    """AP11: the card stands in the group for who asked, and Lena, who is not in it, decides on hers."""
    async with office(redis_url, tmp_path, people=PEOPLE) as found:
        members = ("U0ANA", "U0GIL", "U0BOT")
        found.slack.workspace.add(Channel(id="G0GROUP", name="mpdm-ana--gil--switchboard-1", members=members))
        asked = await found.slack.say("ana", "G0GROUP", DEPLOY)
        log = await found.settled(asked, lambda log: log.state.pending and is_sent(log))
        assert log.state.pending[0].copies == (LENA,)
        shown = await found.card(asked)
        (card,) = cards_of(found, "U0LENA")
        await found.slack.click("lena", card, "approve")
        assert made(await found.finished(asked)) == [("lena", "approve")]
        assert "Approved by Lena Vogt" in found.slack.workspace.message(shown.channel, shown.ts).text
