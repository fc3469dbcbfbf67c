from __future__ import annotations

import asyncio
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from support import PEOPLE
from typer.testing import CliRunner

from agents.deploy.sample import make_sample
from bot.app import Switchboard
from bot.cli import app as bot_app
from bot.cli.people import about, app, find
from bot.cli.who_decides import who_decides
from bot.core.agent import Agent
from bot.core.people import Person
from bot.core.policies import Policies
from bot.core.tool import Tool, ToolContext, ToolResult
from bot.core.values import ApprovalRule, EscalationStep
from bot.runtime.clock import SystemClock
from bot.runtime.people_file import parse_people
from bot.runtime.policy_file import arguments_by_tool, parse_policies
from bot.runtime.store import Store
from bot.settings import Settings

POLICY = Path(__file__).parents[2] / "policy.sample.toml"
NOW = datetime(2026, 3, 20, 9, 0, tzinfo=UTC)
NOWHERE = "redis://127.0.0.1:1"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own with the sample files; Redis does not answer, and the terminal has 80 columns."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.lower() in Settings.model_fields:
            monkeypatch.delenv(name)
    sample = make_sample(tmp_path / "sample", seconds=0)
    (tmp_path / "people.toml").write_text(PEOPLE.read_text())
    (tmp_path / "deploy.toml").write_text(sample.deploy_file.read_text())
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("REDIS_URL", NOWHERE)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def bot_people(*words: str, code: int = 0) -> str:
    """What the command printed, once it ended with this code."""
    result = CliRunner().invoke(app, words, obj=Switchboard.assemble)
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def plain(text: str) -> str:
    """Without line breaks and indentation."""
    return " ".join(text.split())


def test_the_help_teaches() -> None:
    """What it reads, what it takes, and what the exit code means."""
    assert "check" in bot_people("--help")
    text = plain(bot_people("check", "--help"))
    for word in ("PEOPLE_FILE", "POLICY_FILE", "DEPLOY_FILE", "Exit code 1", "Redis is not needed"):
        assert word in text
    text = plain(bot_people("whois", "--help"))
    for word in ("ADDRESS|ID|NAME", "phone number", "out of use", "Exit code 1"):
        assert word in text


def test_check_shows_who_is_known_and_who_decides(home: Path) -> None:
    """Persons, roles, strangers, and for each environment and each entry of the policy file who may say yes."""
    (home / "policy.toml").write_text(POLICY.read_text())
    text = bot_people("check")
    assert max(map(len, text.splitlines())) <= 80
    for line in (
        "4 persons in people.toml",
        "Omar Haddad (omar) roles: engineer, approver, oncall",
        "in Africa/Cairo, quiet 22:00-07:00 (",
        "approver: Lena Vogt, Omar Haddad. Approves deploys to production",
        "nothing (slack), nothing (email), nothing (sms)",
        "deploy to staging (deploy.toml) runs unasked",
        "deploy to production (deploy.toml, policy.toml) high risk; 1 approval of: Lena Vogt, Omar Haddad; four eyes;",
        "over slack, email; waits 2 hours; reminded at 50%, 90%; at 50% Omar Haddad asked too by sms; at 80%",
        "deploy or rollback where environment is staging or test-* (policy.toml, entry 2) runs unasked",
    ):
        assert line in plain(text)


def test_check_names_who_may_belong_to_another_organisation(home: Path) -> None:
    """SL22: a mail or a text does not say so; the team of their Slack id is a hint, what is written settles it."""
    assert "roles: guest; of another organisation, so approves nothing" in plain(bot_people("check"))
    (home / "people.toml").write_text(PEOPLE.read_text().replace("external = true", "external = false"))
    text = plain(bot_people("check"))
    assert "! of another Slack team than most; of another organisation? write external = true: Gil Park" in text
    assert text.count("of another Slack team") == 1


def test_check_needs_neither_policies_nor_deploys(home: Path) -> None:
    """Without these files there is nothing to say about them; without people, it says how to begin."""
    (home / "deploy.toml").unlink()
    assert "4 persons" in bot_people("check")
    (home / "people.toml").unlink()
    assert "0 persons in people.toml, which is not there: copy people.sample.toml to it" in plain(bot_people("check"))


def test_check_tells_all_mistakes_of_all_files(home: Path) -> None:
    """Exit code 1, and a line for each: policies, and names in the deploy file that the people file lacks."""
    (home / "policy.toml").write_text(
        '[[policies]]\ntool = "deploy"\nlife = "soon"\n[[policies]]\ntool = "deploy"\nroles = ["boss"]\n'
    )
    deploy = (home / "deploy.toml").read_text()
    (home / "deploy.toml").write_text(
        deploy.replace(
            'approvers = ["approver"]',
            'approvers = ["@lena", "@eve"]\nescalation = [{ after = "50%", ask = ["night", "@lena"] }]',
        )
    )
    text = plain(bot_people("check", code=1))
    assert "✗ policy.toml: [[policies]] 1 (deploy) life: 'soon' is no life. Write from a minute" in text
    assert "✗ policy.toml: [[policies]] 2 (deploy) roles: the people file has no role 'boss'" in text
    (home / "policy.toml").unlink()
    text = plain(bot_people("check", code=1))
    assert "✗ deploy.toml: environments.production.approvers: the people file has no @eve; it has @ana, @gil" in text
    assert "✗ deploy.toml: environments.production.escalation: the people file has no night; it has @ana" in text
    assert "1 approval of: Lena Vogt;" in text
    (home / "people.toml").write_text('[people.ana]\nrols = ["engineer"]\n')
    text = plain(bot_people("check", code=1))
    assert "✗ people.toml: [people.ana] name: this key is missing" in text
    assert "✗ people.toml: [people.ana] rols: there is no such key" in text


def test_check_finds_what_nobody_could_approve(home: Path) -> None:
    """AP6: three persons are needed, and two hold the role."""
    (home / "policy.toml").write_text('[[policies]]\ntool = "deploy"\nroles = ["approver"]\napprovals = 3\n')
    text = plain(bot_people("check", code=1))
    assert "✗ deploy to production (deploy.toml, policy.toml): it takes 3 approvals; who may: Lena Vogt, Omar" in text
    assert "✗ deploy (policy.toml, entry 1): it takes 3 approvals, and 2 persons may" in text


FOUR_EYES = (
    'tool = "deploy"\nwhen = {{ environment = "production" }}\nfour_eyes = true\n'
    "roles = {roles}\npersons = {persons}\napprovals = {approvals}\n"
)


@pytest.mark.parametrize(
    ("roles", "persons", "approvals", "note"),
    [
        ("['approver']", "[]", 1, ""),
        ("['approver']", "[]", 2, "if one of them asks for it, only 1 person would be left to approve it"),
        ("['approver']", "['ana']", 2, ""),
        ("['approver']", "['ana']", 3, "if one of them asks for it, only 2 persons would be left to approve it"),
        ("[]", "['lena']", 1, "if Lena Vogt asks for it, nobody would be left to approve it"),
    ],
)
def test_check_says_where_four_eyes_leave_too_few(
    home: Path, roles: str, persons: str, approvals: int, note: str
) -> None:
    """AP7: enough to approve what somebody else asks for is no mistake; said for the environment and for the entry."""
    entry = FOUR_EYES.format(roles=roles, persons=persons, approvals=approvals)
    (home / "policy.toml").write_text(f"[[policies]]\n{entry}")
    text = plain(bot_people("check"))
    assert text.count("! four eyes: ") == text.count(f"! four eyes: {note}") == (2 if note else 0)
    (home / "policy.toml").write_text(f"[[policies]]\n{entry.replace('four_eyes = true', 'four_eyes = false')}")
    assert "! four eyes: " not in bot_people("check")


@pytest.mark.parametrize(
    ("entry", "alone"),
    [
        ("four_eyes = false", True),
        ("four_eyes = false\napprovals = 2", False),
        ('four_eyes = false\nrisk = "medium"', False),
        ('life = "2h"', False),
    ],
)
def test_check_says_where_one_person_alone_is_enough_for_high_risk(home: Path, entry: str, alone: bool) -> None:  # noqa: FBT001
    """AP9, AP7: a policy may relax four eyes, but not unnoticed. A rollback has a line where it is not as a deploy."""
    (home / "policy.toml").write_text(
        f'[[policies]]\ntool = "rollback"\nwhen = {{ environment = "production" }}\n{entry}\n'
    )
    text = plain(bot_people("check"))
    assert ("! high risk, and one person alone may ask for it and approve it" in text) == alone
    assert "deploy to production (deploy.toml) high risk; 1 approval of: Lena Vogt, Omar Haddad; four eyes;" in text
    assert "roll back production (deploy.toml, policy.toml) " in text


class _Page(BaseModel):
    """Wake somebody."""


async def _page(_: _Page, __: ToolContext) -> ToolResult:
    raise AssertionError("nothing runs here")


def test_check_shows_the_rules_that_tools_bring_along() -> None:
    """A tool's own rule is data beside it: `check` reads it, the policy file stands over it, and reading is unasked."""
    rule = ApprovalRule(risk="high", roles=("oncall",), approvals=2, four_eyes=True, life_seconds=900)
    tools = (
        Tool("page", _Page, _page, writes=True, recovery="ask", rule=rule),
        Tool("call", _Page, _page, writes=True, recovery="ask"),
        Tool("look", _Page, _page),
    )
    agents = {"night": Agent(name="night", purpose="Wakes people.", prompt="Wake them.", tools=tools)}
    people = parse_people(PEOPLE.read_text())
    entries = '[[policies]]\ntool = "call"\npersons = ["ana"]\n'
    policies = parse_policies(entries, people, arguments_by_tool(agents.values()))
    settings = Settings(_env_file=None)  # pyright: ignore[reportCallIssue]
    page, call, _ = who_decides(people, policies, {}, agents, settings, at=NOW)
    assert page.what == "page (agent night)"
    assert page.how.startswith("high risk; 2 approvals of: Omar Haddad; four eyes; waits 15 minutes;")
    assert page.wrong == "it takes 2 approvals; who may: Omar Haddad"
    assert call.what == "call (agent night, policy.toml)"
    assert call.how.startswith("medium risk; 1 approval of: Ana Ruiz, Lena Vogt, Omar Haddad; four eyes;")


def test_check_warns_of_ways_that_are_weak_or_that_people_do_not_have() -> None:
    """SM8: a text may approve high risk; and a step over a channel names somebody who has no address there."""
    people = parse_people('[people.lena]\nname = "Lena"\nroles = ["approver"]\nmail = "lena@acme.example"\n')
    step = EscalationStep(after=0.5, persons=("lena",), channels=("sms",))
    rule = ApprovalRule(risk="high", roles=("approver",), channels=("email", "sms"), escalation=(step,))
    tool = Tool("page", _Page, _page, writes=True, recovery="ask", rule=rule)
    agents = {"night": Agent(name="night", purpose="Wakes people.", prompt="Wake them.", tools=(tool,))}
    settings = Settings(_env_file=None)  # pyright: ignore[reportCallIssue]
    (page,) = who_decides(people, Policies(), {}, agents, settings, at=NOW)
    assert "high risk, and a text message may approve it, whose sender can be forged" in " ".join(page.notes)
    assert "at 50%: Lena has no address for sms, so is asked some other way, if any" in page.notes


@pytest.mark.parametrize(
    ("quiet", "rule", "note"),
    [
        ({"lena": "00:00-23:59", "omar": "00:00-23:59"}, {}, "00:00 to 00:00 UTC everybody who is asked has"),
        ({"lena": "22:00-07:00", "omar": "20:00-06:00"}, {}, "22:00 to 06:00 UTC everybody who is asked has"),
        ({"lena": "12:00-13:00", "omar": "12:30-14:00"}, {"life_seconds": 900}, "12:30 to 13:00 UTC"),
        ({"lena": "12:00-13:00", "omar": "12:30-14:00"}, {"life_seconds": 1800}, ""),  # it outlives them
        ({"lena": "22:00-07:00", "omar": "10:00-16:00"}, {}, ""),  # never at the same time
        ({"lena": "22:00-07:00"}, {}, ""),
        ({"lena": "22:00-07:00", "omar": "22:00-07:00"}, {"wakes": True}, ""),
        ({"lena": "22:00-07:00", "omar": "22:00-07:00"}, {"life_seconds": None}, ""),
        (
            {"lena": "22:00-07:00", "omar": "22:00-07:00"},
            {"escalation": (EscalationStep(after=0.5, persons=("kim",)),)},
            "",
        ),
    ],
)
def test_check_warns_of_hours_in_which_nobody_is_asked(quiet: dict[str, str], rule: dict[str, Any], note: str) -> None:
    """A request that begins and ends in everybody's night reaches nobody; whoever writes the files should know."""
    persons = (
        f'[people.{who}]\nname = "{who.title()}"\nroles = ["{"oncall" if who == "kim" else "approver"}"]\n'
        + (f'quiet_hours = "{quiet[who]}"\n' if who in quiet else "")
        for who in ("lena", "omar", "kim")
    )
    people = parse_people("".join(persons))
    tool = Tool("page", _Page, _page, writes=True, recovery="ask", rule=ApprovalRule(roles=("approver",), **rule))
    agents = {"night": Agent(name="night", purpose="Wakes people.", prompt="Wake them.", tools=(tool,))}
    settings = Settings(_env_file=None)  # pyright: ignore[reportCallIssue]
    (page,) = who_decides(people, Policies(), {}, agents, settings, at=NOW)
    found = [one for one in page.notes if "quiet hours" in one]
    assert len(found) == bool(note)
    assert not note or found[0].startswith(note)


def test_check_warns_of_rules_on_a_name_that_has_others(home: Path) -> None:
    """AP14: `reference` is what somebody typed; what it means is the commit. Other arguments are not warned of."""
    (home / "policy.toml").write_text(
        '[[policies]]\ntool = "deploy"\nwhen = { reference = "v1.4.0" }\nverdict = "refuse"\n'
        '[[policies]]\ntool = "roll*"\nwhen = { environment = "production", reference = "v*" }\napprovals = 1\n'
        '[[policies]]\ntool = "*"\nwhen = { environment = "staging", commit = "7624a6f*" }\nverdict = "run"\n'
    )
    text = plain(bot_people("check"))
    note = (
        "! when.reference: is what somebody typed, so another name of the same commit does not match; to hold for all "
        "of its names, write when.commit"
    )
    assert f"does not let this run. {note}" in text
    assert text.count(note) == 2
    assert text.count("! when") == 2


@pytest.mark.parametrize(
    ("who", "ids"),
    [
        ("lena", ["lena"]),
        ("slack:T0ACME/U0LENA", ["lena"]),
        ("T0ACME/U0LENA", ["lena"]),
        ("U0LENA", ["lena"]),
        ("<@U0LENA>", ["lena"]),
        ("Lena@Acme.example", ["lena"]),
        ("email:LENA@acme.example", ["lena"]),
        ("+1 (202) 555-0102", ["lena"]),
        ("sms:+12025550102", ["lena"]),
        ("vogt", ["lena"]),
        ("a", ["ana", "lena", "omar", "gil"]),
        ("U0LEN", []),
        ("email:lena", []),
        ("", []),
        ("[bold]", []),
    ],
)
def test_somebody_is_found_by_what_one_has(who: str, ids: list[str]) -> None:
    """AP8: an address belongs to one person; a part of a name may fit several, a part of an address none."""
    assert [person.id for person in find(parse_people(PEOPLE.read_text()), who)] == ids


def test_the_time_is_told_where_the_person_is() -> None:
    """In quiet hours it says until when; addresses out of use say why."""
    [omar] = find(parse_people(PEOPLE.read_text()), "omar")
    night = datetime(2026, 1, 9, 21, 30, tzinfo=UTC)
    head, lines = about(omar, night, {"email:omar@acme.example": "it bounced"})
    assert head == "Omar Haddad (omar)"
    assert lines == [
        "roles: engineer, approver, oncall",
        "there: Fri 23:30 in Africa/Cairo, quiet 22:00-07:00 (now, until 07:00)",
        "slack:T0ACME/U0OMAR",
        "email:omar@acme.example  OUT OF USE: it bounced",
        "sms:+12025550103",
    ]
    assert about(omar, datetime(2026, 1, 9, 9, 0, tzinfo=UTC))[1][1].endswith("quiet 22:00-07:00 (not now)")
    assert about(Person(id="x", name="X"), night)[1] == [
        "roles: none", "there: Fri 21:30 in UTC", "no address: the bot cannot reach them",
    ]  # fmt: skip


def test_whois_without_redis_says_what_it_cannot_say() -> None:
    """The person is in the file; which addresses are out of use is not."""
    text = plain(bot_people("whois", "lena@acme.example"))
    assert "Lena Vogt (lena) roles: engineer, approver there: " in text
    assert "Redis does not answer, so it is not known which addresses are out of use." in text


async def test_an_address_that_is_out_of_use_is_told(
    home: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken policy file is no reason not to."""
    store = Store(redis_url, SystemClock())
    await store.addresses.turn_off("sms:+12025550102", "STOP was texted")
    await store.close()
    await asyncio.to_thread((home / "policy.toml").write_text, "[[policies")
    monkeypatch.setenv("REDIS_URL", redis_url)
    text = await asyncio.to_thread(bot_people, "whois", "Vogt")
    assert "sms:+12025550102 OUT OF USE: STOP was texted" in plain(text)
    assert not re.search("email:.*OUT OF USE", text)
    assert "Redis" not in text


def test_whois_nobody_says_whom_there_is() -> None:
    """And what a stranger may do; what was asked for is never read as markup."""
    text = plain(bot_people("whois", "[red]eve", code=1))
    assert "The people file has nobody like '[red]eve'. It has: ana, lena, omar, gil." in text
    assert "Strangers may: nothing (slack), nothing (email), nothing (sms)" in text


@pytest.mark.parametrize(
    ("people", "policy", "says"),
    [
        (PEOPLE, "", "– Policy   there is no policy.toml: each tool says itself who is asked."),
        (PEOPLE, POLICY.read_text(), "✓ Policy   2 entries in policy.toml"),
        (
            PEOPLE,
            '[[policies]]\ntool = "deplo"\n',
            "✗ Policy   policy.toml: [[policies]] 1 (deplo) tool: there is no tool",
        ),
        (None, POLICY.read_text(), "! Policy   policy.toml is held against the people file: mend that first."),
    ],
)
def test_the_doctor_has_a_line_for_the_policy_file(home: Path, people: Path | None, policy: str, says: str) -> None:
    """What is there, what is wrong, and that a broken people file comes first."""
    (home / "people.toml").write_text(people.read_text() if people else "[people.")
    if policy:
        (home / "policy.toml").write_text(policy)
    result = CliRunner().invoke(bot_app, ["doctor"], obj=Switchboard.assemble)
    assert says in result.output
    assert "✗ Redis" in result.output


# --- entries that come to less than they say


def test_check_says_where_run_meets_a_high_risk(home: Path) -> None:
    """AP6: `run` does not reach what deploy.toml says is of high risk, unless the entry lowers the risk itself."""
    entry = '[[policies]]\ntool = "deploy"\nverdict = "run"\n'
    note = "! an approval is still needed to deploy to production: the risk is high (deploy.toml)"
    (home / "policy.toml").write_text(entry)
    text = plain(bot_people("check"))
    assert "entry 1) runs unasked, but for what is of high risk" in text
    assert text.count(note) == 1
    (home / "policy.toml").write_text(entry.replace('"deploy"', '"*"'))
    assert note.replace(":", " and to roll back production:") in plain(bot_people("check"))
    (home / "policy.toml").write_text(f'{entry}when = {{ environment = "production", reference = "v1*" }}\n')
    text = plain(bot_people("check"))
    assert "entry 1) lets nothing run unasked" in text
    assert note in text
    (home / "policy.toml").write_text(f'{entry}risk = "medium"\n')
    text = plain(bot_people("check"))
    assert "entry 1) runs unasked" in text
    assert "! an approval" not in text


def policies(*entries: str) -> str:
    return "".join(f"[[policies]]\n{entry}\napprovals = 1\n" for entry in entries)


ON = 'tool = "{}"\nwhen = {{ {} }}'


@pytest.mark.parametrize(
    ("first", "second", "notes"),
    [
        ('tool = "deploy"', 'tool = "deploy"', 1),
        ('tool = "*"', ON.format("rollback", 'environment = "staging"'), 1),
        ('tool = ["deploy", "rollback"]', 'tool = "deploy"', 1),
        ('tool = "deploy"', 'tool = ["deploy", "rollback"]', 0),
        (ON.format("deploy", 'environment = "staging"'), 'tool = "deploy"', 0),
        (ON.format("deploy", 'environment = "s*"'), ON.format("deploy", 'environment = "staging"'), 1),
        (ON.format("deploy", 'environment = "s*"'), ON.format("deploy", 'environment = "st*"'), 1),
        (ON.format("deploy", 'environment = "s?"'), ON.format("deploy", 'environment = "s*"'), 0),
        (ON.format("deploy", 'environment = "st*"'), ON.format("deploy", 'environment = "s*"'), 0),
        (
            ON.format("deploy", 'environment = "staging"'),
            ON.format("deploy", 'environment = ["staging", "production"]'),
            0,
        ),
        (
            ON.format("deploy", 'environment = "staging"'),
            ON.format("deploy", 'environment = "staging", commit = "7*"'),
            1,
        ),
        (
            ON.format("deploy", 'environment = "staging", commit = "7*"'),
            ON.format("deploy", 'environment = "staging"'),
            0,
        ),
    ],
)
def test_check_finds_an_entry_that_is_never_reached(home: Path, first: str, second: str, notes: int) -> None:
    """The first entry that matches applies, so a wider one before it leaves nothing over. It is no mistake."""
    (home / "policy.toml").write_text(policies(first, second))
    assert plain(bot_people("check")).count("! never reached: entry 1 is about the same calls") == notes


@pytest.mark.parametrize(
    ("environment", "unknown"),
    [('"staging"', ""), ('["staging", "prod"]', "prod"), ('"test-*"', ""), ('"Production"', "Production")],
)
def test_check_knows_the_environments_of_the_deploy_file(home: Path, environment: str, unknown: str) -> None:
    """A name that the deploy file lacks is told; a pattern may be about those to come."""
    (home / "policy.toml").write_text(policies(ON.format("deploy", f"environment = {environment}")))
    text = plain(bot_people("check"))
    note = f"! when.environment: deploy.toml has no environment '{unknown}'; it has staging, production"
    assert (note in text) is bool(unknown)
    (home / "deploy.toml").unlink()
    assert "! " not in plain(bot_people("check"))


def test_check_says_that_a_policy_file_is_not_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was asked for by its name is missed; the usual one need not be there."""
    bot_people("check")
    monkeypatch.setenv("POLICY_FILE", "who.toml")
    text = plain(bot_people("check", code=1))
    assert "✗ POLICY_FILE: there is no file who.toml, so each tool says itself who is asked" in text


def test_check_without_a_deploy_file_says_why_nobody_decides(home: Path) -> None:
    """No heading stands over nothing."""
    (home / "deploy.toml").unlink()
    said = "Who decides There is no deploy.toml (DEPLOY_FILE), and policy.toml (POLICY_FILE) is not there either."
    assert said in plain(bot_people("check"))
