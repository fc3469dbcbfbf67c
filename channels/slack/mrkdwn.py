"""Text for Slack: escaped, bounded, and from Markdown to Slack's own mark-up. Pure.

What a human, a tool or a model wrote never becomes a mention, a link to somewhere else than it shows, or a command.
"""

from __future__ import annotations

import re
import unicodedata

_FENCE = re.compile(r"^\s*```")
_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+(.+?)\s*#*$")
_BULLET = re.compile(r"^(\s*)[-*+]\s+")
_BOLD = re.compile(r"\*\*(?=\S)(.+?)(?<=\S)\*\*|__(?=\S)(.+?)(?<=\S)__")
_STRIKE = re.compile(r"~~(?=\S)(.+?)(?<=\S)~~")
_LINK = re.compile(r"\[([^\]\n]{1,500})\]\((https?://[^\s)]{1,1500})\)")
_CHANNEL = re.compile(r"(?<!\w)#(C[A-Z0-9]{2,30})\b")
_CODE = re.compile(r"(`[^`\n]+`)")
_MADE_LINK = re.compile(r"(<[^>]*>)")
_BIDI = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C])


def clean(text: str) -> str:
    """Without control characters, and without the marks that would make text run backwards over other text.

    Right-to-left letters stay: their direction is their own.
    """
    kept = text.translate(_BIDI).replace("\r\n", "\n").replace("\r", "\n")
    return "".join(one for one in kept if one in "\n\t" or unicodedata.category(one) not in {"Cc", "Cs"})


def escape(text: str) -> str:
    """SL14: nothing in it is an entity, a mention or a link."""
    return clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def with_channels(text: str) -> str:
    """Escaped, with channels by their names where the text has `#` and a channel's id."""
    return _CHANNEL.sub(r"<#\1>", escape(text))


def from_markdown(text: str) -> str:
    """Markdown as mrkdwn; escaped first, so that only what is converted here has a meaning."""
    lines: list[str] = []
    in_fence = False
    for line in escape(text).split("\n"):
        if _FENCE.match(line):
            in_fence = not in_fence
            lines.append("```")
            continue
        lines.append(line if in_fence else _inline(line))
    if in_fence:
        lines.append("```")
    return "\n".join(lines)


def _inline(line: str) -> str:
    heading = _HEADING.match(line)
    if heading:
        return f"*{heading[1].replace('*', '')}*"
    parts = _CODE.split(_BULLET.sub(r"\1• ", line))
    return "".join(part if index % 2 else _marks(part) for index, part in enumerate(parts))


def _marks(text: str) -> str:
    parts = _MADE_LINK.split(_LINK.sub(_linked, text))
    return "".join(part if index % 2 else _emphasis(part) for index, part in enumerate(parts))


def _emphasis(text: str) -> str:
    text = _BOLD.sub(lambda found: f"*{found[1] or found[2]}*", text)
    return _STRIKE.sub(r"~\1~", text)


def _linked(found: re.Match[str]) -> str:
    # The address is shown beside another label, so that a link cannot pretend to lead somewhere else.
    label, address = found[1].replace("|", "/"), found[2].replace("|", "%7C")
    plain = address.partition("://")[2].rstrip("/")
    return f"<{address}|{label}>" if label in {address, plain} else f"{label} (<{address}>)"


def cut_escaped(text: str, limit: int, note: str = "… [cut]") -> str:
    """Cut already escaped text visibly, never in the middle of an entity or a link."""
    if len(text) <= limit:
        return text
    head = text[: limit - len(note)]
    for opening, closing in (("&", ";"), ("<", ">")):
        start = head.rfind(opening)
        if start > head.rfind(closing):
            head = head[:start]
    return head + note


def split(text: str, limit: int) -> list[str]:
    """Pieces of at most `limit` characters, at line ends where possible, with code fences closed and opened again."""
    pieces: list[str] = []
    current: list[str] = []
    size, in_fence = 0, False
    room = limit - 8  # for the fences that a cut adds
    for line in text.split("\n"):
        for part in _chunks(line, room):
            opening = ["```"] if in_fence else []
            if size + len(part) + 1 > room and current != opening:
                pieces.append("\n".join([*current, "```"] if in_fence else current))
                current, size = (["```"], 4) if in_fence else ([], 0)
            current.append(part)
            size += len(part) + 1
            if part.strip() == "```":
                in_fence = not in_fence
    pieces.append("\n".join(current))
    return [piece for piece in pieces if piece.strip()]


def _chunks(line: str, room: int) -> list[str]:
    chunks: list[str] = []
    at = 0
    while len(line) - at > room:
        head = cut_escaped(line[at : at + room + 1], room, "") or line[at : at + room]
        chunks.append(head)
        at += len(head)
    return [*chunks, line[at:]]
