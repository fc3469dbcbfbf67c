"""What can go wrong with a deploy, and what people are told then. Nothing here claims success that was none."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from requesting import office, waiting
from support import FAST, Bench, bench

from bot.core.effects import RunTool
from bot.core.events import Event
from bot.core.log import Log
from bot.core.protocols import Delivered, Outgoing
from bot.runtime.perform import Perform
from bot.testing import wait_until
from channels.slack.client import SlackChannel
from channels.slack.simulator import Slow


def git(found: Bench, *words: str) -> str:
    """A git command in the sample repository."""
    command = ["git", "-C", str(found.sample.repository), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


async def test_a_tag_that_does_not_exist_is_said_to_be_missing(on_bench: Bench) -> None:
    """No card, no run, and the tags that there are."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v9.9.9 to production")
    await on_bench.finished(asked)
    answer = on_bench.texts(asked)[-1]
    assert 'no tag, branch or commit called "v9.9.9"' in answer
    assert "v1.4.0" in answer
    assert len(on_bench.releases()) == 1


async def test_an_environment_that_does_not_exist_is_said_to_be_missing(on_bench: Bench) -> None:
    """The answer names those that there are."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to mars")
    await on_bench.finished(asked)
    assert 'no environment called "mars"' in on_bench.texts(asked)[-1]
    assert "staging, production" in on_bench.texts(asked)[-1]


async def test_a_deploy_that_fails_shows_its_last_lines_and_claims_nothing(on_bench: Bench) -> None:
    """The card says failed, the thread has the command's own words, and the output is kept whole."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy release-1.4.1 to production")
    await on_bench.slack.click("lena", await on_bench.card(asked), "approve")
    log = await on_bench.finished(asked)
    card, answer = on_bench.texts(asked)[1:]
    assert "Failed: the deploy command failed with exit code 3" in card
    assert 'error: migration 0042 failed: column "email" already exists' in answer
    assert "Done" not in answer
    failed = next(event for event in log.events if event.type == "tool_failed")
    assert failed.artifact
    kept = await on_bench.store.logs.read_artifact(log.thread_id, failed.artifact.name)
    assert b"migration 0042 failed" in kept
    assert len(on_bench.releases()) == 1


async def test_what_changed_after_the_card_was_shown_stops_the_deploy(on_bench: Bench) -> None:
    """AP3: the approver saw what would be replaced; something else runs there now, so nothing is deployed."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    card = await on_bench.card(asked)
    other = git(on_bench, "rev-parse", "v1.3.0^{commit}")
    (on_bench.sample.deploy_file.parent / "releases" / "production.current").write_text(other)
    await on_bench.slack.click("lena", card, "approve")
    await on_bench.finished(asked)
    assert "production changed in the meantime" in on_bench.texts(asked)[1]
    assert "Prepare it again" in on_bench.texts(asked)[-1]
    assert len(on_bench.releases()) == 1


async def test_a_tag_that_moves_after_the_approval_does_not_move_the_deploy(on_bench: Bench) -> None:
    """AP3, AP14: the commit on the card is what is deployed, whatever the tag means by then."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    card = await on_bench.card(asked)
    before = git(on_bench, "rev-parse", "v1.4.0^{commit}").strip()
    git(on_bench, "tag", "-f", "v1.4.0", "main")
    await on_bench.slack.click("lena", card, "approve")
    await on_bench.finished(asked)
    assert on_bench.releases()[-1].split()[1] == before


async def test_going_back_is_a_deploy_with_a_warning(on_bench: Bench) -> None:
    """Without a release named, it is the tag before the one that runs; the card says what will be undone."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot roll back production")
    card = await on_bench.card(asked)
    assert "Roll back to v1.3.1 on production" in str(card.blocks)
    assert "older than what runs: 2 commits will be undone" in str(card.blocks)
    await on_bench.slack.click("lena", card, "approve")
    await on_bench.finished(asked)
    assert on_bench.releases()[-1].split()[2] == "v1.3.1"


async def test_staging_needs_no_approval_and_is_shown_to_run(on_bench: Bench) -> None:
    """Low risk: it runs at once, on a card that says how it went."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.3.2 to staging")
    log = await on_bench.finished(asked)
    assert "v1.3.2 (a96e258) runs on staging" in on_bench.texts(asked)[1]
    assert not log.state.requests
    assert len(on_bench.releases("staging")) == 2


async def test_a_guest_may_ask_but_not_deploy(on_bench: Bench) -> None:
    """SL22: Gil of a partner's workspace gets an answer to a question and a refusal of a deploy."""
    asked = await on_bench.slack.say("gil", "#deploys", "@bot what is on production?")
    await on_bench.finished(asked)
    assert "production runs v1.3.2" in on_bench.texts(asked)[-1]
    asked = await on_bench.slack.say("gil", "#deploys", "@bot deploy v1.4.0 to staging")
    await on_bench.finished(asked)
    assert "Gil Park may not deploy to staging" in on_bench.texts(asked)[-1]
    assert len(on_bench.releases("staging")) == 1


async def test_a_new_wish_during_the_wait_withdraws_the_old_card(on_bench: Bench) -> None:
    """AP3: the old card loses its buttons and says why; a click on it as it was is told that it is too late."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    old = await on_bench.card(asked)
    await on_bench.slack.say("ana", "#deploys", "sorry, deploy v1.3.1 to production", asked.ts)
    await on_bench.settled(asked, lambda log: len(log.state.requests) == 2 and len(log.state.posts) == 1)
    assert "Withdrawn: the plan changed" in on_bench.texts(asked)[1]
    await on_bench.slack.click("lena", old, "approve")
    log = await on_bench.settled(asked, lambda log: any(event.type == "decision_refused" for event in log.events))
    assert [one.status for one in log.state.requests.values()] == ["superseded", "pending"]
    assert len(on_bench.releases()) == 1


async def test_three_workers_share_the_work(redis_url: str, tmp_path: Path) -> None:
    """Nothing is done twice, whoever does it."""
    async with bench(redis_url, tmp_path, workers=3) as found:
        asked = [
            await found.slack.say("ana", "#general", f"@bot what is on {'production' if n % 2 else 'staging'}?")
            for n in range(12)
        ]
        for one in asked:
            await found.finished(one)
            assert len(found.texts(one)) == 2


async def test_a_changed_deploy_file_stops_what_was_approved_under_the_old_one(on_bench: Bench) -> None:
    """AP3: the command that runs is part of what was approved."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    card = await on_bench.card(asked)
    file = on_bench.sample.deploy_file
    file.write_text(file.read_text().replace('"{environment}", "{commit}"', '"production", "{commit}"'))
    await on_bench.slack.click("lena", card, "approve")
    await on_bench.finished(asked)
    assert "deploy.toml changed in the meantime" in on_bench.texts(asked)[1]
    assert len(on_bench.releases()) == 1


async def test_a_guest_s_answer_does_not_borrow_the_rights_of_who_asked(on_bench: Bench) -> None:
    """A call needs the rights of everybody who had a say in it."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.3.2")
    question = await on_bench.card(asked, "answer:0")
    await on_bench.slack.click("gil", question, "answer:0")
    await on_bench.finished(asked)
    assert "Gil Park may not deploy to staging, and had a say in this" in on_bench.texts(asked)[-1]
    assert len(on_bench.releases("staging")) == 1


async def test_the_card_says_who_asked(on_bench: Bench) -> None:
    """An approver sees whose wish it is."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    assert "asked for by Ana Ruiz" in str((await on_bench.card(asked)).blocks)


async def test_a_deploy_that_outlives_its_worker_keeps_others_away(redis_url: str, tmp_path: Path) -> None:
    """The command goes on without its worker: a second deploy to the same environment waits its turn."""
    async with bench(redis_url, tmp_path, workers=0) as found:
        found.deploys_take(seconds=3)
        await found.start_worker(replace(FAST, drain_seconds=0.0))
        first = await found.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to staging")
        await found.settled(first, lambda log: log.state.call and log.state.call.place)
        await wait_until(lambda: list((found.data_dir / "runs").glob("*/output.log")))
        await found.stop_workers()  # and does not wait for what runs
        second = await found.slack.say("ana", "#deploys", "@bot deploy v1.3.1 to staging")
        await found.start_worker()
        await found.finished(second)
        assert "another deploy to staging is running" in found.texts(second)[-1]
        log = await found.finished(first)
        assert [event.type for event in log.events].count("tool_finished") == 1
        assert [line.split()[2] for line in found.releases("staging")[1:]] == ["v1.4.0"]


async def test_the_end_of_a_deploy_waits_for_no_post(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What became of it is recorded as soon as it is known: a worker that dies then has lost nothing."""
    run_tool, known = Perform.run_tool, asyncio.Event()

    async def watched(perform: Perform, effect: RunTool, log: Log) -> Event:
        try:
            return await run_tool(perform, effect, log)
        finally:
            known.set()

    monkeypatch.setattr(Perform, "run_tool", watched)
    async with office(redis_url, tmp_path) as found:
        asked, card = await waiting(found)
        answered = asyncio.Event()
        found.slack.faults.script("chat.update", Slow(until=answered))
        await found.slack.click("lena", card, "approve")
        async with asyncio.timeout(20):
            await known.wait()
        answered.set()
        types = [event.type for event in (await found.finished(asked)).events]
        begun, ended = types.index("tool_started"), types.index("tool_finished")
        assert types[begun:ended].count("post_sent") <= 1, "the one that hung; three were to be sent"


async def test_a_post_that_cannot_be_made_stops_no_deploy(on_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours in showing how it stands: the deploy comes to its end, and that is recorded."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    card = await on_bench.card(asked)
    await on_bench.settled(asked, lambda log: log.events[-1].type == "post_sent")
    deliver = SlackChannel.deliver

    async def broken(channel: SlackChannel, outgoing: Outgoing) -> Delivered:
        if outgoing.face == "approved, running":
            raise RuntimeError("a mistake")
        return await deliver(channel, outgoing)

    monkeypatch.setattr(SlackChannel, "deliver", broken)
    await on_bench.slack.click("lena", card, "approve")
    await on_bench.settled(asked, lambda log: any(event.type == "tool_finished" for event in log.events))
    assert len(on_bench.releases()) == 2
    on_bench.clock.advance(minutes=1)  # the worker tries the thread again after a while
    await on_bench.finished(asked)
    assert "Done: v1.4.0" in on_bench.texts(asked)[-1]
