"""The webhooks of mail providers: verify, then read, in this order (EM1, EM2). Pure: bytes in, a RawMail out."""

from __future__ import annotations

from channels.email.providers.errors import Incomplete, Malformed, Refused
from channels.email.providers.mailgun import mailgun_digest, read_mailgun, verify_mailgun
from channels.email.providers.postmark import read_postmark, verify_postmark
from channels.email.providers.sendgrid import read_sendgrid, verify_sendgrid, verify_sendgrid_time

__all__ = [
    "Incomplete",
    "Malformed",
    "Refused",
    "mailgun_digest",
    "read_mailgun",
    "read_postmark",
    "read_sendgrid",
    "verify_mailgun",
    "verify_postmark",
    "verify_sendgrid",
    "verify_sendgrid_time",
]
