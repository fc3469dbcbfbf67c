"""What people ask the bot itself by mail: one mail back, below theirs, without a thread, without a model."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import pytest
from support import BOT_ADDRESS, PEOPLE, Bench, bench

from bot.testing import wait_until
from channels.email.simulator import StoredMail

ANA, LENA, OMAR, EVE = (f"{one}@acme.example" for one in ("ana", "lena", "omar", "eve"))


@pytest.fixture
async def post(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, mail=True) as found:
        yield found


async def handed_over(post: Bench) -> None:
    """Until the bot has taken every mail, and has sent what it had to say."""
    await wait_until(lambda: not post.mail.waiting())
    desk = post.board.desks.email
    assert desk
    await desk.close()


async def asked(post: Bench) -> StoredMail:
    """Ana wants a deploy; this is what Lena is asked with."""
    await post.mail.write(ANA, BOT_ADDRESS, "Release", "deploy v1.4.0 to production")
    (mail,) = await post.mails("lena", 1)
    await post.mails("ana", 1)
    return mail


@pytest.mark.parametrize(
    ("subject", "body", "expected"),
    [
        ("help", "", "Decide by replying to the mail that asks you"),
        ("Question", "Help!", "- deploy: Everything about releases"),
        ("", "pending", "Nothing waits for you"),
        ("hello", "status\n\n-- \nAna Ruiz\nAcme", "You have no threads with me lately."),
        ("cancel", "cancel", "Nothing of yours runs"),
        ("Who?", "whoami", "You are Ana Ruiz (ana). Roles: engineer."),
    ],
)
async def test_each_command_is_answered_with_one_mail(post: Bench, subject: str, body: str, expected: str) -> None:
    """EM10, EM16: below theirs, as an automatic reply; a subject alone counts, a signature does not."""
    message_id = await post.mail.write(ANA, BOT_ADDRESS, subject, body)
    (answer,) = await post.mails("ana", 1)
    await handed_over(post)
    assert expected in " ".join(answer.text.split())
    assert answer.headers["In-Reply-To"] == message_id
    assert answer.headers["Auto-Submitted"] == "auto-replied"
    assert answer.headers["Subject"] == (f"Re: {subject}" if subject else "Re: (no subject)")
    assert len(post.mail.inbox(ANA)) == 1
    assert await post.threads() == []


@pytest.mark.parametrize(
    ("subject", "body"), [("help me deploy", ""), ("Release", "help me deploy"), ("help", "deploy v9")]
)
async def test_what_says_more_than_the_word_is_for_an_agent(post: Bench, subject: str, body: str) -> None:
    """The body is the message; its subject alone is one only where there is no body."""
    await post.mail.write(ANA, BOT_ADDRESS, subject, body)
    await post.until(lambda log: any(event.type == "tool_chosen" for event in log.events))
    assert not any("Alone in a message" in mail.text for mail in post.mail.inbox(ANA))


async def test_pending_says_which_mail_to_answer(post: Bench) -> None:
    """AP7, EM13: Lena is told where hers is; Ana waits; a reply that asks it decides nothing."""
    mail = await asked(post)
    log = await post.until(lambda log: log.state.pending)
    await post.mail.write(LENA, "", "", "pending", in_reply_to=mail)
    answer = " ".join((await post.mails("lena", 2))[-1].text.split())
    assert "1 request for you to decide: - Deploy v1.4.0 to production (approval, asked for by Ana Ruiz" in answer
    assert f"reply to my mail to {LENA} about it, with APPROVE or DENY as the first line" in answer
    assert not re.search(r"\b\d{6}\b|/decide/", answer)
    await post.mail.write(ANA, BOT_ADDRESS, "pending", "")
    theirs = " ".join((await post.mails("ana", 2))[-1].text.split())
    assert "You wait for: - Deploy v1.4.0 to production" in theirs
    await handed_over(post)
    (after,) = await post.threads()
    assert [one for one in after.events if one.type.startswith("decision")] == []
    assert after.thread_id == log.thread_id


async def test_status_below_a_mail_of_the_thread_and_elsewhere(post: Bench) -> None:
    """EM8: the thread is the one that the mail replies to; who was only asked may ask too."""
    mail = await asked(post)
    log = await post.until(lambda log: log.state.pending)
    await post.mail.write(LENA, "", "", "Status?", in_reply_to=mail)
    assert "Waiting for Lena Vogt or Omar Haddad to approve" in (await post.mails("lena", 2))[-1].text
    await post.mail.write(ANA, "", "", "status", in_reply_to=post.mail.inbox(ANA)[0])
    assert "Waiting for Lena Vogt or Omar Haddad to approve" in (await post.mails("ana", 2))[-1].text
    await post.mail.write(ANA, BOT_ADDRESS, "status", "")
    listed = " ".join((await post.mails("ana", 3))[-1].text.split())
    assert f"Your last threads: - {log.thread_id[:9]} “Release deploy v1.4.0 to production”" in listed


async def test_status_below_somebody_else_s_mail_tells_nothing_of_their_thread(post: Bench) -> None:
    """AP8: Omar has no part in what Ana asked, and was asked nothing; all he hears of is his own."""
    await post.mail.write(ANA, BOT_ADDRESS, "What runs?", "what is on production?")
    log = await post.over()
    await handed_over(post)
    await post.mail.write(OMAR, BOT_ADDRESS, "Re: What runs?", "status", in_reply_to=post.mail.inbox(ANA)[-1])
    await handed_over(post)
    (answer,) = post.mail.inbox(OMAR)
    assert "You have no threads with me lately." in answer.text
    assert log.thread_id[:9] not in answer.text


async def test_cancel_below_a_mail_of_the_thread(post: Bench) -> None:
    """Whoever asked ends it; the thread itself says so, in one mail."""
    await asked(post)
    await post.mail.write(ANA, "", "", "Cancel", in_reply_to=post.mail.inbox(ANA)[0])
    log = await post.until(lambda log: log.state.run == "cancelled" and not log.state.posts)
    assert [event.type for event in log.events].count("cancelled") == 1
    await handed_over(post)
    told = [mail for mail in post.mail.inbox(ANA) if "Cancelled by Ana Ruiz" in mail.text]
    assert len(told) == 1
    assert len(post.releases()) == 1


async def test_an_id_ends_a_thread_from_anywhere_for_who_may_decide_it(post: Bench) -> None:
    """Omar, who may decide what waits, writes a new mail."""
    await asked(post)
    log = await post.until(lambda log: log.state.pending)
    await post.mail.write(OMAR, BOT_ADDRESS, "stop", f"cancel {log.thread_id[:9]}")
    await post.until(lambda log: log.state.run == "cancelled")
    await handed_over(post)
    assert any(f"Cancelled thread {log.thread_id[:9]}." in mail.text for mail in post.mail.inbox(OMAR))


async def test_a_forged_mail_gets_no_answer_of_a_command(post: Bench) -> None:
    """EM18: whoever is named as the sender most likely did not write it."""
    raw = (
        f"From: {LENA}\r\nTo: {BOT_ADDRESS}\r\nSubject: x\r\nMessage-ID: <forged.1@elsewhere.example>\r\n"
        "Content-Type: text/plain\r\n\r\npending\r\n"
    ).encode()
    await post.mail.submit(raw, mail_from=EVE, rcpt_to=[BOT_ADDRESS])
    await handed_over(post)
    assert post.mail.inbox(LENA) == []
    assert {one.rule for one in await post.refused("email")} == {"EM18"}


async def test_an_automatic_mail_gets_no_answer(post: Bench) -> None:
    """EM15: two machines must not write to each other."""
    await post.mail.write(ANA, BOT_ADDRESS, "help", "help", headers={"Auto-Submitted": "auto-replied"})
    await handed_over(post)
    assert post.mail.inbox(ANA) == []


async def test_a_forwarded_mail_is_no_command(post: Bench) -> None:
    """EM13: what was written to somebody else was not said to the bot."""
    await post.mail.write(ANA, BOT_ADDRESS, "Fwd: help", "help")
    log = await post.over()
    assert any(event.type == "tool_chosen" for event in log.events)


async def test_the_same_mail_twice_is_answered_once(post: Bench) -> None:
    """EM3."""
    raw = (
        f"From: {ANA}\r\nTo: {BOT_ADDRESS}\r\nSubject: whoami\r\nMessage-ID: <twice.1@acme.example>\r\n"
        "Content-Type: text/plain\r\n\r\n\r\n"
    ).encode()
    for _ in range(2):
        await post.mail.submit(raw, mail_from=ANA, rcpt_to=[BOT_ADDRESS])
    await handed_over(post)
    await post.mail.write(ANA, BOT_ADDRESS, "help", "")
    await post.mails("ana", 2)
    await handed_over(post)
    assert len(post.mail.inbox(ANA)) == 2


async def test_twenty_an_hour(post: Bench) -> None:
    """EM16: commands have a bound of their own: the 21st is told so, the next is not answered."""
    for _ in range(20):
        await post.store.rates.add(f"commands:email:{ANA}", timedelta(hours=1))
    for _ in range(2):
        await post.mail.write(ANA, BOT_ADDRESS, "help", "")
        await handed_over(post)
    (told,) = post.mail.inbox(ANA)
    assert "more questions than I answer in an hour" in " ".join(told.text.split())


async def test_a_stranger_is_told_how_to_become_known_and_nothing_else(post: Bench) -> None:
    """AP8: `nothing` is how it was."""
    await post.mail.write(EVE, BOT_ADDRESS, "pending", "")
    (answer,) = await post.mails("eve", 1)
    assert "I do not know you" in answer.text
    assert {one.rule for one in await post.refused("email")} == {"stranger"}


async def test_a_stranger_who_may_ask_asks_and_never_decides(redis_url: str, tmp_path: Path) -> None:
    """AP8: an answer to a question of theirs, a refusal to deploy, and no way into threads of others."""
    file = tmp_path / "people.toml"
    file.write_text(PEOPLE.read_text().replace('strangers = "nothing"', 'strangers = "ask"'))
    async with bench(redis_url, tmp_path, mail=True, people_file=file) as found:
        await found.mail.write(EVE, BOT_ADDRESS, "whoami", "")
        (who,) = await found.mails("eve", 1)
        assert f'mail = ["{EVE}"]' in who.text
        await found.mail.write(EVE, BOT_ADDRESS, "what is on production?", "")
        log = await found.over()
        assert log.state.requester is not None
        assert log.state.requester.kind == "unknown"
        assert any("v1.3.2" in mail.text for mail in await found.mails("eve", 2))
        await found.mail.write(EVE, BOT_ADDRESS, "Release", "deploy v1.4.0 to production")
        await found.until(lambda log: log.state.status == "finished" and "Release" in str(log.events[1]))
        assert len(found.releases()) == 1

        mail = await asked(found)
        (before,) = [log for log in await found.threads() if log.state.pending]
        await found.mail.write(EVE, "", "", "APPROVE", in_reply_to=mail)
        await found.mail.write(EVE, "", "", "cancel", in_reply_to=found.mail.inbox(ANA)[0])
        await handed_over(found)
        after = await found.store.logs.load(before.thread_id)
        assert after.state.pending
        assert after.state.run == "working"
        assert [event.type for event in after.events if event.type == "decision_made"] == []
        assert EVE not in str(after.state.steered_by)
