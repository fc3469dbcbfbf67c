"""Questions of an agent by text: answered with a code, and without one only where nothing else could be meant."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support import PHONES, Bench, bench

from bot.core.events import DecisionMade, DecisionRefused
from bot.core.log import Log
from bot.core.people import Actor
from bot.core.values import Conversation

ANA = PHONES["ana"]
CI = Actor(kind="service", id="api:ci", name="ci")
CITIES = ["Aachen", "Berlin", "Celle"]
LONG = "Nobody knows which of the two it should be, and why. " * 30
STEPS = "".join(f"- step {n}: [look](https://acme.example/{n}) at it\\n" for n in range(40)).replace("\n", "\\n")
SCRIPT = f"""
[[rule]]
on = "message"
matches = "words"
call = "request_human_input"
arguments = {{ question = "What shall it be called?" }}

[[rule]]
on = "message"
matches = "sure"
call = "request_human_input"
arguments = {{ question = "Are you sure?", options = {{ format = "yes_no" }} }}

[[rule]]
on = "message"
matches = "city"
call = "request_human_input"
arguments = {{ question = "Where to?", options = {{ format = "multiple_choice", choices = {CITIES} }} }}

[[rule]]
on = "message"
matches = "long"
call = "request_human_input"
arguments = {{ question = "Which one?", context = "{LONG}" }}

[[rule]]
on = "message"
matches = "tell me"
call = "done_for_now"
arguments = {{ message = "**All** there is:\\n{STEPS}" }}

[[rule]]
on = "answer"
call = "done_for_now"
arguments = {{ message = "You said: {{text}}, {{by}}." }}
"""


@asynccontextmanager
async def asking(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    """A bot whose first agent asks."""
    async with bench(redis_url, tmp_path, workers=0, sms=True) as found:
        found.board.agents["triage"] = replace(found.board.agents["triage"], script=SCRIPT)
        await found.start_worker()
        yield found


def code_in(text: str) -> str:
    """The code that a text says to reply with."""
    found = re.search(r"Reply (?:YES )?(\d{6})", text)
    assert found, text
    return found[1]


def answers(log: Log) -> list[str]:
    """What was answered."""
    return [event.text for event in log.events if isinstance(event, DecisionMade)]


async def test_the_only_question_is_answered_without_its_code(redis_url: str, tmp_path: Path) -> None:
    """SM6: one question, nothing else pending: the whole text is the answer, whatever it says."""
    async with asking(redis_url, tmp_path) as phones:
        await phones.twilio.text(ANA, "ask me words")
        (asked,) = await phones.sms("ana", 1)
        assert asked.body.startswith("What shall it be called?\nReply ")
        await phones.twilio.text(ANA, "Ferris, as in the wheel")
        log = await phones.over()
        assert answers(log) == ["Ferris, as in the wheel"]
        assert (await phones.sms("ana", 3))[-1].body == "You said: Ferris, as in the wheel, Ana Ruiz."


@pytest.mark.parametrize(
    ("said", "answer"), [("2", "Berlin"), ("{code} 3", "Celle"), ("berlin", "Berlin"), ("{code}: Aachen", "Aachen")]
)
async def test_a_choice_is_made_by_its_number_or_its_text(
    redis_url: str, tmp_path: Path, said: str, answer: str
) -> None:
    """SM6: as the list on the phone has it, with the code or without."""
    async with asking(redis_url, tmp_path) as phones:
        await phones.twilio.text(ANA, "which city")
        (asked,) = await phones.sms("ana", 1)
        assert "1 Aachen\n2 Berlin\n3 Celle\n" in asked.body
        await phones.twilio.text(ANA, said.format(code=code_in(asked.body)))
        assert answers(await phones.over()) == [answer]


async def test_what_is_no_choice_is_asked_for_again(redis_url: str, tmp_path: Path) -> None:
    """SM6: a text that names none of them, or the bare code, answers nothing and says so."""
    async with asking(redis_url, tmp_path) as phones:
        await phones.twilio.text(ANA, "which city")
        code = code_in((await phones.sms("ana", 1))[0].body)
        await phones.twilio.text(ANA, "to Halle")
        assert (await phones.sms("ana", 2))[-1].body == "Please choose one of: Aachen, Berlin, Celle."
        await phones.twilio.text(ANA, code)
        assert "Please write it behind the code" in (await phones.sms("ana", 3))[-1].body
        await phones.twilio.text(ANA, "4")
        await phones.sms("ana", 4)
        log = await phones.until(lambda log: log.state.pending)
        refused = [event.rule for event in log.events if isinstance(event, DecisionRefused)]
        assert (answers(log), refused) == ([], ["choice", "ambiguous", "choice"])


async def test_yes_or_no_is_answered_with_the_code_though_twilio_hears_an_opt_in(
    redis_url: str, tmp_path: Path
) -> None:
    """SM4, SM6: the prompt never asks for a bare YES; a bare one that comes all the same answers the only question."""
    async with asking(redis_url, tmp_path) as phones:
        for said, answer in (("NO {code}", "No"), ("Yes", "Yes")):
            await phones.twilio.text(ANA, "am I sure")
            before = len(await phones.sms("ana", 1))
            await phones.until(lambda log: log.state.pending and log.events[-1].type == "post_reported")
            asked = (await phones.sms("ana", before))[-1]
            code = code_in(asked.body)
            assert f"Reply YES {code} or NO {code}." in asked.body
            phones.clock.advance(minutes=1)
            await phones.twilio.text(ANA, said.format(code=code))
            log = await phones.over()
            assert answers(log)[-1] == answer
            phones.clock.advance(minutes=1)


async def test_two_questions_are_listed_and_each_is_answered_with_its_code(redis_url: str, tmp_path: Path) -> None:
    """SM6: two threads ask one number; a text without a code answers neither, and is told how."""
    async with asking(redis_url, tmp_path) as phones:
        await phones.twilio.text(ANA, "which city")
        first = code_in((await phones.sms("ana", 1))[0].body)
        place = Conversation(channel="sms", ref=ANA)
        await phones.board.inbox.launch("triage", "ask words", CI, conversation=place)
        second = code_in((await phones.sms("ana", 2))[-1].body)
        assert first != second
        await phones.twilio.text(ANA, "Berlin")
        told = (await phones.sms("ana", 3))[-1].body
        assert sorted(told.splitlines()) == sorted(
            [
                "Nothing was decided. Please reply with the code:",
                f"Where to?: {first} and your answer",
                f"What shall it be called?: {second} and your answer",
            ]
        )
        assert [answers(log) for log in await phones.threads()] == [[], []]
        await phones.twilio.text(ANA, f"{first} Berlin")
        await phones.twilio.text(ANA, f"{second} Ferris")
        await phones.sms("ana", 7)  # each question's outcome, and each answer
        assert sorted(answer for log in await phones.threads() for answer in answers(log)) == ["Berlin", "Ferris"]


async def test_a_long_question_is_a_summary_with_its_code_and_a_link(redis_url: str, tmp_path: Path) -> None:
    """SM9: about two segments; the code and the link stand whole, and the page shows all of it and takes the answer."""
    async with asking(redis_url, tmp_path) as phones:
        await phones.twilio.text(ANA, "a long one")
        (asked,) = await phones.sms("ana", 1)
        assert len(asked.body) <= 320
        assert asked.segments <= 3
        assert asked.body.startswith("Which one?")
        assert "…" in asked.body or "..." in asked.body
        code_in(asked.body)
        link = re.search(r"http://bot\.test(/decide/\S+)$", asked.body)
        assert link, asked.body
        page = await phones.http.get(link[1])
        assert page.text.count("Nobody knows which of the two") == 30
        assert (await phones.http.post(link[1], data={"text": "the second"})).status_code == 303
        assert answers(await phones.over()) == ["the second"]


async def test_a_long_answer_is_cut_and_all_of_it_is_behind_a_link(redis_url: str, tmp_path: Path) -> None:
    """SM9: about two segments with the link whole; the page behind it shows what was left out."""
    async with asking(redis_url, tmp_path) as phones:
        await phones.twilio.text(ANA, "tell me everything")
        (told,) = await phones.sms("ana", 1)
        assert len(told.body) <= 320
        assert told.body.startswith("All there is:\n- step 0: look (https://acme.example/0) at it\n")
        link = re.search(r"\nAll of it: http://bot\.test(/\S+)$", told.body)
        assert link, told.body
        page = await phones.http.get(link[1])
        assert page.status_code == 200
        assert "step 39" in page.text
