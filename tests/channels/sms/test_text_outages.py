"""Texts that came in while the web process or the store was away: each is taken, and each is taken once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from channel_contract import Outage
from support import PHONES, Bench, bench

from bot.cli.sms import pick_up
from bot.core.events import DecisionMade
from bot.core.log import Log

ANA, LENA, EVE = PHONES["ana"], PHONES["lena"], PHONES["eve"]


@pytest.fixture
async def phones(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, sms=True) as found:
        yield found


def code_in(text: str) -> str:
    """The code that a text says to reply with."""
    found = re.search(r"(?:YES|NO) (\d{6})", text)
    assert found, text
    return found[1]


def made(log: Log) -> list[tuple[str, str]]:
    """Who decided what."""
    return [(event.by.id, event.verdict) for event in log.events if isinstance(event, DecisionMade)]


async def test_texts_of_an_outage_are_picked_up_once(phones: Bench) -> None:
    """SM2, SM3: Twilio does not try again, but lists what came in; what a webhook brings later is known by then."""
    phones.twilio.go_down()
    order = await phones.twilio.text(ANA, "deploy v1.4.0 to production")
    await phones.twilio.text(EVE, "hello?")
    phones.twilio.come_up()
    assert {one.code for one in phones.twilio.troubles} == {11205}
    assert await phones.threads() == []
    assert await pick_up(phones.board) == 2
    code = code_in((await phones.sms("lena", 1))[0].body)
    await phones.twilio.carrier.redeliver(order)

    phones.twilio.go_down()
    yes = await phones.twilio.text(LENA, f"YES {code}")
    phones.twilio.come_up()
    found = await asyncio.gather(pick_up(phones.board), pick_up(phones.board), phones.twilio.carrier.redeliver(yes))
    assert found[0] + found[1] <= 2
    log = await phones.over()
    assert made(log) == [("lena", "approve")]
    assert [event.type for event in log.events].count("message_received") == 1
    assert len(phones.releases()) == 2
    for hours in (1, 46, 48):
        phones.clock.advance(hours=hours)
        assert await pick_up(phones.board) == 0
    assert len(await phones.threads()) == 1
    assert len(await phones.refused("sms")) == 0  # of today; the stranger was noted days ago


async def test_what_the_webhook_took_is_not_picked_up_again(phones: Bench) -> None:
    """SM3, SM5: a wrong code, a stranger, an opt-out: also what leaves no event in a thread counts once."""
    await phones.twilio.text(ANA, "deploy v1.4.0 to production")
    code = code_in((await phones.sms("lena", 1))[0].body)
    wrong = await phones.twilio.text(LENA, f"YES {(int(code) + 1) % 1_000_000:06d}")
    await phones.twilio.text(EVE, "hello?")
    for _ in range(5):
        await phones.twilio.carrier.redeliver(wrong)
        assert await pick_up(phones.board) == 0
    assert [event.rule for event in await phones.refused("sms")] == ["SM5", "SM7"]
    assert len(await phones.sms("lena", 2)) == 2
    await phones.twilio.text(LENA, f"YES {code}")
    assert made(await phones.over()) == [("lena", "approve")]


async def test_an_opt_out_of_an_outage_is_heard(phones: Bench) -> None:
    """SM4: a STOP that the webhook missed turns the number off, and a START after it turns it on again."""
    phones.twilio.go_down()
    await phones.twilio.text(LENA, "STOP")
    assert await pick_up(phones.board) == 1
    assert await phones.store.addresses.all_off() == {f"sms:{LENA}": "opted out with STOP"}
    await phones.twilio.text(LENA, "START")
    assert await pick_up(phones.board) == 1
    assert await phones.store.addresses.all_off() == {}
    assert await phones.threads() == []


async def test_a_decision_that_could_not_be_stored_is_not_lost(redis_url: str, tmp_path: Path) -> None:
    """SM2, AP4: 503 while the store is away, nothing runs, and the poll fails quietly; afterwards it counts once."""
    outage = Outage(redis_url, tmp_path / "redis")
    async with bench(outage.url, tmp_path, sms=True) as phones:
        await phones.twilio.text(ANA, "deploy v1.4.0 to production")
        code = code_in((await phones.sms("lena", 1))[0].body)
        await phones.sms("ana", 1)
        await phones.sms("omar", 1)
        await phones.settled_texts()
        await outage.begin()
        yes = await phones.twilio.text(LENA, f"YES {code}")
        assert [(one.code, one.sid) for one in phones.twilio.troubles] == [(11200, yes.sid)]
        assert await pick_up(phones.board) == 0
        assert len(phones.releases()) == 1
        outage.end()
        assert await pick_up(phones.board) == 1
        await phones.twilio.carrier.redeliver(yes)
        assert made(await phones.over()) == [("lena", "approve")]
        assert len(phones.releases()) == 2
