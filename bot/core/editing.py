"""Changing a proposed call before it is approved (AP13): what can be changed, and what was typed as arguments. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from bot.core.values import Arguments
from bot.core.wording import readable

MAX_TYPED = 3_000
"""Characters of one argument, as a person types it."""


class NothingChanged(ValueError):  # noqa: N818 an answer, not a mistake
    """What was typed is what was proposed."""


def why_not(error: ValueError) -> str:
    """What a person is told whose change cannot be made."""
    if isinstance(error, NothingChanged):
        return "You changed nothing, so the request is as it was."
    return f"That cannot be run: {error}. The request is as it was."


@dataclass(frozen=True)
class Field:
    """One argument of a call, as text."""

    name: str
    text: str
    about: str = ""
    """What the tool says about it."""
    required: bool = False
    """It has no default that an empty text could stand for."""


def fields_of(arguments: Arguments, schema: type[BaseModel]) -> tuple[Field, ...]:
    """Every argument that the tool takes and that fits a form, with what was proposed for it."""
    found = (
        Field(name, _shown(_proposed(arguments, name, info)), info.description or "", info.is_required())
        for name, info in schema.model_fields.items()
    )
    return tuple(field for field in found if len(field.text) <= MAX_TYPED)


def arguments_from(proposed: Arguments, typed: Mapping[str, str], schema: type[BaseModel]) -> Arguments:
    """The arguments that a person typed. Raises ValueError with what is wrong with them, for the person to read."""
    wanted = dict(proposed)
    for name, text in typed.items():
        info = schema.model_fields.get(name)
        if info is None:
            raise ValueError(f"there is no argument called {readable(name)[:60]}")
        # Forms change line breaks and the blanks at the ends; what was left as it was offered stays as it was.
        offered = _plain(_shown(_proposed(proposed, name, info)))
        if _plain(text) not in {offered, readable(offered)}:
            if len(_plain(text)) > MAX_TYPED:
                raise ValueError(f"{name} is too long: {MAX_TYPED:,} characters are the most")
            wanted[name] = _read(_plain(text), info)
    return _checked(wanted, proposed, schema)


def arguments_with(proposed: Arguments, changes: Arguments, schema: type[BaseModel]) -> Arguments:
    """The arguments with some of them replaced, by a program. Raises ValueError with what is wrong with them."""
    for name in changes:
        if name not in schema.model_fields:
            raise ValueError(f"there is no argument called {readable(name)[:60]}")
    return _checked({**proposed, **changes}, proposed, schema)


def _checked(wanted: Arguments, proposed: Arguments, schema: type[BaseModel]) -> Arguments:
    if wanted == dict(proposed):
        raise NothingChanged("nothing was changed")
    try:
        schema.model_validate(wanted)
        json.dumps(wanted, allow_nan=False, ensure_ascii=False, default=str).encode()
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}" for one in error.errors())
        raise ValueError("; ".join(problems)[:500]) from None
    except ValueError:
        raise ValueError("a value is none that can be kept") from None
    return wanted


def _proposed(arguments: Arguments, name: str, info: FieldInfo) -> object:
    if name in arguments:
        return arguments[name]
    return None if info.is_required() else info.get_default(call_default_factory=True)


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


def _shown(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _read(text: str, info: FieldInfo) -> object:
    """As text where the tool takes text, else as JSON."""
    if not text and not info.is_required():
        return info.get_default(call_default_factory=True)
    wanted: Any = info.annotation
    if wanted is str or (get_origin(wanted) in {Union, UnionType} and str in get_args(wanted)):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
