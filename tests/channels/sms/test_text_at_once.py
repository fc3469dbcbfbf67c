"""One text that arrives several times at once, and reports that come too late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import pytest
from support import PHONES, Bench, bench

from bot.core.events import PostReported
from bot.desks.sms import SmsDesk
from channels.sms.receive import SmsText, StatusReport


@pytest.fixture
async def phones(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, sms=True) as found:
        yield found


def desk_of(phones: Bench) -> SmsDesk:
    assert phones.board.desks.sms
    return phones.board.desks.sms


async def test_one_wrong_code_delivered_ten_times_at_once_counts_once(phones: Bench) -> None:
    """SM3, SM5: a webhook, its repetition and the poll beside them are one attempt, and get one answer."""
    text = SmsText(PHONES["lena"], phones.twilio.number, "YES 000001", "SM" + "a" * 32, None, 0)
    await asyncio.gather(*(desk_of(phones).text(text) for _ in range(10)))
    assert await phones.store.rates.recent(f"codes:sms:{PHONES['lena']}", timedelta(hours=1)) == 1
    await desk_of(phones).close()
    assert len(phones.twilio.sent_to(PHONES["lena"])) == 1


async def test_one_message_delivered_ten_times_at_once_takes_one_of_the_daily_cap(phones: Bench) -> None:
    """SM3, SM7."""
    text = SmsText(PHONES["ana"], phones.twilio.number, "what is on production?", "SM" + "b" * 32, None, 0)
    await asyncio.gather(*(desk_of(phones).text(text) for _ in range(10)))
    await phones.over()
    assert await phones.store.rates.recent("texts", timedelta(days=1)) == 1


async def test_a_failure_reported_after_the_delivery_sends_nothing_again(phones: Bench) -> None:
    """SM11: a state never moves backwards."""
    await phones.twilio.text(PHONES["ana"], "deploy v1.4.0 to production")
    (asked,) = await phones.sms("lena", 1)
    log = await phones.until(lambda log: [event.type for event in log.events].count("post_reported") == 3)
    post = next(event.post_id for event in log.events if event.type == "post_sent" and event.ref == asked.sid)
    await desk_of(phones).status(StatusReport(asked.sid, "undelivered", 30003, post, PHONES["lena"]))
    phones.clock.advance(minutes=10)
    log = await phones.until(lambda log: isinstance(log.events[-1], PostReported))
    assert len(phones.twilio.sent_to(PHONES["lena"])) == 1
    assert all(post.shown for post in log.state.posts.values())
