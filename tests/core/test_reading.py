"""What a written reply decides: `bot.core.reading` (EM11, EM12)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.reading import MAX_COMMENT, Decision, match_choice, read_decision
from bot.core.wording import APPROVE_WORDS, DENY_WORDS, is_bare_decision

APPROVES = (
    *(
        "APPROVE",
        "approve",
        "Approved",
        "Approve.",
        "*Approve*",
        "Approve!",
        "  approve  ",
        "YES",
        "yes.",
        "LGTM",
        "lgtm!",
    ),
    *("“Approve”", "\ufeffAPPROVE", "\n\n \t\nAPPROVE", "ＡＰＰＲＯＶＥ", "approve\r\nthanks"),
    *(
        "Ja",
        "ja.",
        "Freigeben",
        "Genehmigt",
        "oui",
        "Approuvé",
        "APPROUVER",
        "Sí",
        "sí.",
        "¡Sí!",
        "Aprobado",
        "aprobar",
    ),
    *("Approvato", "Sì", "Aprovado", "sim", "Goedgekeurd", "承認", "承認。", "承認します", "はい", "批准", "승인"),
)
DENIES = (
    *("DENY", "Denied", "no", "No.", "NO!", "reject", "Rejected", "_deny_", "no\nthe freeze started"),
    *("Nein", "abgelehnt", "Ablehnen!", "non", "refusé", "Refuser", "rechazado", "Denegado", "rifiutato", "não"),
    *("rejeitado", "nee", "afgewezen", "nej", "却下", "いいえ", "拒否", "拒绝"),
)
UNDECIDED = (
    *("", " ", "\n\n\n", "1", "2", "y", "n", "?", "...", "--", "-- \nYes", "👍", "✅", "+1", ":+1:", "🚀"),
    *("ok", "okay", "OK!", "go", "go ahead", "sure", "fine", "yep", "yeah", "nope", "ship it", "do it", "sounds good"),
    *(
        "yes but not today",
        "yes?",
        "Yes ?",
        "yes!?",
        "yes？",
        "approve?",
        "APPROVE ???",
        "yes...",
        "Yes…",
        "approve ...",
    ),
    *(
        "approve staging only",
        "approve 1.4.0",
        "not approved",
        "don't approve",
        "do not approve",
        "no problem, go ahead",
    ),
    *(
        "no objections",
        "no worries",
        "approve deny",
        "yes no",
        "yes/no",
        "APPROVE or DENY",
        "Reply APPROVE or DENY",
        "yes yes",
    ),
    *(
        "LGTM once tests pass",
        "LGTM, but",
        "I approve",
        "please approve",
        "approve please",
        "approve it",
        "yes, please",
    ),
    *(
        "approve after lunch",
        "approve -- not",
        "approve - no",
        "yes, no",
        "un-approve",
        "disapprove",
        "approves",
        "~~approve~~",
    ),
    *(
        "ja, aber morgen",
        "ja aber nur staging",
        "nein danke, lieber morgen",
        "jein",
        "genehmigt unter Vorbehalt",
        "ja?",
    ),
    *("oui mais", "oui, mais demain", "pas approuvé", "non merci", "sí, pero mañana", "no aprobado todavía", "sí?"),
    *(
        "sì ma domani",
        "sim, mas",
        "ja maar",
        "承認しません",
        "承認できません",
        "承認?",
        "はい、でも",
        "承認 staging",
        "不批准",
        "不同意",
    ),
    *(
        "> APPROVE",
        "> yes\nno idea",
        "Hello\nAPPROVE",
        "Hi,\n\nyes",
        "Thanks!\nDENY",
        "[APPROVE]",
        "(yes)",
        "approve/",
        "#approve",
    ),
    *(
        "a\u200bpprove",
        "APPROVE\u200b",
        "\u202eAPPROVE",
        "\u2066yes\u2069",
        "yes\x08",
        "yes\x00",
        "ye\u00ads",
        "\ufeff\ufeffyes",
    ),
    *("аpprove", "yеs", "nο", "ａpprove x", "app rove", "APPROVE" * 100, "yes" + " " * 300 + "no", "yes\tno"),
)


@pytest.mark.parametrize("text", APPROVES)
def test_a_line_that_says_nothing_else_approves(text: str) -> None:
    """EM11: the first line, as a whole, in several languages, whatever its case and its full stop."""
    assert read_decision(text).verdict == "approve"


@pytest.mark.parametrize("text", DENIES)
def test_a_line_that_says_nothing_else_denies(text: str) -> None:
    """EM11: the same for a no."""
    assert read_decision(text).verdict == "deny"


@pytest.mark.parametrize("text", UNDECIDED)
def test_everything_else_is_no_decision(text: str) -> None:
    """EM12: conditions, questions, doubts, greetings, other letters, hidden characters, casual words: nothing."""
    assert read_decision(text) == Decision(None)


def test_what_follows_is_the_comment() -> None:
    """EM11: the following lines are the comment, without the blank lines around them."""
    assert read_decision("\nDeny\n\nThe freeze starts today.\nSorry.\n") == Decision(
        "deny", "The freeze starts today.\nSorry."
    )


def test_a_long_comment_is_cut_visibly() -> None:
    """A comment is bounded, and one sees that it was cut."""
    comment = read_decision("no\n" + "x" * 5000).comment
    assert len(comment) == MAX_COMMENT
    assert comment.endswith("[cut]")


def test_no_word_decides_both_ways() -> None:
    """EM12: nothing stands in both lists."""
    assert not APPROVE_WORDS & DENY_WORDS


@given(
    word=st.sampled_from(sorted(APPROVE_WORDS)),
    extra=st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20),
    front=st.booleans(),
)
def test_an_approving_word_with_any_other_word_is_no_approval(word: str, extra: str, *, front: bool) -> None:
    """EM12: whatever is added to the line takes the approval away."""
    line = f"{extra} {word}" if front else f"{word} {extra}"
    assert read_decision(line).verdict is None


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    """EM4: no text makes it raise, and what approves is a bare yes."""
    if read_decision(text).verdict == "approve":
        assert any(is_bare_decision(line) for line in text.removeprefix("\ufeff").splitlines())


THREE = ("Roll back", "Wait", "Page someone!")
CHOICES = (
    ("2", THREE, "Wait"),
    ("2.", THREE, "Wait"),
    ("2)", THREE, "Wait"),
    ("#2", THREE, "Wait"),
    ("(2)", THREE, "Wait"),
    (" ２ ", THREE, "Wait"),
    ("\n\n1\nbecause it is broken", THREE, "Roll back"),
    ("roll back", THREE, "Roll back"),
    ("ROLL  BACK.", THREE, "Roll back"),
    ("page someone", THREE, "Page someone!"),
    ("0", THREE, None),
    ("4", THREE, None),
    ("-1", THREE, None),
    ("2 or 3", THREE, None),
    ("2?", THREE, None),
    ("1.5", THREE, None),
    ("roll", THREE, None),
    ("roll back or wait", THREE, None),
    ("wait\u200b", THREE, None),
    ("", THREE, None),
    ("2", (), None),
    ("1", ("a", "a"), "a"),
    ("a", ("a", "A."), None),
    ("3", ("3", "5"), "3"),
    ("2", ("2", "4"), "2"),
    ("1", ("3", "5"), None),
    ("99999999999999999999", THREE, None),
    ("yes", ("Yes", "No"), "Yes"),
    ("Yep!", ("Yes", "No"), "Yes"),
    ("ok", ("Yes", "No"), "Yes"),
    ("ja", ("Yes", "No"), "Yes"),
    ("oui", ("No", "Yes"), "Yes"),
    ("はい", ("Yes", "No"), "Yes"),
    ("nope", ("Yes", "No"), "No"),
    ("Nein.", ("Yes", "No"), "No"),
    ("いいえ", ("Yes", "No"), "No"),
    ("yes?", ("Yes", "No"), None),
    ("yes and no", ("Yes", "No"), None),
    ("ja", THREE, None),
    ("yes", ("Yes", "No", "Later"), "Yes"),
    ("ja", ("Yes", "No", "Later"), None),
    ("what is it?", ("What is it?", "Go on"), "What is it?"),
)


@pytest.mark.parametrize(("text", "choices", "chosen"), CHOICES)
def test_a_choice_is_named_by_number_or_by_its_text(text: str, choices: tuple[str, ...], chosen: str | None) -> None:
    """A choice counts only where exactly one is named; exact text goes before a number."""
    assert match_choice(text, choices) == chosen


@pytest.mark.parametrize("text", ["yes", "OK", "nope", "go ahead", "👍", ":+1:", "thumbsup", "却下", "No.", "Ship it!"])
def test_casual_words_still_get_the_hint(text: str) -> None:
    """AP15: in a thread a casual yes is recognised, to say that it does not decide."""
    assert is_bare_decision(text)


@pytest.mark.parametrize("text", ["APPROVE\nDENY", "approve\n\nNo.", "Deny\nbecause\napproved", "ja\nnein"])
def test_both_words_are_no_decision(text: str) -> None:
    """EM12: nobody can tell which of them was meant last."""
    assert read_decision(text).verdict is None
