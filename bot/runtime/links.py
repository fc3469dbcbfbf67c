"""Signed links to what is too long for a channel: a whole message, a tool's output. Reading only, and they run out."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from bot.core.values import ThreadId

LIFE_SECONDS = 30 * 86400
_TIME = re.compile(r"[0-9]{1,12}")
Subject = Literal["post", "artifact"]


@dataclass(frozen=True)
class Links:
    """Makes and checks the links."""

    public_url: str
    """Empty: there is no page to link to, and none is linked."""
    secret: bytes

    def to(self, subject: Subject, thread_id: ThreadId, name: str) -> str:
        """The address of a page, or an empty text."""
        if not self.public_url:
            return ""
        # Rounded to days, so that a card that is rendered again carries the same link.
        until = (int(time.time()) // 86400 + 1) * 86400 + LIFE_SECONDS
        signature = self._sign(subject, thread_id, name, until)
        return (
            f"{self.public_url}/view/{subject}/{thread_id}/{quote(name, safe='')}?until={until}&signature={signature}"
        )

    def allows(self, subject: str, thread_id: ThreadId, name: str, until: str, signature: str) -> bool:
        """Whether a link was made here and has not run out."""
        if not _TIME.fullmatch(until) or int(until) < time.time():
            return False
        expected = self._sign(subject, thread_id, name, int(until))
        return hmac.compare_digest(expected.encode(), signature.encode(errors="replace"))

    def _sign(self, subject: str, thread_id: ThreadId, name: str, until: int) -> str:
        payload = "\n".join((subject, thread_id, name, str(until))).encode()
        return hmac.new(self.secret, payload, hashlib.sha256).hexdigest()[:40]
