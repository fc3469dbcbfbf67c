"""The digest that an approval binds (AP3): the exact action, and nothing that could be read two ways."""

from __future__ import annotations

import hashlib
import json

from bot.core.state import Call
from bot.core.values import ThreadId


def digest_of(thread_id: ThreadId, call: Call) -> str:
    """SHA-256 (hex) over tool name, canonical exact arguments, thread and call."""
    action = {"tool": call.tool, "arguments": call.exact_arguments, "thread": thread_id, "call": call.id}
    canonical = json.dumps(action, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
