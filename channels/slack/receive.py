"""What comes in from Slack: the signature, and what a verified payload means. Pure: bytes and dicts to values.

Nothing here trusts a display name or a button's label; a payload that means nothing to the bot is None, never an error.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from bot.core.values import Conversation, RequestId

MAX_AGE_SECONDS = 300
CHANNEL = "slack"
_HUMAN_SUBTYPES = (None, "file_share", "thread_broadcast")
_MENTION = re.compile(r"<@([UW][A-Z0-9]+)(?:\|[^>]*)?>")
_ENTITY = re.compile(r"<([@#!]?)([^>|]+)(?:\|([^>]*))?>")

Json = dict[str, Any]


class BadSignature(Exception):  # noqa: N818 an answer: 401
    """The request was not signed by Slack, or not lately. The text says which, and holds nothing of the request."""


def verify(body: bytes, timestamp: str | None, signature: str | None, secrets: Sequence[str], now: float) -> None:
    """SL1, before anything is parsed; during a rotation there are two secrets. Raises BadSignature."""
    if not timestamp or not signature:
        raise BadSignature("missing")
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:  # noqa: PLR2004 far beyond any date
        raise BadSignature("malformed timestamp")
    if abs(now - int(timestamp)) > MAX_AGE_SECONDS:
        raise BadSignature("stale")
    given, signed = signature.encode("utf-8", "replace"), b"v0:" + timestamp.encode() + b":" + body
    expected = ["v0=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    if not any([hmac.compare_digest(one.encode(), given) for one in expected]):  # noqa: C419 all are compared
        raise BadSignature("wrong")


@dataclass(frozen=True)
class SlackUser:
    """Who did it. The id and the team are Slack's word, the name is only for people."""

    team: str
    id: str
    name: str
    external: bool
    """Belongs to another workspace (Slack Connect, SL22)."""

    @property
    def address(self) -> str:
        """As the people file has it."""
        return f"{CHANNEL}:{self.team}/{self.id}"


@dataclass(frozen=True)
class SlackMessage:
    """Something a person wrote."""

    user: SlackUser
    conversation: Conversation
    channel: str
    text: str
    addressed: bool
    """A mention or a direct message: it may start a thread."""
    in_thread: bool
    """Part of a thread already. Elsewhere Slack would not show a reply to one person only."""
    deliveries: tuple[str, ...]
    """Its event id, and the id that all events about this message share (SL6, SL7)."""


@dataclass(frozen=True)
class SlackClick:
    """A button or a choice on one of our cards."""

    user: SlackUser
    conversation: Conversation
    ref: str
    """The message that was clicked, as `CHANNEL/TS`."""
    action: str
    request_id: RequestId
    choice: int | None
    trigger_id: str
    delivery: str


@dataclass(frozen=True)
class SlackSubmission:
    """A modal of ours that was submitted."""

    user: SlackUser
    callback: str
    private_metadata: str
    values: Mapping[str, str]
    """What was typed, by block id."""
    delivery: str


@dataclass(frozen=True)
class SlackCommand:
    """A slash command."""

    user: SlackUser
    text: str
    delivery: str


def conversation_of(channel: str, root_ts: str) -> Conversation:
    """A thread in a channel (SL11). Channel ids are unique, so a shared channel is one place for both sides."""
    return Conversation(channel=CHANNEL, ref=f"{channel}/{root_ts}")


def is_channel(conversation: Conversation) -> bool:
    """Whether it is in a channel, where whoever may decide is expected: the ids of channels begin with a C.

    A D is between one person and the bot; a G is a group message, or a private channel from before 2021.
    """
    return conversation.ref.startswith("C")


def place_of(conversation: Conversation) -> tuple[str, str]:
    """Channel and root ts; the ts is empty for a channel as such."""
    channel, _, root_ts = conversation.ref.partition("/")
    return channel, root_ts


def read_command(body: Json) -> SlackCommand:
    """A slash command. Only members of the workspace that has the app can give one."""
    team, user_id, name = (_text(body, key) for key in ("team_id", "user_id", "user_name"))
    user = SlackUser(team, user_id, name or user_id, external=False)
    return SlackCommand(user, _text(body, "text").strip(), f"slack:command:{_text(body, 'trigger_id')}")


def read_message(body: Json) -> SlackMessage | None:
    """A message from an `event_callback`, or None for what is no message of a person (SL9)."""
    event = _dict(body, "event")
    kind, subtype, user_id = _text(event, "type"), event.get("subtype"), _text(event, "user")
    if kind not in {"message", "app_mention"} or subtype not in _HUMAN_SUBTYPES:
        return None
    bot_user = _bot_user(body)
    if event.get("bot_id") or not user_id or user_id == bot_user:
        return None
    channel, ts, text = _text(event, "channel"), _text(event, "ts"), _text(event, "text")
    if not channel or not ts:
        return None
    home = _home(body)
    team = _text(event, "user_team") or _text(event, "source_team") or home
    mentioned = kind == "app_mention" or bot_user in _MENTION.findall(text)
    shared_id = f"slack:message:{home}:{channel}:{ts}"
    return SlackMessage(
        user=SlackUser(team=team, id=user_id, name=user_id, external=team != home),
        conversation=conversation_of(channel, _text(event, "thread_ts") or ts),
        channel=channel,
        text=plain_text(text, bot_user),
        addressed=mentioned or event.get("channel_type") == "im",
        in_thread=bool(_text(event, "thread_ts")),
        deliveries=tuple(filter(None, (shared_id, _prefixed("slack:event:", _text(body, "event_id"))))),
    )


def read_click(body: Json) -> SlackClick | None:
    """A click from a `block_actions` payload, or None where it is not on a card of ours."""
    actions = _dicts(body, "actions")
    container = _dict(body, "container")
    message_ts = _text(container, "message_ts")
    channel = _text(container, "channel_id") or _text(_dict(body, "channel"), "id")
    user = _user(body)
    if len(actions) != 1 or not message_ts or not channel or user is None:
        return None
    action = actions[0]
    name, _, index = _text(action, "action_id").partition(":")
    chosen = _text(_dict(action, "selected_option"), "value") or index
    request_id = _text(action, "value") or _text(action, "block_id").removeprefix("request:")
    root = _text(container, "thread_ts") or _text(_dict(body, "message"), "thread_ts") or message_ts
    return SlackClick(
        user=user,
        conversation=conversation_of(channel, root),
        ref=f"{channel}/{message_ts}",
        action=name,
        request_id=request_id,
        choice=int(chosen) if chosen.isascii() and chosen.isdigit() and len(chosen) <= 3 else None,  # noqa: PLR2004
        trigger_id=_text(body, "trigger_id"),
        delivery=f"slack:action:{message_ts}:{_text(action, 'action_ts')}:{user.id}",
    )


def read_submission(body: Json) -> SlackSubmission | None:
    """A submitted modal from a `view_submission` payload."""
    view = _dict(body, "view")
    user = _user(body)
    if user is None or not view:
        return None
    values: dict[str, str] = {}
    entered = _dict(_dict(view, "state"), "values")
    for block_id in entered:
        inputs = _dict(entered, block_id)
        for action_id in inputs:
            values[block_id] = _text(_dict(inputs, action_id), "value")
    return SlackSubmission(
        user=user,
        callback=_text(view, "callback_id"),
        private_metadata=_text(view, "private_metadata"),
        values=values,
        delivery=f"slack:view:{_text(view, 'id')}:{_text(view, 'hash')}:{user.id}",
    )


def plain_text(text: str, bot_user: str) -> str:
    """Slack's mark-up as plain text: without the mention of the bot, links and names readable, entities undone."""

    def readable(match: re.Match[str]) -> str:
        kind, target, label = match[1], match[2], match[3]
        if kind == "@":
            return "" if target == bot_user else f"@{label or target}"
        if kind == "#":
            return f"#{label or target}"
        if kind == "!":
            return f"@{target.partition('^')[0]}"
        return f"{label} ({target})" if label and label != target else target

    spaced = _ENTITY.sub(readable, text)
    undone = spaced.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return undone.strip()


def _user(body: Json) -> SlackUser | None:
    user = _dict(body, "user")
    user_id, home = _text(user, "id"), _home(body)
    team = _text(user, "team_id") or _text(_dict(body, "team"), "id") or home
    if not user_id or not team:
        return None
    name = _text(user, "name") or _text(user, "username") or user_id
    return SlackUser(team=team, id=user_id, name=name, external=team != home)


def _home(body: Json) -> str:
    """The workspace that the bot is installed in."""
    granted = _text(_granted(body), "team_id")
    # SL22: with a dialog `team` is where it was submitted, for somebody who comes by Slack Connect their own workspace.
    installed = _text(_dict(body, "view"), "app_installed_team_id")
    return granted or installed or _text(body, "team_id") or _text(_dict(body, "team"), "id")


def _bot_user(body: Json) -> str:
    return _text(_granted(body), "user_id")


def _granted(body: Json) -> Json:
    """Our installation in the workspace that the event is about."""
    granted = _dicts(body, "authorizations")
    return granted[0] if granted else {}


def _dict(body: Json, key: str) -> Json:
    value = body.get(key)
    return cast("Json", value) if isinstance(value, dict) else {}


def _dicts(body: Json, key: str) -> list[Json]:
    value = body.get(key)
    listed = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Json", one) for one in listed if isinstance(one, dict)]


def _text(body: Json, key: str) -> str:
    value = body.get(key)
    # JSON can carry half a character, which nothing after us could store.
    return value.encode("utf-8", "ignore").decode() if isinstance(value, str) else ""


def _prefixed(prefix: str, text: str) -> str:
    return prefix + text if text else ""
