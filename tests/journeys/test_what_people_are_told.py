"""Requests as their recipients read them: what is missing, what was recorded, what became of a vote or a question."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from requesting import (
    DEPLOY,
    NIA,
    OMAR,
    PEOPLE,
    asks,
    code_in,
    is_sent,
    kinds,
    nth_card,
    office,
    refusals,
    requests,
)
from support import API_KEY, Bench

TWO = "approvals = 2\n"


async def test_where_there_are_not_people_enough_the_card_says_so(redis_url: str, tmp_path: Path) -> None:
    """AP6, AP7: three approvers, one of whom asks, and three approvals: it can only run out, and nobody need wonder."""
    async with office(redis_url, tmp_path, "approvals = 3\nfour_eyes = true\n") as found:
        asked = await found.slack.say("lena", "#deploys", DEPLOY)
        card = await nth_card(found, asked, 1)
        short = "It takes 3 approvals, and only Omar Haddad and Nia Stone can give one."
        assert short in str(card.blocks)
        assert short in (await found.mails("omar", 1))[-1].text
        assert short in (await found.sms("nia", 1))[-1].body


async def test_where_there_are_people_enough_it_does_not(redis_url: str, tmp_path: Path) -> None:
    """The same with two approvals, which the two others can give."""
    async with office(redis_url, tmp_path, f"{TWO}four_eyes = true\n") as found:
        asked = await found.slack.say("lena", "#deploys", DEPLOY)
        assert "can give one" not in str((await nth_card(found, asked, 1)).blocks)


async def test_a_deadline_is_told_in_the_time_of_whoever_reads_it(redis_url: str, tmp_path: Path) -> None:
    """A time that is read at night is read as one's own: mail, page and text name the zone."""
    people = PEOPLE.replace('name = "Omar Haddad"\n', 'name = "Omar Haddad"\ntimezone = "America/New_York"\n')
    people = people.replace('name = "Nia Stone"\n', 'name = "Nia Stone"\ntimezone = "Asia/Dubai"\n')
    async with office(redis_url, tmp_path, 'life = "12h"\n', people=people) as found:
        await nth_card(found, await found.slack.say("ana", "#deploys", DEPLOY), 1)
        (text,) = await found.sms("nia", 1)
        assert "Open until 21 Mar 01:00 UTC+04." in text.body
        (mail,) = await found.mails("omar", 1)
        assert "Open until 2026-03-20 17:00 EDT." in " ".join(mail.text.split())
        (link,) = re.findall(r"http://bot.test(/decide/\S+)", mail.text)
        assert "Open until 2026-03-20 17:00 EDT" in (await found.http.get(link)).text


NIGHT = PEOPLE.replace('name = "Omar Haddad"\n', 'name = "Omar Haddad"\nquiet_hours = "08:00-11:00"\n').replace(
    'name = "Nia Stone"\n', 'name = "Nia Stone"\nquiet_hours = "08:00-09:30"\n'
)


async def test_who_waits_is_told_who_is_asleep(redis_url: str, tmp_path: Path) -> None:
    """AP11: a silence of quiet hours is understood, also where they last longer than the request."""
    asleep = (
        "Quiet hours: Omar Haddad is not asked, because this ends before 11:00 UTC, Nia Stone is asked at 09:30 UTC."
    )
    async with office(redis_url, tmp_path, people=NIGHT) as found:
        asked = await found.slack.say("ana", "#deploys", DEPLOY)
        card = await found.card(asked)
        assert asleep in str(card.blocks)
        found.clock.advance(minutes=31)
        (text,) = await found.sms("nia", 1)
        assert "uiet hours" not in text.body
        await found.slack.click("lena", card, "approve")
        await found.finished(asked)
        assert "uiet hours" not in str(found.slack.workspace.message(card.channel, card.ts).blocks)


async def test_the_quiet_hours_of_many_hide_no_warning(redis_url: str, tmp_path: Path) -> None:
    """AP14: what the tool warns of stands on the card, however many approvers are asleep."""
    many = "".join(
        f'[people.z{n}]\nname = "Zed {n}"\nroles = ["approver"]\n'
        f'mail = "z{n}@acme.example"\nquiet_hours = "08:00-11:00"\n'
        for n in range(6)
    )
    async with office(redis_url, tmp_path, people=PEOPLE + many) as found:
        asked = await found.slack.say("ana", "#deploys", "@bot deploy v1.3.0 to production")
        shown = str((await found.card(asked)).blocks)
        assert "commits will be undone" in shown
        assert "Zed 2 is not asked, because this ends before 11:00 UTC, and 3 more." in shown


async def test_an_escalation_that_brings_in_nobody_new_gives_no_hope(redis_url: str, tmp_path: Path) -> None:
    """AP6: its only step names who is asked, or barred, already."""
    policy = 'approvals = 3\nfour_eyes = true\nescalation = "late"\n'
    policy += '[escalations.late]\npersons = ["omar", "lena"]\nafter = "50%"\n'
    async with office(redis_url, tmp_path, policy) as found:
        card = await nth_card(found, await found.slack.say("lena", "#deploys", DEPLOY), 1)
        assert "only Omar Haddad and Nia Stone can give one." in str(card.blocks)


async def test_who_is_woken_is_not_said_to_be_asleep(redis_url: str, tmp_path: Path) -> None:
    """A rule that wakes people asks them at once."""
    async with office(redis_url, tmp_path, "wakes = true\n", people=NIGHT) as found:
        asked = await found.slack.say("lena", "#deploys", DEPLOY)
        assert "uiet hours" not in str((await nth_card(found, asked, 1)).blocks)
        assert await found.mails("omar", 1)


async def test_the_first_of_two_is_told_that_it_is_recorded(redis_url: str, tmp_path: Path) -> None:
    """AP6: by text and by mail, where no card changes before it is over."""
    async with office(redis_url, tmp_path, "approvals = 3\n") as found:
        asked = await found.slack.say("ana", "#deploys", DEPLOY)
        await nth_card(found, asked, 1)
        (text,) = await found.sms("nia", 1)
        await found.twilio.text(NIA, f"YES {code_in(text.body)}")
        assert (await found.sms("nia", 2))[-1].body == (
            "You approved: Deploy v1.4.0 to production. It is recorded. 2 more approvals needed."
        )
        await found.mail.write(OMAR, "", "", "APPROVE", in_reply_to=found.mail.inbox(OMAR)[-1])
        await found.settled(asked, lambda log: kinds(log, "decision_made") == 2 and is_sent(log))
        assert "1 more approval needed" in found.mail.inbox(OMAR)[-1].text


async def test_a_request_that_runs_out_with_a_vote_says_so(redis_url: str, tmp_path: Path) -> None:
    """AP4: somebody did decide; there were only not enough of them."""
    async with office(redis_url, tmp_path, TWO) as found:
        asked = await found.slack.say("ana", "#deploys", DEPLOY)
        card = await nth_card(found, asked, 1)
        await found.slack.click("lena", card, "approve")
        await found.settled(asked, lambda log: kinds(log, "decision_made") == 1 and is_sent(log))
        found.clock.advance(minutes=61)
        await found.finished(asked)
        shown = found.slack.workspace.message(card.channel, card.ts).text
        assert "Timed out with 1 of 2 approvals. It was not run." in shown
        assert len(found.releases()) == 1


@pytest.mark.parametrize("question", ["   ", "\n"])
async def test_a_blank_question_closes_nothing(on_bench: Bench, question: str) -> None:
    """AP4, AP13: whoever asks nothing is told to write a question; the request is as it was."""
    asked = await on_bench.slack.say("ana", "#deploys", DEPLOY)
    await asks(on_bench, "lena", await nth_card(on_bench, asked, 1), question)
    log = await on_bench.settled(asked, lambda log: refusals(log) and is_sent(log))
    assert refusals(log) == [("lena", "incomplete")]
    assert on_bench.slack.ephemerals("lena")[-1].text == "Please write your question. Nothing was decided."
    assert log.state.pending


async def test_a_text_after_a_question_has_the_answer(redis_url: str, tmp_path: Path) -> None:
    """AP13: Nia asks by text, and the new one says what the agent answered, and still what it is about."""
    async with office(redis_url, tmp_path) as found:
        asked = await found.slack.say("ana", "#deploys", DEPLOY)
        await nth_card(found, asked, 1)
        (text,) = await found.sms("nia", 1)
        await found.twilio.text(NIA, f"{code_in(text.body)} ASK is there a migration in it?")
        await nth_card(found, asked, 2)
        again = next(one.body for one in reversed(await found.sms("nia", 3)) if one.body.startswith("Approve?"))
        assert "Nia Stone asks: is there a migration in it?" in again
        assert "Approve? Deploy v1.4.0 to production" in again
        assert "YES" in again


async def test_who_is_asked_nowhere_is_not_said_to_have_been(on_bench: Bench) -> None:
    """AP16: a thread of the API without a conversation sends nothing; so nobody was asked at an address."""
    launched = await on_bench.http.post(
        "/api/threads",
        headers={"Authorization": f"Bearer {API_KEY}"},
        json={"message": "deploy v1.4.0 to production"},
    )
    assert launched.status_code == 201
    log = await on_bench.until(lambda log: log.state.pending)
    (request,) = requests(log)
    assert [(one.id, one.address) for one in request.deciders] == [("lena", ""), ("omar", "")]
    assert not request.copies
