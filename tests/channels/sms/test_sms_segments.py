"""SM9: what a text costs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.sms.segments import cut_to, fits, is_gsm, segments, size, to_plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("a", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" + "€" * 80, 2),  # 161 septets
        ("€" * 152, 2),  # 76 pairs fit into 153 septets, and the 77th is not split
        ("€" * 153, 3),
        ("a" * 152 + "€" + "a" * 151, 2),
        ("a" * 152 + "€" + "a" * 152, 3),  # 306 septets would be two, if the pair were split
        ("ÄÖÜäöüß@£$¥èéùìòÇØøÅåΔΦ" * 3, 1),
        ("б" * 70, 1),
        ("б" * 71, 2),
        ("б" * 134, 2),
        ("б" * 135, 3),
        ("👍" * 35, 1),
        ("👍" * 36, 2),
        ("👍" * 66, 2),  # 33 pairs of code units in 67, and none is split
        ("👍" * 67, 3),
        ("^{}\\[~]|" * 10, 1),
    ],
)
def test_segments(text: str, expected: int) -> None:
    """SM9: 160/153 septets or 70/67 code units, and a pair stays whole."""
    assert segments(text) == expected


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("“v1.4.0” – Ana’s … done\u00a0now", '"v1.4.0" - Ana\'s ... done now'),
        ("a → b • c × 3", "a -> b - c x 3"),
        ("\u200bzero\ufeff", "zero"),
        ("Peña, Jürgen", "Peña, Jürgen"),
    ],
)
def test_typographic_characters_do_not_cost_an_alphabet(text: str, plain: str) -> None:
    """SM9: a dash does not turn a text into UCS-2, and names stay as they are."""
    assert to_plain(text) == plain
    assert is_gsm(plain)


def test_size_counts_pairs_twice() -> None:
    """SM9: an extended character and an emoji are two."""
    assert [size(one) for one in ("a", "€", "👍", "б", "ab€")] == [1, 2, 2, 1, 4]
    assert fits("€" * 5, 10)
    assert not fits("€" * 5, 9)


def test_a_cut_is_seen_and_keeps_characters_whole() -> None:
    """SM9: what was left out leaves a mark, and no half of a drawn character stays."""
    assert cut_to("Deploy v1.4.0 to production", 16) == "Deploy v1.4.0..."
    assert cut_to("short", 5) == "short"
    assert cut_to("e\u0301" * 10, 8) == "e\u0301e\u0301..."
    assert cut_to("👍🏽👍🏽", 6) == "..."
    assert cut_to("abcdef", 2) == ".."


@settings(deadline=None)
@given(text=st.text(max_size=400), characters=st.integers(min_value=0, max_value=400))
def test_a_cut_always_fits(text: str, characters: int) -> None:
    """SM9: whatever the text is, it never exceeds what it was cut to, and only a text that does not fit is cut."""
    cut = cut_to(text, characters)
    assert fits(cut, characters)
    assert (cut == text) or not fits(text, characters)
