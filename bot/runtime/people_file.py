"""Reads `PEOPLE_FILE`, and reads it again when it changes. A broken change keeps the people of before, and says so.

All mistakes of a file are told at once: one line each, with the person, the key and what to write.
"""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from zoneinfo import ZoneInfo, available_timezones

import phonenumbers
import structlog
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationError
from pydantic_core import ErrorDetails

from bot.core.people import ADDRESS_KEYS, People, Strangers, address_of, people_from, quiet_hours_from
from bot.core.protocols import Clock
from bot.core.toml_table import toml_table
from bot.runtime.clock import SystemClock
from bot.runtime.watched_file import WatchedFile

logger = structlog.get_logger(__name__)
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_MAX_MAIL_ADDRESS = 254
_SLACK_ID = re.compile(r"[TE][A-Z0-9]+/[UW][A-Z0-9]+")


def _slack_id(value: str) -> str:
    if not _SLACK_ID.fullmatch(value):
        raise ValueError(f"a Slack id is TEAM/USER, such as T0ACME/U0ANA, not {value[:60]!r}")
    return value


def _mail_address(value: str) -> str:
    if len(value) > _MAX_MAIL_ADDRESS or not _MAIL.fullmatch(value):
        raise ValueError(f"a mail address is like ana@acme.example, not {value[:60]!r}")
    return value


def _phone_number(value: str) -> str:
    try:
        number = phonenumbers.parse(value)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) != value:
        raise ValueError(f"a phone number is written as +12025550123, without blanks, not {value[:60]!r}")
    if not phonenumbers.is_possible_number(number):
        raise ValueError(f"{value} has too few or too many digits for its country")
    return value


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # not there; no name at all; the name of a directory
        near = difflib.get_close_matches(value, available_timezones(), n=1, cutoff=0.7)
        such = near[0] if near else "Europe/Berlin"
        raise ValueError(f"there is no time zone {value[:60]!r}; write one such as {such}") from None
    return value


def _hours(value: str) -> str:
    quiet_hours_from(value, timezone="UTC")
    return value


def _one_is_a_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class _Entry(BaseModel):
    """A person, as the file has it. What it means is `people_from`'s business."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=100)
    roles: list[str] = []
    slack: Annotated[list[Annotated[str, AfterValidator(_slack_id)]], BeforeValidator(_one_is_a_list)] = []
    mail: Annotated[list[Annotated[str, AfterValidator(_mail_address)]], BeforeValidator(_one_is_a_list)] = []
    phone: Annotated[list[Annotated[str, AfterValidator(_phone_number)]], BeforeValidator(_one_is_a_list)] = []
    external: StrictBool = False
    timezone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    quiet_hours: Annotated[str, AfterValidator(_hours)] | None = None


class _Way(BaseModel):
    """What the file says of a channel."""

    model_config = ConfigDict(extra="forbid")
    strangers: Strangers = "nothing"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    # `api:ci` would be the name of somebody who is no person.
    people: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")], _Entry] = {}
    roles: dict[str, str] = {}
    channels: dict[Literal["slack", "email", "sms"], _Way] = {}


class PeopleFileError(Exception):
    """The file cannot be used. The text says where and why, a line for each mistake."""


class PeopleFile:
    """The directory of people, as the file has it now."""

    def __init__(
        self, path: Path, *, clock: Clock | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock`: the wall clock, for the file's own times; `monotonic`: seconds, for how long it was seen so."""
        self._path = path
        self._file = WatchedFile(path, clock or SystemClock(), monotonic)
        self._people = People()

    def load(self) -> People:
        """Read the file. Raises PeopleFileError. A file that is not there holds nobody."""
        try:
            self._people = parse_people(self._file.read())
        except (OSError, ValueError) as error:
            raise PeopleFileError(self._told(error)) from error
        return self._people

    def __call__(self) -> People:
        """The people now. Cheap: the file is read again only when it has changed, until the change counts."""
        try:
            if (text := self._file.news()) is not None:
                self._people = parse_people(text)
                logger.info("people_loaded", persons=len(self._people))
        except (OSError, ValueError) as error:
            logger.error("people_file_is_wrong", error=self._told(error))  # noqa: TRY400 the text says it all
        return self._people

    def _told(self, error: Exception) -> str:
        return "\n".join(f"{self._path}: {line}" for line in str(error).splitlines())


def parse_people(text: str) -> People:
    """The directory from TOML: `[people.<id>]` for each person, and perhaps `[roles]` and `[channels.<channel>]`.

    Raises ValueError with a line for each mistake.
    """
    table = toml_table(text)
    lines: list[str] = []
    file = _File()
    try:
        file = _File.model_validate(table)
    except ValidationError as error:
        lines = [_line(one) for one in error.errors()]
    lines += [*_shared_addresses(table), *_unknown_roles(table)]
    if lines:
        raise ValueError("\n".join(dict.fromkeys(lines)))
    return people_from(
        {person_id: entry.model_dump(exclude_none=True) for person_id, entry in file.people.items()},
        roles=file.roles,
        strangers={channel: way.strangers for channel, way in file.channels.items()},
    )


def _shared_addresses(table: dict[str, Any]) -> Iterator[str]:
    """Looked for in the raw file, so that a mistake elsewhere does not hide them."""
    owners: dict[str, str] = {}
    for person_id, entry in _tables(table.get("people")):
        for key, channel in ADDRESS_KEYS.items():
            for place in _texts(entry.get(key)):
                address = address_of(channel, place)
                owner = owners.setdefault(address, person_id)
                if owner != person_id:
                    yield (
                        f"[people.{person_id}] {key}: {address} belongs to both {owner} and {person_id}; "
                        "an address has one owner, so take it from one of them"
                    )


def _unknown_roles(table: dict[str, Any]) -> Iterator[str]:
    if "roles" not in table or not isinstance(table["roles"], dict):
        return
    known = list(cast("dict[str, object]", table["roles"]))
    for person_id, entry in _tables(table.get("people")):
        for role in _texts(entry.get("roles")):
            if role not in known:
                near = difflib.get_close_matches(role, known, n=1)
                such = f"did you mean {near[0]}? " if near else ""
                yield (
                    f"[people.{person_id}] roles: there is no role {role[:60]!r}; {such}"
                    f"[roles] has {', '.join(known) or 'none'}"
                )


def _tables(value: object) -> list[tuple[str, dict[str, object]]]:
    if not isinstance(value, dict):
        return []
    tables = cast("dict[str, object]", value).items()
    return [(key, cast("dict[str, object]", one)) for key, one in tables if isinstance(one, dict)]


def _texts(value: object) -> list[str]:
    values = cast("list[object]", value) if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str)]


_TABLES = "persons are written as [people.<id>], roles in [roles], and channels as [channels.<channel>]"
_KEYS = f"a person has {', '.join(_Entry.model_fields)}"


def _line(error: ErrorDetails) -> str:
    """One mistake as `[table] key: what to write`."""
    table, *place = [str(part) for part in error["loc"]]
    if table == "people":
        return _line_of_a_person(error, place)
    if table == "roles":
        return f"[roles]{f' {place[0]}' if place else ''}: write what the role may, in words, as in: {_EXAMPLE_ROLE}"
    if table != "channels":
        return f"unknown table [{table}]; {_TABLES}"
    if len(place) <= 1 or place[1] == "[key]":
        return (
            f"[channels.{place[0] if place else '<channel>'}]: a channel is slack, email or sms, with: {_EXAMPLE_WAY}"
        )
    return f'[channels.{place[0]}] {place[1]}: write strangers = "nothing", "ask" or "launch"'


_EXAMPLE_ROLE = 'approver = "Approves deploys to production."'
_EXAMPLE_WAY = 'strangers = "ask"'


def _line_of_a_person(error: ErrorDetails, place: list[str]) -> str:
    person, *keys = place or ["<id>"]
    match error["type"]:
        case "extra_forbidden":
            why = f"there is no such key; {_KEYS}"
        case "string_pattern_mismatch":
            why = "an id is made of letters, digits, - and _"
        case "missing":
            why = 'this key is missing; write name = "Ana Ruiz"'
        case "dict_type" | "model_type":
            why = f"a person is a table with {', '.join(_Entry.model_fields)}"
        case "list_type":
            why = 'write a list of texts, such as ["engineer"]'
        case "bool_type":
            why = "write external = true or external = false"
        case "string_type":
            why = "write a text, in quotation marks"
        case "string_too_short" | "string_too_long":
            why = "write a name of 1 to 100 characters"
        case _:
            why = error["msg"].removeprefix("Value error, ")
    where = ".".join(key for key in keys if key != "[key]")
    return f"[people.{person}]{f' {where}' if where else ''}: {why}"
