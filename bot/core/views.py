"""What a card says: made from the log, without knowing any channel. A channel turns it into its own form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from bot.core.people import Actor, Address
from bot.core.state import Activity, ActivityCard, Post, Reminder, RequestCard, RequestState, Say, ThreadState, Whisper
from bot.core.values import AnswerFormat, Artifact, Fact, Preview, Request, RequestId, Risk
from bot.core.wording import cut, one_line, plural, sentence, visible

_MOST_NAMED = 3
Mood = Literal["open", "good", "bad", "quiet", "busy"]


@dataclass(frozen=True)
class SayView:
    """A text."""

    text: str
    tone: Literal["answer", "notice", "problem"]


@dataclass(frozen=True)
class WhisperView:
    """A text for one address only."""

    address: str
    text: str


@dataclass(frozen=True)
class CardView:
    """A card: what is asked or done, and how it stands."""

    kind: Literal["approval", "question", "activity"]
    title: str
    request_id: RequestId = ""
    open: bool = False
    """Whether it can still be decided: only then are there buttons."""
    context: str = ""
    facts: tuple[Fact, ...] = ()
    warnings: tuple[str, ...] = ()
    note: str = ""
    """Something to know beside the call itself; empty: nothing."""
    details: str = ""
    format: AnswerFormat = "free_text"
    choices: tuple[str, ...] = ()
    ruled: bool = False
    """Only the deciders may decide."""
    risk: Risk = "low"
    dangerous: bool = False
    deciders: tuple[Actor, ...] = ()
    """Who may decide, as it was when the request was made; the check is made again at the decision."""
    asked: tuple[Address, ...] = ()
    """Every address at which somebody is asked; a person may be asked at two."""
    asked_by: str = ""
    expires_at: float | None = None
    """Unix seconds."""
    status: str = ""
    """How it stands, one sentence for people."""
    mood: Mood = "open"
    artifact: Artifact | None = None
    reminder: bool = False
    """A nudge about a request whose card was sent before."""

    def may_decide(self, address: Address) -> bool:
        """Whether the person at this address is among those who are asked. A question without a rule is for anybody."""
        if not self.open:
            return False
        named = address in self.asked or any(one.address == address for one in self.deciders)
        return named or (self.kind == "question" and not self.ruled)


View = SayView | WhisperView | CardView


def view_of(state: ThreadState, post: Post) -> View:
    """What this post has to show now."""
    match post.content:
        case Say(text, tone):
            return SayView(text, tone)
        case Whisper(address, text):
            return WhisperView(address, text)
        case ActivityCard(call_id):
            activity = state.activities[call_id]
            status, mood = _activity_status(activity)
            return CardView(kind="activity", title=activity.title, status=status, mood=mood, artifact=activity.artifact)
        case RequestCard(request_id, to):
            return _request_view(state, state.requests[request_id], copy=bool(to))
        case Reminder(request_id, to):
            one = state.requests[request_id]
            voted = {vote.by.id for vote in one.votes}
            view = _request_view(state, one, copy=True)
            return replace(view, reminder=True, deciders=tuple(by for by in view.deciders if by.id not in voted))


def _request_view(state: ThreadState, one: RequestState, *, copy: bool) -> CardView:
    request = one.request
    own = request.kind == "approval" and not copy
    activity = state.activities.get(request.call_id or "") if own else None
    status, mood = _request_status(one, activity)
    preview = _shown(request.preview)
    return CardView(
        kind=request.kind,
        title=preview.title if preview else request.prompt,
        request_id=request.id,
        open=one.status == "pending",
        context=request.context,
        facts=(*map(_fact, _changes(request)), *(preview.facts if preview else ())),
        warnings=(*_short_of_people(one), *(preview.warnings if preview else ())),
        note="" if copy else _resting(one),
        details=preview.details if preview else "",
        format=request.format,
        choices=request.choices,
        ruled=request.rule is not None,
        risk=request.rule.risk if request.rule else "low",
        dangerous=request.kind == "approval" and request.rule is not None and request.rule.risk == "high",
        deciders=tuple({by.id: by for by in (*reversed(one.joined), *reversed(request.deciders))}.values())[::-1],
        asked=tuple(by.address for by in (*request.deciders, *one.joined) if by.address),
        asked_by=request.asked_by,
        expires_at=request.expires_at.timestamp() if request.expires_at and one.status == "pending" else None,
        status=status,
        mood=mood,
        artifact=activity.artifact if activity else None,
    )


def _shown(preview: Preview | None) -> Preview | None:
    """With marks for what nobody would see of it (AP14)."""
    return preview and Preview(
        title=cut(visible(preview.title), 150),
        facts=tuple(map(_fact, preview.facts)),
        warnings=tuple(map(visible, preview.warnings)),
        details=visible(preview.details),
    )


def _fact(fact: Fact) -> Fact:
    return Fact(label=cut(visible(fact.label), 75), value=cut(visible(fact.value), 1_900))


def _short_of_people(one: RequestState) -> tuple[str, ...]:
    """That there are not people enough to approve, as far as is known: nobody should wait for it in silence."""
    rule = one.request.rule
    if rule is None or one.request.kind != "approval" or one.status != "pending":
        return ()
    able = {actor.id: one_line(actor.name) for actor in (*one.request.deciders, *one.joined)}
    able |= {vote.by.id: one_line(vote.by.name) for vote in one.votes}
    if len(able) >= rule.approvals:
        return ()
    names = f"only {' and '.join(able.values())} can give one" if able else "nobody can give one"
    more = one.request.more_may_join and len(rule.escalation) > one.escalated
    later = ", unless the escalation brings in more" if more else ""
    return (f"It takes {plural(rule.approvals, 'approval')}, and {names}{later}.",)


def _resting(one: RequestState) -> str:
    """Who is asked later: whoever waits for them should know why they are silent."""
    ends, voted = one.request.expires_at, {vote.by.id for vote in one.votes}
    resting = [who for who in one.request.resting if one.status == "pending" and who.id not in voted]
    told = [
        f"{one_line(who.name)} is not asked, because this ends before {who.until:%H:%M} UTC"
        if ends and who.until >= ends
        else f"{one_line(who.name)} is asked at {who.until:%H:%M} UTC"
        for who in resting[:_MOST_NAMED]
    ]
    told += [f"and {len(resting) - _MOST_NAMED} more"] if len(resting) > _MOST_NAMED else []
    return f"Quiet hours: {', '.join(told)}." if told else ""


def _changes(request: Request) -> tuple[Fact, ...]:
    """What a person made different from what the model had proposed (AP13)."""
    if request.proposed is None or request.changed_to is None:
        return ()
    before, now = request.proposed, request.changed_to
    return tuple(
        Fact(
            label=cut(f"Changed by {request.edited_by}", 75),
            value=cut(f"{key}: {before.get(key, '(nothing)')} → {now.get(key, '(nothing)')}", 1900),
        )
        for key in dict.fromkeys((*before, *now))
        if before.get(key) != now.get(key)
    )


def _request_status(one: RequestState, activity: Activity | None) -> tuple[str, Mood]:
    who = one.decided_by.name if one.decided_by else "somebody"
    when = f", {one.decided_at:%H:%M} UTC" if one.decided_at else ""
    approval = one.request.kind == "approval"
    not_run = " It was not run." if approval else ""
    verb = "decided" if approval else "answered"
    said = one_line(one.text)  # in one line, so that nothing of it can pose as a line of ours
    match one.status:
        case "pending":
            needed = one.request.rule.approvals if one.request.rule else 1
            if needed == 1:
                return "", "open"
            given = f": {', '.join(vote.by.name for vote in one.votes)}" if one.votes else ""
            return f"{len(one.votes)} of {plural(needed, 'approval')}{given}", "open"
        case "approved":
            names = " and ".join(vote.by.name for vote in one.votes) or who
            approved = f"Approved by {names}{when}."
            outcome, mood = _activity_status(activity) if activity else ("", "good")
            return f"{approved} {outcome}".strip(), mood
        case "denied":
            reason = f": “{said.rstrip('. ')}”" if said else ", without a reason"
            return f"Denied by {who}{when}{reason}. It was not run.", "bad"
        case "answered":
            return f"{who} answered{when}: “{said}”", "good"
        case "expired":
            needed = one.request.rule.approvals if one.request.rule else 1
            votes = f"with {len(one.votes)} of {plural(needed, 'approval')}" if one.votes else ""
            return f"Timed out{f' {votes}' if votes else f': nobody {verb}'}.{not_run}", "quiet"
        case "cancelled":
            by = f" by {one.decided_by.name}" if one.decided_by else ""
            reason = f": “{said}”" if said else ""
            return f"{'Withdrawn' if by else 'Cancelled'}{by}{reason}.{not_run}", "quiet"
        case "superseded":
            return f"Withdrawn: {sentence(said or 'the plan changed')}{not_run}", "quiet"


def _activity_status(activity: Activity) -> tuple[str, Mood]:
    took = f" ({activity.seconds:.0f} s)" if activity.seconds >= 1 else ""
    match activity.status:
        case "ready" | "running":
            return "Running …", "busy"
        case "succeeded":
            return f"{activity.summary or 'Done'}{took}", "good"
        case "failed":
            return f"Failed: {activity.summary or 'see the thread'}{took}", "bad"
        case "in_doubt":
            return "Interrupted: nobody knows yet what became of it.", "bad"
        case "not_run":
            return f"Not run: {activity.summary}.".replace("..", "."), "quiet"
