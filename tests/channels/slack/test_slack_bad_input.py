"""What Slack would never send, though it is signed: refused with the right status, and nothing breaks."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote, urlencode

import httpx
from support import Bench

from bot.web.bodies import MAX_BODY_BYTES
from channels.slack.simulator.delivery import signature

JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def signed(on_bench: Bench, body: bytes, content_type: str) -> dict[str, str]:
    """The headers that make it Slack's."""
    timestamp = str(int(on_bench.clock.now().timestamp()))
    return {
        "Content-Type": content_type,
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": signature(on_bench.slack.tokens.signing_secret, timestamp, body),
    }


async def post(on_bench: Bench, body: bytes, content_type: str) -> httpx.Response:
    """A signed request."""
    return await on_bench.http.post("/slack/events", content=body, headers=signed(on_bench, body, content_type))


async def test_a_malformed_body_is_refused(on_bench: Bench) -> None:
    """SL5: 400 for what is not JSON, not a form, not UTF-8 or not an object; it is not Slack's, so nobody retries."""
    bad = [
        (b"", JSON),
        (b"{", JSON),
        (b"[]", JSON),
        (b"null", JSON),
        (b'"text"', JSON),
        (b"\xff\xfe", JSON),
        (b'{"type": "event_callback"', JSON),
        (b"[" * 100_000, JSON),
        (b"", FORM),
        (b"payload", FORM),
        (b"payload=", FORM),
        (b"payload=%7B", FORM),
        (b"payload=[]", FORM),
        (b"payload=%FF%FE", FORM),
        (b"a=1&" * 200 + b"b=2", FORM),
        (b"{}", "text/plain"),
        (b"hello", "text/plain"),
        (b"x", ""),
    ]
    answers = {(body[:30], kind): (await post(on_bench, body, kind)).status_code for body, kind in bad}
    assert answers == {(body[:30], kind): 200 if body == b"{}" else 400 for body, kind in bad}


async def test_a_well_formed_body_that_means_nothing_is_taken(on_bench: Bench) -> None:
    """SL5: an object of an unknown kind gets 200, however little there is in it."""
    bodies = [
        (b"{}", JSON),
        (b'{"type": "event_callback", "event": {"type": "message"}}', JSON),
        (b'{"type": "event_callback", "event": {"type": "app_mention", "text": 7, "user": [], "ts": {}}}', JSON),
        (b'{"type": "event_callback", "event": {"type": "message"}, "authorizations": [{}]}', JSON),
        (b"payload=%7B%7D", FORM),
        (b"ssl_check=1&token=t", FORM),
        (urlencode({"payload": json.dumps({"type": "view_submission", "view": {"type": "modal"}})}).encode(), FORM),
    ]
    answers = {(body[:60], kind): (await post(on_bench, body, kind)).status_code for body, kind in bodies}
    assert set(answers.values()) == {200}, answers
    assert await on_bench.store.logs.recent(10) == []


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(on_bench: Bench) -> None:
    """SL1: 413 by its announced length, or once more than the limit has come; also with a valid signature."""
    large = b'{"type": "event_callback", "filler": "' + b"x" * MAX_BODY_BYTES + b'"}'
    assert (await post(on_bench, large, JSON)).status_code == 413

    pieces = 0

    async def endless() -> AsyncGenerator[bytes]:
        nonlocal pieces
        for pieces in range(1, 1_001):  # noqa: B007 counted from outside
            yield b"x" * 65_536

    headers = {**signed(on_bench, b"", JSON), "Transfer-Encoding": "chunked"}
    answer = await on_bench.http.post("/slack/events", content=endless(), headers=headers)
    assert answer.status_code == 413


async def test_a_lone_surrogate_in_a_message_breaks_nothing(on_bench: Bench) -> None:
    """SL13: JSON can carry half a character; it is dropped, and the message is answered."""
    message = on_bench.slack.workspace.post("C0DEPLOYS", "U0ANA", "<@U0BOT> what is on production? HALF")
    body = json.dumps(on_bench.slack.payloads.posted(message)[0]).replace("HALF", "\\ud83d\\u0000 \\udc00").encode()
    assert (await post(on_bench, body, JSON)).status_code == 200
    await on_bench.finished(message)
    assert "v1.3.2" in on_bench.texts(message)[-1]


async def test_an_interaction_with_half_its_fields_decides_nothing(on_bench: Bench) -> None:
    """SL5: a click of which something is left out or odd is taken or refused; either way nothing comes of it."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    card = await on_bench.card(asked)
    click = (await on_bench.slack.click("ana", card, "approve")).payload  # refused: Ana is no approver
    length = len(await on_bench.settled(asked, lambda log: len(log.state.posts) == 1))
    odd_ones: list[Any] = json.loads('[{}, [], null, 7, "x", [7], [{}]]')
    answers: set[int] = set()
    for field in ("user", "container", "actions", "channel", "message", "team"):
        for odd in odd_ones:
            body = ("payload=" + quote(json.dumps({**click, field: odd}))).encode()
            answers.add((await post(on_bench, body, FORM)).status_code)
    assert answers <= {200, 400, 503}
    assert len(await on_bench.log_of(asked)) == length


async def test_without_slacks_settings_the_address_says_what_is_missing(on_bench: Bench) -> None:
    """SL1: only Slack's own method is answered; nothing is served that could be read."""
    assert (await on_bench.http.get("/slack/events")).status_code == 405
