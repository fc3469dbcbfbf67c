"""SL18 and SL19: a busy or broken Slack delays messages, and neither loses nor doubles them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from support import FAST, Bench, bench

from bot.core.events import PostFailed
from bot.core.log import Log
from bot.testing import wait_until
from channels.slack.simulator import LostAnswer, Message, RateLimited, Refused, ServerError, Slow

QUESTION = "@bot what is on production?"


def calls(on_bench: Bench, method: str) -> int:
    """How often Slack was called."""
    return sum(called == method for called, _ in on_bench.slack.web_api.calls)


def answers(on_bench: Bench, asked: Message) -> list[Message]:
    """What the bot wrote in the thread."""
    return [one for one in on_bench.slack.thread(asked.channel, asked.ts) if one.bot_id]


def blocked(log: Log) -> bool:
    """A post waits for its timer."""
    return any(post.blocked for post in log.state.posts.values())


async def after_failures(on_bench: Bench, asked: Message, count: int) -> Log:
    """The log, once so many sendings have failed and the next waits for its timer."""

    def failed(log: Log) -> bool:
        return sum(isinstance(event, PostFailed) for event in log.events) == count and blocked(log)

    return await on_bench.settled(asked, failed)


async def test_slack_is_not_asked_again_before_it_said(on_bench: Bench) -> None:
    """SL18: `Retry-After` is honoured through the timer, and the message comes once afterwards."""
    on_bench.slack.faults.script("chat.postMessage", RateLimited(30))
    asked = await on_bench.slack.say("ana", "#deploys", QUESTION)
    log = await on_bench.settled(asked, blocked)
    failed = next(event for event in log.events if isinstance(event, PostFailed))
    assert failed.retry_at is not None
    assert (failed.retry_at - failed.at).total_seconds() == 30
    assert not failed.in_doubt
    on_bench.clock.advance(seconds=29)
    other = await on_bench.slack.say("ana", "#general", QUESTION)
    await on_bench.finished(other)  # the timers were looked at meanwhile
    assert answers(on_bench, asked) == []
    on_bench.clock.advance(seconds=1)
    await on_bench.finished(asked)
    assert len(answers(on_bench, asked)) == 1
    assert calls(on_bench, "chat.postMessage") == 3
    assert calls(on_bench, "conversations.replies") == 0


async def test_a_limit_of_one_method_does_not_hold_up_the_work(on_bench: Bench) -> None:
    """SL18: while the card's update waits, the deploy runs and its answer is posted."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    card = await on_bench.card(asked)
    on_bench.slack.faults.script("chat.update", RateLimited(60))
    await on_bench.slack.click("lena", card, "approve")
    await wait_until(lambda: any(one.text.startswith("Done:") for one in answers(on_bench, asked)))
    assert len(on_bench.releases()) == 2
    on_bench.clock.advance(seconds=61)
    await on_bench.finished(asked)
    assert "runs on production" in on_bench.slack.workspace.message(card.channel, card.ts).text


async def test_slacks_own_pace_is_kept(on_bench: Bench) -> None:
    """SL18: at one message a second in a channel, five threads get their answers, each once."""
    on_bench.slack.limiter.per_second = 1
    asked = [await on_bench.slack.say("ana", "#deploys", QUESTION) for _ in range(5)]

    def all_there() -> bool:
        on_bench.clock.advance(seconds=1)
        return all(answers(on_bench, one) for one in asked)

    await wait_until(all_there, seconds=20)
    for one in asked:
        await on_bench.finished(one)
        assert len(answers(on_bench, one)) == 1


@pytest.mark.parametrize("fault", [LostAnswer(), ServerError(503)], ids=str)
async def test_a_post_whose_answer_is_lost_is_looked_for_and_not_posted_twice(
    on_bench: Bench, fault: LostAnswer | ServerError
) -> None:
    """SL19: it is found by the id in its metadata; where it had not arrived, it is posted then."""
    on_bench.slack.faults.script("chat.postMessage", fault)
    asked = await on_bench.slack.say("ana", "#deploys", QUESTION)
    log = await on_bench.settled(asked, blocked)
    failed = next(event for event in log.events if isinstance(event, PostFailed))
    assert failed.in_doubt
    on_bench.clock.advance(minutes=1)
    log = await on_bench.finished(asked)
    assert len(answers(on_bench, asked)) == 1
    metadata = answers(on_bench, asked)[0].metadata or {}
    assert metadata["event_payload"] == {"post_id": failed.post_id}
    assert calls(on_bench, "conversations.replies") == 1


async def test_a_doubt_is_kept_until_slack_can_be_asked(on_bench: Bench) -> None:
    """SL19: while the look-up itself is refused, nothing is posted on a guess."""
    on_bench.slack.faults.script("chat.postMessage", LostAnswer())
    on_bench.slack.faults.script("conversations.replies", RateLimited(20), ServerError(500))
    asked = await on_bench.slack.say("ana", "#deploys", QUESTION)
    for failures in (1, 2, 3):
        await after_failures(on_bench, asked, failures)
        on_bench.clock.advance(minutes=1)
    await on_bench.finished(asked)
    assert len(answers(on_bench, asked)) == 1
    assert calls(on_bench, "chat.postMessage") == 1


async def test_a_card_whose_answer_is_lost_can_be_decided_at_once(on_bench: Bench) -> None:
    """SL19: people see the card before the bot knows that it arrived; their click counts."""
    on_bench.slack.faults.script("chat.postMessage", LostAnswer())
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    card = await on_bench.card(asked)
    await on_bench.settled(asked, blocked)
    await on_bench.slack.click("lena", card, "approve")
    await on_bench.settled(asked, lambda log: log.state.run == "finished")
    on_bench.clock.advance(minutes=1)
    await on_bench.finished(asked)
    shown = answers(on_bench, asked)
    assert len(shown) == 2
    assert "Approved by Lena Vogt" in shown[0].text
    assert not on_bench.slack.card_actions(shown[0])
    assert len(on_bench.releases()) == 2


async def test_an_update_whose_answer_is_lost_is_made_again(on_bench: Bench) -> None:
    """Decision by button, 4: updating twice shows the same card, so it needs no look-up."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    card = await on_bench.card(asked)
    on_bench.slack.faults.script("chat.update", LostAnswer(), LostAnswer())
    await on_bench.slack.click("lena", card, "approve")
    for failures in (1, 2):
        await after_failures(on_bench, asked, failures)
        on_bench.clock.advance(minutes=1)
    await on_bench.finished(asked)
    assert "runs on production" in on_bench.slack.workspace.message(card.channel, card.ts).text
    assert calls(on_bench, "conversations.replies") == 0


async def test_a_card_that_somebody_deleted_does_not_stop_the_thread(on_bench: Bench) -> None:
    """Decision by button, 4: there is nothing to update any more, and the log has what it said."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    card = await on_bench.card(asked)
    on_bench.slack.workspace.delete(card.channel, card.ts)
    await on_bench.slack.click("lena", card, "approve")
    log = await on_bench.finished(asked)
    assert not any(isinstance(event, PostFailed) for event in log.events)
    assert answers(on_bench, asked)[-1].text.startswith("Done:")


async def test_what_was_approved_does_not_wait_for_a_slow_slack(on_bench: Bench) -> None:
    """AP4: an approval has an end; what it lets run begins at once, and the card follows while it runs."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    card = await on_bench.card(asked)
    answered = asyncio.Event()
    on_bench.slack.faults.script("chat.update", Slow(until=answered))
    await on_bench.slack.click("lena", card, "approve")
    await on_bench.settled(asked, lambda log: log.events[-1].type == "tool_started")
    answered.set()
    await on_bench.finished(asked)
    assert "Lena Vogt" in on_bench.slack.workspace.message(card.channel, card.ts).text


async def test_what_slack_refuses_for_good_is_not_tried_for_ever(on_bench: Bench) -> None:
    """SL18: a channel that the bot was thrown out of ends the post, and the log says why."""
    on_bench.slack.faults.script("chat.postMessage", Refused("channel_not_found"))
    asked = await on_bench.slack.say("ana", "#deploys", QUESTION)
    log = await on_bench.finished(asked)
    failed = [event for event in log.events if isinstance(event, PostFailed)]
    assert [(event.error, event.retry_at) for event in failed] == [("channel_not_found", None)]


async def test_a_token_that_is_wrong_for_a_while_loses_nothing(on_bench: Bench) -> None:
    """SL18: what somebody will mend is tried again, slowly."""
    on_bench.slack.faults.script("chat.postMessage", Refused("token_revoked"))
    asked = await on_bench.slack.say("ana", "#deploys", QUESTION)
    await on_bench.settled(asked, blocked)
    on_bench.clock.advance(minutes=6)
    await on_bench.finished(asked)
    assert len(answers(on_bench, asked)) == 1


async def test_no_token_and_no_text_gets_into_the_record_of_a_failure(on_bench: Bench) -> None:
    """SL2: the log of a thread keeps what kind of failure it was."""
    on_bench.slack.faults.script("chat.postMessage", ServerError(500), LostAnswer())
    asked = await on_bench.slack.say("ana", "#deploys", QUESTION)
    for failures in (1, 2):
        log = await after_failures(on_bench, asked, failures)
        on_bench.clock.advance(minutes=1)
        errors = [event.error for event in log.events if isinstance(event, PostFailed)]
        assert all(len(error) < 40 and "xoxb" not in error for error in errors)
    await on_bench.finished(asked)


@pytest.mark.parametrize("refusals", [0, 2])
async def test_a_worker_that_goes_while_slack_is_slow_leaves_no_second_message(
    redis_url: str, tmp_path: Path, refusals: int
) -> None:
    """SL19: what it was posting is looked for by the next one, for as long as it takes Slack to let it look."""
    async with bench(redis_url, tmp_path, workers=0) as on_bench:
        answered = asyncio.Event()
        on_bench.slack.faults.script("chat.postMessage", Slow(until=answered))
        on_bench.slack.faults.script("conversations.replies", *[RateLimited(20)] * refusals)
        await on_bench.start_worker(replace(FAST, drain_seconds=0.0))
        asked = await on_bench.slack.say("ana", "#deploys", QUESTION)
        await wait_until(lambda: answers(on_bench, asked))
        await on_bench.stop_workers()
        answered.set()
        await on_bench.start_worker()
        for failures in range(1, refusals + 1):
            on_bench.clock.advance(minutes=1)
            await after_failures(on_bench, asked, failures)
        on_bench.clock.advance(minutes=1)
        await on_bench.finished(asked)
        assert len(answers(on_bench, asked)) == 1
        assert calls(on_bench, "chat.postMessage") == 1


async def test_the_card_of_an_open_request_is_never_given_up(on_bench: Bench) -> None:
    """SL19: refused for good as it seems (the bot was taken out of the channel), and shown once that is mended."""
    on_bench.slack.faults.script("chat.postMessage", Refused("not_in_channel"))
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    await on_bench.settled(asked, lambda log: any(event.type == "post_failed" for event in log.events))
    on_bench.clock.advance(minutes=6)
    await on_bench.slack.click("lena", await on_bench.card(asked), "approve")
    await on_bench.finished(asked)
    assert len(on_bench.releases()) == 2
