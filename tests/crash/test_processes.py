"""Real processes, really killed: the worker by SIGKILL in the middle of a deploy, and stopped in order by SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support import PEOPLE, Bench, bench

from bot.testing import wait_until


@contextmanager
def worker_process(found: Bench, log: Path) -> Generator[subprocess.Popen[bytes]]:
    """`bot worker` as the Procfile starts it, on the bench's store and counterpart."""
    settings = found.board.settings
    environment: Mapping[str, str] = {
        "PATH": os.environ["PATH"],
        "REDIS_URL": settings.redis_url,
        "SLACK_BOT_TOKEN": settings.slack_bot_token.get_secret_value(),
        "SLACK_SIGNING_SECRET": settings.slack_signing_secret.get_secret_value(),
        "SLACK_API_URL": settings.slack_api_url,
        "PEOPLE_FILE": str(PEOPLE),
        "DEPLOY_REPO": settings.deploy_repo,
        "DEPLOY_FILE": str(settings.deploy_file),
        "DATA_DIR": str(settings.data_dir),
        "SECRET_KEY": "x",
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bot", "worker"], env=environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_a_worker_killed_during_the_deploy_leaves_one_deploy_and_the_next_one_reports_it(
    redis_url: str, tmp_path: Path
) -> None:
    """SIGKILL while the command runs: it goes on by itself, and the worker that takes over waits for its end.

    The lease of a killed worker is dropped by hand here, instead of waiting half a minute for it to run out.
    """
    async with bench(redis_url, tmp_path, workers=0) as found:
        found.deploys_take(seconds=2)
        with worker_process(found, tmp_path / "victim.log") as victim:
            asked = await found.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
            await found.slack.click("lena", await found.card(asked), "approve")
            await found.settled(asked, lambda log: log.state.call and log.state.call.place)
            victim.send_signal(signal.SIGKILL)
            victim.wait()
        redis = found.store.connection.redis
        for key in await redis.keys("*:meta"):
            await redis.hset(key, "lease_until", "1")

        await found.start_worker()
        log = await found.finished(asked)

        assert len(found.releases()) == 2, "the first line is the sample's own"
        assert [event.type for event in log.events].count("tool_started") == 1
        assert [event.type for event in log.events].count("tool_finished") == 1
        assert any("runs on production" in text for text in found.texts(asked))


async def test_sigterm_lets_the_deploy_come_to_its_end(redis_url: str, tmp_path: Path) -> None:
    """A worker that is told to stop takes nothing new, finishes what runs, and leaves with code 0."""
    async with bench(redis_url, tmp_path, workers=0) as found:
        found.deploys_take(seconds=1)
        with worker_process(found, tmp_path / "worker.log") as worker:
            asked = await found.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
            await found.slack.click("lena", await found.card(asked), "approve")
            await found.settled(asked, lambda log: log.state.call and log.state.call.place)
            worker.send_signal(signal.SIGTERM)
            await wait_until(lambda: worker.poll() is not None, seconds=20)
            assert worker.returncode == 0
        log = await found.log_of(asked)
        assert log.state.status == "finished"
        assert "draining" in (tmp_path / "worker.log").read_text()
