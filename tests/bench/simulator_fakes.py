"""A clock that only tests move, and an app that records what the simulated Slack sends it."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import httpx

Loose = Any
"""slack_sdk annotates partially, and a Block Kit literal has no type: what a test asserts is its check."""

EVENTS_URL = "http://app.example/slack/events"


@dataclass
class Clock:
    """Time that stands still until a test moves it; `sleep` returns at once and moves it."""

    seconds: float = 1_700_000_000.0
    slept: list[float] = field(default_factory=list[float])

    def __call__(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


@dataclass
class RecordingApp:
    """The other end of the deliveries: keeps every request, answers from `answers` in order, then 200."""

    requests: list[httpx.Request] = field(default_factory=list[httpx.Request])
    answers: list[httpx.Response | Exception] = field(default_factory=list["httpx.Response | Exception"])

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else httpx.Response(200)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def payloads(self) -> list[dict[str, Any]]:
        """The decoded bodies of events and interactions."""
        return [decoded(request) for request in self.requests]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [payload["event"] for payload in self.payloads if payload["type"] == "event_callback"]


def decoded(request: httpx.Request) -> dict[str, Any]:
    """The payload of a delivery, whichever way it was encoded."""
    if request.headers["content-type"] == "application/json":
        return json.loads(request.content)
    form = {key: values[0] for key, values in parse_qs(request.content.decode(), keep_blank_values=True).items()}
    return json.loads(form["payload"]) if "payload" in form else {"type": "command", **form}


async def wait_until(condition: Callable[[], bool], *, seconds: float = 5) -> None:
    """Give the event loop turns until the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - conditions of other people's objects, which set no event
            await asyncio.sleep(0.002)


CARD = [
    {"type": "section", "text": {"type": "mrkdwn", "text": "Deploy *v1.4.0* to production?"}},
    {
        "type": "actions",
        "block_id": "decide",
        "elements": [
            {
                "type": "button",
                "action_id": "approve",
                "text": {"type": "plain_text", "text": "Approve"},
                "value": "r1",
            },
            {"type": "button", "action_id": "deny", "text": {"type": "plain_text", "text": "Deny"}, "value": "r1"},
            {
                "type": "static_select",
                "action_id": "when",
                "options": [{"text": {"type": "plain_text", "text": t}, "value": t} for t in ("now", "later")],
            },
        ],
    },
]
MODAL: dict[str, Any] = {
    "type": "modal",
    "callback_id": "deny_reason",
    "private_metadata": "r1",
    "title": {"type": "plain_text", "text": "Deny"},
    "submit": {"type": "plain_text", "text": "Send"},
    "blocks": [
        {
            "type": "input",
            "block_id": "why",
            "label": {"type": "plain_text", "text": "Why?"},
            "element": {"type": "plain_text_input", "action_id": "text", "max_length": 20},
        }
    ],
}
