"""What the audit trail says of a thread: its log, told without what anybody wrote (AP16). Pure.

Records are derived from the log and are no second truth beside it: the same log gives the same records, and a record
depends on nothing that came after it. No codes, tokens, links, bodies, answers or reasons get in: of a text its length
does, of a token that it was there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias, assert_never

from pydantic import ValidationError

from bot.core import events as e
from bot.core.audit_record import (
    Entry,
    Fingerprints,
    by,
    choice_of,
    closed,
    entry_of,
    iso,
    opening,
    policy_of,
    preview_of,
    pruned,
    shorten,
)
from bot.core.digest import digest_of
from bot.core.fold import step
from bot.core.requests import gets_a_hint, open_approval
from bot.core.state import Call, RequestState, ThreadState
from bot.core.values import CallId, RequestId, ThreadId

FORMAT = 1
"""Goes up when records come to say something else. A check finds fault with every other number, because it could not
compare such a record, and anybody can write one: whoever raises it teaches the check what came before."""


class Unreadable(Exception):  # noqa: N818 a finding, not a mistake
    """A stored line is not an event. Nothing can be said of it and what comes after it."""

    def __init__(self, thread_id: ThreadId, seq: int) -> None:
        super().__init__(f"thread {thread_id}, event {seq}: what is stored is not an event")
        self.seq = seq


@dataclass(frozen=True)
class Found:
    """A record before it has a place in a trail."""

    seq: int
    entry: Entry
    after: datetime
    """The newest time in the log so far. It orders records, so that those of a thread keep their order."""


def entries_of(thread_id: ThreadId, lines: Iterable[bytes], fingerprints: Fingerprints) -> Iterator[Found]:
    """The records of a log, in its order. `lines` are the events as they are stored. Raises Unreadable."""
    state, opened = ThreadState(thread_id=thread_id), dict[RequestId, int]()
    digest, latest = hashlib.sha256(thread_id.encode()), datetime.min.replace(tzinfo=UTC)
    for seq, line in enumerate(lines, start=1):
        digest.update(b"\n%d\n%b" % (len(line), line))
        try:
            event = e.event_from_json(line)
            at = (event.at if event.at.tzinfo else event.at.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValidationError, OverflowError):
            raise Unreadable(thread_id, seq) from None
        before, state = state, step(state, event)
        if isinstance(event, e.RequestOpened):
            opened.setdefault(event.request.id, seq)
        latest = max(latest, at)
        told = _told(_Moment(before, state, opened), event)
        if told is not None:
            head = Entry(
                format=FORMAT, at=iso(at), thread=thread_id, seq=seq, fingerprint=fingerprints.mark(digest.digest())
            )
            yield Found(seq, pruned({**told, **head}), latest)


@dataclass(frozen=True)
class _Moment:
    """The states around an event, and at which seq each request was opened."""

    before: ThreadState
    after: ThreadState
    opened: Mapping[RequestId, int]

    def call(self, call_id: CallId) -> Entry:
        """What a call is: its tool, its title, its exact arguments by their digest."""
        call = self._call(call_id)
        if call is None:
            return Entry()
        title = shorten(call.prepared.preview.title, 150) if call.prepared else ""
        return Entry(tool=shorten(call.tool, 100), title=title, digest=_digest(self.before.thread_id, call))

    def approval(self, call_id: CallId) -> Entry:
        """What a call that may run was shown to be, and who let it run, if it took somebody."""
        call = self._call(call_id)
        shown = preview_of(call.prepared.preview if call and call.prepared else None)
        one = self.before.requests.get(call.request_id or "") if call else None
        if one is None:
            return {**shown, **self.unasked(call_id)}
        return Entry(
            facts=shown.get("facts", []),
            request=self.opened.get(one.request.id),
            requesters=closed(one.request.requesters),
            approved_by=closed(vote.by.id for vote in one.votes),
            policy=policy_of(one.request),
        )

    def unasked(self, call_id: CallId) -> Entry:
        """The policy that decided a call without asking anybody."""
        call = self._call(call_id)
        return entry_of(call.prepared.ruling if call and call.prepared else None)

    def request(self, request_id: RequestId) -> Entry:
        """What a request is about, and how it stands now."""
        one = self.after.requests.get(request_id)
        if one is None:
            return Entry()
        request = one.request
        calls = (self.before.call, self.after.call)
        tool = next((call.tool for call in calls if call and call.id == request.call_id), "")
        return Entry(
            request=self.opened.get(request_id),
            kind=request.kind,
            status=one.status,
            tool=shorten(tool, 100),
            digest=request.digest,
            title=shorten(request.preview.title, 150) if request.preview else "",
            requesters=closed(request.requesters),
            policy=policy_of(request),
            approved_by=closed(vote.by.id for vote in one.votes),
        )

    def phase(self, call_id: CallId) -> str:
        """How far a call had come; empty where it is not the one in hand."""
        call = self._call(call_id)
        return call.phase if call else ""

    def waited(self, request_id: RequestId) -> RequestState | None:
        """The request, if it was pending."""
        one = self.before.requests.get(request_id)
        return one if one and one.status == "pending" else None

    def settled(self, *statuses: str) -> list[RequestState]:
        """The requests that this event brought into one of these states."""
        if self.after.requests is self.before.requests:
            return []
        return [
            one
            for key, one in self.after.requests.items()
            if one.status in statuses and key in self.before.requests and self.before.requests[key].status == "pending"
        ]

    def _call(self, call_id: CallId) -> Call | None:
        call = self.before.call
        return call if call and call.id == call_id else None


def _told(now: _Moment, event: e.Event) -> Entry | None:
    """What is recorded of an event: a step in the story of who asked, who decided and what ran, or what ended one."""
    told = _story(now, event)
    own = event.request_id if isinstance(event, e.DecisionMade) else ""
    withdrawn = [now.opened[one.request.id] for one in now.settled("superseded", "cancelled") if one.request.id != own]
    if withdrawn:
        return {**(told or Entry(what="withdrawn")), "withdrawn": withdrawn}
    return told


def _story(now: _Moment, event: e.Event) -> Entry | None:
    match event:
        case e.ThreadLaunched():
            place = f"{event.conversation.channel}:{event.conversation.ref}" if event.conversation else ""
            return {**by(event.by), "what": "launched", "agent": event.agent, "conversation": place}
        case e.MessageReceived():
            return _said(now, event)
        case e.RequestOpened() | e.DecisionMade() | e.DecisionRefused():
            return _decision(now, event)
        case e.RequestExpired() | e.RequestReminded() | e.RequestEscalated():
            return _waiting(now, event)
        case e.CallRefused() | e.ToolStarted() | e.ToolFinished() | e.ToolFailed() | e.ToolInDoubt():
            return _run(now, event)
        case e.Paused() | e.Resumed() | e.Cancelled():
            return {**by(event.by), "what": event.type, "status": now.after.status}
        case e.PostSent() | e.PostFailed() | e.PostReported():
            return _delivery(now, event)
        case e.InboundRefused():
            return Entry(
                what="turned_away", channel=event.channel, address=event.address, rule=event.rule, source=event.source
            )
        case (
            e.FactsGathered() | e.ToolChosen() | e.ModelFailed() | e.ModelRetryDue() | e.CallPrepared()
            | e.EscalationDue() | e.WaitStarted() | e.WaitEnded() | e.HandedOff() | e.RunFinished()
            | e.PostHeld() | e.PostRetryDue()
        ):  # fmt: skip
            return None  # no one's doing, or told by what comes of it
        case _:
            assert_never(event)


def _said(now: _Moment, event: e.MessageReceived) -> Entry:
    written = Entry(length=len(event.text) + event.cut_characters, source=event.source)
    if answered := now.settled("answered"):
        about = now.request(answered[0].request.id)
        return {**written, **about, **by(event.by), **Entry(what="decided", verdict="answer")}
    waits = open_approval(now.before)
    if waits and gets_a_hint(now.before, event.text):
        about = now.request(waits.request.id)
        return {**written, **about, **by(event.by), **Entry(what="refused", verdict="unclear", rule="message")}  # AP15
    return {**written, **by(event.by), "what": "said"}


def _decision(now: _Moment, event: e.RequestOpened | e.DecisionMade | e.DecisionRefused) -> Entry:
    match event:
        case e.RequestOpened(request=request):
            shown = preview_of(request.preview)
            return {**now.request(request.id), **shown, **opening(request), **Entry(what="request_opened")}
        case e.DecisionMade():
            about, one = now.request(event.request_id), now.after.requests.get(event.request_id)
            decision = Entry(
                what="decided",
                verdict=event.verdict,
                digest=event.digest,
                length=len(event.text) or None,
                choice=choice_of(one.request, event) if one else "",
                source=event.source,
            )
            return {**about, **by(event.by), **decision}
        case e.DecisionRefused():
            refusal = Entry(what="refused", verdict=event.verdict, rule=event.rule, source=event.source)
            return {**now.request(event.request_id), **by(event.by), **refusal}


def _waiting(now: _Moment, event: e.RequestExpired | e.RequestReminded | e.RequestEscalated) -> Entry | None:
    if now.waited(event.request_id) is None:
        return None  # it was settled already: nothing came of this
    about = now.request(event.request_id)
    match event:
        case e.RequestExpired():
            return {**about, "what": "expired"}
        case e.RequestReminded():
            return {**about, "what": "reminded", "share": event.share}
        case e.RequestEscalated():
            asked = closed(f"{one.id} {one.address}".strip() for one in event.deciders)
            return {**about, "what": "escalated", "step": event.step, "asked": asked}


_Run: TypeAlias = e.CallRefused | e.ToolStarted | e.ToolFinished | e.ToolFailed | e.ToolInDoubt


def _run(now: _Moment, event: _Run) -> Entry:
    call = now.call(event.call_id)
    match event:
        case e.CallRefused():
            phase = now.phase(event.call_id)
            rules = {"chosen": "arguments", "prepared": "policy"}
            why = shorten(event.why, 300) if phase == "prepared" else ""  # of the others, some repeat the model's words
            unasked = now.unasked(event.call_id) if phase == "prepared" else Entry()
            return {**call, **unasked, "what": "not_run", "rule": rules.get(phase, "approval"), "summary": why}
        case e.ToolStarted():
            return {**call, **now.approval(event.call_id), "what": "started", "place": event.place}
        case e.ToolFinished():
            came = Entry(what="succeeded", seconds=event.seconds, summary=shorten(event.summary, 300))
            return {**call, **came}
        case e.ToolFailed() if now.phase(event.call_id) not in {"started", "in_doubt"}:
            return {**call, "what": "not_run", "rule": "preparation", "summary": shorten(event.summary, 300)}
        case e.ToolFailed():
            came = Entry(what="failed", seconds=event.seconds, summary=shorten(event.summary, 300))
            return {**call, **came}
        case e.ToolInDoubt():
            return {**call, "what": "in_doubt"}


def _delivery(now: _Moment, event: e.PostSent | e.PostFailed | e.PostReported) -> Entry | None:
    post = now.before.posts.get(event.post_id)
    meant = post.line if post else ""
    match event:
        case e.PostSent():
            if not (meant and event.to and event.to != meant and (post is None or event.to != post.to)):
                return None
            return Entry(what="rerouted", post=event.post_id, address=meant, to=event.to)
        case e.PostFailed():
            given_up = event.retry_at is None or (event.unreachable and not (post and post.lost))
            rule = "unreachable" if event.unreachable else "given_up"
            address = event.to or meant
            return Entry(what="undeliverable", post=event.post_id, address=address, rule=rule) if given_up else None
        case e.PostReported():
            if event.outcome == "delivered":
                return None
            address = (post.to if post else "") or meant
            return Entry(what="undeliverable", post=event.post_id, address=address, rule=event.outcome)


def _digest(thread_id: ThreadId, call: Call) -> str:
    try:
        return digest_of(thread_id, call)
    except ValueError:  # a number that is none: no such call can be approved
        return ""
