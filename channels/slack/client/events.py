"""Takes in what Slack sends, over HTTP or Socket Mode, through Bolt, and hands it to a sink.

Bolt is used for dispatch and for Socket Mode. Where its defaults lose events they are changed: listeners run before the
answer, and a failing one answers 503, so that Slack sends the event again (SL4); nothing goes unmatched (SL5).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.error import BoltUnhandledRequestError
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from channels.slack.receive import (
    Json,
    SlackClick,
    SlackMessage,
    SlackSubmission,
    read_click,
    read_message,
    read_submission,
)

_ANY = re.compile(".*", re.DOTALL)


@dataclass(frozen=True)
class SlackReply:
    """What Slack is answered."""

    status: int
    headers: Mapping[str, str]
    body: str


class SlackSink(Protocol):
    """Where verified input goes. Each method returns once the input is durable, and raises where it could not be."""

    async def message(self, message: SlackMessage) -> None:
        """A person wrote something."""
        ...

    async def click(self, click: SlackClick) -> None:
        """A person used a card."""
        ...

    async def submission(self, submission: SlackSubmission) -> None:
        """A person submitted a modal."""
        ...

    async def command(self, body: dict[str, Any]) -> str:
        """A slash command; returns the answer."""
        ...


class SlackEvents:
    """Bolt, set up so that it loses nothing."""

    def __init__(self, client: AsyncWebClient, sink: SlackSink) -> None:
        self._sink = sink
        silent = logging.getLogger("switchboard.slack_bolt")
        silent.setLevel(logging.CRITICAL)  # Bolt logs bodies (SL2); what matters is logged by us
        self._app = AsyncApp(
            client=client,
            logger=silent,
            process_before_response=True,
            authorize=_authorize_with(client.token or ""),
            request_verification_enabled=False,  # done before, on the raw body: Bolt stumbles over odd timestamps (SL1)
            ignoring_self_events_enabled=False,  # done in `receive`, without asking Slack who we are
            attaching_function_token_enabled=False,
            raise_error_for_unhandled_request=True,  # told to `_failed`, for both ways in
        )
        self._listen()
        self._sockets: list[AsyncSocketModeHandler] = []

    async def dispatch(self, body: str, content_type: str) -> SlackReply:
        """Handle a verified request. Raises ValueError for a body that is not what it says it is."""
        try:
            request = AsyncBoltRequest(body=body, headers={"content-type": content_type})
            answer = await self._app.async_dispatch(request)
        except (AttributeError, LookupError, TypeError) as error:
            # Bolt looks for its fields before it looks for a listener; what ours raise ends in `_failed`.
            raise ValueError(f"not a payload of Slack's: {type(error).__name__}") from error
        return SlackReply(answer.status, {key: values[0] for key, values in answer.headers.items()}, answer.body or "")

    async def connect(self, app_token: str) -> None:
        """Open a Socket Mode connection (SL10); it is kept open until `close`."""
        handler = AsyncSocketModeHandler(self._app, app_token, logger=_socket_logger())
        self._sockets.append(handler)
        await handler.connect_async()

    async def close(self) -> None:
        """Close the Socket Mode connections."""
        for handler in self._sockets:
            await handler.close_async()  # pyright: ignore[reportUnknownMemberType]

    def _listen(self) -> None:
        app: Any = self._app  # Bolt's decorators are untyped

        app.error(_failed)

        @app.event(_ANY)
        @app.event({"type": "message", "subtype": _ANY})
        async def event(body: Json) -> None:
            message = read_message(body)
            if message:
                await self._sink.message(message)

        @app.action(_ANY)
        async def action(ack: Any, body: Json) -> None:  # noqa: ANN401
            click = read_click(body)
            if click:
                await self._sink.click(click)
            await ack()

        @app.view(_ANY)
        async def view(ack: Any, body: Json) -> None:  # noqa: ANN401
            submission = read_submission(body)
            if submission:
                await self._sink.submission(submission)
            await ack()

        @app.view_closed(_ANY)
        @app.shortcut(_ANY)
        @app.options(_ANY)
        async def nothing(ack: Any) -> None:  # noqa: ANN401
            await ack()

        @app.command(_ANY)
        async def command(ack: Any, body: Json) -> None:  # noqa: ANN401
            await ack(await self._sink.command(body))

        del event, action, view, nothing, command  # Bolt keeps them


async def _failed(error: Exception) -> BoltResponse:
    if isinstance(error, BoltUnhandledRequestError):
        return BoltResponse(status=200, body="")  # of a kind that Slack has invented since (SL5)
    # Most likely the store is away. Slack keeps the event and sends it again (SL6).
    logging.getLogger("switchboard.slack").warning("listener failed: %s", type(error).__name__)
    return BoltResponse(status=503, body="")


def _authorize_with(token: str) -> Any:  # noqa: ANN401 Bolt looks at its arguments' names
    async def authorize(enterprise_id: str | None, team_id: str | None) -> AuthorizeResult:
        # No auth.test: where Slack's API is slow or away, Bolt would answer 200 to an event that nobody took.
        return AuthorizeResult(enterprise_id=enterprise_id, team_id=team_id, bot_token=token)

    return cast("Any", authorize)


class _Trouble(logging.Handler):
    """Tells that a Socket Mode connection is in trouble, and where; what the SDK says of it may hold bodies (SL2)."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line, without the message."""
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else "see `bot doctor`"
        logging.getLogger("switchboard.slack").error("socket mode is in trouble (%s): %s", record.funcName, kind)


def _socket_logger() -> logging.Logger:
    logger = logging.getLogger("switchboard.slack_socket")
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    if not logger.handlers:
        logger.addHandler(_Trouble())
    return logger
