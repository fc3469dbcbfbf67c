"""Mail that does not get through: addresses that are gone, servers that are away, logins that are refused."""

from __future__ import annotations

import re
from pathlib import Path

from structlog.testing import capture_logs
from support import BOT_ADDRESS, PEOPLE, PHONES, Bench, bench

from bot.core.events import DecisionMade
from bot.core.faces import needs_delivery
from bot.core.log import Log
from bot.testing import wait_until
from channels.email.simulator.reception import Security

ANA, LENA, OMAR = "ana@acme.example", "lena@acme.example", "omar@acme.example"
OLD = "lena.old@acme.example"
"""No mailbox."""


def without_slack(tmp_path: Path, *, lena: str = LENA) -> Path:
    """The people file, where nobody has an address in Slack."""
    file = tmp_path / "people.toml"
    lines = PEOPLE.read_text().replace(LENA, lena).splitlines()
    file.write_text("\n".join(line for line in lines if not line.startswith("slack")))
    return file


def is_at_rest(log: Log) -> bool:
    """Nothing is left to do or to send before somebody writes."""
    sent = not any(needs_delivery(log.state, one) for one in log.state.posts.values())
    return sent and log.state.heard <= log.state.seen and log.state.status in {"waiting", "finished"}


async def asked(post: Bench, *people: str) -> Log:
    """Ana wants a deploy, and these people have mail about it."""
    await post.mail.write(ANA, BOT_ADDRESS, "Release", "deploy v1.4.0 to production")
    for person in people:
        await post.mails(person, 1)
    return await post.until(lambda log: log.state.pending and is_at_rest(log))


async def launched_unseen(post: Bench) -> None:
    """Ana's mail is in, and no worker has looked at it yet."""
    await post.stop_workers()
    await post.mail.write(ANA, BOT_ADDRESS, "Release", "deploy v1.4.0 to production")
    await post.mail.queue.until_empty()


async def approves_by_text(post: Bench, body: str) -> Log:
    """Lena decides with the code that she was sent."""
    code = re.search(r"YES (\d{6})", body)
    assert code, body
    await post.twilio.text(PHONES["lena"], f"YES {code[1]}")
    return await post.over()


def decided_at(log: Log) -> list[str]:
    """From which addresses it was decided."""
    return [event.by.address for event in log.events if isinstance(event, DecisionMade)]


async def test_a_request_whose_mail_comes_back_goes_on_by_text(redis_url: str, tmp_path: Path) -> None:
    """EM17: 4.x.x changes nothing; 5.x.x turns Lena's address off, she gets a text, and decides with its code."""
    people = without_slack(tmp_path)
    async with bench(redis_url, tmp_path, mail=True, sms=True, people_file=people) as post:
        before = await asked(post, "ana", "lena", "omar")
        (mail,) = post.mail.inbox(LENA)
        await post.mail.send_back(mail, status="4.4.7", why="451 4.4.7 Delayed")
        await post.mail.queue.until_empty()
        assert await post.store.addresses.why_off(f"email:{LENA}") is None
        assert (await post.until(is_at_rest)).events == before.events

        with capture_logs() as logs:
            await post.mail.send_back(mail)
            (text,) = await post.sms("lena", 1)
        assert [one["address"] for one in logs if one["event"] == "address_bounced"] == [f"email:{LENA}"]
        assert "5.1.1" in (await post.store.addresses.why_off(f"email:{LENA}") or "")
        assert "Deploy v1.4.0 to production" in text.body
        assert [len(post.mail.inbox(one)) for one in (ANA, OMAR)] == [1, 1]

        log = await approves_by_text(post, text.body)
        assert decided_at(log) == [f"sms:{PHONES['lena']}"]
        assert len(post.releases()) == 2
        assert post.mail.inbox(LENA) == []
        # Asked again, she is reached by text at once.
        post.clock.advance(minutes=1)
        await post.mail.write(ANA, BOT_ADDRESS, "Once more", "deploy v1.3.1 to production")
        assert "v1.3.1" in (await post.sms("lena", 3))[-1].body
        assert post.mail.inbox(LENA) == []


async def test_a_request_whose_mail_comes_back_goes_on_in_slack(redis_url: str, tmp_path: Path) -> None:
    """EM17, AP11: without phones Lena is asked in a direct message, and her click counts for the mail's request."""
    async with bench(redis_url, tmp_path, mail=True) as post:
        await asked(post, "ana", "lena", "omar")
        await post.mail.send_back(post.mail.inbox(LENA)[0])
        await post.mail.queue.until_empty()
        await post.until(is_at_rest)
        direct = post.slack.workspace.messages("U0LENA")[-1]
        await post.slack.click("lena", direct, "approve")
        log = await post.over()
        assert decided_at(log) == ["slack:T0ACME/U0LENA"]
        assert "Approved by Lena Vogt" in post.mail.inbox(OMAR)[-1].text
        assert len(post.releases()) == 2


async def test_a_mailbox_that_the_server_does_not_know_is_left_for_another_channel(
    redis_url: str, tmp_path: Path
) -> None:
    """EM17, EM22: 550 5.1.1 at RCPT: the text goes out by itself, and the request is decided there."""
    people = without_slack(tmp_path, lena=OLD)
    async with bench(redis_url, tmp_path, mail=True, sms=True, people_file=people) as post:
        await post.mail.write(ANA, BOT_ADDRESS, "Release", "deploy v1.4.0 to production")
        await post.until(lambda log: any(one.blocked for one in log.state.posts.values()))
        assert "recipient: 550 5.1.1" in (await post.store.addresses.why_off(f"email:{OLD}") or "")
        post.clock.advance(seconds=2)
        (text,) = await post.sms("lena", 1)
        log = await approves_by_text(post, text.body)
        assert decided_at(log) == [f"sms:{PHONES['lena']}"]
        assert len(post.releases()) == 2


async def test_an_approver_who_cannot_be_reached_at_all_is_named_and_the_request_stays_open(
    redis_url: str, tmp_path: Path
) -> None:
    """EM17, AP4: there is no other way to Lena; Ana is told so, and Omar's approval still counts."""
    people = without_slack(tmp_path, lena=OLD)
    async with bench(redis_url, tmp_path, mail=True, people_file=people) as post:
        await post.mail.write(ANA, BOT_ADDRESS, "Release", "deploy v1.4.0 to production")
        await wait_until(lambda: any("cannot reach" in one.text for one in post.mail.inbox(ANA)))
        assert f"I cannot reach {OLD}, who may decide this" in post.mail.inbox(ANA)[-1].text
        (mail,) = await post.mails("omar", 1)
        await post.mail.write(OMAR, "", "", "APPROVE", in_reply_to=mail)
        await post.until(lambda log: log.state.run == "finished")
        assert len(post.releases()) == 2


async def test_what_a_server_puts_off_and_what_it_has_no_answer_for_is_sent_later(
    redis_url: str, tmp_path: Path
) -> None:
    """EM22: 451, a refused sender's connection, and nobody there: nothing is lost, and the deploy does not wait."""
    async with bench(redis_url, tmp_path, mail=True) as post:
        await launched_unseen(post)
        post.mail.faults.fail_next(451, "4.7.1 Greylisted", 2, at="rcpt")
        post.mail.faults.fail_next(452, "4.3.1 Disk full", at="data")
        await post.start_worker()
        await post.until(lambda log: [one.blocked for one in log.state.posts.values()] == [True] * 3)
        assert sum(len(post.mail.inbox(one)) for one in (ANA, LENA, OMAR)) == 0
        post.clock.advance(seconds=61)
        (mail,) = await post.mails("lena", 1)
        await post.until(is_at_rest)

        await post.stop_workers()
        await post.mail.write(LENA, "", "", "APPROVE", in_reply_to=mail)
        await post.mail.queue.until_empty()
        await post.mail.go_down()
        await post.start_worker()
        log = await post.until(lambda log: log.state.run == "finished")
        assert len(post.releases()) == 2
        before = len(post.mail.inbox(ANA))
        await post.until(is_at_rest)

        await post.mail.come_back()
        post.clock.advance(seconds=301)
        log = await post.until(lambda log: not log.state.posts)
        assert len(post.mail.inbox(ANA)) > before
        assert "runs on production" in post.mail.inbox(ANA)[-1].text
        assert "Approved by Lena Vogt" in post.mail.inbox(OMAR)[-1].text
        assert len(decided_at(log)) == 1


async def test_a_refused_login_stops_the_channel_and_says_so(redis_url: str, tmp_path: Path) -> None:
    """EM22: 535: one alert, nothing is tried for a quarter of an hour, and then everything goes out."""
    async with bench(redis_url, tmp_path, mail=True, smtp_username="bot", smtp_password="old") as post:
        post.mail.security = Security(password="new")
        with capture_logs() as logs:
            await launched_unseen(post)
            before = post.mail.connections
            await post.start_worker()
            log = await post.until(lambda log: [one.blocked for one in log.state.posts.values()] == [True] * 3)
        stopped = [one for one in logs if one["event"] == "email_channel_stopped"]
        assert [(one["log_level"], one["code"]) for one in stopped] == [("error", 535)]
        assert post.mail.connections == before + 1
        assert log.state.pending
        assert "old" not in str(logs)
        post.mail.security = Security(password="old")
        post.clock.advance(seconds=901)
        for person in ("ana", "lena", "omar"):
            await post.mails(person, 1)
