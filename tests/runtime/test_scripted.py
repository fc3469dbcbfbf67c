from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from requesting import asks, nth_card
from support import Bench

import agents
from agents import AGENTS, FIRST_AGENT, all_agents
from agents.settings import AgentSettings
from bot.core.agent import Agent
from bot.core.builtins import BUILTINS
from bot.core.events import Event, HandedOff, MessageReceived, ThreadLaunched, ToolChosen
from bot.core.log import Log
from bot.core.people import Actor
from bot.core.protocols import Choice
from bot.runtime.scripted import NAME, ScriptedModel, rules_of
from bot.testing import FakeClock, Stage

ANA = Actor(kind="person", id="ana", name="Ana Ruiz", address="slack:T0ACME/U0ANA")
AT = FakeClock().now()


def agent_with(script: str) -> Agent:
    return Agent(name="parrot", purpose="Plays.", prompt="You play.", script=script)


def said(text: str, *, seconds: int = 0) -> MessageReceived:
    return MessageReceived(at=AT + timedelta(seconds=seconds), text=text, by=ANA)


def log_of(*events: Event) -> Log:
    return Log.of("t1", (ThreadLaunched(at=AT, agent="parrot", by=ANA), *events))


async def chosen(script: str, *events: Event) -> Choice:
    return await ScriptedModel().choose(agent_with(script), log_of(*events))


SHIP = r"""
[[rule]]
on = "message"
matches = 'ship (?P<what>\w+)( to (?P<where>\w+))?'
call = "deploy"
arguments = { reference = "{what}", to = ["{where}", { by = "{by}" }], times = 2 }

[[rule]]
on = ["message", "handed off"]
call = "done_for_now"
arguments = { message = "{first_line} / {unknown}" }

[[rule]]
on = ["message", "handed off"]
call = "done_for_now"
arguments = { message = "{first_line} / {by}" }
"""


async def test_the_first_rule_that_fits_wins_and_fills_its_arguments() -> None:
    """Named groups, the text and who said it go into texts, lists and tables; other values stay as they are."""
    choice = await chosen(SHIP, said("please SHIP abc to prod"))
    assert choice.tool == "deploy"
    assert choice.arguments == {"reference": "abc", "to": ["prod", {"by": "Ana Ruiz"}], "times": 2}
    assert choice.usage.cost_usd == 0.0


async def test_a_group_that_took_no_part_is_empty() -> None:
    """An optional group does not show up as a placeholder."""
    assert (await chosen(SHIP, said("ship abc"))).arguments["to"][0] == ""


async def test_a_rule_with_a_placeholder_without_a_value_does_not_fit() -> None:
    """The next one has its turn; nobody is shown a placeholder. What people write in braces is text."""
    assert (await chosen(SHIP, said("first\nsecond"))).arguments == {"message": "first / Ana Ruiz"}
    assert (await chosen(SHIP, said("{unknown}"))).arguments == {"message": "{unknown} / Ana Ruiz"}


async def test_the_newest_event_is_the_cue() -> None:
    """A hand-over brings its brief as the text."""
    choice = await chosen(SHIP, said("ship abc"), HandedOff(at=AT, agent="parrot", brief="ship it for Ana"))
    assert choice.arguments == {"message": "ship it for Ana / "}


async def test_what_no_rule_covers_ends_politely() -> None:
    """The stand-in says that it has no rule, and never fails."""
    choice = await chosen("", said("hello"))
    assert choice.tool == "done_for_now"
    assert "No rule of the scripted stand-in" in choice.arguments["message"]


async def test_it_never_poses_as_a_model() -> None:
    """Its name and its usage say that there is none."""
    assert ScriptedModel().name == NAME
    assert "no model" in NAME
    assert (await chosen(SHIP, said("x"))).usage.model == "scripted"


ASK = r"""
[[rule]]
on = "message"
matches = 'ship'
call = "request_human_input"
arguments = { question = "What?" }

[[rule]]
on = "answer"
message_matches = 'ship to (?P<where>\w+)'
call = "done_for_now"
arguments = { message = "{text} goes to {where}, says {by}; asked was: {last_question}" }

[[rule]]
on = "message"
call = "done_for_now"
arguments = { message = "a message: {text}" }
"""


async def test_an_answer_is_told_from_a_message_even_in_the_same_instant() -> None:
    """What was asked for first is still known when the answer arrives, and the next message is no answer."""
    stage = Stage(agent_with(ASK))
    await stage.say("ship to prod", by=ANA)
    log = await stage.say("v1", by=ANA)
    assert _told(log) == "v1 goes to prod, says Ana Ruiz; asked was: What?"
    assert _told(await stage.say("thanks", by=ANA)) == "a message: thanks"


def _told(log: Log) -> str:
    return [event for event in log.events if isinstance(event, ToolChosen)][-1].arguments["message"]


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("[[rule]", "Expected"),
        ('[[rule]]\non = "message"', "call"),
        ('[[rule]]\non = "message"\ncall = "x"\nmatch = "typo"', "Extra inputs"),
        ('[[rule]]\non = "message"\ncall = "x"\nmatches = "(open"', "not a regular expression"),
        ('[[rule]]\non = "message"\ncall = "x"\nmessage_matches = "*"', "not a regular expression"),
    ],
)
def test_a_script_with_a_mistake_is_refused_as_a_whole(script: str, says: str) -> None:
    """What is not TOML, lacks a key, has an unknown one or a broken pattern never gets to play."""
    with pytest.raises(ValueError, match=says):
        rules_of(script)


# --- what ships


def shipped(tmp_path: Path) -> dict[str, Agent]:
    return all_agents(AgentSettings(data_dir=tmp_path))


def test_every_folder_of_agents_is_registered(tmp_path: Path) -> None:
    """A new agent is its folder and one line; forgetting the line fails here."""
    home = Path(agents.__file__).parent
    folders = {path.parent.name for path in home.glob("*/__init__.py")}
    assert folders == set(shipped(tmp_path))
    assert len(AGENTS) == len(folders)
    assert FIRST_AGENT in folders


def test_every_agent_has_a_prompt_a_purpose_and_somebody_to_hand_to(tmp_path: Path) -> None:
    """Prompts are files with text in them, and nobody hands off into nothing."""
    found = shipped(tmp_path)
    prompts = Path(agents.__file__).parents[1] / "prompts"
    for name, agent in found.items():
        first_line, _, _ = (prompts / f"{name}.md").read_text(encoding="utf-8").partition("\n")
        assert agent.prompt.startswith(first_line)
        assert "{" not in agent.prompt, "a placeholder was left"
        assert all(found[other].purpose in agent.prompt for other in agent.hand_offs if name == FIRST_AGENT)
        assert len(agent.prompt.strip()) > 100
        assert agent.purpose.strip()
        assert set(agent.hand_offs) <= set(found) - {name}


def test_every_rule_of_every_agent_parses_and_calls_something_that_exists(tmp_path: Path) -> None:
    """A rule names a tool of its agent or a built-in one, with arguments that this tool has."""
    for name, agent in shipped(tmp_path).items():
        rules = rules_of(agent.script)
        assert rules, name
        arguments = {tool.name: tool.arguments for tool in (*agent.tools, *BUILTINS)}
        for rule in rules:
            assert rule.call in arguments, f"{name}: {rule.call}"
            assert set(rule.arguments) <= set(arguments[rule.call].model_fields), f"{name}: {rule}"


USUAL = (
    ("@bot hello", "I can deploy a release"),
    ("@bot what is on production?", "v1.3.2"),
    ("@bot what changed since production?", "commit"),
    ("@bot which tags are there?", "v1.4.0"),
    ("@bot deploy v9.9.9 to production", "There is no "),
    ("@bot deploy v1.4.0 to the moon", "There is no "),
)


async def test_without_a_model_the_bot_still_answers_the_usual_questions(
    on_bench: Bench, subtests: pytest.Subtests
) -> None:
    """A newcomer without a key gets a real answer from the sample repository."""
    for text, told in USUAL:
        with subtests.test(text):
            asked = await on_bench.slack.say("ana", "#deploys", text)
            await on_bench.finished(asked)
            assert told in on_bench.texts(asked)[-1]


async def test_without_a_model_a_question_and_its_answer_lead_to_a_deploy(on_bench: Bench) -> None:
    """A release that is missing is asked for, and the reply in the thread completes the deploy."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy to production")
    await on_bench.settled(asked, lambda log: log.state.pending)
    await on_bench.slack.say("ana", "#deploys", "v1.4.0", thread_ts=asked.ts)
    card = await on_bench.card(asked)
    assert "Deploy v1.4.0 to production" in card.text


@pytest.mark.parametrize(
    ("text", "proposed"),
    [("deploy v1.4.0 to production", "v1.4.0 for production"), ("roll back production", "v1.3.1 for production")],
)
async def test_every_question_of_an_approver_is_answered_with_what_was_proposed(
    on_bench: Bench, text: str, proposed: str
) -> None:
    """AP13: also the second one, and of a rollback whose release the tool found by itself."""
    asked = await on_bench.slack.say("ana", "#deploys", f"@bot {text}")
    for count in (1, 2):
        await asks(on_bench, "lena", await nth_card(on_bench, asked, count), f"why {count}?")
        log = await on_bench.settled(asked, lambda log, count=count: len(_answers(log)) == count)
        assert _answers(log)[-1].endswith(f"What I proposed stands on the card: {proposed}.")


def _answers(log: Log) -> list[str]:
    chosen = [event for event in log.events if isinstance(event, ToolChosen)]
    return [event.arguments["answer"] for event in chosen if event.tool == "answer_approver"]
