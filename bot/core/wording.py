"""The words that people decide with, and how text is made safe to compare and to show. Pure string work."""

from __future__ import annotations

import unicodedata

APPROVE_WORDS = frozenset(
    (
        *("approve", "approved", "yes", "lgtm"),
        *("ja", "freigeben", "freigegeben", "genehmigt", "genehmigen"),
        *("oui", "approuvé", "approuvée", "approuver"),
        *("sí", "si", "aprobado", "aprobada", "aprobar"),
        *("sì", "approvato", "approvata", "approvare"),
        *("sim", "aprovado", "aprovada", "aprovar"),
        *("goedgekeurd", "goedkeuren", "godkänt", "godkänd", "godkendt", "godkjent"),
        *("承認", "承認します", "承認する", "はい", "批准", "同意", "승인", "승인합니다"),
    )
)
"""Each of them alone, as a whole line, approves (EM11). Nothing that is also said in passing belongs here."""
DENY_WORDS = frozenset(
    (
        *("deny", "denied", "no", "reject", "rejected"),
        *("nein", "ablehnen", "abgelehnt"),
        *("non", "refusé", "refusée", "refuser"),
        *("rechazado", "rechazada", "rechazar", "denegado", "denegada", "denegar"),
        *("rifiutato", "rifiutata", "rifiutare", "negato"),
        *("não", "rejeitado", "rejeitada", "rejeitar", "recusado", "recusar"),
        *("nee", "afgewezen", "afwijzen", "nej", "nei", "avslag", "avvisad", "avvist", "afvist"),
        *("却下", "却下します", "いいえ", "拒否", "拒绝", "拒絕", "거부", "거절"),
    )
)
"""Each of them alone, as a whole line, denies (EM11)."""
ASK_WORDS = frozenset(("ask", "question", "frage", "pregunta", "domanda", "pergunta", "vraag", "質問"))
"""In front of what an approver wants to know from the agent before they decide."""
CASUAL_APPROVE_WORDS = frozenset(("yep", "ok", "okay", "go", "go ahead", "ship it", "do it", "thumbsup", "+1"))
CASUAL_DENY_WORDS = frozenset(("nope",))
SHIP_IT = frozenset({"👍", "✅", "+1", ":+1:", ":thumbsup:"})
"""Signs that stand for a yes, compared as they were written. Like the casual words they never decide an approval: they
are said too easily, about anything."""
YES_WORDS = APPROVE_WORDS | CASUAL_APPROVE_WORDS
"""What answers a plain yes-or-no question, where nothing is approved by it."""
NO_WORDS = DENY_WORDS | CASUAL_DENY_WORDS


_JOINERS = "\u200c\u200d"


def normalise(text: str) -> str:
    """NFKC, casefolded, edge punctuation and doubled spaces gone: the form in which lines are compared.

    A question mark is no punctuation here: `yes?` is not a yes.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split()).strip(" .,;:!¡…。、\"'“”„«»‘’*_~`")


def is_bare_decision(text: str) -> bool:
    """Whether a message is nothing but a yes or a no: it never decides an approval, it gets a hint (AP15)."""
    words = normalise(text)
    return words in YES_WORDS or words in NO_WORDS or words in SHIP_IT or text.strip() in SHIP_IT


def one_line(text: str) -> str:
    """The text in one line, without what could pose as a line of ours, or run backwards over one."""
    kept = "".join(" " if one in "\n\r\t" else one for one in text[:5_000])
    return " ".join("".join(one for one in kept if unicodedata.category(one) not in {"Cc", "Cf", "Cs"}).split())


def readable(text: str) -> str:
    """Without the characters that nobody sees and that change what is read: controls and direction marks."""
    return "".join(one for one in text if one in "\n\t" or unicodedata.category(one) not in {"Cc", "Cf", "Cs", "Co"})


def visible(text: str) -> str:
    """With a mark, such as `⟨U+202E⟩`, for what nobody sees and that changes what is read: controls, direction marks.

    To drop it would show less than what runs (AP14). A joiner within writing that is not ASCII belongs to it.
    """
    text = text.replace("\r\n", "\n")
    return "".join(f"⟨U+{ord(one):04X}⟩" if _hides(text, at, one) else one for at, one in enumerate(text))


def _hides(text: str, at: int, one: str) -> bool:
    if one in "\n\t" or unicodedata.category(one) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}:
        return False
    beside = (text[at - 1 : at], text[at + 1 : at + 2])
    return not (one in _JOINERS and all(letter > "\x7f" and not letter.isspace() for letter in beside))


def cut(text: str, limit: int, *, note: str = "… [cut]") -> str:
    """At most `limit` characters; what is cut is seen to be cut."""
    if len(text) <= limit:
        return text
    if limit <= len(note):
        return text[:limit]
    return text[: limit - len(note)] + note


def sentence(text: str) -> str:
    """With a full stop, unless it ends in a mark of its own."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def plural(count: int, noun: str) -> str:
    """`1 commit`, `2 commits`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
