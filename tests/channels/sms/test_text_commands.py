"""What people ask the bot itself by text: one text back, without a thread, without a model."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

import pytest
import redis.asyncio as redis_client
from support import PEOPLE, PHONES, Bench, bench

from bot.core.events import RequestOpened
from bot.core.values import Request
from bot.testing import wait_until
from channels.sms.simulator.signing import signature

ANA, LENA, EVE = PHONES["ana"], PHONES["lena"], PHONES["eve"]


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
async def phones(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, sms=True) as found:
        yield found


async def answers(phones: Bench, person: str, at_least: int) -> list[str]:
    """What we texted them, once it is so much; not what Twilio answers by itself."""
    number = PHONES[person]

    def found() -> list[str]:
        return [one.body for one in phones.twilio.phone(number) if one.to == number and one.direction == "outbound-api"]

    await wait_until(lambda: len(found()) >= at_least)
    await phones.settled_texts()
    return found()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HELP", "Decide with YES or NO and the code I sent; the code, ASK and a question asks first."),
        ("?", "cancel run (ends it). STOP or CANCEL alone ends all texts."),
        ("pending", "Nothing waits for you"),
        ("Status.", "You have no threads with me lately."),
        ("cancel run", "Nothing of yours runs"),
        ("whoami", "You are Ana Ruiz (ana). Roles: engineer."),
    ],
)
async def test_each_command_is_answered_with_one_short_text(phones: Bench, text: str, expected: str) -> None:
    """SM9: at most 320 characters; no thread begins."""
    await phones.twilio.text(ANA, text)
    (answer,) = await answers(phones, "ana", 1)
    assert expected in answer
    assert len(answer) <= 320
    assert await phones.threads() == []


async def test_the_bare_word_cancel_is_an_opt_out_and_no_command(phones: Bench) -> None:
    """SM4: Twilio has opted the number out by then; nothing is cancelled, and nothing more is sent there."""
    await phones.stop_workers()
    await phones.twilio.text(ANA, "what is on production?")
    await phones.twilio.text(ANA, "CANCEL")
    (log,) = await phones.threads()
    assert log.state.run == "working"
    assert await phones.store.addresses.why_off(f"sms:{ANA}") == "opted out with STOP"


async def test_pending_names_the_codes_of_this_number_alone(phones: Bench) -> None:
    """SM5, SM6: Lena's code works for Lena; Ana, who asked, is shown none."""
    await phones.twilio.text(ANA, "deploy v1.4.0 to production")
    (asked,) = await answers(phones, "lena", 1)
    await answers(phones, "ana", 1)
    await phones.twilio.text(LENA, "pending")
    _, mine = await answers(phones, "lena", 2)
    found = re.search(r"YES (\d{6}) or NO \1", mine)
    assert found, mine
    assert found[1] in asked
    assert len(mine) <= 320
    await phones.twilio.text(ANA, "pending")
    theirs = (await answers(phones, "ana", 2))[-1]
    assert "You wait for:" in theirs
    assert not re.search(r"\d{6}", theirs)

    await phones.twilio.text(LENA, f"YES {found[1]}")
    await phones.over()
    await phones.twilio.text(LENA, "pending")
    assert "Nothing waits for you" in (await answers(phones, "lena", 4))[-1]


async def test_status_and_cancel_run_in_the_conversation(phones: Bench) -> None:
    """The number's own conversation is the thread; that it was cancelled the thread itself says, once."""
    await phones.twilio.text(ANA, "deploy v1.4.0 to production")
    await answers(phones, "ana", 1)
    (before,) = await phones.threads()
    await phones.twilio.text(ANA, "status")
    _, status = await answers(phones, "ana", 2)
    assert status.startswith("Waiting for Lena Vogt or Omar Haddad to approve")
    assert len(status) <= 320
    await phones.twilio.text(ANA, "Cancel run")
    log = await phones.until(lambda log: log.state.run == "cancelled" and not log.state.posts)
    assert [event.type for event in log.events].count("cancelled") == 1
    assert log.thread_id == before.thread_id
    _, _, *rest = await answers(phones, "ana", 3)
    assert len([text for text in rest if "Cancelled by Ana Ruiz" in text]) == 1
    assert len(phones.releases()) == 1


async def test_a_webhook_that_comes_twice_is_answered_once(phones: Bench) -> None:
    """SM3."""
    text = await phones.twilio.text(ANA, "whoami")
    await phones.twilio.carrier.redeliver(text)
    await phones.twilio.text(ANA, "help")
    assert len(await answers(phones, "ana", 2)) == 2


async def test_twenty_an_hour(phones: Bench) -> None:
    """Each costs a text: the 21st is told so, the next are not answered, until the hour is over."""
    for _ in range(20):
        await phones.store.rates.add(f"commands:sms:{ANA}", timedelta(hours=1))
    await phones.twilio.text(ANA, "help")
    await phones.twilio.text(ANA, "help")
    (told,) = await answers(phones, "ana", 1)
    assert "more questions than I answer in an hour" in told
    phones.clock.advance(minutes=61)
    await phones.twilio.text(ANA, "whoami")
    assert "You are Ana Ruiz" in (await answers(phones, "ana", 2))[-1]


async def test_a_number_that_is_locked_starts_nothing_and_still_gets_its_commands_answered(phones: Bench) -> None:
    """SM5: after wrong codes nothing reaches an agent; what asks the bot itself decides nothing, so it is answered."""
    for _ in range(5):
        await phones.store.rates.add(f"codes:sms:{LENA}", timedelta(hours=1))
    await phones.twilio.text(LENA, "what is on production?")
    assert {one.rule for one in await phones.refused("sms")} == {"SM5"}
    assert await phones.threads() == []
    await phones.twilio.text(LENA, "pending")
    (answer,) = await answers(phones, "lena", 1)
    assert answer.startswith("Nothing waits for you")


async def test_a_stranger_gets_no_answer_unless_the_file_says_so_for_texts(redis_url: str, tmp_path: Path) -> None:
    """SM7: what it says of Slack and mail says nothing of texts."""
    file = tmp_path / "people.toml"
    file.write_text(PEOPLE.read_text().replace('strangers = "nothing"', 'strangers = "launch"', 2))
    async with bench(redis_url, tmp_path, sms=True, people_file=file) as found:
        for text in ("help", "whoami", "pending", "what is on production?"):
            await found.twilio.text(EVE, text)
        await found.settled_texts()
        assert await answers(found, "eve", 0) == []
        assert {one.rule for one in await found.refused("sms")} == {"SM7"}
        assert await found.threads() == []


async def test_a_stranger_who_may_ask_asks_answers_and_never_decides(redis_url: str, tmp_path: Path) -> None:
    """SM7, AP8: the file says so for texts; a deploy is refused, a question of the agent is answered by a message."""
    file = tmp_path / "people.toml"
    file.write_text(PEOPLE.read_text().replace('strangers = "nothing"', 'strangers = "ask"'))
    async with bench(redis_url, tmp_path, sms=True, people_file=file) as found:
        await found.twilio.text(EVE, "whoami")
        assert "you may ask, and change nothing" in (await answers(found, "eve", 1))[0]
        await found.twilio.text(EVE, "deploy v1.4.0 to production")
        log = await found.over()
        assert log.state.requests == {}
        assert len(found.releases()) == 1
        await found.stop_workers()
        request = Request(id="q" * 32, kind="question", purpose="model", prompt="Which environment?")
        await found.twilio.text(EVE, "what is on it?")
        (log,) = await found.threads()
        opened = RequestOpened(at=found.clock.now(), request=request)
        await found.store.logs.receive(log.thread_id, (opened,))
        await found.store.codes.issue(f"sms:{EVE}", f"{log.thread_id}:1:0", request.id, None)
        await found.twilio.text(EVE, "staging")
        after = await found.store.logs.load(log.thread_id)
        assert after.state.requests[request.id].status == "answered"


async def test_a_command_during_an_outage_is_answered_when_it_comes_again(redis_url: str, tmp_path: Path) -> None:
    """SM2: the webhook answers 5xx, and nothing is noted; the same text is answered later, once."""
    async with bench(redis_url, tmp_path, sms=True, workers=0) as found:
        form = {"From": ANA, "To": found.twilio.number, "Body": "whoami", "MessageSid": f"SM{secrets.token_hex(16)}"}
        headers = {
            "X-Twilio-Signature": signature("http://bot.test/twilio/sms", form, found.twilio.auth_token),
            "Content-Type": "application/x-www-form-urlencoded",
        }

        async def post() -> int:
            return (await found.http.post("/twilio/sms", content=urlencode(form), headers=headers)).status_code

        async with no_store(redis_url):
            assert await post() == 503
        assert await post() == 200
        assert await post() == 200
        assert len(await answers(found, "ana", 1)) == 1
        assert await found.threads() == []
