"""Changing a proposed call before it is approved (AP13): what can be changed, and what was typed as arguments. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from bot.core.values import Arguments

MAX_TYPED = 4_000
"""Characters of one argument, as a person types it."""


@dataclass(frozen=True)
class Field:
    """One argument of a call, as text."""

    name: str
    text: str
    about: str = ""
    """What the tool says about it."""


def fields_of(arguments: Arguments, schema: type[BaseModel]) -> tuple[Field, ...]:
    """Every argument that the tool takes, with what was proposed for it."""
    return tuple(
        Field(name, _shown(arguments.get(name, info.get_default())), info.description or "")
        for name, info in schema.model_fields.items()
    )


def arguments_from(proposed: Arguments, typed: Mapping[str, str], schema: type[BaseModel]) -> Arguments:
    """The arguments that a person typed. Raises ValueError with what is wrong with them, for the person to read."""
    wanted = dict(proposed)
    for name, text in typed.items():
        if name not in schema.model_fields:
            raise ValueError(f"there is no argument called {name[:60]}")
        if text.strip() != _shown(proposed.get(name, schema.model_fields[name].get_default())):
            wanted[name] = _read(text.strip()[:MAX_TYPED], schema, name)
    if wanted == dict(proposed):
        raise ValueError("nothing was changed")
    try:
        schema.model_validate(wanted)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}" for one in error.errors())
        raise ValueError("; ".join(problems)[:500]) from None
    return wanted


def _shown(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _read(text: str, schema: type[BaseModel], name: str) -> object:
    """As text where the tool takes text, else as JSON."""
    if not text and not schema.model_fields[name].is_required():
        return schema.model_fields[name].get_default()
    wanted: Any = schema.model_fields[name].annotation
    if wanted is str or str in get_args(wanted):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
