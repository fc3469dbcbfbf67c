"""What people ask the bot itself in Slack: answered to them alone, without a thread, without a model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
import redis.asyncio as redis_client
from pydantic import BaseModel
from support import PEOPLE, Bench, bench

from bot.core.events import CallRefused, RequestOpened, ToolChosen
from bot.core.log import Log
from bot.core.tool import Tool, ToolContext, ToolResult
from bot.core.values import Request
from bot.testing import wait_until
from channels.slack.simulator import Message, User
from channels.slack.simulator.delivery import signature

DEPLOY = "@bot deploy v1.4.0 to production"


class Announce(BaseModel):
    """Announce something."""

    text: str


def eve_joins(on_bench: Bench) -> None:
    """Somebody of the workspace whom the people file does not name."""
    workspace = on_bench.slack.workspace
    workspace.users["U0EVE"] = User(id="U0EVE", name="eve", real_name="Eve", team_id="T0ACME")
    channel = workspace.channel("#deploys")
    workspace.channels[channel.id] = replace(channel, members=(*channel.members, "U0EVE"))


def people_file(tmp_path: Path, policy: str) -> Path:
    """The sample, with another policy for strangers in Slack."""
    file = tmp_path / "people.toml"
    file.write_text(PEOPLE.read_text().replace('strangers = "nothing"', f'strangers = "{policy}"', 1))
    return file


async def whispered(on_bench: Bench, person: str, at_least: int = 1) -> list[Message]:
    """What only this person was shown, once it is so much and all deliveries are over."""
    await wait_until(lambda: len(on_bench.slack.ephemerals(person)) >= at_least)
    await on_bench.slack.deliveries.settle()
    return on_bench.slack.ephemerals(person)


async def asked(on_bench: Bench) -> tuple[Message, Log]:
    """Ana asks for a deploy; its card is there."""
    message = await on_bench.slack.say("ana", "#deploys", DEPLOY)
    await on_bench.card(message)
    return message, await on_bench.settled(message, lambda log: log.events[-1].type == "post_sent")


@asynccontextmanager
async def no_store(redis_url: str) -> AsyncGenerator[None]:
    """Redis cannot be reached: its socket is elsewhere, and whoever was connected is cut off."""
    client: Any = cast("Any", redis_client.Redis).from_url(redis_url)
    await client.ping()
    there = Path(urlsplit(redis_url).path)
    away = await asyncio.to_thread(there.rename, there.with_suffix(".away"))
    await client.client_kill_filter(_type="normal", skipme=True)
    try:
        yield
    finally:
        await asyncio.to_thread(away.rename, there)
        await client.aclose()


@pytest.fixture
async def asking(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, people_file=people_file(tmp_path, "ask")) as found:
        eve_joins(found)
        yield found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@bot help", "Decide with the buttons on a card"),
        ("@bot ?", "- deploy: Everything about releases"),
        ("@bot *Help!*", "- pending: what waits for you"),
        ("@bot pending", "Nothing waits for you, and nothing that you asked for"),
        ("@bot status", "You have no threads with me lately."),
        ("@bot cancel", "Nothing of yours runs"),
        (
            "@bot whoami",
            "You are Ana Ruiz (ana). Roles: engineer. Quiet hours: none. Known by Slack address T0ACME/U0ANA",
        ),
    ],
)
async def test_each_command_is_answered_to_that_person_alone(on_bench: Bench, text: str, expected: str) -> None:
    """SL7: a mention comes twice and is answered once; no thread begins, and the channel stays quiet."""
    said = await on_bench.slack.say("ana", "#deploys", text)
    (note,) = await whispered(on_bench, "ana")
    assert expected in note.text
    assert note.thread_ts is None  # Slack shows an ephemeral reply only in a thread that has replies
    assert await on_bench.threads() == []
    assert [one for one in on_bench.slack.thread(said.channel, said.ts) if one.bot_id] == []


async def test_a_direct_message_needs_no_mention(on_bench: Bench) -> None:
    """The same words, alone."""
    await on_bench.slack.say("ana", "U0ANA", "whoami")
    (note,) = await whispered(on_bench, "ana")
    assert "You are Ana Ruiz" in note.text
    assert await on_bench.threads() == []


async def test_what_says_more_than_the_word_is_for_an_agent(on_bench: Bench) -> None:
    """`help me deploy` is a message like any other."""
    said = await on_bench.slack.say("ana", "#deploys", "@bot help me deploy")
    log = await on_bench.finished(said)
    assert any(isinstance(event, ToolChosen) for event in log.events)
    assert on_bench.slack.ephemerals("ana") == []


async def test_people_who_talk_to_each_other_are_left_alone(on_bench: Bench) -> None:
    """Without a mention, outside of the bot's threads, `help` is not said to the bot."""
    await on_bench.slack.say("ana", "#deploys", "help")
    await on_bench.slack.deliveries.settle()
    assert on_bench.slack.ephemerals("ana") == []


async def test_pending_lists_what_this_person_could_decide(on_bench: Bench) -> None:
    """AP7: Lena may approve; Ana asked and waits; Gil has no part in it."""
    message, before = await asked(on_bench)
    on_bench.clock.advance(minutes=10)
    for person in ("lena", "ana", "gil"):
        await on_bench.slack.say(person, "#deploys", "@bot pending")
    (lena,), (ana,), (gil,) = [await whispered(on_bench, person) for person in ("lena", "ana", "gil")]
    assert lena.text.startswith(
        "1 request for you to decide:\n- Deploy v1.4.0 to production (approval, asked for by Ana Ruiz"
    )
    assert "left): on its card, in the Slack thread that Ana Ruiz began in <#C0DEPLOYS>" in lena.text
    assert ana.text.startswith("Nothing waits for you.\nYou wait for:\n- Deploy v1.4.0 to production")
    assert "waits for Lena Vogt or Omar Haddad" in ana.text
    assert gil.text.startswith("Nothing waits for you, and")
    await on_bench.slack.say("lena", "#deploys", "pending", message.ts)
    assert "on its card in this thread" in (await whispered(on_bench, "lena", 2))[-1].text
    assert await on_bench.log_of(message) == before

    await on_bench.slack.click("omar", await on_bench.card(message), "approve")
    await on_bench.finished(message)
    await on_bench.slack.say("lena", "#deploys", "@bot pending")
    assert (await whispered(on_bench, "lena", 3))[-1].text.startswith("Nothing waits for you, and")


async def test_status_in_a_thread_and_elsewhere(on_bench: Bench) -> None:
    """In a thread: what it is doing, in a line, for them alone; elsewhere the person's own last threads."""
    message, before = await asked(on_bench)
    await on_bench.slack.say("gil", "#deploys", "status", message.ts)
    (note,) = await whispered(on_bench, "gil")
    assert note.text.startswith(
        "Waiting for Lena Vogt or Omar Haddad to approve: “Deploy v1.4.0 to production”, since "
    )
    assert "Last activity" in note.text
    assert note.thread_ts == message.ts
    await on_bench.slack.say("ana", "#deploys", "@bot status")
    await on_bench.slack.say("gil", "#general", "@bot status")
    (mine,) = await whispered(on_bench, "ana")
    assert mine.text.startswith(f"Your last threads:\n- {before.thread_id[:9]} “deploy v1.4.0 to production”, ")
    assert (await whispered(on_bench, "gil", 2))[-1].text == "You have no threads with me lately."
    await on_bench.slack.say("ana", "#general", f"@bot status {before.thread_id}")
    assert (await whispered(on_bench, "ana", 2))[-1].text.startswith("Waiting for Lena Vogt")
    await on_bench.slack.say("gil", "#general", f"@bot status {before.thread_id[:9]}")
    assert (await whispered(on_bench, "gil", 3))[-1].text.startswith(
        f"I know no thread {before.thread_id[:9]} of yours"
    )
    assert await on_bench.log_of(message) == before


async def test_cancel_in_a_thread_is_for_those_in_it_and_for_who_may_decide(on_bench: Bench) -> None:
    """Gil is told who can; Lena, who may decide what waits, ends it, once, and the thread itself says so."""
    message, before = await asked(on_bench)
    await on_bench.slack.say("gil", "#deploys", "@bot cancel", message.ts)
    (refused,) = await whispered(on_bench, "gil")
    assert "Nothing was cancelled" in refused.text
    assert "Ana Ruiz or Lena Vogt or Omar Haddad can." in refused.text
    assert await on_bench.log_of(message) == before

    await on_bench.slack.say("lena", "#deploys", "@bot cancel", message.ts)
    log = await on_bench.settled(message, lambda log: log.state.run == "cancelled" and not log.state.posts)
    assert [event.type for event in log.events[len(before) :] if event.type != "post_sent"] == ["cancelled"]
    assert "Cancelled by Lena Vogt. Nothing further runs." in on_bench.texts(message)
    assert await on_bench.slack.deliveries.settle() is None
    assert on_bench.slack.ephemerals("lena") == []
    await on_bench.slack.say("ana", "#deploys", "cancel", message.ts)
    assert "Nothing runs in this thread" in (await whispered(on_bench, "ana"))[0].text
    assert len(on_bench.releases()) == 1


async def test_cancel_elsewhere_lists_what_runs_and_takes_an_id(on_bench: Bench) -> None:
    """Outside of a thread nothing is guessed: the person names one."""
    message, before = await asked(on_bench)
    await on_bench.slack.say("ana", "#general", "@bot cancel")
    (listed,) = await whispered(on_bench, "ana")
    assert listed.text.startswith(
        f"Of yours these run, or wait:\n- {before.thread_id[:9]} “deploy v1.4.0 to production”"
    )
    assert await on_bench.log_of(message) == before
    await on_bench.slack.say("ana", "#general", f"@bot cancel {before.thread_id[:9]}")
    assert (await whispered(on_bench, "ana", 2))[-1].text == f"Cancelled thread {before.thread_id[:9]}."
    await on_bench.settled(message, lambda log: log.state.run == "cancelled")


async def test_a_slash_command_is_answered_in_its_own_answer(on_bench: Bench) -> None:
    """SL3: the answer is in the acknowledgement, ephemeral; without a word it is help, with another it says so."""
    await asked(on_bench)
    for text, expected in [
        ("", "I am Switchboard."),
        ("help", "Decide with the buttons on a card"),
        ("pending", "You wait for:\n- Deploy v1.4.0 to production"),
        ("status", "Your last threads:"),
        ("cancel", "Of yours these run, or wait:"),
        ("whoami", "You are Ana Ruiz (ana)"),
        ("deploy v1.4.0 to production", "That is no command"),
    ]:
        delivery = await on_bench.slack.command("ana", "#general", "/switchboard", text)
        assert delivery.accepted
        note = on_bench.slack.ephemerals("ana")[-1]
        assert expected in note.text
    assert len(await on_bench.threads()) == 1


async def test_a_slash_command_of_a_stranger_is_told_what_the_people_file_needs(on_bench: Bench) -> None:
    """AP8: nothing else."""
    eve_joins(on_bench)
    await on_bench.slack.command("eve", "#deploys", "/switchboard", "pending")
    (note,) = on_bench.slack.ephemerals("eve")
    assert "I do not know you yet" in note.text
    assert "T0ACME/U0EVE" in note.text


async def test_what_others_wrote_is_no_mark_up_in_a_slash_answer(on_bench: Bench) -> None:
    """SL14: an answer in the acknowledgement is read as mrkdwn."""
    said = await on_bench.slack.say("ana", "#deploys", "@bot <!channel> what & why is on production?")
    await on_bench.finished(said)
    await on_bench.slack.command("ana", "#general", "/switchboard", "status")
    assert "<!channel>" not in on_bench.slack.ephemerals("ana")[-1].text


async def test_a_choice_of_an_open_question_is_an_answer_and_no_command(redis_url: str, tmp_path: Path) -> None:
    """A question that offers “Status” is answered with it."""
    async with bench(redis_url, tmp_path, workers=0) as found:
        said = await found.slack.say("ana", "#deploys", "@bot what is on production?")
        log = await found.log_of(said)
        request = Request(
            id="q" * 32, kind="question", purpose="model", prompt="Which page?", format="multiple_choice",
            choices=("Status", "Plan"),
        )  # fmt: skip
        opened = RequestOpened(at=found.clock.now(), request=request)
        await found.store.logs.receive(log.thread_id, (opened,))
        await found.slack.say("ana", "#deploys", "status", said.ts)
        after = await found.log_of(said)
        assert after.state.requests["q" * 32].text == "status"
        await found.slack.say("ana", "#deploys", "help", said.ts)
        assert len(await whispered(found, "ana")) == 1


async def test_a_stranger_who_may_do_nothing_gets_no_answer_of_a_command(on_bench: Bench) -> None:
    """AP8: as for any other message: how to become known."""
    eve_joins(on_bench)
    await on_bench.slack.say("eve", "#deploys", "@bot pending")
    (note,) = await whispered(on_bench, "eve")
    assert "I do not know you yet" in note.text


async def test_a_stranger_who_may_ask_asks_and_never_decides(asking: Bench) -> None:
    """AP7, AP8: reading works, a deploy is refused, a click decides nothing, a thread of others is closed to them."""
    question = await asking.slack.say("eve", "#deploys", "@bot what is on production?")
    log = await asking.finished(question)
    assert log.state.requester is not None
    assert log.state.requester.kind == "unknown"
    assert "v1.3.2" in asking.texts(question)[-1]
    await asking.slack.say("eve", "#deploys", "@bot whoami")
    (who,) = await whispered(asking, "eve")
    assert "you may ask, and change nothing" in who.text
    assert 'slack = ["T0ACME/U0EVE"]' in who.text
    refused = await asking.slack.say("eve", "#deploys", DEPLOY)
    assert (await asking.finished(refused)).state.requests == {}

    message, before = await asked(asking)
    await asking.slack.say("eve", "#deploys", "@bot cancel", message.ts)
    await asking.slack.say("eve", "#deploys", "deploy v1.3.1 instead", message.ts)
    notes = await whispered(asking, "eve", 3)
    assert all("I do not know you yet" in note.text for note in notes[1:])
    assert await asking.log_of(message) == before
    await asking.slack.click("eve", await asking.card(message), "approve")
    log = await asking.settled(message, lambda log: log.events[-1].type == "post_sent" and len(log) > len(before))
    assert log.state.pending
    await asking.slack.say("eve", "#deploys", "@bot pending")
    assert (await whispered(asking, "eve", 5))[-1].text.startswith("Nothing waits for you, and")
    assert len(asking.releases()) == 1


ANNOUNCES = """
[[rule]]
on = "message"
call = "announce"
arguments = { text = "hello" }
[[rule]]
on = "refused"
call = "done_for_now"
arguments = { message = "Not for you." }
"""


async def test_a_stranger_who_may_ask_gets_nobody_asked_to_let_a_tool_change_something(
    redis_url: str, tmp_path: Path
) -> None:
    """AP8: of a tool that says nothing itself about who may ask for it; no approver is troubled, and nothing runs."""
    ran: list[str] = []

    async def run(announce: Announce, context: ToolContext) -> ToolResult:
        del context
        ran.append(announce.text)
        return ToolResult("announced")

    tool = Tool("announce", Announce, run, writes=True, recovery="ask")
    async with bench(redis_url, tmp_path, workers=0, people_file=people_file(tmp_path, "ask")) as found:
        eve_joins(found)
        found.board.agents["triage"] = replace(found.board.agents["triage"], tools=(tool,), script=ANNOUNCES)
        await found.start_worker()
        message = await found.slack.say("eve", "#deploys", "@bot announce hello")
        log = await found.settled(message, lambda log: any(isinstance(one, CallRefused) for one in log.events))
        (refused,) = [event for event in log.events if isinstance(event, CallRefused)]
        assert refused.why == "slack:T0ACME/U0EVE is not in the people file, and may ask here but change nothing."
        assert (log.state.requests, ran) == ({}, [])


async def test_a_stranger_may_end_what_they_began(asking: Bench) -> None:
    """And nothing else; see the test of `may_cancel`."""
    await asking.stop_workers()
    mine = await asking.slack.say("eve", "#deploys", "@bot what is on production?")
    await asking.slack.say("eve", "#deploys", "cancel", mine.ts)
    assert (await asking.log_of(mine)).state.run == "cancelled"


async def test_many_questions_are_answered_up_to_a_bound_and_cancel_still_works(on_bench: Bench) -> None:
    """What comes in is bounded; what fails safe stays within reach."""
    message, _ = await asked(on_bench)
    for _ in range(120):
        await on_bench.store.rates.add("commands:slack:T0ACME/U0ANA", timedelta(hours=1))
    await on_bench.slack.say("ana", "#deploys", "@bot help")
    await on_bench.slack.say("ana", "#deploys", "@bot help")
    (note,) = await whispered(on_bench, "ana")
    assert "more questions than I answer in an hour" in note.text
    await on_bench.slack.say("ana", "#deploys", "@bot cancel", message.ts)
    await on_bench.settled(message, lambda log: log.state.run == "cancelled")


async def test_a_command_during_an_outage_is_answered_when_it_comes_again(redis_url: str, tmp_path: Path) -> None:
    """SL4: 5xx, nothing noted; the second delivery is answered, the third is a duplicate."""
    async with bench(redis_url, tmp_path, workers=0) as found:
        body = json.dumps(
            {
                "type": "event_callback",
                "team_id": "T0ACME",
                "event_id": "Ev1",
                "authorizations": [{"team_id": "T0ACME", "user_id": "U0BOT"}],
                "event": {"type": "app_mention", "user": "U0ANA", "channel": "C0DEPLOYS", "ts": "1773997200.000100",
                          "text": "<@U0BOT> whoami"},
            }
        )  # fmt: skip

        async def post() -> int:
            stamp = str(int(found.clock.now().timestamp()))
            signed = signature(found.slack.tokens.signing_secret, stamp, body.encode())
            headers = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": signed}
            answer = await found.http.post(
                "/slack/events", content=body, headers={**headers, "Content-Type": "application/json"}
            )
            return answer.status_code

        async with no_store(redis_url):
            assert await post() == 503
        assert await post() == 200
        assert await post() == 200
        assert len(await whispered(found, "ana")) == 1
