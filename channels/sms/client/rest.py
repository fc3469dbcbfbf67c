"""Sends texts through Twilio's own client, and reads what came in while nobody listened.

Retries belong to the outbox. Nothing here logs a number, a text or a code; errors carry Twilio's codes only.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import quote

from twilio.rest import Client

from bot.core.protocols import CodeBook, Delivered, DeliveryError, Outgoing
from bot.core.values import Conversation
from bot.core.views import CardView, WhisperView
from channels.sms.client.errors import LOST, delivery_error
from channels.sms.client.http import PointedHttpClient
from channels.sms.receive import CHANNEL, SmsText, address_of, is_number, read_text
from channels.sms.render import render, render_notice, wants_code

_PAGE, _MAX_PAGES = 100, 10
"""How much of the message list is read at most."""
_MIN_VALIDITY, _MAX_VALIDITY = 1, 36_000
"""Seconds that Twilio takes (21624)."""
_RETRY_SECONDS = 5.0
_CLOCKS_APART = timedelta(minutes=2)
_LINK = re.compile(r"https?://\S+")


class SmsChannel:
    """Text messages, as a channel."""

    def __init__(
        self, client: Client, from_number: str, *, status_url: str, codes: CodeBook, now: Callable[[], datetime]
    ) -> None:
        self._api: Any = client  # for calls: the SDK's annotations are incomplete
        self._from = from_number
        self._status_url = status_url
        self._codes = codes
        self._now = now

    @classmethod
    def at(
        cls,
        api_url: str,
        account_sid: str,
        auth_token: str,
        from_number: str,
        *,
        status_url: str,
        codes: CodeBook,
        now: Callable[[], datetime],
    ) -> SmsChannel:
        """A channel that talks to this address for this account. `status_url`: where Twilio reports; empty: nowhere."""
        # Without an environment of its own the SDK reads the process's.
        nothing = {"TWILIO_REGION": ""}
        client = Client(account_sid, auth_token, http_client=PointedHttpClient(api_url), environment=nothing)
        return cls(client, from_number, status_url=status_url, codes=codes, now=now)

    @property
    def name(self) -> str:
        """The prefix of its addresses."""
        return CHANNEL

    def is_shared(self, conversation: Conversation) -> bool:  # noqa: ARG002 the seam has it
        """A phone is one person's: others get texts of their own."""
        return False

    async def deliver(self, outgoing: Outgoing) -> Delivered:
        """Send a text. A card that is still open and has nothing new to say is not sent again. Raises DeliveryError."""
        view = outgoing.view
        if outgoing.ref and isinstance(view, CardView) and view.open and not view.status:
            return Delivered(outgoing.ref)
        number = _number_of(outgoing)
        outgoing = replace(outgoing, to=address_of(number))
        body = render(outgoing, await self._code(outgoing))
        if outgoing.in_doubt and (found := await self._find(number, body, outgoing.asked_at)):
            return Delivered(found, tracked=bool(self._status_url))
        optional: dict[str, object] = {}
        if isinstance(view, CardView) and view.open and view.expires_at is not None:
            optional["validity_period"] = self._validity(view.expires_at)
        if self._status_url:
            optional["status_callback"] = f"{self._status_url}?post={quote(outgoing.post_id, safe='')}"
        sid = await self._send(number, body, **optional)
        return Delivered(sid, tracked=bool(self._status_url))

    async def notice(self, number: str, text: str) -> None:
        """Tell a number something, outside of any thread. Raises DeliveryError."""
        await self._send(number, render_notice(text))

    async def recent_inbound(self, since: datetime) -> list[SmsText]:
        """Texts that Twilio took for us since then, the oldest first: webhooks may have been missed.

        At most the newest 1,000 of the list are looked at. Raises DeliveryError.
        """
        found: list[SmsText] = []
        async with aclosing(self._listed(since, to=self._from)) as listed:
            async for message in listed:
                text = _as_text(message) if message.direction == "inbound" else None
                if text:
                    found.append(text)
        return found[::-1]

    async def ping(self) -> dict[str, str]:
        """The account that the token belongs to: `name`, `status`. Raises DeliveryError."""
        try:
            account: Any = await self._api.api.accounts(self._api.account_sid).fetch_async()
        except LOST as error:
            raise delivery_error(error, writes=False) from None
        return {"name": str(account.friendly_name or ""), "status": str(account.status or "")}

    async def close(self) -> None:
        """Let go of connections."""
        await self._api.http_client.close()

    async def _code(self, outgoing: Outgoing) -> str:
        view = outgoing.view
        if not isinstance(view, CardView) or not wants_code(outgoing):
            return ""
        until = None if view.expires_at is None else datetime.fromtimestamp(view.expires_at, UTC)
        return await self._codes.issue(outgoing.to, outgoing.post_id, view.request_id, until)

    def _validity(self, expires_at: float) -> int:
        left = int(expires_at - self._now().timestamp())  # rounded down: a text must not outlive its request (SM10)
        return max(_MIN_VALIDITY, min(_MAX_VALIDITY, left))

    async def _send(self, number: str, body: str, **optional: object) -> str:
        try:
            message: Any = await self._api.messages.create_async(
                to=number, from_=self._from, body=body, **cast("dict[str, Any]", optional)
            )
        except LOST as error:
            # Not `from error`: what the SDK raises may hold the answer, and with it the number and the text.
            raise delivery_error(error, writes=True) from None
        if not message.sid:
            raise DeliveryError("Twilio answered without a sid", retry_seconds=_RETRY_SECONDS, in_doubt=True)
        return str(message.sid)

    async def _find(self, number: str, body: str, asked_at: datetime) -> str | None:
        """The sid of a text that says the same, sent since then: Twilio knows no idempotency key.

        Links are left out of the comparison, because they are signed anew. Where the list cannot be read, the post
        stays in doubt.
        """
        try:
            async with aclosing(self._listed(asked_at - _CLOCKS_APART, to=number, from_=self._from)) as listed:
                async for message in listed:
                    if _without_links(str(message.body or "")) == _without_links(body):
                        return str(message.sid)
        except DeliveryError as error:
            raise DeliveryError(error.error, retry_seconds=error.retry_seconds, in_doubt=True) from None
        return None

    async def _listed(self, since: datetime, **filters: str) -> AsyncGenerator[Any]:
        """Messages of the list, the newest first, until they are older than `since`.

        The list is not filtered by date: Twilio's filter goes by days, and by a date that a queued text has not yet.
        """
        try:
            page: Any = await self._api.messages.page_async(page_size=_PAGE, **filters)
            for _ in range(_MAX_PAGES):
                for message in page:
                    if message.date_created is not None and message.date_created < since.replace(microsecond=0):
                        return
                    yield message
                page = await page.next_page_async()
                if page is None:
                    return
        except LOST as error:
            raise delivery_error(error, writes=False) from None


def _number_of(outgoing: Outgoing) -> str:
    view = outgoing.view
    wanted = view.address if isinstance(view, WhisperView) else ""
    address = next((one for one in (wanted, outgoing.to) if one.startswith(f"{CHANNEL}:")), "")
    number = address.removeprefix(f"{CHANNEL}:") or outgoing.conversation.ref
    if not is_number(number):
        raise DeliveryError("not a phone number", undeliverable=True)
    return number


def _as_text(message: Any) -> SmsText | None:  # noqa: ANN401 the SDK's record
    return read_text(
        {
            "From": str(message.from_ or ""),
            "To": str(message.to or ""),
            "Body": str(message.body or ""),
            "MessageSid": str(message.sid or ""),
            "NumMedia": str(message.num_media or "0"),
        }
    )


def _without_links(body: str) -> str:
    return _LINK.sub("", body)
