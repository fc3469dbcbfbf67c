"""The Web API methods of the simulated Slack: what each one checks, changes and answers.

A method either applies completely or raises `BreachError` before it changed anything. It never sends anything to the
app itself: what the app must hear of is handed to `tell`.
"""

import json
import re
from collections.abc import Callable, Mapping

from channels.slack.simulator.limits import BreachError, check_message, check_view
from channels.slack.simulator.payloads import Payloads
from channels.slack.simulator.records import Channel, Json, Message
from channels.slack.simulator.tickets import BadTriggerError, Tickets
from channels.slack.simulator.workspace import UnknownError, Workspace

TRUE = {True, "1", "true", "True"}
TS = re.compile(r"\d{10,}\.\d{6}")


class Methods:
    """The methods, by Slack's names in `table`; each takes the decoded arguments and returns the answer without `ok`.

    `tell` gets each `event_callback` that Slack would send because of the call.
    """

    def __init__(
        self, workspace: Workspace, payloads: Payloads, tickets: Tickets, tell: Callable[[Json], object]
    ) -> None:
        self._workspace, self._payloads, self._tickets, self._tell = workspace, payloads, tickets, tell
        self.table: Mapping[str, Callable[[Json], Json]] = {
            "api.test": lambda args: {"args": args},
            "auth.test": self.auth_test,
            "chat.postMessage": self.post_message,
            "chat.postEphemeral": self.post_ephemeral,
            "chat.update": self.update,
            "chat.delete": self.delete,
            "chat.getPermalink": self.permalink,
            "conversations.history": self.history,
            "conversations.info": self.conversation_info,
            "conversations.open": self.conversation_open,
            "conversations.replies": self.replies,
            "reactions.add": self.add_reaction,
            "users.info": self.user_info,
            "views.open": self.open_view,
            "views.update": self.update_view,
        }

    def auth_test(self, _args: Json) -> Json:
        """Who the token belongs to."""
        workspace = self._workspace
        return {
            "url": f"https://{workspace.team_name.lower()}.slack.example/",
            "team": workspace.team_name,
            "user": workspace.bot.name,
            "team_id": workspace.team_id,
            "user_id": workspace.bot.id,
            "bot_id": workspace.bot_id,
            "is_enterprise_install": False,
        }

    def post_message(self, args: Json) -> Json:
        """`chat.postMessage`."""
        channel = self._joined(args)
        blocks = check_message(args)
        message = self._workspace.post(
            channel.id,
            self._workspace.bot.id,
            args.get("text") or "",
            blocks=blocks,
            thread_ts=self._thread_ts(channel, args),
            metadata=_decoded(args.get("metadata")),
            bot_id=self._workspace.bot_id,
        )
        self.announce(message)
        return {"channel": channel.id, "ts": message.ts, "message": self._with_metadata(message, wanted=True)}

    def announce(self, message: Message) -> None:
        """Send the app the events of a new message: a bot hears itself too (SL9)."""
        for payload in self._payloads.posted(message):
            self._tell(payload)

    def post_ephemeral(self, args: Json) -> Json:
        """`chat.postEphemeral`: the person must be in the channel; no event follows."""
        channel = self._joined(args)
        if args.get("user") not in channel.members:
            raise BreachError("user_not_in_channel")
        blocks = check_message(args)
        message = self._workspace.post(
            channel.id,
            self._workspace.bot.id,
            args.get("text") or "",
            blocks=blocks,
            thread_ts=self._thread_ts(channel, args),
            bot_id=self._workspace.bot_id,
            ephemeral_to=args["user"],
        )
        return {"message_ts": message.ts}

    def update(self, args: Json) -> Json:
        """`chat.update`: only the bot's own messages; blocks that are not sent again go."""
        channel = self._channel(args)
        previous = self._message(channel, args, "ts", "cant_update_message")
        # Text may be left out beside blocks, and then stays.
        blocks = check_message({"text": previous.text, **args} if args.get("blocks") else args)
        text = str(args.get("text", previous.text))
        metadata = _decoded(args.get("metadata"))
        message = self._workspace.update(channel.id, previous.ts, text=text, blocks=blocks, metadata=metadata)
        self._tell(self._payloads.changed(message, previous))
        shown = self._with_metadata(message, wanted=True)
        return {"channel": channel.id, "ts": message.ts, "text": text, "message": shown}

    def delete(self, args: Json) -> Json:
        """`chat.delete`: only the bot's own messages."""
        channel = self._channel(args)
        message = self._message(channel, args, "ts", "cant_delete_message")
        self._workspace.delete(channel.id, message.ts)
        self._tell(self._payloads.deleted(message))
        return {"channel": channel.id, "ts": message.ts}

    def permalink(self, args: Json) -> Json:
        """`chat.getPermalink`."""
        channel = self._channel(args)
        message = self._message(channel, args, "message_ts", None)
        host = f"https://{self._workspace.team_name.lower()}.slack.example"
        link = f"{host}/archives/{channel.id}/p{message.ts.replace('.', '')}"
        return {"channel": channel.id, "permalink": link}

    def history(self, args: Json) -> Json:
        """`conversations.history`: newest first, without replies."""
        messages = [m for m in self._workspace.messages(self._joined(args).id) if not m.thread_ts]
        return self._page(_between(messages, args)[::-1], args, 100)

    def replies(self, args: Json) -> Json:
        """`conversations.replies`: the parent, then its replies, oldest first."""
        messages = self._workspace.thread(self._joined(args).id, str(args.get("ts")))
        if not messages:
            raise BreachError("thread_not_found")
        return self._page([messages[0], *_between(messages[1:], args)], args, 1_000)

    def _page(self, messages: list[Message], args: Json, default: int) -> Json:
        start, limit = int(args.get("cursor") or 0), int(args.get("limit") or default)
        wanted = args.get("include_all_metadata") in TRUE
        more = start + limit < len(messages)
        return {
            "messages": [self._with_metadata(m, wanted=wanted) for m in messages[start : start + limit]],
            "has_more": more,
            "response_metadata": {"next_cursor": str(start + limit) if more else ""},
        }

    def _with_metadata(self, message: Message, *, wanted: bool) -> Json:
        metadata = {"metadata": message.metadata} if wanted and message.metadata else {}
        return self._payloads.message(message) | metadata

    def conversation_info(self, args: Json) -> Json:
        """`conversations.info`."""
        return {"channel": self._payloads.channel(self._channel(args))}

    def conversation_open(self, args: Json) -> Json:
        """`conversations.open` for one person."""
        try:
            person = self._workspace.user(str(args.get("users")))
            return {"channel": {"id": self._workspace.channel(person.id).id}}
        except UnknownError:
            raise BreachError("user_not_found") from None

    def add_reaction(self, args: Json) -> Json:
        """`reactions.add`."""
        channel = self._joined(args)
        message = self._message(channel, args, "timestamp", None)
        if not args.get("name"):
            raise BreachError("invalid_name")
        if not self._workspace.react(channel.id, message.ts, str(args["name"]).strip(":"), self._workspace.bot.id):
            raise BreachError("already_reacted")
        return {}

    def user_info(self, args: Json) -> Json:
        """`users.info`."""
        try:
            return {"user": self._payloads.user(self._workspace.user(str(args.get("user"))))}
        except UnknownError:
            raise BreachError("user_not_found") from None

    def open_view(self, args: Json) -> Json:
        """`views.open`: the trigger id is used up only by a call whose modal is well-formed."""
        modal = check_view(args.get("view"))
        try:
            user = self._tickets.exchange(str(args.get("trigger_id") or ""))
        except BadTriggerError as reason:
            raise BreachError(str(reason)) from None
        return {"view": self._payloads.view(self._workspace.open_view(user, modal))}

    def update_view(self, args: Json) -> Json:
        """`views.update`, by `view_id` or `external_id`; a `hash` must still be the current one."""
        modal = check_view(args.get("view"))
        external_id = args.get("external_id")
        views = self._workspace.views.values()
        found = [
            v for v in views if v.id == args.get("view_id") or external_id == v.payload.get("external_id", object())
        ]
        if not found:
            raise BreachError("not_found")
        if args.get("hash") not in {None, "", found[0].hash}:
            raise BreachError("hash_conflict")
        return {"view": self._payloads.view(self._workspace.update_view(found[0].id, modal))}

    def _channel(self, args: Json) -> Channel:
        try:
            return self._workspace.channel(str(args.get("channel") or ""))
        except UnknownError:
            raise BreachError("channel_not_found") from None

    def _joined(self, args: Json) -> Channel:
        channel = self._channel(args)
        if self._workspace.bot.id not in channel.members:
            raise BreachError("not_in_channel")
        return channel

    def _message(self, channel: Channel, args: Json, key: str, not_mine: str | None) -> Message:
        try:
            message = self._workspace.message(channel.id, str(args.get(key)))
        except UnknownError:
            raise BreachError("message_not_found") from None
        if message.ephemeral_to:
            raise BreachError("message_not_found")  # Slack keeps no ephemeral message that a method could reach
        if not_mine and message.user != self._workspace.bot.id:
            raise BreachError(not_mine)
        return message

    def _thread_ts(self, channel: Channel, args: Json) -> str | None:
        thread_ts = args.get("thread_ts")
        if thread_ts is None:
            return None
        if not TS.fullmatch(str(thread_ts)):
            raise BreachError("invalid_arguments", ["must be a valid timestamp [json-pointer:/thread_ts]"])
        try:
            return self._workspace.message(channel.id, str(thread_ts)).root_ts
        except UnknownError:
            raise BreachError("thread_not_found") from None


def _between(messages: list[Message], args: Json) -> list[Message]:
    oldest, latest = str(args.get("oldest") or "0"), str(args.get("latest") or "9" * 17)
    if args.get("inclusive") in TRUE:
        return [m for m in messages if oldest <= m.ts <= latest]
    return [m for m in messages if oldest < m.ts < latest]


def _decoded(metadata: Json | str | None) -> Json | None:
    return json.loads(metadata) if isinstance(metadata, str) else metadata
