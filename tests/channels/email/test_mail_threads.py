"""Which thread a mail belongs to: by its token, by the mails above it, and never by what anybody can write into it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest
from support import BOT_ADDRESS, Bench, bench

from bot.core.events import DecisionMade, DecisionRefused, MessageReceived
from bot.core.faces import needs_delivery
from bot.core.log import Log
from channels.email.simulator import StoredMail

ANA, LENA, OMAR = "ana@acme.example", "lena@acme.example", "omar@acme.example"


@pytest.fixture
async def post(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, mail=True) as found:
        yield found


async def taken(post: Bench) -> Log:
    """The newest thread, once every mail is in and all that follows from it is done."""
    await post.mail.queue.until_empty()
    return await post.until(is_at_rest)


def is_at_rest(log: Log) -> bool:
    """Nothing is left to do or to send before somebody writes."""
    sent = not any(needs_delivery(log.state, one) for one in log.state.posts.values())
    return sent and log.state.heard <= log.state.seen and log.state.status in {"waiting", "finished"}


async def asked(post: Bench, subject: str = "Release") -> StoredMail:
    """Ana wants a deploy; the mail that asks Lena."""
    await post.mail.write(ANA, BOT_ADDRESS, subject, "deploy v1.4.0 to production")
    (mail,) = await post.mails("lena", 1)
    await taken(post)
    return mail


def said(log: Log) -> list[str]:
    """What people wrote to the thread."""
    return [event.text for event in log.events if isinstance(event, MessageReceived)]


def verdicts(log: Log) -> list[str]:
    """Of the decisions that counted."""
    return [event.verdict for event in log.events if isinstance(event, DecisionMade)]


async def test_a_conversation_by_mail_is_one_thread_with_one_subject_and_a_whole_chain(post: Bench) -> None:
    """EM7, EM10: a mail launches, a reply to the answer continues by its token; `Re:` stands once, the chain grows."""
    first = await post.mail.write(ANA, BOT_ADDRESS, "Re: AW: re: What runs", "what is on production?")
    (answer,) = await post.mails("ana", 1)
    assert answer.subject == "Re: What runs"
    assert answer.headers["In-Reply-To"] == first
    assert answer.headers["References"] == first
    local, _, domain = answer.headers["Reply-To"].partition("@")
    assert (local[:4], len(local) <= 64, domain) == ("bot+", True, "acme.example")
    assert local == local.lower()
    await taken(post)

    second = await post.mail.write(ANA, "", "", "and what is on staging?", in_reply_to=answer)
    (_, again) = await post.mails("ana", 2)
    assert again.subject == "Re: What runs"
    assert again.headers["In-Reply-To"] == second
    assert again.headers["References"].split() == [first, answer.message_id, second]
    assert "staging runs" in again.text
    log = await taken(post)
    assert len(await post.threads()) == 1
    assert said(log) == ["What runs\n\nwhat is on production?", "and what is on staging?"]
    assert [event.source for event in log.events if isinstance(event, MessageReceived)] == [first, second]


async def test_a_reply_whose_address_lost_its_token_is_known_by_its_references(post: Bench) -> None:
    """EM8: To names the bare address only; the mail that it replies to carries the token in its id."""
    mail = await asked(post)
    await post.mail.write(LENA, BOT_ADDRESS, "", "APPROVE", in_reply_to=mail)
    log = await post.over()
    assert verdicts(log) == ["approve"]
    assert len(await post.threads()) == 1


async def test_a_token_counts_in_upper_case(post: Bench) -> None:
    """EM7: servers on the way may change the case of an address."""
    mail = await asked(post)
    reply_to = mail.headers["Reply-To"]
    shouted = f"{reply_to.partition('@')[0].upper()}@{reply_to.partition('@')[2]}"
    assert shouted != reply_to
    headers = {"References": "<none@acme.example>", "In-Reply-To": "<none@acme.example>"}
    await post.mail.write(LENA, shouted, "Re: whatever", "APPROVE", headers=headers)
    log = await post.over()
    assert verdicts(log) == ["approve"]
    assert len(post.releases()) == 2


async def test_without_a_token_the_mails_above_tell_the_thread_and_decide_nothing(post: Bench) -> None:
    """EM8, AP15: a follow-up to one's own mail, and a reply-all to somebody else's, are messages to that thread."""
    first = await post.mail.write(ANA, BOT_ADDRESS, "Release", "deploy v1.4.0 to production")
    await post.mails("lena", 1)
    await taken(post)
    second = await post.mail.write(ANA, BOT_ADDRESS, "Re: Release", "It is urgent.", headers={"In-Reply-To": first})
    await taken(post)

    reply_all = EmailMessage(SMTP)
    reply_all["From"], reply_all["To"], reply_all["Cc"] = f"Omar Haddad <{OMAR}>", ANA, BOT_ADDRESS
    reply_all["Subject"], reply_all["Message-ID"] = "Re: Release", "<reply-all.1@acme.example>"
    reply_all["In-Reply-To"], reply_all["References"] = second, f"{first} {second}"
    reply_all.set_content("APPROVE\n")
    await post.mail.submit(reply_all.as_bytes(), mail_from=OMAR, rcpt_to=[ANA, BOT_ADDRESS])
    log = await taken(post)

    assert len(await post.threads()) == 1
    assert said(log)[1:] == ["It is urgent.", "APPROVE"]
    assert [event.by.id for event in log.events if isinstance(event, MessageReceived)] == ["ana", "ana", "omar"]
    assert verdicts(log) == []
    assert log.state.pending
    (_, hint) = await post.mails("omar", 2)
    assert "does not decide" in hint.text
    assert len(post.releases()) == 1


async def test_what_a_subject_says_authorises_nothing(post: Bench) -> None:
    """EM8: neither the number of a thread or a request nor a token in a subject makes a mail a reply."""
    mail = await asked(post)
    before = await taken(post)
    token = mail.headers["Reply-To"].partition("+")[2].partition("@")[0]
    request_id = before.state.pending[0].request.id
    subject = (
        f"Re: {mail.subject} [{before.thread_id}] [{request_id}] bot+{token}@acme.example <{token}.0@acme.example>"
    )
    await post.mail.write(LENA, BOT_ADDRESS, subject, "APPROVE")
    await post.mail.queue.until_empty()
    assert len(await post.threads()) == 2
    log = await post.store.logs.load(before.thread_id)
    assert log.events == before.events
    assert len(post.releases()) == 1


async def test_a_mail_that_is_sent_again_is_the_same_mail_and_one_decision_counts(post: Bench) -> None:
    """EM10, EM22: the answer after DATA is lost, so each mail goes out twice with one id; one reply decides."""
    await post.stop_workers()
    await post.mail.write(ANA, BOT_ADDRESS, "Release", "deploy v1.4.0 to production")
    await post.mail.queue.until_empty()
    post.mail.faults.lose_answer_after_data(3)
    await post.start_worker()
    (once,) = await post.mails("lena", 1)
    await post.until(lambda log: len([one for one in log.state.posts.values() if one.blocked]) == 3)
    post.clock.advance(seconds=61)
    for person in ("ana", "lena", "omar"):
        one, again = await post.mails(person, 2)
        assert one.message_id == again.message_id
        assert one.headers["Reply-To"] == again.headers["Reply-To"]
        assert one.text == again.text
    await taken(post)

    for mail in (once, post.mail.inbox(LENA)[1]):
        await post.mail.write(LENA, "", "", "APPROVE", in_reply_to=mail)
        await post.mail.queue.until_empty()
    log = await post.over()
    assert verdicts(log) == ["approve"]
    assert [event.rule for event in log.events if isinstance(event, DecisionRefused)] == ["late"]
    assert len(post.releases()) == 2


async def test_a_mail_after_the_end_goes_on_in_the_same_thread(post: Bench) -> None:
    """EM8: the requester answers below the outcome, and the agent knows what was said before."""
    mail = await asked(post)
    await post.mail.write(LENA, "", "", "DENY", in_reply_to=mail)
    await post.over()
    last = post.mail.inbox(ANA)[-1]
    await post.mail.write(ANA, "", "", "deploy v1.3.1 to staging then", in_reply_to=last)
    await post.until(lambda log: len(log.state.activities) == 2)
    await post.over()
    assert len(await post.threads()) == 1
    assert len(post.releases("staging")) == 2
    assert {one.subject for one in post.mail.inbox(ANA)} == {"Re: Release"}
