"""Decisions that must not count: each gets a clear answer and a line in the audit, and has no effect."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest
from requesting import (
    NIA,
    OMAR,
    PEOPLE,
    PRODUCTION,
    audited,
    code_in,
    is_sent,
    made,
    office,
    refusals,
    requests,
    waiting,
)
from support import Bench, free_port

from bot.core.log import Log
from bot.settings import Settings
from bot.testing import wait_until
from channels.slack.simulator import Message

ROOT = Path(__file__).parents[2]
LENA_TOO = 'mail = "lena@acme.example"\nphone = "+12025550102"\n'
CROWD = (
    PEOPLE.replace('slack = "T0ACME/U0LENA"\n', f'slack = "T0ACME/U0LENA"\n{LENA_TOO}')
    + '[people.gil]\nname = "Gil Park"\nroles = ["approver"]\nslack = "T0PARTNER/U0GIL"\n'
)
"""Lena is reached everywhere, and somebody gave a partner's guest the role of an approver."""


@pytest.fixture
async def crowd(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with office(redis_url, tmp_path, people=CROWD) as found:
        yield found


async def told(found: Bench, person: str, times: int = 1) -> str:
    """What only this person was told in Slack, last."""
    await wait_until(lambda: len(found.slack.ephemerals(person)) >= times)
    return found.slack.ephemerals(person)[-1].text


async def no_effect(found: Bench, asked: Message, count: int = 1) -> Log:
    """The log once so many attempts are recorded: nothing was decided, nothing ran, and the card still waits."""
    log = await found.settled(asked, lambda log: len(refusals(log)) == count and is_sent(log))
    assert made(log) == []
    assert [one.status for one in log.state.requests.values()] == ["pending"]
    assert len(found.releases()) == 1
    assert await found.card(asked)
    return log


async def test_a_click_without_the_role(crowd: Bench) -> None:
    """AP7, AP16: Ana is told which role it takes; the audit has her, her address, the rule and the digest."""
    asked, card = await waiting(crowd)
    click = await crowd.slack.click("ana", card, "approve")
    assert click.accepted
    why = await told(crowd, "ana")
    assert why.startswith(
        "You cannot approve this, only take it back by denying it: it takes the role approver (yours: engineer)."
    )
    log = await no_effect(crowd, asked)
    (entry,) = audited(log)
    assert (entry.get("rule"), entry.get("verdict")) == ("role", "approve")
    assert entry.get("who") == {"id": "ana", "kind": "person", "name": "Ana Ruiz"}
    assert (entry.get("address"), entry.get("authenticated_by")) == ("slack:T0ACME/U0ANA", "slack-signature")
    assert entry.get("digest") == requests(log)[0].digest
    assert entry.get("requesters") == ["ana"]
    assert entry.get("source")


async def test_a_click_of_whoever_asked(crowd: Bench) -> None:
    """AP7: Lena is an approver, but of what others want."""
    asked, card = await waiting(crowd, by="lena")
    await crowd.slack.click("lena", card, "approve")
    assert (await told(crowd, "lena")).startswith("You asked for this, so somebody else has to approve it.")
    log = await no_effect(crowd, asked)
    assert [(entry.get("rule"), entry.get("requesters")) for entry in audited(log)] == [("four_eyes", ["lena"])]


async def test_a_click_of_a_guest_of_another_organisation(crowd: Bench) -> None:
    """SL22: even with the role of an approver."""
    asked, card = await waiting(crowd)
    await crowd.slack.click("gil", card, "approve")
    assert (await told(crowd, "gil")).startswith("Members of another organisation cannot approve.")
    log = await no_effect(crowd, asked)
    assert [(entry.get("rule"), entry.get("external")) for entry in audited(log)] == [("external", True)]


async def test_a_click_on_a_card_that_is_none_of_the_request_s(crowd: Bench) -> None:
    """SL15: the same buttons in another message of the thread, such as a copy that Slack had kept twice."""
    asked, card = await waiting(crowd)
    copy = crowd.slack.workspace.post(
        card.channel, card.user, card.text, thread_ts=asked.ts, blocks=card.blocks, bot_id=card.bot_id
    )
    await crowd.slack.click("lena", replace(copy, blocks=card.blocks), "approve")
    assert await told(crowd, "lena") == "This card is out of date; please use the newest one in this thread."
    log = await no_effect(crowd, asked)
    assert [entry.get("rule") for entry in audited(log)] == ["card"]


async def test_the_same_click_twice(redis_url: str, tmp_path: Path) -> None:
    """AP6, AP2: where two persons are needed the second click is no second person; once it is decided it is late."""
    async with office(redis_url, tmp_path, "approvals = 2\n", people=CROWD) as found:
        asked, card = await waiting(found)
        await found.slack.click("lena", card, "approve")
        await found.settled(asked, made)
        await found.slack.click("lena", card, "approve")
        assert await told(found, "lena") == "You have approved this already; it needs 1 more person."
        assert len(found.releases()) == 1
        text = (await found.sms("nia", 1))[-1]
        await found.twilio.text(NIA, f"YES {code_in(text.body)}")
        await found.finished(asked)
        await found.slack.click("lena", card, "approve")
        assert (await told(found, "lena", 2)).startswith("This was already approved by Nia Stone at 09:00 UTC.")
        log = await found.log_of(asked)
        assert [entry.get("rule") for entry in audited(log)] == ["twice", "late"]
        assert (made(log), len(found.releases())) == ([("lena", "approve"), ("nia", "approve")], 2)


async def test_a_code_of_another_number(crowd: Bench) -> None:
    """SM5: Lena's phone has no code of its own here: Nia's decides nothing from it; the code is not in the audit."""
    asked, _ = await waiting(crowd)
    code = code_in((await crowd.sms("nia", 1))[-1].body)
    await crowd.twilio.text("+12025550102", f"YES {code}")
    assert (await crowd.sms("lena", 1))[-1].body == (
        "I do not know this code. Nothing was decided. "
        "A code counts only from the number that it was sent to; 'pending' lists yours."
    )
    await no_effect(crowd, asked, 0)
    (turned_away,) = await crowd.refused("sms")
    assert (turned_away.rule, turned_away.address) == ("SM5", "sms:+12025550102")
    assert code not in turned_away.model_dump_json()
    log = await crowd.store.logs.load(f"refused-sms-{crowd.clock.now():%Y-%m-%d}")
    (entry,) = audited(log, "turned_away")
    assert (entry.get("rule"), entry.get("address")) == ("SM5", "sms:+12025550102")
    assert entry.get("source")
    assert code not in str(entry)


async def test_a_reply_to_a_mail_that_was_passed_on(crowd: Bench) -> None:
    """EM9: Omar passes his mail on to Lena, who may approve too, and she answers the bot: it was not hers to answer."""
    asked, _ = await waiting(crowd)
    (mail,) = await crowd.mails("omar", 1)
    await crowd.mail.write("lena@acme.example", "", "", "APPROVE", in_reply_to=mail)
    await crowd.mail.queue.until_empty()
    log = await no_effect(crowd, asked)
    (entry,) = audited(log)
    assert (entry.get("rule"), entry.get("address")) == ("token_owner", "email:lena@acme.example")
    assert str(entry.get("authenticated_by")).startswith("dmarc")
    assert mail.headers["Reply-To"].partition("+")[2].partition("@")[0] not in str(entry)
    (answer,) = await crowd.mails("lena", 1)
    assert "This request was sent to Omar Haddad, and only they can answer that mail." in answer.text


async def test_every_way_to_decide_the_old_arguments_is_dead(redis_url: str, tmp_path: Path) -> None:
    """AP3, AP13: Omar changed the release on his page; the button, code, link and mail of before are of no use."""
    async with office(redis_url, tmp_path, people=CROWD) as found:
        asked, card = await waiting(found)
        (mail,), text = await found.mails("omar", 1), (await found.sms("nia", 1))[-1]
        links = [re.search(r"http://bot\.test(/decide/\S+)", one) for one in (mail.text, text.body)]
        omars, nias = [one[1] for one in links if one]
        change = {"verdict": "edit", "argument:reference": "v1.3.1", "argument:environment": "production"}
        assert (await found.http.post(omars, data=change)).status_code == 303
        await found.settled(asked, lambda log: len(requests(log)) == 2 and is_sent(log))

        await found.slack.click("lena", card, "approve")
        assert ": Omar Haddad changed it" in await told(found, "lena")
        await found.twilio.text(NIA, f"YES {code_in(text.body)}")
        await wait_until(lambda: any(one.body.startswith("This was withdrawn") for one in found.twilio.phone(NIA)))
        assert [one.body for one in found.twilio.phone(NIA) if ": Omar Haddad changed it. That changed" in one.body]
        page = await found.http.post(nias, data={"verdict": "approve"})
        assert page.status_code == 409
        assert ": Omar Haddad changed it" in page.text
        await found.mail.write(OMAR, "", "", "APPROVE", in_reply_to=mail)
        await found.mail.queue.until_empty()
        assert "<button" not in (await found.http.get(omars)).text
        await found.http.post(omars, data={"verdict": "approve"})

        log = await found.settled(asked, lambda log: len(refusals(log)) == 5 and is_sent(log))
        assert refusals(log) == [(who, "late") for who in ("lena", "nia", "nia", "omar", "omar")]
        assert [entry.get("rule") for entry in audited(log)] == ["late"] * 5
        assert made(log) == [("omar", "edit")]
        assert [one.status for one in log.state.requests.values()] == ["superseded", "pending"]
        assert len({one.digest for one in requests(log)}) == 2
        assert ": Omar Haddad changed it" in found.mail.inbox(OMAR)[-1].text
        assert len(found.releases()) == 1

        newer = [one for one in await found.sms("nia", 4) if one.body.startswith("Approve?")][-1]
        assert code_in(newer.body) != code_in(text.body)
        await found.twilio.text(NIA, f"YES {code_in(newer.body)}")
        await found.finished(asked)
        assert found.releases()[-1].split()[2] == "v1.3.1"


@pytest.mark.parametrize("command", ["web", "worker"])
def test_an_escalation_that_goes_round_in_a_circle(tmp_path: Path, command: str) -> None:
    """AP11: the bot does not start: code 2, the file, the place and the circle."""
    (tmp_path / "people.toml").write_text(PEOPLE)
    (tmp_path / "policy.toml").write_text(
        f'{PRODUCTION}escalation = "first"\n'
        '[escalations.first]\npersons = ["nia"]\nafter = "20%"\nthen = "second"\n'
        '[escalations.second]\npersons = ["omar"]\nafter = "40%"\nthen = "first"\n'
    )
    # A process of its own: a command sets up the logging of its whole process.
    known = {name.lower() for name in Settings.model_fields}
    environment = {key: value for key, value in os.environ.items() if key.lower() not in known}
    environment |= {"REDIS_URL": "redis://127.0.0.1:1", "DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(ROOT)}
    environment["PORT"] = str(free_port())
    ended = subprocess.run(
        [sys.executable, "-m", "bot", command],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    said = " ".join(ended.stderr.split())
    assert ended.returncode == 2, said
    assert "The policy file cannot be used: policy.toml: [escalations.first] then: " in said
    assert "first → second → first goes round in a circle; take `then` out of one of them" in said
    assert "Traceback" not in said
