"""The simulated mail server of an organisation: its mailboxes, its people who write, and the bot it hands mail to."""

import asyncio
import smtplib
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from channels.email.simulator.faults import Faults
from channels.email.simulator.handing_on import Queue
from channels.email.simulator.listening import LOOPBACK, Listening
from channels.email.simulator.reception import Security
from channels.email.simulator.records import Mailbox, StoredMail
from channels.email.simulator.stamps import bare, stamped
from channels.email.simulator.store import Incoming, Store
from channels.email.simulator.writing import Draft, bounce, written
from channels.simulating import Subscription

_TIMEOUT_SECONDS = 10


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SimulatedMail:
    """Start it with `serve`.

    Mail to a mailbox is kept; mail to the bot (`bot+anything@…` too) goes on to `bot_host:bot_port` over SMTP, and
    waits while `bot_port` is None or nobody listens there; any other recipient is refused. `authserv_id` is the name
    that the server signs its findings with. Nothing is deduplicated: two copies are two mails.
    """

    def __init__(
        self,
        mailboxes: Iterable[Mailbox],
        *,
        bot_address: str,
        bot_host: str = LOOPBACK,
        bot_port: int | None = None,
        authserv_id: str = "mx.acme.example",
        security: Security | None = None,
        now: Callable[[], datetime] = _utc_now,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        save_to: Path | None = None,
    ) -> None:
        self.mailboxes = {one.address.lower(): one for one in mailboxes}
        self.bot_address = bot_address.lower()
        self.bot_host = bot_host
        self.bot_port = bot_port
        self.authserv_id = authserv_id
        self.security = security or Security()
        self.faults = Faults()
        self.store = Store(now, save_to)
        self.listening = Listening(self)
        self.queue = Queue(self.store, self._bot_place, authserv_id, sleep, self._give_back)
        self._now = now

    # --- what tests and a page look at

    @property
    def connections(self) -> int:
        """How many connections were made to the SMTP server since it was made."""
        return self.listening.connections

    def inbox(self, address: str) -> list[StoredMail]:
        """The mails of a mailbox, oldest first. Raises KeyError for an address that has none."""
        return self.store.of(self.mailboxes[address.lower()].address)

    def waiting(self) -> list[StoredMail]:
        """The mails that were not handed on to the bot yet."""
        return self.store.of(self.bot_address)

    def subscribe(self, after: int | None = None) -> Subscription | None:
        """Watch changes; see `Watched.subscribe`."""
        return self.store.subscribe(after)

    # --- what people do

    async def write(
        self,
        from_address: str,
        to: str,
        subject: str,
        text: str,
        *,
        html: str | None = None,
        headers: Mapping[str, str] | None = None,
        in_reply_to: StoredMail | None = None,
    ) -> str:
        """Write a mail as the person at `from_address` and hand it in over SMTP; gives its Message-ID.

        With `in_reply_to` an empty `to` and `subject` are taken from that mail, and it is quoted below the text. Raises
        KeyError for an address that has no mailbox, smtplib.SMTPException where the server does not take it.
        """
        author = self.mailboxes[from_address.lower()]
        draft = Draft(author, text, to=to, subject=subject, html=html, headers=headers, in_reply_to=in_reply_to)
        message = written(draft, message_id=self._message_id(), at=self._now())
        recipients = [one.addr_spec for one in message["To"].addresses]
        await self.submit(message.as_bytes(), mail_from=author.address, rcpt_to=recipients)
        return str(message["Message-ID"])

    async def submit(self, raw: bytes, *, mail_from: str, rcpt_to: list[str]) -> None:
        """Hand in a mail as it is, over SMTP. Raises smtplib.SMTPException, OSError."""
        await asyncio.to_thread(self._submit, raw, mail_from, rcpt_to)

    async def send_back(self, mail: StoredMail, *, status: str = "5.1.1", why: str = "550 5.1.1 User unknown") -> None:
        """Find only now that a mail cannot be delivered: it leaves its mailbox, and its envelope sender is told."""
        self.store.remove(mail, "bounced")
        self._give_back(mail, why, status)

    # --- weather

    async def go_down(self) -> None:
        """Nobody answers any more, and whoever was connected is cut off."""
        await self.listening.stop()

    async def come_back(self) -> None:
        """Answer again, on the same port."""
        await self.listening.start(self.listening.port)

    # --- what the reception asks

    def takes_mail_for(self, address: str) -> bool:
        """Whether this address is one of ours."""
        return address.lower() in self.mailboxes or bare(address) == self.bot_address

    def take(self, raw: bytes, *, mail_from: str, rcpt_to: str, helo: str) -> None:
        """Keep a mail for one recipient, or carry it on to the bot."""
        number = self.store.next_number()
        mail = stamped(
            raw,
            authserv_id=self.authserv_id,
            own_addresses=frozenset({*self.mailboxes, self.bot_address}),
            mail_from=mail_from,
            rcpt_to=rcpt_to,
            helo=helo,
            number=number,
            at=self._now(),
        )
        if rcpt_to.lower() in self.mailboxes:
            self.store.add(number, Incoming(rcpt_to.lower(), mail, mail_from, rcpt_to), "arrived")
            return
        self.queue.add(self.store.add(number, Incoming(self.bot_address, mail, mail_from, rcpt_to), "queued"))

    def _bot_place(self) -> tuple[str, int] | None:
        return (self.bot_host, self.bot_port) if self.bot_port else None

    def _give_back(self, mail: StoredMail, why: str, status: str = "5.0.0") -> None:
        if not mail.mail_from or not self.takes_mail_for(mail.mail_from):
            return  # a bounce never bounces
        raw = bounce(
            mail, authserv_id=self.authserv_id, status=status, why=why, message_id=self._message_id(), at=self._now()
        )
        self.take(raw, mail_from="", rcpt_to=mail.mail_from, helo=self.authserv_id)

    def _message_id(self) -> str:
        return f"<{self.store.next_number()}.{int(self._now().timestamp() * 1_000)}@{self.authserv_id}>"

    def _submit(self, raw: bytes, mail_from: str, rcpt_to: list[str]) -> None:
        security = self.security
        context = _trusting_itself()
        at = (LOOPBACK, self.listening.port)
        made = (
            smtplib.SMTP_SSL(*at, context=context, timeout=_TIMEOUT_SECONDS, local_hostname="[127.0.0.1]")
            if security.tls == "tls"
            else smtplib.SMTP(*at, timeout=_TIMEOUT_SECONDS, local_hostname="[127.0.0.1]")
        )
        with made as smtp:
            if security.tls == "starttls":
                smtp.starttls(context=context)
            if security.password:
                smtp.login(mail_from, security.password)
            smtp.sendmail(mail_from, rcpt_to, raw)


def _trusting_itself() -> ssl.SSLContext:
    """For the server's own people on its own loopback port: whose certificate it is needs no proof."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
