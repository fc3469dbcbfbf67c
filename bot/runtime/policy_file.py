"""Reads `POLICY_FILE`, and reads it again when it changes. A broken change keeps the policies of before, and says so.

All mistakes of a file are told at once: one line each, with the place and what to write. Beside what the file says by
itself, its roles and persons are held against the people file, its tools and their arguments against the agents.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import structlog
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bot.core.agent import Agent
from bot.core.people import People
from bot.core.policies import (
    Escalation,
    Policies,
    Policy,
    entry_mistakes,
    path_mistakes,
    unknown_names,
    unknown_tools,
)
from bot.core.protocols import Clock
from bot.core.toml_table import toml_table
from bot.runtime.clock import SystemClock
from bot.runtime.watched_file import WatchedFile

logger = structlog.get_logger(__name__)
_MAX_ENTRIES = 500
_WRITE: Final[Mapping[str, str]] = {
    "tool": 'a tool or several, such as tool = "deploy" or tool = ["deploy", "rollback"]',
    "when": 'a table of arguments, such as when = { environment = "production" }; each a text or a list of texts',
    "verdict": 'verdict = "run" or "refuse"; where people decide, leave it out',
    "why": 'a text of at most 500 characters, such as why = "Not before the sale is over."',
    "risk": 'risk = "low", "medium" or "high"',
    "roles": 'a list of roles, such as roles = ["approver"]',
    "persons": 'a list of ids of the people file, such as persons = ["lena"]',
    "approvals": "a whole number from 1 to 10, such as approvals = 2",
    "four_eyes": "four_eyes = true or false",
    "channels": 'a list of one channel at least, such as channels = ["slack", "email"]; or leave it out',
    "life": 'from a minute to 7 days, such as life = "45m", "2h" or "7d", or life = "never"',
    "reminders": 'growing shares of the life, at most 10, such as reminders = ["50%", "90%"]',
    "escalation": 'the name of a path, such as escalation = "oncall" for [escalations.oncall]',
    "wakes": "wakes = true or false",
    "after": 'a share of the request\'s life, such as after = "50%" or after = 0.5',
    "then": 'the name of the step that comes then, such as then = "leads" for [escalations.leads]',
}
"""What to write, by key."""


class PolicyFileError(Exception):
    """The file cannot be used. The text says where and why, a line for each mistake."""


class PolicyFile:
    """The policies, as the file has them now."""

    def __init__(
        self,
        path: Path,
        people: Callable[[], People],
        agents: Mapping[str, Agent],
        *,
        clock: Clock | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock`: the wall clock, for the file's own times; `monotonic`: seconds, for how long it was seen so."""
        self._path = path
        self._file = WatchedFile(path, clock or SystemClock(), monotonic)
        self._people = people
        self._tools = arguments_by_tool(agents.values())
        self._read_with: People | None = None
        self._policies = Policies()

    def load(self) -> Policies:
        """Read the file. Raises PolicyFileError. A file that is not there says nothing."""
        self._read_with = people = self._people()
        try:
            self._policies = parse_policies(self._file.read(), people, self._tools)
        except (OSError, ValueError) as error:
            raise PolicyFileError(self._told(error)) from error
        return self._policies

    def __call__(self) -> Policies:
        """The policies now. Cheap: the file is read again only when it has changed, or the people have."""
        # A file that names somebody new is right as soon as the people file has them.
        before, self._read_with = self._read_with, self._people()
        try:
            if (text := self._file.news(again=before is not self._read_with)) is not None:
                self._policies = parse_policies(text, self._read_with, self._tools)
                logger.info("policies_loaded", entries=len(self._policies.entries))
        except (OSError, ValueError) as error:
            logger.error("policy_file_is_wrong", error=self._told(error))  # noqa: TRY400 the text says it all
        return self._policies

    def _told(self, error: Exception) -> str:
        return "\n".join(f"{self._path}: {line}" for line in str(error).splitlines())


def arguments_by_tool(agents: Iterable[Agent]) -> dict[str, frozenset[str]]:
    """The names of the exact arguments of every tool of these agents."""
    return {
        tool.name: frozenset((tool.exact or tool.arguments).model_fields) for agent in agents for tool in agent.tools
    }


def names_as_typed(agents: Iterable[Agent]) -> dict[str, dict[str, str]]:
    """For every tool: exact arguments that hold a name as it was typed, and the argument that pins what it meant.

    An agent says it at the field of its `exact`: `Field(json_schema_extra={"pinned_by": "commit"})`.
    """
    return {
        tool.name: {
            name: pins
            for name, field in (tool.exact or tool.arguments).model_fields.items()
            if (pins := _pinned_by(field))
        }
        for agent in agents
        for tool in agent.tools
    }


def _pinned_by(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(cast("dict[str, object]", extra).get("pinned_by", "")) if isinstance(extra, dict) else ""


def parse_policies(text: str, people: People, tools: Mapping[str, Iterable[str]]) -> Policies:
    """The policies from TOML: `[[policies]]` and `[escalations.<name>]`. Raises ValueError, a line for each mistake.

    `tools`: the names of the exact arguments of every tool.
    """
    table = toml_table(text)
    lines = [
        f"unknown table [{name}]; there are [[policies]] and [escalations.<name>]"
        for name in table
        if name not in {"policies", "escalations"}
    ]
    steps, entries = _tables(table, lines)
    escalations: dict[str, Escalation] = {}
    for name, step in steps.items():
        place = f"[escalations.{name}]"
        try:
            one = escalations[name] = Escalation.model_validate(step)
        except ValidationError as error:
            lines += (f"{place} {line}" for line in _lines(error, Escalation))
        else:
            lines += (f"{place} {line}" for line in unknown_names(one, people))
    lines += path_mistakes(escalations, steps)
    found: list[Policy] = []
    for number, raw in enumerate(entries, 1):
        place = _place(number, raw)
        try:
            entry = Policy.model_validate(raw)
        except ValidationError as error:
            lines += (f"{place} {line}" for line in _lines(error, Policy))
        else:
            found.append(entry)
            wrong = (*entry_mistakes(entry, steps), *unknown_names(entry, people), *unknown_tools(entry, tools))
            lines += (f"{place} {line}" for line in wrong)
    if lines:
        raise ValueError("\n".join(dict.fromkeys(lines)))
    return Policies(tuple(found), escalations)


def _tables(table: dict[str, Any], lines: list[str]) -> tuple[dict[str, object], list[object]]:
    steps, entries = table.get("escalations", {}), table.get("policies", [])
    if not isinstance(steps, dict):
        lines.append("[escalations]: write a table for each step, such as [escalations.oncall]")
        steps = {}
    if not isinstance(entries, list):
        lines.append("[policies]: write each entry under [[policies]], with two brackets")
        entries = []
    if len(cast("list[object]", entries)) > _MAX_ENTRIES:
        lines.append(f"[[policies]]: there are more than {_MAX_ENTRIES}; let one entry stand for several calls, with *")
        entries = []
    return cast("dict[str, object]", steps), cast("list[object]", entries)


def _place(number: int, entry: object) -> str:
    """`[[policies]] 2 (deploy)`: entries have no names, so they are counted, and what they are about is told."""
    tool = cast("dict[str, object]", entry).get("tool", "") if isinstance(entry, dict) else ""
    named = ", ".join(map(str, cast("list[object]", tool))) if isinstance(tool, list) else str(tool)
    return f"[[policies]] {number}{f' ({named[:60]})' if named else ''}"


def _lines(error: ValidationError, model: type[Policy | Escalation]) -> list[str]:
    return [_line(one, tuple(model.model_fields)) for one in error.errors()]


def _line(error: ErrorDetails, keys: tuple[str, ...]) -> str:
    """One mistake as `key: problem. Write …`."""
    key = str(error["loc"][0]) if error["loc"] else ""
    if not key:
        return f"is no table; it has the keys {', '.join(keys)}"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, keys, n=1)
        return f"{key}: is not a known key. Write {near[0] if near else 'one of ' + ', '.join(keys)}."
    if error["type"] == "missing":
        return f"{key}: is missing. Write {_WRITE[key]}."
    problem = error["msg"].removeprefix("Value error, ") if error["type"] == "value_error" else "is not allowed"
    return f"{key}: {repr(error['input'])[:60]} {problem}. Write {_WRITE[key]}."
