"""Reads a mailbox: every unseen mail is taken, and marked as seen after that (EM6). It never deletes anything.

The mailbox itself says what is still to be done, so there is nothing to remember: whatever goes wrong, the connection
is made anew and asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from bot.core.protocols import StoreUnavailable
from channels.email.client.imap_session import ImapPlace, ImapSession, MailboxError
from channels.email.record import RawMail

__all__ = ["ImapMailbox", "ImapPlace", "MailboxError"]

logger = structlog.get_logger(__name__)

_Key = tuple[int, int]
"""UIDVALIDITY and UID: a UID alone means another mail once the mailbox was made anew."""


class ImapMailbox:
    """One mailbox, read for as long as it runs. Several may read the same one: each mail counts once anyway."""

    def __init__(
        self,
        place: ImapPlace,
        take: Callable[[RawMail], Awaitable[object]],
        *,
        idle_seconds: float = 25 * 60.0,
        poll_seconds: float = 60.0,
        backoff_seconds: tuple[float, float] = (1.0, 300.0),
        drain_seconds: float = 10.0,
    ) -> None:
        self._place = place
        self._take = take
        self._idle_seconds = idle_seconds
        self._poll_seconds = poll_seconds
        self._backoff_seconds = backoff_seconds
        self._drain_seconds = drain_seconds
        self._taken: set[_Key] = set()
        """Taken, but not yet marked as seen."""
        self._refused: set[_Key] = set()
        """They broke `take`. They stay unseen, for a person to look at, and are tried again by the next process."""

    async def ping(self) -> tuple[str, ...]:
        """Connect, log in, select, and let go. Gives the server's capabilities. Raises MailboxError."""
        session = await ImapSession.open(self._place)
        await session.close()
        return session.capabilities

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop`. No trouble with the server or the store ends it."""
        shortest, longest = self._backoff_seconds
        delay = shortest
        while not stop.is_set():
            reading = asyncio.create_task(self._read(stop))
            began = asyncio.get_running_loop().time()
            try:
                await self._watch(reading, stop)
            except (MailboxError, StoreUnavailable) as error:
                if asyncio.get_running_loop().time() - began > 2 * delay:
                    delay = shortest  # it went well for a while
                why = str(error) if isinstance(error, MailboxError) else "the store does not answer"
                logger.warning("mailbox_lost", host=self._place.host, why=why, again_in_seconds=delay)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), delay)
                delay = min(2 * delay, longest)

    async def _watch(self, reading: asyncio.Task[None], stop: asyncio.Event) -> None:
        """Let a connection run; after `stop`, let the mail in hand come to its end."""
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await asyncio.wait({reading}, timeout=self._drain_seconds)
        finally:
            stopping.cancel()
            reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading

    async def _read(self, stop: asyncio.Event) -> None:
        session = await ImapSession.open(self._place)
        logger.info("mailbox_open", host=self._place.host, idle="IDLE" in session.capabilities)
        try:
            while not stop.is_set():
                session.news.clear()  # before it asks: what comes in meanwhile is asked for again
                if not await self._sweep(session, stop) and not session.news.is_set():
                    await session.wait_for_news(stop, idle_seconds=self._idle_seconds, poll_seconds=self._poll_seconds)
            await session.close()
        finally:
            session.drop()

    async def _sweep(self, session: ImapSession, stop: asyncio.Event) -> bool:
        """Take what is unseen, the oldest first. Gives whether there was anything to do."""
        keys = [(session.uid_validity, uid) for uid in await session.unseen()]
        self._taken.intersection_update(keys)
        self._refused.intersection_update(keys)
        worked = False
        for key in keys:
            if stop.is_set() or key in self._refused:
                continue
            worked = True
            if key not in self._taken and not await self._take_one(session, key):
                continue
            self._taken.add(key)
            await session.mark_seen(key[1])
            self._taken.discard(key)
        return worked

    async def _take_one(self, session: ImapSession, key: _Key) -> bool:
        """Whether the mail was taken. Raises StoreUnavailable, MailboxError."""
        raw = await session.fetch(key[1])
        if raw is None:  # somebody else deleted it, or the server does not give it away
            logger.warning("mail_not_given", uid_validity=key[0], uid=key[1])
            self._refused.add(key)
            return False
        try:
            await self._take(RawMail(raw=raw, way="imap"))
        except StoreUnavailable:
            raise
        except Exception:  # one mail never stands in the way of the others
            logger.exception("mail_not_taken", way="imap", uid_validity=key[0], uid=key[1])
            self._refused.add(key)
            return False
        return True
