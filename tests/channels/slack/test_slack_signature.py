"""SL1 to SL3: nothing that Slack did not sign is looked at, nothing is kept of it, and nothing of it is logged."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, cast

import httpx
import pytest
import redis.asyncio as redis_client
from hypothesis import given, settings
from hypothesis import strategies as st
from support import Bench

from channels.slack.receive import BadSignature, verify
from channels.slack.simulator.delivery import signature

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
BODY = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&command=%2Fweather&text=94070"
NOW = 1_531_420_618
UNHURRIED = settings(deadline=None)
"""The suite has its own limit; a busy machine is no failure."""


def event(on_bench: Bench, text: str = "<@U0BOT> deploy v1.4.0 to production") -> bytes:
    """A mention, as Slack would send it."""
    message = on_bench.slack.workspace.post("C0DEPLOYS", "U0ANA", text)
    return json.dumps(on_bench.slack.payloads.posted(message)[0]).encode()


def headers_for(on_bench: Bench, body: bytes, *, age_seconds: int = 0, secret: str = "") -> dict[str, str]:
    """Slack's headers for this body."""
    timestamp = str(int(on_bench.clock.now().timestamp()) - age_seconds)
    signed = signature(secret or on_bench.slack.tokens.signing_secret, timestamp, body)
    return {
        "Content-Type": "application/json",
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": signed,
    }


async def send(on_bench: Bench, body: bytes, headers: Mapping[str, str | bytes]) -> httpx.Response:
    """Post it where Slack posts."""
    raw = [(name.encode(), value.encode() if isinstance(value, str) else value) for name, value in headers.items()]
    return await on_bench.http.post("/slack/events", content=body, headers=raw)


async def keys_in(redis_url: str) -> set[str]:
    """Every key that the store holds, but for the wake streams that a worker makes when it starts."""
    client: Any = cast("Any", redis_client.Redis).from_url(redis_url)
    found = {key.decode() for key in await client.keys("*")}
    await client.aclose()
    return {key for key in found if not key.endswith(":wake")}


def test_the_signature_is_the_one_of_slacks_documentation() -> None:
    """SL1: HMAC-SHA256 of `v0:{timestamp}:{body}`, as in docs.slack.dev's example."""
    verify(BODY, str(NOW), signature(SECRET, str(NOW), BODY), [SECRET], NOW)


async def test_a_signature_is_good_for_five_minutes_either_way(on_bench: Bench) -> None:
    """SL1: |now - timestamp| <= 300 s is taken, as clocks differ."""
    for age_seconds in (-300, 0, 300):
        body = event(on_bench)
        answer = await send(on_bench, body, headers_for(on_bench, body, age_seconds=age_seconds))
        assert answer.status_code == 200


UNSIGNED: Mapping[str, Mapping[str, str | bytes | None]] = {
    "no signature": {"X-Slack-Signature": None},
    "no timestamp": {"X-Slack-Request-Timestamp": None},
    "neither": {"X-Slack-Signature": None, "X-Slack-Request-Timestamp": None},
    "empty signature": {"X-Slack-Signature": ""},
    "no digest": {"X-Slack-Signature": "v0="},
    "wrong digest": {"X-Slack-Signature": "v0=" + "0" * 64},
    "huge signature": {"X-Slack-Signature": "v0=" + "0" * 100_000},
    "signature not ascii": {"X-Slack-Signature": "v0=schlüssel".encode()},
    "signature not utf-8": {"X-Slack-Signature": b"v0=\xff\xfe\x80"},
    "timestamp not a number": {"X-Slack-Request-Timestamp": "yesterday"},
    "empty timestamp": {"X-Slack-Request-Timestamp": ""},
    "negative timestamp": {"X-Slack-Request-Timestamp": "-1"},
    "timestamp with an exponent": {"X-Slack-Request-Timestamp": "1e9"},
    "timestamp nan": {"X-Slack-Request-Timestamp": "nan"},
    "huge timestamp": {"X-Slack-Request-Timestamp": "9" * 5_000},
    "timestamp in other digits": {"X-Slack-Request-Timestamp": "١٧٧٤"},
    "timestamp of another age": {"X-Slack-Request-Timestamp": "0"},
}


async def test_what_is_not_signed_is_refused_and_leaves_no_trace(on_bench: Bench, redis_url: str) -> None:
    """SL1: 401 for each way to be wrong, and not one key in the store."""
    body = event(on_bench)
    answers: dict[str, int] = {}
    for case, change in UNSIGNED.items():
        headers: dict[str, str | bytes | None] = {**headers_for(on_bench, body), **change}
        sent = {name: value for name, value in headers.items() if value is not None}
        answers[case] = (await send(on_bench, body, sent)).status_code
    assert answers == dict.fromkeys(UNSIGNED, 401)
    assert await keys_in(redis_url) == set()


async def test_a_stale_or_future_request_is_refused_though_its_signature_is_right(
    on_bench: Bench, redis_url: str
) -> None:
    """SL1: a request that was recorded can not be played again later."""
    body = event(on_bench)
    for age_seconds in (301, 86_400, -301, -86_400):
        answer = await send(on_bench, body, headers_for(on_bench, body, age_seconds=age_seconds))
        assert answer.status_code == 401
    assert await keys_in(redis_url) == set()


async def test_another_secret_or_another_body_is_refused(on_bench: Bench, redis_url: str) -> None:
    """SL1: the signature covers the raw body, to the byte."""
    body = event(on_bench)
    other = await send(on_bench, body, headers_for(on_bench, body, secret="not Slack's"))
    changed = await send(on_bench, body + b" ", headers_for(on_bench, body))
    assert (other.status_code, changed.status_code) == (401, 401)
    assert await keys_in(redis_url) == set()


async def test_the_handshake_is_answered_only_when_slack_signed_it(on_bench: Bench) -> None:
    """SL3: `url_verification` gets its challenge after the verification, and never before."""
    body = json.dumps({"type": "url_verification", "token": "t", "challenge": "3eZbrw1a"}).encode()
    signed = await send(on_bench, body, headers_for(on_bench, body))
    assert (signed.status_code, signed.json()) == (200, {"challenge": "3eZbrw1a"})
    unsigned = await send(on_bench, body, {"Content-Type": "application/json"})
    assert unsigned.status_code == 401
    assert "3eZbrw1a" not in unsigned.text


async def test_nothing_of_a_refused_request_is_logged(
    on_bench: Bench, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """SL2: that it was refused and why is logged, and nothing that it held."""
    caplog.set_level(logging.DEBUG, logger="switchboard")
    body = event(on_bench, "<@U0BOT> a secret plan")
    headers = headers_for(on_bench, body, secret="not Slack's")
    await send(on_bench, body, headers)
    logged = capfd.readouterr().out + caplog.text
    assert "slack_signature_refused" in logged
    for word in ("secret plan", headers["X-Slack-Signature"], "U0ANA", on_bench.slack.tokens.signing_secret):
        assert word not in logged


async def test_nothing_that_people_write_is_logged_in_a_whole_journey(
    on_bench: Bench, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """SL2: a journey's logs name threads and persons, never a body, a token or a signature."""
    caplog.set_level(logging.DEBUG, logger="switchboard")
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production, says the aubergine")
    card = await on_bench.card(asked)
    await on_bench.slack.click("lena", card, "deny")
    view = on_bench.slack.views("lena")[0]
    await on_bench.slack.submit("lena", view, {"reason": {"text": "the aubergine lies"}})
    await on_bench.finished(asked)
    logged = capfd.readouterr()
    told = logged.out + logged.err + caplog.text
    assert "slack_decision" in told
    tokens = on_bench.slack.tokens
    for word in ("aubergine", "v0=", tokens.bot_token, tokens.signing_secret, view.payload["private_metadata"]):
        assert word not in told


@UNHURRIED
@given(
    timestamp=st.one_of(st.none(), st.text(), st.integers().map(str)),
    given=st.one_of(st.none(), st.text(), st.just("v0=" + "a" * 64)),
    body=st.binary(max_size=50),
)
def test_no_made_up_header_is_taken_or_breaks_anything(timestamp: str | None, given: str | None, body: bytes) -> None:
    """SL1: whatever stands in the headers, the answer is a refusal."""
    with pytest.raises(BadSignature):
        verify(body, timestamp, given, [SECRET], NOW)
