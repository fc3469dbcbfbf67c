"""Logs end after 90 days, and a Redis may lose the end of one: then ids come again, and mean something else."""

from __future__ import annotations

from pathlib import Path

from requesting import OMAR, is_sent, made, office
from support import BOT_ADDRESS, Bench

from bot.core.log import Log
from bot.runtime.store import keys

ANA = "ana@acme.example"


async def cut(found: Bench, log: Log, kept: int) -> None:
    """Redis has lost all but the beginning of a log."""
    redis = found.store.connection.redis
    await redis.ltrim(keys.log(log.thread_id), 0, kept - 1)
    await redis.hset(keys.meta(log.thread_id), mapping={"seen": 0, "queued": 0})


async def test_an_old_mail_does_not_approve_what_stands_in_its_place(redis_url: str, tmp_path: Path) -> None:
    """AP3: the reply address of a mail is good for the request that the mail showed, and for no other one."""
    async with office(redis_url, tmp_path) as found:
        await found.slack.say("lena", "#deploys", "@bot deploy v1.4.0 to production")
        log = await found.until(lambda log: log.state.pending and is_sent(log))
        (mail,) = await found.mails("omar", 1)
        await found.stop_workers()
        await cut(found, log, 1)
        await found.board.inbox.add_message(log.thread_id, "deploy v1.3.1 to production", log.events[1].by)  # type: ignore[union-attr]
        await found.start_worker()
        again = await found.until(lambda log: log.state.pending and is_sent(log))
        assert [one.type for one in again.events].index("request_opened") == [one.type for one in log.events].index(
            "request_opened"
        )
        (_, newer) = await found.mails("omar", 2)
        assert newer.headers["Reply-To"] != mail.headers["Reply-To"]
        await found.mail.write(OMAR, BOT_ADDRESS, "Re: it", "APPROVE", in_reply_to=mail)
        await found.mail.write(OMAR, "", "", "APPROVE", in_reply_to=mail)
        assert made(await found.until(lambda log: log.state.run != "empty")) == []
        assert len(found.releases()) == 1


async def test_the_same_call_in_another_life_of_a_thread_runs_and_takes_over_nothing(
    redis_url: str, tmp_path: Path
) -> None:
    """AP3: in the same Slack thread, after its log has ended: the call has the old id, and runs all the same."""
    async with office(redis_url, tmp_path) as found:
        for n, release in enumerate(("v1.4.0", "v1.3.1"), 2):
            root = found.slack.workspace.messages("C0DEPLOYS")
            asked = await found.slack.say(
                "ana", "#deploys", f"@bot deploy {release} to production", root[0].ts if root else None
            )
            card = await found.card(asked)
            await found.slack.click("lena", card, "approve")
            await found.finished(asked)
            assert len(found.releases()) == n
            assert f" {release} " in found.releases()[-1]
            await found.store.connection.redis.flushall()
            await found.store.wakeups.prepare_shards()
            found.clock.advance(days=91)


async def test_a_log_that_cannot_be_read_keeps_no_other_one_waiting(redis_url: str, tmp_path: Path) -> None:
    """A line of a newer version: timers of others fire, and lists leave it out."""
    async with office(redis_url, tmp_path) as found:
        asked = await found.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
        log = await found.settled(asked, lambda log: log.state.pending and is_sent(log))
        redis = found.store.connection.redis
        for n in range(16):  # in every shard
            thread = f"t{n:024x}"
            await redis.rpush(keys.log(thread), b'{"type": "of a newer version"}')
            await redis.expire(keys.log(thread), 3600)
            await redis.zadd(keys.threads(keys.shard_of(thread)), {thread: found.clock.now().timestamp() * 1000})
            await redis.zadd(keys.timers(keys.shard_of(thread)), {f"{thread}|expiry:x": 1})
            event = log.events[0].model_dump_json()
            await redis.hset(keys.timer_events(keys.shard_of(thread)), f"{thread}|expiry:x", event)
        await found.slack.say("lena", "#deploys", "@bot pending", asked.ts)
        await found.settled(asked, lambda _: found.slack.ephemerals("lena"))
        assert "1 request for you to decide" in found.slack.ephemerals("lena")[-1].text
        found.clock.advance(minutes=61)
        await found.settled(asked, lambda log: any(one.status == "expired" for one in log.state.requests.values()))
