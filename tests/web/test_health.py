from __future__ import annotations

import os
import signal
from pathlib import Path

import redis
from anthropic_counterpart import KEY, MODEL
from support import Bench, bench

from bot.runtime.anthropic_model import AnthropicModel
from bot.runtime.private_server import private_server

NOWHERE = "redis://127.0.0.1:1"


async def test_a_living_process_says_so(redis_url: str, tmp_path: Path) -> None:
    """/healthz answers with and without Redis: a restart would not bring Redis back."""
    for url in (redis_url, NOWHERE):
        async with bench(url, tmp_path / url[-1], workers=0) as on_bench:
            answer = await on_bench.http.get("/healthz")
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_a_ready_process_says_what_it_works_with(on_bench: Bench) -> None:
    """/readyz names the model and the channels, without any key."""
    answer = await on_bench.http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "redis": "ok",
        "model": "scripted rules (no model)",
        "channels": {"slack": True, "email": False, "sms": False},
    }


async def test_readiness_names_the_real_model_and_does_not_ask_it(redis_url: str, tmp_path: Path) -> None:
    """The model's API may be away: the bot still takes what people send."""
    model = AnthropicModel(KEY, model=MODEL, base_url="http://127.0.0.1:1", max_retries=0)
    async with bench(redis_url, tmp_path, workers=0, model=model, slack_bot_token="") as on_bench:
        answer = await on_bench.http.get("/readyz")
        assert (answer.status_code, answer.json()["model"]) == (200, MODEL)
        assert answer.json()["channels"] == {"slack": False, "email": False, "sms": False}


async def test_without_redis_a_process_is_not_ready(tmp_path: Path) -> None:
    """503, so that whoever balances the load sends people elsewhere; the text names no address."""
    async with bench("redis://user:hunter2hunter2@127.0.0.1:1", tmp_path, workers=0) as on_bench:
        answer = await on_bench.http.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["status"] == "unavailable"
        assert "Redis cannot be reached" in answer.json()["redis"]
        assert "hunter2" not in answer.text


async def test_readiness_comes_and_goes_with_redis(tmp_path: Path) -> None:
    """The same process is ready again as soon as Redis is back; nobody has to restart it."""
    with private_server(tmp_path) as url:
        async with bench(url, tmp_path, workers=0) as on_bench:
            assert (await on_bench.http.get("/readyz")).status_code == 200
            server = int((tmp_path / "redis" / "server.pid").read_text())
            os.kill(server, signal.SIGKILL)
            while _answers(url):
                pass
            assert (await on_bench.http.get("/readyz")).status_code == 503
            with private_server(tmp_path):
                assert (await on_bench.http.get("/readyz")).status_code == 200


def _answers(url: str) -> bool:
    client = redis.Redis.from_url(url)  # pyright: ignore[reportUnknownMemberType]
    try:
        return bool(client.ping())  # pyright: ignore[reportUnknownMemberType]
    except redis.ConnectionError:
        return False
    finally:
        client.close()


async def test_metrics_count_webhooks_and_the_backlog(redis_url: str, tmp_path: Path) -> None:
    """Prometheus finds how many threads wait for a worker, and how webhooks ended."""
    async with bench(redis_url, tmp_path, workers=0) as on_bench:
        before = _value(await _metrics(on_bench), 'switchboard_webhooks_total{channel="slack",outcome="refused"}')
        await on_bench.http.post("/slack/events", content=b"{}")
        await on_bench.slack.say("ana", "#deploys", "@bot hello")
        text = await _metrics(on_bench)
    assert _value(text, "switchboard_store_up") == 1
    assert _value(text, "switchboard_backlog_threads") == 1
    assert _value(text, "switchboard_store_ping_seconds") > 0
    assert _value(text, 'switchboard_webhooks_total{channel="slack",outcome="refused"}') == before + 1
    assert "hello" not in text
    assert "ana" not in text


async def test_metrics_are_there_without_redis(tmp_path: Path) -> None:
    """An outage is a number, not a hole."""
    async with bench(NOWHERE, tmp_path, workers=0) as on_bench:
        assert _value(await _metrics(on_bench), "switchboard_store_up") == 0


async def _metrics(on_bench: Bench) -> str:
    answer = await on_bench.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.text


def _value(text: str, name: str) -> float:
    return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)
