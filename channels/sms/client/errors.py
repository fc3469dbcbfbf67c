"""What a refusal or a silence of Twilio's means for a post (SM11). Only codes and kinds are kept, never a text."""

from __future__ import annotations

import json

import aiohttp
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from twilio.http.response import Response

from bot.core.protocols import DeliveryError
from channels.sms.receive import SLOW_DOWN, UNDELIVERABLE

LOST = (aiohttp.ClientError, TimeoutError, TwilioException, ValueError, TypeError, KeyError, AttributeError)
"""What the SDK raises where an answer is missing, refused, or not what it should be."""
_TOO_MANY, _UNAUTHORISED, _FORBIDDEN, _SERVER_ERROR = 429, 401, 403, 500
_RETRY_SECONDS, _BUSY_SECONDS, _QUEUE_SECONDS, _MISCONFIGURED_SECONDS = 5.0, 10.0, 60.0, 300.0
# The account, its token or its number is not right at the moment: somebody will mend it, nothing is lost until then.
_MISCONFIGURED = frozenset({20003, 20005, 20404, 21212, 21408, 21603, 21606, 21609, 21659, 21660})
_BUSY = 20429


def delivery_error(error: Exception, *, writes: bool) -> DeliveryError:
    """The error of a channel. `writes`: what was asked for may have been done, where no answer says otherwise."""
    found = _status_and_code(error)
    if found is None:
        return DeliveryError(type(error).__name__, retry_seconds=_RETRY_SECONDS, in_doubt=writes)
    status, code = found
    said = f"Twilio answered {code or status}"
    if code in UNDELIVERABLE:
        return DeliveryError(said, undeliverable=True)
    if code in SLOW_DOWN:
        return DeliveryError(said, retry_seconds=_QUEUE_SECONDS)
    if status == _TOO_MANY or code == _BUSY:
        return DeliveryError(said, retry_seconds=_BUSY_SECONDS)
    if status in {_UNAUTHORISED, _FORBIDDEN} or code in _MISCONFIGURED:
        return DeliveryError(said, retry_seconds=_MISCONFIGURED_SECONDS)
    if status >= _SERVER_ERROR:
        return DeliveryError(said, retry_seconds=_RETRY_SECONDS, in_doubt=writes)
    return DeliveryError(said)


def _status_and_code(error: Exception) -> tuple[int, int] | None:
    """The HTTP status and Twilio's code, 0 where it gave none; None where there was no answer."""
    if isinstance(error, TwilioRestException | TwilioServiceException):
        return error.status, _number(error.code)
    # A page of a list: the SDK puts the whole answer into the exception.
    answer: object = error.args[1] if isinstance(error, TwilioException) and len(error.args) > 1 else None
    return (answer.status_code, _code_in(answer.text)) if isinstance(answer, Response) else None


def _code_in(text: str) -> int:
    try:
        return _number(json.loads(text)["code"])
    except (ValueError, KeyError, TypeError):
        return 0


def _number(code: object) -> int:
    return code if isinstance(code, int) else 0
