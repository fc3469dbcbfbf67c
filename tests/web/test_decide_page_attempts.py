"""What does not count on the confirmation page is on record all the same, and a no is never lost (AP6, AP16, EM20)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
from requesting import PRODUCTION, audited, is_sent, made, refusals, requests
from support import BOT_ADDRESS, PEOPLE, Bench, bench, rewrite

from bot.core.events import DecisionMade, DecisionRefused
from bot.core.log import Log

ANA, LENA, OMAR = "ana@acme.example", "lena@acme.example", "omar@acme.example"
PRESSES = ("approve", "deny", "ask", "edit")


@pytest.fixture
async def post(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    """Two have to approve."""
    (tmp_path / "people.toml").write_text(PEOPLE.read_text())
    (tmp_path / "policy.toml").write_text(f"{PRODUCTION}approvals = 2\n")
    async with bench(
        redis_url, tmp_path, mail=True, people_file=tmp_path / "people.toml", policy_file=tmp_path / "policy.toml"
    ) as found:
        yield found


async def links(post: Bench) -> tuple[str, str]:
    """Ana wants a deploy; the paths of Lena's link and Omar's."""
    await post.mail.write(ANA, BOT_ADDRESS, "Release", "deploy v1.4.0 to production")
    await waiting(post)
    found = [re.search(r"http://bot\.test(/decide/\S+)", post.mail.inbox(one)[-1].text) for one in (LENA, OMAR)]
    lenas, omars = [one[1] for one in found if one]
    return lenas, omars


async def waiting(post: Bench) -> Log:
    """The thread, while its request waits and nothing is left to send."""
    return await post.until(lambda log: log.state.pending and is_sent(log))


def press(button: str) -> dict[str, str]:
    """What the page's form of this button sends."""
    return {
        "approve": {"verdict": "approve"},
        "deny": {"verdict": "deny", "text": "I was wrong, stop"},
        "ask": {"verdict": "ask", "text": "is there a migration in it?"},
        "edit": {"verdict": "edit", "argument:reference": "v1.3.1", "argument:environment": "production"},
    }[button]


def buttons(page: httpx.Response) -> list[str]:
    """What can be pressed."""
    return re.findall(r'<button[^>]* value="([^"]*)"', page.text)


async def test_who_has_approved_may_still_deny_with_the_same_link(post: Bench) -> None:
    """AP6, EM20: one no ends it, also by somebody who has approved: the page offers it, and nothing but that."""
    lenas, omars = await links(post)
    assert (await post.http.post(lenas, data=press("approve"))).status_code == 303
    page = await post.http.get(lenas)
    assert "You have decided with this link, and it counts once. You can still deny." in page.text
    assert buttons(page) == ["deny"]
    assert buttons(await post.http.get(omars)) == list(PRESSES)

    denied = await post.http.post(lenas, data=press("deny"), follow_redirects=True)
    assert "Denied by Lena Vogt" in denied.text
    assert buttons(denied) == []
    log = await post.over()
    assert made(log) == [("lena", "approve"), ("lena", "deny")]
    assert [one.status for one in log.state.requests.values()] == ["denied"]
    assert len(post.releases()) == 1
    assert (await post.http.post(omars, data=press("approve"))).status_code == 409
    assert len(post.releases()) == 1


async def test_an_approval_and_a_no_at_once_never_run_it(post: Bench) -> None:
    """AP2, AP6: Lena presses both, many times, all at the same moment: the no is not swallowed by the approval."""
    lenas, omars = await links(post)
    verdicts = ["deny" if n % 4 == 3 else "approve" for n in range(16)]
    await asyncio.gather(*(post.http.post(lenas, data=press(one)) for one in verdicts))
    log = await post.over()
    assert made(log)[-1] == ("lena", "deny")
    assert made(log) in ([("lena", "approve"), ("lena", "deny")], [("lena", "deny")])
    assert (await post.http.post(omars, data=press("approve"))).status_code == 409
    assert len(post.releases()) == 1


async def test_a_used_link_counts_for_nothing_but_a_no_and_each_try_is_on_record(post: Bench) -> None:
    """EM20, AP16: pressed again and again, an approval stays one; each button is noted once, with its rule."""
    lenas, omars = await links(post)
    assert (await post.http.post(lenas, data=press("approve"))).status_code == 303
    for _ in range(5):
        assert (await post.http.post(lenas, data=press("approve"))).status_code == 303  # the page shows that it counts
        for button in ("ask", "edit"):
            answer = await post.http.post(lenas, data=press(button))
            assert answer.status_code == 409
            assert "You have decided with this link already, and it counts once." in answer.text
            assert "1 of 2 approvals: Lena Vogt" in answer.text
    log = await waiting(post)
    assert made(log) == [("lena", "approve")]
    assert refusals(log) == [("lena", "used")] * 3
    tried = audited(log)
    assert [one.get("verdict") for one in tried] == ["approve", "ask", "edit"]
    for one in tried:
        assert (one.get("address"), one.get("authenticated_by")) == (f"email:{LENA}", "email-link")
        assert (one.get("digest"), one.get("requesters")) == (requests(log)[0].digest, ["ana"])
        assert (one.get("source"), one.get("status")) == ("page", "pending")
    assert len(post.releases()) == 1

    assert (await post.http.post(omars, data=press("approve"))).status_code == 303
    await post.over()
    assert len(post.releases()) == 2


@pytest.mark.parametrize(
    ("data", "verdict", "rule", "says"),
    [
        ({}, "unclear", "incomplete", "please press one of the buttons"),
        ({"verdict": "nonsense"}, "unclear", "incomplete", "please press one of the buttons"),
        ({f"field{n}": "x" for n in range(2_000)}, "unclear", "incomplete", "Max number of fields exceeded"),
        ({"verdict": "ask", "text": " \n "}, "ask", "incomplete", "please write your question before you ask"),
        ({"verdict": "edit"}, "edit", "arguments", "nothing was changed"),
        ({"verdict": "edit", "argument:environment": ""}, "edit", "arguments", "environment: String should have"),
        ({"verdict": "edit", "argument:force": "yes"}, "edit", "arguments", "there is no argument called force"),
    ],
    ids=["nothing", "no button", "a flood", "no question", "no change", "invalid", "unknown"],
)
async def test_a_press_that_is_none_is_on_record_once(
    post: Bench, data: dict[str, str], verdict: str, rule: str, says: str
) -> None:
    """AP16, EM20: 422 and what is missing, as often as it is tried; one record; the link is as good as before."""
    lenas, _ = await links(post)
    for _ in range(3):
        answer = await post.http.post(lenas, data=data)
        assert answer.status_code == 422
        assert f"Nothing was decided: {says}" in answer.text
    log = await waiting(post)
    (tried,) = audited(log)
    assert (tried.get("who", {}).get("id"), tried.get("verdict"), tried.get("rule")) == ("lena", verdict, rule)
    (event,) = [one for one in log.events if isinstance(one, DecisionRefused)]
    assert not event.receipt
    assert (await post.http.post(lenas, data=press("approve"))).status_code == 303


async def test_who_may_not_decide_cannot_fill_the_log(post: Bench, tmp_path: Path) -> None:
    """AP16: Lena lost her role and presses everything, over and over: a record for each button; with it, she counts."""
    lenas, _ = await links(post)
    file = tmp_path / "people.toml"
    people = file.read_text()
    lena = 'name = "Lena Vogt"\nroles = '
    rewrite(file, people.replace(f'{lena}["engineer", "approver"]', f"{lena}[]"))
    for _ in range(10):
        answers = [await post.http.post(lenas, data=press(button)) for button in PRESSES]
        assert {one.status_code for one in answers} == {409}
        assert all("it takes the role approver" in one.text for one in answers)
    log = await waiting(post)
    assert [one.get("verdict") for one in audited(log)] == list(PRESSES)
    assert refusals(log) == [("lena", "role")] * 4
    rewrite(file, people)
    assert (await post.http.post(lenas, data=press("approve"))).status_code == 303
    assert made(await waiting(post)) == [("lena", "approve")]


async def test_what_comes_late_is_on_record_once_for_each_button(post: Bench) -> None:
    """AP5, AP16: after the end nothing counts, a no neither; each is told what became of it."""
    lenas, omars = await links(post)
    await post.http.post(omars, data=press("deny"))
    await post.over()
    for _ in range(4):
        for button in ("approve", "deny", "ask"):
            answer = await post.http.post(lenas, data=press(button))
            assert answer.status_code == 409
            assert "already denied by Omar Haddad at 09:00 UTC" in answer.text
    log = await post.over()
    assert (made(log), refusals(log)) == ([("omar", "deny")], [("lena", "late")] * 3)


async def test_opening_the_page_is_no_attempt(post: Bench) -> None:
    """EM20, AP16: of an open request, of one that the link has counted for, of one that is over: no record."""
    lenas, omars = await links(post)
    for path, button in ((lenas, "approve"), (omars, "deny")):
        await post.http.post(path, data=press(button))
        for _ in range(5):
            assert (await post.http.get(f"{lenas}?verdict=deny")).status_code == 200
            assert (await post.http.head(omars)).status_code == 200
    log = await post.over()
    assert (made(log), refusals(log)) == ([("lena", "approve"), ("omar", "deny")], [])


async def test_a_double_click_is_one_decision_and_at_most_one_further_record_of_its_kind(post: Bench) -> None:
    """AP2, EM20: many of the same press in one moment: one vote, however they overlap, and then no more records."""
    lenas, _ = await links(post)
    answers = await asyncio.gather(*(post.http.post(lenas, data=press("approve")) for _ in range(12)))
    assert {one.status_code for one in answers} == {303}
    log = await waiting(post)
    assert [event.by.id for event in log.events if isinstance(event, DecisionMade)] == ["lena"]
    tried = refusals(log)
    assert set(tried) <= {("lena", "used"), ("lena", "twice")}
    assert tried.count(("lena", "used")) <= 1
    for _ in range(3):
        await post.http.post(lenas, data=press("approve"))
    assert refusals(await waiting(post)).count(("lena", "used")) == 1
