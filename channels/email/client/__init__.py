"""The only place that knows aiosmtplib, aioimaplib, dkim and dns.

`connection` hands in, `sending` is the channel, `trouble` reads errors, `imap` reads a mailbox, `dkim` checks senders.
"""

from __future__ import annotations

from channels.email.client.connection import SmtpPlace
from channels.email.client.dkim import DkimCheck
from channels.email.client.sending import EmailChannel

__all__ = ["DkimCheck", "EmailChannel", "SmtpPlace"]
