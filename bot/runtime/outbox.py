"""Delivers a post and says what became of it. The intent is in the log already; this is only the sending.

A post carries its own id to the channel, so that one which may have arrived is looked for before it is sent again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bot.core.events import PostFailed, PostHeld, PostSent
from bot.core.log import Log
from bot.core.people import Address
from bot.core.protocols import Channel, Clock, DeliveryError, Outgoing, ThreadStore
from bot.core.redact import redact
from bot.core.state import Post, Reminder, RequestCard, Whisper
from bot.core.tokens import Tokens, link_binds
from bot.core.values import Conversation
from bot.core.views import CardView, SayView, View, view_of
from bot.core.wording import cut
from bot.runtime.links import Links
from bot.runtime.routing import Routing, channel_of

MAX_PAUSE_SECONDS = 300.0
LONG_PAUSE_SECONDS = 900.0
"""From the 25th attempt on, which is about two hours after the first one. Each attempt leaves two events in the log."""
MAX_ATTEMPTS = 115
"""About a day of trying."""
HOPELESS_PAUSE_SECONDS = 6 * 3600.0
"""Where nothing gets through to somebody at all: tried ever more seldom, in the end after this long."""
_MANY_ATTEMPTS = 24
_ELSEWHERE_SECONDS = 1.0


@dataclass(frozen=True)
class _Way:
    """Where a post goes."""

    channel: str
    conversation: Conversation
    wanted: Address
    """Whom it is meant for; empty: the conversation."""
    to: Address
    """Where they can be reached."""
    private: bool


class Outbox:
    """The way out."""

    def __init__(self, store: ThreadStore, routing: Routing, clock: Clock, links: Links, tokens: Tokens) -> None:
        self._store = store
        self._routing = routing
        self._clock = clock
        self._links = links
        self._tokens = tokens

    async def deliver(self, log: Log, post: Post, face: str, *, recovered: bool) -> PostSent | PostFailed | PostHeld:
        """Send the post, or update it, and return the event to record."""
        way = await self._way(log, post)
        if way is None:
            nowhere = DeliveryError("there is no conversation to send to")
            return self._failed(log, post, face, nowhere, to="", in_doubt=False)
        if way.wanted and not way.to:
            why = DeliveryError(f"no address of the owner of {channel_of(way.wanted)} address can be used")
            return self._failed(log, post, face, why, to=way.wanted, in_doubt=post.in_doubt, unreachable=True)
        channel = self._routing.channel(way.channel)
        if channel is None:
            off = DeliveryError(f"the channel {way.channel} is off", retry_seconds=MAX_PAUSE_SECONDS)
            return self._failed(log, post, face, off, to=way.to, in_doubt=post.in_doubt)
        if until := self._quiet_until(log, post, way):
            return PostHeld(at=self._clock.now(), post_id=post.id, face=face, until=until)
        return await self._send(channel, self._outgoing(log, post, face, way, recovered=recovered), log, post)

    def _quiet_until(self, log: Log, post: Post, way: _Way) -> datetime | None:
        """Nobody is asked or reminded by themselves in their quiet hours, unless the rule says so."""
        content = post.content
        # Whoever waits in a conversation of their own is awake, however the answer has to go to them.
        if not (way.private and post.line) or post.ref or not isinstance(content, RequestCard | Reminder):
            return None
        rule = log.state.requests[content.request_id].request.rule
        return None if rule and rule.wakes else self._routing.quiet_until(way.to, self._clock.now())

    async def _send(self, channel: Channel, outgoing: Outgoing, log: Log, post: Post) -> PostSent | PostFailed:
        face = outgoing.face
        try:
            delivered = await channel.deliver(outgoing)
        except DeliveryError as error:
            if error.undeliverable and outgoing.to:
                await self._routing.turn_off(outgoing.to, cut(redact(error.error), 200))
                if await self._routing.way_to(outgoing.to):
                    elsewhere = DeliveryError(error.error, retry_seconds=_ELSEWHERE_SECONDS)
                    return self._failed(log, post, face, elsewhere, to=outgoing.to, in_doubt=False)
            in_doubt = error.in_doubt or outgoing.in_doubt
            return self._failed(
                log, post, face, error, to=outgoing.to, in_doubt=in_doubt, unreachable=error.undeliverable
            )
        if delivered.conversation:
            await self._store.bind(delivered.conversation, log.thread_id)
        to = "" if channel.is_shared(outgoing.conversation) and not outgoing.private else outgoing.to
        return PostSent(
            at=self._clock.now(),
            post_id=post.id,
            ref=delivered.ref,
            face=face,
            conversation=None if outgoing.private else delivered.conversation,
            to=to,
            person=self._routing.person_at(to) if to else "",
            tracked=delivered.tracked,
        )

    async def _way(self, log: Log, post: Post) -> _Way | None:
        state = log.state
        conversation = state.conversation
        if conversation is None:
            return None
        here = conversation.channel
        aside = post.content.address if isinstance(post.content, Whisper) else post.line
        if self._routing.is_shared(conversation) and channel_of(aside) in {here, ""} and not post.line:
            private = aside in state.reached  # whoever got a copy need not be where the conversation is
            return _Way(here, conversation, "", aside or state.owner, private=bool(aside and private))
        wanted = aside or state.owner
        if not wanted:
            return _Way(here, conversation, "", "", private=False)  # the channel knows the place by its own reference
        to = await self._routing.way_to(post.to or wanted) or await self._routing.way_to(wanted)
        private = bool(post.line) or channel_of(to) != here or wanted != state.owner
        return _Way(channel_of(to), conversation, wanted, to, private=private)

    def _outgoing(self, log: Log, post: Post, face: str, way: _Way, *, recovered: bool) -> Outgoing:
        view = _for(view_of(log.state, post), way)
        asked_at, binds = _asked_at(log, post), log.request_id_of(post.id)
        moved = post.ref is not None and post.to != way.to and way.private
        ref = None if moved else post.ref
        artifact = view.artifact.name if isinstance(view, CardView) and view.artifact else ""
        shown = isinstance(view, SayView | CardView)
        withdrawable = isinstance(view, CardView) and view.kind == "approval" and way.to == log.state.owner
        decidable = isinstance(view, CardView) and (view.may_decide(way.to) or (view.open and withdrawable))
        return Outgoing(
            post_id=post.id,
            conversation=way.conversation,
            view=view,
            face=face,
            asked_at=asked_at,
            to=way.to,
            timezone=self._routing.timezone_at(way.to),
            private=way.private,
            trail=log.state.trails.get(way.to, ""),
            ref=ref,
            in_doubt=ref is None and (post.in_doubt or recovered),
            reply_token=self._tokens.make("reply", post.id, way.to, asked_at, binds=binds) if way.to else "",
            trace_token=self._tokens.make("trace", post.id, way.to, asked_at, binds=binds) if way.to else "",
            bounce_token=self._tokens.make("bounce", post.id, way.to, asked_at, binds=binds) if way.to else "",
            decide_url=self._decide_url(log, post, way.to) if way.to and decidable else "",
            full_text_url=self._links.to("post", log.thread_id, post.id) if shown else "",
            artifact_url=self._links.to("artifact", log.thread_id, artifact) if artifact else "",
        )

    def _decide_url(self, log: Log, post: Post, to: Address) -> str:
        if not self._links.public_url or not isinstance(post.content, RequestCard | Reminder):
            return ""
        digest = log.state.requests[post.content.request_id].request.digest
        binds = link_binds(self._routing.person_at(to), digest)
        token = self._tokens.make("decide", post.id, to, _asked_at(log, post), binds=binds)
        return f"{self._links.public_url}/decide/{token}"

    def _failed(
        self,
        log: Log,
        post: Post,
        face: str,
        error: DeliveryError,
        *,
        to: Address,
        in_doubt: bool,
        unreachable: bool = False,
    ) -> PostFailed:
        now = self._clock.now()
        retry_at = None
        if _is_needed(log, post) or (error.retry_seconds is not None and post.attempts < MAX_ATTEMPTS):
            longest = LONG_PAUSE_SECONDS if post.attempts >= _MANY_ATTEMPTS else MAX_PAUSE_SECONDS
            backoff = min(2.0 ** min(post.attempts, 20), longest)
            wanted = MAX_PAUSE_SECONDS if error.retry_seconds is None else error.retry_seconds
            if unreachable and post.lost:
                wanted = min(MAX_PAUSE_SECONDS * 2.0 ** min(post.attempts, 10), HOPELESS_PAUSE_SECONDS)
            retry_at = now + timedelta(seconds=max(wanted, backoff))
        text = cut(redact(error.error), 300)
        return PostFailed(
            at=now,
            post_id=post.id,
            face=face,
            error=text,
            retry_at=retry_at,
            in_doubt=in_doubt,
            to=to,
            unreachable=unreachable,
        )


def _asked_at(log: Log, post: Post) -> datetime:
    event = log.asking(post.id)
    assert event is not None  # noqa: S101 posts are made by events of this log
    return event.at


def _for(view: View, way: _Way) -> View:
    """The view with the address at which a decider is really reached."""
    if not isinstance(view, CardView) or way.to == way.wanted:
        return view
    deciders = tuple(
        one.model_copy(update={"address": way.to}) if one.address == way.wanted else one for one in view.deciders
    )
    return replace(view, deciders=deciders, asked=tuple(way.to if one == way.wanted else one for one in view.asked))


def _is_needed(log: Log, post: Post) -> bool:
    """Whether something waits for this post: the card of a request that is still open is never given up."""
    if not isinstance(post.content, RequestCard):
        return False
    return log.state.requests[post.content.request_id].status == "pending"
