"""The worker dies at every point of the deploy journey; another takes over; nobody can tell from the log.

Dying is an exception that nothing catches: no lease is released, no wake-up acknowledged, no post cleaned up after.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import FAST, Bench, bench, emptied, rewrite

from bot.app import Switchboard
from bot.core.events import Event
from bot.core.log import Log
from bot.core.people import SYSTEM
from bot.core.protocols import Lease
from bot.runtime.store import RedisLogs
from bot.testing import wait_until
from channels.slack.simulator import Message

APPENDS = 14
"""What the worker appends in the deploy journey; a test below holds it against the journey itself."""
STARTED = 8
"""The append that records that the deploy is about to run."""
PREPARED = 5
"""The append that records what the deploy would do, and what the policy says of it."""
PACE = replace(FAST, lease_seconds=0.3)


class Killed(BaseException):
    """The process is gone."""


class DyingLogs(RedisLogs):
    """The logs of a worker that dies at its n-th append: just before it, or just after."""

    def __init__(self, real: RedisLogs, at: int, *, after: bool) -> None:
        self.__dict__.update(real.__dict__)
        self._left = at
        self._after = after
        self.dead = False
        self.died: Callable[[], None] = lambda: None
        """Called at the death: what is dead takes no further work from the living."""

    def _die(self) -> None:
        self.dead = True
        self.died()

    async def append(self, log: Log, event: Event, lease: Lease) -> Log:
        """Append, or die."""
        self._left -= 1
        if self.dead or (self._left == 0 and not self._after):
            self._die()
            raise Killed
        grown = await super().append(log, event, lease)
        if self._left == 0:
            self._die()
            raise Killed
        return grown


def essence(events: Sequence[Event]) -> list[tuple[str, ...]]:
    """What a log says, without times, places and the ids that Slack and chance gave."""
    told: list[tuple[str, ...]] = []
    for event in events:
        fields: dict[str, Any] = event.model_dump()
        kept = ("tool", "call_id", "post_id", "face", "verdict", "text", "message", "error", "summary", "saw")
        said = (f"{name}={fields[name]}" for name in kept if name in fields)
        told.append((event.type, *(re.sub(r"took \d+\.\d s", "took some time", one) for one in said)))
    return told


async def play(found: Bench) -> Log:
    """The deploy journey: ask, wait for the card, approve, wait for the end."""
    asked = await found.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    card = await found.card(asked)
    await found.settled(asked, lambda log: log.events[-1].type == "post_sent")  # else the click may come first
    await found.slack.click("lena", card, "approve")
    return await found.finished(asked)


@pytest.fixture(scope="module")
def undisturbed(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Log:
    """The journey without a death."""

    async def run() -> Log:
        await emptied(redis_server)
        async with bench(redis_server, tmp_path_factory.mktemp("undisturbed")) as found:
            return await play(found)

    return asyncio.run(run())


def test_the_number_of_deaths_is_the_number_of_appends(undisturbed: Log) -> None:
    """Every append of the worker in this journey is a place to die at."""
    from_outside = {"thread_launched", "message_received", "decision_made"}
    assert len([event for event in undisturbed.events if event.type not in from_outside]) == APPENDS


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, APPENDS + 1))
async def test_a_death_at_any_append_leaves_the_same_log_and_one_deploy(
    redis_url: str, tmp_path: Path, undisturbed: Log, at: int, *, after: bool
) -> None:
    """SL19: whatever was under way is taken up again: nothing is lost, posted twice or deployed twice."""
    async with bench(redis_url, tmp_path, workers=0) as found:
        async with about_to_die(found, redis_url, at, after=after) as logs:
            playing = asyncio.create_task(play(found))
            await wait_until(lambda: logs.dead, seconds=20)
            await found.start_worker(PACE)
            log = await playing

        assert essence(log.events) == essence(undisturbed.events)
        assert len(found.releases()) == 2, "the first line is the sample's own; the deploy command ran once"
        root = found.slack.workspace.messages("C0DEPLOYS")[0].ts
        assert len(found.slack.thread("C0DEPLOYS", root)) == 3, "the question, the card and the answer, each once"


async def _nothing_handed_back(consumer: str) -> int:
    """The dead do not tidy up."""
    del consumer
    return 0


@asynccontextmanager
async def about_to_die(found: Bench, redis_url: str, at: int, *, after: bool) -> AsyncGenerator[DyingLogs]:
    """A worker that will not come to its end."""
    doomed = Switchboard.assemble(found.board.settings, redis_url, clock=found.clock)
    logs = DyingLogs(doomed.store.logs, at, after=after)
    doomed.store.logs = logs
    doomed.store.wakeups.leave = _nothing_handed_back
    worker = doomed.worker(PACE)
    logs.died = worker.stop
    dying = asyncio.create_task(worker.run())
    try:
        yield logs
    finally:
        worker.stop()
        await dying
        await doomed.close()


@pytest.mark.parametrize("what", ["cancel", "pause", "too late"])
async def test_what_may_no_longer_run_does_not_begin_after_a_death(redis_url: str, tmp_path: Path, what: str) -> None:
    """AP3: on record as started, not begun when the worker died; since then cancelled, paused, or out of time."""
    async with bench(redis_url, tmp_path, workers=0) as found:
        async with about_to_die(found, redis_url, STARTED, after=True) as logs:
            asked = await found.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
            card = await found.card(asked)
            await found.settled(asked, lambda log: log.events[-1].type == "post_sent")
            await found.slack.click("lena", card, "approve")
            await wait_until(lambda: logs.dead, seconds=20)
        log = await found.log_of(asked)
        assert log.events[-1].type == "tool_started"
        if what == "too late":
            found.clock.advance(hours=2)
        else:
            await found.board.inbox.control(log.thread_id, "cancel" if what == "cancel" else "pause", SYSTEM)
        await found.start_worker(PACE)
        await found.settled(asked, lambda log: any(event.type == "tool_failed" for event in log.events))
        assert len(found.releases()) == 1, "only the sample's own line"


async def prepared_and_left(found: Bench, redis_url: str, words: str) -> Message:
    """What somebody asked for; the last worker died when it had prepared the call."""
    async with about_to_die(found, redis_url, PREPARED, after=True) as logs:
        asked = await found.slack.say("ana", "#deploys", words)
        await wait_until(lambda: logs.dead, seconds=20)
    assert (await found.log_of(asked)).events[-1].type == "call_prepared"
    return asked


@pytest.mark.parametrize("minutes", [1, 10])
async def test_what_nobody_had_to_approve_is_ruled_again_after_an_outage(
    redis_url: str, tmp_path: Path, minutes: int
) -> None:
    """AP3: it was prepared, and no worker was left to run it; since then the policy wants somebody asked."""
    policy = tmp_path / "policy.toml"
    policy.write_text("")
    async with bench(redis_url, tmp_path, workers=0, policy_file=policy) as found:
        asked = await prepared_and_left(found, redis_url, "@bot deploy v1.3.1 to staging")
        found.clock.advance(minutes=minutes)
        rewrite(policy, '[[policies]]\ntool = "deploy"\nroles = ["approver"]\napprovals = 1\n')
        await found.start_worker(PACE)
        if minutes == 1:  # a moment ago: what was ruled then holds
            await found.finished(asked)
            assert len(found.releases("staging")) == 2
            return
        card = await found.card(asked)
        assert len(found.releases("staging")) == 1
        await wait_until(lambda: "Not run: it takes an approval by now." in found.texts(asked)[1])
        await found.slack.click("lena", card, "approve")
        await found.finished(asked)
        assert len(found.releases("staging")) == 2


async def test_what_is_to_be_approved_is_ruled_again_before_people_are_asked(redis_url: str, tmp_path: Path) -> None:
    """AP7: nobody was asked yet when the last worker died; since then the policy wants two."""
    policy = tmp_path / "policy.toml"
    policy.write_text("")
    async with bench(redis_url, tmp_path, workers=0, policy_file=policy) as found:
        asked = await prepared_and_left(found, redis_url, "@bot deploy v1.4.0 to production")
        found.clock.advance(minutes=10)
        rewrite(policy, '[[policies]]\ntool = "deploy"\napprovals = 2\n')
        await found.start_worker(PACE)
        assert "0 of 2 approvals" in (await found.card(asked)).text
