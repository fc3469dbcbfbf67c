"""Keeps secrets out of what the model, people and logs get to see. Pattern work on text; it never decides anything."""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "[secret]"

_PATTERNS = (
    re.compile(r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    re.compile(r"xapp-[A-Za-z0-9-]{10,}"),
    re.compile(r"sk-[A-Za-z0-9_-]{20,}"),
    re.compile(r"gh[pousr]_[A-Za-z0-9]{20,}"),
    re.compile(r"github_pat_[A-Za-z0-9_]{20,}"),
    re.compile(r"glpat-[A-Za-z0-9_-]{16,}"),
    re.compile(r"(?:AKIA|ASIA)[A-Z0-9]{16}"),
    re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
)
_ASSIGNMENT = re.compile(
    r"(?i)\b([\w-]*(?:password|passwd|secret|token|api[_-]?key))(\s*[=:]\s*)(\"[^\"]+\"|'[^']+'|[^\s,;&]{6,})"
)
_URL_PASSWORD = re.compile(r"(\w+://[^/\s:@]*:)[^@\s/]+(@)")


def redact(text: str, known: Iterable[str] = ()) -> str:
    """The text with everything that looks like a secret, and every known one, replaced by `[secret]`."""
    for secret in known:
        if len(secret) >= 8:  # noqa: PLR2004 shorter ones would hide ordinary words
            text = text.replace(secret, HIDDEN)
    for pattern in _PATTERNS:
        text = pattern.sub(HIDDEN, text)
    text = _ASSIGNMENT.sub(lambda match: f"{match[1]}{match[2]}{HIDDEN}", text)
    return _URL_PASSWORD.sub(rf"\1{HIDDEN}\2", text)
