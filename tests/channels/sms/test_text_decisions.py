"""Decisions by text: a verb and a code, from the number that the code was sent to, and nothing less."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from support import PHONES, Bench, bench

from bot.core.events import DecisionMade, DecisionRefused, InboundRefused
from bot.core.log import Log

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


async def asked(phones: Bench, text: str = "deploy v1.4.0 to production") -> tuple[str, str, str]:
    """Ana asks for a deploy: the codes of Lena, of Omar, and the one by which Ana may withdraw it."""
    at = {one: len(await phones.sms(one, 0)) for one in ("lena", "omar", "ana")}
    await phones.twilio.text(ANA, text)
    lena, omar, ana = [code_in((await phones.sms(one, count + 1))[-1].body) for one, count in at.items()]
    return lena, omar, ana


def made(log: Log) -> list[tuple[str, str]]:
    """Who decided what."""
    return [(event.by.id, event.verdict) for event in log.events if isinstance(event, DecisionMade)]


def rules(log: Log) -> list[str]:
    """By which rules decisions were refused."""
    return [event.rule for event in log.events if isinstance(event, DecisionRefused)]


def why(refused: list[InboundRefused]) -> list[tuple[str, str, str]]:
    """What was turned away at the door."""
    return [(event.rule, event.why, event.address) for event in refused]


async def test_a_code_counts_only_from_the_number_that_it_was_sent_to(phones: Bench) -> None:
    """SM5, SM7: from another approver's phone or a stranger's it decides nothing, and is audited without the code."""
    lena, _, _ = await asked(phones)
    await phones.twilio.text(OMAR, f"YES {lena}")
    await phones.twilio.text(EVE, f"YES {lena}")
    told = await phones.sms("omar", 2)
    assert told[-1].body == (
        "I do not know this code. Nothing was decided. "
        "A code counts only from the number that it was sent to; 'pending' lists yours."
    )
    log = await phones.until(lambda log: log.state.pending)
    assert (made(log), rules(log)) == ([], [])
    refused = await phones.refused("sms")
    assert why(refused) == [
        ("SM5", "wrong code", f"sms:{OMAR}"),
        ("SM7", "not a number of anybody known", f"sms:{EVE}"),
    ]
    assert lena not in str(refused)
    assert await phones.sms("eve", 0) == []


async def test_five_wrong_codes_in_an_hour_lock_a_number_for_an_hour(phones: Bench) -> None:
    """SM5: the sixth is not even looked up, right or wrong; the lock is audited, and ends with the hour."""
    lena, omar, _ = await asked(phones)
    for n in range(5):
        phones.clock.advance(minutes=1)
        await phones.twilio.text(LENA, f"YES {(int(lena) + 1 + n) % 1_000_000:06d}")
        await phones.sms("lena", 2 + n)  # the next one is not taken before this one was answered
    assert "locked" not in str(await phones.sms("lena", 5))
    assert "for an hour" in (await phones.sms("lena", 6))[-1].body
    await phones.twilio.text(LENA, f"YES {lena}")
    log = await phones.until(lambda log: log.state.pending)
    assert made(log) == []
    refused = [event.why for event in await phones.refused("sms")]
    assert refused == ["wrong code"] * 4 + ["locked after wrong codes"] * 2

    await phones.twilio.text(OMAR, f"NO {omar}")  # the lock is Lena's alone
    await phones.over()
    phones.clock.advance(minutes=57)
    lena, _, _ = await asked(phones)
    await phones.twilio.text(LENA, f"YES {lena}")
    assert made(await phones.over()) == [("omar", "deny"), ("lena", "approve")]
    assert len(await phones.sms("lena", 6)) < 12


async def test_a_number_that_is_locked_can_still_say_no(phones: Bench) -> None:
    """SM5, AP4: a NO with its code fails safe, so no lock keeps it away."""
    lena, _, _ = await asked(phones)
    for n in range(5):
        await phones.twilio.text(LENA, f"YES {(int(lena) + 1 + n) % 1_000_000:06d}")
        await phones.sms("lena", 2 + n)
    await phones.twilio.text(LENA, f"YES {lena}")
    await phones.twilio.text(LENA, f"NO {lena}")
    assert made(await phones.over()) == [("lena", "deny")]
    assert len(phones.releases()) == 1


async def test_a_bare_yes_is_no_answer_where_an_approval_waits_beside_a_question(phones: Bench) -> None:
    """SM6, AP15: nobody can tell which of the two Lena meant, so both are listed with their codes."""
    await asked(phones)
    await phones.twilio.text(LENA, "deploy v1.4.0")
    assert "Where should v1.4.0 go?" in (await phones.sms("lena", 2))[-1].body
    await phones.twilio.text(LENA, "yes")
    listed = (await phones.sms("lena", 3))[-1].body
    assert listed.startswith("Nothing was decided. Please reply with the code:")
    assert "Deploy v1.4.0 to production: YES " in listed
    assert "Where should v1.4.0 go?" in listed


@pytest.mark.parametrize("said", ["YES", "yes!", "ok", "👍", "no"])
async def test_a_bare_yes_decides_nothing_and_is_told_the_code(phones: Bench, said: str) -> None:
    """SM4, SM6: an approval always needs its code, also where it is the only thing that waits."""
    lena, _, _ = await asked(phones)
    await phones.twilio.text(LENA, said)
    told = (await phones.sms("lena", 2))[-1].body
    assert told == (
        "Nothing was decided. Please reply with the code:\n"
        f"Deploy v1.4.0 to production: YES {lena} or NO {lena}"
    )  # fmt: skip
    log = await phones.until(lambda log: log.state.pending)
    assert (made(log), rules(log), len(await phones.threads())) == ([], [], 1)


async def test_two_that_wait_are_listed_with_their_codes_and_each_code_decides_its_own(phones: Bench) -> None:
    """SM6: never the most recent; each request is decided by its own code only."""
    first, _, _ = await asked(phones)
    await phones.twilio.text(OMAR, "deploy main to production")
    second = code_in((await phones.sms("lena", 2))[-1].body)
    await phones.twilio.text(LENA, "yes")
    listed = (await phones.sms("lena", 3))[-1].body
    assert sorted(listed.splitlines()[1:]) == sorted(
        [
            f"Deploy v1.4.0 to production: YES {first} or NO {first}",
            f"Deploy main to production: YES {second} or NO {second}",
        ]
    )
    await phones.twilio.text(LENA, f"YES {first} and {second}")
    assert (await phones.sms("lena", 4))[-1].body == listed
    phones.clock.advance(seconds=1)  # so that the newest thread is the one that is decided
    await phones.twilio.text(LENA, f"no {second}")
    denied = await phones.over()
    assert made(denied) == [("lena", "deny")]
    (open_one,) = [log for log in await phones.threads() if log.thread_id != denied.thread_id]
    assert [one.status for one in open_one.state.requests.values()] == ["pending"]


async def test_a_yes_with_more_behind_it_decides_nothing_and_gets_one_clear_text(phones: Bench) -> None:
    """EM12, SM6: `YES 482190 but later` is no decision; the person is told once what to write."""
    lena, _, _ = await asked(phones)
    for said in (f"YES {lena} but later", f"is {lena} the one with the migration?", f"yes? {lena}"):
        before = len(await phones.sms("lena", 1))
        await phones.twilio.text(LENA, said)
        told = await phones.sms("lena", before + 1)
        assert [text.body for text in told[before:]] == [
            "Nothing was decided. Reply with nothing but YES or NO, and the code that I sent for it."
        ]
    log = await phones.until(lambda log: log.state.pending)
    assert (made(log), rules(log)) == ([], ["ambiguous"] * 3)


async def test_a_denial_with_its_reason_reaches_the_model(phones: Bench) -> None:
    """AP12: the agent reads the reason, answers to it, and the requester hears both."""
    lena, _, _ = await asked(phones)
    await phones.twilio.text(LENA, f"No {lena}, wait for the migration")
    log = await phones.over()
    assert made(log) == [("lena", "deny")]
    assert len(phones.releases()) == 1
    told = [text.body for text in await phones.sms("ana", 3)]
    assert "Denied by Lena Vogt" in told[1]
    assert "wait for the migration" in told[1]
    assert re.match('Not deployed. Lena Vogt said no: ["“]wait for the migration["”]', told[2])


async def test_who_comes_late_or_twice_is_told_who_decided(phones: Bench) -> None:
    """AP2, AP5, SM5: one decision; the other's code and the same code again change nothing and say so."""
    lena, omar, _ = await asked(phones)
    yes = await phones.twilio.text(LENA, f"YES {lena}")
    await phones.over()
    await phones.sms("omar", 2)
    await phones.twilio.carrier.redeliver(yes)
    await phones.twilio.text(LENA, f"YES {lena}")
    await phones.twilio.text(OMAR, f"NO {omar} stop it")
    log = await phones.until(lambda log: len(rules(log)) == 2)
    late = "This was already approved by Lena Vogt at 09:00 UTC. That changed nothing."
    assert (await phones.sms("lena", 3))[-1].body == late
    assert (await phones.sms("omar", 3))[-1].body == late
    assert (made(log), rules(log)) == ([("lena", "approve")], ["late", "late"])
    assert len(phones.releases()) == 2


async def test_whoever_asked_cannot_approve_but_can_withdraw(phones: Bench) -> None:
    """AP7: the requester's own YES is refused, their NO takes the request back, and everybody asked hears of it."""
    lena, _, mine = await asked(phones)
    assert lena != mine
    await phones.twilio.text(ANA, f"YES {mine}")
    refusal = (await phones.sms("ana", 2))[-1].body
    assert "cannot approve this, only take it back by denying it: it takes the role approver" in refusal
    await phones.twilio.text(ANA, f"NO {mine}")
    log = await phones.over()
    assert (made(log), rules(log)) == ([("ana", "deny")], ["role"])
    assert "Withdrawn by Ana Ruiz" in (await phones.sms("lena", 2))[-1].body
    assert len(phones.releases()) == 1


async def test_an_approver_s_own_request_needs_somebody_else(phones: Bench) -> None:
    """AP7: four eyes; Lena holds the role, and still only Omar is asked and only Omar's YES counts."""
    await phones.twilio.text(LENA, "deploy v1.4.0 to production")
    waiting = (await phones.sms("lena", 1))[-1].body
    assert waiting.startswith("Waiting for Omar Haddad:")
    assert "YES" not in waiting
    mine, omar = code_in(waiting), code_in((await phones.sms("omar", 1))[-1].body)
    await phones.twilio.text(LENA, f"YES {mine}")
    assert "somebody else has to approve it" in (await phones.sms("lena", 2))[-1].body
    await phones.twilio.text(OMAR, f"yes {omar}.")
    log = await phones.over()
    assert (made(log), rules(log)) == ([("omar", "approve")], ["four_eyes"])
    assert len(phones.releases()) == 2


async def test_high_risk_is_not_approved_by_text_unless_the_policy_says_so(phones: Bench) -> None:
    """SM8, AP9: without `sms` among its channels a YES is refused with a hint; a NO counts."""
    file = phones.sample.deploy_file
    file.write_text(re.sub(r"(?m)^channels = .*\n", "", file.read_text()))
    lena, _, _ = await asked(phones)
    await phones.twilio.text(LENA, f"YES {lena}")
    told = (await phones.sms("lena", 2))[-1].body
    assert told == "This cannot be approved by text message; you can deny it here. Please use mail or Slack."
    log = await phones.until(lambda log: log.state.pending)
    assert (made(log), rules(log), len(phones.releases())) == ([], ["channel"], 1)
    await phones.twilio.text(LENA, f"NO {lena}")
    assert made(await phones.over()) == [("lena", "deny")]


async def test_nobody_in_time_is_timed_out_and_a_code_after_that_changes_nothing(phones: Bench) -> None:
    """AP4, AP5, SM10: not denied but timed out; the late YES is answered and recorded, and nothing runs."""
    lena, _, _ = await asked(phones)
    phones.clock.advance(hours=1, seconds=1)
    log = await phones.over()
    assert [one.status for one in log.state.requests.values()] == ["expired"]
    before = [one.body for one in await phones.sms("lena", 2)]
    assert "Timed out: nobody decided" in before[-1]
    await phones.twilio.text(LENA, f"YES {lena}")
    assert "This timed out at 10:00 UTC" in (await phones.sms("lena", len(before) + 1))[-1].body
    assert len(phones.releases()) == 1


async def test_a_texted_link_opens_the_page_that_decides(phones: Bench) -> None:
    """EM20, SM9: the page shows the whole of it to the one it was texted to, and only its button decides, once."""
    await asked(phones)
    text = (await phones.sms("lena", 1))[-1]
    found = re.search(r"http://bot\.test(/decide/\S+)", text.body)
    assert found
    assert len(text.body) <= 320
    for method in ("HEAD", "GET", "GET"):
        shown = await phones.http.request(method, found[1])
        assert shown.status_code == 200
    assert "v1.4.0" in shown.text
    assert made(await phones.until(lambda log: log.state.pending)) == []
    assert (await phones.http.post(found[1], data={"verdict": "approve"})).status_code == 303
    log = await phones.over()
    decision = next(event for event in log.events if isinstance(event, DecisionMade))
    assert (decision.by.id, decision.by.address, decision.by.authenticated_by) == ("lena", f"sms:{LENA}", "sms-link")
    assert len(phones.releases()) == 2
