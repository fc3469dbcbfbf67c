"""What a server's answer, or its silence, means for a mail (EM22).

An error says a code and what was being done. A server's own words may repeat a recipient or a body: they are dropped.
"""

from __future__ import annotations

import re
import ssl
from typing import Literal

import aiosmtplib

from bot.core.protocols import DeliveryError

Step = Literal["connect", "login", "sender", "recipient", "data", "check"]

STOPPED_SECONDS = 900.0
_RETRY_SECONDS = 60.0
_MISCONFIGURED_SECONDS = 300.0
_PASSING = range(400, 500)
_NO_SUCH_MAILBOX = range(550, 554)
_NOT_AUTHENTICATED = frozenset((530, 534, 535, 538))
_STATUS = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_ABOUT_THE_SENDER = frozenset(("5.1.7", "5.1.8"))


class Refused(Exception):  # noqa: N818 the server's word, before anybody has judged it
    """The server said no. `status` is the enhanced one (RFC 3463), such as `5.1.1`, or empty."""

    def __init__(self, step: Step, code: int, status: str) -> None:
        super().__init__(f"{step}: {code} {status}".strip())
        self.step: Step = step
        self.code = code
        self.status = status

    @property
    def says_login_is_wrong(self) -> bool:
        """Nothing will get through before somebody has mended the settings."""
        return self.code in _NOT_AUTHENTICATED and self.step != "data"


class Broken(Exception):  # noqa: N818 as above
    """The connection did not come about, or broke."""

    def __init__(self, step: Step, what: str) -> None:
        super().__init__(f"{step}: {what}")
        self.step: Step = step


def heard(error: Exception, step: Step) -> Refused | Broken:
    """What a client's error is about."""
    if isinstance(error, aiosmtplib.SMTPResponseException) and error.code > 0:
        found = _STATUS.match(error.message)
        return Refused(step, error.code, found[1] if found else "")
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return Broken(step, "the certificate is not trusted, or TLS failed")
    if isinstance(error, TimeoutError):
        return Broken(step, "timed out")
    if isinstance(error, ConnectionError | OSError):
        return Broken(step, "connection lost" if step != "connect" else "no connection")
    # What is left is a server that does not offer what the settings ask for: TLS, or a way to log in.
    return Broken(step, "the server does not offer what the settings ask for")


def delivery_error(trouble: Refused | Broken) -> DeliveryError:
    """What is to become of the mail."""
    text = str(trouble)
    if isinstance(trouble, Broken):
        # After DATA the mail may have been taken; only its Message-ID tells the two apart.
        return DeliveryError(text, retry_seconds=_RETRY_SECONDS, in_doubt=trouble.step == "data")
    if trouble.says_login_is_wrong:
        return DeliveryError(text, retry_seconds=STOPPED_SECONDS)
    if trouble.code in _PASSING:
        return DeliveryError(text, retry_seconds=_RETRY_SECONDS)
    if trouble.step in {"connect", "login", "check"}:
        return DeliveryError(text, retry_seconds=_MISCONFIGURED_SECONDS)  # not about this mail: none would get through
    return DeliveryError(text, undeliverable=_is_about_the_mailbox(trouble))


def _is_about_the_mailbox(refused: Refused) -> bool:
    if refused.step == "sender" or refused.status in _ABOUT_THE_SENDER:
        return False
    if refused.status:
        # 5.7.x (policy, relaying, spam) and the like say nothing about whether the mailbox exists.
        mailbox = refused.status.startswith(("5.1.", "5.2.")) if refused.step == "recipient" else False
        return mailbox or refused.status.startswith("5.1.")
    return refused.step == "recipient" and refused.code in _NO_SUCH_MAILBOX
