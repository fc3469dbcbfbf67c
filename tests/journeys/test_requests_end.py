"""How requests end: by time, never by time, under the rule they began with, and with everybody told at last."""

from __future__ import annotations

from pathlib import Path

from requesting import OMAR, PRODUCTION, is_sent, office, refusals, requests, waiting
from support import rewrite

from bot.core.context import render_context
from bot.core.events import CallPrepared, CallRefused, PostFailed, RequestOpened
from channels.slack.simulator import ServerError


async def test_nobody_in_time_is_timed_out_for_the_agent_and_everybody(redis_url: str, tmp_path: Path) -> None:
    """AP4: the agent reads that it timed out and is no denial; it says so; a click afterwards changes nothing (AP5)."""
    async with office(redis_url, tmp_path, 'life = "45m"\n') as found:
        asked, card = await waiting(found)
        found.clock.advance(minutes=45)
        log = await found.finished(asked)
        context = "\n".join(render_context(log.thread_id, log.events))
        assert "<timed_out>\nNobody decided in time. That is not a denial.\n</timed_out>" in context
        assert "<denied" not in context
        assert found.texts(asked)[-1].startswith("Nobody decided in time, so nothing was deployed.")
        timed_out = "Timed out: nobody decided. It was not run."
        assert timed_out in found.slack.workspace.message(card.channel, card.ts).text
        assert timed_out in found.mail.inbox(OMAR)[-1].text
        assert timed_out in (await found.sms("nia", 2))[-1].body
        await found.slack.click("lena", card, "approve")
        await found.settled(asked, refusals)
        log = await found.finished(asked)
        assert refusals(log) == [("lena", "late")]
        assert found.slack.ephemerals("lena")[-1].text.startswith("This timed out at 09:45 UTC.")
        assert len(found.releases()) == 1


async def test_what_never_expires_has_no_timers_and_can_be_approved_a_month_later(
    redis_url: str, tmp_path: Path
) -> None:
    """AP4: `life = "never"`: nothing falls due, nobody is reminded, and the card says no end."""
    async with office(redis_url, tmp_path, 'life = "never"\n') as found:
        asked, card = await waiting(found)
        rule = requests(await found.log_of(asked))[-1].rule
        assert rule
        assert (rule.life_seconds, rule.reminders, rule.escalation) == (None, (), ())
        assert "open until" not in str(card.blocks)
        assert "Open until" not in (await found.sms("nia", 1))[0].body
        await found.stop_workers()
        found.clock.advance(days=30)
        assert await found.board.worker().fire_timers() == 0
        await found.start_worker()
        await found.slack.click("lena", card, "approve")
        await found.finished(asked)
        assert len(found.releases()) == 2


async def test_a_request_keeps_the_rule_it_was_opened_with(redis_url: str, tmp_path: Path) -> None:
    """AP10, AP16: the call and the request record what the policy said; a changed file counts for new requests only."""
    steps = (
        'roles = []\npersons = ["lena"]\nlife = "2h"\nescalation = "night"\n'
        '[escalations.night]\npersons = ["nia"]\nchannels = ["sms"]\nafter = "75%"\n'
    )
    async with office(redis_url, tmp_path, steps) as found:
        asked, card = await waiting(found)
        log = await found.log_of(asked)
        (prepared,) = [event.prepared for event in log.events if isinstance(event, CallPrepared)][-1:]
        rule = requests(log)[-1].rule
        assert rule
        assert prepared.ruling.rule == rule
        assert (rule.persons, rule.life_seconds, rule.four_eyes) == (("lena",), 7200, True)
        assert [(one.name, one.after, one.persons, one.channels) for one in rule.escalation] == [
            ("night", 0.75, ("nia",), ("sms",))
        ]

        rewrite(tmp_path / "policy.toml", f'{PRODUCTION}roles = []\npersons = ["omar"]\n')
        found.clock.advance(seconds=1)
        other, other_card = await waiting(found)
        assert [one.id for one in requests(await found.log_of(other))[-1].deciders] == ["omar"]
        await found.slack.click("lena", other_card, "approve")
        log = await found.settled(other, refusals)
        assert refusals(log) == [("lena", "role")]
        await found.slack.click("lena", card, "approve")
        await found.finished(asked)
        assert len(found.releases()) == 2
        assert (await found.log_of(other)).state.pending


async def test_a_broken_policy_file_changes_nothing_for_what_comes(redis_url: str, tmp_path: Path) -> None:
    """AP4: an error never approves: the policies of before hold while the file is being edited."""
    async with office(redis_url, tmp_path, 'roles = []\npersons = ["lena"]\n') as found:
        rewrite(tmp_path / "policy.toml", "[[policies]]\ntool = ")
        asked, card = await waiting(found)
        assert [one.id for one in requests(await found.log_of(asked))[-1].deciders] == ["lena"]
        await found.slack.click("lena", card, "approve")
        await found.finished(asked)
        assert len(found.releases()) == 2


async def test_what_fell_due_while_nothing_ran_is_told_as_it_ended(redis_url: str, tmp_path: Path) -> None:
    """AP4, AP11: two hours later reminders and expiry are due at once: it has timed out, and nobody is nudged."""
    async with office(redis_url, tmp_path) as found:
        asked, _ = await waiting(found)
        before = len(found.mail.inbox(OMAR))
        await found.stop_workers()
        found.clock.advance(hours=2)
        assert await found.board.worker().fire_timers() == 3
        await found.start_worker()
        log = await found.finished(asked)
        assert [one.status for one in log.state.requests.values()] == ["expired"]
        assert "Timed out: nobody decided" in found.mail.inbox(OMAR)[-1].text
        assert not [mail for mail in found.mail.inbox(OMAR)[before:] if mail.subject.startswith("Reminder")]


async def test_what_was_approved_in_time_does_not_run_after_its_end(redis_url: str, tmp_path: Path) -> None:
    """AP3, AP4: Lena approves while no worker runs; one comes back when the approval is over, and nothing runs."""
    async with office(redis_url, tmp_path) as found:
        asked, card = await waiting(found)
        await found.stop_workers()
        await found.slack.click("lena", card, "approve")
        found.clock.advance(hours=1)
        await found.start_worker()
        log = await found.finished(asked)
        (refused,) = [event for event in log.events if isinstance(event, CallRefused)]
        assert refused.why == "The approval ran out before this could run. It was not run."
        assert len(found.releases()) == 1
        assert "It was not run" in found.slack.workspace.message(card.channel, card.ts).text


async def test_whoever_could_not_be_told_is_told_later(redis_url: str, tmp_path: Path) -> None:
    """AP11: Slack takes no update, mail and Twilio are down: it runs, and each copy is settled afterwards."""
    async with office(redis_url, tmp_path) as found:
        asked, card = await waiting(found)
        found.slack.faults.script("chat.update", ServerError(500))
        await found.mail.go_down()
        for _ in range(20):
            found.twilio.fail_next(20500, 503)
        await found.slack.click("lena", card, "approve")
        log = await found.settled(asked, lambda log: log.state.run == "finished" and not is_sent(log))
        assert len(found.releases()) == 2
        assert "approve" in found.slack.card_actions(found.slack.workspace.message(card.channel, card.ts))
        assert len(found.mail.inbox(OMAR)) == 1

        # A restart in the middle of it forgets nothing.
        await found.stop_workers()
        await found.mail.come_back()
        found.twilio.rest.faults.clear()
        await found.start_worker()
        found.clock.advance(minutes=6)
        log = await found.finished(asked)
        settled = found.slack.workspace.message(card.channel, card.ts)
        assert "Approved by Lena Vogt" in settled.text
        assert not found.slack.card_actions(settled)
        assert "Approved by Lena Vogt" in found.mail.inbox(OMAR)[-1].text
        assert "Approved by Lena Vogt" in (await found.sms("nia", 2))[-1].body
        assert {event.post_id for event in log.events if isinstance(event, PostFailed)} >= {
            f"{log.thread_id}:{seq}:{n}"
            for seq, event in enumerate(log.events, 1)
            if isinstance(event, RequestOpened)
            for n in range(3)
        }
        assert len(found.releases()) == 2
