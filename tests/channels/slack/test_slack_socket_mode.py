"""SL10: the same bot without a public address: events and clicks come over a WebSocket that the bot opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
from support import PEOPLE, Bench, bench, bench_settings

from bot.app import Switchboard
from bot.core.events import MessageReceived
from bot.testing import wait_until
from channels.slack.simulator import LostAnswer


@asynccontextmanager
async def over_a_socket(redis_url: str, tmp_path: Path, *, signing_secret: str = "") -> AsyncGenerator[Bench]:
    """The bot with an app token, connected; by default without a signing secret, so that HTTP is off."""
    async with bench(redis_url, tmp_path, workers=0) as on_bench:
        slack = on_bench.slack
        settings = bench_settings(
            redis_url,
            on_bench.data_dir,
            on_bench.sample,
            slack,
            people_file=PEOPLE,
            slack_app_token=slack.tokens.app_token,
            slack_signing_secret=signing_secret,
        )
        board = Switchboard.assemble(settings, redis_url, clock=on_bench.clock)
        app = board.web()
        async with app.router.lifespan_context(app):
            await wait_until(lambda: slack.sockets.connections)
            found = replace(on_bench, board=board, app=app, workers=[])
            await found.start_worker()
            try:
                yield found
            finally:
                await slack.deliveries.settle()
                await found.stop_workers()


async def test_a_deploy_is_asked_for_and_approved_over_the_socket(redis_url: str, tmp_path: Path) -> None:
    """SL10: the whole journey, without one request from Slack to the bot."""
    async with over_a_socket(redis_url, tmp_path) as on_bench:
        asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
        card = await on_bench.card(asked)
        await on_bench.slack.click("lena", card, "approve")
        await on_bench.finished(asked)
        assert on_bench.releases()[-1].split()[2] == "v1.4.0"
        attempts = [attempt for one in on_bench.slack.deliveries.sent for attempt in one.attempts]
        assert {attempt.over for attempt in attempts} == {"socket"}
        assert not any(attempt.failure for attempt in attempts)


async def test_a_denial_with_its_reason_comes_over_the_socket(redis_url: str, tmp_path: Path) -> None:
    """SL10: dialogs are opened and submitted as over HTTP."""
    async with over_a_socket(redis_url, tmp_path) as on_bench:
        asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
        card = await on_bench.card(asked)
        await on_bench.slack.click("lena", card, "deny")
        view = on_bench.slack.views("lena")[0]
        assert (await on_bench.slack.submit("lena", view, {"reason": {"text": "not today"}})).accepted
        await on_bench.finished(asked)
        assert "not today" in on_bench.slack.workspace.message(card.channel, card.ts).text


async def test_everything_is_acknowledged_and_counts_once(redis_url: str, tmp_path: Path) -> None:
    """SL5 to SL8: an unknown kind is acknowledged, a repeated event is one event."""
    async with over_a_socket(redis_url, tmp_path) as on_bench:
        slack = on_bench.slack
        asked = await slack.say("ana", "#deploys", "@bot what is on production?")
        await on_bench.finished(asked)
        repeated = [slack.deliveries.send("events_api", one.payload) for one in list(slack.deliveries.sent)]
        assert all(one.accepted for one in await asyncio.gather(*repeated))
        log = await on_bench.log_of(asked)
        assert sum(isinstance(event, MessageReceived) for event in log.events) == 1
        for kind in ("shortcut", "view_closed", "something_new"):
            payload = {"type": kind, "callback_id": "x", "user": {"id": "U0ANA"}, "team": {"id": "T0ACME"}, "view": {}}
            assert (await slack.deliveries.send("interactive", payload)).accepted, kind
        assert (await slack.command("ana", "#deploys", "/deploy")).accepted
        assert "Mention me" in slack.ephemerals("ana")[-1].text


async def test_the_address_for_http_is_off_without_its_secret(redis_url: str, tmp_path: Path) -> None:
    """SL1, SL10: no signature applies to the socket, so nothing unsigned is taken over HTTP instead."""
    async with over_a_socket(redis_url, tmp_path) as on_bench:
        transport = httpx.ASGITransport(app=on_bench.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://bot.test") as http:
            answer = await http.post("/slack/events", json={"type": "url_verification", "challenge": "x"})
        assert answer.status_code == 404
        assert "SLACK_SIGNING_SECRET" in answer.json()["error"]


async def test_slack_drops_the_connection_and_what_came_meanwhile_counts_once(redis_url: str, tmp_path: Path) -> None:
    """SL10, SL6: Slack drops connections every few hours; the bot opens the next, and Slack's retries arrive on it."""
    async with over_a_socket(redis_url, tmp_path) as on_bench:
        slack = on_bench.slack
        slack.events_url = None
        asked = slack.workspace.post("C0DEPLOYS", "U0ANA", "<@U0BOT> what is on production?")
        payload = slack.payloads.posted(asked)[0]
        await slack.sockets.refresh()
        for _ in range(20):
            await wait_until(lambda: slack.sockets.connections, seconds=20)
            if (await slack.deliveries.send("events_api", payload)).accepted:
                break
        log = await on_bench.finished(asked)
        assert sum(isinstance(event, MessageReceived) for event in log.events) == 1
        assert "v1.3.2" in on_bench.texts(asked)[-1]


async def test_a_lost_answer_is_reconciled_over_the_socket_too(redis_url: str, tmp_path: Path) -> None:
    """SL19: posting does not depend on how events come in."""
    async with over_a_socket(redis_url, tmp_path) as on_bench:
        on_bench.slack.faults.script("chat.postMessage", LostAnswer())
        asked = await on_bench.slack.say("ana", "#deploys", "@bot what is on production?")
        await on_bench.settled(asked, lambda log: any(post.blocked for post in log.state.posts.values()))
        on_bench.clock.advance(minutes=1)
        await on_bench.finished(asked)
        assert len(on_bench.texts(asked)) == 2
