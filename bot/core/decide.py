"""Whether a person's decision counts: every check of the approval rulebook that can be made from what is known.

It fails closed. The caller appends the outcome with a compare-and-set on the log, so that what was judged is what is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from bot.core.events import DecisionMade, DecisionRefused
from bot.core.people import Actor, Address, People
from bot.core.state import RequestCard, RequestState, ThreadState, receipt_key
from bot.core.values import ApprovalRule, Arguments, RequestId
from bot.core.wording import cut, one_line, plural

Verdict = Literal["approve", "deny", "answer", "edit", "ask", "unclear"]
_WAYS = {"slack": "Slack", "email": "mail", "sms": "text message", "api": "the API"}
_RECEIPT_PAUSE = timedelta(hours=1)


@dataclass(frozen=True)
class Attempt:
    """What a person did, and how sure the channel is who it was."""

    request_id: RequestId
    verdict: Verdict
    by: Actor
    text: str = ""
    source: str = ""
    ref: str = ""
    """The message that was used, where the channel knows it."""
    arguments: Arguments | None = None
    """What an `edit` wants to run instead; the caller has held it against the tool's schema (AP13)."""
    problem: tuple[str, str] | None = None
    """What the channel itself found wrong with it: the rule, and what the person is told."""
    trail: str = ""
    """What the channel wants to know when it answers (`MessageReceived.trail`)."""
    receipt: Literal["always", "hourly", "never"] = "always"
    """Whether the person is told why it does not count. Where each receipt is a mail, one an hour is enough (EM16)."""


def judge(state: ThreadState, attempt: Attempt, people: People, at: datetime) -> DecisionMade | DecisionRefused:
    """The event to record: the decision, or the refusal with what the person is told."""
    one = state.requests.get(attempt.request_id)
    problem = ("unknown", "I do not know this request.") if one is None else _problem(one, attempt, people, at)
    if not problem and _is_old_card(state, attempt):
        problem = ("card", "This card is out of date; please use the newest one in this thread.")
    if one is None or problem or attempt.verdict == "unclear":
        rule, why = problem or ("unclear", "That is neither a yes nor a no.")
        told = state.told.get(receipt_key(attempt.by.address, attempt.request_id))
        return DecisionRefused(
            at=at,
            request_id=attempt.request_id,
            verdict=attempt.verdict,
            by=attempt.by,
            why=why,
            rule=rule,
            source=attempt.source,
            trail=attempt.trail,
            receipt=attempt.receipt == "always"
            or (attempt.receipt == "hourly" and not (told and at - told < _RECEIPT_PAUSE)),
        )
    return DecisionMade(
        at=at,
        request_id=attempt.request_id,
        verdict=attempt.verdict,
        by=attempt.by,
        text=attempt.text,
        arguments=attempt.arguments if attempt.verdict == "edit" else None,
        digest=one.request.digest,
        source=attempt.source,
    )


def as_typed(attempt: Attempt) -> Attempt:
    """The attempt, with its problem where something was not typed: a change needs arguments, a question words.

    `judge` does not ask for them, so that it can be asked what would be possible.
    """
    lacks = (attempt.verdict == "edit" and attempt.arguments is None) or (attempt.verdict == "ask" and not attempt.text)
    if attempt.problem or not lacks:
        return attempt
    return replace(attempt, problem=("incomplete", "Nothing was typed, so nothing was decided."))


def _is_old_card(state: ThreadState, attempt: Attempt) -> bool:
    shown = {
        post.ref
        for post in state.posts.values()
        if isinstance(post.content, RequestCard) and post.content.request_id == attempt.request_id and post.ref
    }
    return bool(attempt.ref and shown and attempt.ref not in shown)


def what_became_of(one: RequestState) -> str:
    """One sentence: that a request is settled, by whom and when (AP2, AP5)."""
    by = f" by {one.decided_by.name}" if one.decided_by else ""
    at = f" at {one.decided_at:%H:%M} UTC" if one.decided_at else ""
    if one.status == "expired":
        return f"This timed out{at}. That changed nothing; ask again if it is still wanted."
    if one.status == "superseded":
        why = f": {cut(one.text, 150).rstrip('. ')}" if one.text else ", because the plan changed"
        return f"This was withdrawn{at}{why}. That changed nothing; a newer request may have followed."
    return f"This was already {one.status}{by}{at}. That changed nothing."


def _problem(one: RequestState, attempt: Attempt, people: People, at: datetime) -> tuple[str, str] | None:
    request = one.request
    if one.status != "pending":
        return "late", what_became_of(one)
    if request.expires_at and at >= request.expires_at:
        return "expired", "This request has timed out. That changed nothing; ask again if it is still wanted."
    if attempt.problem and attempt.problem[0] != "arguments":
        return attempt.problem
    if attempt.verdict != "unclear" and (attempt.verdict == "answer") != (request.kind == "question"):
        wanted = "an answer" if request.kind == "question" else "approve or deny"
        return "kind", f"This request wants {wanted}."
    if attempt.verdict == "answer" and request.choices and attempt.text not in request.choices:
        return "choice", f"Please choose one of: {', '.join(request.choices)}."
    if attempt.by.kind == "unknown":
        return (
            "identity",
            f"I do not know you ({attempt.by.address}), so you cannot decide. Ask to be added to the people file.",
        )
    return _authority(one, attempt, people) or attempt.problem


def _authority(one: RequestState, attempt: Attempt, people: People) -> tuple[str, str] | None:
    request, by = one.request, attempt.by
    if request.rule is None:
        return None
    if attempt.verdict == "deny" and by.id in request.requesters:
        return None  # whoever asked may always take it back
    if by.kind != "person":
        return "identity", "Only a person can decide this."
    if not (people.roles_of(by) & one.roles or by.id in one.persons):
        held, wanted = sorted(people.roles_of(by)), " or ".join(sorted(one.roles)) or "nobody has"
        mine = f"yours: {', '.join(held)}" if held else "you have none"
        may = "approve this, only take it back by denying it" if by.id in request.requesters else "decide this"
        return "role", f"You cannot {may}: it takes the role {wanted} ({mine}). {_who_may(one, people)}"
    if attempt.verdict not in {"approve", "edit"}:
        return None
    if channel_problem := _channel(one, by, people):
        return channel_problem
    if by.external or _is_external(by, people):
        return "external", f"Members of another organisation cannot approve. {_who_may(one, people)}"
    if request.rule.four_eyes and (barred := _four_eyes(one, by, people, changes=attempt.verdict == "edit")):
        return barred
    return None if attempt.verdict == "edit" else _quorum(one, by, people)  # votes begin anew with a changed call


def _is_external(by: Actor, people: People) -> bool:
    person = people.get(by.id)
    return person is not None and person.external


def _quorum(one: RequestState, by: Actor, people: People) -> tuple[str, str] | None:
    if gone := [vote.by.name for vote in one.votes if people.get(vote.by.id) is None]:
        # Perhaps under another id: nobody can tell whether the next one is a second person (AP6).
        who = " and ".join(map(one_line, gone))
        return "voter", f"{who} approved this, and is no longer in the people file. Please deny it and ask again."
    if one.has_vote_of(by.id):
        needed = one.request.rule.approvals if one.request.rule else 1
        missing = plural(needed - len(one.votes), "more person")
        return "twice", f"You have approved this already; it needs {missing}."
    return None


def _channel(one: RequestState, by: Actor, people: People) -> tuple[str, str] | None:
    """Whether the way by which the approval came is good enough for what is at stake (AP9, SM8)."""
    rule = one.request.rule
    used = by.address.partition(":")[0]
    if rule is None or may_approve_over(rule, used):
        return None
    better = sorted({address.partition(":")[0] for address in _addresses(by, people)} - {used})
    ways = [way for way in better if may_approve_over(rule, way)]
    hint = f"Please use {' or '.join(_WAYS.get(way, way) for way in ways)}." if ways else _who_may(one, people)
    return "channel", f"This cannot be approved by {_WAYS.get(used, used or 'this way')}; you can deny it here. {hint}"


def may_approve_over(rule: ApprovalRule, channel: str) -> bool:
    """Whether the policy takes an approval that comes over this channel.

    Where a rule names no channels: any, but a text message approves nothing of high risk, because a sender's number can
    be forged (SM8).
    """
    return channel in rule.channels if rule.channels else not (rule.risk == "high" and channel == "sms")


def _addresses(by: Actor, people: People) -> tuple[Address, ...]:
    person = people.get(by.id)
    return person.addresses if person else ()


def _four_eyes(one: RequestState, by: Actor, people: People, *, changes: bool) -> tuple[str, str] | None:
    request = one.request
    if {by.id, f"api:{by.id}"} & set(request.requesters):  # a key that was theirs by its name is theirs
        verb = "change or approve" if changes else "approve"
        part = "asked for this" if by.id == request.requesters[0] else "had a say in this thread"
        return "four_eyes", f"You {part}, so somebody else has to {verb} it. {_who_may(one, people)}"
    if not request.requesters or not all(_is_known(one, people) for one in request.requesters):
        return "four_eyes", "I do not know who asked for this, so nobody can approve it. Please ask again yourself."
    return None


def _is_known(actor_id: str, people: People) -> bool:
    return people.get(actor_id) is not None or actor_id.startswith("api:")


def _who_may(one: RequestState, people: People) -> str:
    rule = one.request.rule
    barred: Iterable[str] = one.request.requesters if rule and rule.four_eyes else ()
    able = [person.name for person in people.deciders(one.roles, one.persons, barred=barred)]
    if able:
        return f"{' or '.join(able)} can."
    if people.deciders(one.roles, one.persons):
        return "Everybody who may has asked for it, changed it or had a say: deny it, and ask again in a new thread."
    return "Nobody in the people file can at the moment; tell whoever keeps it."
