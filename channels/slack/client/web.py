"""Sends to Slack and updates what was sent, through Slack's own client.

Retries belong to the outbox, so the client does none: its own retry after a lost connection can post twice (SL18).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from bot.core.protocols import Delivered, DeliveryError, Outgoing
from bot.core.values import Conversation
from bot.core.views import CardView, WhisperView
from channels.slack.blocks import section
from channels.slack.mrkdwn import with_channels
from channels.slack.receive import CHANNEL, conversation_of, is_channel, place_of
from channels.slack.render import SlackPost, render

_TOO_MANY, _SERVER_ERROR = 429, 500
METADATA_EVENT = "switchboard_post"
_TIMEOUT_SECONDS = 10
_RETRY_SECONDS = 5.0
_MISCONFIGURED_SECONDS = 300.0
# The app or its token is not right at the moment: somebody will mend it, and nothing is lost until then.
_MISCONFIGURED = frozenset(
    (
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
        "missing_scope",
        "no_permission",
    )
)
_PASSING = frozenset(
    ("internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org", "accesslimited")
)
_GONE = frozenset(("message_not_found", "cant_update_message", "edit_window_closed"))
# What is said of one person whom no direct message reaches. What concerns the app as a whole (`messages_tab_disabled`,
# `restricted_action`) is not among it: it would turn everybody's address off, long after somebody has mended it.
_UNREACHABLE = frozenset(
    (
        "channel_not_found",
        "is_archived",
        "user_not_found",
        "users_not_found",
        "user_disabled",
        "user_not_visible",
        "cannot_dm_bot",
        "invalid_user_combination",
    )
)


class SlackChannel:
    """Slack, as a channel."""

    dialog_seconds: float = 2.0
    """How long Slack may take to open a dialog: the click that asked for it is acknowledged only then (SL3)."""

    def __init__(self, client: AsyncWebClient) -> None:
        self._client = client
        self._api: Any = client  # for calls: the SDK's annotations are incomplete

    @classmethod
    def at(cls, api_url: str, token: str) -> SlackChannel:
        """A channel that talks to this address with this token."""
        return cls(web_client(api_url, token))

    @property
    def name(self) -> str:
        """The prefix of its addresses."""
        return CHANNEL

    def is_shared(self, conversation: Conversation) -> bool:
        """Everybody in a channel sees its cards; in a direct or a group message those who may decide need not be."""
        return is_channel(conversation)

    @property
    def client(self) -> AsyncWebClient:
        """The client, for `events`."""
        return self._client

    async def deliver(self, outgoing: Outgoing) -> Delivered:
        """Post or update. Raises DeliveryError; `undeliverable` where a copy's recipient gets no direct messages."""
        if not outgoing.private:
            return await self._deliver(outgoing, *place_of(outgoing.conversation))
        try:  # a copy for one person: a direct message, and a conversation of its own
            return await self._deliver(outgoing, outgoing.to.rpartition("/")[2], "")
        except DeliveryError as error:
            if error.error not in _UNREACHABLE:
                raise
            raise DeliveryError(error.error, undeliverable=True) from error

    async def _deliver(self, outgoing: Outgoing, channel: str, root_ts: str) -> Delivered:
        post = render(outgoing)
        if isinstance(outgoing.view, WhisperView) and not outgoing.private:
            return await self._whisper(channel, root_ts, outgoing.view.address, post)
        if outgoing.ref:
            updated = await self._update(outgoing.ref, post)
            if updated or not (isinstance(outgoing.view, CardView) and outgoing.view.open):
                return Delivered(outgoing.ref)  # a card that somebody deleted is missed only while it can be decided
        if outgoing.in_doubt and (there := await self._find(outgoing, channel, root_ts)):
            channel, found = there
            await self._update(f"{channel}/{found}", post)  # it had arrived, perhaps with an older face
            return Delivered(f"{channel}/{found}", conversation=None if root_ts else conversation_of(channel, found))
        metadata = {"event_type": METADATA_EVENT, "event_payload": {"post_id": outgoing.post_id}}
        thread = {"thread_ts": root_ts} if root_ts else {}
        answer = await self._call(
            "chat.postMessage", channel=channel, metadata=metadata, unfurl_links=False, unfurl_media=False,
            **_content(post), **thread,
        )  # fmt: skip
        ts, channel = str(answer["ts"]), str(answer.get("channel") or channel)
        return Delivered(f"{channel}/{ts}", conversation=None if root_ts else conversation_of(channel, ts))

    async def open_view(self, trigger_id: str, view: dict[str, Any]) -> None:
        """Open a modal; the trigger lives for three seconds (SL16), as does Slack's patience (SL3).

        Raises DeliveryError; in doubt where Slack has not said whether it is open.
        """
        try:
            async with asyncio.timeout(self.dialog_seconds):
                await self._call("views.open", trigger_id=trigger_id, view=view)
        except TimeoutError as error:
            raise DeliveryError("slow", in_doubt=True) from error

    async def whisper(self, channel: str, root_ts: str, user_id: str, text: str) -> None:
        """Tell one person something, outside of any thread of ours. Raises DeliveryError."""
        marked = with_channels(text)
        post = SlackPost(marked, [section(marked)])
        await self._whisper(channel, root_ts, f"{CHANNEL}:/{user_id}", post)

    async def ping(self) -> dict[str, str]:
        """Who the token belongs to: `team`, `team_id`, `user`, `user_id`. Raises DeliveryError."""
        answer = await self._call("auth.test")
        return {key: str(answer.get(key, "")) for key in ("team", "team_id", "user", "user_id")}

    async def ping_socket_mode(self, app_token: str) -> None:
        """Whether Slack would open a Socket Mode connection with this token. Raises DeliveryError."""
        try:
            await self._api.apps_connections_open(app_token=app_token)
        except SlackApiError as error:
            raise _refused(error, writes=False) from error
        except (aiohttp.ClientError, TimeoutError, SlackClientError, ValueError) as error:
            raise DeliveryError(type(error).__name__, retry_seconds=_RETRY_SECONDS) from error

    async def close(self) -> None:
        """Let go of connections."""
        if self._client.session and not self._client.session.closed:
            await self._client.session.close()

    async def _whisper(self, channel: str, root_ts: str, address: str, post: SlackPost) -> Delivered:
        user = address.rpartition("/")[2]
        thread = {"thread_ts": root_ts} if root_ts else {}
        answer = await self._call("chat.postEphemeral", channel=channel, user=user, **_content(post), **thread)
        return Delivered(f"{channel}/{answer.get('message_ts', '')}")

    async def _update(self, ref: str, post: SlackPost) -> bool:
        """Bring a message up to date. False: it is not there any more."""
        channel, _, ts = ref.partition("/")
        try:
            await self._call("chat.update", channel=channel, ts=ts, **_content(post))
        except DeliveryError as error:
            if error.error not in _GONE:
                raise
            return False
        return True

    async def _find(self, outgoing: Outgoing, channel: str, root_ts: str) -> tuple[str, str] | None:
        """Channel and ts of a post that carries our id (SL19). Where that cannot be found out, it stays in doubt."""
        try:
            place = await self._direct(channel) if outgoing.private else channel
            found = await self._search(place, root_ts, outgoing.post_id) if place else None
        except DeliveryError as error:
            raise DeliveryError(error.error, retry_seconds=error.retry_seconds, in_doubt=True) from error
        return (place, found) if found else None

    async def _direct(self, user_id: str) -> str:
        """The channel of the direct message with this person; empty where the app may not ask.

        An app that was installed without the scope may post to a person all the same: better a second card, of which
        only the newer one decides, than nobody who is asked until an administrator installs the app anew.
        """
        try:
            answer = await self._call("conversations.open", users=user_id)
        except DeliveryError as error:
            if error.error != "missing_scope":
                raise
            return ""
        channel: dict[str, Any] = answer.get("channel") or {}
        return str(channel.get("id") or "")

    async def _search(self, channel: str, root_ts: str, post_id: str) -> str | None:
        method, where = ("conversations.replies", {"ts": root_ts}) if root_ts else ("conversations.history", {})
        cursor = ""
        while True:
            more = {"cursor": cursor} if cursor else {}
            answer = await self._call(method, channel=channel, include_all_metadata=True, limit=200, **where, **more)
            messages: list[Any] = answer.get("messages") or []
            for message in messages:
                if message.get("metadata", {}).get("event_payload", {}).get("post_id") == post_id:
                    return str(message["ts"])
            page: dict[str, Any] = answer.get("response_metadata") or {}
            cursor = str(page.get("next_cursor") or "")
            if not cursor or not root_ts:
                return None

    async def _call(self, method: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 whatever the method takes
        # Reads are harmless to repeat; of a write whose answer is lost, nobody knows whether it was done.
        writes = not method.startswith(("conversations.", "auth."))
        try:
            answer = await self._api.api_call(method, json=arguments) if writes else await self._read(method, arguments)
        except SlackApiError as error:
            raise _refused(error, writes=writes) from error
        except (aiohttp.ClientError, TimeoutError, SlackClientError, ValueError) as error:
            # The text of a ValueError or client error may hold the body: only its kind is kept (SL2).
            raise DeliveryError(type(error).__name__, retry_seconds=_RETRY_SECONDS, in_doubt=writes) from error
        return cast("dict[str, Any]", answer.data)

    async def _read(self, method: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401 the SDK's answer
        return await self._api.api_call(method, params=arguments)


def web_client(api_url: str, token: str) -> AsyncWebClient:
    """Slack's client, without retries of its own, and silent."""
    silent = logging.getLogger("switchboard.slack_sdk")
    silent.setLevel(logging.CRITICAL)  # the SDK logs bodies at lower levels (SL2)
    base_url = api_url if api_url.endswith("/") else f"{api_url}/"
    return AsyncWebClient(token=token, base_url=base_url, timeout=_TIMEOUT_SECONDS, retry_handlers=[], logger=silent)


def _content(post: SlackPost) -> dict[str, Any]:
    return {"text": post.text, "blocks": post.blocks}


def _refused(error: SlackApiError, *, writes: bool) -> DeliveryError:
    response = cast("Any", error).response  # a response or a dict, the SDK does not say
    status = int(getattr(response, "status_code", None) or 0)
    code = str(response.get("error") or "") if isinstance(response.data, dict) else ""
    if code == "ratelimited" or status == _TOO_MANY:  # SL18
        headers: dict[str, str] = response.headers or {}
        after = headers.get("Retry-After", "1")
        return DeliveryError("ratelimited", retry_seconds=float(after) if after.isdigit() else 1.0)
    if code in _MISCONFIGURED:
        return DeliveryError(code, retry_seconds=_MISCONFIGURED_SECONDS)
    if code in _PASSING or status >= _SERVER_ERROR or not code:
        return DeliveryError(code or f"status {status}", retry_seconds=_RETRY_SECONDS, in_doubt=writes)
    return DeliveryError(code)
