"""What goes out to Slack: views as Block Kit, within every limit of SL13. Pure.

A card is made from the facts of the log, never from the model's words (AP14); what is cut is seen to be cut.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar, cast

from bot.core.people import Actor
from bot.core.protocols import Outgoing
from bot.core.views import CardView, Mood, SayView, View, WhisperView
from bot.core.wording import cut, one_line
from channels.slack.blocks import Block, context_line, mrkdwn, plain, section
from channels.slack.mrkdwn import clean, cut_escaped, escape, from_markdown, split

T = TypeVar("T")

MAX_SECTION = 3_000
MAX_HEADER = 150
MAX_MESSAGE = 12_500
"""What the blocks of a message may hold together: Slack refuses more than about 13,200 characters."""
MAX_FALLBACK = 3_000
MAX_ANSWER_PIECES = 4
"""Sections of an answer; longer ones end in a link to the whole text."""
_MARKS: dict[Mood, str] = {
    "open": ":large_yellow_circle:",
    "good": ":white_check_mark:",
    "bad": ":x:",
    "quiet": ":white_circle:",
    "busy": ":hourglass_flowing_sand:",
}
_USER_ID = re.compile(r"[UW][A-Z0-9]{2,30}")
_RISKS = {"low": "low risk", "medium": "medium risk", "high": ":warning: high risk"}
_MAX_LABEL = 75
_SCRAP = 40
"""Less than this of a text says nothing."""
_MAX_BUTTONS = 5
"""More choices than this become a select."""


@dataclass(frozen=True)
class SlackPost:
    """The part of a `chat.postMessage` that is made from a view."""

    text: str
    """For notifications and for screen readers (SL14)."""
    blocks: list[Block]


def render(outgoing: Outgoing) -> SlackPost:
    """A view as a message."""
    return render_view(outgoing.view, full_text_url=outgoing.full_text_url, artifact_url=outgoing.artifact_url)


def render_view(view: View, *, full_text_url: str = "", artifact_url: str = "") -> SlackPost:
    """A view as a message, with links for what does not fit."""
    match view:
        case WhisperView():
            text = cut_escaped(escape(view.text), MAX_SECTION)
            return SlackPost(text, [section(text)])
        case SayView():
            return _say(view, full_text_url)
        case CardView():
            return _card(view, full_text_url, artifact_url)


def _say(view: SayView, full_text_url: str) -> SlackPost:
    pieces = split(from_markdown(view.text), MAX_SECTION)
    kept = pieces[:MAX_ANSWER_PIECES] or [" "]
    block = section if view.tone == "answer" else context_line
    blocks = [block(piece) for piece in kept]
    if len(pieces) > len(kept):
        blocks.append(context_line(_rest(f"… cut here, of {len(view.text)} characters.", full_text_url)))
    return SlackPost(cut_escaped(escape(view.text), MAX_FALLBACK), blocks)


def _rest(note: str, url: str) -> str:
    return f"{note} <{url}|Read all of it>" if url else f"{note} The whole text is in the thread's log."


class _Room:
    """What a message may still hold. Whether anything did not fit is remembered, so that it can be said."""

    def __init__(self, characters: int) -> None:
        self._left = characters
        self.cut = False

    def fit(self, escaped: str, most: int) -> str:
        """As much of an escaped text as there is room for; nothing, where that would be a mere scrap."""
        limit = min(most, self._left)
        kept = escaped if len(escaped) <= limit else cut_escaped(escaped, limit) if limit > _SCRAP else ""
        self._left -= len(kept)
        self.cut = self.cut or kept != escaped
        return kept

    def first(self, things: tuple[T, ...], most: int) -> tuple[T, ...]:
        """The first of them."""
        self.cut = self.cut or len(things) > most
        return things[:most]


def _reminder(view: CardView) -> SlackPost:
    """A nudge below the card, which has the buttons."""
    title = cut_escaped(escape(clean(view.title)), 300)
    waits = f"Still waiting: *{title}*"
    notes = [_deciders(view.deciders)] if view.kind == "approval" else ["reply in this thread to answer"]
    notes += _until(view)
    return SlackPost(f"Reminder: {title}", [section(f":bell: {waits}"), context_line("  ·  ".join(notes))])


def _until(view: CardView) -> list[str]:
    if not view.open or not view.expires_at:
        return []
    at = int(view.expires_at)
    fallback = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return [f"open until <!date^{at}^{{date_short_pretty}} {{time}}|{fallback}>"]


def _card(view: CardView, full_text_url: str, artifact_url: str) -> SlackPost:
    if view.reminder:
        return _reminder(view)
    heading = {"approval": "Approval needed", "question": "Question", "activity": ""}[view.kind]
    title = clean(view.title)
    ending = [*_standing(view, artifact_url), *_actions(view)]
    room = _Room(MAX_MESSAGE - MAX_HEADER - _characters(ending))
    blocks: list[Block] = []
    if view.kind == "question":
        blocks.append(section(f"*{room.fit(escape(title), 2_000)}*"))
    else:
        blocks.append({"type": "header", "text": plain(cut(title, MAX_HEADER))})
    if (context := room.fit(clean(view.context), MAX_SECTION)).strip():
        blocks.append({"type": "section", "text": plain(context)})  # what people and models wrote marks nothing up
    blocks += _facts(view, room)
    warnings = (room.fit(escape(warning), 400) for warning in room.first(view.warnings, 5))
    blocks += [section(f":warning: *{warning}*") for warning in warnings if warning]
    if note := room.fit(escape(view.note), 600):
        blocks.append(context_line(note))
    if view.details and (details := room.fit(escape(view.details).replace("```", "'''"), MAX_SECTION - 10)):
        blocks.append(section(f"```\n{details}\n```"))
    if any(len(choice) > _MAX_LABEL for choice in view.choices) and view.open:
        whole = "\n".join(f"• {escape(choice)}" for choice in view.choices)
        blocks.append(section(room.fit(whole, MAX_SECTION)))
    if room.cut:
        blocks.append(context_line(_rest("… cut here.", full_text_url)))
    state = f" — {view.status}" if view.status else ""
    fallback = f"{heading}: {title}{state}" if heading and view.open else f"{title}{state}"
    return SlackPost(cut_escaped(escape(fallback), MAX_FALLBACK), [*blocks, *ending])


def _facts(view: CardView, room: _Room) -> list[Block]:
    """Label beside value. A value is plain: nothing in it is marked up, or lost as mark-up, or poses as a label."""
    facts = room.first(view.facts, 30)
    each = max(200, min(1_900, 4_000 // max(1, len(facts))))
    fields = [
        field
        for fact in facts
        if (value := room.fit(_continued(clean(fact.value).strip()) or "–", each))
        for field in (mrkdwn(f"*{cut_escaped(escape(fact.label), 90)}*"), plain(value))
    ]
    return [{"type": "section", "fields": fields[at : at + 10]} for at in range(0, len(fields), 10)]


def _continued(value: str) -> str:
    """A value of several lines: each but the first is seen to go on with it."""
    return "\n│ ".join(value.split("\n"))


def _standing(view: CardView, artifact_url: str) -> list[Block]:
    """How it stands, and what matters to whoever decides."""
    notes: list[str] = []
    if view.open and view.kind == "approval":
        notes.append(_RISKS[view.risk])
        notes.append(_deciders(view.deciders))
        if view.asked_by:
            notes.append(f"asked for by {cut_escaped(escape(view.asked_by), 300)}")
    notes += _until(view)
    if view.open and view.kind == "question" and view.format == "free_text":
        notes.append("reply in this thread to answer")
    blocks: list[Block] = []
    if view.status:
        blocks.append(section(f"{_MARKS[view.mood]} {cut_escaped(escape(view.status), 1_500)}"))
    if view.artifact and artifact_url:
        title = cut_escaped(escape(view.artifact.title or view.artifact.name), 100)
        notes.append(f"<{artifact_url}|{title}> ({_size(view.artifact.size_bytes)})")
    return [*blocks, context_line("  ·  ".join(notes))] if notes else blocks


def _deciders(deciders: tuple[Actor, ...]) -> str:
    """Who may decide, mentioned, so that they are notified. The ids come from the people file, never from a text."""
    if not deciders:
        return "nobody in the people file may decide this"
    names = [
        f"<@{user}>"
        if _USER_ID.fullmatch(user := one.address.rpartition("/")[2])
        else cut_escaped(escape(one.name), 100)
        for one in deciders[:10]
    ]
    more = f" and {len(deciders) - 10} more" if len(deciders) > 10 else ""  # noqa: PLR2004
    return f"can be decided by {', '.join(names)}{more}"


def _actions(view: CardView) -> list[Block]:
    if not view.open:
        return []
    block_id = f"request:{view.request_id}"
    if view.kind == "approval":
        approve = _button("approve", "Approve", view.request_id, style="danger" if view.dangerous else "primary")
        if view.dangerous:  # rulebook, "A decision by button", 5
            approve["confirm"] = _confirm(view)
        others = (("deny", "Deny …"), ("ask", "Ask first …"), ("edit", "Change it …"))
        buttons = [approve, *(_button(action, label, view.request_id) for action, label in others)]
        return [{"type": "actions", "block_id": block_id, "elements": buttons}]
    if not view.choices:
        return []
    if len(view.choices) <= _MAX_BUTTONS:
        elements = [_button(f"answer:{at}", choice, view.request_id) for at, choice in enumerate(view.choices)]
        return [{"type": "actions", "block_id": block_id, "elements": elements}]
    options = [
        {"text": plain(cut(clean(choice), _MAX_LABEL)), "value": str(at)}
        for at, choice in enumerate(view.choices[:100])
    ]
    select = {"type": "static_select", "action_id": "answer", "placeholder": plain("Choose …"), "options": options}
    return [{"type": "actions", "block_id": block_id, "elements": [select]}]


def _confirm(view: CardView) -> Block:
    facts = "\n".join(f"{one_line(fact.label)}: {one_line(fact.value)}" for fact in view.facts[:3])
    return {
        "title": plain(cut(clean(view.title), 100)),
        "text": plain(cut(clean(facts) or "This cannot be undone here.", 300)),
        "confirm": plain("Approve"),
        "deny": plain("Not yet"),
        "style": "danger",
    }


def _button(action_id: str, label: str, value: str, *, style: str | None = None) -> Block:
    # SL15: the value is the request's opaque id; what it stands for is in the log.
    button: Block = {
        "type": "button",
        "action_id": action_id,
        "text": plain(cut(clean(label), _MAX_LABEL)),
        "value": value,
    }
    return {**button, "style": style} if style else button


def _characters(part: object) -> int:
    """How much text there is in blocks, as Slack counts it."""
    if isinstance(part, list):
        return sum(_characters(one) for one in cast("list[object]", part))
    if not isinstance(part, dict):
        return 0
    found = cast("dict[str, object]", part)
    return sum(
        len(value) if key == "text" and isinstance(value, str) else _characters(value) for key, value in found.items()
    )


def _size(size_bytes: int) -> str:
    return f"{size_bytes} bytes" if size_bytes < 1024 else f"{size_bytes / 1024:.0f} KB"  # noqa: PLR2004
