from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support import bench

from agents import all_agents
from agents.settings import AgentSettings
from bot.core.events import CallPrepared, RequestOpened
from bot.core.people import People
from bot.core.values import may_run
from bot.runtime.people_file import PeopleFile, parse_people
from bot.runtime.policy_file import PolicyFile, PolicyFileError, parse_policies
from bot.testing import FakeClock

ROOT = Path(__file__).parents[2]
PERSONS = parse_people(
    '[people.ana]\nname = "Ana"\nroles = ["approver"]\n[people.omar]\nname = "Omar"\nroles = ["oncall"]\n'
)
TOOLS = {"deploy": {"environment", "reference"}, "restart": {"unit"}}
DEPLOY = '[[policies]]\ntool = "deploy"\n'


def step(name: str, after: str, then: str = "") -> str:
    """A sound step of an escalation."""
    leads_on = f'then = "{then}"\n' if then else ""
    return f'[escalations.{name}]\npersons = ["ana"]\nafter = "{after}"\n{leads_on}'


def change(file: Path, text: str, when: float = 1.0) -> None:
    """Write it at this time (Unix); unless one is given, long ago."""
    file.write_text(text)
    os.utime(file, (when, when))


def at(path: Path, people: People = PERSONS, *, clock: FakeClock | None = None) -> PolicyFile:
    clock = clock or FakeClock()
    agents = all_agents(AgentSettings(data_dir=path.parent))
    return PolicyFile(path, lambda: people, agents, clock=clock, monotonic=lambda: clock.now().timestamp())


def test_the_sample_is_a_policy_file(tmp_path: Path) -> None:
    """It fits the sample people and the agents that ship."""
    people = PeopleFile(ROOT / "people.sample.toml").load()
    agents = all_agents(AgentSettings(data_dir=tmp_path))
    found = PolicyFile(ROOT / "policy.sample.toml", lambda: people, agents).load()
    assert [entry.tool for entry in found.entries] == [("deploy", "rollback"), ("deploy", "rollback")]
    assert [one.name for one in found.path("oncall")] == ["oncall", "leads"]


def test_a_missing_file_says_nothing(tmp_path: Path) -> None:
    """Each tool decides by itself; once the file is there, it is read."""
    file = at(tmp_path / "policy.toml")
    assert file.load().entries == ()
    change(tmp_path / "policy.toml", f'{DEPLOY}verdict = "refuse"\n')
    assert file().resolve("deploy", {}, may_run()).verdict == "refuse"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        # values
        (f'{DEPLOY}risk = "huge"', "[[policies]] 1 (deploy) risk: 'huge' is not allowed. Write risk = \"low\""),
        (f"{DEPLOY}approvals = 0", "approvals: 0 is not allowed. Write a whole number from 1 to 10"),
        (f'{DEPLOY}approvals = "2"', "approvals: '2' is not allowed"),
        (f"{DEPLOY}four_eyes = 1", "four_eyes: 1 is not allowed. Write four_eyes = true or false"),
        (f'{DEPLOY}life = "8d"', "life: '8d' is no life. Write from a minute to 7 days"),
        (f"{DEPLOY}life = 3600", "life: 3600 is no life"),
        (f'{DEPLOY}life = "1h30m"', "life: '1h30m' is no life"),
        (f'{DEPLOY}reminders = ["0%"]', "reminders: '0%' is no share of the life. Write growing shares"),
        (f"{DEPLOY}reminders = [1.0]", "reminders: 1.0 is no share of the life"),
        (f"{DEPLOY}reminders = [nan]", "reminders: nan is no share of the life"),
        (f'{DEPLOY}reminders = ["90%", "50%"]', "reminders: ['90%', '50%'] does not grow. Write growing"),
        (f'{DEPLOY}reminders = ["50%", 0.5]', "reminders: ['50%', 0.5] does not grow"),
        (f'{DEPLOY}channels = ["fax"]', "channels: 'fax' is not allowed. Write a list of one channel at least"),
        (f"{DEPLOY}channels = []", "channels: [] names none. Write a list of one channel at least"),
        (f'{DEPLOY}roles = "approver"', "roles: 'approver' is not allowed. Write a list of roles"),
        (f"{DEPLOY}when = {{ environment = 3 }}", "when: 3 is not allowed. Write a table of arguments"),
        (f"{DEPLOY}when = {{ environment = [] }}", "when: [] is not allowed. Write a table of arguments"),
        (f'{DEPLOY}verdict = "approve"', "verdict: 'approve' is not allowed"),
        (f"{DEPLOY}rols = []", "rols: is not a known key. Write roles."),
        ('[[policies]]\nrisk = "low"', "[[policies]] 1 tool: is missing. Write a tool or several"),
        ("[[policies]]\ntool = []", "[[policies]] 1 tool: [] is not allowed"),
        ("policies = [3]", "[[policies]] 1 is no table; it has the keys tool, when"),
        ("[policies]\ntool = 'deploy'", "write each entry under [[policies]], with two brackets"),
        ("escalations = 3", "write a table for each step, such as [escalations.oncall]"),
        ("[policy]", "unknown table [policy]; there are [[policies]] and [escalations.<name>]"),
        ("[[policies", "Expected ']]'"),
        ('[escalations.a]\npersons = ["ana"]', "[escalations.a] after: is missing. Write a share"),
        ('[escalations.a]\npersons = ["ana"]\nafter = "100%"', "[escalations.a] after: '100%' is no share"),
        (
            '[escalations.a]\npersons = ["ana"]\nafter = 0.5\nchannels = ["api"]',
            "[escalations.a] channels: 'api' is not",
        ),
        (
            '[escalations.a]\npersons = ["ana"]\nafter = 0.5\nchannels = []',
            "[escalations.a] channels: [] names none. Write a list of one channel at least",
        ),
        ("a = " + "[" * 5000 + "]" * 5000, "tables and lists are nested too deeply; 10 levels are the most"),
        (f"{DEPLOY}{'when.' * 1000}x = 1", "tables and lists are nested too deeply"),
        # contradictions
        (f"{DEPLOY}[policies.when]", "when: without an argument in it, it is about every call; write one at least"),
        (f'{DEPLOY}verdict = "run"\nrisk = "high"', "verdict: what is of high risk does not run unasked"),
        (f'{DEPLOY}verdict = "run"\napprovals = 2', 'verdict: "run" asks nobody; take out approvals'),
        (f'{DEPLOY}verdict = "refuse"\nlife = "2h"', 'verdict: "refuse" asks nobody; take out life'),
        (f'{DEPLOY}why = "Not today."', 'why: is told only where verdict = "refuse"'),
        (f"{DEPLOY}roles = []", "roles: nobody could decide"),
        (f'{DEPLOY}life = "never"\nreminders = ["50%"]', 'life: "never" has no shares for reminders'),
        (f'{DEPLOY}life = "never"\nescalation = "a"\n{step("a", "5%")}', '"never" has no shares for escalation'),
        ('[escalations.a]\nafter = "50%"', "[escalations.a] roles: it asks nobody"),
        (f'{DEPLOY}escalation = "oncal"\n{step("oncall", "5%")}', "there is no [escalations.oncal]; there are oncall"),
        (step("a", "50%", "b"), "[escalations.a] then: there is no [escalations.b]; there are a"),
        (step("a", "50%", "a"), "[escalations.a] then: a → a goes round in a circle"),
        (
            step("a", "10%", "b") + step("b", "20%", "c") + step("c", "30%", "b"),
            "[escalations.b] then: b → c → b goes round in a circle; take `then` out of one of them",
        ),
        (step("a", "50%", "b") + step("b", "50%"), "[escalations.b] after: 50% is not later than the 50% of a"),
        # what nobody knows
        (f'{DEPLOY}roles = ["boss"]', "roles: the people file has no role 'boss'; it has approver, oncall"),
        (f'{DEPLOY}persons = ["eve"]', "persons: the people file has no person 'eve'; it has ana, omar"),
        ('[escalations.a]\nroles = ["boss"]\nafter = 0.5', "[escalations.a] roles: the people file has no role 'boss'"),
        ('[[policies]]\ntool = "deplo"', "tool: there is no tool 'deplo'; there are deploy, restart"),
        (f'{DEPLOY}when = {{ env = "x" }}', "when.env: the tool has no such argument; it has environment, reference"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, says: str) -> None:
    """One line: which entry or step, which key, and what to write instead."""
    with pytest.raises(ValueError) as raised:  # noqa: PT011 the text is the point
        parse_policies(text, PERSONS, TOOLS)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Of every kind, each with the file; an entry keeps its number, and a broken step is not said to be missing."""
    (tmp_path / "policy.toml").write_text(
        '[[policies]]\ntool = "deploy"\nrisk = "huge"\nlife = "soon"\n'
        '[[policies]]\ntool = "rollback"\nescalation = "a"\nroles = ["boss"]\n'
        '[escalations.a]\nafter = "soon"\npersons = ["ana"]\n' + step("b", "10%", "c") + step("c", "20%", "b")
    )
    with pytest.raises(PolicyFileError) as raised:
        at(tmp_path / "policy.toml").load()
    lines = str(raised.value).splitlines()
    assert all(line.startswith(f"{tmp_path / 'policy.toml'}: ") for line in lines)
    assert [line.split("policy.toml: ")[1].partition(":")[0] for line in lines] == [
        "[escalations.a] after",
        "[escalations.b] then",
        "[[policies]] 1 (deploy) risk",
        "[[policies]] 1 (deploy) life",
        "[[policies]] 2 (rollback) roles",
    ]


def test_what_is_no_text_file_is_told(tmp_path: Path) -> None:
    """A directory, or bytes of something else, is a mistake like any other; so are far too many entries."""
    with pytest.raises(PolicyFileError, match="Is a directory"):
        at(tmp_path).load()
    (tmp_path / "policy.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyFileError, match="can't decode"):
        at(tmp_path / "policy.toml").load()
    with pytest.raises(ValueError, match="more than 500"):
        parse_policies(DEPLOY * 501, PERSONS, TOOLS)


def test_a_broken_change_keeps_the_policies_of_before_and_says_so_once(tmp_path: Path) -> None:
    """Half a file loosens nothing; mended, it counts again."""
    path = tmp_path / "policy.toml"
    change(path, f'{DEPLOY}verdict = "refuse"\n')
    file = at(path)
    file.load()
    change(path, f'{DEPLOY}verdict = "ru')
    with capture_logs() as logs:
        assert file().entries[0].verdict == "refuse"
        assert file().entries[0].verdict == "refuse"
    assert [line["event"] for line in logs] == ["policy_file_is_wrong"]
    change(path, f'{DEPLOY}verdict = "run"\n')
    assert file().entries[0].verdict == "run"


@pytest.mark.parametrize("broken", ["", " \n\n", "a = " + "[" * 5000 + "]" * 5000, "a." * 200 + "b = 1"])
def test_a_file_that_lost_its_text_or_cannot_be_read_keeps_the_policies(tmp_path: Path, broken: str) -> None:
    """AP4: what a failed save or a full disk leaves is a mistake, told once, and not a file that says nothing."""
    path = tmp_path / "policy.toml"
    change(path, f'{DEPLOY}verdict = "refuse"\n')
    file = at(path)
    file.load()
    change(path, broken)
    with capture_logs() as logs:
        for _ in range(3):
            assert file().resolve("deploy", {}, may_run()).verdict == "refuse"
    assert [line["event"] for line in logs] == ["policy_file_is_wrong"]
    assert "is empty now" in logs[0]["error"] or "nested too deeply" in logs[0]["error"]
    change(path, "# nothing for now\n")
    assert file().entries == ()


def test_a_file_that_is_being_written_keeps_the_policies_of_before(tmp_path: Path) -> None:
    """AP4: an editor empties the file, writes a part of it that is sound by itself, then the rest: no part counts."""
    path, clock = tmp_path / "policy.toml", FakeClock()
    now = clock.now().timestamp()
    whole = f'{DEPLOY}roles = ["approver"]\n[[policies]]\ntool = "rollback"\nverdict = "refuse"\n'
    change(path, whole)
    file = at(path, clock=clock)
    file.load()
    with capture_logs() as logs:
        for text in ("", DEPLOY, whole.replace("refuse", "run")):
            change(path, text, now)
            assert file().resolve("rollback", {}, may_run()).verdict == "refuse"
            assert len(file().entries) == 2
    assert not logs
    clock.advance(seconds=2)
    assert file().entries[1].verdict == "run"


def test_a_file_that_is_removed_takes_its_policies_with_it_after_a_while(tmp_path: Path) -> None:
    """AP4: an editor that saves by removing the file first opens no gap; one that stays away is gone."""
    path, clock = tmp_path / "policy.toml", FakeClock()
    change(path, f'{DEPLOY}verdict = "refuse"\n')
    file = at(path, clock=clock)
    file.load()
    path.unlink()
    assert file().entries
    change(path, f'{DEPLOY}verdict = "refuse"\nwhy = "No."\n', clock.now().timestamp())
    assert file().entries[0].why == ""
    clock.advance(seconds=2)
    assert file().entries[0].why == "No."
    path.unlink()
    clock.advance(days=1)
    assert file().entries  # seen for the first time, though it may have been gone for long
    clock.advance(seconds=2)
    assert file().entries == ()


def test_people_who_change_while_the_file_is_being_written_are_not_forgotten(tmp_path: Path) -> None:
    """The file is held against the people as they are once it has settled."""
    path, clock, people = tmp_path / "policy.toml", FakeClock(), [PERSONS]
    file = PolicyFile(
        path,
        lambda: people[0],
        all_agents(AgentSettings(data_dir=tmp_path)),
        clock=clock,
        monotonic=lambda: clock.now().timestamp(),
    )
    file.load()
    change(path, f'{DEPLOY}persons = ["eve"]\n', clock.now().timestamp())
    people[0] = parse_people('[people.eve]\nname = "Eve"\n')
    assert file().entries == ()
    clock.advance(seconds=2)
    assert file().entries[0].persons == ("eve",)


def test_a_file_that_names_somebody_new_counts_once_they_are_known(tmp_path: Path) -> None:
    """Two files cannot be saved at the same moment: whichever comes first, the second one makes it right."""
    path = tmp_path / "policy.toml"
    people = [PERSONS]
    file = PolicyFile(path, lambda: people[0], all_agents(AgentSettings(data_dir=tmp_path)))
    file.load()
    change(path, f'{DEPLOY}persons = ["eve"]\n')
    assert file().entries == ()
    people[0] = parse_people('[people.eve]\nname = "Eve"\n')
    assert file().entries[0].persons == ("eve",)


async def test_a_deploy_is_ruled_by_the_file_and_its_request_records_that(redis_url: str, tmp_path: Path) -> None:
    """What the policy resolves to stands on the prepared call and on the request; a change counts for the next call."""
    path = tmp_path / "policy.toml"
    path.write_text(
        '[[policies]]\ntool = "deploy"\nwhen = { environment = "production" }\nroles = []\npersons = ["omar"]\n'
        'life = "2h"\nreminders = ["25%"]\nescalation = "leads"\nchannels = ["slack"]\n'
        '[escalations.leads]\npersons = ["lena"]\nafter = "75%"\n'
    )
    async with bench(redis_url, tmp_path, policy_file=path) as on_bench:
        asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
        await on_bench.card(asked)
        log = await on_bench.log_of(asked)
        prepared = next(event.prepared for event in log.events if isinstance(event, CallPrepared))
        request = next(event.request for event in log.events if isinstance(event, RequestOpened))
        rule = request.rule
        assert rule
        assert rule == prepared.ruling.rule
        assert (rule.risk, rule.four_eyes, rule.approvals) == ("high", True, 1)  # of deploy.toml
        assert (rule.roles, rule.persons, rule.life_seconds, rule.reminders) == ((), ("omar",), 7200, (0.25,))
        assert [(one.name, one.after, one.persons) for one in rule.escalation] == [("leads", 0.75, ("lena",))]
        assert [one.id for one in request.deciders] == ["omar"]

        change(path, '[[policies]]\ntool = "deploy"\nverdict = "refuse"\nwhy = "Not while the sale is on."\n')
        again = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to staging")
        await on_bench.finished(again)
        refused = [event for event in (await on_bench.log_of(again)).events if event.type == "call_refused"]
        assert [event.why for event in refused] == ["Not while the sale is on."]
        assert len(on_bench.releases()) == 1
