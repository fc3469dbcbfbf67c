"""Socket Mode, with Slack's own client at the other end (SL10)."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import ClientSession, WSServerHandshakeError
from simulator_fakes import CARD, MODAL, Loose, RecordingApp, wait_until
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from channels.slack.simulator import SimulatedSlack


@dataclass
class SocketApp:
    """An app in Socket Mode: keeps each request and acknowledges it as `answer` says (None: not at all)."""

    name: str
    answer: Callable[[Loose], dict[str, Loose] | None] = lambda _request: {}
    requests: list[Loose] = field(default_factory=list[Loose])

    async def take(self, client: Loose, request: Loose) -> None:
        self.requests.append(request)
        if (payload := self.answer(request)) is not None:
            await client.send_socket_mode_response(
                SocketModeResponse(envelope_id=request.envelope_id, payload=payload or None)
            )


@asynccontextmanager
async def connected(slack: SimulatedSlack, app: SocketApp) -> AsyncGenerator[None]:
    """The app, with its socket open."""
    before = len(slack.sockets.connections)
    web_client = AsyncWebClient(token=slack.tokens.bot_token, base_url=slack.api_url)
    client: Loose = SocketModeClient(app_token=slack.tokens.app_token, web_client=web_client, ping_interval=0.05)
    client.socket_mode_request_listeners.append(app.take)
    await client.connect()
    await wait_until(lambda: len(slack.sockets.connections) == before + 1)
    try:
        yield
    finally:
        await client.close()
        await asyncio.gather(
            *(t for t in (client.message_processor, client.current_session_monitor, client.message_receiver) if t),
            return_exceptions=True,
        )


async def test_events_and_interactions_go_over_the_socket(served: SimulatedSlack, recording_app: RecordingApp) -> None:
    """While an app is connected, nothing is sent over HTTP; the payloads are the same."""
    app = SocketApp("one")
    async with connected(served, app):
        said = await served.say("ana", "#deploys", "@bot deploy")
        shown = served.workspace.post("C0DEPLOYS", "U0BOT", "card", blocks=CARD, bot_id="B0BOT")
        clicked = await served.click("lena", shown, "approve")
        await served.command("ana", "#deploys", "/deploy", "now")
    assert [request.type for request in app.requests] == ["events_api", "events_api", "interactive", "slash_commands"]
    assert {request.payload["event"]["ts"] for request in app.requests[:2]} == {said.ts}
    assert app.requests[2].payload["actions"][0]["action_id"] == "approve"
    assert clicked.accepted
    assert recording_app.requests == []


async def test_an_acknowledgement_can_answer_a_submission(served: SimulatedSlack) -> None:
    """The payload of the acknowledgement is the answer that HTTP would carry in its body."""
    errors = {"response_action": "errors", "errors": {"why": "say more"}}
    async with connected(served, SocketApp("one", lambda _request: errors)):
        view = served.workspace.open_view("U0LENA", MODAL)
        await served.submit("lena", view, {"why": {"text": "no"}})
    assert served.views("lena")[0].errors == {"why": "say more"}


async def test_an_envelope_that_is_not_acknowledged_goes_to_another_connection(served: SimulatedSlack) -> None:
    """It is sent again, with its attempt and reason, as the same event."""
    deaf, hearing = SocketApp("deaf", lambda _request: None), SocketApp("hearing")
    async with connected(served, deaf), connected(served, hearing):
        await served.say("ana", "#general", "hello")
        await served.deliveries.settle()
    (first,), (second,) = deaf.requests, hearing.requests
    assert first.payload["event_id"] == second.payload["event_id"]
    assert (second.retry_attempt, second.retry_reason) == (1, "timeout")
    assert [attempt.failure for attempt in served.deliveries.sent[0].attempts] == ["timeout", None]


async def test_an_envelope_on_a_lost_connection_is_sent_again(served: SimulatedSlack) -> None:
    """A connection that ends takes nothing with it: after its client reconnected, the event arrives."""
    app = SocketApp("one", lambda request: None if not request.retry_attempt else {})
    async with connected(served, app):
        saying = asyncio.create_task(served.say("ana", "#general", "hello"))
        await wait_until(lambda: len(app.requests) == 1)
        await served.sockets.refresh()
        await saying
        await wait_until(lambda: bool(served.sockets.connections))
        await served.say("ana", "#general", "still there?")
        await served.deliveries.settle()
    failures = [attempt.failure for attempt in served.deliveries.sent[0].attempts]
    assert failures[0] == "disconnected"


async def test_after_the_last_connection_delivery_is_over_http_again(
    served: SimulatedSlack, recording_app: RecordingApp
) -> None:
    """The address is used whenever no socket is open."""
    async with connected(served, SocketApp("one")):
        pass
    await wait_until(lambda: not served.sockets.connections)
    await served.say("ana", "#general", "hello")
    assert len(recording_app.requests) == 1


async def test_a_connection_needs_a_fresh_ticket(served: SimulatedSlack) -> None:
    """Tickets come from `apps.connections.open`, and are good once."""
    address = served.base_url.replace("http", "ws") + "/link?ticket="
    async with ClientSession() as session:
        with pytest.raises(WSServerHandshakeError):
            await session.ws_connect(address + "made-up")
        ticket = served.sockets.ticket()
        async with session.ws_connect(address + ticket) as socket:
            assert (await socket.receive_json())["type"] == "hello"
        with pytest.raises(WSServerHandshakeError):
            await session.ws_connect(address + ticket)
