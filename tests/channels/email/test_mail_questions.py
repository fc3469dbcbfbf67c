"""Questions of the agent by mail: what counts as an answer, and what is said to an answer that does not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest
from support import BOT_ADDRESS, Bench, bench

from bot.core.events import DecisionMade, DecisionRefused, MessageReceived
from bot.core.faces import needs_delivery
from bot.core.log import Log
from channels.email.simulator import StoredMail

ANA, LENA = "ana@acme.example", "lena@acme.example"
CITIES = ("Aachen", "Berlin", "Celle <script>")
SCRIPT = f"""
[[rule]]
on = "message"
matches = "words"
call = "request_human_input"
arguments = {{ question = "What shall it be called?", options = {{ format = "free_text" }} }}

[[rule]]
on = "message"
matches = "sure"
call = "request_human_input"
arguments = {{ question = "Are you sure?", options = {{ format = "yes_no" }} }}

[[rule]]
on = "message"
matches = "where"
call = "request_human_input"
arguments = {{ question = "Where to?", options = {{ format = "multiple_choice", choices = {list(CITIES)} }} }}

[[rule]]
on = "answer"
call = "done_for_now"
arguments = {{ message = "You said: {{text}}." }}

[[rule]]
on = "message"
call = "done_for_now"
arguments = {{ message = "I heard: {{text}}." }}
"""


@pytest.fixture
async def post(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, mail=True, workers=0) as found:
        found.board.agents["triage"] = replace(found.board.agents["triage"], script=SCRIPT)
        await found.start_worker()
        yield found


def is_at_rest(log: Log) -> bool:
    """Nothing is left to do or to send before somebody writes."""
    sent = not any(needs_delivery(log.state, one) for one in log.state.posts.values())
    return sent and log.state.heard <= log.state.seen and log.state.status in {"waiting", "finished"}


async def question(post: Bench, text: str) -> StoredMail:
    """Ana writes, and is asked."""
    await post.mail.write(ANA, BOT_ADDRESS, text, "")
    await post.mails("ana", 1)
    await post.until(lambda log: log.state.pending and is_at_rest(log))
    return post.mail.inbox(ANA)[-1]


async def replied(post: Bench, mail: StoredMail, text: str, by: str = ANA, **more: str) -> Log:
    """Somebody answers a mail; the thread once it is at rest again."""
    await post.mail.write(by, "", more.get("subject", ""), text, in_reply_to=mail)
    await post.mail.queue.until_empty()
    return await post.until(is_at_rest)


def answers(log: Log) -> list[str]:
    """What was taken for an answer."""
    return [event.text for event in log.events if isinstance(event, DecisionMade)]


def refused(log: Log) -> list[str]:
    """By which rule an attempt did not count."""
    return [event.rule for event in log.events if isinstance(event, DecisionRefused)]


async def test_an_answer_in_words_is_what_was_written_above_quote_and_signature(post: Bench) -> None:
    """EM14: the log's answer is the reply alone; an empty one is told so, and leaves the question open."""
    mail = await question(post, "words")
    assert "Reply to this mail to answer." in mail.text
    log = await replied(post, mail, "")
    assert (answers(log), refused(log)) == ([], ["ambiguous"])
    (_, receipt) = post.mail.inbox(ANA)
    assert "found no answer in your mail" in receipt.text
    assert receipt.headers["Auto-Submitted"] == "auto-replied"

    log = await replied(
        post, mail, "Project *Nougat*,\nas in Montélimar.\n\n-- \nAna Ruiz\nAcme Corp., +1 202 555 0101"
    )
    assert answers(log) == ["Project *Nougat*,\nas in Montélimar."]
    made = next(event for event in log.events if isinstance(event, DecisionMade))
    assert (made.by.id, made.by.address) == ("ana", f"email:{ANA}")
    assert "You said: Project" in post.mail.inbox(ANA)[-1].text


async def test_what_is_written_below_an_answered_question_is_a_message(post: Bench) -> None:
    """AP5: the question is settled; the next mail below it goes on in the thread and answers nothing."""
    mail = await question(post, "words")
    await replied(post, mail, "Nougat")
    log = await replied(post, mail, "Praline after all")
    assert answers(log) == ["Nougat"]
    assert [event.text for event in log.events if isinstance(event, MessageReceived)][1:] == ["Praline after all"]
    assert "I heard: Praline after all" in post.mail.inbox(ANA)[-1].text
    assert len(await post.threads()) == 1


@pytest.mark.parametrize(
    ("said", "means"), [("2.", "Berlin"), ("(3)", "Celle <script>"), ("berlin!", "Berlin"), ("#1", "Aachen")]
)
async def test_a_choice_is_named_by_its_number_or_its_text(post: Bench, said: str, means: str) -> None:
    """EM11: one line that is a number or a text of the list; the list is numbered, and escaped in the HTML part."""
    mail = await question(post, "where to")
    assert "2. Berlin" in mail.text
    assert "<script>" not in mail.html
    log = await replied(post, mail, f"{said}\n\nThanks")
    assert answers(log) == [means]


async def test_a_choice_that_is_none_is_told_what_there_is_once_an_hour(post: Bench) -> None:
    """EM12, EM16: nothing is chosen, each attempt is on record, one receipt an hour is sent, a reply to it counts."""
    mail = await question(post, "where to")
    for text in ("Paris", "4", "Aachen or Berlin"):
        await replied(post, mail, text)
    log = await replied(post, mail, "1 2")
    assert (answers(log), refused(log)) == ([], ["choice"] * 4)
    (_, receipt) = post.mail.inbox(ANA)
    assert "Please choose one of: Aachen, Berlin, Celle <script>." in receipt.text
    assert "<script>" not in receipt.html

    post.clock.advance(minutes=61)
    log = await replied(post, mail, "Rome")
    assert refused(log) == ["choice"] * 5
    assert len(post.mail.inbox(ANA)) == 3

    log = await replied(post, receipt, "Aachen")
    assert answers(log) == ["Aachen"]


@pytest.mark.parametrize(("said", "means"), [("Ja", "Yes"), ("Nein.", "No"), ("ok", "Yes"), ("no", "No")])
async def test_yes_and_no_are_understood_in_other_words(post: Bench, said: str, means: str) -> None:
    """EM11: a plain question takes the casual words too, because nothing is approved by it."""
    mail = await question(post, "are you sure")
    assert "Reply YES or NO." in mail.text
    log = await replied(post, mail, said)
    assert answers(log) == [means]


async def test_only_whom_the_mail_went_to_can_answer_it_by_reply(post: Bench) -> None:
    """EM9: Lena answers a mail that Ana passed on to her: not taken, and Lena is told whose it is."""
    mail = await question(post, "are you sure")
    log = await replied(post, mail, "yes", by=LENA, subject=mail.subject)
    assert (answers(log), refused(log)) == ([], ["token_owner"])
    (told,) = post.mail.inbox(LENA)
    assert "was sent to Ana Ruiz" in told.text
    assert log.state.pending
