"""What a person types for the arguments of a call before they approve it."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from bot.core.editing import arguments_from, arguments_with, fields_of, why_not
from bot.core.values import Arguments


class Transfer(BaseModel):
    """Moves something."""

    amount: float
    to: str = ""


@pytest.mark.parametrize("typed", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_none_is_no_argument(typed: str) -> None:
    """AP3, AP13: it could not be bound by a digest, so it is refused while the person can still read why."""
    with pytest.raises(ValueError, match="a value is none that can be kept"):
        arguments_from({"amount": 1.0}, {"amount": typed}, Transfer)
    with pytest.raises(ValueError, match="a value is none that can be kept"):
        arguments_with({"amount": 1.0}, {"amount": float(typed)}, Transfer)


class Listed(BaseModel):
    """Has a list, a table, and a text that may be missing."""

    tags: list[str]
    limits: dict[str, int] = {}
    note: str | None = None


def test_lists_and_tables_are_typed_as_json() -> None:
    """AP13: what is no text is shown and read as JSON; a text that may be missing is still a text."""
    proposed = {"tags": ["a", "b"], "limits": {"cpu": 1}, "note": "x"}
    assert [one.text for one in fields_of(proposed, Listed)] == ['["a", "b"]', '{"cpu": 1}', "x"]
    assert arguments_from(proposed, {"tags": '["a"]'}, Listed)["tags"] == ["a"]
    assert arguments_from(proposed, {"limits": '{"cpu": 2}'}, Listed)["limits"] == {"cpu": 2}
    assert arguments_from(proposed, {"note": "[1]"}, Listed)["note"] == "[1]"


def test_what_was_left_alone_stays_though_a_form_lost_what_nobody_sees_of_it() -> None:
    """AP13: joiners that the page takes out of what is typed are no change of the person's."""
    proposed: Arguments = {"tags": [], "note": "for the 👩\u200d💻 team"}
    typed = {"note": "for the 👩💻 team", "tags": '["v2"]'}
    assert arguments_from(proposed, typed, Listed) == {**proposed, "tags": ["v2"]}


def test_what_is_too_long_is_not_cut() -> None:
    """AP13, AP14: a form of somebody's own has no limit of its own; the end of what was typed may matter most."""
    with pytest.raises(ValueError, match="note is too long: 3,000 characters are the most"):
        arguments_from({"tags": []}, {"note": f"{'x' * 3_000} --dry-run"}, Listed)


def test_who_changed_nothing_is_told_that() -> None:
    """Not that it could not be run."""
    with pytest.raises(ValueError, match="nothing was changed") as caught:
        arguments_from({"amount": 1.0}, {"amount": "1.0"}, Transfer)
    assert why_not(caught.value) == "You changed nothing, so the request is as it was."
