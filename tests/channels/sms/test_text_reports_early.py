"""Twilio may report on a text before our worker has noted that it was sent: such a report is as good as any."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from requesting import is_sent
from support import PEOPLE, PHONES, Bench, bench

from bot.core.events import Event, PostReported, PostSent
from bot.core.log import Log
from bot.core.protocols import Lease
from bot.runtime.store.logs import RedisLogs

ANA, LENA = PHONES["ana"], PHONES["lena"]
DEPLOY = "deploy v1.4.0 to production"


class SlowLogs(RedisLogs):
    """The logs of a worker that Twilio overtakes each time."""

    def __init__(self, real: RedisLogs) -> None:
        self.__dict__.update(real.__dict__)

    async def append(self, log: Log, event: Event, lease: Lease) -> Log:
        """Note that a text was sent once its report is there."""
        if isinstance(event, PostSent) and event.tracked:
            async with asyncio.timeout(10):
                while event.ref not in reported(await self.load(log.thread_id)):  # noqa: ASYNC110 nobody says when
                    await asyncio.sleep(0.005)
        return await super().append(log, event, lease)


def reported(log: Log) -> list[str]:
    """The texts that a report has come for."""
    return [event.ref for event in log.events if isinstance(event, PostReported)]


def on_record(log: Log) -> list[str]:
    """The texts that our worker has noted as sent."""
    return [event.ref for event in log.events if isinstance(event, PostSent)]


@pytest.fixture
async def phones(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    """Phones, and mailboxes to fall back on; nobody has Slack."""
    people = tmp_path / "people.toml"
    people.write_text(re.sub(r"(?m)^slack = .*\n", "", PEOPLE.read_text()))
    async with bench(redis_url, tmp_path, workers=0, sms=True, mail=True, people_file=people) as found:
        found.store.logs = SlowLogs(found.store.logs)
        await found.start_worker()
        yield found


def sent_to_lena(phones: Bench) -> list[str]:
    return [one.body for one in phones.twilio.sent_to(LENA)]


async def test_what_has_arrived_is_not_waited_for(phones: Bench) -> None:
    """SM11: `delivered` comes first, and nothing is left open."""
    await phones.twilio.text(ANA, DEPLOY)
    await phones.sms("lena", 1)
    code = re.findall(r"YES (\d{6})", sent_to_lena(phones)[0])[0]
    await phones.twilio.text(LENA, f"YES {code}")
    log = await phones.over()
    assert not log.state.posts
    assert len(phones.releases()) == 2


async def test_what_will_never_arrive_goes_another_way(phones: Bench) -> None:
    """SM11: a landline; the request reaches Lena by mail, and the number is used no more."""
    phones.twilio.fail_delivery(LENA, 30006)
    await phones.twilio.text(ANA, DEPLOY)
    (mailed,) = await phones.mails("lena", 1)
    assert await phones.store.addresses.all_off() == {f"sms:{LENA}": "texts do not arrive (undelivered 30006)"}
    await phones.mail.write("lena@acme.example", "", "", "approve", in_reply_to=mailed)
    await phones.over()
    assert len(phones.twilio.sent_to(LENA)) == 1
    assert len(phones.releases()) == 2


async def test_what_did_not_arrive_is_sent_once_more(phones: Bench) -> None:
    """SM11: a phone that is off, twice; the second report ends it."""
    phones.twilio.fail_delivery(LENA, 30003)
    await phones.twilio.text(ANA, DEPLOY)
    await phones.until(lambda log: len(on_record(log)) == 3)  # the request to Lena and Omar, and to Ana that it waits
    assert len(phones.twilio.sent_to(LENA)) == 1
    phones.clock.advance(minutes=5)
    await phones.until(lambda log: len(on_record(log)) == 4)
    phones.clock.advance(minutes=10)
    log = await phones.until(is_sent)
    assert len(phones.twilio.sent_to(LENA)) == 2
    assert not any(post.tracked for post in log.state.posts.values())
