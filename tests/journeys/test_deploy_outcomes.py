"""What can go wrong with a deploy, and what people are told then. Nothing here claims success that was none."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support import Bench, bench


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
