"""Tables for people: as wide as the terminal, and of a fixed width where something else reads them."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

WIDE_COLUMNS = 200
"""The width of what is piped: a file or a `grep` has no window that could be too narrow."""


def wide_or_terminal(columns: int = WIDE_COLUMNS) -> Console:
    """Where tables go: the terminal, or a pipe of this width. Made anew each time, because windows change."""
    # Without rich's colours for numbers, which split ids and versions.
    console = Console(highlight=False)
    return console if console.is_terminal else Console(width=columns, highlight=False)


def show_table(table: Table, columns: int = WIDE_COLUMNS) -> None:
    """Print a table; in a terminal, what does not fit is cut."""
    wide_or_terminal(columns).print(table, crop=True)
