"""Asking first and changing a call on the confirmation page (AP3, AP7, AP13, AP14)."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from markupsafe import escape
from pydantic import BaseModel, ConfigDict
from requesting import is_sent, made, refusals, requests
from support import BOT_ADDRESS, LENA_KEY, Bench, bench

from bot.core.events import CallPrepared, CallRefused, DecisionMade, ToolChosen
from bot.core.log import Log
from bot.core.tokens import link_binds
from bot.core.tool import Tool, ToolContext, ToolResult

ANA, LENA, OMAR = "ana@acme.example", "lena@acme.example", "omar@acme.example"
POLICY = """
[[policies]]
tool = "deploy"
when = { environment = "frozen" }
verdict = "refuse"
why = "Nothing goes to the frozen one."
"""

HOSTILE = "\"'><img src=x onerror=alert(1)><script>alert(2)</script>"
SCRIPT = f"""
[[rule]]
on = "message"
call = "announce"
arguments = {{ text = {json.dumps(HOSTILE)} }}

[[rule]]
on = "result"
call = "done_for_now"
arguments = {{ message = "Done." }}
"""


class Announce(BaseModel):
    """Announce something."""

    model_config = ConfigDict(extra="forbid")
    text: str


@pytest.fixture
async def post(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    async with bench(redis_url, tmp_path, mail=True, policy_file=policy) as found:
        file = found.sample.deploy_file
        staging = re.search(r"(?s)\[environments\.staging\].*?\n\n", file.read_text())
        assert staging
        file.write_text(f"{file.read_text()}\n{staging[0].replace('staging', 'frozen')}")
        yield found


async def waiting(post: Bench, count: int = 1) -> Log:
    """The thread, once its newest request, of so many, waits and everybody was asked."""
    return await post.until(lambda log: len(requests(log)) == count and log.state.pending and is_sent(log))


def link(post: Bench, person: str) -> str:
    """The path of the link in the newest mail that asks this person."""
    asks = [mail for mail in post.mail.inbox(f"{person}@acme.example") if "/decide/" in mail.text]
    found = re.search(r"http://bot\.test(/decide/\S+)", asks[-1].text)
    assert found
    return found[1]


async def asked(post: Bench) -> str:
    """Ana wants a deploy; Lena's link."""
    await post.mail.write(ANA, BOT_ADDRESS, "Release", "deploy v1.4.0 to production")
    await waiting(post)
    return link(post, "lena")


def change(**arguments: str) -> dict[str, str]:
    """What the form sends."""
    typed = {"reference": "v1.4.0", "environment": "production", **arguments}
    return {"verdict": "edit", **{f"argument:{name}": value for name, value in typed.items()}}


async def test_a_question_closes_the_request_and_a_new_mail_brings_question_and_answer(post: Bench) -> None:
    """The link of before shows what became of it; the new mail's link may approve: who asks has changed nothing."""
    path = await asked(post)
    question = {"verdict": "ask", "text": "Is there a <b>migration</b> in it?"}
    pressed = await post.http.post(path, data=question, follow_redirects=True)
    assert "Lena Vogt asks: Is there a &lt;b&gt;migration&lt;/b&gt; in it?" in pressed.text
    assert "<button" not in pressed.text
    log = await waiting(post, 2)
    assert made(log) == [("lena", "ask")]
    for person in ("lena", "omar"):
        text = post.mail.inbox(f"{person}@acme.example")[-1].text
        assert "Lena Vogt asks: Is there a <b>migration</b> in it?" in text
        assert "The agent answers: I am a script and cannot know." in text
    newer = link(post, "lena")
    assert newer != path
    page = await post.http.get(newer)
    assert "The agent answers: I am a script" in page.text
    assert "<b>migration" not in page.text
    late = await post.http.post(path, data={"verdict": "approve"})  # its one use is over
    assert late.status_code == 409
    assert "Lena Vogt asks: Is there a &lt;b&gt;migration" in late.text
    assert "<button" not in late.text
    assert len(post.releases()) == 1
    assert (await post.http.post(newer, data={"verdict": "approve"})).status_code == 303
    log = await post.over()
    assert (made(log), len(post.releases())) == ([("lena", "ask"), ("lena", "approve")], 2)
    assert refusals(log) == [("lena", "late")]


async def test_a_question_without_words_is_none(post: Bench) -> None:
    """422, and the link is as good as before."""
    path = await asked(post)
    answer = await post.http.post(path, data={"verdict": "ask", "text": "  \n "})
    assert answer.status_code == 422
    assert "write your question before you ask" in answer.text
    assert (await post.http.post(path, data={"verdict": "approve"})).status_code == 303
    await post.over()
    assert len(post.releases()) == 2


async def test_what_was_changed_is_put_to_the_others_and_all_three_stand_in_the_log(post: Bench) -> None:
    """AP13, AP7: proposed, approved and effective arguments; the new mail shows the change; its editor gets none."""
    path = await asked(post)
    page = await post.http.get(path)
    assert dict(re.findall(r"name=\"argument:(\w+)\"[^>]*>\n?([^<]*)<", page.text)) == {
        "reference": "v1.4.0", "environment": "production",
    }  # fmt: skip
    mails = len(post.mail.inbox(LENA))
    assert (await post.http.post(path, data=change(reference="v1.3.1"))).status_code == 303
    log = await waiting(post, 2)
    first, second = requests(log)
    assert second.digest != first.digest
    assert (second.proposed, second.edited_by) == (
        {"reference": "v1.4.0", "environment": "production"}, "Lena Vogt",
    )  # fmt: skip
    assert (second.requesters, [one.id for one in second.deciders]) == (("ana", "lena"), ["omar"])
    # Lena hears that the request is over, and is not asked about what she made of it.
    assert not [mail for mail in post.mail.inbox(LENA)[mails:] if "/decide/" in mail.text]
    await post.mail.write(LENA, "", "", "APPROVE", in_reply_to=post.mail.inbox(LENA)[0])
    await post.mail.queue.until_empty()
    log = await post.until(refusals)
    assert refusals(log) == [("lena", "late")]
    text = post.mail.inbox(OMAR)[-1].text
    assert "reference: v1.4.0 → v1.3.1" in text

    page = await post.http.get(link(post, "omar"))
    assert "Changed by Lena Vogt" in page.text
    assert (await post.http.post(link(post, "omar"), data={"verdict": "approve"})).status_code == 303
    log = await post.over()
    proposed = [event.arguments for event in log.events if isinstance(event, ToolChosen) and event.tool == "deploy"]
    assert proposed == [{"reference": "v1.4.0", "environment": "production"}]
    edit, approval = [event for event in log.events if isinstance(event, DecisionMade)]
    assert edit.arguments == {"reference": "v1.3.1", "environment": "production"}
    assert (edit.digest, approval.digest) == (first.digest, second.digest)
    effective = [event.prepared.arguments for event in log.events if isinstance(event, CallPrepared)][-1]
    assert effective["reference"] == "v1.3.1"
    assert post.releases()[-1].split()[1:3] == [effective["commit"], "v1.3.1"]


async def test_the_editor_may_not_approve_it_in_another_way(post: Bench) -> None:
    """AP7: Lena gets no link to what she changed; with her own key of the API she is refused, and Omar is named."""
    path = await asked(post)
    await post.http.post(path, data=change(reference="v1.3.1"))
    log = await waiting(post, 2)
    there = f"/api/threads/{log.thread_id}/requests/{requests(log)[1].id}/response"
    headers = {"Authorization": f"Bearer {LENA_KEY}"}
    answer = await post.http.post(there, json={"decision": "approve"}, headers=headers)
    assert answer.status_code == 403
    assert "somebody else has to approve it. Omar Haddad can." in answer.text
    log = await waiting(post, 2)
    assert refusals(log) == [("lena", "four_eyes")]
    assert len(post.releases()) == 1


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (change(environment=""), "environment: String should have at least 1 character"),
        (change(reference="v" * 201), "reference: String should have at most 200 characters"),
        ({**change(), "argument:<i>force": "true"}, "there is no argument called <i>force"),
        (change(), "nothing was changed"),
        ({"verdict": "edit"}, "nothing was changed"),
    ],
    ids=["empty", "too long", "unknown", "as it was", "no fields"],
)
async def test_a_change_that_is_none_or_cannot_run_burns_nothing(post: Bench, data: dict[str, str], says: str) -> None:
    """AP13, AP16: 422 with the reason; it is noted once, and the same link still approves what was proposed."""
    path = await asked(post)
    await waiting(post)
    assert "<i>" not in (await post.http.post(path, data=data)).text
    answer = await post.http.post(path, data=data)
    assert answer.status_code == 422
    assert f"Nothing was decided: {says}" in unescape(answer.text)
    assert (await post.http.post(path, data={"verdict": "approve"})).status_code == 303
    log = await post.over()
    assert (refusals(log), made(log)) == ([("lena", "arguments")], [("lena", "approve")])
    assert post.releases()[-1].split()[2] == "v1.4.0"


async def test_a_hostile_argument_is_shown_as_it_is(redis_url: str, tmp_path: Path) -> None:
    """AP14: HTML in what was proposed and in what it was changed to is text: in the form, on the page, in the mail."""
    ran: list[str] = []

    async def run(announce: Announce, context: ToolContext) -> ToolResult:
        del context
        ran.append(announce.text)
        return ToolResult("announced")

    tool = Tool("announce", Announce, run, writes=True, recovery="ask")
    async with bench(redis_url, tmp_path, mail=True, workers=0) as post:
        post.board.agents["triage"] = replace(post.board.agents["triage"], tools=(tool,), script=SCRIPT)
        await post.start_worker()
        await post.mail.write(ANA, BOT_ADDRESS, "announce", "")
        await waiting(post)
        path = link(post, "lena")
        page = (await post.http.get(path)).text
        assert re.findall(r'name="argument:text"[^>]*>\n?([^<]*)<', page) == [escape(HOSTILE)]
        worse = f"{HOSTILE}</dd></dl><form><button name=verdict value=approve>"
        assert (await post.http.post(path, data={"verdict": "edit", "argument:text": worse})).status_code == 303
        await waiting(post, 2)
        shown = (await post.http.get(link(post, "omar"))).text
        for html in (page, shown, post.mail.inbox(OMAR)[-1].html):
            assert "<img" not in html
            assert "<script" not in html
            assert "onerror" in html
        assert shown.count('value="approve"') == 1
        await post.http.post(link(post, "omar"), data={"verdict": "approve"})
        await post.over()
        assert ran == [worse]


async def test_a_change_is_ruled_anew_and_runs_where_nobody_has_to_approve(post: Bench) -> None:
    """AP13: staging takes no approval, so what Lena made of it runs at once, and nothing runs on production."""
    path = await asked(post)
    await post.http.post(path, data=change(environment="staging"))
    log = await post.over()
    assert (len(requests(log)), made(log)) == (1, [("lena", "edit")])
    verdicts = [event.prepared.ruling.verdict for event in log.events if isinstance(event, CallPrepared)]
    assert verdicts == ["approve", "run"]
    assert (len(post.releases("staging")), len(post.releases())) == (2, 1)
    assert "v1.4.0 (7624a6f) runs on staging" in post.mail.inbox(ANA)[-1].text
    assert "Lena Vogt changed it. It was not run." in post.mail.inbox(OMAR)[-1].text


async def test_a_change_to_what_the_policy_refuses_does_not_run(post: Bench) -> None:
    """AP13: the file says no to that environment: nothing ran, and the call waits as it was, with the reason on it."""
    path = await asked(post)
    await post.http.post(path, data=change(environment="frozen"))
    log = await post.until(lambda log: len(requests(log)) == 2 and log.state.pending and is_sent(log))
    assert [event.why for event in log.events if isinstance(event, CallRefused)] == ["Nothing goes to the frozen one."]
    first, second = requests(log)
    assert (second.digest, second.proposed, second.edited_by) == (first.digest, None, "")
    for person in (LENA, OMAR):
        told = " ".join(" ".join(one.text for one in post.mail.inbox(person)).replace("|", " ").split())
        assert "changed it to what cannot be run: Nothing goes to the frozen one. So it is as it was before." in told
    assert len(post.releases()) == 1


async def test_a_typo_in_a_change_leaves_the_call_as_it_was(post: Bench) -> None:
    """AP13: there is no such release; the request is made again for the same call, and can be approved."""
    path = await asked(post)
    await post.http.post(path, data=change(reference="v9.9"))
    log = await post.until(lambda log: len(requests(log)) == 2 and log.state.pending and is_sent(log))
    assert "changed it to what cannot be run" in requests(log)[1].context
    assert "v9.9" in requests(log)[1].context
    told = next(one for one in reversed(post.mail.inbox(OMAR)) if "Approval needed" in one.subject)
    again = re.search(r"http://bot\.test(/decide/\S+)", told.text)
    assert again
    await post.http.post(again[1], data={"verdict": "approve"})
    await post.over()
    assert post.releases()[-1].split()[2] == "v1.4.0"
    assert len(post.releases()) == 2


async def test_only_who_could_approve_may_change_it(post: Bench) -> None:
    """AP7, AP13: Ana, who asked, is offered no form, and what she sends all the same is refused."""
    await asked(post)
    log = await waiting(post)
    card = next(one for one in log.state.posts.values() if one.to == f"email:{ANA}")
    asking = log.asking(card.id)
    assert asking
    binds = link_binds("ana", requests(log)[0].digest)
    path = f"/decide/{post.board.tokens.make('decide', card.id, f'email:{ANA}', asking.at, binds=binds)}"
    assert "argument:" not in (await post.http.get(path)).text
    answer = await post.http.post(path, data=change(environment="staging"))
    assert answer.status_code == 409
    log = await waiting(post)
    assert refusals(log) == [("ana", "role")]
    assert len(post.releases("staging")) == 1


async def test_who_may_not_change_it_is_told_that_first(post: Bench) -> None:
    """AP7, AP16: Ana sends what no schema takes; on record is that she has no role, not what is wrong with it."""
    await asked(post)
    log = await waiting(post)
    card = next(one for one in log.state.posts.values() if one.to == f"email:{ANA}")
    asking = log.asking(card.id)
    assert asking
    binds = link_binds("ana", requests(log)[0].digest)
    path = f"/decide/{post.board.tokens.make('decide', card.id, f'email:{ANA}', asking.at, binds=binds)}"
    answer = await post.http.post(path, data=change(reference=""))
    assert answer.status_code == 409
    assert "it takes the role approver" in answer.text
    assert refusals(await waiting(post)) == [("ana", "role")]
