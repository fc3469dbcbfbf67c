"""The page's endpoints: what they show, and whom they serve."""

import json
import re
from pathlib import Path

import httpx
import pytest
from simulator_fakes import CARD, MODAL, Loose, RecordingApp

import channels.slack.simulator.page as page_module
from channels.slack.simulator import SimulatedSlack

FILES = Path(page_module.__file__).with_name("page")


async def post(slack: SimulatedSlack, name: str, body: Loose, **headers: str) -> httpx.Response:
    """A POST as the page itself sends it, unless `headers` say otherwise."""
    own = {"Origin": slack.base_url, "Sec-Fetch-Site": "same-origin", **headers}
    async with httpx.AsyncClient() as http:
        return await http.post(f"{slack.base_url}/page/{name}", json=body, headers=own)


async def test_the_page_and_its_files_are_served_with_a_strict_policy(served: SimulatedSlack) -> None:
    """Only its own scripts and styles run, and nothing is kept by the browser."""
    async with httpx.AsyncClient(base_url=served.base_url) as http:
        for path in ("/", "/page/files/main.js", "/page/files/style.css", "/page/files/mark.svg"):
            answer = await http.get(path)
            assert answer.status_code == 200
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
        assert (await http.get("/page/files/..%2Fapp.py")).status_code == 404
        assert (await http.get("/page/files/app.py")).status_code == 404


def test_data_never_becomes_markup() -> None:
    """No script writes HTML, and no page carries inline code."""
    for script in FILES.glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", script.read_text())
    html = (FILES / "index.html").read_text()
    assert not re.search(r"\son\w+=|style=|<script>|https?://", html)


async def test_the_state_tells_the_page_everything(served: SimulatedSlack) -> None:
    """People, places, messages, open modals, the notice and the links."""
    await served.say("ana", "#general", "hello")
    served.workspace.open_view("U0LENA", MODAL)
    async with httpx.AsyncClient() as http:
        state = (await http.get(f"{served.base_url}/page/state")).json()
    assert (state["notice"], state["links"][0]["label"], state["bot"]) == ("scripted rules", "Threads", "U0BOT")
    assert [user["name"] for user in state["users"]] == ["ana", "lena", "omar", "gil", "switchboard"]
    assert [message["text"] for message in state["messages"]] == ["hello"]
    assert [view["user"] for view in state["views"]] == ["U0LENA"]


async def test_people_act_through_the_page(served: SimulatedSlack, recording_app: RecordingApp) -> None:
    """Saying, commands, clicks, choices and modals reach the app like those of `SimulatedSlack`."""
    assert (await post(served, "say", {"user": "U0ANA", "channel": "C0GENERAL", "text": "@bot hi"})).json()["ok"]
    await post(served, "say", {"user": "U0ANA", "channel": "C0GENERAL", "text": "/deploy v1"})
    card = served.workspace.post("C0GENERAL", "U0BOT", "card", blocks=CARD, bot_id="B0BOT")
    at = {"user": "U0LENA", "channel": card.channel, "ts": card.ts, "block_id": "decide"}
    await post(served, "click", {**at, "action_id": "approve", "value": "r1"})
    await post(served, "select", {**at, "action_id": "when", "value": "later"})
    view = served.workspace.open_view("U0LENA", MODAL)
    refused = await post(served, "submit", {"user": "U0LENA", "view": view.id, "values": {}})
    assert refused.json()["ok"] is False
    await post(served, "submit", {"user": "U0LENA", "view": view.id, "values": {"why": {"text": "no"}}})
    other = served.workspace.open_view("U0LENA", MODAL)
    await post(served, "close", {"user": "U0LENA", "view": other.id})
    kinds = [payload["type"] for payload in recording_app.payloads]
    assert kinds == ["event_callback"] * 2 + ["command", "block_actions", "block_actions", "view_submission"]
    assert served.views("lena") == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Content-Type": "text/plain"},
    ],
)
async def test_a_foreign_web_page_cannot_act(served: SimulatedSlack, headers: dict[str, str]) -> None:
    """Wrong host, origin, fetch site, or a content type that needs no preflight: 403, and nothing is said."""
    answer = await post(served, "say", {"user": "U0ANA", "channel": "C0GENERAL", "text": "hi"}, **headers)
    assert answer.status_code == 403
    assert served.workspace.messages("C0GENERAL") == []


async def test_a_foreign_web_page_cannot_read(served: SimulatedSlack) -> None:
    """Neither by a rebound name nor across sites; nor can a request that hides where it comes from act."""
    async with httpx.AsyncClient(base_url=served.base_url) as http:
        for path in ("/", "/page/state", "/page/changes", "/page/files/main.js"):
            assert (await http.get(path, headers={"Host": "rebound.example"})).status_code == 403
        assert (await http.get("/page/state", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 403
        body = {"user": "U0ANA", "channel": "C0GENERAL", "text": "hi"}
        assert (await http.post("/page/say", json=body)).status_code == 403


async def test_nobody_is_the_bot_on_the_page(served: SimulatedSlack) -> None:
    """The bot has its token; the page has none."""
    answer = await post(served, "say", {"user": "U0BOT", "channel": "C0GENERAL", "text": "I am the bot"})
    assert answer.json() == {"ok": False, "error": "nobody acts as the bot"}
    assert served.workspace.messages("C0GENERAL") == []


async def test_changes_are_streamed_and_resumed(served: SimulatedSlack) -> None:
    """A stream goes on after the last event that the browser saw; one that cannot is told to start anew."""
    start = served.workspace.change_number
    await served.say("ana", "#general", "one")
    await served.say("ana", "#general", "two")
    url = f"{served.base_url}/page/changes"
    async with httpx.AsyncClient() as http:
        async with http.stream("GET", url, headers={"Last-Event-ID": str(start + 1)}) as stream:
            seen: list[str] = []
            async for line in stream.aiter_lines():
                seen.append(line)
                if line.startswith("data: "):
                    break
        assert seen[-2] == f"id: {start + 2}"
        assert json.loads(seen[-1].removeprefix("data: "))["data"]["text"] == "two"
        async with http.stream("GET", f"{url}?after=7") as stream:
            assert (await stream.aread()).startswith(b"event: reset\n")
