"""The parts that a mail is made of, and how each reads as plain text. The HTML part is made of the same parts. Pure."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal, assert_never

from bot.core.views import Mood
from bot.core.wording import cut

MAX_SUBJECT = 150
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_LINE_ENDS = re.compile("\r\n?|[\u2028\u2029\u0085\u000b\u000c]")
_MARKS: dict[Mood, str] = {"open": "-", "good": "OK", "bad": "!", "quiet": "-", "busy": "..."}


@dataclass(frozen=True)
class Heading:
    """What the mail is about."""

    text: str
    kind: Literal["heading"] = "heading"


@dataclass(frozen=True)
class Standing:
    """How it stands now."""

    text: str
    mood: Mood
    kind: Literal["standing"] = "standing"


@dataclass(frozen=True)
class Paragraph:
    """Somebody's plain text, with its line ends."""

    text: str
    quoted: bool = False
    """Set off in the plain part, so that no line of it can pass for a line of whoever answers (EM13)."""
    kind: Literal["paragraph"] = "paragraph"


@dataclass(frozen=True)
class Answer:
    """The agent's own text: markdown, and what became of it as HTML."""

    text: str
    html: str
    tone: Literal["answer", "notice", "problem"]
    kind: Literal["answer"] = "answer"


@dataclass(frozen=True)
class Table:
    """Labels and what is so."""

    rows: tuple[tuple[str, str], ...]
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Warn:
    """Something that whoever decides must not overlook."""

    text: str
    kind: Literal["warn"] = "warn"


@dataclass(frozen=True)
class Verbatim:
    """Longer plain text, such as a list of commits."""

    text: str
    kind: Literal["verbatim"] = "verbatim"


@dataclass(frozen=True)
class Choices:
    """What can be chosen, numbered from 1."""

    items: tuple[str, ...]
    kind: Literal["choices"] = "choices"


@dataclass(frozen=True)
class HowTo:
    """Our own word on what to do."""

    text: str
    kind: Literal["how_to"] = "how_to"


@dataclass(frozen=True)
class Link:
    """A way to a page of ours. A button, where the page is the point of the mail."""

    text: str
    url: str
    button: bool = False
    kind: Literal["link"] = "link"


@dataclass(frozen=True)
class Small:
    """What is good to know."""

    text: str
    kind: Literal["small"] = "small"


Part = Heading | Standing | Paragraph | Answer | Table | Warn | Verbatim | Choices | HowTo | Link | Small


def clean(text: str) -> str:
    """Without control characters, bidirectional overrides and lone surrogates; line ends are line feeds."""
    text = _BIDI.sub("", _LINE_ENDS.sub("\n", text))
    return "".join(
        "\ufffd" if "\ud800" <= one <= "\udfff" else one
        for one in text
        if one in "\n\t" or unicodedata.category(one) != "Cc"
    )


def one_line(text: str, limit: int = 2_000) -> str:
    """The same as a single line; what is cut is seen to be cut."""
    return cut(" ".join(clean(text).split()), limit)


def subject_line(text: str) -> str:
    """What may stand in a Subject header: one line, never empty (EM23)."""
    return one_line(text, MAX_SUBJECT) or "(no subject)"


def plain_text(parts: tuple[Part, ...]) -> str:
    """The parts as the plain part of a mail, with line feeds and one at the end."""
    return "\n\n".join(filter(None, (_plain(part) for part in parts))) + "\n"


def _plain(part: Part) -> str:
    match part:
        case Heading() | HowTo() | Small():
            return part.text
        case Standing():
            return f"[{_MARKS[part.mood]}] {part.text}"
        case Paragraph():
            return _set_off(part.text) if part.quoted else part.text
        case Answer():
            return part.text
        case Table():
            return "\n".join(f"{label}: {_indented(value)}" for label, value in part.rows)
        case Warn():
            return f"Warning: {_indented(part.text)}"
        case Verbatim():
            return _set_off(part.text)
        case Choices():
            return "\n".join(f"{at}. {_indented(item)}" for at, item in enumerate(part.items, 1))
        case Link():
            return f"{part.text}:\n{part.url}"
        case _:
            assert_never(part)


def _set_off(text: str) -> str:
    return "\n".join(f"| {line}".rstrip() for line in text.strip("\n").split("\n"))


def _indented(text: str) -> str:
    """A value of several lines: none of them begins where a line of an answer would."""
    first, *rest = text.strip().split("\n")
    return "\n".join((first, *(f"  | {line}" for line in rest)))
