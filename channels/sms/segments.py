"""What a text costs: which alphabet it needs and how many segments (SM9). Pure.

Twilio counts the same way; https://www.twilio.com/docs/glossary/what-is-gsm-7-character-encoding has the table.
"""

from __future__ import annotations

import unicodedata

MAX_CHARACTERS = 1_600
"""Twilio refuses more (21617)."""
CUT_MARK = "..."
"""Three full stops, not the one character, which would make the whole text UCS-2."""

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("^{}\\[~]|€\f")
"""Sent as an escape and a character: two septets, which must lie in one segment."""
_ONE_GSM, _EACH_GSM = 160, 153
_ONE_UCS2, _EACH_UCS2 = 70, 67

_TYPOGRAPHIC = str.maketrans(
    {
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‘’‚‛′`´‹›", "'"),
        **dict.fromkeys("\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\t", " "),
        **dict.fromkeys("•·‣▪", "-"),
        **dict.fromkeys("\u200b\u2060\ufeff\u00ad", ""),
        **dict(zip("…→←⇒≥≤≠×™", ("...", "->", "<-", "=>", ">=", "<=", "!=", "x", "(TM)"), strict=True)),
    }
)
_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)


def to_plain(text: str) -> str:
    """Typographic characters as their plain counterparts, so that a dash alone does not make a text UCS-2.

    Letters stay as they are: a name is spelt as its owner spells it, even where that costs a segment.
    """
    return text.translate(_TYPOGRAPHIC)


def is_gsm(text: str) -> bool:
    """Whether the GSM-7 alphabet has all of it."""
    return all(one in _BASIC or one in _EXTENDED for one in text)


def segments(text: str) -> int:
    """How many messages the network makes of it; 0 for an empty text."""
    if is_gsm(text):
        return _packed([2 if one in _EXTENDED else 1 for one in text], _ONE_GSM, _EACH_GSM)
    return _packed([2 if ord(one) > 0xFFFF else 1 for one in text], _ONE_UCS2, _EACH_UCS2)  # noqa: PLR2004 the BMP


def size(text: str) -> int:
    """The characters it is charged for at most, in either alphabet. Sizes of parts add up."""
    return sum(2 if one in _EXTENDED or ord(one) > 0xFFFF else 1 for one in text)  # noqa: PLR2004 the BMP


def fits(text: str, characters: int) -> bool:
    """Whether its size is at most so many characters."""
    return size(text) <= characters


def cut_to(text: str, characters: int) -> str:
    """At most so many characters; what is cut is seen to be cut. A character and its marks stay together."""
    if fits(text, characters):
        return text
    room = characters - len(CUT_MARK)
    if room <= 0:
        return CUT_MARK[: max(0, characters)]
    end = 0
    while room >= (width := size(text[end])):
        room -= width
        end += 1
    while end and _belongs(text, end):
        end -= 1
    return text[:end].rstrip(" .,;:\n") + CUT_MARK


def _packed(widths: list[int], single: int, each: int) -> int:
    if sum(widths) <= single:
        return 1 if widths else 0
    count, left = 1, each
    for width in widths:
        if width > left:  # a pair does not lie across two segments
            count, left = count + 1, each
        left -= width
    return count


def _belongs(text: str, at: int) -> bool:
    """Whether the character at this place is drawn as one with the one before it."""
    one = text[at]
    return (
        unicodedata.combining(one) > 0
        or one == _JOINER
        or text[at - 1] == _JOINER
        or unicodedata.category(one) in {"Mn", "Me"}
        or ord(one) in _SKIN_TONES
    )
