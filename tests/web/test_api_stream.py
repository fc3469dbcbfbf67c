from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from support import API_KEY, LENA_KEY, Bench

from bot.core.log import Log
from bot.runtime.store import keys
from channels.simulating.serving import serve_app

HEADERS = {"Authorization": f"Bearer {API_KEY}"}


@dataclass(frozen=True)
class Sent:
    """One server-sent event."""

    id: int
    event: str
    data: dict[str, Any] = field(compare=False)


@dataclass
class Web:
    """The bot's web application on a real port: only there can an answer be read while it is written."""

    on_bench: Bench
    http: httpx.AsyncClient

    async def launch(self, message: str) -> str:
        answer = await self.http.post("/api/threads", json={"message": message}, headers=HEADERS)
        return answer.json()["id"]

    async def finished(self, thread_id: str) -> Log:
        async with asyncio.timeout(10):
            while True:
                log = await self.on_bench.store.logs.load(thread_id)
                if log.state.run == "finished":
                    return log
                await asyncio.sleep(0.01)

    async def subscribers(self, thread_id: str) -> int:
        """How many connections of Redis' watch the thread."""
        redis = self.on_bench.store.connection.redis
        return (await redis.pubsub_numsub(keys.log(thread_id)))[0][1]

    async def until_subscribers(self, thread_id: str, count: int) -> None:
        async with asyncio.timeout(10):
            while await self.subscribers(thread_id) != count:  # noqa: ASYNC110 Redis sets no event
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def following(self, thread_id: str, query: str = "", **headers: str) -> AsyncGenerator[AsyncGenerator[Sent]]:
        """The events of a thread, as they come."""
        path = f"/api/threads/{thread_id}/events{query}"
        async with self.http.stream("GET", path, headers={**HEADERS, **headers}) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield _events(answer)


async def _events(answer: httpx.Response) -> AsyncGenerator[Sent]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield Sent(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            fields = {}


async def taken(events: AsyncGenerator[Sent], count: int) -> list[Sent]:
    """The next ones, no more than these."""
    async with asyncio.timeout(10):
        return [await anext(events) for _ in range(count)]


async def until(events: AsyncGenerator[Sent], event: str) -> list[Sent]:
    """Everything up to the next one of this type."""
    found: list[Sent] = []
    async with asyncio.timeout(10):
        while not found or found[-1].event != event:
            found.append(await anext(events))
    return found


@pytest.fixture
async def web(on_bench: Bench) -> AsyncGenerator[Web]:
    async with (
        serve_app(on_bench.app) as url,
        httpx.AsyncClient(base_url=url, limits=httpx.Limits(max_connections=200)) as http,
    ):
        yield Web(on_bench, http)


async def test_each_event_has_its_seq_and_its_type(web: Web) -> None:
    """Ids count from 1, the event's name is its type, and the data is what the thread's page shows."""
    thread_id = await web.launch("what is on production?")
    log = await web.finished(thread_id)
    async with web.following(thread_id) as events:
        sent = await taken(events, len(log))
    assert [one.id for one in sent] == list(range(1, len(log) + 1))
    assert [one.event for one in sent] == [event.type for event in log.events]
    shown = (await web.http.get(f"/api/threads/{thread_id}", headers=HEADERS)).json()
    assert [one.data for one in sent] == shown["events"]


@pytest.mark.parametrize(
    ("query", "headers"), [("", {"Last-Event-ID": "3"}), ("?after=3", {}), ("?after=1", {"Last-Event-ID": "3"})]
)
async def test_it_goes_on_behind_what_was_seen(web: Web, query: str, headers: dict[str, str]) -> None:
    """After a broken connection nothing comes twice; a browser's own header wins over the address."""
    thread_id = await web.launch("what is on production?")
    log = await web.finished(thread_id)
    async with web.following(thread_id, query, **headers) as events:
        sent = await taken(events, len(log) - 3)
    assert [one.id for one in sent] == list(range(4, len(log) + 1))


async def test_what_happens_next_arrives_while_one_watches(web: Web) -> None:
    """From the question to the end of the deploy, without asking again; nothing is missing and nothing twice."""
    thread_id = await web.launch("deploy v1.4.0 to production")
    async with web.following(thread_id) as events:
        sent = await until(events, "request_opened")
        where = f"/api/threads/{thread_id}/requests/{sent[-1].data['request']['id']}/response"
        lena = {"Authorization": f"Bearer {LENA_KEY}"}
        assert (await web.http.post(where, json={"decision": "approve"}, headers=lena)).status_code == 200
        sent += await until(events, "run_finished")
    assert [one.id for one in sent] == list(range(1, len(sent) + 1))
    assert {"decision_made", "tool_started", "tool_finished"} <= {one.event for one in sent}


async def test_a_place_beyond_the_end_waits_for_it(web: Web) -> None:
    """Whoever has seen everything gets only what is new."""
    thread_id = await web.launch("hello")
    log = await web.finished(thread_id)
    async with web.following(thread_id, f"?after={len(log)}") as events:
        await web.until_subscribers(thread_id, 1)
        await web.http.post(f"/api/threads/{thread_id}/messages", json={"message": "again"}, headers=HEADERS)
        (first,) = await taken(events, 1)
    assert (first.id, first.event) == (len(log) + 1, "message_received")


async def test_many_can_watch_the_same_thread(web: Web) -> None:
    """Each of them gets everything, and the bot goes on working meanwhile."""
    thread_id = await web.launch("deploy to production")
    async with AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(web.following(thread_id)) for _ in range(25)]
        await web.until_subscribers(thread_id, 25)
        await web.http.post(f"/api/threads/{thread_id}/cancel", headers=HEADERS)
        seen = await asyncio.gather(*(until(events, "cancelled") for events in followers))
    assert all(one == seen[0] for one in seen)


async def test_too_many_followers_are_sent_away_and_leave_redis_to_the_others(web: Web) -> None:
    """Each follower holds a connection; beyond the bound it is 503, and everything else still answers."""
    thread_id = await web.launch("hello")
    await web.finished(thread_id)
    async with AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(web.following(thread_id)) for _ in range(32)]
        for events in followers:
            await taken(events, 1)
        refused = await web.http.get(f"/api/threads/{thread_id}/events", headers=HEADERS)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert (await web.http.get("/readyz")).status_code == 200
        assert await web.launch("hello again")
    await web.until_subscribers(thread_id, 0)
    async with web.following(thread_id) as events:
        await taken(events, 1)


async def test_closing_gives_the_connection_to_redis_back(web: Web) -> None:
    """However often somebody comes and goes, the pool stays as large as it was."""
    thread_id = await web.launch("hello")
    await web.finished(thread_id)
    pool = web.on_bench.store.connection.redis.connection_pool
    for _ in range(70):
        async with web.following(thread_id) as events:
            await taken(events, 1)
    await web.until_subscribers(thread_id, 0)
    assert len(pool._available_connections) + len(pool._in_use_connections) < 30
    assert not [one for one in pool._in_use_connections if not one.is_connected]
    assert (await web.http.get("/readyz")).status_code == 200


async def test_a_lost_subscription_is_not_a_lost_event(web: Web) -> None:
    """If Redis drops the watcher's connection, the stream goes on or ends; resuming then finds everything."""
    thread_id = await web.launch("hello")
    log = await web.finished(thread_id)
    seen: list[Sent] = []
    async with web.following(thread_id) as events:
        seen += await taken(events, len(log))
        await web.on_bench.store.connection.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await web.http.post(f"/api/threads/{thread_id}/messages", json={"message": "again"}, headers=HEADERS)
        try:
            seen += await taken(events, 1)
        except (httpx.RemoteProtocolError, StopAsyncIteration):
            async with web.following(thread_id, **{"Last-Event-ID": str(seen[-1].id)}) as resumed:
                seen += await taken(resumed, 1)
    assert (seen[-1].id, seen[-1].event) == (len(log) + 1, "message_received")


async def test_a_thread_that_is_not_there_cannot_be_followed(web: Web) -> None:
    """404 before any stream begins, and nonsense in the address is 422."""
    assert (await web.http.get("/api/threads/tnothing/events", headers=HEADERS)).status_code == 404
    thread_id = await web.launch("hello")
    assert (await web.http.get(f"/api/threads/{thread_id}/events?after=-1", headers=HEADERS)).status_code == 422
    nonsense = {**HEADERS, "Last-Event-ID": "9" * 5000}
    assert (await web.http.get(f"/api/threads/{thread_id}/events", headers=nonsense)).status_code == 422


async def test_a_last_event_id_of_somebody_else_begins_at_the_beginning(web: Web) -> None:
    """A header that is no seq is ignored."""
    thread_id = await web.launch("hello")
    async with web.following(thread_id, **{"Last-Event-ID": "abc"}) as events:
        assert (await taken(events, 1))[0].id == 1
