"""Reads `PEOPLE_FILE`, and reads it again when it changes. A broken change keeps the people of before, and says so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated

import phonenumbers
import structlog
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from bot.core.people import People, people_from

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


# `api:ci` or `system` would be the name of somebody who is no person.
_ID = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
_FILE: TypeAdapter[dict[str, _Entry]] = TypeAdapter(dict[_ID, _Entry])


class PeopleFileError(Exception):
    """The file cannot be used. The text says where and why."""


class PeopleFile:
    """The directory of people, as the file has it now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._people = People()

    def load(self) -> People:
        """Read the file. Raises PeopleFileError. A file that is not there holds nobody."""
        try:
            self._stamp = self._now()
            text = self._path.read_text(encoding="utf-8") if self._stamp else ""
            self._people = parse_people(text)
        except (OSError, ValueError) as error:
            raise PeopleFileError(f"{self._path}: {_first_line(error)}") from error
        return self._people

    def __call__(self) -> People:
        """The people now. Cheap: the file is read again only when it has changed."""
        try:
            if self._now() != self._stamp:
                self.load()
                logger.info("people_loaded", persons=len(self._people))
        except (OSError, PeopleFileError) as error:
            logger.error("people_file_is_wrong", error=str(error))  # noqa: TRY400 the text says it all
        return self._people

    def _now(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_size


def parse_people(text: str) -> People:
    """The directory from TOML: one table for each person, `[people.<id>]`. Raises ValueError."""
    table = tomllib.loads(text)
    unknown = set(table) - {"people"}
    if unknown:
        raise ValueError(f"unknown table [{min(unknown)}]; persons are written as [people.<id>]")
    _FILE.validate_python(table.get("people", {}))
    return people_from(table.get("people", {}))


def _first_line(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error).splitlines()[0]
    first = error.errors()[0]
    person, *place = (str(part) for part in first["loc"]) if first["loc"] else ("<id>",)
    match first["type"]:
        case "extra_forbidden":
            why = f"there is no such key; a person has {', '.join(_Entry.model_fields)}"
        case "string_pattern_mismatch":
            why = "an id is made of letters, digits, - and _"
        case "missing":
            why = "this key is missing"
        case "dict_type" | "model_type":
            why = f"a person is a table with {', '.join(_Entry.model_fields)}"
        case "list_type":
            why = 'write a list of texts, such as ["engineer"]'
        case _:
            why = first["msg"].removeprefix("Value error, ")
    keys = ".".join(part for part in place if part != "[key]")
    return f"[people.{person}]{f' {keys}' if keys else ''}: {why}"
