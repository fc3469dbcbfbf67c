"""The structure of a mail: header lines and parts, cut out of raw bytes. Pure, iterative, and it never raises.

The standard library's parser recurses once for each level and compares each line with every open boundary, so that a
small hostile mail takes minutes or exceeds the recursion limit; its header classes raise on bad input (EM4, EM5). This
reads only what the bot needs, in time that grows with the size.
"""

from __future__ import annotations

import binascii
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from channels.email.words import decode_bytes, decode_parameter

MAX_PARTS, MAX_DEPTH, MAX_ATTACHMENTS = 100, 20, 20
"""EM5."""
MAX_HEADER_BYTES, MAX_HEADERS = 256 * 1024, 1000
MAX_TEXT_BYTES = 1024 * 1024
"""Of all body parts together. What lies beyond is not shown to anybody, and nothing is decided then."""
MAX_SCANNED_BYTES = 80 * 1024 * 1024
"""How much is searched for boundaries on all levels together: programs nest a few levels, not twenty large ones."""

_BLANK = re.compile(rb"^\r?\n|\n\r?\n")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)
_PARAMETER = re.compile(r""";\s*([A-Za-z0-9!#$%&'*+.^_`|~-]{1,40})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))""")
_TRANSFERRED = frozenset({"message/rfc822", "message/global"})


class OverLimit(Exception):  # noqa: N818 an answer: a receipt says so
    """A cap of EM5. The text says which one."""


@dataclass(frozen=True)
class Headers:
    """Header fields in their order, unfolded, as bytes read one to one (latin-1)."""

    fields: tuple[tuple[str, str], ...]
    """Name in lowercase, value without its surrounding blanks."""
    broken: bool
    """A line in it is no header field, or holds a NUL or a bare CR."""

    def all(self, name: str) -> list[str]:
        """Every value of this name, the topmost first."""
        return [value for key, value in self.fields if key == name]

    def first(self, name: str) -> str:
        """The topmost value, or nothing."""
        return next((value for key, value in self.fields if key == name), "")


@dataclass(frozen=True)
class Part:
    """A leaf of the tree, or an attached message, which is not entered."""

    headers: Headers
    content: bytes
    """Still in its transfer encoding."""
    kind: str
    """Media type, lowercase."""
    parameters: dict[str, str]
    disposition: str
    named: bool
    """It has a file name."""
    related: bool
    """It is an image or the like that an HTML part shows."""

    @property
    def is_body(self) -> bool:
        """Text that a mail client shows as the mail itself. An attachment's content is never read (EM13)."""
        return self.kind in {"text/plain", "text/html"} and self.disposition != "attachment" and not self.named

    @property
    def is_message(self) -> bool:
        """Another mail, attached."""
        return self.kind in _TRANSFERRED


@dataclass(frozen=True)
class Content:
    """All parts of a mail, in their order."""

    parts: tuple[Part, ...]
    damaged: bool
    """What a client shows of it is anybody's guess: a multipart has no boundary, or its boundary is nowhere, or there
    is more text than is read.
    """

    @property
    def attachments(self) -> int:
        """Parts that a person would call an attachment."""
        return sum(not part.is_body and not part.related and not _is_signature(part) for part in self.parts)


def read_headers(raw: bytes) -> tuple[Headers, int]:
    """The header block at the start, and where the body begins. Raises OverLimit."""
    end = _BLANK.search(raw, 0, MAX_HEADER_BYTES + 1)
    if end is None and len(raw) > MAX_HEADER_BYTES:
        raise OverLimit("more than 256 kB of headers")
    block = raw if end is None else raw[: end.start()]
    fields: list[tuple[str, str]] = []
    broken = b"\0" in block or b"\r" in block.replace(b"\r\n", b"\n").removesuffix(b"\r")
    for number, line in enumerate(_unfolded(block.rstrip(b"\r\n"))):
        field = _FIELD.fullmatch(line)
        if field:
            fields.append((field.group(1).decode("ascii").lower(), field.group(2).decode("latin-1").strip()))
        elif line.strip() and not (not fields and line.startswith(b"From ")):  # an mbox line may stand in front
            broken = True
        if number >= MAX_HEADERS:
            raise OverLimit("more than 1000 headers")
    return Headers(tuple(fields), broken), len(raw) if end is None else end.end()


def read_content(headers: Headers, raw: bytes, start: int) -> Content:
    """The parts below these headers. Raises OverLimit as soon as a cap is exceeded."""
    found: list[Part] = []
    damaged = False
    seen = scanned = 0
    waiting = [(headers, start, len(raw), 0, "text/plain", False)]
    while waiting:
        headers, begin, end, depth, default, related = waiting.pop()
        kind, parameters = media_type(headers.first("content-type"), default)
        seen += 1
        if seen > MAX_PARTS:
            raise OverLimit(f"more than {MAX_PARTS} parts")
        if not kind.startswith("multipart/"):
            found.append(_part(headers, raw[begin:end], kind, parameters, related=related))
            if Content(tuple(found[-1:]), damaged=False).attachments and _attached(found) > MAX_ATTACHMENTS:
                raise OverLimit(f"more than {MAX_ATTACHMENTS} attachments")
            continue
        if depth >= MAX_DEPTH:
            raise OverLimit(f"parts are nested more than {MAX_DEPTH} deep")
        scanned += end - begin
        if scanned > MAX_SCANNED_BYTES:
            raise OverLimit("more nested parts than are read in a mail of this size")
        ranges = list(_pieces(raw, begin, end, parameters.get("boundary", "")))
        if not ranges:
            damaged = True
            found.append(_part(headers, raw[begin:end], "text/plain", {}, related=False))
            continue
        if seen + len(ranges) > MAX_PARTS:
            raise OverLimit(f"more than {MAX_PARTS} parts")
        below = "message/rfc822" if kind == "multipart/digest" else "text/plain"
        for low, high in reversed(ranges):
            inner, body = read_headers(raw[low : min(high, low + MAX_HEADER_BYTES + 1)])
            waiting.append((inner, low + body, high, depth + 1, below, kind == "multipart/related"))
    bodies, cut = _within_bounds(found)
    return Content(bodies, damaged or cut)


def media_type(value: str, default: str = "text/plain") -> tuple[str, dict[str, str]]:
    """`text/plain; charset=x` in two; the default where it is none."""
    kind = value.partition(";")[0].strip().lower()
    if not re.fullmatch(r"[!-.0-~]{1,60}/[!-.0-~]{1,100}", kind):
        return default, {}
    parameters: dict[str, str] = {}
    for name, quoted, token in _PARAMETER.findall(value[:4000]):
        key = str(name).lower()
        if key not in parameters:  # the first one counts, as for a mail client
            parameters[key] = re.sub(r"\\(.)", r"\1", quoted) if quoted else token
    return kind, parameters


def decoded(part: Part) -> str:
    """The text of a part, lines separated by line feeds. Bad encodings give what can be had (EM4).

    A NUL stays visible: dropping it would make words of what were none.
    """
    encoding = part.headers.first("content-transfer-encoding").lower()
    content = part.content[:MAX_TEXT_BYTES]
    if encoding == "base64":
        content = _base64(content)
    elif encoding == "quoted-printable":
        content = quopri.decodestring(content)
    text = decode_bytes(content, part.parameters.get("charset", ""))
    return text.replace("\0", "\ufffd").replace("\r\n", "\n").replace("\r", "\n")


def _base64(content: bytes) -> bytes:
    """What base64 there is in it, as lenient as mail clients are."""
    letters = re.sub(rb"[^A-Za-z0-9+/]", b"", content.partition(b"=")[0])
    letters = letters[: len(letters) - 1] if len(letters) % 4 == 1 else letters
    try:
        return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))
    except binascii.Error:
        return b""


def _unfolded(block: bytes) -> Iterator[bytes]:
    current: list[bytes] = []
    for line in block.replace(b"\r\n", b"\n").split(b"\n"):
        if line[:1] in {b" ", b"\t"} and current:
            current.append(line)
            continue
        if current:
            yield b"".join(current)
        current = [line]
    if current:
        yield b"".join(current)


def _pieces(raw: bytes, begin: int, end: int, boundary: str) -> Iterator[tuple[int, int]]:
    """Where the parts between the boundary lines lie. At most one more than `MAX_PARTS`."""
    if not boundary or len(boundary) > 200:  # noqa: PLR2004 RFC 2046 allows 70
        return
    opening = b"--" + boundary.encode("latin-1", "replace")
    # It begins with fixed letters, so that the search for it is fast.
    delimiter = re.compile(rb"\n" + re.escape(opening) + rb"(--)?[ \t]*(?=\r?\n|\Z)")
    low = None
    given = 0
    at = begin - 1 if begin and raw[begin - 1 : begin] == b"\n" else begin
    line = delimiter.search(raw, at, end)
    while line:
        if low is not None:
            given += 1
            yield low, _without_line_end(raw, low, line.start() + 1)
        if line.group(1) or given > MAX_PARTS:
            return
        low = raw.find(b"\n", line.end(), end) + 1 or end
        line = delimiter.search(raw, low - 1, end)
    if low is not None:
        yield low, end  # the closing line is missing: a mail that was cut


def _without_line_end(raw: bytes, low: int, high: int) -> int:
    if high > low and raw[high - 1 : high] == b"\n":
        high -= 1
        if high > low and raw[high - 1 : high] == b"\r":
            high -= 1
    return high


def _within_bounds(parts: list[Part]) -> tuple[tuple[Part, ...], bool]:
    """The parts with so much of their bodies as is read, and whether anything was cut."""
    left = MAX_TEXT_BYTES
    kept: list[Part] = []
    cut = False
    for part in parts:
        if part.is_body:
            cut = cut or len(part.content) > left
            kept.append(replace(part, content=part.content[:left]))
            left -= len(kept[-1].content)
        else:
            kept.append(part)
    return tuple(kept), cut


def _part(headers: Headers, content: bytes, kind: str, parameters: dict[str, str], *, related: bool) -> Part:
    disposition, more = media_type("x/" + headers.first("content-disposition"), "x/")
    names = (more.get("filename"), more.get("filename*"), more.get("filename*0*"), more.get("filename*0"))
    named = any(names) or any(key in parameters for key in ("name", "name*", "name*0", "name*0*"))
    return Part(
        headers=headers,
        content=content,
        kind=kind,
        parameters={key: decode_parameter(value) for key, value in parameters.items()},
        disposition=disposition.partition("/")[2],
        named=named,
        related=related and not kind.startswith("text/"),
    )


def _attached(parts: list[Part]) -> int:
    return Content(tuple(parts), damaged=False).attachments


def _is_signature(part: Part) -> bool:
    return part.kind in {"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"}
