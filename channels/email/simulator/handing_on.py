"""Brings mail for the bot to its own listener, as a mail server does: again and again, then back to the sender."""

import asyncio
import smtplib
from collections.abc import Awaitable, Callable
from typing import Literal

from channels.email.simulator.records import StoredMail
from channels.email.simulator.store import Store

PAUSES_SECONDS = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0, *([300.0] * 12))
"""Between attempts; after the last the mail goes back."""
_TIMEOUT_SECONDS = 10
_PERMANENT = 500
Outcome = tuple[Literal["handed_on", "delayed", "refused"], str]
"""What became of an attempt, and the listener's words."""


class Queue:
    """Mails on their way to the bot, each on its own."""

    def __init__(
        self,
        store: Store,
        place: Callable[[], tuple[str, int] | None],
        own_name: str,
        sleep: Callable[[float], Awaitable[object]],
        give_back: Callable[[StoredMail, str], None],
    ) -> None:
        self._store = store
        self._place = place
        self._own_name = own_name
        self._sleep = sleep
        self._give_back = give_back
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, mail: StoredMail) -> None:
        """Carry a mail, from now on."""
        task = asyncio.get_running_loop().create_task(self._carry(mail))
        self._tasks.add(task)
        self._idle.clear()
        task.add_done_callback(self._done)

    async def until_empty(self) -> None:
        """Wait until every mail was handed on or went back."""
        await self._idle.wait()

    async def close(self) -> None:
        """Stop carrying. What was not handed on stays in the store."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._idle.set()
        if not task.cancelled():
            task.result()

    async def _carry(self, mail: StoredMail) -> None:
        why = ""
        for pause in (0.0, *PAUSES_SECONDS):
            if pause:
                self._store.about(mail, "delayed")
                await self._sleep(pause)
            outcome, why = await self._attempt(mail)
            if outcome == "handed_on":
                self._store.remove(mail, "handed_on")
                return
            if outcome == "refused":
                break
        self._store.remove(mail, "bounced")
        self._give_back(mail, why)

    async def _attempt(self, mail: StoredMail) -> Outcome:
        place = self._place()
        if place is None:
            return "delayed", "nobody listens yet"
        return await asyncio.to_thread(_hand_on, mail, place, self._own_name)


def _hand_on(mail: StoredMail, place: tuple[str, int], own_name: str) -> Outcome:
    try:
        with smtplib.SMTP(*place, local_hostname=own_name, timeout=_TIMEOUT_SECONDS) as smtp:
            smtp.sendmail(mail.mail_from, [mail.rcpt_to], mail.raw)
    except smtplib.SMTPRecipientsRefused as error:
        code, words = error.recipients[mail.rcpt_to]
        return _refused(code, words)
    except smtplib.SMTPResponseException as error:
        return _refused(error.smtp_code, error.smtp_error)
    except (smtplib.SMTPException, OSError) as error:
        return "delayed", type(error).__name__
    return "handed_on", ""


def _refused(code: int, words: bytes | str) -> Outcome:
    text = words.decode("ascii", "replace") if isinstance(words, bytes) else words
    return "refused" if code >= _PERMANENT else "delayed", f"{code} {' '.join(text.split())}"
