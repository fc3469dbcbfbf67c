"""`/slack/events`: verify, parse, dispatch, in this order. The answer comes after the event is durable."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from urllib.parse import parse_qs

import structlog
from fastapi import APIRouter, HTTPException, Request, Response

from bot.web.bodies import bounded_body
from bot.web.metrics import WEBHOOKS
from channels.slack.client import SlackEvents
from channels.slack.receive import BadSignature, verify

logger = structlog.get_logger(__name__)


def slack_routes(
    events: SlackEvents | None, signing_secrets: Sequence[str], now: Callable[[], float] = time.time
) -> APIRouter:
    """The route. Without Slack's settings it answers 404 and says what is missing."""
    router = APIRouter(include_in_schema=False)

    @router.post("/slack/events")
    async def slack_events(request: Request) -> Response:
        if events is None or not signing_secrets:
            raise HTTPException(404, "Slack over HTTP is off: set SLACK_BOT_TOKEN and SLACK_SIGNING_SECRET.")
        body = await bounded_body(request)
        try:
            verify(
                body,
                request.headers.get("x-slack-request-timestamp"),
                request.headers.get("x-slack-signature"),
                signing_secrets,
                now(),
            )
        except BadSignature as error:
            logger.warning("slack_signature_refused", reason=str(error))
            WEBHOOKS.labels("slack", "refused").inc()
            raise HTTPException(401, f"The signature is not valid: {error}.") from error
        content_type = request.headers.get("content-type", "")
        text = _checked(body, content_type)
        try:
            reply = await events.dispatch(text, content_type)
        except ValueError as error:
            raise HTTPException(400, "The body is malformed.") from error
        WEBHOOKS.labels("slack", "taken" if reply.status < 400 else "failed").inc()  # noqa: PLR2004
        return Response(reply.body, status_code=reply.status, headers=dict(reply.headers))

    del slack_events  # the router keeps it
    return router


def _checked(body: bytes, content_type: str) -> str:
    """The body as text, if it is what it says it is. Raises 400."""
    try:
        text = body.decode("utf-8")
        if content_type.startswith("application/x-www-form-urlencoded"):
            fields = parse_qs(text, keep_blank_values=True, strict_parsing=True, max_num_fields=100)
            parsed: object = json.loads(fields["payload"][0]) if "payload" in fields else fields
        else:
            parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "The body is malformed.") from error
    if not isinstance(parsed, dict) or not text:
        raise HTTPException(400, "The body is not an object.")
    return text
