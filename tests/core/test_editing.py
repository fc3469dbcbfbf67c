"""What a person types for the arguments of a call before they approve it."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from bot.core.editing import arguments_from, arguments_with


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
