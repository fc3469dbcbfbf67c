"""Reads TOML that an operator wrote, so that no text of it can raise anything but a ValueError. Pure."""

from __future__ import annotations

import tomllib
from typing import Any, Final, cast

_DEEPEST: Final = 10
"""Levels of tables and lists in one another. The bot's files use four; what is very deep cannot even be printed."""
_LINE_END: Final = r"character '\n'"


def toml_table(text: str) -> dict[str, Any]:
    """What the text says. Raises ValueError (a TOMLDecodeError is one), also for what is nested too deeply."""
    too_deep = ValueError(f"tables and lists are nested too deeply; {_DEEPEST} levels are the most")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise too_deep from None
    except tomllib.TOMLDecodeError as error:
        if _LINE_END in str(error):  # what everybody forgets, and nobody reads out of the parser's words
            raise ValueError(f"{error}; is a closing quote missing?") from error
        raise
    level: list[object] = [table]
    for _ in range(_DEEPEST):
        level = [child for one in level for child in _inside(one)]
        if not level:
            return table
    raise too_deep


def _inside(one: object) -> list[object]:
    """The tables and lists directly in a table or a list."""
    values = cast("dict[str, object]", one).values() if isinstance(one, dict) else cast("list[object]", one)
    return [value for value in values if isinstance(value, dict | list)]
