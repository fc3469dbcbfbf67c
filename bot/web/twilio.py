"""`/twilio/sms` and `/twilio/status`: Twilio's webhooks, verified against the configured public address (SM1)."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl

import structlog
from fastapi import APIRouter, HTTPException, Request, Response

from bot.desks.sms import SmsDesk
from bot.web.bodies import bounded_body
from bot.web.metrics import WEBHOOKS
from channels.sms.client import BadSignature, verify
from channels.sms.receive import read_status, read_text

logger = structlog.get_logger(__name__)

_MAX_BODY_BYTES = 64 * 1024
_MAX_FIELDS = 200
_NOTHING = '<?xml version="1.0" encoding="UTF-8"?><Response/>'


def twilio_routes(desk: SmsDesk | None, public_url: str, tokens: Sequence[str]) -> APIRouter:
    """The routes. Without Twilio's settings they answer 404 and say what is missing."""
    router = APIRouter(include_in_schema=False)

    async def fields(request: Request) -> list[tuple[str, str]]:
        if desk is None:
            raise HTTPException(
                404, "SMS is off: set TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN, TWILIO_FROM_NUMBER and PUBLIC_URL."
            )
        body = await bounded_body(request, _MAX_BODY_BYTES)
        try:
            # Blank values are part of what is signed.
            pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
        except ValueError as error:
            raise HTTPException(400, "The body is malformed.") from error
        query = f"?{request.url.query}" if request.url.query else ""
        try:
            # Never the Host header: it is the sender's word.
            verify(f"{public_url}{request.url.path}{query}", pairs, request.headers.get("x-twilio-signature"), tokens)
        except BadSignature as error:
            logger.warning("twilio_signature_refused", reason=str(error))
            WEBHOOKS.labels("sms", "refused").inc()
            raise HTTPException(403, f"The signature is not valid: {error}.") from error
        return pairs

    @router.post("/twilio/sms")
    async def twilio_sms(request: Request) -> Response:
        text = read_text(dict(await fields(request)))
        if text is not None and desk is not None:
            await desk.text(text)
        WEBHOOKS.labels("sms", "taken" if text else "ignored").inc()
        return Response(_NOTHING, media_type="application/xml")  # what there is to say goes out by REST (SM2)

    @router.post("/twilio/status")
    async def twilio_status(request: Request) -> Response:
        report = read_status(dict(await fields(request)), dict(request.query_params))
        if report is not None and desk is not None:
            await desk.status(report)
        return Response(status_code=204)

    del twilio_sms, twilio_status  # the router keeps them
    return router
