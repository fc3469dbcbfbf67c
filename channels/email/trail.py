"""What a later mail to somebody needs to know of their newest mail, so that it stands below it (EM10). Pure."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError


class Trail(BaseModel):
    """The head of a mail that may be answered. Stored with the message as one line of JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    subject: str = ""
    """Decoded, without `Re:`, one line."""
    message_id: str = ""
    """With its angle brackets."""
    references: tuple[str, ...] = ()
    """The chain above it, oldest first, each with its angle brackets."""


def read_trail(text: str) -> Trail:
    """The trail, or an empty one where the text is none."""
    try:
        return Trail.model_validate_json(text) if text else Trail()
    except ValidationError:
        return Trail()
