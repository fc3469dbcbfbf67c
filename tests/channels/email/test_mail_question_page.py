"""Questions that are answered on the confirmation page, which a mail links to."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest
from support import BOT_ADDRESS, Bench, bench

from bot.core.events import DecisionMade
from bot.core.faces import needs_delivery
from bot.core.log import Log

ANA = "ana@acme.example"
SCRIPT = """
[[rule]]
on = "message"
matches = "words"
call = "request_human_input"
arguments = { question = "What <script>alert(1)</script> & why?", context = "<b>bold</b>" }

[[rule]]
on = "message"
matches = "where"
call = "request_human_input"
arguments = { question = "Where to?", options = { format = "multiple_choice", choices = ["Aachen", "<script>\\"&'"] } }

[[rule]]
on = "answer"
call = "done_for_now"
arguments = { message = "You said: {text}." }
"""


@pytest.fixture
async def asking(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, mail=True, workers=0) as found:
        found.board.agents["triage"] = replace(found.board.agents["triage"], script=SCRIPT)
        await found.start_worker()
        yield found


def is_at_rest(log: Log) -> bool:
    """Nothing is left to do or to send before somebody decides."""
    sent = not any(needs_delivery(log.state, one) for one in log.state.posts.values())
    return sent and log.state.heard <= log.state.seen and log.state.status in {"waiting", "finished"}


async def link(asking: Bench, text: str) -> str:
    """Ana writes, and is asked; the path of the link in that mail."""
    await asking.mail.write(ANA, BOT_ADDRESS, text, "")
    await asking.mail.queue.until_empty()
    await asking.until(lambda log: log.state.pending and is_at_rest(log))
    found = re.search(r"http://bot\.test(/decide/\S+)", asking.mail.inbox(ANA)[-1].text)
    assert found
    return found[1]


def made_in(log: Log) -> list[DecisionMade]:
    """The decisions that counted."""
    return [event for event in log.events if isinstance(event, DecisionMade)]


async def test_a_question_in_words_is_answered_on_the_page(asking: Bench) -> None:
    """EM20, EM23: hostile text is escaped; an empty answer is asked for again; the answer goes to the agent."""
    path = await link(asking, "words")
    page = await asking.http.get(path)
    assert "What &lt;script&gt;alert(1)&lt;/script&gt; &amp; why?" in page.text
    assert "<script" not in page.text
    assert "<b>bold" not in page.text
    for empty in ("", " \n "):
        assert (await asking.http.post(path, data={"text": empty})).status_code == 422
    assert (await asking.http.post(path, data={"verdict": "approve"})).status_code == 422
    assert (await asking.http.post(path, data={"text": " Nougat\n"})).status_code == 303
    log = await asking.over()
    (made,) = made_in(log)
    assert (made.verdict, made.text, made.by.id) == ("answer", "Nougat", "ana")
    assert "You said: Nougat." in asking.mail.inbox(ANA)[-1].text
    assert "Ana Ruiz answered, 09:00 UTC: “Nougat”" in (await asking.http.get(path)).text


async def test_a_choice_is_pressed_on_the_page(asking: Bench) -> None:
    """EM20, EM23: a button for each choice, its text escaped; the button says which one, and nothing else is taken."""
    path = await link(asking, "where to")
    page = await asking.http.get(path)
    buttons = re.findall(r'<button[^>]* name="choice" value="(\d)"[^>]*>([^<]*)<', page.text)
    assert buttons == [("0", "Aachen"), ("1", "&lt;script&gt;&#34;&amp;&#39;")]
    for wrong in ({"text": "Paris"}, {"choice": "2"}, {"choice": "-1"}, {"choice": "²"}, {"choice": "0" * 30}, {}):
        assert (await asking.http.post(path, data=wrong)).status_code == 422
    assert (await asking.http.post(path, data={"choice": "1"})).status_code == 303
    (made,) = made_in(await asking.over())
    assert made.text == "<script>\"&'"
