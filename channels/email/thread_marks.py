"""What ties a mail to a thread: Message-IDs, the chain above it, the tokens in addresses and ids (EM3, EM8). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from bot.core.tokens import LENGTH, read_token
from channels.email.mime import Headers

MAX_PARENTS = 100
MAX_TOKENS = 20
_MAX_CHAIN = 64 * 1024
_MAX_RECIPIENTS = 64 * 1024
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\-]"
_ID = re.compile(rf"<({_ATEXT}{{1,180}})@({_ATEXT}{{1,180}}|\[[A-Za-z0-9.:\-]{{1,60}}\])>")
_OWN_ID = re.compile(rf"<([A-Za-z2-7]{{{LENGTH}}})\.")


def message_id(headers: Headers, digest: str) -> str:
    """The mail's own id, or one made of its checksum where it has none, a broken one, or several."""
    values = headers.all("message-id")
    if len(values) == 1 and _ID.fullmatch(values[0]):
        return values[0]
    return f"<{digest[:40]}@checksum.invalid>"


def parents(headers: Headers) -> tuple[str, ...]:
    """What it answers: In-Reply-To first, then References, the newest first."""
    replied = _ids(headers.all("in-reply-to"))
    return tuple(dict.fromkeys([*replied, *reversed(_ids(headers.all("references")))]))[:MAX_PARENTS]


def chain(headers: Headers) -> tuple[str, ...]:
    """The References, oldest first, else In-Reply-To. Of a long chain the first and the newest stay (RFC 5322)."""
    ids = list(dict.fromkeys(_ids(headers.all("references")) or _ids(headers.all("in-reply-to"))))
    return tuple(ids if len(ids) <= MAX_PARENTS else [ids[0], *ids[1 - MAX_PARENTS :]])


def addressed(headers: Headers, own_address: str) -> Literal["to", "cc", ""]:
    """Whether To, or else Cc, names us, with or without a `+tag`."""
    local, _, domain = own_address.rpartition("@")
    ours = re.compile(
        rf"(?<![A-Za-z0-9.+_-]){re.escape(local)}(\+[A-Za-z0-9._-]{{1,64}})?@{re.escape(domain)}(?![A-Za-z0-9.-])",
        re.IGNORECASE,
    )
    if any(ours.search(value[:_MAX_RECIPIENTS]) for value in headers.all("to")):
        return "to"
    return "cc" if any(ours.search(value[:_MAX_RECIPIENTS]) for value in headers.all("cc")) else ""


def tokens(
    headers: Headers, own_address: str, envelope_to: Iterable[str], *, below: Headers | None = None
) -> tuple[str, ...]:
    """Every token, in the order in which EM8 looks for them, without doubles.

    `below`: the headers of the mail that a bounce returns. It is ours: its id and its Reply-To tell which one.
    """
    local, _, domain = own_address.rpartition("@")
    ours = re.compile(
        rf"(?<![A-Za-z0-9.+_-]){re.escape(local)}\+([A-Za-z2-7]{{{LENGTH}}})@{re.escape(domain)}(?![A-Za-z0-9.-])",
        re.IGNORECASE,
    )

    def at(*names: str, of: Headers = headers) -> list[str]:
        text = "\n".join(value for name in names for value in of.all(name))[:_MAX_RECIPIENTS]
        return ours.findall(text)

    def named(*names: str, of: Headers = headers) -> list[str]:
        return [token for name in names for one in reversed(_ids(of.all(name))) for token in _OWN_ID.findall(one)]

    found = [*at("to", "cc"), *named("references", "in-reply-to")]
    found += [*at("delivered-to"), *at("envelope-to"), *at("x-envelope-to")]
    found += ours.findall("\n".join(envelope_to)[:_MAX_RECIPIENTS])
    if below is not None:
        found += [*named("message-id", of=below), *at("reply-to", "from", of=below)]
    claims = (read_token(text) for text in found[: 50 * MAX_TOKENS])
    return tuple(dict.fromkeys(claim.token for claim in claims if claim))[:MAX_TOKENS]


def _ids(values: Iterable[str]) -> list[str]:
    return [found.group() for found in _ID.finditer(" ".join(values)[-_MAX_CHAIN:])]
