"""Which text starts an agent, which goes on with a thread, and which gets nobody."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from support import PHONES, Bench, bench

ANA, LENA, OMAR, EVE = PHONES["ana"], PHONES["lena"], PHONES["omar"], PHONES["eve"]


@pytest.fixture
async def phones(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, sms=True) as found:
        yield found


def code_in(text: str) -> str:
    """The code that a text says to reply with."""
    found = re.search(r"(?:YES|NO) (\d{6})", text)
    assert found, text
    return found[1]


async def messages(phones: Bench) -> list[int]:
    """How many messages each thread has, the newest thread first."""
    return [sum(event.type == "message_received" for event in log.events) for log in await phones.threads()]


async def test_a_stranger_gets_no_agent_and_no_answer(phones: Bench) -> None:
    """SM7: whatever they text, also STOP, nothing is started or said; each text is noted once for the audit."""
    said = [await phones.twilio.text(EVE, text) for text in ("deploy v1.4.0 to production", "hello?", "STOP")]
    await phones.twilio.carrier.redeliver(said[0])
    await phones.twilio.settle()
    assert await phones.threads() == []
    assert phones.twilio.sent_to(EVE) == []
    refused = await phones.refused("sms")
    assert [(one.rule, one.address, one.source) for one in refused] == [("SM7", f"sms:{EVE}", one.sid) for one in said]
    assert "hello" not in str(refused)
    assert await phones.store.addresses.all_off() == {}


async def test_a_number_has_so_many_texts_a_day_and_decisions_still_count(redis_url: str, tmp_path: Path) -> None:
    """SM7: over the cap no agent is given the text, which is said once; a code decides all the same; a day frees it."""
    async with bench(redis_url, tmp_path, sms=True, sms_daily_cap_per_number=2) as phones:
        for n in range(4):
            await phones.twilio.text(LENA, "what is on production?")
            await phones.sms("lena", min(n + 1, 3))  # two answers, and one word about the cap
        refused = await phones.refused("sms")
        assert [(one.rule, one.why) for one in refused] == [("SM7", "over the daily cap")] * 2
        assert await messages(phones) == [2]
        await phones.over()

        phones.clock.advance(seconds=1)
        await phones.twilio.text(ANA, "deploy v1.4.0 to production")
        await phones.until(lambda log: log.state.pending)
        code = next(code_in(one.body) for one in await phones.sms("lena", 4) if "Approve?" in one.body)
        told = [one.body for one in await phones.sms("lena", 4) if "more texts than I take" in one.body]
        assert told == ["That is more texts than I take in a day. Decisions with a code still count."]
        await phones.twilio.text(LENA, f"YES {code}")
        await phones.over()
        assert len(phones.releases()) == 2

        phones.clock.advance(days=1, seconds=1)
        await phones.twilio.text(LENA, "what is on production?")
        assert "v1.4.0" in (await phones.sms("lena", 6))[-1].body


async def test_all_numbers_together_have_so_many_texts_a_day(redis_url: str, tmp_path: Path) -> None:
    """SM7: the cap in total holds for everybody, however few texts their own number has sent."""
    async with bench(redis_url, tmp_path, sms=True, sms_daily_cap=3) as phones:
        for number in (ANA, LENA, OMAR, ANA, OMAR):
            await phones.twilio.text(number, "what is on production?")
        assert await messages(phones) == [1, 1, 1]
        assert [one.address for one in await phones.refused("sms")] == [f"sms:{ANA}", f"sms:{OMAR}"]
        for person in ("ana", "omar"):
            assert "more texts than I take" in " ".join(one.body for one in await phones.sms(person, 2))


async def test_an_hour_of_silence_ends_a_conversation(phones: Bench) -> None:
    """SM6: a finished thread is gone on with for an hour after its last event; later a text starts a new one."""
    await phones.twilio.text(ANA, "what is on production?")
    first = await phones.over()
    phones.clock.advance(minutes=59)
    await phones.twilio.text(ANA, "what is on staging?")
    await phones.sms("ana", 2)
    assert (await phones.over()).thread_id == first.thread_id
    phones.clock.advance(minutes=60, seconds=1)
    await phones.twilio.text(ANA, "what is on production?")
    await phones.sms("ana", 3)
    second = await phones.over()
    assert second.thread_id != first.thread_id
    assert await messages(phones) == [1, 2]
    await phones.twilio.text(ANA, "what is on staging?")
    await phones.sms("ana", 4)
    assert (await phones.over()).thread_id == second.thread_id
    assert await messages(phones) == [2, 2]


async def test_a_thread_that_waits_is_gone_on_with_however_long_it_takes(phones: Bench) -> None:
    """SM6: hours later a text belongs to what is still open; a new order supersedes the old one, whose code dies."""
    file = phones.sample.deploy_file
    file.write_text(file.read_text().replace("approval_life_seconds = 3600", "approval_life_seconds = 86400"))
    await phones.twilio.text(ANA, "deploy v1.4.0 to production")
    old = code_in((await phones.sms("lena", 1))[0].body)
    phones.clock.advance(hours=5)
    await phones.twilio.text(ANA, "deploy main to production")
    texts = [one.body for one in await phones.sms("lena", 3)]
    assert sum("Withdrawn: the plan changed" in one for one in texts) == 1
    new = next(code_in(one) for one in texts if "Approve? Deploy main" in one)
    assert new != old
    assert await messages(phones) == [2]
    await phones.twilio.text(LENA, f"YES {old}")
    assert "because the plan changed" in (await phones.sms("lena", 4))[-1].body
    await phones.twilio.text(LENA, f"YES {new}")
    await phones.over()
    assert phones.releases()[-1].split()[2] == "main"
