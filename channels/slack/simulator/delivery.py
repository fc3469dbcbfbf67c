"""What Slack sends to the app: signed HTTP requests or Socket Mode envelopes, with Slack's retries.

It never looks into a payload, and it never sends a request without a signature. Every attempt is recorded, so that a
test can ask what the app did with it. Waiting goes through the injected `sleep`.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, cast
from urllib.parse import urlencode

import httpx

from channels.slack.simulator.records import Json
from channels.slack.simulator.socket_mode import Connection, Sockets, UnacknowledgedError

Kind = Literal["events_api", "interactive", "slash_commands"]

RETRY_WAITS_SECONDS = (0.0, 60.0, 300.0)
"""Events are sent again at once, after a minute, and after five more (SL6); interactions never are."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try: `status` is the HTTP status (200 for an acknowledged envelope), `failure` Slack's retry reason."""

    number: int
    over: Literal["http", "socket"]
    status: int | None = None
    failure: str | None = None


@dataclass(eq=False, slots=True)
class Delivery:
    """One payload on its way to the app; `answer` is what the app answered an interaction with, if it was JSON."""

    kind: Kind
    payload: Json
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    answer: object = None
    answer_text: str = ""
    tried: list[Connection] = field(default_factory=list[Connection])
    first_answered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the app took it, or once everything that Slack tries without waiting has failed."""

    @property
    def json_answer(self) -> Json:
        """The answer when it is an object, else an empty one."""
        answer = self.answer
        return cast("Json", answer) if isinstance(answer, dict) else {}

    @property
    def accepted(self) -> bool:
        """Whether the app took it."""
        return bool(self.attempts) and self.attempts[-1].failure is None


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Slack's `v0` signature (SL1)."""
    return "v0=" + hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()


class Deliveries:
    """Sends payloads to the app: over a socket when one is connected, else to `url`.

    Without either there is no app to tell, and a delivery ends at once, unaccepted and without attempts.
    """

    def __init__(
        self,
        *,
        http: httpx.AsyncClient,
        url: str | None,
        sockets: Sockets,
        signing_secret: str,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        ack_seconds: float,
    ) -> None:
        self.url = url
        self.sent: list[Delivery] = []
        self._http, self._sockets = http, sockets
        self._signing_secret, self._now, self._sleep, self._ack_seconds = signing_secret, now, sleep, ack_seconds
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, kind: Kind, payload: Json) -> Delivery:
        """Begin a delivery in the background."""
        delivery = Delivery(kind, payload)
        self.sent.append(delivery)
        task = asyncio.create_task(self._run(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return delivery

    async def send(self, kind: Kind, payload: Json) -> Delivery:
        """Begin a delivery and wait until the app took it or Slack's first tries failed."""
        delivery = self.start(kind, payload)
        await delivery.first_answered.wait()
        return delivery

    def events(self, event_type: str) -> list[Delivery]:
        """Every event delivery of one type ("app_mention"), in the order of their start."""
        return [d for d in self.sent if d.kind == "events_api" and d.payload["event"]["type"] == event_type]

    async def settle(self) -> None:
        """Wait until nothing is under way any more, retries included."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Stop everything that is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, delivery: Delivery) -> None:
        try:
            await self._attempt(delivery)
            for wait in RETRY_WAITS_SECONDS if delivery.kind == "events_api" else ():
                if delivery.accepted or not delivery.attempts or delivery.attempts[-1].failure == "no_retry":
                    break
                if wait:
                    delivery.first_answered.set()
                    await self._sleep(wait)
                await self._attempt(delivery)
        finally:
            delivery.first_answered.set()

    async def _attempt(self, delivery: Delivery) -> None:
        number = len(delivery.attempts)
        reason = delivery.attempts[-1].failure if delivery.attempts else None
        if self._sockets.connections:
            attempt = await self._over_socket(delivery, number, reason)
        elif self.url:
            attempt = await self._over_http(self.url, delivery, number, reason)
        else:
            return
        delivery.attempts.append(attempt)

    async def _over_socket(self, delivery: Delivery, number: int, reason: str | None) -> Attempt:
        try:
            delivery.answer = await self._sockets.send(
                delivery.kind, delivery.payload, attempt=number, reason=reason, tried=delivery.tried
            )
        except UnacknowledgedError as missing:
            return Attempt(number, "socket", failure=str(missing))
        return Attempt(number, "socket", status=200)

    async def _over_http(self, url: str, delivery: Delivery, number: int, reason: str | None) -> Attempt:
        body, content_type = _encoded(delivery)
        timestamp = str(int(self._now()))
        headers = {
            "Content-Type": content_type,
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": signature(self._signing_secret, timestamp, body),
        }
        if number:
            headers |= {"X-Slack-Retry-Num": str(number), "X-Slack-Retry-Reason": reason or "unknown_error"}
        try:
            async with asyncio.timeout(self._ack_seconds):
                response = await self._http.post(url, content=body, headers=headers, timeout=None)
        except TimeoutError:
            return Attempt(number, "http", failure="http_timeout")
        except httpx.HTTPError:
            return Attempt(number, "http", failure="connection_failed")
        if not response.is_success:
            stop = response.headers.get("X-Slack-No-Retry") == "1"
            return Attempt(number, "http", response.status_code, "no_retry" if stop else "http_error")
        delivery.answer_text = response.text
        if response.headers.get("Content-Type", "").startswith("application/json"):
            # What is called JSON and is none counts as a text, as in Slack.
            with contextlib.suppress(ValueError):
                delivery.answer = response.json()
        return Attempt(number, "http", response.status_code)


def _encoded(delivery: Delivery) -> tuple[bytes, str]:
    """The request's body and its content type: events are JSON, everything else is a form."""
    form = "application/x-www-form-urlencoded"
    match delivery.kind:
        case "events_api":
            return json.dumps(delivery.payload, ensure_ascii=False).encode(), "application/json"
        case "interactive":
            return urlencode({"payload": json.dumps(delivery.payload, ensure_ascii=False)}).encode(), form
        case "slash_commands":
            return urlencode(delivery.payload).encode(), form
