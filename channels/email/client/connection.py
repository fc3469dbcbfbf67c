"""One SMTP connection, kept for a while and never with less protection than the settings say (EM21)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

import aiosmtplib

from channels.email.client.trouble import Step, heard

IDLE = timedelta(seconds=30)
"""A connection that was not used for so long is not used again: middleboxes forget it without a word."""
MAX_MAILS = 100
"""Servers limit how many mails a connection may bring."""


@dataclass(frozen=True)
class SmtpPlace:
    """Where mail is handed in, and as whom."""

    host: str
    port: int
    username: str
    """Empty: without login."""
    password: str = field(repr=False)
    tls: Literal["starttls", "tls", "none"]
    """`none` sends in the clear, also the password: for a relay on the same machine or network."""
    timeout_seconds: float = 20.0


class Connection:
    """Hands in mail, one at a time. Every failure is a Refused or a Broken."""

    def __init__(self, place: SmtpPlace, own_name: str, now: Callable[[], datetime]) -> None:
        self._place = place
        self._own_name = own_name
        self._now = now
        self._lock = asyncio.Lock()
        self._smtp: aiosmtplib.SMTP | None = None
        self._used_at = now()
        self._mails = 0

    async def send(self, mail_from: str, rcpt_to: str, raw: bytes) -> None:
        """Hand in one mail. Raises Refused, Broken."""
        async with self._lock:
            smtp = await self._ready()
            async with self._whole():
                with _step("sender"):
                    sized = smtp.supports_extension("size")
                    await smtp.mail(mail_from, options=[f"SIZE={len(raw)}"] if sized else [])
                with _step("recipient"):
                    await smtp.rcpt(rcpt_to)
                with _step("data"):
                    await smtp.data(raw)
            self._mails += 1
            self._used_at = self._now()

    async def check(self) -> bool:
        """Whether the server answers and takes the login; gives whether one was made. Raises Refused, Broken."""
        async with self._lock:
            smtp = await self._ready()
            async with self._whole():
                with _step("check"):
                    await smtp.noop()
        return bool(self._place.username)

    async def close(self) -> None:
        """Let go, politely where the server still listens."""
        async with self._lock:
            await self._let_go()

    async def _ready(self) -> aiosmtplib.SMTP:
        """A connection that works and has no mail half handed in."""
        smtp = self._smtp
        if smtp and smtp.is_connected and self._mails < MAX_MAILS and self._now() - self._used_at <= IDLE:
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await smtp.rset()
                return smtp
        await self._let_go()
        return await self._open()

    async def _open(self) -> aiosmtplib.SMTP:
        place = self._place
        smtp = aiosmtplib.SMTP(
            hostname=place.host,
            port=place.port,
            timeout=place.timeout_seconds,
            local_hostname=self._own_name,
            use_tls=place.tls == "tls",
            start_tls=place.tls == "starttls",  # never None, which would go on in the clear
        )
        self._smtp, self._mails = smtp, 0
        async with self._whole():
            with _step("connect"):
                await smtp.connect()
            with _step("login"):
                if place.username:
                    await smtp.login(place.username, place.password)
        self._used_at = self._now()
        return smtp

    @asynccontextmanager
    async def _whole(self) -> AsyncGenerator[None]:
        """Whatever stops the block in the middle, a cancellation too, ends the connection: nobody may go on with it."""
        done = False
        try:
            yield
            done = True
        finally:
            if not done:
                self._drop()

    async def _let_go(self) -> None:
        smtp = self._smtp
        if smtp and smtp.is_connected:
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await smtp.quit(timeout=min(5.0, self._place.timeout_seconds))
        self._drop()

    def _drop(self) -> None:
        if self._smtp:
            self._smtp.close()
        self._smtp = None


@contextmanager
def _step(step: Step) -> Generator[None]:
    try:
        yield
    except (aiosmtplib.SMTPException, OSError) as error:
        raise heard(error, step) from None  # the chain would carry the server's words into a log
