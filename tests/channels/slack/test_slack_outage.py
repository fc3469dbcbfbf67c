"""SL4, SL6: while the store is away nothing is acknowledged, and what Slack sends again is stored once.

The outage is a real one: the bot reaches Redis through a relay that the test cuts.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import Bench, bench

from bot.testing import wait_until
from channels.slack.simulator import Delivery
from channels.slack.simulator.delivery import signature


@dataclass
class Relay:
    """A TCP port in front of Redis' unix socket."""

    target: Path
    port: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])

    async def open(self) -> None:
        """Let connections through."""
        self._server = await asyncio.start_server(self._through, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Refuse new connections and break those there are."""
        if self._server:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        await wait_until(lambda: not self._writers)

    async def _through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(str(self.target))
        ends = {writer, back}
        self._writers |= ends
        try:
            await asyncio.gather(_copied(reader, back), _copied(there, writer))
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def behind_a_relay(redis_url: str, tmp_path: Path, *, workers: int = 1) -> AsyncGenerator[tuple[Bench, Relay]]:
    """The bot, with a relay before its store."""
    relay = Relay(Path(urlsplit(redis_url).path))
    await relay.open()
    try:
        async with bench(f"redis://127.0.0.1:{relay.port}", tmp_path, workers=workers) as found:
            yield found, relay
    finally:
        await relay.cut()


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
    async with behind_a_relay(redis_url, tmp_path) as (on_bench, relay):
        await relay.cut()
        asked = await on_bench.slack.say("ana", "#deploys", "@bot what is on production?")
        await on_bench.slack.deliveries.settle()
        lost = on_bench.slack.deliveries.sent
        assert [{attempt.status for attempt in one.attempts} for one in lost] == [{503}, {503}]

        await relay.open()
        assert [await retried(on_bench, one) for one in (*lost, *lost)] == [200] * 4
        log = await on_bench.finished(asked)
        assert [event.type for event in log.events].count("message_received") == 1
        assert [event.type for event in log.events].count("run_finished") == 1
        assert len(on_bench.texts(asked)) == 2


async def test_a_click_during_an_outage_is_not_acknowledged_and_decides_nothing(redis_url: str, tmp_path: Path) -> None:
    """SL4, AP4: Slack shows the person that it did not work; clicked again afterwards, it counts once."""
    async with behind_a_relay(redis_url, tmp_path) as (on_bench, relay):
        asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
        card = await on_bench.card(asked)
        await relay.cut()
        lost = await on_bench.slack.click("lena", card, "approve")
        assert not lost.accepted
        assert lost.attempts[0].status == 503

        await relay.open()
        assert (await on_bench.slack.click("lena", card, "approve")).accepted
        log = await on_bench.finished(asked)
        assert [event.type for event in log.events].count("decision_made") == 1
        assert len(on_bench.releases()) == 2


async def test_a_failing_listener_logs_that_it_failed_and_nothing_of_the_event(
    redis_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """SL2: also where an event could not be stored, its text stays out of the logs."""
    caplog.set_level(logging.DEBUG, logger="switchboard")
    async with behind_a_relay(redis_url, tmp_path) as (on_bench, relay):
        await relay.cut()
        asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy the aubergine")
        assert not on_bench.slack.deliveries.sent[0].accepted
        await relay.open()
        await on_bench.slack.deliveries.settle()
        logged = capfd.readouterr()
        told = logged.out + logged.err + caplog.text
        assert "StoreUnavailable" in told
        for word in ("aubergine", asked.text, "v0=", on_bench.slack.tokens.bot_token):
            assert word not in told
