from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support import PEOPLE, Bench, bench

from bot.runtime.people_file import PeopleFile, PeopleFileError, parse_people
from bot.testing import wait_until

ANA = '[people.ana]\nname = "Ana Ruiz"\nroles = ["engineer"]\nslack = ["T0ACME/U0ANA"]\n'
LENA = '[people.lena]\nname = "Lena Vogt"\nroles = ["approver"]\nslack = "T0ACME/U0LENA"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "people.toml"
    path.write_text(ANA)
    return path


def change(file: Path, text: str) -> None:
    """Write it, with a time of its own, as an editor some seconds later would."""
    later = file.stat().st_mtime_ns + 1_000_000_000 if file.exists() else 0
    file.write_text(text)
    if later:
        os.utime(file, ns=(later, later))


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
        (ANA + 'slak = ["T0ACME/U0ANA"]\n', "[people.ana] slak: there is no such key; a person has name, roles, slack"),
        (ANA + 'id = "lena"\n', "[people.ana] id: there is no such key"),
        ('[people.ana]\nroles = ["engineer"]', "[people.ana] name: this key is missing"),
        ('[people.ana]\nname = ""', "[people.ana] name: String should have at least 1 character"),
        ('[people.ana]\nname = "Ana"\nroles = "engineer"', "[people.ana] roles: write a list of texts"),
        ('[people.ana]\nname = "Ana"\nslack = ["U0ANA"]', "a Slack id is TEAM/USER, such as T0ACME/U0ANA, not 'U0ANA'"),
        ('[people.ana]\nname = "Ana"\nslack = ["T0ACME/"]', "not 'T0ACME/'"),
        ('[people.ana]\nname = "Ana"\nslack = ["U0ANA/T0ACME"]', "not 'U0ANA/T0ACME'"),
        ('[people."api:ci"]\nname = "CI"', "[people.api:ci]: an id is made of letters, digits, - and _"),
        ('[people]\nana = "Ana"', "[people.ana]: a person is a table with name, roles, slack, mail, phone"),
        ("people = 3", "[people.<id>]: a person is a table"),
        ('[persons.ana]\nname = "Ana"', "unknown table [persons]; persons are written as [people.<id>]"),
        ("[people.ana", "Expected ']'"),
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
    """Without a file nobody may do anything."""
    people = PeopleFile(file)
    people.load()
    file.unlink()
    assert len(people()) == 0


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
