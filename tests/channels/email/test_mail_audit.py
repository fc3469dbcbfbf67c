"""What stays on record of decisions by mail, and that several approvals are those of several persons."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support import BOT_ADDRESS, Bench, bench

from bot.core.events import DecisionMade, DecisionRefused, event_to_json
from bot.core.faces import needs_delivery
from bot.core.log import Log

ANA, LENA, OMAR = "ana@acme.example", "lena@acme.example", "omar@acme.example"


@pytest.fixture
async def post(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, mail=True) as found:
        yield found


def is_at_rest(log: Log) -> bool:
    """Nothing is left to do or to send before somebody writes."""
    sent = not any(needs_delivery(log.state, one) for one in log.state.posts.values())
    return sent and log.state.heard <= log.state.seen and log.state.status in {"waiting", "finished"}


async def ask(post: Bench) -> None:
    """Ana wants a deploy, and everybody has mail about it."""
    await post.mail.write(ANA, BOT_ADDRESS, "Release", "deploy v1.4.0 to production")
    for person in ("ana", "lena", "omar"):
        await post.mails(person, 1)
    await post.until(lambda log: log.state.pending and is_at_rest(log))


async def replied(post: Bench, by: str, text: str) -> Log:
    """Somebody answers the first mail that they got."""
    await post.mail.write(by, "", "", text, in_reply_to=post.mail.inbox(by)[0])
    await post.mail.queue.until_empty()
    return await post.until(is_at_rest)


def needs_two(post: Bench) -> None:
    """From now on a deploy to production takes two approvals."""
    file = post.sample.deploy_file
    file.write_text(file.read_text().replace("approvals = 1", "approvals = 2"))


def link_of(post: Bench, person: str) -> str:
    """The path of the link in the first mail that this person got."""
    found = re.search(r"http://bot\.test(/decide/\S+)", post.mail.inbox(person)[0].text)
    assert found
    return found[1]


def made(log: Log) -> list[str]:
    """Whose decisions counted."""
    return [event.by.id for event in log.events if isinstance(event, DecisionMade)]


def refused(log: Log) -> list[tuple[str, str]]:
    """Whose did not, by which rule."""
    return [(event.by.id, event.rule) for event in log.events if isinstance(event, DecisionRefused)]


async def test_two_approvals_are_those_of_two_persons(post: Bench) -> None:
    """AP6: the first APPROVE counts and waits; the same person again, by mail or on the page, is still one."""
    needs_two(post)
    await ask(post)
    log = await replied(post, LENA, "APPROVE")
    assert made(log) == ["lena"]
    assert log.state.pending
    assert len(post.releases()) == 1
    assert "1 of 2 approvals: Lena Vogt" in post.mail.inbox(ANA)[-1].text

    log = await replied(post, LENA, "APPROVE")
    assert "it needs 1 more person" in post.mail.inbox(LENA)[-1].text
    page = await post.http.get(link_of(post, LENA))
    assert "1 of 2 approvals: Lena Vogt" in page.text
    assert 'value="approve"' not in page.text
    assert (await post.http.post(link_of(post, LENA), data={"verdict": "approve"})).status_code == 409
    log = await post.until(is_at_rest)
    assert refused(log) == [("lena", "twice")] * 2
    assert len(post.releases()) == 1

    await replied(post, OMAR, "APPROVE")
    log = await post.over()
    assert made(log) == ["lena", "omar"]
    assert len(post.releases()) == 2
    assert "Approved by Lena Vogt and Omar Haddad" in post.mail.inbox(ANA)[-2].text


async def test_an_approval_on_the_page_and_one_by_mail_are_two_persons(post: Bench) -> None:
    """AP6: Lena presses the button, her mail then adds nothing, Omar's does."""
    needs_two(post)
    await ask(post)
    assert (await post.http.post(link_of(post, LENA), data={"verdict": "approve"})).status_code == 303
    log = await replied(post, LENA, "APPROVE")
    assert (made(log), refused(log)) == (["lena"], [("lena", "twice")])
    assert log.state.pending
    await replied(post, OMAR, "APPROVE")
    log = await post.over()
    assert made(log) == ["lena", "omar"]
    ways = [event.by.authenticated_by for event in log.events if isinstance(event, DecisionMade)]
    assert ways == ["email-link", "dmarc by mx.acme.example"]
    assert len(post.releases()) == 2


async def test_one_denial_ends_what_somebody_had_approved(post: Bench) -> None:
    """AP6: one of two approved; Omar's DENY is final."""
    needs_two(post)
    await ask(post)
    await replied(post, LENA, "APPROVE")
    await replied(post, OMAR, "DENY")
    log = await post.over()
    assert [one.status for one in log.state.requests.values()] == ["denied"]
    assert len(post.releases()) == 1


async def test_every_attempt_is_on_record_and_no_link_is(post: Bench) -> None:
    """AP16: person, address, proof, Message-ID, digest, rule, time; no link, and in the process's log no token."""
    with capture_logs() as logs:
        await ask(post)
        post.clock.advance(minutes=3)
        unclear = await post.mail.write(OMAR, "", "", "why?", in_reply_to=post.mail.inbox(OMAR)[0])
        await post.mail.queue.until_empty()
        stolen = await post.mail.write(OMAR, "", "", "APPROVE", in_reply_to=post.mail.inbox(LENA)[0])
        await post.mail.queue.until_empty()
        counted = await post.mail.write(LENA, "", "", "APPROVE\nby the book", in_reply_to=post.mail.inbox(LENA)[0])
        await post.mail.queue.until_empty()
        log = await post.over()

    (decision,) = [event for event in log.events if isinstance(event, DecisionMade)]
    request = next(iter(log.state.requests.values())).request
    assert decision.by.model_dump(include={"kind", "id", "address", "authenticated_by"}) == {
        "kind": "person",
        "id": "lena",
        "address": f"email:{LENA}",
        "authenticated_by": "dmarc by mx.acme.example",
    }
    assert (decision.source, decision.digest, decision.at) == (counted, request.digest, post.clock.now())
    attempts = [event for event in log.events if isinstance(event, DecisionRefused)]
    assert [(one.by.address, one.rule, one.source, one.verdict) for one in attempts] == [
        (f"email:{OMAR}", "ambiguous", unclear, "unclear"),
        (f"email:{OMAR}", "token_owner", stolen, "approve"),
    ]
    sent = [mail for who in (ANA, LENA, OMAR) for mail in post.mail.inbox(who)]
    replies = {mail.headers["Reply-To"].partition("+")[2].partition("@")[0] for mail in sent}
    links = {one for mail in sent for one in re.findall(r"/decide/(\w+)", mail.text)}
    assert len(replies) >= 4
    assert len(links) == 3  # Ana can withdraw it with hers
    everything = "\n".join(map(event_to_json, log.events))
    assert not [link for link in links if link in everything]
    assert not [reply for reply in replies if reply in event_to_json(decision)]
    assert not [token for token in replies | links if token in str(logs)]
