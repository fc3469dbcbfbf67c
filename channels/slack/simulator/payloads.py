"""The JSON that Slack sends to an app and answers from its Web API, built from the store's records.

Pure but for fresh ids: nothing here sends or stores. Shapes follow docs.slack.dev; a field that Slack always sends is
sent here too, because bots come to rely on it.
"""

from collections.abc import Callable
from typing import Any

from channels.slack.simulator.records import Channel, Json, Message, User, View
from channels.slack.simulator.workspace import Workspace, new_id

VERIFICATION_TOKEN = "unused-since-signatures"  # noqa: S105 - Slack's retired field: a bot must not look at it


class Payloads:
    """Builds payloads for one workspace; `response_url` turns a ticket's key into a full address."""

    def __init__(self, workspace: Workspace, response_url: Callable[[str], str]) -> None:
        self.workspace = workspace
        self.full_response_url = response_url

    # What the Web API answers

    def message(self, message: Message) -> Json:
        """A message as in `conversations.history` and in events; metadata is left to the caller."""
        author = self.workspace.user(message.user)
        body: Json = {
            "type": "message",
            "user": message.user,
            "text": message.text,
            "ts": message.ts,
            "team": author.team_id,
        }
        if message.blocks:
            body["blocks"] = message.blocks
        if message.bot_id:
            body |= {"bot_id": message.bot_id, "app_id": self.workspace.app_id, "bot_profile": self._bot_profile()}
        if message.client_msg_id:
            body["client_msg_id"] = message.client_msg_id
        if author.team_id != self.workspace.team_id:
            body |= {"user_team": author.team_id, "source_team": author.team_id}
        if message.edited:
            body["edited"] = {"user": message.user, "ts": message.ts}
        if message.reactions:
            body["reactions"] = [
                {"name": name, "users": users, "count": len(users)} for name, users in message.reactions.items()
            ]
        if message.files:
            found = [self.workspace.files[file] for file in message.files]
            body["files"] = [{"id": f.id, "name": f.name, "title": f.title, "size": f.size} for f in found]
        return body | self._thread_fields(message)

    def _thread_fields(self, message: Message) -> Json:
        if message.thread_ts:
            parent = self.workspace.thread(message.channel, message.thread_ts)[:1]
            return {"thread_ts": message.thread_ts} | ({"parent_user_id": parent[0].user} if parent else {})
        replies = self.workspace.thread(message.channel, message.ts)[1:]
        if not replies or message.ephemeral_to:
            return {}
        return {"thread_ts": message.ts, "reply_count": len(replies), "latest_reply": replies[-1].ts}

    def _bot_profile(self) -> Json:
        bot, workspace = self.workspace.bot, self.workspace
        return {"id": workspace.bot_id, "app_id": workspace.app_id, "name": bot.name, "team_id": workspace.team_id}

    def view(self, view: View, values: Json | None = None) -> Json:
        """A modal as `views.open` answers it and as submissions carry it."""
        workspace = self.workspace
        return {
            "private_metadata": "",
            "callback_id": "",
            "external_id": "",
            "submit": None,
            "close": None,
            "clear_on_close": False,
            "notify_on_close": False,
            **view.payload,
            "id": view.id,
            "team_id": workspace.team_id,
            "app_id": workspace.app_id,
            "app_installed_team_id": workspace.team_id,
            "bot_id": workspace.bot_id,
            "state": {"values": values or {}},
            "hash": view.hash,
            "previous_view_id": None,
            "root_view_id": view.id,
        }

    def user(self, user: User) -> Json:
        """A person as `users.info` answers."""
        foreign = user.team_id != self.workspace.team_id
        return {
            "id": user.id,
            "team_id": user.team_id,
            "name": user.name,
            "deleted": False,
            "color": user.color,
            "real_name": user.real_name,
            "is_bot": user.is_bot,
            "is_restricted": False,
            "is_ultra_restricted": False,
            "is_stranger": foreign,
            "profile": {
                "real_name": user.real_name,
                "display_name": user.name,
                "title": user.title,
                "team": user.team_id,
                "email": f"{user.name}@{'partner' if foreign else 'acme'}.example",
            },
        }

    def channel(self, channel: Channel) -> Json:
        """A channel as `conversations.info` answers."""
        if channel.is_im:
            person = next(member for member in channel.members if member != self.workspace.bot.id)
            return {"id": channel.id, "is_im": True, "is_channel": False, "user": person, "is_archived": False}
        return {
            "id": channel.id,
            "name": channel.name,
            "is_channel": True,
            "is_im": False,
            "is_private": False,
            "is_archived": False,
            "is_member": self.workspace.bot.id in channel.members,
            "is_ext_shared": self.workspace.is_shared(channel),
            "num_members": len(channel.members),
        }

    # What Slack sends

    def event(self, event: Json, channel: Channel) -> Json:
        """The `event_callback` around an event; `event_id` is new each time (SL7)."""
        workspace = self.workspace
        return {
            "token": VERIFICATION_TOKEN,
            "team_id": workspace.team_id,
            "context_team_id": workspace.team_id,
            "context_enterprise_id": None,
            "api_app_id": workspace.app_id,
            "event": event,
            "type": "event_callback",
            "event_id": new_id("Ev"),
            "event_time": int(workspace.now()),
            "authorizations": [
                {
                    "enterprise_id": None,
                    "team_id": workspace.team_id,
                    "user_id": workspace.bot.id,
                    "is_bot": True,
                    "is_enterprise_install": False,
                }
            ],
            "is_ext_shared_channel": workspace.is_shared(channel),
            "event_context": f"4-{new_id('ctx')}",
        }

    def posted(self, message: Message) -> list[Json]:
        """The callbacks for a new message: `message`, and beside it `app_mention` when it names the bot (SL7)."""
        channel = self.workspace.channel(message.channel)
        body = self.message(message) | {"channel": channel.id, "event_ts": message.ts}
        body.pop("reply_count", None)
        sent = [self.event(body | {"channel_type": channel.kind}, channel)]
        mentioned = f"<@{self.workspace.bot.id}>" in message.text
        if mentioned and not channel.is_im and message.user != self.workspace.bot.id:
            sent.insert(0, self.event(body | {"type": "app_mention"}, channel))
        return sent

    def changed(self, message: Message, previous: Message) -> Json:
        """The callback for an edit, by a person or by `chat.update`."""
        extra = {"message": self.message(message), "previous_message": self.message(previous)}
        return self._hidden("message_changed", message, extra)

    def deleted(self, previous: Message) -> Json:
        """The callback for a message that was taken away."""
        extra = {"deleted_ts": previous.ts, "previous_message": self.message(previous)}
        return self._hidden("message_deleted", previous, extra)

    def _hidden(self, subtype: str, message: Message, extra: Json) -> Json:
        channel, ts = self.workspace.channel(message.channel), self.workspace.next_ts()
        event = {
            "type": "message",
            "subtype": subtype,
            "hidden": True,
            "channel": channel.id,
            "channel_type": channel.kind,
            "ts": ts,
            "event_ts": ts,
        }
        return self.event(event | extra, channel)

    def _interaction(self, kind: str, user: User) -> Json:
        workspace = self.workspace
        return {
            "type": kind,
            "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": user.team_id},
            "api_app_id": workspace.app_id,
            "token": VERIFICATION_TOKEN,
            "team": {"id": workspace.team_id, "domain": workspace.team_name.lower()},
            "enterprise": None,
            "is_enterprise_install": False,
        }

    def block_actions(
        self, user: User, message: Message, *, action: Json, values: Json, trigger_id: str, response_key: str
    ) -> Json:
        """A click or a choice in a message; Slack leaves the message itself out when it is ephemeral."""
        channel = self.workspace.channel(message.channel)
        container: Json = {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": channel.id,
            "is_ephemeral": message.ephemeral_to is not None,
        }
        if message.thread_ts:
            container["thread_ts"] = message.thread_ts
        payload = self._interaction("block_actions", user) | {
            "container": container,
            "trigger_id": trigger_id,
            "channel": {"id": channel.id, "name": "directmessage" if channel.is_im else channel.name},
            "state": {"values": values},
            "response_url": self.full_response_url(response_key),
            "actions": [action],
        }
        if not message.ephemeral_to:
            payload["message"] = self.message(message)
        return payload

    def view_submission(self, user: User, view: View, values: Json, trigger_id: str) -> Json:
        """A modal's submit button."""
        payload = self._of_view("view_submission", user, self.view(view, values))
        return payload | {"trigger_id": trigger_id, "response_urls": []}

    def view_closed(self, user: User, view: View) -> Json:
        """A modal that was dismissed; sent only when it asked for `notify_on_close`."""
        return self._of_view("view_closed", user, self.view(view)) | {"is_cleared": False}

    def _of_view(self, kind: str, user: User, view: Json) -> Json:
        # Unlike for a click, `team` is the person's own; where the app is installed stands in the view alone.
        domain = self.workspace.team_name.lower() if user.team_id == self.workspace.team_id else "partner"
        return self._interaction(kind, user) | {"team": {"id": user.team_id, "domain": domain}, "view": view}

    def command(self, user: User, channel: Channel, command: str, text: str, **tickets: str) -> dict[str, Any]:
        """A slash command; `tickets` are `trigger_id` and `response_key`."""
        workspace = self.workspace
        return {
            "token": VERIFICATION_TOKEN,
            "team_id": user.team_id,
            "team_domain": workspace.team_name.lower(),
            "channel_id": channel.id,
            "channel_name": "directmessage" if channel.is_im else channel.name,
            "user_id": user.id,
            "user_name": user.name,
            "command": command,
            "text": text,
            "api_app_id": workspace.app_id,
            "is_enterprise_install": "false",
            "response_url": self.full_response_url(tickets["response_key"]),
            "trigger_id": tickets["trigger_id"],
        }
