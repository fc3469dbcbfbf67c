"""The store behind the simulated Slack: who is there, what was said, which modals are open.

It knows no HTTP and no limits: `limits` judges before anything gets here. It never reads the machine's clock, only the
one that it was given, and it never hands out a record that somebody else could change under the reader's eyes.
"""

import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path

from channels.simulating import Watched
from channels.slack.simulator.records import Channel, File, Json, Message, User, View

TS_STEP = 100
"""Microseconds between two messages of the same instant."""


class UnknownError(LookupError):
    """There is no such channel, message, view or person in this workspace."""


class Workspace(Watched):
    """One Slack workspace in memory.

    `now` gives seconds since the epoch. Exactly one of `users` is the bot. Everything is reached from one event loop.
    """

    def __init__(
        self,
        *,
        team_id: str,
        team_name: str,
        users: Iterable[User],
        channels: Iterable[Channel],
        now: Callable[[], float],
        bot_id: str = "B0BOT",
        app_id: str = "A0BOT",
    ) -> None:
        super().__init__(now())
        self.now = now
        self.team_id, self.team_name, self.bot_id, self.app_id = team_id, team_name, bot_id, app_id
        self.users = {user.id: user for user in users}
        self.channels = {channel.id: channel for channel in channels}
        self.views: dict[str, View] = {}
        self.files: dict[str, File] = {}
        self.bot = next(user for user in self.users.values() if user.is_bot)
        self._messages: dict[str, dict[str, Message]] = {channel: {} for channel in self.channels}
        self._last_us = 0

    # Reading

    def user(self, user_id: str) -> User:
        """The person (or bot) with this id; raises `UnknownError`."""
        if user_id not in self.users:
            raise UnknownError(f"no user {user_id}")
        return self.users[user_id]

    def channel(self, id_or_name: str) -> Channel:
        """A channel by id, by `#name`, or the bot's direct conversation by the person's id; raises `UnknownError`."""
        if id_or_name in self.channels:
            return self.channels[id_or_name]
        for channel in self.channels.values():
            if (channel.is_im and id_or_name in channel.members and id_or_name != self.bot.id) or (
                not channel.is_im and id_or_name.removeprefix("#") == channel.name
            ):
                return channel
        raise UnknownError(f"no channel {id_or_name}")

    def is_shared(self, channel: Channel) -> bool:
        """Whether somebody of another team is in the channel (Slack Connect)."""
        return any(self.users[member].team_id != self.team_id for member in channel.members)

    def messages(self, channel: str, *, ephemeral: bool = False) -> list[Message]:
        """Every message of a channel in order, replies included; ephemeral ones only when asked for."""
        return [m for m in self._messages[self.channel(channel).id].values() if ephemeral or not m.ephemeral_to]

    def thread(self, channel: str, thread_ts: str) -> list[Message]:
        """The parent and its replies, in order, without ephemeral messages; empty when there is no such thread."""
        return [message for message in self.messages(channel) if message.root_ts == thread_ts]

    def ephemerals(self, user_id: str) -> list[Message]:
        """What only this person sees, in every channel, oldest first."""
        found = [m for messages in self._messages.values() for m in messages.values() if m.ephemeral_to == user_id]
        return sorted(found, key=lambda message: message.ts)

    def message(self, channel: str, ts: str) -> Message:
        """One message, ephemeral or not; raises `UnknownError`."""
        found = self._messages[self.channel(channel).id].get(ts)
        if found is None:
            raise UnknownError(f"no message {ts} in {channel}")
        return found

    # Writing

    def next_ts(self) -> str:
        """A timestamp that this workspace never gave before, greater than every earlier one."""
        tick = int(self.now() * 1_000_000) // TS_STEP * TS_STEP
        self._last_us = max(tick + TS_STEP, self._last_us + TS_STEP)
        return f"{self._last_us // 1_000_000}.{self._last_us % 1_000_000:06d}"

    def add(self, channel: Channel) -> Channel:
        """One more channel, empty."""
        self.channels[channel.id] = channel
        self._messages[channel.id] = {}
        return channel

    def post(
        self,
        channel: str,
        user: str,
        text: str,
        *,
        blocks: Iterable[Json] = (),
        thread_ts: str | None = None,
        metadata: Json | None = None,
        bot_id: str | None = None,
        ephemeral_to: str | None = None,
        client_msg_id: str | None = None,
        files: Iterable[str] = (),
    ) -> Message:
        """Append a message; blocks without a `block_id` get one, as in Slack. Raises `UnknownError` for the channel."""
        message = Message(
            ts=self.next_ts(),
            channel=self.channel(channel).id,
            user=user,
            text=text,
            blocks=with_block_ids(blocks),
            thread_ts=thread_ts,
            metadata=metadata,
            bot_id=bot_id,
            ephemeral_to=ephemeral_to,
            client_msg_id=client_msg_id,
            files=list(files),
        )
        return self._store(message)

    def update(
        self, channel: str, ts: str, *, text: str, blocks: Iterable[Json] = (), metadata: Json | None = None
    ) -> Message:
        """Replace what a message says; its metadata stays unless new metadata is given. Raises `UnknownError`."""
        old = self.message(channel, ts)
        kept = old.metadata if metadata is None else metadata
        return self._store(replace(old, text=text, blocks=with_block_ids(blocks), metadata=kept, edited=True))

    def react(self, channel: str, ts: str, emoji: str, user: str) -> bool:
        """Add a reaction; False when this person already gave it. Raises `UnknownError`."""
        old = self.message(channel, ts)
        given = old.reactions.get(emoji, [])
        if user in given:
            return False
        self._store(replace(old, reactions={**old.reactions, emoji: [*given, user]}))
        return True

    def delete(self, channel: str, ts: str) -> Message:
        """Take a message away and return it; its replies stay. Raises `UnknownError`."""
        old = self.message(channel, ts)
        del self._messages[old.channel][ts]
        self.notice("deleted", {"channel": old.channel, "ts": ts})
        return old

    def _store(self, message: Message) -> Message:
        self._messages[message.channel][message.ts] = message
        self.notice("message", asdict(message))
        return message

    def add_file(self, file_id: str, name: str, title: str, content: bytes) -> File:
        """Keep an uploaded file."""
        text = content.decode(errors="replace")
        file = File(id=file_id, name=name, title=title, text=text, size=len(content))
        self.files[file.id] = file
        self.notice("file", asdict(file))
        return file

    def open_view(self, user: str, payload: Json) -> View:
        """Show a person a modal."""
        return self._show(View(id=new_id("V"), user=user, payload=_with_view_ids(payload), hash=self._view_hash()))

    def update_view(self, view_id: str, payload: Json) -> View:
        """Replace an open modal's content; its errors go. Raises `UnknownError`."""
        old = self.view(view_id)
        return self._show(replace(old, payload=_with_view_ids(payload), hash=self._view_hash(), errors={}))

    def show_errors(self, view_id: str, errors: dict[str, str]) -> View:
        """Show messages beside the inputs of an open modal: block id -> text. Raises `UnknownError`."""
        return self._show(replace(self.view(view_id), errors=dict(errors)))

    def close_view(self, view_id: str) -> None:
        """Take a modal away; nothing happens when it is gone already."""
        if view := self.views.pop(view_id, None):
            self.notice("view_closed", {"id": view.id, "user": view.user})

    def view(self, view_id: str) -> View:
        """An open modal; raises `UnknownError`."""
        if view_id not in self.views:
            raise UnknownError(f"no view {view_id}")
        return self.views[view_id]

    def _show(self, view: View) -> View:
        self.views[view.id] = view
        self.notice("view", asdict(view))
        return view

    def _view_hash(self) -> str:
        return f"{int(self.now())}.{secrets.token_hex(4)}"

    # Keeping

    def to_json(self) -> Json:
        """The conversations, people and files; open modals are not kept, since their triggers do not outlive us."""
        return {
            "team_id": self.team_id,
            "team_name": self.team_name,
            "bot_id": self.bot_id,
            "app_id": self.app_id,
            "users": [asdict(user) for user in self.users.values()],
            "channels": [asdict(channel) for channel in self.channels.values()],
            "messages": [asdict(m) for messages in self._messages.values() for m in messages.values()],
            "files": [asdict(file) for file in self.files.values()],
            "last_us": self._last_us,
        }

    @classmethod
    def from_json(cls, raw: Json, now: Callable[[], float]) -> "Workspace":
        """The inverse of `to_json`."""
        workspace = cls(
            team_id=raw["team_id"],
            team_name=raw["team_name"],
            users=[User(**user) for user in raw["users"]],
            channels=[Channel(**(channel | {"members": tuple(channel["members"])})) for channel in raw["channels"]],
            now=now,
            bot_id=raw["bot_id"],
            app_id=raw["app_id"],
        )
        for message in raw["messages"]:
            workspace._messages[message["channel"]][message["ts"]] = Message(**message)
        workspace.files = {file["id"]: File(**file) for file in raw["files"]}
        workspace._last_us = raw["last_us"]
        return workspace

    def save(self, path: Path) -> None:
        """Write everything beside `path`, then move it there, so that a crash never leaves half a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        beside.write_text(json.dumps(self.to_json(), ensure_ascii=False), encoding="utf-8")
        beside.replace(path)

    @classmethod
    def load(cls, path: Path, now: Callable[[], float]) -> "Workspace":
        """What `save` wrote; raises `FileNotFoundError` when there is nothing yet."""
        return cls.from_json(json.loads(path.read_text(encoding="utf-8")), now)


def new_id(prefix: str) -> str:
    """An id like Slack's: a letter and upper-case hex."""
    return prefix + secrets.token_hex(5).upper()


def with_block_ids(blocks: Iterable[Json]) -> list[Json]:
    """The blocks, each with a `block_id` (Slack invents the missing ones, and clicks carry them)."""
    return [{**block, "block_id": block.get("block_id") or secrets.token_urlsafe(4)} for block in blocks]


def _with_view_ids(payload: Json) -> Json:
    return {**payload, "blocks": with_block_ids(payload.get("blocks", []))}
