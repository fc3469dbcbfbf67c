"""Whether a webhook is Twilio's (SM1), by Twilio's own validator. Nothing in a form is believed before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from twilio.request_validator import RequestValidator

_MAX_SIGNATURE = 200


class BadSignature(Exception):  # noqa: N818 an answer: 403
    """The request is not signed by Twilio: "missing" or "wrong". The text holds nothing of the request."""


class _Form(dict[str, list[str]]):
    """A form as the validator reads it: every value of a name, blank ones too."""

    def getlist(self, name: str) -> list[str]:
        return self[name]


def verify(
    url: str, form: Mapping[str, str] | Sequence[tuple[str, str]], signature: str | None, tokens: Sequence[str]
) -> None:
    """Check the `X-Twilio-Signature` of a form that was posted to `url`. Raises BadSignature.

    `url`: the configured public base, the path and the query, never the Host that the request names. `form`: its fields
    with blank values kept. `tokens`: one auth token, or two while they are exchanged.
    """
    if not signature:
        raise BadSignature("missing")
    fields = _Form()
    pairs: Iterable[tuple[str, str]] = form.items() if isinstance(form, Mapping) else form
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    if len(signature) > _MAX_SIGNATURE or not any(_is_of(token, url, fields, signature) for token in tokens if token):
        raise BadSignature("wrong")


def _is_of(token: str, url: str, fields: _Form, signature: str) -> bool:
    validator = cast("Any", RequestValidator)(token)  # the SDK has no annotations here
    try:
        return bool(validator.validate(url, fields, signature))
    except ValueError:  # an address with a broken port, or characters that have no UTF-8: nothing of Twilio's
        return False
