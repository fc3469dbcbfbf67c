"""Audit records for people: a table, or a few lines for each record where the window is too narrow for one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from bot.cli.tables import show_table, wide_or_terminal
from bot.core.wording import cut

_TABLE_COLUMNS = 130
"""In a narrower terminal a table would leave nothing of its last column."""
_STYLES = {"decided": "green", "refused": "yellow", "turned_away": "yellow", "started": "cyan", "failed": "red"}


def show_records(rows: Iterable[dict[str, Any]]) -> None:
    """Print records, as `bot.cli.audit_search` finds them."""
    if (paper := wide_or_terminal()).width < _TABLE_COLUMNS:
        for entry in rows:
            when, where, what, who, known_by, how = _row(entry)
            paper.print(f"{when}  {what}  [bold]{who}[/]", f"  {where}", sep="\n")
            if known_by or how:
                paper.print(f"  {'; '.join(one for one in (known_by, how) if one)}", style="dim")
        return
    table = Table(
        Column("when (UTC)", no_wrap=True, min_width=16),
        Column("thread:event", no_wrap=True, min_width=28),
        Column("what", no_wrap=True, min_width=14),
        Column("who", no_wrap=True, min_width=10),
        Column("known by", no_wrap=True),
        Column("of what, and how", overflow="fold"),
        box=None,
        pad_edge=False,
    )
    for entry in rows:
        table.add_row(*_row(entry))
    show_table(table)


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    what = entry["what"]
    words = [entry.get("verdict", ""), entry.get("title", "") or entry.get("tool", "") or entry.get("agent", "")]
    words += [f"{key} {entry[key]}" for key in ("rule", "choice", "status", "request", "to") if key in entry]
    words += [f"at {entry['share']:.0%} of its life"] if "share" in entry else []
    words += [f"step {entry['step'] + 1}"] if "step" in entry else []
    words += [f"changed by {entry['edited_by']}"] if "edited_by" in entry else []
    words += [f"asked {', '.join(entry['asked'])}"] if "asked" in entry else []
    words += [f"approved by {', '.join(entry['approved_by'])}"] if "approved_by" in entry else []
    words += [entry[key] for key in ("summary",) if key in entry]
    words += [f"withdrew {', '.join(entry['withdrew'])}"] if "withdrew" in entry else []
    words += [f"after a message of {entry['after']}"] if "after" in entry else []
    who = entry.get("who", {})
    unnamed = "the agent" if what == "withdrawn" else ""
    return (
        entry["at"][:16].replace("T", " "),
        f"{_clean(entry['thread'])}:{entry['seq']}",
        f"[{_STYLES.get(what, 'none')}]{what}[/]",
        _clean(who.get("name", "") or entry.get("address", "") or unnamed),
        _clean(cut(entry.get("authenticated_by", ""), 40)),
        _clean("; ".join(word for word in words if word)),
    )


def _clean(text: str) -> str:
    """Fit for a terminal: text of people cannot pose as markup, nor move the cursor."""
    return escape("".join(letter if letter.isprintable() else "�" for letter in text))
