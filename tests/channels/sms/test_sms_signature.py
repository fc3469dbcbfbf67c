"""SM1: a webhook is believed only when Twilio's own validator says that Twilio signed it, for our public address."""

from __future__ import annotations

from typing import Any, cast

import pytest
from twilio.request_validator import RequestValidator

from channels.sms.client import BadSignature, verify
from channels.sms.simulator import signature

URL = "https://bot.example/twilio/status?post=t0123%3A12%3A0"
FORM = {"From": "+12025550111", "Body": "YES 482190", "FromZip": "", "MessageSid": f"SM{'0' * 32}", "Ümlaut": "ß €"}
TOKEN, NEXT_TOKEN = "0123456789abcdef", "fedcba9876543210"


def signed(url: str = URL, form: dict[str, str] = FORM, token: str = TOKEN) -> str:
    """As the SDK signs it."""
    return str(cast("Any", RequestValidator)(token).compute_signature(url, form))


def test_the_simulator_signs_as_the_sdk_does() -> None:
    """SM1: two implementations of Twilio's documentation agree."""
    assert signature(URL, FORM, TOKEN) == signed()


def test_a_signed_form_passes_as_a_mapping_and_as_pairs() -> None:
    """SM1: blank values count, and it does not matter how the form was decoded."""
    verify(URL, FORM, signed(), [TOKEN])
    verify(URL, list(FORM.items()), signed(), [TOKEN])


def test_a_name_that_comes_twice_is_signed_with_both_values() -> None:
    """SM1: no value is dropped on the way to the validator."""

    class Twice(dict[str, list[str]]):
        def getlist(self, name: str) -> list[str]:
            return self[name]

    both = cast("Any", RequestValidator)(TOKEN).compute_signature(URL, Twice(a=["1", "2"]))
    verify(URL, [("a", "1"), ("a", "2")], str(both), [TOKEN])
    with pytest.raises(BadSignature, match="wrong"):
        verify(URL, [("a", "1")], str(both), [TOKEN])


@pytest.mark.parametrize("absent", [None, ""])
def test_a_missing_signature_is_said_to_be_missing(absent: str | None) -> None:
    """SM1: the SDK would raise TypeError on None."""
    with pytest.raises(BadSignature, match="missing"):
        verify(URL, FORM, absent, [TOKEN])


def test_both_tokens_count_during_a_rotation() -> None:
    """SM1: the old and the new token, in either order, and nothing else."""
    for token in (TOKEN, NEXT_TOKEN):
        verify(URL, FORM, signed(token=token), [TOKEN, NEXT_TOKEN])
    with pytest.raises(BadSignature, match="wrong"):
        verify(URL, FORM, signed(token="another"), [TOKEN, NEXT_TOKEN])


@pytest.mark.parametrize(
    ("url", "form", "sent"),
    [
        (URL, {**FORM, "Body": "NO 482190"}, signed()),
        (URL, {name: value for name, value in FORM.items() if value}, signed()),
        (URL, {**FORM, "Extra": ""}, signed()),
        (URL.replace("bot.example", "evil.example"), FORM, signed()),
        (URL.replace("12%3A0", "13%3A0"), FORM, signed()),
        ("https://bot.example:bad/", FORM, signed()),
        (URL, {"Body": "\ud800"}, signed()),
        (URL, FORM, signed()[:-1] + "é"),
        (URL, FORM, "x" * 10_000),
        ("", {}, "x"),
    ],
)
def test_what_is_not_signed_so_is_wrong(url: str, form: dict[str, str], sent: str) -> None:
    """SM1: another value, a dropped blank, another host or query, and nonsense all end the same way."""
    with pytest.raises(BadSignature, match="wrong"):
        verify(url, form, sent, [TOKEN])


@pytest.mark.parametrize("tokens", [[], [""], ["", ""]])
def test_without_a_token_nothing_passes(tokens: list[str]) -> None:
    """SM1: an empty key is one that everybody knows, so a forgotten setting lets nobody in."""
    with pytest.raises(BadSignature, match="wrong"):
        verify(URL, FORM, signature(URL, FORM, ""), tokens)
