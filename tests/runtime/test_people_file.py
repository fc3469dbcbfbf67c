from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support import PEOPLE, Bench, bench

from bot.runtime.people_file import PeopleFile, PeopleFileError, parse_people
from bot.testing import FakeClock, wait_until

ANA = '[people.ana]\nname = "Ana Ruiz"\nroles = ["engineer"]\nslack = ["T0ACME/U0ANA"]\n'
LENA = '[people.lena]\nname = "Lena Vogt"\nroles = ["approver"]\nslack = "T0ACME/U0LENA"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "people.toml"
    path.write_text(ANA)
    return path


def change(file: Path, text: str, when: float = 1.0) -> None:
    """Write it at this time (Unix); unless one is given, long ago."""
    file.write_text(text)
    os.utime(file, (when, when))


def test_it_knows_persons_by_id_and_by_address(file: Path) -> None:
    """A single address may be written without a list."""
    change(file, ANA + LENA)
    people = PeopleFile(file).load()
    assert [person.id for person in people] == ["ana", "lena"]
    lena = people.at("slack:T0ACME/U0LENA")
    assert lena
    assert (lena.name, lena.roles) == ("Lena Vogt", ("approver",))
    assert people.get("gil") is None


def test_the_sample_is_a_people_file() -> None:
    """What `bot dev` uses can be used."""
    people = PeopleFile(PEOPLE).load()
    assert [person.id for person in people.with_any_role(["approver"])] == ["lena", "omar"]


def test_a_missing_file_holds_nobody(tmp_path: Path) -> None:
    """A bot without a people file starts, and knows nobody; once the file is there, it is read."""
    people = PeopleFile(tmp_path / "people.toml")
    assert len(people.load()) == 0
    change(tmp_path / "people.toml", ANA)
    assert len(people()) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ANA + LENA.replace("U0LENA", "U0ANA"), "slack:T0ACME/U0ANA belongs to both ana and lena"),
        (ANA + 'timezone = "Europe/Berln"', "there is no time zone 'Europe/Berln'; write one such as Europe/Berlin"),
        (ANA + 'timezone = "Europe"', "[people.ana] timezone: there is no time zone 'Europe'"),
        (ANA + 'timezone = "../../etc/passwd"', "[people.ana] timezone: there is no time zone"),
        (ANA + 'timezone = ""', "[people.ana] timezone: there is no time zone ''"),
        (ANA + "timezone = 2", "[people.ana] timezone: write a text, in quotation marks"),
        (ANA + 'quiet_hours = "22-7"', '[people.ana] quiet_hours: write them as "22:00-07:00"'),
        (ANA + 'quiet_hours = "24:00-07:00"', "[people.ana] quiet_hours: write them as"),
        (ANA + 'quiet_hours = "07:00-07:00"', "begins when it ends; leave quiet_hours out"),
        (ANA + "[roles]\nenginer = 'Builds.'", "no role 'engineer'; did you mean enginer? [roles] has enginer"),
        (ANA + "[roles]", "[people.ana] roles: there is no role 'engineer'; [roles] has none"),
        ("[roles]\nengineer = 3", "[roles] engineer: write what the role may, in words, as in: approver ="),
        ("roles = 3", "[roles]: write what the role may, in words"),
        ('[channels.email]\nstrangers = "all"', '[channels.email] strangers: write strangers = "nothing", "ask"'),
        ("[channels.email]\nstranger = 'ask'", "[channels.email] stranger: write strangers ="),
        ("[channels.fax]\nstrangers = 'ask'", "[channels.fax]: a channel is slack, email or sms"),
        ("channels = 3", "[channels.<channel>]: a channel is slack, email or sms"),
        (ANA + 'slak = ["T0ACME/U0ANA"]\n', "[people.ana] slak: there is no such key; a person has name, roles, slack"),
        (ANA + 'id = "lena"\n', "[people.ana] id: there is no such key"),
        ('[people.ana]\nroles = ["engineer"]', "[people.ana] name: this key is missing"),
        ('[people.ana]\nname = ""', "[people.ana] name: write a name of 1 to 100 characters"),
        ('[people.ana]\nname = "Ana"\nroles = "engineer"', "[people.ana] roles: write a list of texts"),
        ('[people.ana]\nname = "Ana"\nslack = ["U0ANA"]', "a Slack id is TEAM/USER, such as T0ACME/U0ANA, not 'U0ANA'"),
        ('[people.ana]\nname = "Ana"\nslack = ["T0ACME/"]', "not 'T0ACME/'"),
        ('[people.ana]\nname = "Ana"\nslack = ["U0ANA/T0ACME"]', "not 'U0ANA/T0ACME'"),
        ('[people."api:ci"]\nname = "CI"', "[people.api:ci]: an id is made of letters, digits, - and _"),
        ('[people]\nana = "Ana"', "[people.ana]: a person is a table with name, roles, slack, mail, phone"),
        ("people = 3", "[people.<id>]: a person is a table"),
        ('[persons.ana]\nname = "Ana"', "unknown table [persons]; persons are written as [people.<id>]"),
        ("[people.ana", "Expected ']'"),
        ("a = " + "[" * 5000 + "]" * 5000, "tables and lists are nested too deeply; 10 levels are the most"),
        ("people." + "a." * 1000 + "b = 1", "tables and lists are nested too deeply"),
    ],
)
def test_a_mistake_is_told_with_its_place(file: Path, text: str, says: str) -> None:
    """One line: which file, which person, which key, and what to write instead."""
    change(file, text)
    with pytest.raises(PeopleFileError) as raised:
        PeopleFile(file).load()
    assert str(raised.value).startswith(f"{file}: ")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    """One line for each, whatever kind it is: nobody mends a file one restart at a time (AP8)."""
    change(
        file,
        """
        [roles]
        engineer = "Builds."
        [people.ana]
        roles = ["enginer"]
        timezone = "Mars/Olympus"
        slack = ["T0ACME/U0ANA"]
        mail = "Ana@acme.example"
        [people.lena]
        name = "Lena"
        mail = ["ana@acme.example", "lena"]
        phon = "+12025550102"
        """,
    )
    with pytest.raises(PeopleFileError) as raised:
        PeopleFile(file).load()
    lines = str(raised.value).splitlines()
    assert all(line.startswith(f"{file}: [people.") for line in lines)
    assert [line.removeprefix(f"{file}: ").partition(":")[0] for line in lines] == [
        "[people.ana] name",
        "[people.ana] timezone",
        "[people.lena] mail.1",
        "[people.lena] phon",
        "[people.lena] mail",
        "[people.ana] roles",
    ]
    assert "email:ana@acme.example belongs to both ana and lena" in lines[4]


def test_hours_count_where_the_person_is(file: Path) -> None:
    """Quiet hours go over midnight, in the person's own time zone, summer time included."""
    change(file, ANA + 'timezone = "Europe/Berlin"\nquiet_hours = "22:00-07:00"\n')
    ana = PeopleFile(file).load().get("ana")
    assert ana
    assert ana.quiet
    until = ana.quiet.until(datetime(2026, 7, 1, 20, 30, tzinfo=UTC))  # 22:30 in Berlin
    assert until == datetime(2026, 7, 2, 5, 0, tzinfo=UTC)
    assert ana.quiet.until(datetime(2026, 1, 1, 20, 30, tzinfo=UTC)) is None  # 21:30 in Berlin


def test_what_strangers_may_is_said_for_each_channel(file: Path) -> None:
    """Nothing, unless the file says more."""
    change(file, ANA + '[channels.email]\nstrangers = "ask"\n[channels.slack]\nstrangers = "launch"\n')
    people = PeopleFile(file).load()
    assert [people.strangers(channel) for channel in ("slack", "email", "sms", "api")] == [
        "launch", "ask", "nothing", "nothing",
    ]  # fmt: skip


def test_roles_are_those_that_are_written_down_else_those_that_are_held(file: Path) -> None:
    """A role that nobody holds is known where the file names it."""
    assert PeopleFile(file).load().roles == {"engineer": ""}
    change(file, ANA + '[roles]\nengineer = "Builds."\noncall = "Is asked."\n')
    assert PeopleFile(file).load().roles == {"engineer": "Builds.", "oncall": "Is asked."}


def test_what_is_no_text_file_is_told(tmp_path: Path) -> None:
    """A directory, or bytes of something else, is a mistake like any other."""
    with pytest.raises(PeopleFileError, match="Is a directory"):
        PeopleFile(tmp_path).load()
    (tmp_path / "people.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PeopleFileError, match="can't decode"):
        PeopleFile(tmp_path / "people.toml").load()


def test_a_change_is_noticed(file: Path) -> None:
    """Nobody has to restart anything."""
    people = PeopleFile(file)
    people.load()
    change(file, ANA + LENA)
    assert len(people()) == 2


def test_a_broken_change_keeps_the_people_of_before_and_says_so_once(file: Path) -> None:
    """Half a file takes nobody's rights away; mended, it counts again."""
    people = PeopleFile(file)
    people.load()
    change(file, ANA + "[people.")
    with capture_logs() as logs:
        assert len(people()) == 1
        assert len(people()) == 1
    assert [line["event"] for line in logs] == ["people_file_is_wrong"]
    change(file, ANA + LENA)
    assert len(people()) == 2


def test_a_file_that_is_taken_away_takes_everybody_with_it(file: Path) -> None:
    """Without a file nobody may do anything; an editor that removes it for a moment takes nobody."""
    clock = FakeClock()
    people = PeopleFile(file, clock=clock, monotonic=lambda: clock.now().timestamp())
    people.load()
    file.unlink()
    assert len(people()) == 1
    clock.advance(seconds=2)
    assert len(people()) == 0


@pytest.mark.parametrize("broken", ["", "a = " + "[" * 5000 + "]" * 5000])
def test_a_file_that_lost_its_text_or_cannot_be_read_keeps_the_people(file: Path, broken: str) -> None:
    """AP7: such a file is a mistake, told once; whoever has an approval to give can still give it."""
    people = PeopleFile(file)
    people.load()
    change(file, broken)
    with capture_logs() as logs:
        assert len(people()) == 1
        assert len(people()) == 1
    assert [line["event"] for line in logs] == ["people_file_is_wrong"]


def test_a_file_that_is_being_written_keeps_the_people_of_before(file: Path) -> None:
    """AP4: a part of the new file that is sound by itself is not read."""
    clock = FakeClock()
    people = PeopleFile(file, clock=clock, monotonic=lambda: clock.now().timestamp())
    people.load()
    for text in ("", LENA, LENA + ANA):
        change(file, text, clock.now().timestamp())
        assert [person.id for person in people()] == ["ana"]
    clock.advance(seconds=2)
    assert [person.id for person in people()] == ["lena", "ana"]


def test_parsing_nothing_gives_nobody() -> None:
    """An empty file is fine."""
    assert len(parse_people("")) == 0


async def test_a_role_that_is_taken_away_counts_at_once(redis_url: str, tmp_path: Path) -> None:
    """AP7: who may approve is looked up at the click, not when the card was made."""
    file = tmp_path / "people.toml"
    file.write_text(PEOPLE.read_text())
    async with bench(redis_url, tmp_path, people_file=file) as on_bench:
        asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
        card = await on_bench.card(asked)
        change(file, PEOPLE.read_text().replace('roles = ["engineer", "approver"]', 'roles = ["engineer"]', 1))
        await on_bench.slack.click("lena", card, "approve")
        await _refused(on_bench, "lena")
        assert len(on_bench.releases()) == 1
        await on_bench.slack.click("omar", card, "approve")
        await on_bench.finished(asked)
        assert len(on_bench.releases()) == 2


async def _refused(on_bench: Bench, person: str) -> None:
    await wait_until(lambda: any("You cannot decide this" in one.text for one in on_bench.slack.ephemerals(person)))
