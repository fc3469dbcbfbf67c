"""The short-lived permissions that Slack hands out with an interaction: trigger ids and response URLs.

Both are forgotten when the process ends, and neither can be guessed. Time comes from the clock that was given.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from channels.slack.simulator.records import Message

TRIGGER_SECONDS = 3.0
"""How long a modal can be opened after the interaction (SL16)."""
RESPONSE_URL_SECONDS = 30 * 60.0
RESPONSE_URL_USES = 5


class BadTriggerError(ValueError):
    """The trigger id cannot be used; the text is Slack's error string."""


@dataclass(slots=True)
class _Trigger:
    user: str
    at: float
    used: bool = False


@dataclass(slots=True)
class ResponseUrl:
    """Where the app may answer an interaction; `message` is the one that was clicked, None for a command."""

    user: str
    channel: str
    message: Message | None
    at: float
    uses: int = 0


class Tickets:
    """Issues trigger ids and response URLs, and says who one belongs to."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._triggers: dict[str, _Trigger] = {}
        self._response_urls: dict[str, ResponseUrl] = {}

    def trigger(self, user: str) -> str:
        """A new trigger id for this person's interaction."""
        trigger_id = f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}"
        self._triggers[trigger_id] = _Trigger(user, self._now())
        return trigger_id

    def exchange(self, trigger_id: str) -> str:
        """Use a trigger id up and return whose it is; raises `BadTriggerError` with Slack's error string."""
        trigger = self._triggers.get(trigger_id)
        if trigger is None:
            raise BadTriggerError("invalid_trigger_id")
        if trigger.used:
            raise BadTriggerError("exchanged_trigger_id")
        if self._now() - trigger.at > TRIGGER_SECONDS:
            raise BadTriggerError("expired_trigger_id")
        trigger.used = True
        return trigger.user

    def response_url(self, user: str, channel: str, message: Message | None) -> str:
        """The secret last part of a new response URL."""
        key = secrets.token_urlsafe(16)
        self._response_urls[key] = ResponseUrl(user, channel, message, self._now())
        return key

    def respond(self, key: str) -> ResponseUrl | None:
        """Use a response URL once; None when it is unknown, too old or used up."""
        ticket = self._response_urls.get(key)
        if ticket is None or self._now() - ticket.at > RESPONSE_URL_SECONDS or ticket.uses >= RESPONSE_URL_USES:
            return None
        ticket.uses += 1
        return ticket
