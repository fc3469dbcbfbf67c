"""The confirmation page (EM20): opening it does nothing, a person's press counts once, and it shows what is so."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs
from support import BOT_ADDRESS, PEOPLE, Bench, bench, rewrite

from bot.core.events import DecisionMade, DecisionRefused, RequestOpened, event_to_json
from bot.core.faces import needs_delivery
from bot.core.log import Log
from bot.core.tokens import link_binds

ANA, LENA, OMAR = "ana@acme.example", "lena@acme.example", "omar@acme.example"


@pytest.fixture
def people_file(tmp_path: Path) -> Path:
    file = tmp_path / "people.toml"
    file.write_text(PEOPLE.read_text())
    return file


@pytest.fixture
async def post(redis_url: str, tmp_path: Path, people_file: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, mail=True, people_file=people_file) as found:
        yield found


def role_of(people_file: Path, name: str, before: str, after: str) -> None:
    """Change what somebody may do, from now on."""
    roles = f'name = "{name}"\nroles = '
    rewrite(people_file, people_file.read_text().replace(f"{roles}{before}", f"{roles}{after}"))


def is_at_rest(log: Log) -> bool:
    """Nothing is left to do or to send before somebody decides."""
    sent = not any(needs_delivery(log.state, one) for one in log.state.posts.values())
    return sent and log.state.heard <= log.state.seen and log.state.status in {"waiting", "finished"}


async def link(post: Bench, person: str = "lena", text: str = "deploy v1.4.0 to production") -> str:
    """Ana writes; the path of the link in the mail that this person gets about it."""
    await post.mail.write(ANA, BOT_ADDRESS, "Release", text)
    await post.mail.queue.until_empty()
    await post.until(lambda log: log.state.pending and is_at_rest(log))
    return link_in(post, person)


def link_in(post: Bench, person: str) -> str:
    """The path of the link in this person's newest mail."""
    text = post.mail.inbox(f"{person}@acme.example")[-1].text
    found = re.search(r"http://bot\.test(/decide/\S+)", text)
    assert found, text
    return found[1]


def attempts(log: Log) -> list[DecisionMade | DecisionRefused]:
    """Every attempt to decide, in order."""
    return [event for event in log.events if isinstance(event, DecisionMade | DecisionRefused)]


def buttons(page: httpx.Response) -> list[str]:
    """What can be pressed."""
    return re.findall(r'<button[^>]* value="([^"]*)"', page.text)


async def test_opening_it_does_nothing_however_often(post: Bench) -> None:
    """EM20: a storm of GET and HEAD, all at once, leaves the log as it is, and the link as good as before."""
    path = await link(post)
    before = await post.until(is_at_rest)
    answers = await asyncio.gather(
        *(post.http.request("HEAD" if n % 3 == 0 else "GET", path) for n in range(300)),
        *(post.http.get(f"{path}?verdict=approve") for _ in range(10)),
    )
    assert {one.status_code for one in answers} == {200}
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert (await post.http.request(method, path)).status_code == 405
    after = await post.store.logs.load(before.thread_id)
    assert after.events == before.events
    assert len(post.releases()) == 1

    pressed = await post.http.post(path, data={"verdict": "approve"})
    assert (pressed.status_code, pressed.headers["Location"]) == (303, path)
    log = await post.over()
    assert [event.type for event in attempts(log)] == ["decision_made"]
    assert len(post.releases()) == 2


async def test_its_answers_are_kept_nowhere_and_it_needs_no_scripts(post: Bench) -> None:
    """EM20: headers of the page before and after, and of the redirects; no script, nothing that submits by itself."""
    path = await link(post)
    shown = await post.http.get(path)
    pressed = await post.http.post(path, data={"verdict": "deny"})
    again = await post.http.get(path)
    for answer in (shown, pressed, again, await post.http.post(path, data={"verdict": "approve"})):
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Robots-Tag"] == "noindex"
    for page in (shown, again):
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'nonce-")
        assert "script-src" not in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert not re.search(r"<script|\son\w+=|javascript:|http-equiv|<img|<link|src=", page.text, re.IGNORECASE)
    first, second = (re.findall(r"nonce-([\w-]+)", page.headers["Content-Security-Policy"]) for page in (shown, again))
    assert first != second
    assert "v1.4.0" in shown.text
    assert "Ana Ruiz" in shown.text
    assert "This link is for Lena Vogt" in shown.text
    assert "Open until 2026-03-20 11:00 CET" in shown.text
    assert buttons(shown) == ["approve", "deny", "ask", "edit"]


async def test_a_second_press_shows_the_outcome(post: Bench) -> None:
    """EM20, AP2, AP16: pressed twenty times at once with both buttons, and again: one decision, and what came late."""
    path = await link(post)
    verdicts = ["approve" if n % 2 else "deny" for n in range(20)]
    answers = await asyncio.gather(*(post.http.post(path, data={"verdict": one}) for one in verdicts))
    assert {one.status_code for one in answers} <= {303, 409}
    log = await post.over()
    made, *late = attempts(log)
    assert isinstance(made, DecisionMade)
    assert {(one.type, one.rule) for one in late if isinstance(one, DecisionRefused)} <= {("decision_refused", "late")}
    assert not [one for one in late if isinstance(one, DecisionMade)]
    assert len(post.releases()) == (2 if made.verdict == "approve" else 1)
    outcome = "Approved by Lena Vogt" if made.verdict == "approve" else "Denied by Lena Vogt"
    for verdict in ("approve", "deny"):
        again = await post.http.post(path, data={"verdict": verdict}, follow_redirects=True)
        assert again.status_code == (200 if verdict == made.verdict else 409)
        assert outcome in again.text
        assert "nothing left to decide" in again.text
        assert "<button" not in again.text
    decided = [one for one in attempts(await post.over()) if isinstance(one, DecisionMade)]
    assert decided == [made]


async def test_two_persons_who_press_at_once_make_one_decision(post: Bench) -> None:
    """AP2: Lena and Omar, each with a link of their own: one transition, and whoever is later reads who was first."""
    paths = await link(post, "lena"), link_in(post, "omar")
    assert paths[0] != paths[1]
    answers = await asyncio.gather(*(post.http.post(one, data={"verdict": "approve"}) for one in paths))
    assert sorted(one.status_code for one in answers) == [303, 409]
    log = await post.over()
    made, refused = attempts(log)
    assert isinstance(refused, DecisionRefused)
    assert (made.type, refused.rule, refused.receipt) == ("decision_made", "late", False)
    assert {made.by.id, refused.by.id} == {"lena", "omar"}
    (late,) = [one for one in answers if one.status_code == 409]
    assert f"This was already approved by {made.by.name} at 09:00 UTC" in late.text
    assert "<button" not in late.text
    assert len(post.releases()) == 2


async def test_what_was_decided_elsewhere_is_shown(post: Bench) -> None:
    """AP2, AP16: Lena replies by mail; her link and Omar's then show it, and the mail is on record with its proof."""
    path = await link(post)
    others = link_in(post, "omar")
    reply = await post.mail.write(LENA, "", "", "DENY\nnot today", in_reply_to=post.mail.inbox(LENA)[0])
    await post.mail.queue.until_empty()
    log = await post.over()
    for one in (path, others):
        page = await post.http.get(one)
        assert "Denied by Lena Vogt, 09:00 UTC: “not today”" in page.text
        assert "<button" not in page.text
    (made,) = attempts(log)
    assert (made.source, made.by.authenticated_by) == (reply, "dmarc by mx.acme.example")


async def test_a_link_that_is_not_good_says_so(post: Bench) -> None:
    """EM20: wrong, cut, changed, run out, a reply token, another's, of another digest: 404, and nothing is decided."""
    path = await link(post)
    token = path.rpartition("/")[2]
    before = await post.until(is_at_rest)
    opened = next(event for event in before.events if isinstance(event, RequestOpened))
    post_id = next(one.id for one in before.state.posts.values() if one.to == f"email:{LENA}")
    make = post.board.tokens.make
    digest = opened.request.digest
    assert make("decide", post_id, f"email:{LENA}", opened.at, binds=link_binds("lena", digest)) == token
    bad = (
        *("x", token[:-1], f"{token}a", "a" * 45, f"{'b' if token[0] == 'a' else 'a'}{token[1:]}", "%00" * 45),
        f"{token[:-3]}{'abc' if token[-3:] != 'abc' else 'cba'}",
        *(f"{token[:n]}{'a' if token[n] != 'a' else 'b'}{token[n + 1 :]}" for n in (22, 26, 30, 40)),
        make("reply", post_id, f"email:{LENA}", opened.at),
        make("decide", post_id, f"email:{OMAR}", opened.at, binds=link_binds("omar", digest)),
        make("decide", post_id, f"email:{LENA}", opened.at, binds=link_binds("omar", digest)),
        make("decide", post_id, f"email:{LENA}", opened.at, binds=link_binds("lena", "0" * 64)),
        make("decide", f"{before.thread_id}:1:0", f"email:{LENA}", opened.at, binds=link_binds("lena", digest)),
        post.mail.inbox(LENA)[0].headers["Reply-To"].partition("+")[2].partition("@")[0],
    )
    for one in bad:
        for answer in (await post.http.get(f"/decide/{one}"), await post.http.post(f"/decide/{one}")):
            assert answer.status_code == 404, one
            assert "not valid, or it has run out" in answer.text
    kept = await post.refused("page")  # AP16: once for each minute, because anybody can do it
    assert [(one.rule, one.address) for one in kept] == [("link", "page:")]
    assert not any(token[:20] in one.model_dump_json() for one in kept)
    assert (await post.http.get(f"/decide/{token.upper()}")).status_code == 200
    assert (await post.store.logs.load(before.thread_id)).events == before.events
    post.clock.advance(days=91)
    assert (await post.http.get(path)).status_code == 404


async def test_what_is_no_choice_or_too_much_is_not_taken(post: Bench) -> None:
    """EM20, AP16: no button, an unknown one, a body without end: nothing is decided, and that it was tried stands."""
    path = await link(post)
    for data in ({}, {"verdict": "yes"}, {"text": "approve"}, {"verdict": ""}, {"verdict": ["approve", "deny"]}):
        answer = await post.http.post(path, data=data)
        assert answer.status_code == 422
        assert "Nothing was decided: " in answer.text
        assert "please press one of the buttons" in answer.text
    assert (await post.http.post(path, content=b"verdict=approve&text=" + b"x" * 33_000)).status_code == 413
    (tried,) = attempts(await post.until(is_at_rest))
    assert isinstance(tried, DecisionRefused)
    assert (tried.by.id, tried.verdict, tried.rule) == ("lena", "unclear", "incomplete")


async def test_what_was_withdrawn_or_ran_out_meanwhile_has_no_button(post: Bench) -> None:
    """AP3, AP4, AP5: a new wish supersedes the request; an hour later the new one has timed out. Both say so."""
    path = await link(post)
    await post.mail.write(ANA, "", "", "sorry, deploy v1.3.1 to production", in_reply_to=post.mail.inbox(ANA)[0])
    await post.until(lambda log: len(log.state.requests) == 2 and is_at_rest(log))
    page = await post.http.get(path)
    assert "Withdrawn: the plan changed" in page.text
    assert "<button" not in page.text
    late = await post.http.post(path, data={"verdict": "approve"})
    assert late.status_code == 409
    assert "because the plan changed" in late.text

    newer = link_in(post, "lena")
    assert newer != path
    post.clock.advance(minutes=61)
    await post.until(lambda log: log.state.status == "finished")
    page = await post.http.get(newer)
    assert "Timed out: nobody decided. It was not run." in page.text
    assert "<button" not in page.text
    assert (await post.http.post(newer, data={"verdict": "approve"})).status_code == 409
    assert len(post.releases()) == 1


async def test_it_shows_why_somebody_cannot_decide(post: Bench, people_file: Path) -> None:
    """AP7: Ana's own link offers only to take it back; Lena, no approver any more, is offered nothing."""
    path = await link(post)
    log = await post.until(is_at_rest)
    opened = next(event for event in log.events if isinstance(event, RequestOpened))
    card = next(one.id for one in log.state.posts.values() if one.to == f"email:{ANA}")
    binds = link_binds("ana", opened.request.digest)
    token = post.board.tokens.make("decide", card, f"email:{ANA}", opened.at, binds=binds)
    role_of(people_file, "Ana Ruiz", '["engineer"]', '["approver"]')
    page = await post.http.get(f"/decide/{token}")
    assert "You asked for this, so somebody else has to approve it. Lena Vogt or Omar Haddad can." in page.text
    assert buttons(page) == ["deny", "ask"]
    assert (await post.http.post(f"/decide/{token}", data={"verdict": "approve"})).status_code == 409

    role_of(people_file, "Lena Vogt", '["engineer", "approver"]', "[]")
    page = await post.http.get(path)
    assert page.text.count("it takes the role approver") == 1
    assert "<button" not in page.text
    (tried,) = attempts(await post.until(is_at_rest))
    assert isinstance(tried, DecisionRefused)
    assert (tried.by.id, tried.rule) == ("ana", "four_eyes")


async def test_a_reason_is_recorded_and_no_token_gets_into_log_or_logs(post: Bench) -> None:
    """AP12, AP16: who denied, over which address, why; neither the thread nor the process's own log holds a token."""
    with capture_logs() as logs:
        path = await link(post)
        await post.http.get(path)
        await post.http.post(path, data={"verdict": "deny", "text": "  <b>no</b>\nnot now  "})
        await post.http.post(path, data={"verdict": "approve"})
        await post.http.post(link_in(post, "omar"), data={"verdict": "approve"})
        log = await post.over()
    made, again, refused = attempts(log)
    assert isinstance(made, DecisionMade)
    assert isinstance(again, DecisionRefused)
    assert (again.by, again.verdict, again.rule, again.source) == (made.by, "approve", "late", "page")
    assert (made.verdict, made.text, made.source) == ("deny", "<b>no</b>\nnot now", "page")
    assert (made.by.id, made.by.address, made.by.authenticated_by) == ("lena", f"email:{LENA}", "email-link")
    assert len(made.digest) == 64
    assert refused.by.authenticated_by == "email-link"
    page = await post.http.get(path)
    assert "<b>no" not in page.text
    assert "&lt;b&gt;no&lt;/b&gt;" in page.text
    told = "\n".join((*map(event_to_json, log.events), *map(str, logs)))
    assert [one["outcome"] for one in logs if one["event"] == "page_decision"] == [
        "decision_made", "decision_refused", "decision_refused",
    ]  # fmt: skip
    assert path.rpartition("/")[2][-20:] not in told
