"""The only place that knows aiosmtplib: `connection` hands in, `sending` is the channel, `trouble` reads errors."""

from __future__ import annotations

from channels.email.client.connection import SmtpPlace
from channels.email.client.sending import EmailChannel

__all__ = ["EmailChannel", "SmtpPlace"]
