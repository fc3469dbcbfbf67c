"""The phone page's endpoints: what they show, and whom they serve."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest

import channels.sms.simulator.page as page_module
from channels.simulating import serve_pages
from channels.sms.simulator import SimulatedTwilio
from channels.sms.simulator.page import PhonePage

FILES = Path(page_module.__file__).with_name("page")
ANA, LENA, NOBODY = "+12025550101", "+12025550102", "+12025550177"
PHONES = {ANA: "Ana Ruiz", LENA: "Lena Vogt"}


class Desk:
    """Twilio and its page, served; the app answers `status`."""

    def __init__(self) -> None:
        self.status, self.bodies = 200, list[str]()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """The app's webhook."""
        self.bodies.append(request.content.decode())
        return httpx.Response(self.status)

    twilio: SimulatedTwilio
    http: httpx.AsyncClient

    async def post(self, body: object, **headers: str) -> httpx.Response:
        """A POST as the page itself sends it, unless `headers` say otherwise."""
        own = {"Origin": str(self.http.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin", **headers}
        return await self.http.post("/phone/send", json=body, headers=own)

    async def texts(self) -> list[dict[str, object]]:
        """What the page reads."""
        return (await self.http.get("/phone/state")).json()["texts"]


@pytest.fixture
async def desk() -> AsyncGenerator[Desk]:
    desk = Desk()
    async with httpx.AsyncClient(transport=httpx.MockTransport(desk)) as app:
        desk.twilio = SimulatedTwilio(webhook_url="http://app.example/twilio/sms", http=app)
        page = PhonePage(desk.twilio, PHONES)
        async with serve_pages([page.panel]) as base, httpx.AsyncClient(base_url=base) as desk.http:
            yield desk
        await desk.twilio.close()


async def test_the_page_and_its_files_are_served_with_a_strict_policy(desk: Desk) -> None:
    """Only its own scripts and styles run."""
    for path in ("/phone", "/phone/files/main.js", "/phone/files/base.css", "/phone/files/phone.css", "/panels"):
        answer = await desk.http.get(path)
        assert answer.status_code == 200
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert (await desk.http.get("/phone/files/page.py")).status_code == 404


def test_data_never_becomes_markup() -> None:
    """No script writes HTML, and no page carries inline code."""
    for script in FILES.glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", script.read_text())
    assert not re.search(r"\son\w+=|style=|<script>|https?://", (FILES / "index.html").read_text())


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "127.0.0.1.evil.example"},
        {"Content-Type": "text/plain"},
    ],
)
async def test_a_foreign_web_page_cannot_text(desk: Desk, headers: dict[str, str]) -> None:
    """Wrong host, origin, fetch site, or a content type that needs no preflight: 403, and nothing is sent."""
    assert (await desk.post({"from": ANA, "text": "hi"}, **headers)).status_code == 403
    assert desk.twilio.network.texts == {}


async def test_a_foreign_web_page_cannot_read(desk: Desk) -> None:
    """Codes are in the texts."""
    for path in ("/phone", "/phone/state", "/phone/changes", "/panels"):
        assert (await desk.http.get(path, headers={"Host": "rebound.example"})).status_code == 403
    assert (await desk.http.get("/phone/state", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 403


async def test_a_person_texts_and_stops(desk: Desk) -> None:
    """SM7: the text reaches the app; after STOP the page knows that the number has left."""
    assert (await desk.post({"from": ANA, "text": " hello "})).json() == {"ok": True}
    assert "Body=hello&" in desk.bodies[0]
    await desk.post({"from": ANA, "text": "STOP"})
    state = (await desk.http.get("/phone/state")).json()
    assert state["left"] == [ANA]
    assert [(text["mine"], text["phone"]) for text in state["texts"]] == [(True, ANA), (True, ANA), (False, ANA)]
    panels = (await desk.http.get("/panels")).json()["panels"]
    assert panels == [{"key": "phone", "label": "Phone", "path": "/phone", "arrived": 1}]


async def test_a_text_that_the_app_did_not_take_says_so(desk: Desk) -> None:
    """Twilio does not try again: whoever wrote it sees the error's number."""
    desk.status = 503
    await desk.post({"from": ANA, "text": "hello"})
    (text,) = await desk.texts()
    assert text["error"] == 11200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"from": NOBODY, "text": "hi"}, "nobody here has this number"),
        ({"from": "+12025550100", "text": "I am the bot"}, "nobody here has this number"),
        ({"from": ANA, "text": "  "}, "1 to 1,600 characters"),
        ({"from": ANA, "text": "x" * 1_601}, "1 to 1,600 characters"),
        ({"text": "hi"}, "from"),
        ([], "a JSON object is needed"),
    ],
)
async def test_what_cannot_be_sent_is_told(desk: Desk, body: object, words: str) -> None:
    """As a line for the page; nothing is sent."""
    answer = (await desk.post(body)).json()
    assert answer["ok"] is False
    assert words in answer["error"]
    assert desk.twilio.network.texts == {}


async def test_changes_are_streamed_and_resumed(desk: Desk) -> None:
    """A stream goes on after the last event that the browser saw; one that cannot is told to start anew."""
    start = desk.twilio.network.change_number
    await desk.post({"from": ANA, "text": "one"})
    await desk.post({"from": ANA, "text": "two"})
    seen: list[str] = []
    async with desk.http.stream("GET", "/phone/changes", headers={"Last-Event-ID": str(start + 1)}) as stream:
        async for line in stream.aiter_lines():
            seen.append(line)
            if line.startswith("data: "):
                break
    assert seen[-2] == f"id: {start + 2}"
    assert json.loads(seen[-1].removeprefix("data: ")) == {"kind": "text"}
    async with desk.http.stream("GET", "/phone/changes?after=7") as stream:
        assert (await stream.aread()).startswith(b"event: reset\n")
