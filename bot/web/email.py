"""`/email/{provider}`: mail that a provider hands over. Verify, read, judge, take, in this order (EM1, EM2)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import structlog
from fastapi import APIRouter, HTTPException, Request, Response

from bot.web.bodies import bounded_body
from bot.web.metrics import WEBHOOKS
from channels.email.providers import (
    Incomplete,
    Malformed,
    Refused,
    mailgun,
    mailgun_digest,
    postmark,
    read_mailgun,
    read_postmark,
    read_sendgrid,
    sendgrid,
    verify_mailgun,
    verify_postmark,
    verify_sendgrid,
    verify_sendgrid_time,
)
from channels.email.providers.forms import read_form
from channels.email.record import CannotTell, RawMail, Verdict

logger = structlog.get_logger(__name__)

_DNS_SECONDS = "60"
_SIGNATURE = "x-twilio-email-event-webhook-signature"
_TIMESTAMP = "x-twilio-email-event-webhook-timestamp"


def email_routes(
    take: Callable[[RawMail], Awaitable[object]] | None,
    *,
    postmark_logins: Sequence[str],
    sendgrid_keys: Sequence[str],
    mailgun_keys: Sequence[str],
    seen: Callable[[str, str], Awaitable[bool]],
    check: Callable[[bytes], Awaitable[Verdict]],
    now: Callable[[], float] = time.time,
) -> APIRouter:
    """The routes. What is not set up answers 404 and says what is missing.

    `take` raises StoreUnavailable, which goes on to the application. `seen` gets a token of Mailgun's and the digest of
    what came with it, and tells whether the token was used for another content; it remembers that for at least as long
    as a signature is good, and raises the same. `check` judges the sender of a raw mail where the provider does not; it
    raises CannotTell.
    """
    router = APIRouter(include_in_schema=False)
    desk = _Reception(postmark_logins, sendgrid_keys, mailgun_keys, seen, now)

    @router.post("/email/{provider}")
    async def email(provider: str, request: Request) -> Response:
        found = desk.provider(provider)
        missing = () if take else ("EMAIL_ADDRESS", "SMTP_HOST")
        missing += () if any(found.secrets) else (found.setting,)
        if take is None or missing:
            raise HTTPException(404, f"Mail from this provider is off: set {', '.join(missing)}.")
        mail = await _answered(provider, found.read(request))
        await take(mail if mail.verdict else replace(mail, verdict=await _judged(provider, check(mail.raw))))
        WEBHOOKS.labels("email", "taken").inc()
        return Response(status_code=200)  # Mailgun takes no other 2xx for a yes

    @router.post("/email/mailgun/mime")
    async def email_mime(request: Request) -> Response:
        return await email("mailgun", request)  # Mailgun sends the raw mail only to a URL that ends in `mime`

    del email_mime  # the router keeps it
    return router


@dataclass(frozen=True)
class _Provider:
    read: Callable[[Request], Awaitable[RawMail]]
    secrets: Sequence[str]
    setting: str


@dataclass(frozen=True)
class _Reception:
    """From a request to a mail, for each provider. They raise Refused, Malformed, Incomplete."""

    postmark_logins: Sequence[str]
    sendgrid_keys: Sequence[str]
    mailgun_keys: Sequence[str]
    seen: Callable[[str, str], Awaitable[bool]]
    now: Callable[[], float]

    def provider(self, name: str) -> _Provider:
        """How to read what this provider sends. Raises 404."""
        match name:
            case "postmark":
                return _Provider(self.from_postmark, self.postmark_logins, "POSTMARK_WEBHOOK_LOGIN")
            case "sendgrid":
                return _Provider(self.from_sendgrid, self.sendgrid_keys, "SENDGRID_WEBHOOK_PUBLIC_KEY")
            case "mailgun":
                return _Provider(self.from_mailgun, self.mailgun_keys, "MAILGUN_WEBHOOK_SIGNING_KEY")
            case _:
                raise HTTPException(404, "There is no such provider: it is postmark, sendgrid or mailgun.")

    async def from_postmark(self, request: Request) -> RawMail:
        verify_postmark(request.headers.get("authorization"), self.postmark_logins)
        return read_postmark(await bounded_body(request, postmark.MAX_BODY_BYTES))

    async def from_sendgrid(self, request: Request) -> RawMail:
        timestamp = request.headers.get(_TIMESTAMP)
        verify_sendgrid_time(timestamp, self.now())  # before anything large is read
        body = await bounded_body(request, sendgrid.MAX_BODY_BYTES)
        verify_sendgrid(body, timestamp, request.headers.get(_SIGNATURE), self.sendgrid_keys, self.now())
        return read_sendgrid(body, request.headers.get("content-type", ""))

    async def from_mailgun(self, request: Request) -> RawMail:
        body = await bounded_body(request, mailgun.MAX_BODY_BYTES)
        try:
            fields = read_form(body, request.headers.get("content-type", ""))
        except Malformed as error:  # the signature is one of the fields
            raise Refused("there is no form that could hold a signature") from error
        token = verify_mailgun(fields, self.mailgun_keys, self.now())
        mail = read_mailgun(fields)
        if await self.seen(token, mailgun_digest(fields)):
            raise Refused("the token was used for another mail")
        return mail


async def _answered(provider: str, reading: Awaitable[RawMail]) -> RawMail:
    """The mail, or the answer to a request that holds none that can be taken: 401, 400, 422."""
    try:
        return await reading
    except Refused as error:
        logger.warning("mail_webhook_refused", provider=provider, reason=str(error))
        WEBHOOKS.labels("email", "refused").inc()
        headers = {"WWW-Authenticate": "Basic"} if provider == "postmark" else None
        raise HTTPException(401, f"This is not proven to come from the provider: {error}.", headers) from error
    except (Malformed, Incomplete) as error:
        logger.warning("mail_webhook_not_read", provider=provider, reason=str(error))
        WEBHOOKS.labels("email", "failed").inc()
        raise HTTPException(422 if isinstance(error, Incomplete) else 400, str(error)) from error


async def _judged(provider: str, checking: Awaitable[Verdict]) -> Verdict:
    """The verdict; while there can be none, an answer after which the provider tries again (EM1)."""
    try:
        return await checking
    except CannotTell as error:
        logger.warning("mail_sender_not_checked", provider=provider, reason=str(error))
        WEBHOOKS.labels("email", "failed").inc()
        raise HTTPException(503, f"Not taken, please send it again: {error}.", {"Retry-After": _DNS_SECONDS}) from error
