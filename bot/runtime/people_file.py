"""Reads `PEOPLE_FILE`, and reads it again when it changes. A broken change keeps the people of before, and says so."""

from __future__ import annotations

import tomllib
from pathlib import Path

import structlog
from pydantic import ValidationError

from bot.core.people import People, people_from

logger = structlog.get_logger(__name__)


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
    return people_from(table.get("people", {}))


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{error.title} {first['input']!r:.60}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).splitlines()[0]
