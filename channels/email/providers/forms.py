"""Form bodies as providers post them: fields by name, as bytes. Pure.

A boundary that the sender of a mail can guess lets him write form fields of his own into his mail. So the reading is
strict: a field that is there twice, or anything before the first or after the closing boundary, refuses the whole form.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from channels.email.providers.errors import Malformed

MAX_FIELDS = 100
_MAX_PART_HEADERS = 2000
_BOUNDARY = re.compile(
    r"""multipart/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))""", re.IGNORECASE
)
_NAME = re.compile(r'\r\ncontent-disposition:\s*form-data\s*;\s*name="([^"\r\n]{1,100})"', re.IGNORECASE)


def read_form(body: bytes, content_type: str) -> dict[str, bytes]:
    """The fields, each name once. Raises Malformed."""
    if content_type.lower().startswith("application/x-www-form-urlencoded"):
        return _once(_urlencoded(body))
    boundary = _BOUNDARY.match(content_type)
    if boundary is None:
        raise Malformed("This is no form.")
    return _once(_multipart(body, (boundary[1] or boundary[2]).encode("latin-1", "replace")))


def _once(pairs: list[tuple[str, bytes]]) -> dict[str, bytes]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Malformed("A field is there twice.")
    return fields


def _urlencoded(body: bytes) -> list[tuple[str, bytes]]:
    try:
        # latin-1 keeps every byte as it is: a mail may hold any.
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            encoding="latin-1",
            max_num_fields=MAX_FIELDS,
            strict_parsing=True,
        )
    except ValueError as error:
        raise Malformed("The form cannot be read.") from error
    return [(name, value.encode("latin-1")) for name, value in pairs]


def _multipart(body: bytes, boundary: bytes) -> list[tuple[str, bytes]]:
    chunks = (b"\r\n" + body).split(b"\r\n--" + boundary, MAX_FIELDS + 2)
    if len(chunks) < 3 or chunks[0] or chunks[-1] not in {b"--", b"--\r\n"}:  # noqa: PLR2004 before, one part, after
        raise Malformed("The form does not begin and end with its boundary.")
    return [_part(chunk) for chunk in chunks[1:-1]]


def _part(chunk: bytes) -> tuple[str, bytes]:
    head, blank, content = chunk.partition(b"\r\n\r\n")
    name = _NAME.search(head.decode("latin-1")) if len(head) <= _MAX_PART_HEADERS else None
    if not blank or not chunk.startswith(b"\r\n") or name is None:
        raise Malformed("A part of the form has no name.")
    return name[1], content
