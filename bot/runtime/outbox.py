"""Delivers a post and says what became of it. The intent is in the log already; this is only the sending.

A post carries its own id to the channel, so that one which may have arrived is looked for before it is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from bot.core.events import PostFailed, PostSent
from bot.core.log import Log
from bot.core.protocols import Channel, Clock, DeliveryError, Outgoing, ThreadStore
from bot.core.redact import redact
from bot.core.state import Post, RequestCard
from bot.core.views import CardView, SayView, view_of
from bot.core.wording import cut
from bot.runtime.links import Links

MAX_PAUSE_SECONDS = 300.0
MAX_ATTEMPTS = 300
"""With pauses of up to five minutes, about a day of trying."""


class Outbox:
    """The way out."""

    def __init__(self, store: ThreadStore, channels: Mapping[str, Channel], clock: Clock, links: Links) -> None:
        self._store = store
        self._channels = channels
        self._clock = clock
        self._links = links

    async def deliver(self, log: Log, post: Post, face: str, *, recovered: bool) -> PostSent | PostFailed:
        """Send the post, or update it, and return the event to record."""
        conversation = log.state.conversation
        channel = self._channels.get(conversation.channel) if conversation else None
        needed = _is_needed(log, post)
        if conversation is None or channel is None:
            where = conversation.channel if conversation else "nowhere"
            off = DeliveryError(f"the channel {where} is off", retry_seconds=MAX_PAUSE_SECONDS)
            return self._failed(post, face, off, in_doubt=post.in_doubt, needed=needed)
        view = view_of(log.state, post)
        artifact = view.artifact.name if isinstance(view, CardView) and view.artifact else ""
        outgoing = Outgoing(
            post_id=post.id,
            conversation=conversation,
            view=view,
            ref=post.ref,
            in_doubt=post.ref is None and (post.in_doubt or recovered),
            full_text_url=self._links.to("post", log.thread_id, post.id)
            if isinstance(view, SayView | CardView)
            else "",
            artifact_url=self._links.to("artifact", log.thread_id, artifact) if artifact else "",
        )
        try:
            delivered = await channel.deliver(outgoing)
        except DeliveryError as error:
            return self._failed(post, face, error, in_doubt=error.in_doubt or outgoing.in_doubt, needed=needed)
        if delivered.conversation:
            await self._store.bind(delivered.conversation, log.thread_id)
        return PostSent(
            at=self._clock.now(), post_id=post.id, ref=delivered.ref, face=face, conversation=delivered.conversation
        )

    def _failed(self, post: Post, face: str, error: DeliveryError, *, in_doubt: bool, needed: bool) -> PostFailed:
        now = self._clock.now()
        retry_at = None
        if needed or (error.retry_seconds is not None and post.attempts < MAX_ATTEMPTS):
            backoff = min(2.0 ** min(post.attempts, 20), MAX_PAUSE_SECONDS)
            wanted = MAX_PAUSE_SECONDS if error.retry_seconds is None else error.retry_seconds
            retry_at = now + timedelta(seconds=max(wanted, backoff))
        text = cut(redact(error.error), 300)
        return PostFailed(at=now, post_id=post.id, face=face, error=text, retry_at=retry_at, in_doubt=in_doubt)


def _is_needed(log: Log, post: Post) -> bool:
    """Whether something waits for this post: the card of a request that is still open is never given up."""
    if not isinstance(post.content, RequestCard):
        return False
    return log.state.requests[post.content.request_id].status == "pending"
