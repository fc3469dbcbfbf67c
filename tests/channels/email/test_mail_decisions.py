"""What a reply to an approval says: a line that is a decision decides, anything else is asked about once an hour."""

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
        file = found.sample.deploy_file
        file.write_text(file.read_text().replace("approval_life_seconds = 3600", "approval_life_seconds = 86400"))
        yield found


def is_at_rest(log: Log) -> bool:
    """Nothing is left to do or to send before somebody writes."""
    sent = not any(needs_delivery(log.state, one) for one in log.state.posts.values())
    return sent and log.state.heard <= log.state.seen and log.state.status in {"waiting", "finished"}


async def asked(post: Bench, person: str = "lena") -> StoredMail:
    """Ana wants a deploy; the mail that this person gets about it."""
    await post.mail.write(ANA, BOT_ADDRESS, "Release", "deploy v1.4.0 to production")
    for one in ("ana", "lena", "omar"):
        await post.mails(one, 1)
    await post.until(is_at_rest)
    return post.mail.inbox(f"{person}@acme.example")[-1]


async def replied(post: Bench, mail: StoredMail, text: str, *, by: str = LENA, subject: str = "") -> Log:
    """Somebody answers a mail; the thread once it is at rest again."""
    await post.mail.write(by, "", subject, text, in_reply_to=mail)
    await post.mail.queue.until_empty()
    return await post.until(is_at_rest)


def made(log: Log) -> list[tuple[str, str]]:
    """Who decided what."""
    return [(event.by.id, event.verdict) for event in log.events if isinstance(event, DecisionMade)]


def refused(log: Log) -> list[str]:
    """By which rule an attempt did not count."""
    return [event.rule for event in log.events if isinstance(event, DecisionRefused)]


async def test_the_reason_of_a_denial_reaches_the_agent_and_whoever_asked(post: Bench) -> None:
    """EM11, AP12: the lines below DENY, without signature and quote, are the reason; nothing runs."""
    mail = await asked(post)
    log = await replied(post, mail, "Deny!\n\nnot before the audit,\nsorry\n\n-- \nLena Vogt")
    (decision,) = [event for event in log.events if isinstance(event, DecisionMade)]
    assert (decision.verdict, decision.text) == ("deny", "not before the audit,\nsorry")
    assert "Lena Vogt said no: “not before the audit" in post.mail.inbox(ANA)[-1].text
    assert "Denied by Lena Vogt" in post.mail.inbox(OMAR)[-1].text
    assert len(post.releases()) == 1


async def test_a_denial_that_names_another_release_gets_that_one_proposed(post: Bench) -> None:
    """AP12: the agent reads the reason and asks anew; Lena shaped it, so only Omar is asked (AP7)."""
    mail = await asked(post)
    log = await replied(post, mail, "no\nplease take v1.3.1 instead")
    assert [one.status for one in log.state.requests.values()] == ["denied", "pending"]
    anew = post.mail.inbox(OMAR)[-1]
    assert anew.subject.endswith("v1.3.1 to production") or anew.subject.endswith("v1.3.1 on production")
    assert not any("v1.3.1" in one.subject for one in post.mail.inbox(LENA))
    await replied(post, anew, "approve", by=OMAR)
    await post.over()
    assert post.releases()[-1].split()[2] == "v1.3.1"


@pytest.mark.parametrize("said", ["APPROVE", "approved.", "LGTM", "Ja!", "  yes  \n\nGood luck", "*Approve*"])
async def test_a_line_that_says_nothing_else_approves(post: Bench, said: str) -> None:
    """EM11: whole line, whatever its case and punctuation, in several languages."""
    log = await replied(post, await asked(post), said)
    assert made(log) == [("lena", "approve")]
    await post.over()
    assert len(post.releases()) == 2


async def test_what_is_not_unmistakable_changes_nothing_and_is_told_once_an_hour(post: Bench) -> None:
    """EM12, EM13, EM16: each is on record; one receipt an hour asks for APPROVE or DENY; a reply to it counts."""
    mail = await asked(post)
    unclear = (
        *("yes but not today", "yes?", "approve staging only", "approve or deny", "ok", "👍", "Yes..."),
        *(
            "",
            "> APPROVE",
            "> APPROVE\n> DENY\n",
            "On Fri, Mar 20, 2026 Switchboard <bot@acme.example> wrote:\nAPPROVE",
        ),
    )
    for text in unclear:
        await replied(post, mail, text)
    log = await post.until(is_at_rest)
    assert refused(log) == ["ambiguous"] * len(unclear)
    assert made(log) == []
    assert log.state.pending
    assert len(post.releases()) == 1
    (_, receipt) = post.mail.inbox(LENA)
    assert "Please reply with exactly APPROVE or DENY" in receipt.text
    assert receipt.headers["Auto-Submitted"] == "auto-replied"
    assert receipt.headers["X-Auto-Response-Suppress"] == "All"
    assert [len(post.mail.inbox(one)) for one in (ANA, OMAR)] == [1, 1]

    post.clock.advance(minutes=61)
    log = await replied(post, mail, "hm")
    assert refused(log) == ["ambiguous"] * (len(unclear) + 1)
    assert len(post.mail.inbox(LENA)) == 3
    # The hour is counted for each person.
    await replied(post, post.mail.inbox(OMAR)[0], "hm", by=OMAR)
    assert len(post.mail.inbox(OMAR)) == 2

    log = await replied(post, post.mail.inbox(LENA)[-1], "APPROVE")
    assert made(log) == [("lena", "approve")]
    await post.over()
    assert len(post.releases()) == 2


async def test_a_forwarded_mail_and_an_attachment_decide_nothing(post: Bench) -> None:
    """EM13: Lena sends the request on to the bot with APPROVE above it, then APPROVE.txt, then a mail in a mail."""
    mail = await asked(post)
    log = await replied(post, mail, "APPROVE", subject=f"Fwd: {mail.subject}")
    assert refused(log) == ["forwarded"]
    await post.until(is_at_rest)
    assert "A mail that is passed on decides nothing." in post.mail.inbox(LENA)[-1].text
    text = f"APPROVE\n\n---------- Forwarded message ---------\nFrom: Switchboard <{BOT_ADDRESS}>\nSubject: x\n\nhello"
    assert refused(await replied(post, mail, text)) == ["forwarded"] * 2

    files = EmailMessage(SMTP)
    files["From"], files["To"], files["Subject"] = f"Lena Vogt <{LENA}>", mail.headers["Reply-To"], "Re: see below"
    files["Message-ID"] = "<with-a-file@acme.example>"
    files.set_content("Here you are.\n")
    files.add_attachment("APPROVE\n", filename="APPROVE.txt")
    await post.mail.submit(files.as_bytes(), mail_from=LENA, rcpt_to=[mail.headers["Reply-To"]])
    del files["Message-ID"]
    files["Message-ID"] = "<with-a-mail@acme.example>"
    files.clear_content()
    files.set_content("APPROVE\n")
    inner = EmailMessage()
    inner.set_content("APPROVE\n")
    files.add_attachment(inner)
    await post.mail.submit(files.as_bytes(), mail_from=LENA, rcpt_to=[mail.headers["Reply-To"]])
    await post.mail.queue.until_empty()
    log = await post.until(is_at_rest)
    assert refused(log) == ["forwarded", "forwarded", "ambiguous", "forwarded"]
    assert made(log) == []
    assert len(post.releases()) == 1


async def test_a_word_of_approval_in_the_thread_gets_a_hint(post: Bench) -> None:
    """AP15: Ana's “ok” to her own note is a message: it approves nothing, and she is told how it is decided."""
    mail = await asked(post, "ana")
    assert mail.subject == "Re: Release"
    assert "Waiting for Lena Vogt or Omar Haddad to approve" in mail.text
    log = await replied(post, mail, "ok", by=ANA)
    assert [event.text for event in log.events if isinstance(event, MessageReceived)][1:] == ["ok"]
    assert (made(log), refused(log)) == ([], [])
    assert "A message in the thread does not decide." in post.mail.inbox(ANA)[-1].text


async def test_who_comes_second_is_told_who_was_first(post: Bench) -> None:
    """AP2, AP5: the late APPROVE, the late DENY and the same person again change nothing; each gets one receipt."""
    lena = await asked(post)
    omar = post.mail.inbox(OMAR)[0]
    post.clock.advance(minutes=7)
    await replied(post, lena, "APPROVE")
    await post.over()
    sent = {one: len(post.mail.inbox(one)) for one in (ANA, LENA, OMAR)}

    await replied(post, omar, "DENY", by=OMAR)
    await replied(post, lena, "APPROVE")
    log = await replied(post, lena, "hm, what happened?")
    assert made(log) == [("lena", "approve")]
    assert refused(log) == ["late"] * 3
    for person in (LENA, OMAR):
        assert len(post.mail.inbox(person)) == sent[person] + 1
        assert "already approved by Lena Vogt at 09:07 UTC" in post.mail.inbox(person)[-1].text
    assert len(post.mail.inbox(ANA)) == sent[ANA]
    assert len(post.releases()) == 2


async def test_after_the_end_of_its_life_an_approval_is_told_that_it_is_late(post: Bench) -> None:
    """AP4, AP5: the request timed out, which is not a denial; APPROVE comes too late and nothing runs."""
    mail = await asked(post)
    post.clock.advance(days=1, seconds=1)
    await post.until(lambda log: log.state.status == "finished")
    log = await replied(post, mail, "APPROVE")
    assert [one.status for one in log.state.requests.values()] == ["expired"]
    assert refused(log) == ["late"]
    assert "timed out" in post.mail.inbox(LENA)[-1].text
    assert len(post.releases()) == 1
