"""Who a mail is from, and what proves it (EM18). Pure.

The From header is read by a grammar of its own, which refuses what is not plain: lenient parsers disagree about
`From: boss@corp.example <evil@x.example>`, and whoever is asked last believes the wrong one.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Literal, cast

import authres  # pyright: ignore[reportMissingTypeStubs]

from channels.email.mime import Headers
from channels.email.record import RawMail, Way
from channels.email.words import ascii_lower, decode_header

Authentication = Literal["pass", "fail", "none"]

_BEHIND_OUR_SERVER: frozenset[Way] = frozenset({"imap", "smtp"})
"""A provider puts no Authentication-Results of ours on top: there, the topmost is one that the sender wrote."""
MAX_FROM = 1000
_MAX_NAME = 200
_MAX_RESULTS = 4000
"""Characters of an Authentication-Results header; a longer one is not read."""
_ATOM = r"[^\s\x00-\x20\x7f()<>\[\]:;@\\,.\"]+"
_ADDRESS = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@({_ATOM}(?:\.{_ATOM})*)")
_TOKEN = re.compile(rf'\s+|"(?:[^"\\\x00]|\\[^\x00])*"|{_ATOM}|[.<>@]')
_LOOKS_LIKE_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"']{1,100}@[^\s<>()\[\],;:\"']{1,254}")
_LONGEST_ADDRESS, _LONGEST_LOCAL = 254, 64


@dataclass(frozen=True)
class Sender:
    """The one mailbox of a sound From header."""

    address: str
    """Lowercase."""
    name: str

    @property
    def domain(self) -> str:
        """What stands behind the @."""
        return self.address.rpartition("@")[2]


def read_sender(headers: Headers) -> Sender | str:
    """The sender, or in one line why nobody may be taken for it."""
    values = headers.all("from")
    if len(values) != 1:
        return "no From header" if not values else "more than one From header"
    if headers.broken:
        return "a broken header block"
    return _read_mailbox(values[0])


def claimed_addresses(headers: Headers) -> tuple[str, ...]:
    """Every address that any From header names, lowercase. Proves nothing; good for staying silent."""
    text = " ".join(value[:MAX_FROM] for value in headers.all("from")[:5])
    return tuple(ascii_lower(found.group()) for found in _ADDRESS.finditer(_utf8(text)))[:20]


def authenticated(record: RawMail, headers: Headers, sender: Sender, authserv_id: str) -> tuple[Authentication, str]:
    """Whether the From domain is proven, and by whom. Only a verdict and our own server are believed."""
    verdict = record.verdict
    if verdict and ascii_lower(verdict.domain) == sender.domain:
        return verdict.dmarc, (verdict.by or f"dmarc by {record.way}") if verdict.dmarc != "none" else ""
    if record.way not in _BEHIND_OUR_SERVER:
        return "none", ""
    # Whoever handed the mail over may have written any of these headers but the topmost: that one our server put there.
    values = headers.all("authentication-results")
    if not authserv_id or not values or len(values[0]) > _MAX_RESULTS:
        return "none", ""
    found = _dmarc(values[0], authserv_id, sender.domain)
    return found, f"dmarc by {authserv_id}" if found != "none" else ""


def _read_mailbox(value: str) -> Sender | str:
    if len(value) > MAX_FROM:
        return "a From header that is too long"
    text, comments = _without_comments(_utf8(value))
    if text is None:
        return "a From header with broken comments"
    tokens = _tokens(text.strip())
    if tokens is None or ("<" in tokens and tokens.index("<") != len(tokens) - _after_angle(tokens)):
        return "a From header that is not one plain mailbox"
    angle = tokens.index("<") if "<" in tokens else None
    written = "".join(tokens if angle is None else tokens[angle + 1 : -1])
    name = "" if angle is None else "".join(tokens[:angle])
    address = _ADDRESS.fullmatch(written)
    if not address or len(written) > _LONGEST_ADDRESS or len(address.group(1)) > _LONGEST_LOCAL:
        return "a From header without one plain address"
    if any(unicodedata.category(c).startswith(("C", "Z")) for c in written) or "=?" in written:
        return "a From header with an address that is not what it looks like"
    if "@" in re.sub(r'"(?:[^"\\]|\\.)*"', "", name) or re.search(r"[<>]", re.sub(r'"(?:[^"\\]|\\.)*"', "", name)):
        return "a From header with more than one address"
    sender = ascii_lower(written)
    shown = decode_header(_unquoted(name).encode("utf-8", "replace").decode("latin-1"))
    for words in (shown, *(decode_header(c.encode("utf-8", "replace").decode("latin-1")) for c in comments)):
        if any(ascii_lower(other) != sender for other in _addresses_in(words)):
            return "a From header whose name poses as another address"
    return Sender(sender, shown[:_MAX_NAME])


def _after_angle(tokens: list[str]) -> int:
    """How many tokens the angle-addr takes, if it ends the header; else a number that fits nowhere."""
    if tokens.count("<") != 1 or tokens.count(">") != 1 or tokens[-1] != ">":
        return -1
    return len(tokens) - tokens.index("<")


def _tokens(text: str) -> list[str] | None:
    tokens: list[str] = []
    place = 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            return None
        tokens.append(token.group())
        place = token.end()
    return tokens


def _without_comments(text: str) -> tuple[str | None, list[str]]:
    """The text without `(comments)`, and what they say. None where they do not close."""
    kept: list[str] = []
    comments: list[str] = []
    depth, quoted, escaped = 0, False, False
    for c in text:
        if escaped:
            escaped = False
        elif c == "\\" and (quoted or depth):
            escaped = True
        elif c == '"' and not depth:
            quoted = not quoted
        elif c == "(" and not quoted:
            depth += 1
            comments += [""] if depth == 1 else []
            continue
        elif c == ")" and not quoted:
            depth -= 1
            if depth < 0:
                return None, []
            continue
        if depth:
            comments[-1] += c
        else:
            kept.append(c)
    return (None, []) if depth or quoted else ("".join(kept), comments)


def _unquoted(name: str) -> str:
    return re.sub(r'"((?:[^"\\]|\\.)*)"', lambda m: re.sub(r"\\(.)", r"\1", m.group(1)), name).strip()


def _addresses_in(words: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", words)
    return [found.group().rstrip(".") for found in _LOOKS_LIKE_ADDRESS.finditer(plain)]


def _utf8(value: str) -> str:
    """Header values come as latin-1 of their bytes; raw 8-bit ones are UTF-8 (RFC 6532), or stay as they are."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _dmarc(value: str, authserv_id: str, domain: str) -> Authentication:
    """What our server says about this very domain; `none` in every case of doubt."""
    try:
        header = cast("Any", authres).AuthenticationResultsHeader.parse(f"Authentication-Results: {value}")
    except (SyntaxError, ValueError, TypeError, AttributeError, RecursionError, authres.AuthResError):
        return "none"
    if str(header.authserv_id).lower() != authserv_id.lower():
        return "none"
    results = [one for one in header.results if getattr(one, "method", "") == "dmarc"]
    if len(results) != 1:
        return "none"
    about = [str(one.value) for one in results[0].properties if (one.type, one.name) == ("header", "from")]
    if [ascii_lower(one) for one in about] != [domain]:
        return "none"
    return "pass" if results[0].result == "pass" else "fail" if results[0].result == "fail" else "none"
