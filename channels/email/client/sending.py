"""Email, as a channel: a post becomes one mail to one person (EM23). Retries belong to the outbox."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from email.message import EmailMessage

import structlog

from bot.core.protocols import Delivered, DeliveryError, Outgoing
from bot.core.values import Conversation
from bot.core.views import CardView
from channels.email.client.connection import Connection, SmtpPlace
from channels.email.client.trouble import STOPPED_SECONDS, Broken, Refused, delivery_error
from channels.email.compose import compose, compose_notice, plain_address, reply_address
from channels.email.record import CHANNEL
from channels.email.render import render
from channels.email.trail import Trail

logger = structlog.get_logger(__name__)


class EmailChannel:
    """Email, as a channel. Raises ValueError for a `sender` that is no address."""

    def __init__(self, smtp: SmtpPlace, sender: str, *, now: Callable[[], datetime]) -> None:
        self._place = smtp
        self._sender = plain_address(sender)
        self._now = now
        self._connection = Connection(smtp, self._sender.rpartition("@")[2], now)
        self._stopped_until: datetime | None = None

    @property
    def name(self) -> str:
        """The prefix of its addresses."""
        return CHANNEL

    def is_shared(self, conversation: Conversation) -> bool:  # noqa: ARG002 the seam has it
        """Each person has a mail of their own."""
        return False

    async def deliver(self, outgoing: Outgoing) -> Delivered:
        """Send a mail, or another one below it. Raises DeliveryError.

        A mail cannot be looked for at its recipient, so one that is in doubt is sent again as the same mail: whoever
        got it already has it twice with one Message-ID, which most mail programs show once.
        """
        view = outgoing.view
        if outgoing.ref and isinstance(view, CardView) and view.open and not view.status:
            return Delivered(outgoing.ref)  # what was sent still says how it is
        try:
            message = compose(outgoing, render(outgoing), self._sender, self._now())
        except ValueError as error:
            raise DeliveryError(f"not sent: {error}") from None
        back = reply_address(self._sender, outgoing.bounce_token) if outgoing.bounce_token else self._sender
        await self._send(message, back)
        # What follows stands below the first mail, which is the one that was asked with.
        return Delivered(outgoing.ref or str(message["Message-ID"]))

    async def notice(self, to: str, subject: str, text: str, *, in_reply_to: Trail, seed: str) -> None:
        """Send a receipt that belongs to no thread (EM16). Raises DeliveryError."""
        try:
            message = compose_notice(
                to, subject, text, sender=self._sender, in_reply_to=in_reply_to, now=self._now(), seed=seed
            )
        except ValueError as error:
            raise DeliveryError(f"not sent: {error}") from None
        await self._send(message, self._sender)

    async def ping(self) -> dict[str, str | bool]:
        """Log in and ask whether the server listens; gives `host`, `tls`, `authenticated`. Raises DeliveryError."""
        try:
            authenticated = await self._connection.check()
        except (Refused, Broken) as trouble:
            raise delivery_error(trouble) from None
        self._stopped_until = None
        return {
            "host": f"{self._place.host}:{self._place.port}",
            "tls": self._place.tls,
            "authenticated": authenticated,
        }

    async def close(self) -> None:
        """Let go of the connection."""
        await self._connection.close()

    async def _send(self, message: EmailMessage, back: str) -> None:
        now = self._now()
        if self._stopped_until and now < self._stopped_until:
            raise DeliveryError("stopped: the mail server refused the login", retry_seconds=STOPPED_SECONDS)
        try:
            # Bounces come back to the address that names the post (EM17).
            await self._connection.send(back, str(message["To"]), message.as_bytes())
        except (Refused, Broken) as trouble:
            if isinstance(trouble, Refused) and trouble.says_login_is_wrong:
                self._stopped_until = now + timedelta(seconds=STOPPED_SECONDS)
                logger.error("email_channel_stopped", host=self._place.host, code=trouble.code)  # noqa: TRY400
            raise delivery_error(trouble) from None
        self._stopped_until = None
