"""The words that people decide with, and how text is made safe to compare and to show. Pure string work."""

from __future__ import annotations

import unicodedata

APPROVE_WORDS = frozenset(
    (
        *("approve", "approved", "yes", "yep", "ok", "okay", "lgtm", "go"),
        *("ja", "freigeben", "genehmigt", "oui", "approuvé", "approuver"),
        *("sí", "si", "aprobado", "aprobar", "承認", "はい"),
    )
)
DENY_WORDS = frozenset(
    (
        *("deny", "denied", "no", "nope", "reject", "rejected"),
        *("nein", "ablehnen", "abgelehnt", "non", "refusé", "refuser"),
        *("rechazado", "rechazar", "denegado", "却下", "いいえ"),
    )
)
SHIP_IT = frozenset({"go ahead", "ship it", "do it", "👍", "✅", "+1", "thumbsup", ":+1:", ":thumbsup:"})


def normalise(text: str) -> str:
    """NFKC, casefolded, edge punctuation and doubled spaces gone: the form in which lines are compared."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split()).strip(" .,;:!…\"'*_~`")


def is_bare_decision(text: str) -> bool:
    """Whether a message is nothing but a yes or a no: it never decides an approval, it gets a hint (AP15)."""
    words = normalise(text)
    return words in APPROVE_WORDS or words in DENY_WORDS or words in SHIP_IT or text.strip() in SHIP_IT


def cut(text: str, limit: int, *, note: str = "… [cut]") -> str:
    """At most `limit` characters; what is cut is seen to be cut."""
    if len(text) <= limit:
        return text
    if limit <= len(note):
        return text[:limit]
    return text[: limit - len(note)] + note


def plural(count: int, noun: str) -> str:
    """`1 commit`, `2 commits`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
