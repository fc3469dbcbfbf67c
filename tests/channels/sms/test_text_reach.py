"""Numbers that are not to be used, and texts that do not arrive: the request goes elsewhere, and nothing is denied."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from requesting import is_sent
from support import PEOPLE, PHONES, Bench, bench

from bot.core.events import DecisionMade, PostFailed, PostReported, PostSent
from bot.core.log import Log
from bot.testing import wait_until
from channels.sms.simulator import Text

ANA, LENA, OMAR = PHONES["ana"], PHONES["lena"], PHONES["omar"]
LENA_MAIL = "lena@acme.example"
DEPLOY = "deploy v1.4.0 to production"


@pytest.fixture
async def phones(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    """Phones, and mailboxes to fall back on; nobody has Slack."""
    people = tmp_path / "people.toml"
    people.write_text(re.sub(r"(?m)^slack = .*\n", "", PEOPLE.read_text()))
    async with bench(redis_url, tmp_path, sms=True, mail=True, people_file=people) as found:
        yield found


def code_in(text: str) -> str:
    """The code that a text says to reply with."""
    found = re.search(r"(?:YES|NO) (\d{6})", text)
    assert found, text
    return found[1]


def made(log: Log) -> list[tuple[str, str]]:
    """Who decided what."""
    return [(event.by.id, event.verdict) for event in log.events if isinstance(event, DecisionMade)]


def reports(log: Log) -> list[str]:
    """What Twilio reported about our texts."""
    return [event.outcome for event in log.events if isinstance(event, PostReported)]


def failed_posts(log: Log) -> int:
    """How often something could not be sent."""
    return sum(isinstance(event, PostFailed) for event in log.events)


async def sent_to_lena(phones: Bench, at_least: int) -> list[Text]:
    """What was sent to Lena, whether it arrived or not."""
    await wait_until(lambda: len(phones.twilio.sent_to(LENA)) >= at_least)
    await phones.twilio.settle()
    return phones.twilio.sent_to(LENA)


async def test_a_stop_asks_elsewhere_and_a_start_brings_the_number_back(phones: Bench) -> None:
    """SM4: STOP denies nothing: Lena gets the same request by mail and approves there; after START texts reach her."""
    await phones.twilio.text(ANA, DEPLOY)
    code = code_in((await phones.sms("lena", 1))[0].body)
    await phones.twilio.text(LENA, "Stop")
    (mailed,) = await phones.mails("lena", 1)
    assert mailed.subject == "Approval needed: Deploy v1.4.0 to production"
    log = await phones.until(lambda log: log.state.pending)
    assert made(log) == []
    assert await phones.store.addresses.all_off() == {f"sms:{LENA}": "opted out with STOP"}
    assert [(one.rule, one.why) for one in await phones.refused("sms")] == [("SM4", "opted out")]

    await phones.mail.write(LENA_MAIL, "", "", "APPROVE", in_reply_to=mailed)
    assert made(await phones.over()) == [("lena", "approve")]
    assert len(phones.twilio.sent_to(LENA)) == 1
    assert len(phones.releases()) == 2

    await phones.twilio.text(LENA, "start")
    assert await phones.store.addresses.all_off() == {}
    assert len(await phones.threads()) == 1
    phones.clock.advance(hours=2)
    await phones.twilio.text(ANA, "deploy v1.3.2 to production")
    texts = [text.body for text in await phones.sms("lena", 4)]  # with Twilio's own two words
    assert texts[-1].startswith("Approve? Deploy v1.3.2 to production")
    assert code_in(texts[-1]) != code
    assert len(await phones.mails("lena", 2)) == 2  # the request and its outcome, nothing of the new one


async def test_a_code_still_decides_after_a_stop(phones: Bench) -> None:
    """SM4: opting out of texts takes nobody's say away: the code that was sent before is as good as ever."""
    await phones.twilio.text(ANA, DEPLOY)
    code = code_in((await phones.sms("lena", 1))[0].body)
    await phones.twilio.text(LENA, "QUIT")
    await phones.mails("lena", 1)
    await phones.twilio.text(LENA, f"YES {code}")
    assert made(await phones.over()) == [("lena", "approve")]
    assert len(phones.twilio.sent_to(LENA)) == 1


async def test_whoever_asked_and_opted_out_is_told_by_mail(phones: Bench) -> None:
    """SM4: the requester's STOP does not end the run; what there is to say reaches them by mail."""
    await phones.twilio.text(ANA, DEPLOY)
    code = code_in((await phones.sms("lena", 1))[0].body)
    await phones.twilio.text(ANA, "UNSUBSCRIBE")
    await phones.twilio.text(LENA, f"YES {code}")
    await phones.over()
    assert len(phones.releases()) == 2
    await wait_until(lambda: any("Done: v1.4.0" in one.text for one in phones.mail.inbox("ana@acme.example")))
    assert len(phones.twilio.sent_to(ANA)) == 1


@pytest.mark.parametrize("how", ["refused with 21610", "reported as 30006", "reported as 30005"])
async def test_a_number_that_cannot_be_reached_is_given_up_for_another_way(phones: Bench, how: str) -> None:
    """SM11: Twilio refuses it (somebody opted out while we were away), or reports a landline or an unknown number."""
    if how == "refused with 21610":
        phones.twilio.network.opted_out.add(LENA)
    else:
        phones.twilio.fail_delivery(LENA, int(how[-5:]))
    await phones.twilio.text(ANA, DEPLOY)
    await phones.until(lambda log: log.state.pending and (failed_posts(log) or "undeliverable" in reports(log)))
    # However often it takes another try, which the clock has to come to.
    await wait_until(lambda: phones.clock.advance(seconds=2) or phones.mail.inbox(LENA_MAIL))
    (mailed,) = await phones.mails("lena", 1)
    assert f"sms:{LENA}" in await phones.store.addresses.all_off()
    assert len(phones.twilio.sent_to(LENA)) == (0 if "refused" in how else 1)
    await phones.mail.write(LENA_MAIL, "", "", "approve", in_reply_to=mailed)
    assert made(await phones.over()) == [("lena", "approve")]
    assert len(phones.twilio.sent_to(LENA)) == (0 if "refused" in how else 1)


async def test_quiet_hours_hold_no_answer_back_that_has_to_go_another_way(redis_url: str, tmp_path: Path) -> None:
    """SM4: Ana opted out, in her quiet hours, and goes on by text: whoever writes is awake, and is answered by mail."""
    people = tmp_path / "people.toml"
    text = re.sub(r"(?m)^slack = .*\n", "", PEOPLE.read_text())
    people.write_text(text.replace('name = "Ana Ruiz"\n', 'name = "Ana Ruiz"\nquiet_hours = "00:00-23:59"\n', 1))
    async with bench(redis_url, tmp_path, sms=True, mail=True, people_file=people) as found:
        await found.twilio.text(ANA, "STOP")
        await found.twilio.text(ANA, DEPLOY)
        (waits,) = await found.mails("ana", 1)
        assert "Deploy v1.4.0 to production" in waits.text
        await found.twilio.text(ANA, "cancel run")
        log = await found.until(lambda log: log.state.run == "cancelled" and is_sent(log))
        assert not [event for event in log.events if event.type == "post_held"]


async def test_an_unreachable_phone_gets_the_text_once_more_and_only_once(phones: Bench) -> None:
    """SM11: 30003 is sent again a little later, with the same code; then it is left at that."""
    phones.twilio.fail_delivery(LENA, 30003)
    await phones.twilio.text(ANA, DEPLOY)
    await phones.until(lambda log: reports(log).count("retry") == 1)
    assert len(await sent_to_lena(phones, 1)) == 1  # not at once: a phone that is off stays off for a while
    phones.clock.advance(minutes=5)
    first, second = await sent_to_lena(phones, 2)
    assert (first.body, code_in(first.body)) == (second.body, code_in(second.body))
    log = await phones.until(lambda log: reports(log).count("retry") == 2)
    phones.clock.advance(minutes=10)
    await phones.until(is_sent)
    assert len(await sent_to_lena(phones, 2)) == 2
    assert await phones.store.addresses.all_off() == {}
    assert phones.mail.inbox(LENA_MAIL) == []
    assert made(log) == []
    await phones.twilio.text(LENA, f"YES {code_in(first.body)}")  # it was on and off
    assert made(await phones.over()) == [("lena", "approve")]


async def test_a_text_that_a_carrier_filtered_is_not_sent_again(phones: Bench) -> None:
    """SM11: 30007: sending it again would make it worse; the number stays in use, the others are asked as before."""
    phones.twilio.fail_delivery(LENA, 30007)
    await phones.twilio.text(ANA, DEPLOY)
    await phones.until(lambda log: "failed" in reports(log))
    phones.clock.advance(minutes=10)
    code = code_in((await phones.sms("omar", 1))[0].body)
    await phones.twilio.text(OMAR, f"YES {code}")
    log = await phones.over()
    assert len(phones.releases()) == 2
    assert [one.status for one in phones.twilio.sent_to(LENA)] == ["undelivered"] * 2  # the request, the outcome
    assert await phones.store.addresses.all_off() == {}
    assert "retry" not in reports(log)


async def test_status_reports_come_in_any_order_and_twice(phones: Bench) -> None:
    """SM11: a state never goes backwards: late `sent`s and doubled `delivered`s change nothing and send nothing."""
    held = phones.twilio.hold_callbacks()
    await phones.twilio.text(ANA, DEPLOY)
    await phones.sms("lena", 1)
    await phones.sms("ana", 1)
    await phones.sms("omar", 1)
    await phones.twilio.settle()
    assert {one.form["MessageStatus"] for one in held} == {"sending", "sent", "delivered"}
    told = [await phones.twilio.carrier.call_back(one) for one in [*reversed(held), *held, *reversed(held)]]
    assert set(told) == {204}
    log = await phones.until(lambda log: len(reports(log)) == 3)
    assert reports(log) == ["delivered"] * 3
    code = code_in((await phones.sms("lena", 1))[0].body)
    phones.twilio.carrier.held = None
    await phones.twilio.text(LENA, f"YES {code}")
    await phones.over()
    assert [code_in(one.body) for one in phones.twilio.sent_to(LENA) if "YES" in one.body] == [code]


async def test_a_text_expires_with_its_request(phones: Bench) -> None:
    """SM10: what Twilio could not be given at once is given less time: never more than is left of the request."""
    phones.twilio.fail_next(20500, 503)  # the first of the three texts
    await phones.twilio.text(ANA, DEPLOY)
    await phones.until(lambda log: log.state.pending and failed_posts(log))
    await wait_until(lambda: len(_asked(phones)) >= 2)
    assert {one.validity_seconds for one in _asked(phones)} == {3600}
    phones.clock.advance(minutes=20)
    await wait_until(lambda: len(_asked(phones)) == 3)
    assert sorted(one.validity_seconds for one in _asked(phones)) == [2400, 3600, 3600]


async def test_a_full_queue_is_given_a_minute(phones: Bench) -> None:
    """SM11: 21611 is no fault of the number: the text waits for a minute, and the others go out meanwhile."""
    phones.twilio.fail_next(21611)
    await phones.twilio.text(ANA, DEPLOY)
    await phones.until(failed_posts)
    await wait_until(lambda: len(_asked(phones)) == 2)
    phones.clock.advance(seconds=59)
    await phones.twilio.settle()
    assert len(_asked(phones)) == 2
    phones.clock.advance(seconds=1)
    await wait_until(lambda: len(_asked(phones)) == 3)
    assert len({one.to for one in _asked(phones)}) == 3
    assert await phones.store.addresses.all_off() == {}


async def test_a_text_whose_answer_was_lost_is_not_sent_twice(phones: Bench) -> None:
    """SL19 for SMS: Twilio took it and the connection broke: it is found in Twilio's list, with its code and sid."""
    phones.twilio.lose_answer(3)
    await phones.twilio.text(ANA, DEPLOY)
    await wait_until(lambda: len(_asked(phones)) == 3)
    await phones.until(lambda log: failed_posts(log) == 3)
    phones.clock.advance(seconds=10)
    log = await phones.until(lambda log: sum(isinstance(one, PostSent) for one in log.events) == 3)
    refs = {one.ref for one in log.events if isinstance(one, PostSent)}
    assert refs == {one.sid for one in _asked(phones)}
    assert len(_asked(phones)) == 3
    code = code_in((await phones.sms("lena", 1))[0].body)
    await phones.twilio.text(LENA, f"YES {code}")
    assert made(await phones.over()) == [("lena", "approve")]


async def test_a_deploy_does_not_wait_for_twilio(phones: Bench) -> None:
    """SM2: while Twilio takes no texts the approved deploy runs to its end; the news goes out once Twilio is back."""
    await phones.twilio.text(ANA, DEPLOY)
    code = code_in((await phones.sms("lena", 1))[0].body)
    await phones.sms("ana", 1)
    await phones.sms("omar", 1)
    for _ in range(50):
        phones.twilio.fail_next(20500, 503)
    await phones.twilio.text(LENA, f"YES {code}")
    await phones.until(lambda log: log.state.run == "finished")
    assert len(phones.releases()) == 2
    assert len(phones.twilio.sent_to(ANA)) == 1
    phones.twilio.rest.faults.clear()
    for _ in range(3):
        phones.clock.advance(minutes=6)
        await phones.twilio.settle()
    await phones.over()
    bodies = [one.body for one in phones.twilio.sent_to(ANA)]
    assert len(bodies) == len(set(bodies))
    assert bodies[-1].startswith("Done: v1.4.0")


def _asked(phones: Bench) -> list[Text]:
    """The three texts of a request: to both approvers, and to whoever asked."""
    return [one for one in phones.twilio.network.texts.values() if one.direction == "outbound-api"]
