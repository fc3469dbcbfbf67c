"""What the simulated mail server keeps: mailboxes, and the mails in them."""

import email
import email.policy
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A person's mailbox."""

    address: str
    name: str


@dataclass(frozen=True)
class StoredMail:
    """A mail as it lies in a mailbox, or in the queue to the bot."""

    number: int
    """Unique and growing; never used again."""
    owner: str
    """The mailbox, lowercase; the bot's address for a mail that waits to be handed on."""
    raw: bytes
    received_at: datetime
    mail_from: str
    """The envelope sender; empty for a bounce."""
    rcpt_to: str
    """The envelope recipient, with its token."""

    @cached_property
    def headers(self) -> EmailMessage:
        """The mail, parsed."""
        return email.message_from_bytes(self.raw, policy=email.policy.default)

    @property
    def subject(self) -> str:
        """Decoded."""
        return str(self.headers["Subject"] or "")

    @property
    def message_id(self) -> str:
        """With its angle brackets."""
        return str(self.headers["Message-ID"] or "").strip()

    @property
    def text(self) -> str:
        """The plain part, decoded; empty where there is none."""
        return self._part("plain")

    @property
    def html(self) -> str:
        """The HTML part, decoded; empty where there is none."""
        return self._part("html")

    def _part(self, kind: str) -> str:
        part = self.headers.get_body((kind,))
        return part.get_content() if part else ""
