"""What a simulated workspace consists of: people, places, messages, modals and files.

Records are frozen: a change makes a new one, so a `Message` that a test or a browser holds is what the person saw when
they took it, even after the bot updated it. Nothing here has behaviour beyond questions about itself.
"""

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
"""A decoded JSON object, shaped as Slack's documentation shapes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person, or the bot. `team_id` differs from the workspace's own for somebody who comes by Slack Connect."""

    id: str
    name: str
    real_name: str
    title: str = ""
    team_id: str
    is_bot: bool = False
    color: str = "5b6b7a"
    """Six hex digits without the `#`, as Slack gives them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel, a group message (its id begins with a G), or a direct conversation (`is_im`) with one person."""

    id: str
    name: str
    is_im: bool = False
    members: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The `channel_type` of Slack's message events."""
        if self.is_im:
            return "im"
        return "mpim" if self.id.startswith("G") else "channel"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that the bot uploaded; `text` is its content, decoded as UTF-8 with replacement characters."""

    id: str
    name: str
    title: str
    text: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as everybody in the channel sees it, or as `ephemeral_to` alone sees it.

    `thread_ts` is the parent's `ts` for a reply and None for a message in the channel itself, also when that message
    has replies (Slack's API repeats the parent's own `ts` there; the JSON that the Web API answers does so too).
    """

    ts: str
    channel: str
    user: str
    text: str
    blocks: list[Json] = field(default_factory=list[Json])
    thread_ts: str | None = None
    metadata: Json | None = None
    bot_id: str | None = None
    edited: bool = False
    ephemeral_to: str | None = None
    client_msg_id: str | None = None
    reactions: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Emoji name without colons -> the ids of those who reacted."""
    files: list[str] = field(default_factory=list[str])
    """Ids of files that came with the message."""

    @property
    def root_ts(self) -> str:
        """The `ts` of the conversation's first message: the parent's, or its own."""
        return self.thread_ts or self.ts


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """An open modal. `payload` is what the bot sent, with block ids filled in; `errors` are shown beside the inputs."""

    id: str
    user: str
    payload: Json
    hash: str
    errors: dict[str, str] = field(default_factory=dict[str, str])
