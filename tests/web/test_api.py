from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
from support import API_KEY, LENA_KEY, Bench, bench

from bot.core.log import Log
from channels.slack.simulator import Message

Json = dict[str, Any]
DEPLOY = "deploy v1.4.0 to production"
IN_DEPLOYS = {"channel": "slack", "ref": "C0DEPLOYS"}


class Api:
    """A caller with a key."""

    def __init__(self, on_bench: Bench, key: str = API_KEY) -> None:
        self.on_bench = on_bench
        self.headers = {"Authorization": f"Bearer {key}"}

    async def post(self, path: str, status: int, body: Json | None = None) -> Json:
        """The answer's body, once its status is as expected."""
        answer = await self.on_bench.http.post(f"/api/threads{path}", json=body, headers=self.headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def get(self, path: str = "", status: int = 200) -> Json:
        """The answer's body, once its status is as expected."""
        answer = await self.on_bench.http.get(f"/api/threads{path}", headers=self.headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def launch(self, message: str = DEPLOY, **more: object) -> str:
        """The new thread's id."""
        return (await self.post("", 201, {"message": message, **more}))["id"]

    async def pending(self, thread_id: str) -> Json:
        """The request that waits, once there is one and the thread is at rest."""
        await self.settled(thread_id, lambda log: log.state.pending and not log.state.paused)
        (request,) = (await self.get(f"/{thread_id}"))["pending"]
        return request

    async def settled(self, thread_id: str, condition: Callable[[Log], object]) -> Log:
        """The log, once the condition holds."""
        async with asyncio.timeout(10):
            async for _ in self.on_bench.store.logs.changes(thread_id):
                log = await self.on_bench.store.logs.load(thread_id)
                if condition(log):
                    return log
        raise AssertionError("unreachable")

    async def finished(self, thread_id: str) -> Log:
        """The log, once the run is over."""
        return await self.settled(thread_id, lambda log: log.state.run == "finished" and not log.state.posts)


@pytest.fixture
def ci(on_bench: Bench) -> Api:
    return Api(on_bench)


@pytest.fixture
async def idle(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    """A bot whose workers have not come yet."""
    async with bench(redis_url, tmp_path, workers=0) as found:
        yield found


@pytest.fixture
def lena(on_bench: Bench) -> Api:
    return Api(on_bench, LENA_KEY)


def first_post(on_bench: Bench) -> Message:
    """What the bot wrote first in #deploys."""
    return on_bench.slack.workspace.messages("C0DEPLOYS")[0]


def all_posts(on_bench: Bench) -> str:
    """Everything in #deploys, threads included."""
    return "\n".join(one.text for one in on_bench.slack.workspace.messages("C0DEPLOYS"))


# --- who calls

PATHS = [
    ("POST", "/api/threads"),
    ("GET", "/api/threads"),
    ("GET", "/api/threads/{thread_id}"),
    ("GET", "/api/threads/{thread_id}/events"),
    ("POST", "/api/threads/{thread_id}/messages"),
    ("POST", "/api/threads/{thread_id}/requests/{request_id}/response"),
    ("POST", "/api/threads/{thread_id}/pause"),
    ("POST", "/api/threads/{thread_id}/resume"),
    ("POST", "/api/threads/{thread_id}/cancel"),
]


async def test_nothing_is_done_without_a_key(idle: Bench, subtests: pytest.Subtests) -> None:
    """Every path answers 401 and says how a key is made, whatever the body."""
    for given in (None, "Bearer sb_wrong", "Bearer ", "Basic c2I6eA==", f"Basic {API_KEY}"):
        for method, path in PATHS:
            with subtests.test(path, given=given):
                headers = {"Authorization": given} if given else {}
                url = path.format(thread_id="t1", request_id="r1")
                answer = await idle.http.request(method, url, headers=headers, json={"message": "hi"})
                assert answer.status_code == 401
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                assert "bot api-key" in answer.json()["error"]
    assert not await idle.store.logs.recent(10)


async def test_the_documentation_lists_every_path(idle: Bench) -> None:
    """/docs is a page, / leads to it, and /openapi.json names each path with its key."""
    assert (await idle.http.get("/")).headers["location"] == "/docs"
    assert "swagger" in (await idle.http.get("/docs")).text
    schema = (await idle.http.get("/openapi.json")).json()
    listed = {(method.upper(), path) for path, methods in schema["paths"].items() for method in methods}
    assert set(PATHS) <= listed
    assert {("GET", "/healthz"), ("GET", "/readyz")} <= listed
    for method, path in PATHS:
        operation = schema["paths"][path][method.lower()]
        assert operation["description"], path
        assert operation["security"] == [{"HTTPBearer": []}]
        assert {"401", "404", "409", "422", "503"} <= set(operation["responses"])
    assert "bot api-key" in schema["components"]["securitySchemes"]["HTTPBearer"]["description"]


# --- launching


async def test_a_launch_starts_an_agent(on_bench: Bench, ci: Api) -> None:
    """201, with the thread in short; the caller's name is on it, and a worker does the rest."""
    launched = await ci.post("", 201, {"message": "what is on production?"})
    assert (launched["status"], launched["agent"], launched["launched_by"]) == ("working", "triage", "ci")
    assert launched["message"] == "what is on production?"
    await ci.finished(launched["id"])
    shown = await ci.get(f"/{launched['id']}")
    assert shown["status"] == "finished"
    assert "v1.3.2" in shown["events"][-1]["message"]


async def test_the_same_idempotency_key_launches_once(on_bench: Bench, ci: Api, lena: Api) -> None:
    """201, then 200 with the same thread; the key of another caller is another key."""
    first = await ci.post("", 201, {"message": "hello", "idempotency_key": "build-17"})
    again = await ci.post("", 200, {"message": "hello", "idempotency_key": "build-17"})
    other = await lena.post("", 201, {"message": "hello", "idempotency_key": "build-17"})
    assert again["id"] == first["id"]
    assert other["id"] != first["id"]
    await ci.finished(first["id"])
    log = await on_bench.store.logs.load(first["id"])
    assert [event.type for event in log.events].count("message_received") == 1


async def test_launches_at_the_same_time_with_one_key_are_one(ci: Api) -> None:
    """A client that retries before the first answer came gets one thread."""
    body = {"message": "hello", "idempotency_key": "build-18"}
    answers = await asyncio.gather(
        *(ci.on_bench.http.post("/api/threads", json=body, headers=ci.headers) for _ in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


WRONG: tuple[tuple[Any, str], ...] = (
    ({"message": "hi", "agent": "cook"}, "There is no agent 'cook'. There are: triage, deploy."),
    ({"message": ""}, "message: String should have at least 1 character"),
    ({"message": " \n\x00"}, "message: write something"),
    ({"message": "x" * 40_001}, "message: String should have at most 40000 characters"),
    ({}, "message: Field required"),
    ({"message": "hi", "agnet": "deploy"}, "agnet: Extra inputs are not permitted"),
    ({"message": "hi", "idempotency_key": "k" * 201}, "idempotency_key: "),
    ({"message": "hi", "conversation": {"channel": "fax", "ref": "C0DEPLOYS"}}, "conversation.channel: "),
    ({"message": "hi", "conversation": {"channel": "slack", "ref": "#deploys"}}, "conversation.ref: "),
    ({"message": 3}, "message: Input should be a valid string"),
    ([1], "send a JSON object"),
    ("hi", "send a JSON object"),
)


async def test_a_launch_that_cannot_be_is_told_why(idle: Bench, subtests: pytest.Subtests) -> None:
    """422 names the field; nothing is launched."""
    for body, says in WRONG:
        with subtests.test(says):
            assert says in (await Api(idle).post("", 422, body))["error"]
    assert not await idle.store.logs.recent(10)


async def test_malformed_json_is_400(idle: Bench) -> None:
    """What is not JSON is told apart from JSON that is wrong."""
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    for body in (b'{"message": "hi"', b"message=hi", b"\xff", b"[" * 100_000):
        answer = await idle.http.post("/api/threads", content=body, headers=headers)
        assert answer.status_code == 400
        assert "body" in answer.json()["error"]


async def test_a_body_without_its_type_is_told_what_is_missing(idle: Bench) -> None:
    """`curl -d` alone sends a form; the answer names the header."""
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/x-www-form-urlencoded"}
    answer = await idle.http.post("/api/threads", content=b'{"message": "hi"}', headers=headers)
    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["error"]


async def test_a_body_beyond_the_bound_is_not_read(idle: Bench) -> None:
    """413, with and without an announced length."""
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}

    async def chunks() -> AsyncGenerator[bytes]:
        for _ in range(40):
            yield b"x" * 65_536
        raise AssertionError("it was read to its end")

    announced = await idle.http.post("/api/threads", content=b"x" * 2_000_000, headers=headers)
    streamed = await idle.http.post("/api/threads", content=chunks(), headers=headers)
    assert (announced.status_code, streamed.status_code) == (413, 413)


# --- looking


async def test_threads_are_listed_newest_first(on_bench: Bench, ci: Api) -> None:
    """The one touched last comes first, and `limit` bounds the list."""
    ids: list[str] = []
    for number in range(3):
        ids.append(await ci.launch(f"hello {number}"))
        await ci.finished(ids[-1])
        on_bench.clock.advance(minutes=1)
    listed = (await ci.get())["threads"]
    assert [one["id"] for one in listed] == ids[::-1]
    assert [one["message"] for one in listed] == ["hello 2", "hello 1", "hello 0"]
    assert [one["id"] for one in (await ci.get("?limit=2"))["threads"]] == ids[:0:-1]
    await ci.get("?limit=0", 422)
    await ci.get("?limit=101", 422)


async def test_a_thread_is_shown_with_its_log_and_what_it_waits_for(ci: Api) -> None:
    """Whoever may decide finds prompt, facts, digest and roles of the request."""
    thread_id = await ci.launch()
    request = await ci.pending(thread_id)
    assert (request["kind"], request["status"], request["roles"]) == ("approval", "pending", ["approver"])
    assert request["prompt"] == "Deploy v1.4.0 to production"
    assert {"label": "Environment", "value": "production"} in request["preview"]["facts"]
    assert len(request["digest"]) == 64
    shown = await ci.get(f"/{thread_id}")
    assert shown["status"] == "waiting"
    assert shown["events"][0]["type"] == "thread_launched"
    assert shown["length"] == len(shown["events"])


async def test_an_unknown_thread_is_404(idle: Bench) -> None:
    """Every path under a thread says that there is none."""
    ci = Api(idle)
    answers = [await ci.get("/tnothing", 404), await ci.get("/tnothing/events", 404)]
    for path in ("/messages", "/pause", "/resume", "/cancel", "/requests/r1/response"):
        body = {"message": "hi"} if path == "/messages" else {"answer": "x"}
        answers.append(await ci.post(f"/tnothing{path}", 404, body))
    assert {answer["error"] for answer in answers} == {"There is no thread tnothing."}


# --- speaking


async def test_a_message_answers_an_open_question(ci: Api) -> None:
    """202, and the thread goes on with the answer."""
    thread_id = await ci.launch("deploy to production")
    question = await ci.pending(thread_id)
    assert question["prompt"] == "Which release should go to production?"
    await ci.post(f"/{thread_id}/messages", 202, {"message": "v1.4.0"})
    await ci.settled(thread_id, lambda log: any(one.request.kind == "approval" for one in log.state.pending))
    assert (await ci.pending(thread_id))["prompt"] == "Deploy v1.4.0 to production"


async def test_a_message_never_decides_an_approval(ci: Api, lena: Api, on_bench: Bench) -> None:
    """AP15: not even “approve”, from somebody who might."""
    thread_id = await ci.launch()
    request = await ci.pending(thread_id)
    await lena.post(f"/{thread_id}/messages", 202, {"message": "approve"})
    assert (await ci.pending(thread_id))["id"] == request["id"]
    assert len(on_bench.releases()) == 1


async def test_the_same_message_key_counts_once(ci: Api) -> None:
    """A retry of a message adds nothing."""
    thread_id = await ci.launch("hello")
    await ci.finished(thread_id)
    for _ in range(2):
        await ci.post(f"/{thread_id}/messages", 202, {"message": "and now?", "idempotency_key": "m1"})
    log = await ci.finished(thread_id)
    assert [event.type for event in log.events].count("message_received") == 2


# --- deciding


async def test_a_person_approves_with_a_key_of_their_own(on_bench: Bench, ci: Api, lena: Api) -> None:
    """The key named lena acts as Lena Vogt: her decision counts, and her name is on it."""
    thread_id = await ci.launch()
    request = await ci.pending(thread_id)
    decided = await lena.post(f"/{thread_id}/requests/{request['id']}/response", 200, {"decision": "approve"})
    assert (decided["status"], decided["decided_by"]) == ("approved", "Lena Vogt")
    log = await ci.finished(thread_id)
    assert on_bench.releases()[-1].split()[2] == "v1.4.0"
    made = next(event for event in log.events if event.type == "decision_made")
    assert (made.by.id, made.by.authenticated_by) == ("lena", "api-key")


async def test_a_denial_carries_its_reason(on_bench: Bench, ci: Api, lena: Api) -> None:
    """The agent reads it, and nothing is deployed."""
    thread_id = await ci.launch()
    request = await ci.pending(thread_id)
    body = {"decision": "deny", "reason": "not on a Friday"}
    denied = await lena.post(f"/{thread_id}/requests/{request['id']}/response", 200, body)
    assert (denied["status"], denied["text"]) == ("denied", "not on a Friday")
    log = await ci.finished(thread_id)
    assert "not on a Friday" in log.events[-1].model_dump_json()
    assert len(on_bench.releases()) == 1


async def test_an_approver_asks_first_and_approves_then(on_bench: Bench, ci: Api, lena: Api) -> None:
    """AP13: over the API too; the first request is superseded, and the second one has the question on it."""
    thread_id = await ci.launch()
    first = await ci.pending(thread_id)
    where = f"/{thread_id}/requests/{first['id']}/response"
    asked = await lena.post(where, 200, {"decision": "ask", "question": " Is there a migration in it? "})
    assert asked["status"] == "superseded"
    await ci.settled(thread_id, lambda log: [one for one in log.state.pending if one.request.id != first["id"]])
    second = await ci.pending(thread_id)
    assert second["digest"] == first["digest"]
    assert second["context"].startswith("Lena Vogt asks: Is there a migration in it?\nThe agent answers: ")
    assert (second["deciders"], second["approvals"], second["approved_by"]) == (["lena", "omar"], 1, [])
    await lena.post(where, 409, {"decision": "approve"})
    await lena.post(f"/{thread_id}/requests/{second['id']}/response", 200, {"decision": "approve"})
    await ci.finished(thread_id)
    assert len(on_bench.releases()) == 2


async def test_an_approver_changes_the_call(on_bench: Bench, ci: Api, lena: Api) -> None:
    """AP13: only what is given changes; a mistake changes nothing; whoever changed it does not approve it."""
    thread_id = await ci.launch()
    first = await ci.pending(thread_id)
    where = f"/{thread_id}/requests/{first['id']}/response"
    for arguments, why in (({"speed": 9}, "no argument called speed"), ({"reference": 7}, "reference: ")):
        refused = await lena.post(where, 422, {"decision": "edit", "arguments": arguments})
        assert why in refused["error"]
    changed = await lena.post(where, 200, {"decision": "edit", "arguments": {"reference": "v1.3.2"}})
    assert changed["status"] == "superseded"
    log = await ci.settled(thread_id, lambda log: [one for one in log.state.pending if one.request.id != first["id"]])
    (again,) = log.state.pending
    assert "v1.3.2 to production" in again.request.prompt
    assert again.request.proposed
    assert again.request.proposed["reference"] == "v1.4.0"
    assert again.request.edited_by == "Lena Vogt"
    refused = await lena.post(f"/{thread_id}/requests/{again.request.id}/response", 403, {"decision": "approve"})
    assert "somebody else has to approve it" in refused["error"]
    assert len(on_bench.releases()) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"decision": "ask"},
        {"decision": "ask", "question": "  "},
        {"decision": "approve", "question": "Really?"},
        {"decision": "edit"},
        {"decision": "approve", "arguments": {"reference": "v1.3.2"}},
    ],
)
async def test_a_decision_that_says_two_things_is_told_so(ci: Api, lena: Api, body: Json) -> None:
    """AP4: what is ambiguous decides nothing."""
    thread_id = await ci.launch()
    request = await ci.pending(thread_id)
    refused = await lena.post(f"/{thread_id}/requests/{request['id']}/response", 422, body)
    assert "with the decision" in refused["error"]
    assert (await ci.pending(thread_id))["id"] == request["id"]


async def test_a_question_is_answered(ci: Api, lena: Api) -> None:
    """An answer to a choice has to be one of the choices."""
    thread_id = await ci.launch("deploy v1.4.0")
    question = await ci.pending(thread_id)
    where = f"/{thread_id}/requests/{question['id']}/response"
    refused = await lena.post(where, 422, {"answer": "the moon"})
    assert refused["error"] == "Please choose one of: staging, production."
    assert [one["id"] for one in refused["pending"]] == [question["id"]]
    answered = await lena.post(where, 200, {"answer": "production"})
    assert (answered["status"], answered["text"]) == ("answered", "production")


async def test_a_service_cannot_approve(on_bench: Bench, ci: Api) -> None:
    """403 says that a person has to, and what is still pending."""
    thread_id = await ci.launch()
    request = await ci.pending(thread_id)
    refused = await ci.post(f"/{thread_id}/requests/{request['id']}/response", 403, {"decision": "approve"})
    assert refused["error"] == "Only a person can decide this."
    assert [one["id"] for one in refused["pending"]] == [request["id"]]
    assert len(on_bench.releases()) == 1


async def test_whoever_asked_cannot_approve(on_bench: Bench, ci: Api, lena: Api) -> None:
    """AP7: four eyes hold through the API too, also for who only steered the thread."""
    asked = await lena.launch()
    request = await lena.pending(asked)
    refused = await lena.post(f"/{asked}/requests/{request['id']}/response", 403, {"decision": "approve"})
    assert "You asked for this" in refused["error"]
    assert "Omar Haddad can" in refused["error"]
    steered = await ci.launch("deploy to production")
    await ci.pending(steered)
    await lena.post(f"/{steered}/messages", 202, {"message": "v1.4.0"})
    await ci.settled(steered, lambda log: any(one.request.kind == "approval" for one in log.state.pending))
    request = await ci.pending(steered)
    await lena.post(f"/{steered}/requests/{request['id']}/response", 403, {"decision": "approve"})
    assert len(on_bench.releases()) == 1


async def test_a_response_is_a_decision_or_an_answer(ci: Api, lena: Api) -> None:
    """Neither or both is 422, and says what to send."""
    thread_id = await ci.launch()
    request = await ci.pending(thread_id)
    bodies: tuple[Json, ...] = ({}, {"decision": "approve", "answer": "yes"}, {"decision": None, "answer": None})
    for body in bodies:
        refused = await lena.post(f"/{thread_id}/requests/{request['id']}/response", 422, body)
        assert "either a decision (approve, deny, ask, edit) or an answer" in refused["error"]


async def test_an_approval_takes_no_answer_and_a_question_no_decision(ci: Api, lena: Api) -> None:
    """422 says what the request wants."""
    asked = await ci.launch()
    approval = await ci.pending(asked)
    refused = await lena.post(f"/{asked}/requests/{approval['id']}/response", 422, {"answer": "approve"})
    assert refused["error"] == "This request wants approve or deny."
    await lena.post(f"/{asked}/requests/{approval['id']}/response", 422, {"decision": "maybe"})
    wondering = await ci.launch("deploy to production")
    question = await ci.pending(wondering)
    refused = await lena.post(f"/{wondering}/requests/{question['id']}/response", 422, {"decision": "approve"})
    assert refused["error"] == "This request wants an answer."
    await lena.post(f"/{wondering}/requests/{question['id']}/response", 422, {"answer": "  "})


async def test_an_unknown_request_is_404_and_says_what_is_pending(ci: Api, lena: Api) -> None:
    """A request of another thread is unknown, too."""
    thread_id, other = await ci.launch(), await ci.launch()
    request, foreign = await ci.pending(thread_id), await ci.pending(other)
    for unknown in ("nothing", foreign["id"]):
        refused = await lena.post(f"/{thread_id}/requests/{unknown}/response", 404, {"decision": "approve"})
        assert [one["id"] for one in refused["pending"]] == [request["id"]]


async def test_what_is_no_longer_pending_is_409_with_what_is(ci: Api, lena: Api) -> None:
    """After a change of plan the old request is withdrawn, and the answer holds the new one."""
    thread_id = await ci.launch()
    old = await ci.pending(thread_id)
    await ci.post(f"/{thread_id}/messages", 202, {"message": "deploy v1.3.1 to production"})
    await ci.settled(thread_id, lambda log: log.state.pending and log.state.pending[0].request.id != old["id"])
    refused = await lena.post(f"/{thread_id}/requests/{old['id']}/response", 409, {"decision": "approve"})
    assert "because the plan changed" in refused["error"]
    assert [one["prompt"] for one in refused["pending"]] == ["Deploy v1.3.1 to production"]


async def test_a_second_approval_is_409(on_bench: Bench, ci: Api, lena: Api) -> None:
    """Who clicks twice learns that it is decided, by whom, and nothing runs twice."""
    thread_id = await ci.launch()
    where = f"/{thread_id}/requests/{(await ci.pending(thread_id))['id']}/response"
    await lena.post(where, 200, {"decision": "approve"})
    refused = await lena.post(where, 409, {"decision": "approve"})
    assert "already approved by Lena Vogt" in refused["error"]
    await ci.finished(thread_id)
    assert len(on_bench.releases()) == 2


async def test_of_many_approvals_at_once_one_counts(on_bench: Bench, ci: Api, lena: Api) -> None:
    """AP2: the append is the compare-and-set."""
    thread_id = await ci.launch()
    where = f"/api/threads/{thread_id}/requests/{(await ci.pending(thread_id))['id']}/response"
    body = {"decision": "approve"}
    answers = await asyncio.gather(*(on_bench.http.post(where, json=body, headers=lena.headers) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    log = await ci.finished(thread_id)
    assert [event.type for event in log.events].count("tool_started") == 1


async def test_a_request_that_timed_out_is_409(on_bench: Bench, ci: Api, lena: Api) -> None:
    """AP4: too late is too late."""
    thread_id = await ci.launch()
    request = await ci.pending(thread_id)
    on_bench.clock.advance(seconds=3601)
    await ci.finished(thread_id)
    refused = await lena.post(f"/{thread_id}/requests/{request['id']}/response", 409, {"decision": "approve"})
    assert "timed out" in refused["error"]
    assert refused["pending"] == []
    assert len(on_bench.releases()) == 1


# --- into Slack


async def test_a_launch_can_talk_in_a_slack_channel(on_bench: Bench, ci: Api) -> None:
    """The card appears there, a click in Slack decides, and a reply in that thread continues the same thread."""
    thread_id = await ci.launch(conversation=IN_DEPLOYS)
    await ci.pending(thread_id)
    await ci.settled(thread_id, lambda log: log.events[-1].type == "post_sent")
    card = first_post(on_bench)
    assert "Deploy v1.4.0 to production" in card.text
    await on_bench.slack.click("lena", card, "approve")
    await ci.finished(thread_id)
    assert on_bench.releases()[-1].split()[2] == "v1.4.0"
    await on_bench.slack.say("ana", "#deploys", "what is on production?", thread_ts=card.ts)
    log = await ci.settled(
        thread_id,
        lambda log: [event.type for event in log.events].count("run_finished") == 2 and not log.state.posts,
    )
    assert log.state.requester
    assert log.state.requester.name == "Ana Ruiz"


async def test_what_a_launch_says_in_a_slack_channel_stays_together(on_bench: Bench, ci: Api) -> None:
    """The first post opens a Slack thread, and whatever follows is said there."""
    thread_id = await ci.launch(conversation=IN_DEPLOYS)
    await ci.pending(thread_id)
    await ci.settled(thread_id, lambda log: log.events[-1].type == "post_sent")
    await on_bench.slack.click("lena", first_post(on_bench), "approve")
    await ci.finished(thread_id)
    assert on_bench.texts(first_post(on_bench))[-1].startswith("Done: v1.4.0")


async def test_a_launch_can_join_a_slack_thread(on_bench: Bench, ci: Api) -> None:
    """With CHANNEL/THREAD_TS the answers go into that thread."""
    root = await on_bench.slack.say("ana", "#deploys", "the release train leaves")
    thread_id = await ci.launch("hello", conversation={"channel": "slack", "ref": f"C0DEPLOYS/{root.ts}"})
    await ci.finished(thread_id)
    assert on_bench.texts(root)[-1].startswith("I can deploy a release")


# --- pausing and cancelling


async def test_a_paused_thread_keeps_an_approval_until_it_is_resumed(on_bench: Bench, ci: Api) -> None:
    """While it is paused nothing runs; the click counts, and is acted on when the thread goes on."""
    thread_id = await ci.launch(conversation=IN_DEPLOYS)
    await ci.pending(thread_id)
    assert (await ci.post(f"/{thread_id}/pause", 200))["status"] == "paused"
    await ci.settled(thread_id, lambda log: log.events[-1].type == "post_sent" and len(log.state.posts) == 1)
    card = first_post(on_bench)
    assert "Paused by ci" in all_posts(on_bench)
    await on_bench.slack.click("lena", card, "approve")
    paused = await ci.settled(
        thread_id,
        lambda log: log.state.call and log.state.call.phase == "approved" and log.events[-1].type == "post_sent",
    )
    assert paused.state.status == "paused"
    async with asyncio.timeout(10):
        while await on_bench.store.wakeups.backlog():  # noqa: ASYNC110 nobody says when the last worker lets go
            await asyncio.sleep(0.01)
    assert len(on_bench.releases()) == 1
    await ci.post(f"/{thread_id}/resume", 200)
    await ci.finished(thread_id)
    assert len(on_bench.releases()) == 2
    assert "Resumed by ci" in all_posts(on_bench)


async def test_a_paused_thread_keeps_messages_until_it_is_resumed(ci: Api) -> None:
    """What is said meanwhile is heard afterwards."""
    thread_id = await ci.launch("hello")
    await ci.finished(thread_id)
    await ci.post(f"/{thread_id}/pause", 200)
    said = await ci.post(f"/{thread_id}/messages", 202, {"message": "what is on production?"})
    assert said["status"] == "paused"
    await ci.post(f"/{thread_id}/resume", 200)
    log = await ci.finished(thread_id)
    assert "v1.3.2" in log.events[-1].model_dump_json()


async def test_what_makes_no_sense_is_409(ci: Api) -> None:
    """A thread that is not paused cannot be resumed, a paused one not paused, an ended one not cancelled."""
    thread_id = await ci.launch()
    request = await ci.pending(thread_id)
    refused = await ci.post(f"/{thread_id}/resume", 409)
    assert refused["error"] == "The thread is waiting, so it cannot be resumed."
    assert [one["id"] for one in refused["pending"]] == [request["id"]]
    await ci.post(f"/{thread_id}/pause", 200)
    assert "cannot be paused" in (await ci.post(f"/{thread_id}/pause", 409))["error"]
    await ci.post(f"/{thread_id}/cancel", 200)
    assert "cancelled, so it cannot be cancelled" in (await ci.post(f"/{thread_id}/cancel", 409))["error"]


async def test_a_cancelled_thread_withdraws_its_request(on_bench: Bench, ci: Api, lena: Api) -> None:
    """The card says so and has no buttons any more; deciding is 409; nothing ran."""
    thread_id = await ci.launch(conversation=IN_DEPLOYS)
    request = await ci.pending(thread_id)
    await ci.settled(thread_id, lambda log: log.events[-1].type == "post_sent")
    cancelled = await ci.post(f"/{thread_id}/cancel", 200)
    assert (cancelled["status"], cancelled["pending"]) == ("cancelled", [])
    await ci.settled(thread_id, lambda log: not log.state.posts)
    card = first_post(on_bench)
    assert "Withdrawn by ci. It was not run." in card.text
    assert not on_bench.slack.card_actions(card)
    assert "Cancelled by ci. Nothing further runs." in all_posts(on_bench)
    refused = await lena.post(f"/{thread_id}/requests/{request['id']}/response", 409, {"decision": "approve"})
    assert "already cancelled" in refused["error"]
    assert len(on_bench.releases()) == 1


async def test_a_cancelled_thread_takes_a_new_message(ci: Api) -> None:
    """A further message starts a new run."""
    thread_id = await ci.launch()
    await ci.pending(thread_id)
    await ci.post(f"/{thread_id}/cancel", 200)
    await ci.post(f"/{thread_id}/messages", 202, {"message": "what is on production?"})
    await ci.finished(thread_id)


# --- Redis away


async def test_without_redis_everything_is_503(tmp_path: Path) -> None:
    """Nothing was stored, and the caller is told when to come back."""
    async with bench("redis://127.0.0.1:1", tmp_path, workers=0) as on_bench:
        for method, path in PATHS:
            url = path.format(thread_id="t1", request_id="r1")
            body = {"message": "hi"} if method == "POST" and "requests" not in path else {"answer": "x"}
            answer = await on_bench.http.request(
                method, url, headers={"Authorization": f"Bearer {API_KEY}"}, json=body if method == "POST" else None
            )
            assert answer.status_code == 503, (path, answer.text)
            assert int(answer.headers["Retry-After"]) > 0
            assert "Redis cannot be reached" in answer.json()["error"]
