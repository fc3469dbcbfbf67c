"""Asking the agent first, by text: `ASK 482190 is it safe?` (AP3, SM5, SM6)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from requesting import code_in, is_sent, made, refusals, requests
from support import PHONES, Bench, bench

from bot.core.events import event_to_json
from bot.core.log import Log
from bot.testing import wait_until

ANA, LENA, OMAR = PHONES["ana"], PHONES["lena"], PHONES["omar"]


@pytest.fixture
async def phones(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, sms=True) as found:
        yield found


async def waiting(phones: Bench, count: int = 1) -> Log:
    """The thread, once its newest request, of so many, waits and everybody was asked."""
    return await phones.until(lambda log: len(requests(log)) == count and log.state.pending and is_sent(log))


async def asks_of(phones: Bench, person: str, count: int) -> list[str]:
    """The texts that ask this person, once there are so many."""
    await waiting(phones, count)
    await phones.settled_texts()
    found = [text.body for text in await phones.sms(person, count) if text.body.startswith("Approve?")]
    assert len(found) == count
    return found


async def asked(phones: Bench) -> tuple[str, str]:
    """Ana asks for a deploy: the codes of Lena and of Omar."""
    await phones.twilio.text(ANA, "deploy v1.4.0 to production")
    lena, omar = [code_in((await asks_of(phones, person, 1))[0]) for person in ("lena", "omar")]
    return lena, omar


@pytest.mark.parametrize(
    "said",
    ["ASK {} is it safe?", "ask {}: is it safe?", "{} ask is it safe?", "Frage {} is it safe?", "ASK {}\nis it safe?"],
)
async def test_the_agent_is_asked_and_a_new_text_with_a_new_code_follows(phones: Bench, said: str) -> None:
    """The code of before is dead; the new one counts."""
    lena, omar = await asked(phones)
    await phones.twilio.text(LENA, said.format(lena))
    log = await waiting(phones, 2)
    assert made(log) == [("lena", "ask")]
    assert next(event for event in log.events if event.type == "decision_made").text == "is it safe?"
    again = (await asks_of(phones, "lena", 2))[-1]
    assert code_in(again) != lena
    for person, old in ((LENA, lena), (OMAR, omar)):
        await phones.twilio.text(person, f"YES {old}")
    log = await phones.until(lambda log: len(refusals(log)) == 2)
    assert refusals(log) == [("lena", "late"), ("omar", "late")]
    assert len(phones.releases()) == 1
    await phones.twilio.text(LENA, f"YES {code_in(again)}")
    log = await phones.over()
    assert (made(log)[1:], len(phones.releases())) == ([("lena", "approve")], 2)


async def test_the_new_text_shows_what_was_asked(phones: Bench) -> None:
    """As much as fits; the rest stands on the page behind its link."""
    lena, _ = await asked(phones)
    await phones.twilio.text(LENA, f"ASK {lena} is it safe?")
    log = await waiting(phones, 2)
    assert requests(log)[1].context.startswith("Lena Vogt asks: is it safe?\nThe agent answers: I am a script")
    (again,) = (await asks_of(phones, "omar", 2))[1:]
    page = await phones.http.get(again[again.index("/decide/") :].split()[0])
    assert "Lena Vogt asks: is it safe?" in page.text
    assert "The agent answers: I am a script" in page.text


@pytest.mark.parametrize("said", ["ASK {}", "ASK {} ", "{} ask", "asking {} is it safe?"])
async def test_no_question_is_asked_where_none_is(phones: Bench, said: str) -> None:
    """SM6: one clear text, and the request waits on with its code."""
    lena, _ = await asked(phones)
    await phones.twilio.text(LENA, said.format(lena))
    told = (await phones.sms("lena", 2))[-1].body
    assert told == "Nothing was decided. Reply with nothing but YES or NO, and the code that I sent for it."
    log = await waiting(phones)
    assert (made(log), refusals(log)) == ([], [("lena", "ambiguous")])
    assert not any(lena in event_to_json(event) for event in log.events)  # which every key of the API may read
    await phones.twilio.text(LENA, f"YES {lena}")
    assert made(await phones.over()) == [("lena", "approve")]


async def test_a_question_with_a_yes_or_a_no_in_it_is_a_question(phones: Bench) -> None:
    """EM12: `ask` in front makes it one, whatever words follow."""
    lena, _ = await asked(phones)
    await phones.twilio.text(LENA, f"ASK {lena} is it yes or no to the migration?")
    log = await waiting(phones, 2)
    assert made(log) == [("lena", "ask")]
    assert len(phones.releases()) == 1


async def test_a_code_of_another_number_asks_nothing(phones: Bench) -> None:
    """SM5: Omar with Lena's code: the request is as it was, and both codes are good."""
    lena, omar = await asked(phones)
    before = await waiting(phones)
    await phones.twilio.text(OMAR, f"ASK {lena} is it safe?")
    assert (await phones.store.logs.load(before.thread_id)).events == before.events
    await phones.twilio.text(OMAR, f"YES {omar}")
    for _ in range(2):
        await phones.twilio.text(LENA, f"ASK {lena} is it safe?")
    await wait_until(lambda: len(phones.releases()) == 2)
    log = await phones.store.logs.load(before.thread_id)
    assert (made(log), refusals(log)) == ([("omar", "approve")], [("lena", "late")] * 2)
