"""Bytes and header values to text, whatever charset they claim (EM4). Pure, and it never raises.

Python's own table of codecs is not used as it is: it holds codecs that are no charsets (`zlib`, `rot13`), that warn
(`unicode_escape`) or that take quadratic time (`punycode`, `idna`).
"""

from __future__ import annotations

import binascii
import codecs
import re
import unicodedata

_CHARSETS = frozenset(
    (
        *("ascii", "utf-8", "utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-8-sig"),
        *(f"iso8859-{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)),
        *(f"cp{n}" for n in (437, 850, 852, 855, 866, 874, 932, 936, 949, 950, *range(1250, 1259))),
        *("koi8-r", "koi8-u", "mac-roman", "tis-620"),
        *("iso2022_jp", "iso2022_jp_1", "iso2022_jp_2", "iso2022_jp_3", "iso2022_jp_ext", "shift_jis", "euc_jp"),
        *("gb2312", "gbk", "gb18030", "big5", "big5hkscs", "euc_kr", "iso2022_kr", "johab", "hz"),
    )
)
_WORD = re.compile(r"=\?([^?\s*]{1,40})(?:\*[^?\s]{0,20})?\?([bqBQ])\?([^?]{0,2000})\?=")
MAX_HEADER_TEXT = 4000
"""Characters of one header value that are decoded."""


def decode_bytes(raw: bytes, charset: str = "") -> str:
    """Declared, then UTF-8, then windows-1252, then latin-1, which takes everything."""
    for name in (_known(charset), "utf-8", "cp1252"):
        if name:
            try:
                return raw.decode(name)
            except UnicodeError:
                continue
    return raw.decode("latin-1")


def decode_header(value: str) -> str:
    """A header value (latin-1 of its bytes) as one line of text: RFC 2047 words and raw 8-bit bytes decoded."""
    value = value[:MAX_HEADER_TEXT]
    said: list[str] = []
    pending, charset, end = b"", "", 0
    for word in _WORD.finditer(value):
        between = value[end : word.start()]
        glued = end > 0 and not between.strip()  # blanks between two encoded words do not count
        if not glued or word.group(1).lower() != charset:
            said.append(decode_bytes(pending, charset))
            pending = b""
        if not glued:
            said.append(_raw(between))
        charset = word.group(1).lower()
        pending += _bytes_of(word)  # a character may be split over two words
        end = word.end()
    said += [decode_bytes(pending, charset), _raw(value[end:])]
    return one_line("".join(said))


def decode_parameter(value: str) -> str:
    """A parameter of a media type: nothing but what is printable ASCII means anything to the bot."""
    return value if value.isascii() else _raw(value)


def one_line(text: str) -> str:
    """Without controls, invisible characters and doubled blanks."""
    spaced = (" " if c.isspace() else c for c in text)
    return " ".join("".join(c for c in spaced if not unicodedata.category(c).startswith("C")).split())


def ascii_lower(text: str) -> str:
    """Lowercase of A-Z only: `str.lower` turns some other letters (the Kelvin sign) into ASCII ones."""
    return "".join(c.lower() if c.isascii() else c for c in text)


def _known(charset: str) -> str:
    if not charset or len(charset) > 40 or not charset.isascii():  # noqa: PLR2004 no charset's name is that long
        return ""
    try:
        name = codecs.lookup(charset.strip().strip("'\"").replace("\0", "")).name
    except LookupError:
        return ""
    return {"gb2312": "gb18030", "gbk": "gb18030", "iso8859-1": "cp1252"}.get(name, name) if name in _CHARSETS else ""


def _raw(text: str) -> str:
    return text if text.isascii() else decode_bytes(text.encode("latin-1", "replace"))


def _bytes_of(word: re.Match[str]) -> bytes:
    content = word.group(3).encode("latin-1", "replace")
    if word.group(2) in "bB":
        letters = re.sub(rb"[^A-Za-z0-9+/]", b"", content)
        letters = letters[:-1] if len(letters) % 4 == 1 else letters
        try:
            return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))
        except binascii.Error:
            return b""
    return binascii.a2b_qp(content, header=True)
