"""The fields of an audit record, and how each is made small and fit for a file. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypedDict, cast

from bot.core.events import DecisionMade
from bot.core.people import Actor
from bot.core.redact import redact
from bot.core.tokens import without_tokens
from bot.core.values import Preview, Request, Ruling
from bot.core.wording import cut

What = Literal[
    "launched", "said", "request_opened", "decided", "refused", "reminded", "escalated", "expired", "withdrawn",
    "paused", "resumed", "cancelled", "started", "succeeded", "failed", "in_doubt", "not_run", "rerouted",
    "undeliverable", "turned_away",
]  # fmt: skip
DECISIONS: frozenset[str] = frozenset({"decided", "refused", "expired", "withdrawn", "cancelled", "turned_away"})
"""What became of requests, attempts that did not count included. A cancelled thread ends those that were open."""

_MOST = 20
"""Entries of a list that are written out: what comes from outside is bounded."""


class Who(TypedDict):
    """Somebody, as they were known when it happened."""

    id: str
    kind: str
    name: str


class Policy(TypedDict, total=False):
    """The rule that a request stands under."""

    risk: str
    roles: list[str]
    persons: list[str]
    approvals: int
    four_eyes: bool
    channels: list[str]
    entry: str
    """Which entry of the policy file applied, and what that is about; left out where the tool's own rule did."""


class Entry(TypedDict, total=False):
    """A record, all but its place in a trail. What does not apply is left out."""

    format: int
    at: str
    """ISO 8601, UTC."""
    thread: str
    seq: int
    """The position of the event in its thread's log, from 1."""
    what: What
    fingerprint: str
    """`<key id>:<hex>`: the thread's log up to this event, keyed. Only who has the bot's key can check it."""

    who: Who
    address: str
    authenticated_by: str
    external: bool | None
    source: str
    """The provider's id of the message or click."""
    length: int | None
    """Characters of a message, an answer or a reason, which itself is left out."""

    agent: str
    conversation: str
    channel: str

    request: int | None
    """The seq at which the request was opened: that record says what it is about."""
    kind: str
    purpose: str
    status: str
    """How the request, or for pause, resume and cancel the thread, stands after this."""
    verdict: str
    choice: str
    """Which of the choices: the bot's own words, or its number among the model's."""
    rule: str
    """The check that refused it."""
    asked: list[str]
    """`<id> <address>` of whoever was asked."""
    requesters: list[str]
    """Ids of whoever asked for the run or steered it."""
    approved_by: list[str]
    policy: Policy | None
    edited_by: str
    expires_at: str
    share: float
    step: int
    withdrawn: list[int]
    """Requests, by the seq at which they were opened, that this ended undecided."""

    tool: str
    digest: str
    """SHA-256 over tool, exact arguments, thread and call: what an approval binds (AP3)."""
    title: str
    facts: list[list[str]]
    """Label and value, as the approver was shown them."""
    place: str
    """The machine on which it ran."""
    seconds: float
    summary: str
    post: str
    to: str


@dataclass(frozen=True)
class Fingerprints:
    """Marks records with what their log was, up to and including their event.

    Keyed, because a plain hash of a short answer or of a code would give it away to anybody who tries them all.
    """

    key: bytes

    @classmethod
    def of(cls, signing_key: bytes) -> Fingerprints:
        """With a key of their own, made from the bot's."""
        return cls(hmac.new(signing_key, b"audit trail", hashlib.sha256).digest())

    @property
    def key_id(self) -> str:
        """Tells which key a fingerprint was made with."""
        return hmac.new(self.key, b"key id", hashlib.sha256).hexdigest()[:8]

    def mark(self, digest: bytes) -> str:
        """`<key id>:<HMAC-SHA256 in hex>`."""
        return f"{self.key_id}:{hmac.new(self.key, digest, hashlib.sha256).hexdigest()}"


def iso(at: datetime) -> str:
    """The moment as records have it."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def shorten(text: str, limit: int) -> str:
    """Without what looks like a secret, and not longer than this; cutting is visible."""
    return _fit(redact(text), limit)


def _fit(text: str, limit: int) -> str:
    """Without tokens, and not longer than this. Cut last: most of a token is almost as good as all of it."""
    return cut(without_tokens(text), limit)


def closed(texts: Iterable[str]) -> list[str]:
    """The texts, so many at most; how many more there were is said."""
    known = [_fit(text, 320) for text in texts]
    return known if len(known) <= _MOST else [*known[:_MOST], f"… and {len(known) - _MOST} more"]


def by(actor: Actor) -> Entry:
    """Who did it, from where, and how that is known."""
    return Entry(
        who=Who(id=_fit(actor.id, 320), kind=actor.kind, name=_fit(actor.name, 100)),
        address=_fit(actor.address, 320),
        authenticated_by=_fit(actor.authenticated_by, 200),
        external=actor.external or None,
    )


def policy_of(request: Request) -> Policy | None:
    """The rule that a request stands under, as far as it says who decides."""
    rule = request.rule
    if rule is None:
        return None
    policy = Policy(
        risk=rule.risk,
        roles=closed(rule.roles),
        persons=closed(rule.persons),
        approvals=rule.approvals,
        four_eyes=rule.four_eyes,
        channels=closed(rule.channels),
    )
    if request.entry:
        policy["entry"] = shorten(request.entry, 300)
    return policy


def entry_of(ruling: Ruling | None) -> Entry:
    """The entry of the policy file that let a call run unasked, or refused it."""
    return Entry(policy=Policy(entry=shorten(ruling.entry, 300))) if ruling and ruling.entry else Entry()


def preview_of(preview: Preview | None) -> Entry:
    """What people were shown of a call: title and facts, not the longer details."""
    if preview is None:
        return Entry()
    facts = [[fact.label, shorten(fact.value, 300)] for fact in preview.facts[:_MOST]]
    return Entry(title=shorten(preview.title, 150), facts=facts)


def opening(request: Request) -> Entry:
    """What a new request says besides what it is about. The model's words in it are left out, but for their length."""
    return Entry(
        purpose=request.purpose,
        asked=closed(f"{one.id} {one.address}".strip() for one in request.deciders),
        edited_by=request.edited_by,
        expires_at=iso(request.expires_at) if request.expires_at else "",
        length=len(request.prompt) if request.preview is None else None,
    )


def choice_of(request: Request, decision: DecisionMade) -> str:
    """Which choice was taken: in the bot's own words, or by its number where the words are the model's."""
    if decision.text not in request.choices:
        return ""
    if request.purpose != "model":
        return _fit(decision.text, 100)
    return f"{request.choices.index(decision.text) + 1} of {len(request.choices)}"


def pruned(entry: Mapping[str, Any]) -> Entry:
    """Without the fields that say nothing, without tokens, and with no text longer than this.

    Ids of messages come from outside: of a mail of ours that comes back, they hold a token.
    """
    told = {key: _pruned(value) for key, value in entry.items()}
    return cast("Entry", {key: value for key, value in told.items() if value not in ("", None, [])})


def _pruned(value: object) -> object:
    if isinstance(value, str):
        return _fit(value, 500)
    if isinstance(value, list):
        return [_pruned(one) for one in cast("list[object]", value)]
    if isinstance(value, dict):
        return {key: _pruned(one) for key, one in cast("dict[str, object]", value).items()}
    return value
