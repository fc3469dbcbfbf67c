"""Whose decision it is where addresses, organisations and keys are not what they were, or not ours."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from requesting import NIA, OMAR, PEOPLE, audited, code_in, is_sent, made, office, refusals, waiting
from support import BOT_ADDRESS, LENA_KEY, bench, rewrite

from bot.testing import wait_until

EVE = "eve@acme.example"
KIM = '[people.kim]\nname = "Kim Sato"\nroles = ["approver"]\nslack = "T0ACME/U0OMAR"\n'
PARTNER = (
    '[people.gil]\nname = "Gil Park"\nroles = ["engineer", "approver"]\nexternal = true\n'
    'slack = "T0PARTNER/U0GIL"\nmail = "lena@acme.example"\n'
)


async def test_a_member_of_another_organisation_approves_over_no_channel(redis_url: str, tmp_path: Path) -> None:
    """SL22, AP8: Gil's mail has no organisation in it; the people file does, by now. A no of his counts."""
    insider = PARTNER.replace("external = true\n", "")
    async with office(redis_url, tmp_path, people=PEOPLE + insider) as found:
        await found.mail.write(OMAR, BOT_ADDRESS, "Release", "deploy v1.4.0 to production")
        await found.until(lambda log: log.state.pending and is_sent(log))
        mail = (await found.mails("lena", 1))[-1]  # Gil's mailbox here
        rewrite(tmp_path / "people.toml", PEOPLE + PARTNER)
        await found.mail.write("lena@acme.example", "", "", "APPROVE", in_reply_to=mail)
        log = await found.until(refusals)
        assert (made(log), refusals(log)) == ([], [("gil", "external")])
        assert [entry.get("external") for entry in audited(log)] == [True]
        await wait_until(lambda: "Members of another" in found.mail.inbox("lena@acme.example")[-1].text)
        await found.mail.write("lena@acme.example", "", "", "DENY", in_reply_to=mail)
        assert made(await found.until(made)) == [("gil", "deny")]


async def test_nobody_counts_on_a_member_of_another_organisation(redis_url: str, tmp_path: Path) -> None:
    """SL22: with the role or named in person, Gil is not asked, and no card waits for a vote that he cannot give."""
    policy = 'approvals = 2\nroles = []\npersons = ["gil", "omar"]\n'
    async with office(redis_url, tmp_path, policy, people=PEOPLE + PARTNER) as found:
        _, card = await waiting(found)
        assert "It takes 2 approvals, and only Omar Haddad can give one." in str(card.blocks)
        assert "Gil" not in str(card.blocks)
        assert found.mail.inbox("lena@acme.example") == []
        await found.slack.click("lena", card, "approve")
        await wait_until(lambda: found.slack.ephemerals("lena"))
        assert found.slack.ephemerals("lena")[-1].text.endswith("Omar Haddad can.")


@pytest.mark.parametrize("over", ["mail", "text"])
async def test_what_was_sent_to_one_person_is_no_vote_of_the_next_owner_of_the_address(
    redis_url: str, tmp_path: Path, over: str
) -> None:
    """EM9, AP6, SM5: Nia votes, her address becomes Kim's, and the same mail or code is answered again."""
    people = tmp_path / "people.toml"
    text = PEOPLE.replace(f'phone = "{NIA}"', f'phone = "{NIA}"\nmail = "{EVE}"') + KIM
    async with office(redis_url, tmp_path, "approvals = 2\n", people=text) as found:
        if over == "text":
            await found.store.addresses.turn_off(f"email:{EVE}", "not here")
        asked, _ = await waiting(found)

        async def answer() -> None:
            if over == "text":
                asks = [one.body for one in await found.sms("nia", 1) if one.body.startswith("Approve?")]
                await found.twilio.text(NIA, f"YES {code_in(asks[-1])}")
            else:
                await found.mail.write(EVE, "", "", "APPROVE", in_reply_to=found.mail.inbox(EVE)[0])

        await answer()
        await found.settled(asked, lambda log: made(log) == [("nia", "approve")])
        moved = f'mail = "{EVE}"\n' if over == "mail" else f'phone = "{NIA}"\n'
        rewrite(people, text.replace(moved, "").replace(KIM, KIM + moved))
        await answer()
        log = await found.settled(asked, refusals)
        assert (made(log), refusals(log)) == ([("nia", "approve")], [("kim", "token_owner")])
        assert len(found.releases()) == 1
        if over == "text":
            code = code_in(next(one.body for one in await found.sms("nia", 1) if one.body.startswith("Approve?")))
            await found.twilio.text(NIA, "pending")
            told = await found.sms("nia", 4)
            assert "1 request for you to decide" in told[-1].body
            assert code not in told[-1].body


async def test_the_key_of_somebody_who_left_is_no_key(redis_url: str, tmp_path: Path) -> None:
    """AP7, AP8: Lena may not deploy; gone from the people file, her key may nothing, and is not a service's."""
    people = tmp_path / "people.toml"
    people.write_text(PEOPLE.replace('name = "Lena Vogt"\nroles = ["engineer", "approver"]', 'name = "Lena Vogt"'))
    lena = {"Authorization": f"Bearer {LENA_KEY}"}
    async with bench(redis_url, tmp_path, people_file=people) as found:
        ask = {"message": "deploy v1.4.0 to staging"}
        first = await found.http.post("/api/threads", headers=lena, json=ask)
        assert first.status_code == 201
        await found.until(lambda log: log.state.status == "finished")
        rewrite(people, people.read_text().replace('[people.lena]\nname = "Lena Vogt"\nslack = "T0ACME/U0LENA"\n', ""))
        second = await found.http.post("/api/threads", headers=lena, json=ask)
        assert second.status_code == 401
        assert second.json()["error"] == "The people file has no lena, whose key this is."
        assert len(found.releases("staging")) == 1
        assert len(await found.threads()) == 1


async def test_whoever_fills_a_thread_does_not_decide_unseen(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AP16: what a full thread does not take is kept with what was turned away, and the person is told all the same."""
    monkeypatch.setattr("bot.runtime.inbox.MAX_REFUSED_LENGTH", 30)
    async with office(redis_url, tmp_path) as found:
        asked, card = await waiting(found)
        for _ in range(30):
            await found.slack.click("omar", card, "approve")
            if await found.refused("slack"):
                break
        log = await found.settled(asked, is_sent)
        told = len(found.slack.ephemerals("ana"))
        await found.slack.click("ana", card, "approve")
        await wait_until(lambda: len(found.slack.ephemerals("ana")) > told)
        assert found.slack.ephemerals("ana")[-1].text.startswith("You cannot approve this, only take it back")
        *_, last = await found.refused("slack")
        assert (last.rule, last.address) == ("role", "slack:T0ACME/U0ANA")
        assert refusals(await found.log_of(asked)) == refusals(log)
        monkeypatch.setattr("bot.runtime.inbox.MAX_LOG_LENGTH", 10)
        await found.slack.click("lena", card, "approve")  # what counts is always taken
        await found.finished(asked)
        assert len(found.releases()) == 2


async def test_who_cannot_be_reached_does_not_fill_the_log(redis_url: str, tmp_path: Path) -> None:
    """EM17: a request may wait for a week; whether two of its deciders can be reached is looked at now and then."""
    people = PEOPLE.replace(f'phone = "{NIA}"', f'mail = "{EVE}"')
    async with office(redis_url, tmp_path, 'life = "7d"\nreminders = []\n', people=people) as found:
        found.mail.faults.fail_next(550, "5.1.1 no such user", 2)
        asked = await found.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
        await found.card(asked)
        await found.settled(asked, lambda log: [event.type for event in log.events].count("post_failed") == 2)
        lengths = [len(await found.log_of(asked))]
        for _ in range(36):
            found.clock.advance(hours=1)
            await asyncio.gather(*(found.board.worker().fire_timers() for _ in range(2)))
            await found.settled(asked, lambda log: log.state.pending)
            lengths.append(len(await found.log_of(asked)))
        assert (lengths[-1] - lengths[0]) * 168 / 36 < 500
        assert "cannot reach" in " ".join(found.texts(asked))
