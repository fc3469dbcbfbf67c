"""The deploy file (`deploy.toml`), read and checked as a whole.

It never guesses: a file with a mistake is refused, with one line for each mistake that says what to write instead.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator
from pydantic_core import ErrorDetails

from agents.deploy.environments import Environment, Step
from bot.core.toml_table import toml_table

# What to write, by the last key of the place where the mistake is.
_WRITE: Final[Mapping[str, str]] = {
    "service": 'a table [service] with name = "webshop"',
    "environments": "a table [environments.production] with deploy, current, risk, approvers and requesters",
    "name": 'a lower-case letter and then up to 30 lower-case letters, digits or dashes, such as "production"',
    "deploy": 'a list of words, such as deploy = ["./deploy.sh", "{environment}", "{commit}"]',
    "current": 'a list of words, such as current = ["./current.sh", "{environment}"]',
    "risk": 'risk = "low", "medium" or "high"',
    "approvers": 'a list of roles, or of persons with an @, such as approvers = ["approver", "@lena"]',
    "requesters": 'a list of roles, such as requesters = ["engineer", "approver"]',
    "approvals": "a whole number from 0 to 10, such as approvals = 1",
    "four_eyes": "four_eyes = true or false",
    "channels": 'one at least of slack, email, sms, api, such as channels = ["slack", "email"]; or leave it out',
    "reminders": 'growing shares of the life, such as reminders = ["50%", "90%"]; none: []',
    "after": 'a share of the life, such as after = "25%"',
    "ask": 'a list of roles, or of persons with an @, such as ask = ["oncall", "@lena"]',
    "escalation": 'a list of steps, such as escalation = [{ after = "25%", ask = ["oncall"], channels = ["sms"] }]',
    "approval_life_seconds": "a whole number from 60 to 604800, such as approval_life_seconds = 3600",
    "time_limit_seconds": "a whole number from 1 to 86400, such as time_limit_seconds = 900",
}


class ConfigurationError(Exception):
    """The deploy file is not usable; one line for each mistake: the file, the key, and what to write instead."""


class UnknownEnvironmentError(Exception):
    """Nobody defined an environment of this name; the message lists those that there are."""


@dataclass(frozen=True, slots=True)
class DeployFile:
    """A checked deploy file: its absolute path, the service's name, and its environments in the file's order."""

    path: Path
    service: str
    environments: Mapping[str, Environment]

    @property
    def directory(self) -> Path:
        """Where `current` commands run."""
        return self.path.parent

    def environment(self, name: str) -> Environment:
        """The environment of this name, or `UnknownEnvironmentError`."""
        if name not in self.environments:
            known = ", ".join(self.environments)
            raise UnknownEnvironmentError(f'There is no environment called "{name[:60]!s}". There are: {known}.')
        return self.environments[name]


class _Service(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    service: _Service
    environments: Annotated[dict[str, Environment], Field(min_length=1)]

    @field_validator("environments", mode="before")
    @classmethod
    def _name_each(cls, tables: object) -> object:
        if not isinstance(tables, dict):
            return tables
        return {
            name: {"name": name, **cast("dict[str, object]", table)} if isinstance(table, dict) else table
            for name, table in cast("dict[str, object]", tables).items()
        }

    @field_validator("environments")
    @classmethod
    def _named_once(cls, tables: dict[str, Environment]) -> dict[str, Environment]:
        if wrong := next((name for name, environment in tables.items() if name != environment.name), None):
            raise ValueError(f"{wrong}.name is not a known key; the name stands in [environments.{wrong}] alone")
        return tables


def load(path: Path) -> DeployFile:
    """Read and check a deploy file; `ConfigurationError` when it is missing, is not TOML or says something wrong."""
    path = path.absolute()
    try:
        raw = toml_table(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read ({error.strerror}). Write the file or set DEPLOY_FILE."
        ) from None
    except ValueError as error:  # no UTF-8, no TOML, or TOML that nobody could read
        raise ConfigurationError(f"{path}: is not TOML: {error}.") from None
    try:
        file = _File.model_validate(raw, context={"directory": path.parent})
    except ValidationError as invalid:
        raise ConfigurationError("\n".join(f"{path}: {_line(error)}" for error in invalid.errors())) from None
    return DeployFile(path, file.service.name, MappingProxyType(file.environments))


def _line(error: ErrorDetails) -> str:
    """One mistake as `key: problem. Write …`."""
    place = [str(part) for part in error["loc"]]
    key = next((part for part in reversed(place) if part in _WRITE), "")
    if key == "name" and place[0] == "environments":
        place, problem = place[:-1], "is not a name for an environment"
    elif error["type"] == "missing":
        problem = "is missing"
    elif error["type"] == "extra_forbidden":
        model = _File if len(place) == 1 else _Service if place[0] == "service" else Environment
        model = Step if "escalation" in place[:-1] else model
        known = [name for name in model.model_fields if (model, name) != (Environment, "name")]
        near = difflib.get_close_matches(place[-1], known, n=1)
        return f"{'.'.join(place)}: is not a known key. Write {near[0] if near else 'one of ' + ', '.join(known)}."
    elif error["type"] == "value_error":
        problem = error["msg"].removeprefix("Value error, ")
        if "; " in problem:
            return f"{'.'.join(place)}: {problem}."
    else:
        problem = f"{repr(error['input'])[:60]} is not allowed"
    return f"{'.'.join(place)}: {problem}. Write {_WRITE[key]}." if key else f"{'.'.join(place)}: {problem}."
