"""Questions of the agent: in words, yes or no, and choices; and who may answer what."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from support import Bench, bench

from bot.core.events import DecisionMade, DecisionRefused
from bot.testing import wait_until
from channels.slack.simulator import Message, User

CITIES = ("Aachen", "Berlin", "Celle", "Dresden", "Erfurt", "Fulda", "Gera")
SCRIPT = f"""
[[rule]]
on = "message"
matches = "words"
call = "request_human_input"
[rule.arguments]
question = "What shall it be called?"
context = "Nobody named it *yet* <!here>."
options = {{ format = "free_text" }}

[[rule]]
on = "message"
matches = "sure"
call = "request_human_input"
arguments = {{ question = "Are you sure?", options = {{ format = "yes_no", urgency = "high" }} }}

[[rule]]
on = "message"
matches = "few"
call = "request_human_input"
arguments = {{ question = "Where to?", options = {{ format = "multiple_choice", choices = {list(CITIES[:5])} }} }}

[[rule]]
on = "message"
matches = "many"
call = "request_human_input"
arguments = {{ question = "Where to?", options = {{ format = "multiple_choice", choices = {list(CITIES)} }} }}

[[rule]]
on = "answer"
call = "done_for_now"
arguments = {{ message = "You said: {{text}}, {{by}}." }}

[[rule]]
on = "timed out"
call = "done_for_now"
arguments = {{ message = "Nobody answered." }}
"""


@asynccontextmanager
async def asking(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    """A bot whose first agent asks."""
    async with bench(redis_url, tmp_path, workers=0) as on_bench:
        on_bench.board.agents["triage"] = replace(on_bench.board.agents["triage"], script=SCRIPT)
        await on_bench.start_worker()
        yield on_bench


async def question(on_bench: Bench, asked: Message) -> Message:
    """The card of the question."""
    await on_bench.settled(asked, lambda log: log.state.pending and log.events[-1].type == "post_sent")
    return on_bench.slack.thread(asked.channel, asked.ts)[-1]


def now(on_bench: Bench, card: Message) -> Message:
    """The card as it looks now."""
    return on_bench.slack.workspace.message(card.channel, card.ts)


async def test_a_question_in_words_is_answered_by_a_reply(redis_url: str, tmp_path: Path) -> None:
    """request_human_input, free_text: the card says how to answer, a reply does, and the card shows it."""
    async with asking(redis_url, tmp_path) as on_bench:
        asked = await on_bench.slack.say("ana", "#deploys", "@bot ask me words")
        card = await question(on_bench, asked)
        assert on_bench.slack.card_actions(card) == {}
        assert card.text == "Question: What shall it be called?"
        assert "reply in this thread to answer" in str(card.blocks)
        assert {"type": "plain_text", "text": "Nobody named it *yet* <!here>.", "emoji": False} in [
            one.get("text") for one in card.blocks
        ]
        await on_bench.slack.say("omar", "#deploys", "ok", asked.ts)
        await on_bench.finished(asked)
        assert "Omar Haddad answered, 09:00 UTC: “ok”" in now(on_bench, card).text
        assert "reply in this thread" not in str(now(on_bench, card).blocks)
        assert on_bench.texts(asked)[-1] == "You said: ok, Omar Haddad."


async def test_yes_or_no_is_two_buttons(redis_url: str, tmp_path: Path) -> None:
    """request_human_input, yes_no: one click answers, the buttons go."""
    async with asking(redis_url, tmp_path) as on_bench:
        asked = await on_bench.slack.say("ana", "#deploys", "@bot am I sure")
        card = await question(on_bench, asked)
        buttons = on_bench.slack.card_actions(card)
        assert [one["text"]["text"] for one in buttons.values()] == ["Yes", "No"]
        assert len({one["value"] for one in buttons.values()}) == 1
        await on_bench.slack.click("lena", card, "answer:1")
        await on_bench.finished(asked)
        assert "Lena Vogt answered, 09:00 UTC: “No”" in now(on_bench, card).text
        assert on_bench.slack.card_actions(now(on_bench, card)) == {}
        assert on_bench.texts(asked)[-1] == "You said: No, Lena Vogt."


async def test_up_to_five_choices_are_buttons(redis_url: str, tmp_path: Path) -> None:
    """SL13, request_human_input, multiple_choice: a button for each choice."""
    async with asking(redis_url, tmp_path) as on_bench:
        asked = await on_bench.slack.say("ana", "#deploys", "@bot a few")
        card = await question(on_bench, asked)
        assert [one["text"]["text"] for one in on_bench.slack.card_actions(card).values()] == list(CITIES[:5])
        await on_bench.slack.click("ana", card, "answer:3")
        await on_bench.finished(asked)
        assert on_bench.texts(asked)[-1] == "You said: Dresden, Ana Ruiz."


async def test_more_choices_are_a_menu(redis_url: str, tmp_path: Path) -> None:
    """SL13, SL15: a select whose options carry numbers, not the choices."""
    async with asking(redis_url, tmp_path) as on_bench:
        asked = await on_bench.slack.say("ana", "#deploys", "@bot many")
        card = await question(on_bench, asked)
        (menu,) = on_bench.slack.card_actions(card).values()
        assert menu["type"] == "static_select"
        assert [one["text"]["text"] for one in menu["options"]] == list(CITIES)
        await on_bench.slack.click("ana", card, "answer", "6")
        await on_bench.finished(asked)
        assert on_bench.texts(asked)[-1] == "You said: Gera, Ana Ruiz."
        assert "“Gera”" in now(on_bench, card).text


async def test_choices_may_be_answered_in_words(redis_url: str, tmp_path: Path) -> None:
    """request_human_input: a reply in the thread is an answer too, also where there are buttons."""
    async with asking(redis_url, tmp_path) as on_bench:
        asked = await on_bench.slack.say("ana", "#deploys", "@bot a few")
        card = await question(on_bench, asked)
        await on_bench.slack.say("ana", "#deploys", "neither, to Halle", asked.ts)
        await on_bench.finished(asked)
        assert "neither, to Halle" in now(on_bench, card).text
        assert on_bench.slack.card_actions(now(on_bench, card)) == {}


async def test_the_second_answer_is_told_that_it_came_late(redis_url: str, tmp_path: Path) -> None:
    """Decision by button, 3: also for questions, the one who was slower hears who was first."""
    async with asking(redis_url, tmp_path) as on_bench:
        asked = await on_bench.slack.say("ana", "#deploys", "@bot am I sure")
        card = await question(on_bench, asked)
        await on_bench.slack.click("ana", card, "answer:0")
        await on_bench.finished(asked)
        await on_bench.slack.click("omar", card, "answer:1")
        await wait_until(lambda: on_bench.slack.ephemerals("omar"))
        assert "already answered by Ana Ruiz at 09:00 UTC" in on_bench.slack.ephemerals("omar")[0].text
        log = await on_bench.log_of(asked)
        assert sum(isinstance(event, DecisionMade) for event in log.events) == 1


async def test_an_answer_that_was_not_offered_is_refused(redis_url: str, tmp_path: Path) -> None:
    """SL15: the number in a click is looked up in the log; one that is not there chooses nothing."""
    async with asking(redis_url, tmp_path) as on_bench:
        asked = await on_bench.slack.say("ana", "#deploys", "@bot a few")
        card = await question(on_bench, asked)
        honest = (await on_bench.slack.click("gil", card, "answer:0")).payload
        log = await on_bench.finished(asked)
        assert log.state.status == "finished"

        again = await on_bench.slack.say("ana", "#deploys", "@bot a few")
        other = await question(on_bench, again)
        (made_up,) = [{**honest["actions"][0], "action_id": "answer:7", "action_ts": "9.9"}]
        made_up["value"] = on_bench.slack.card_actions(other)["answer:0"]["value"]
        container = {**honest["container"], "message_ts": other.ts, "thread_ts": again.ts}
        forged = {**honest, "actions": [made_up], "container": container}
        assert (await on_bench.slack.deliveries.send("interactive", forged)).accepted
        await wait_until(lambda: on_bench.slack.ephemerals("gil"))
        assert "Please choose one of: Aachen" in on_bench.slack.ephemerals("gil")[0].text
        log = await on_bench.log_of(again)
        assert [event.rule for event in log.events if isinstance(event, DecisionRefused)] == ["choice"]
        assert log.state.pending


async def test_a_question_that_nobody_answers_times_out(redis_url: str, tmp_path: Path) -> None:
    """AP4: urgent questions live an hour; the card says that nobody answered, and the agent goes on."""
    async with asking(redis_url, tmp_path) as on_bench:
        asked = await on_bench.slack.say("ana", "#deploys", "@bot am I sure")
        card = await question(on_bench, asked)
        on_bench.clock.advance(hours=1, seconds=1)
        await on_bench.finished(asked)
        assert "Timed out: nobody answered." in now(on_bench, card).text
        assert on_bench.texts(asked)[-1] == "Nobody answered."


async def test_the_answer_to_a_question_decides_no_approval(on_bench: Bench) -> None:
    """AP15: the deploy agent asks where to, and what is answered still needs its approval."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0")
    card = await on_bench.card(asked, "answer:0")
    await on_bench.slack.click("ana", card, "answer:1")
    approval = await on_bench.card(asked)
    assert "Deploy v1.4.0 to production" in approval.text
    assert len(on_bench.releases()) == 1


async def test_a_stranger_s_click_answers_no_question(redis_url: str, tmp_path: Path) -> None:
    """AP8: a question has no rule, yet an answer goes on with the run, so it takes somebody of the people file."""
    async with asking(redis_url, tmp_path) as on_bench:
        workspace = on_bench.slack.workspace
        workspace.users["U0EVE"] = User(id="U0EVE", name="eve", real_name="Eve", team_id="T0ACME")
        channel = workspace.channel("#deploys")
        workspace.channels[channel.id] = replace(channel, members=(*channel.members, "U0EVE"))
        asked = await on_bench.slack.say("ana", "#deploys", "@bot am I sure")
        card = await question(on_bench, asked)
        await on_bench.slack.click("eve", card, "answer:0")
        await wait_until(lambda: on_bench.slack.ephemerals("eve"))
        assert on_bench.slack.ephemerals("eve")[0].text.startswith("I do not know you (slack:T0ACME/U0EVE)")
        log = await on_bench.log_of(asked)
        assert [event.rule for event in log.events if isinstance(event, DecisionRefused)] == ["identity"]
        assert log.state.pending
