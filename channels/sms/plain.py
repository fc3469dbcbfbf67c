"""The text of people, tools and models, made fit for a phone: no marks, no tricks. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from markdown_it import MarkdownIt
from markdown_it.token import Token

from channels.sms.segments import to_plain

_MAX_READ = 20_000
"""A phone shows the beginning of a text; nobody needs the rest of it parsed."""
_INVISIBLE = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C])
_DROPPED = frozenset(("Cc", "Cs", "Co", "Cn"))
_markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def clean(text: str) -> str:
    """Without control characters, and without the marks that would make text run backwards over other text."""
    lines = text.translate(_INVISIBLE).replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n")
    lines = lines.replace("\u2029", "\n")
    return "".join(one for one in lines if one in "\n\t" or unicodedata.category(one) not in _DROPPED)


def one_line(text: str) -> str:
    """Cleaned, plain, and in one line: it cannot pose as a line of ours."""
    return " ".join(to_plain(clean(text[:_MAX_READ])).split())


def from_markdown(text: str) -> str:
    """Markdown as plain lines: no marks, a table's rows as `first: second, third`, empty lines dropped."""
    lines = _lines(_markdown.parse(clean(text[:_MAX_READ])))
    return "\n".join(shown for line in lines if (shown := " ".join(to_plain(line).split())))


def _lines(tokens: list[Token]) -> Iterable[str]:
    bullet, cells, in_head, in_row = "", list[str](), False, False
    for token in tokens:
        match token.type:
            case "list_item_open":
                bullet = f"{token.info}{token.markup} " if token.info else "- "
            case "thead_open" | "thead_close":
                in_head = token.type == "thead_open"
            case "tr_open":
                cells, in_row = [], True
            case "tr_close":
                in_row = False
                if not in_head:  # column names mean nothing beside `first: second`
                    yield _row(cells)
            case "inline" if in_row:
                cells.append(_inline(token))
            case "inline":
                yield from _prefixed(bullet, _inline(token))
                bullet = ""
            case "fence" | "code_block" | "html_block":
                yield from token.content.split("\n")
            case _:
                pass


def _prefixed(bullet: str, text: str) -> Iterable[str]:
    first, *more = text.split("\n")
    return [bullet + first, *more]


def _row(cells: list[str]) -> str:
    first, rest = cells[0] if cells else "", ", ".join(cell for cell in cells[1:] if cell)
    return f"{first}: {rest}" if rest else first


def _inline(token: Token) -> str:
    """The text of a line. An address stands beside its label, so that a link leads where it seems to lead."""
    said: list[str] = []
    label_from, address = 0, ""
    for child in token.children or ():
        if child.type in {"softbreak", "hardbreak"}:
            said.append("\n")
        elif child.type == "link_open":
            label_from, address = len(said), str(child.attrGet("href") or "")
        elif child.type == "link_close":
            label = "".join(said[label_from:])
            if label.strip() not in {address, address.removeprefix("mailto:")}:
                said.append(f" ({address})")
        else:  # text, code, an image's description
            said.append(child.content)
    return "".join(said)
