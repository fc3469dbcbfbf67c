"""The dialogs that a card opens: a reason, a question, a changed call (SL16). Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bot.core.editing import Field
from bot.core.wording import cut
from channels.slack.blocks import Block, plain, section
from channels.slack.mrkdwn import cut_escaped, escape

_MAX_INPUT = 3_000
"""What Slack takes in one field of a dialog."""


@dataclass(frozen=True)
class Place:
    """The card that a dialog was opened from; it comes back with what was typed."""

    request_id: str
    channel: str
    root_ts: str
    ref: str


def deny_modal(place: Place, title: str) -> Block:
    """The dialog that asks for the reason of a denial."""
    about = "If you deny, nothing runs. The agent reads your reason and may propose something else."
    reason = _input(
        "reason", "Reason", hint="For example: use v1.3.9, 1.4.0 has a broken migration", optional=True, limit=1_000
    )
    return _modal(("deny", "Deny", "Deny"), place, f"*{_title_of(title)}*\n{about}", [reason])


def ask_modal(place: Place, title: str) -> Block:
    """The dialog that takes a question to the agent."""
    about = "This card closes. The agent answers your question, and you are asked again with its answer."
    question = _input("question", "Question", limit=1_000)
    return _modal(("ask", "Ask first", "Ask"), place, f"*{_title_of(title)}*\n{about}", [question])


def edit_modal(place: Place, title: str, fields: tuple[Field, ...]) -> Block:
    """The dialog that changes a call before it is approved (AP13)."""
    about = (
        "This card closes, and the changed call is checked and ruled on anew: it is put to those who may approve it, "
        "or runs; if it cannot, the call is put to them as it was. Where four eyes are needed, somebody else than you "
        "has to approve it."
    )
    inputs = [
        _input(
            f"argument:{one.name}",
            one.name,
            initial=one.text,
            hint=one.about,
            optional=not one.required,
            limit=_MAX_INPUT,
        )
        for one in fields[:20]
    ]
    return _modal(("edit", "Change it", "Change it"), place, f"*{_title_of(title)}*\n{about}", inputs)


def _title_of(title: str) -> str:
    return cut_escaped(escape(title), 500)


def _modal(named: tuple[str, str, str], place: Place, about: str, inputs: list[Block]) -> Block:
    """A dialog: its callback, heading and button, where it came from, what it says, and what it asks for."""
    callback, heading, submit = named
    metadata = json.dumps(
        {"request": place.request_id, "channel": place.channel, "root": place.root_ts, "ref": place.ref}
    )
    return {
        "type": "modal",
        "callback_id": callback,
        "private_metadata": metadata,
        "title": plain(heading),
        "submit": plain(submit),
        "close": plain("Keep it open"),
        "blocks": [section(about), *inputs],
    }


def _input(
    block_id: str, label: str, *, initial: str = "", hint: str = "", optional: bool = False, limit: int
) -> Block:
    element: Block = {"type": "plain_text_input", "action_id": "text", "multiline": True, "max_length": limit}
    if initial:
        element["initial_value"] = initial[:limit]
    if hint:
        element["placeholder"] = plain(cut(hint, 150))
    return {
        "type": "input",
        "block_id": block_id,
        "optional": optional,
        "label": plain(cut(label, 100)),
        "element": element,
    }


def read_metadata(private_metadata: str) -> dict[str, str]:
    """What a dialog has in its metadata; empty where it is not ours."""
    try:
        found: object = json.loads(private_metadata)
    except (ValueError, RecursionError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
