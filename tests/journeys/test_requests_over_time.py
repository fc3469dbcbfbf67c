"""Requests while time passes: reminders, escalation and quiet hours."""

from __future__ import annotations

from pathlib import Path

from requesting import DEPLOY, NIA, OMAR, PEOPLE, code_in, is_sent, kinds, office, refusals, waiting
from support import BOT_ADDRESS, Bench, bench

from bot.core.events import DecisionMade, PostHeld
from bot.core.log import Log
from channels.slack.simulator import Message


async def reminded(found: Bench, asked: Message, times: int) -> Log:
    """The log once so many reminders are recorded and sent."""
    return await found.settled(asked, lambda log: kinds(log, "request_reminded") == times and is_sent(log))


def nudges(found: Bench, asked: Message) -> list[str]:
    """The reminders in the conversation."""
    return [text for text in found.texts(asked) if text.startswith("Reminder:")]


async def test_each_reminder_comes_once_with_three_workers_and_over_a_restart(redis_url: str, tmp_path: Path) -> None:
    """AP11: at 50 % and at 90 %, once each; the second falls due while no worker runs, and three new ones find it."""
    async with office(redis_url, tmp_path, workers=3) as found:
        asked, _ = await waiting(found)
        found.clock.advance(minutes=29, seconds=59)
        assert await found.board.worker().fire_timers() == 0
        found.clock.advance(seconds=1)
        await reminded(found, asked, 1)
        await found.stop_workers()
        found.clock.advance(minutes=25)
        for _ in range(3):
            await found.start_worker()
        await reminded(found, asked, 2)
        await found.stop_workers()
        for _ in range(3):
            await found.start_worker()
        found.clock.advance(minutes=5)
        log = await found.settled(asked, lambda log: log.state.status == "finished" and is_sent(log))
        assert [event.share for event in log.events if event.type == "request_reminded"] == [0.5, 0.9]
        assert len(nudges(found, asked)) == 2
        assert [mail.subject[:9] for mail in found.mail.inbox(OMAR)].count("Reminder:") == 2
        assert len([text for text in await found.sms("nia", 3) if text.body.startswith("Reminder.")]) == 2


async def test_after_an_outage_longer_than_its_life_a_request_ends_without_a_nudge(
    redis_url: str, tmp_path: Path
) -> None:
    """AP4, AP11: reminders and steps that came due together with the end reach nobody; "timed out" does."""
    policy = 'life = "1h"\nescalation = "more"\n[escalations.more]\npersons = ["ana"]\nafter = "60%"\n'
    async with office(redis_url, tmp_path, policy) as found:
        asked, _ = await waiting(found)
        await found.stop_workers()
        found.clock.advance(hours=3)
        await found.start_worker()
        log = await found.settled(asked, lambda log: log.state.status == "finished" and is_sent(log))
        assert kinds(log, "request_expired") == 1
        assert kinds(log, "request_reminded") == kinds(log, "request_escalated") == 0
        assert nudges(found, asked) == []
        assert not [mail for mail in found.mail.inbox(OMAR) if mail.subject.startswith("Reminder")]


async def test_only_who_has_not_voted_is_reminded(redis_url: str, tmp_path: Path) -> None:
    """AP6, AP11: two of three are needed; Lena, the only approver in Slack, has voted, so the thread stays quiet."""
    async with office(redis_url, tmp_path, "approvals = 2\n") as found:
        asked, card = await waiting(found)
        await found.slack.click("lena", card, "approve")
        await found.settled(asked, lambda log: kinds(log, "decision_made") == 1 and is_sent(log))
        found.clock.advance(minutes=30)
        await reminded(found, asked, 1)
        assert nudges(found, asked) == []
        assert (await found.mails("omar", 2))[-1].subject.startswith("Reminder: ")
        assert "1 of 2 approvals: Lena Vogt" in (await found.sms("nia", 2))[-1].body


async def test_who_has_voted_elsewhere_hears_nothing_while_the_thread_is_reminded(
    redis_url: str, tmp_path: Path
) -> None:
    """AP6, AP11: Nia voted by text: the thread reminds Lena, a mail Omar, and Nia's phone stays quiet."""
    async with office(redis_url, tmp_path, "approvals = 2\n") as found:
        asked, _ = await waiting(found)
        code = code_in((await found.sms("nia", 1))[-1].body)
        await found.twilio.text(NIA, f"YES {code}")
        await found.settled(asked, lambda log: kinds(log, "decision_made") == 1 and is_sent(log))
        before = len(await found.sms("nia", 1))
        found.clock.advance(minutes=30)
        await reminded(found, asked, 1)
        assert len(nudges(found, asked)) == 1
        assert len(await found.mails("omar", 2)) == 2
        assert len(await found.sms("nia", 1)) == before


async def test_a_reminder_by_mail_can_be_answered_and_one_by_text_carries_the_same_code(
    redis_url: str, tmp_path: Path
) -> None:
    """AP11: it is the same request: APPROVE below the reminder counts, and the code of before is still the code."""
    async with office(redis_url, tmp_path, "approvals = 2\n") as found:
        asked, _ = await waiting(found)
        found.clock.advance(minutes=30)
        await reminded(found, asked, 1)
        first, reminder = await found.mails("omar", 2)
        assert reminder.subject == f"Reminder: {first.subject}"
        one, again = [text.body for text in await found.sms("nia", 2)]
        said, said_again = (body.partition("\nAll of it")[0] for body in (one, again))  # each has a link of its own
        assert said_again == f"Reminder. {said}"
        await found.mail.write(OMAR, "", "", "APPROVE", in_reply_to=reminder)
        await found.mail.queue.until_empty()
        await found.twilio.text(NIA, f"YES {code_in(again)}")
        log = await found.finished(asked)
        assert [event.by.id for event in log.events if isinstance(event, DecisionMade)] == ["omar", "nia"]
        assert len(found.releases()) == 2


async def test_a_question_is_reminded_of_where_it_was_asked(redis_url: str, tmp_path: Path) -> None:
    """AP11: in the thread; and whoever asked by mail is reminded by mail, and may answer that mail."""
    async with office(redis_url, tmp_path) as found:
        asked = await found.slack.say("ana", "#deploys", "@bot deploy v1.4.0")
        await found.card(asked, "answer:0")
        await found.settled(asked, lambda log: log.state.pending and is_sent(log))
        found.clock.advance(hours=12)
        await reminded(found, asked, 1)
        assert nudges(found, asked) == ["Reminder: Where should v1.4.0 go?"]
        await found.slack.click("ana", await found.card(asked, "answer:0"), "answer:0")
        await found.finished(asked)
        assert len(found.releases("staging")) == 2

        await found.mail.write(OMAR, BOT_ADDRESS, "deploy v1.4.0", "")
        await found.mails("omar", 1)
        found.clock.advance(hours=12)
        (_, reminder) = await found.mails("omar", 2)
        await found.mail.write(OMAR, "", "", "staging", in_reply_to=reminder)
        await found.mail.queue.until_empty()
        await found.until(lambda log: log.state.status == "finished" and kinds(log, "request_reminded"))
        assert len(found.releases("staging")) == 3


async def test_a_question_is_reminded_of_twice(redis_url: str, tmp_path: Path) -> None:
    """AP11: it has no rule, so it is at 50 % and at 90 % of its day."""
    async with office(redis_url, tmp_path) as found:
        asked = await found.slack.say("ana", "#deploys", "@bot deploy v1.4.0")
        await found.card(asked, "answer:0")
        await found.settled(asked, lambda log: log.state.pending and is_sent(log))
        found.clock.advance(hours=12)
        await reminded(found, asked, 1)
        found.clock.advance(hours=9, minutes=36)
        await reminded(found, asked, 2)
        assert len(nudges(found, asked)) == 2


async def test_nobody_is_reminded_of_what_is_decided(redis_url: str, tmp_path: Path) -> None:
    """AP11: neither reminder nor escalation nor expiry comes after the decision; the timers find nothing to do."""
    steps = 'escalation = "more"\n[escalations.more]\npersons = ["ana"]\nafter = "60%"\n'
    async with office(redis_url, tmp_path, steps) as found:
        asked, card = await waiting(found)
        await found.slack.click("lena", card, "deny")
        await found.slack.submit("lena", found.slack.views("lena")[0], {})
        log = await found.finished(asked)
        sent = len(found.mail.inbox(OMAR)), len(await found.sms("nia", 2)), found.texts(asked)
        await found.stop_workers()
        found.clock.advance(minutes=59)
        assert await found.board.worker().fire_timers() == 3
        assert len(await found.log_of(asked)) == len(log)
        found.clock.advance(hours=1)
        assert await found.board.worker().fire_timers() == 1
        assert len(await found.log_of(asked)) == len(log)
        assert (len(found.mail.inbox(OMAR)), len(await found.sms("nia", 2)), found.texts(asked)) == sent


STEPS = """
roles = []
persons = ["lena"]
channels = ["slack", "email", "sms"]
escalation = "first"
[escalations.first]
persons = ["nia"]
channels = ["sms"]
after = "40%"
then = "second"
[escalations.second]
persons = ["omar"]
after = "80%"
"""


async def test_one_step_after_the_other_asks_one_person_more_and_all_hear_who_decided(
    redis_url: str, tmp_path: Path
) -> None:
    """AP11: each step once, by its own channel, with three workers; the last one's decision settles every copy."""
    async with office(redis_url, tmp_path, STEPS, workers=3) as found:
        asked, card = await waiting(found)
        assert found.mail.inbox(OMAR) == []
        found.clock.advance(minutes=24)
        (text,) = await found.sms("nia", 1)
        log = await found.settled(asked, lambda log: kinds(log, "request_escalated") == 1 and is_sent(log))
        assert found.mail.inbox(OMAR) == []
        found.clock.advance(minutes=24)
        mail = (await found.mails("omar", 1))[-1]
        log = await found.settled(asked, lambda log: kinds(log, "request_escalated") == 2 and is_sent(log))
        assert [event.step for event in log.events if event.type == "request_escalated"] == [0, 1]
        assert mail.subject == "Approval needed: Deploy v1.4.0 to production"
        assert len([one for one in await found.sms("nia", 1) if one.body.startswith("Approve?")]) == 1

        await found.mail.write(OMAR, "", "", "APPROVE", in_reply_to=mail)
        await found.mail.queue.until_empty()
        log = await found.finished(asked)
        assert "Approved by Omar Haddad" in (await found.sms("nia", 2))[-1].body
        assert "Approved by Omar Haddad" in found.mail.inbox(OMAR)[-1].text
        assert "Approved by Omar Haddad" in found.slack.workspace.message(card.channel, card.ts).text
        await found.twilio.text(NIA, f"YES {code_in(text.body)}")
        log = await found.settled(asked, refusals)
        assert refusals(log) == [("nia", "late")]
        assert len(found.releases()) == 2


async def test_a_step_asks_nobody_twice_and_nobody_who_has_voted(redis_url: str, tmp_path: Path) -> None:
    """AP11: Omar was asked by mail, where the step asks too; Nia has approved already; each is reminded once."""
    policy = (
        'approvals = 2\nlife = "1h"\nescalation = "more"\n'
        '[escalations.more]\nroles = ["approver"]\nchannels = ["email", "sms"]\nafter = "40%"\n'
    )
    async with office(redis_url, tmp_path, policy) as found:
        asked, _ = await waiting(found)
        (text,) = await found.sms("nia", 1)
        await found.twilio.text(NIA, f"YES {code_in(text.body)}")
        await found.settled(asked, lambda log: kinds(log, "decision_made") == 1 and is_sent(log))
        found.clock.advance(minutes=24)
        log = await found.settled(asked, lambda log: kinds(log, "request_escalated") == 1 and is_sent(log))
        (pending,) = log.state.pending
        assert not pending.joined
        texts, mails = len(await found.sms("nia", 1)), len(found.mail.inbox(OMAR))
        found.clock.advance(minutes=6)
        await reminded(found, asked, 1)
        assert len(found.mail.inbox(OMAR)) == mails + 1
        assert len(await found.sms("nia", texts)) == texts


async def test_a_step_over_another_channel_does_not_ask_who_has_voted(redis_url: str, tmp_path: Path) -> None:
    """AP6, AP11: Lena has approved in Slack, so the step that asks all approvers by text leaves her phone alone."""
    people = PEOPLE.replace('slack = "T0ACME/U0LENA"', 'slack = "T0ACME/U0LENA"\nphone = "+12025550102"')
    policy = (
        'approvals = 2\nlife = "1h"\nescalation = "more"\n'
        '[escalations.more]\nroles = ["approver"]\nchannels = ["sms"]\nafter = "40%"\n'
    )
    async with office(redis_url, tmp_path, policy, people=people) as found:
        asked, card = await waiting(found)
        await found.slack.click("lena", card, "approve")
        await found.settled(asked, lambda log: kinds(log, "decision_made") == 1 and is_sent(log))
        found.clock.advance(minutes=24)
        log = await found.settled(asked, lambda log: kinds(log, "request_escalated") == 1 and is_sent(log))
        (pending,) = log.state.pending
        assert not pending.joined
        assert await found.sms("lena", 0) == []


async def test_a_step_does_not_ask_whoever_asked_for_it(redis_url: str, tmp_path: Path) -> None:
    """AP7, AP11: four eyes hold on production, so the step that names Ana too brings in Noor alone."""
    people = (
        PEOPLE.replace('slack = "T0ACME/U0ANA"', 'slack = "T0ACME/U0ANA"\nphone = "+12025550101"')
        + '[people.noor]\nname = "Noor Aziz"\nphone = "+12025550102"\n'
    )
    policy = 'escalation = "more"\n[escalations.more]\npersons = ["ana", "noor"]\nchannels = ["sms"]\nafter = "40%"\n'
    async with office(redis_url, tmp_path, policy, people=people) as found:
        asked, _ = await waiting(found)
        found.clock.advance(minutes=24)
        log = await found.settled(asked, lambda log: kinds(log, "request_escalated") == 1 and is_sent(log))
        (pending,) = log.state.pending
        assert [one.id for one in pending.joined] == ["noor"]
        assert await found.sms("ana", 0) == []


async def test_a_step_that_names_whoever_asked_tells_them(redis_url: str, tmp_path: Path) -> None:
    """AP11: Ana asked; where four eyes are off, she may decide herself after a quarter of the life, and hears of it."""
    policy = (
        'four_eyes = false\nescalation = "self"\nreminders = []\n[escalations.self]\npersons = ["ana"]\nafter = "25%"\n'
    )
    async with office(redis_url, tmp_path, policy) as found:
        asked, card = await waiting(found)
        found.clock.advance(minutes=15)
        log = await found.settled(asked, lambda log: kinds(log, "request_escalated") == 1 and is_sent(log))
        assert log.state.pending[0].copies[-1] == "slack:T0ACME/U0ANA"
        await found.slack.click("ana", card, "approve")
        await found.finished(asked)
        assert len(found.releases()) == 2


async def test_a_tool_may_bring_its_own_reminders_and_escalation(redis_url: str, tmp_path: Path) -> None:
    """AP11: here deploy.toml says them, and no policy file says anything else."""
    async with bench(redis_url, tmp_path, sms=True) as found:
        file = found.sample.deploy_file
        own = 'reminders = ["20%"]\nescalation = [{ after = "40%", ask = ["@lena"], channels = ["sms"] }]\n'
        file.write_text(
            file.read_text().replace("approval_life_seconds = 3600\n", f"approval_life_seconds = 3600\n{own}")
        )
        asked, _ = await waiting(found)
        found.clock.advance(minutes=12)
        log = await found.settled(asked, lambda log: kinds(log, "request_reminded") == 1 and is_sent(log))
        assert [event.share for event in log.events if event.type == "request_reminded"] == [0.2]
        found.clock.advance(minutes=12)
        assert "Approve?" in (await found.sms("lena", 1))[-1].body
        found.clock.advance(minutes=35)
        log = await found.log_of(asked)
        assert (kinds(log, "request_reminded"), kinds(log, "request_escalated")) == (1, 1)


async def test_whoever_is_asked_later_may_decide_only_from_then_on(redis_url: str, tmp_path: Path) -> None:
    """AP7, AP11: Omar sees the card from the beginning; his click counts once the step that names him was taken."""
    people = PEOPLE.replace('mail = "omar@acme.example"', 'slack = "T0ACME/U0OMAR"\nmail = "omar@acme.example"')
    async with office(redis_url, tmp_path, STEPS, people=people) as found:
        asked, card = await waiting(found)
        await found.slack.click("omar", card, "approve")
        found.clock.advance(minutes=24)
        await found.settled(asked, lambda log: kinds(log, "request_escalated") == 1 and is_sent(log))
        await found.slack.click("omar", card, "approve")
        found.clock.advance(minutes=24)
        log = await found.settled(asked, lambda log: kinds(log, "request_escalated") == 2 and is_sent(log))
        assert refusals(log) == [("omar", "role")] * 2
        assert "You cannot decide this" in found.slack.ephemerals("omar")[-1].text
        await found.slack.click("omar", card, "approve")
        await found.finished(asked)
        assert len(found.releases()) == 2


QUIET = PEOPLE.replace(
    'mail = "omar@acme.example"',
    'mail = "omar@acme.example"\ntimezone = "Europe/Berlin"\nquiet_hours = "22:00-10:40"',
)
"""Omar's end forty minutes after the requests here are made: 09:40 UTC."""


async def test_a_copy_waits_for_the_end_of_quiet_hours_and_the_card_in_the_thread_does_not(
    redis_url: str, tmp_path: Path
) -> None:
    """AP11: Omar is asked and reminded after his night; Lena's quiet hours do not keep the thread's card away."""
    people = QUIET.replace('slack = "T0ACME/U0LENA"', 'slack = "T0ACME/U0LENA"\nquiet_hours = "00:00-23:59"')
    async with office(redis_url, tmp_path, people=people) as found:
        asked = await found.slack.say("ana", "#deploys", DEPLOY)
        await found.card(asked)
        log = await found.settled(asked, lambda log: kinds(log, "post_held") == 1)
        (held,) = [event for event in log.events if isinstance(event, PostHeld)]
        assert f"{held.until:%H:%M}" == "09:40"
        found.clock.advance(minutes=39)
        await found.settled(asked, lambda log: kinds(log, "request_reminded") == 1 and nudges(found, asked))
        assert found.mail.inbox(OMAR) == []
        found.clock.advance(minutes=1)
        mails = await found.mails("omar", 2)
        assert [mail.subject[:8] for mail in mails] == ["Approval", "Reminder"]
        await found.mail.write(OMAR, "", "", "APPROVE", in_reply_to=mails[0])
        await found.mail.queue.until_empty()
        await found.finished(asked)
        assert len(found.releases()) == 2


async def test_what_is_decided_meanwhile_never_arrives(redis_url: str, tmp_path: Path) -> None:
    """AP11: nobody wakes up to a request that is settled, nor to the news of how it ended."""
    async with office(redis_url, tmp_path, people=QUIET) as found:
        asked = await found.slack.say("ana", "#deploys", DEPLOY)
        card = await found.card(asked)
        await found.settled(asked, lambda log: kinds(log, "post_held") == 1)
        await found.slack.click("lena", card, "approve")
        await found.finished(asked)
        found.clock.advance(minutes=41)
        await found.stop_workers()
        await found.board.worker().fire_timers()
        assert found.mail.inbox(OMAR) == []


async def test_a_rule_that_wakes_people_does(redis_url: str, tmp_path: Path) -> None:
    """AP11: `wakes = true`."""
    async with office(redis_url, tmp_path, "wakes = true\n", people=QUIET) as found:
        asked, _ = await waiting(found)
        assert len(await found.mails("omar", 1)) == 1
        assert kinds(await found.log_of(asked), "post_held") == 0


NAP = PEOPLE.replace(
    'mail = "omar@acme.example"',
    'mail = "omar@acme.example"\ntimezone = "Europe/Berlin"\nquiet_hours = "10:20-10:40"',
)
"""Omar is asked before they begin, twenty minutes after the requests here are made: 09:20 to 09:40 UTC."""


async def test_a_reminder_waits_for_the_end_of_quiet_hours_too(redis_url: str, tmp_path: Path) -> None:
    """AP11: Omar was asked at 09:00 and is reminded at 09:40, not at 09:30."""
    async with office(redis_url, tmp_path, people=NAP) as found:
        asked, _ = await waiting(found)
        assert len(await found.mails("omar", 1)) == 1
        found.clock.advance(minutes=30)
        await found.settled(asked, lambda log: kinds(log, "post_held") == 1 and nudges(found, asked))
        assert len(found.mail.inbox(OMAR)) == 1
        found.clock.advance(minutes=10)
        assert (await found.mails("omar", 2))[-1].subject.startswith("Reminder: ")


async def test_how_it_ended_is_told_in_quiet_hours_to_who_was_asked_before_them(redis_url: str, tmp_path: Path) -> None:
    """AP11: the copy that Omar has already does not go on asking him."""
    async with office(redis_url, tmp_path, people=NAP) as found:
        asked, card = await waiting(found)
        await found.mails("omar", 1)
        found.clock.advance(minutes=25)
        await found.slack.click("lena", card, "approve")
        log = await found.finished(asked)
        assert kinds(log, "post_held") == 0
        assert "Approved by Lena Vogt" in found.mail.inbox(OMAR)[-1].text


async def test_whoever_writes_in_their_quiet_hours_is_answered(redis_url: str, tmp_path: Path) -> None:
    """AP11: quiet hours keep away what others want; Omar asks himself, and what he is asked back is not held."""
    async with office(redis_url, tmp_path, people=QUIET) as found:
        await found.mail.write(OMAR, BOT_ADDRESS, "deploy v1.4.0", "")
        log = await found.until(lambda log: log.state.pending and is_sent(log))
        assert kinds(log, "post_held") == 0
        assert "Where should v1.4.0 go?" in found.mail.inbox(OMAR)[-1].text


async def test_who_is_brought_in_is_told_aside_of_a_card_that_stood_there_before(
    redis_url: str, tmp_path: Path
) -> None:
    """AP11: Omar could see the card in the channel all the time, and is asked in a direct message of his own."""
    people = PEOPLE.replace('mail = "omar@acme.example"', 'slack = "T0ACME/U0OMAR"')
    async with office(redis_url, tmp_path, STEPS, people=people) as found:
        asked, card = await waiting(found)
        found.clock.advance(minutes=24)
        await found.settled(asked, lambda log: kinds(log, "request_escalated") == 1 and is_sent(log))
        found.clock.advance(minutes=24)
        log = await found.settled(asked, lambda log: kinds(log, "request_escalated") == 2 and is_sent(log))
        (pending,) = log.state.pending
        assert "slack:T0ACME/U0OMAR" in pending.copies
        workspace = found.slack.workspace
        (own,) = [one for one in workspace.messages(workspace.channel("U0OMAR").id) if one.bot_id]
        await found.slack.click("omar", own, "approve")
        await found.finished(asked)
        assert "Approved by Omar Haddad" in workspace.message(card.channel, card.ts).text
