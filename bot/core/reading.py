"""What a person's written reply decides (EM11, EM12). Pure.

Only a line that says nothing else decides. Everything that is less than unmistakable is no decision: asking once more
costs a mail, guessing costs a deploy. No model is ever asked here.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from bot.core.wording import APPROVE_WORDS, ASK_WORDS, DENY_WORDS, NO_WORDS, YES_WORDS, cut, normalise

MAX_COMMENT = 1000
"""Characters of a comment."""
_LINE_BREAK = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_LONGEST_LINE = 200
"""No list has a word or a choice as long as this; a longer line is not even compared."""
_LONGEST_REST = 20_000
_DOUBT = ("..", "~~", "?")
_NUMBER = re.compile(r"(?:#\s?)?(\d{1,3})[.)]?|\((\d{1,3})\)")


@dataclass(frozen=True)
class Decision:
    """What a reply decides."""

    verdict: Literal["approve", "deny"] | None
    """None: no decision, and nothing may be done on the strength of it."""
    comment: str = ""
    """What stands below the deciding line, cut to `MAX_COMMENT` characters."""


NO_DECISION = Decision(None)


def read_decision(text: str) -> Decision:
    """The decision that the first non-blank line of a text makes. Quoted parts must be gone from it already (EM13)."""
    line, rest = _first_line(text)
    words = "" if _is_doubtful(line) else _comparable(line)
    below = {_comparable(one) for one in _LINE_BREAK.split(rest[:_LONGEST_REST])}
    if (words in APPROVE_WORDS and below & DENY_WORDS) or (words in DENY_WORDS and below & APPROVE_WORDS):
        return NO_DECISION  # both words: nobody can tell which one was meant last
    if words in APPROVE_WORDS:
        return Decision("approve", cut(rest.strip(), MAX_COMMENT))
    if words in DENY_WORDS:
        return Decision("deny", cut(rest.strip(), MAX_COMMENT))
    return NO_DECISION


def read_question(text: str) -> str | None:
    """What an approver wants to know first: the text below a first line that says nothing but `ASK`, or behind it."""
    line, rest = _first_line(text)
    word, _, behind = line.strip().partition(" ")
    if _comparable(word) not in ASK_WORDS:
        return None
    return cut(f"{behind.strip()}\n{rest.strip()}".strip(), MAX_COMMENT) or None


def match_choice(text: str, choices: tuple[str, ...]) -> str | None:
    """The one choice that the first non-blank line names, by its text, its number from 1, or a word for yes or no.

    None where it names none, or more than one.
    """
    line, _ = _first_line(text)
    words = _comparable(line)
    if not words:
        return None
    by_text = [choice for choice in choices if normalise(choice) == words]
    if by_text:
        return by_text[0] if len(by_text) == 1 else None
    number = _NUMBER.fullmatch(unicodedata.normalize("NFKC", line).strip())
    if number:
        # Where choices are numbers themselves, "2" may mean the second or a mistyped one: nobody can tell.
        numeric = any(normalise(choice).isdigit() for choice in choices)
        place = int(number.group(1) or number.group(2))
        return choices[place - 1] if 1 <= place <= len(choices) and not numeric else None
    return None if _is_doubtful(line) else _yes_or_no(words, choices)


def _yes_or_no(words: str, choices: tuple[str, ...]) -> str | None:
    if sorted(normalise(choice) for choice in choices) != ["no", "yes"]:
        return None
    said = "yes" if words in YES_WORDS else "no" if words in NO_WORDS else None
    return next((choice for choice in choices if normalise(choice) == said), None)


def _first_line(text: str) -> tuple[str, str]:
    """The first line with anything on it, and all that follows."""
    start = 0
    for end in _LINE_BREAK.finditer(text):
        if _says_something(text[start : end.start()]):
            return text[start : end.start()], text[end.end() :]
        start = end.end()
    return text[start:], ""


def _says_something(line: str) -> bool:
    return bool(line.removeprefix("\ufeff").strip())


def _comparable(line: str) -> str:
    """The line as the lists have it; empty where it may hide something.

    Invisible characters (zero-width, direction overrides, controls) make a line look like what it is not. One byte
    order mark in front is what careless software writes.
    """
    line = line.removeprefix("\ufeff")
    if len(line) > _LONGEST_LINE or any(map(_is_invisible, line)):
        return ""
    return normalise(line)


def _is_doubtful(line: str) -> bool:
    """A question, trailing dots, or a word that was struck out."""
    plain = unicodedata.normalize("NFKC", line[:_LONGEST_LINE])
    return any(doubt in plain for doubt in _DOUBT)


def _is_invisible(character: str) -> bool:
    return character != "\t" and unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn"}
