"""SL4, SL6: while the store is away nothing is acknowledged, and what Slack sends again is stored once.

The outage is a real one: see `Outage`.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from channel_contract import Outage
from support import Bench, bench

from channels.slack.simulator import Delivery
from channels.slack.simulator.delivery import signature


async def retried(on_bench: Bench, delivery: Delivery) -> int:
    """Slack's last try, five minutes later: the same event, signed anew. Returns the status."""
    body = json.dumps(delivery.payload).encode()
    timestamp = str(int(on_bench.clock.now().timestamp()))
    headers = {
        "Content-Type": "application/json",
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": signature(on_bench.slack.tokens.signing_secret, timestamp, body),
        "X-Slack-Retry-Num": "3",
        "X-Slack-Retry-Reason": "http_error",
    }
    return (await on_bench.http.post("/slack/events", content=body, headers=headers)).status_code


async def test_an_outage_is_not_acknowledged_and_the_retry_is_stored_once(redis_url: str, tmp_path: Path) -> None:
    """SL4, SL6: 503 while the store is away; a retry, though it says that it is one, starts the thread."""
    outage = Outage(redis_url, tmp_path / "redis")
    async with bench(outage.url, tmp_path, workers=1) as on_bench:
        await outage.begin()
        asked = await on_bench.slack.say("ana", "#deploys", "@bot what is on production?")
        await on_bench.slack.deliveries.settle()
        lost = on_bench.slack.deliveries.sent
        assert [{attempt.status for attempt in one.attempts} for one in lost] == [{503}, {503}]

        outage.end()
        assert [await retried(on_bench, one) for one in (*lost, *lost)] == [200] * 4
        log = await on_bench.finished(asked)
        assert [event.type for event in log.events].count("message_received") == 1
        assert [event.type for event in log.events].count("run_finished") == 1
        assert len(on_bench.texts(asked)) == 2


async def test_a_click_during_an_outage_is_not_acknowledged_and_decides_nothing(redis_url: str, tmp_path: Path) -> None:
    """SL4, AP4: Slack shows the person that it did not work; clicked again afterwards, it counts once."""
    outage = Outage(redis_url, tmp_path / "redis")
    async with bench(outage.url, tmp_path, workers=1) as on_bench:
        asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
        card = await on_bench.card(asked)
        await outage.begin()
        lost = await on_bench.slack.click("lena", card, "approve")
        assert not lost.accepted
        assert lost.attempts[0].status == 503

        outage.end()
        assert (await on_bench.slack.click("lena", card, "approve")).accepted
        log = await on_bench.finished(asked)
        assert [event.type for event in log.events].count("decision_made") == 1
        assert len(on_bench.releases()) == 2


async def test_a_failing_listener_logs_that_it_failed_and_nothing_of_the_event(
    redis_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """SL2: also where an event could not be stored, its text stays out of the logs."""
    caplog.set_level(logging.DEBUG, logger="switchboard")
    outage = Outage(redis_url, tmp_path / "redis")
    async with bench(outage.url, tmp_path, workers=1) as on_bench:
        await outage.begin()
        asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy the aubergine")
        assert not on_bench.slack.deliveries.sent[0].accepted
        outage.end()
        await on_bench.slack.deliveries.settle()
        logged = capfd.readouterr()
        told = logged.out + logged.err + caplog.text
        assert "StoreUnavailable" in told
        for word in ("aubergine", asked.text, "v0=", on_bench.slack.tokens.bot_token):
            assert word not in told
