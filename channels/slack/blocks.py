"""The smallest parts of Block Kit that the bot makes. Pure."""

from __future__ import annotations

from typing import Any

Block = dict[str, Any]


def section(text: str) -> Block:
    """A paragraph of mrkdwn."""
    return {"type": "section", "text": mrkdwn(text)}


def context_line(text: str) -> Block:
    """A small grey line of mrkdwn."""
    return {"type": "context", "elements": [mrkdwn(text)]}


def mrkdwn(text: str) -> Block:
    """A text with mark-up, already escaped.

    Verbatim, because Slack would else turn bare names and addresses in other people's text into mentions and links.
    """
    return {"type": "mrkdwn", "text": text or " ", "verbatim": True}


def plain(text: str) -> Block:
    """A text as it stands, never empty: Slack takes no empty one."""
    return {"type": "plain_text", "text": text if text.strip() else "…", "emoji": False}
