"""What people ask the bot itself: which messages are a command, and the wording of the answers. Pure.

A message is a command only where it says nothing else. No model has a part in it, and no answer names a code, a link
or a token of somebody else.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, cast

from bot.core.decide import Attempt, judge, may_approve_over
from bot.core.events import DecisionMade
from bot.core.hearing import takes_part
from bot.core.log import Log
from bot.core.people import ADDRESS_KEYS, Actor, Address, People
from bot.core.standing import ago, deciders, duration, short, standing, subject, title
from bot.core.state import RequestCard, RequestState
from bot.core.values import RequestId, ThreadId
from bot.core.wording import cut, normalise, one_line, plural

Name = Literal["help", "pending", "status", "cancel", "whoami"]
_NAMES: frozenset[str] = frozenset(("help", "pending", "status", "cancel", "whoami"))
_LONGEST = 100
"""Characters; nothing longer is a command."""
_EDGES = "?¿()[]{}<>/\\#&+-–—=|"
"""Beside the punctuation that `normalise` knows."""
_THREAD = re.compile(r"t[0-9a-f]{6,24}")
_WHOLE_ID = 25
MOST_CHARACTERS: Mapping[str, int] = {"slack": 2_800, "email": 8_000, "sms": 320}
"""Of an answer. Slack takes 3,000 in a section (SL13), a phone two segments (SM9)."""
_MOST_AGENTS, _MOST_LISTED = 10, 10
_WAYS = {"slack": "Slack", "email": "mail", "sms": "text message"}


@dataclass(frozen=True)
class Command:
    """What somebody wants to know of the bot, or to stop."""

    name: Name
    thread_id: ThreadId = ""
    """A thread's id, or how it begins; empty: the thread that the message stands in, or none."""


@dataclass(frozen=True)
class Waiting:
    """A request that waits, as one person sees it."""

    title: str
    kind: Literal["approval", "question"]
    asked_by: str
    left: timedelta | None
    """None: it never runs out."""
    how: str
    """How this person decides it, or whom it waits for."""


def read_command(text: str) -> Command | None:
    """The command that a message is, mentions gone from it already; None: it is a message like any other.

    `cancel run` is `cancel` where CANCEL alone belongs to the carrier (SM4). A question mark asks, so `cancel?` stops
    nothing.
    """
    if len(text) > _LONGEST:
        return None
    plain = unicodedata.normalize("NFKC", text).strip()
    if plain == "?":
        return Command("help")
    words = normalise(normalise(plain).strip(_EDGES)).split()
    name = words[0] if words else ""
    if name not in _NAMES or (name == "cancel" and "?" in plain):
        return None
    known = cast("Name", name)
    match words[1:]:
        case []:
            return Command(known)
        case ["run"] if known == "cancel":
            return Command(known)
        case [thread_id] if known in {"cancel", "status"} and _THREAD.fullmatch(thread_id):
            return Command(known, thread_id)
        case _:
            return None


def fitted(lines: Iterable[str], limit: int) -> str:
    """As many whole lines as fit into `limit` characters, and how many did not."""
    listed = list(lines)
    if len("\n".join(listed)) <= limit:
        return "\n".join(listed)
    room, kept = limit - len("\nand 999 more."), list[str]()
    for line in listed:
        if len("\n".join([*kept, line])) > room:
            break
        kept.append(line)
    return "\n".join([*kept, f"and {len(listed) - len(kept)} more."]) if kept else cut(listed[0], limit, note="...")


# --- help, whoami

_I_AM = "I am Switchboard. I hand what you ask to an agent, and what matters waits until the right person approves it."
_REPLY = "Decide by replying to the mail that asks you: APPROVE, DENY or ASK and a question. Or on its page."
_BY_CHANNEL = {
    "slack": (
        "Mention me in a channel, or write me a direct message; in a thread of mine no mention is needed.",
        "Decide with the buttons on a card, ask first, or change it. A message in the thread never approves anything.",
    ),
    "email": ("Write me a mail that says what you want, and reply to go on.", _REPLY),
}
_COMMANDS = (
    "Alone in a message I also understand, without any agent:",
    "- help: this",
    "- pending: what waits for you, and what you asked for that still waits",
    "- status: how this thread stands; elsewhere, your last threads",
    "- cancel: ends what runs in this thread; elsewhere, lists what of yours runs",
    "- status ID, cancel ID: the same for another thread",
    "- whoami: whom I take you for",
)


def help_text(channel: str, agents: Sequence[tuple[str, str]]) -> str:
    """Who the bot is, what it can do, how people decide here, and what it understands. `agents`: name and purpose."""
    return _help_by_text(agents) if channel == "sms" else _help(channel, agents)


def _help(channel: str, agents: Sequence[tuple[str, str]]) -> str:
    begin, decide = _BY_CHANNEL.get(channel, ("Say what you want.", "Decide on the request itself."))
    able = [f"- {name}: {cut(one_line(purpose), 180)}" for name, purpose in agents[:_MOST_AGENTS]]
    lines = [f"{_I_AM} {begin}", *(["What I can do here:", *able] if able else []), decide, *_COMMANDS]
    return "\n".join(lines)


def _help_by_text(agents: Sequence[tuple[str, str]]) -> str:
    head = "Switchboard: text me what you want done."
    tail = (
        "Decide with YES or NO and the code I sent; the code, ASK and a question asks first. "
        "Also: pending, status, whoami, cancel run (ends it). "
        "STOP or CANCEL alone ends all texts."
    )
    room = MOST_CHARACTERS["sms"] - len(head) - len(tail) - 2
    able = "; ".join(one_line(purpose) for _, purpose in agents)
    return "\n".join(part for part in (head, cut(able, room, note="..."), tail) if part)


def whoami_text(by: Actor, people: People) -> str:
    """Which person somebody is taken for, and why."""
    channel, _, place = by.address.partition(":")
    proof = {
        "slack-signature": "Slack's signature",
        "twilio-signature": "Twilio's signature, which a forged sender's number may carry too",
    }.get(by.authenticated_by, by.authenticated_by)
    how = f"Known by {_WAYS.get(channel, channel)} address {place}, proven by {proof}."
    person = people.get(by.id) if by.kind == "person" else None
    if person is None:
        key = next((key for key, known in ADDRESS_KEYS.items() if known == channel), channel)
        may = {
            "nothing": "So you can do nothing here.",
            "ask": "So you may ask, and change nothing.",
            "launch": "So you may ask for things, and decide nothing.",
        }[people.strangers(channel)]
        return f'I do not know you. {may} To become known, have {key} = ["{place}"] put into the people file. {how}'
    roles = f"Roles: {', '.join(person.roles)}." if person.roles else "You have no roles."
    quiet = person.quiet
    hours = f"{quiet.begin:%H:%M} to {quiet.end:%H:%M} ({quiet.timezone})" if quiet else "none"
    if person.external:
        roles += " You belong to another organisation, so you approve nothing."
    return f"You are {one_line(person.name)} ({person.id}). {roles} Quiet hours: {hours}. {how}"


# --- pending


def to_decide(log: Log, by: Actor, people: People, at: datetime) -> list[RequestState]:
    """The requests of a thread that this person could decide now. What four eyes bar them from is not among them.

    A question that has no rule is for those who take part.
    """
    return [one for one in log.state.pending if _could_decide(log, one, by, people, at)]


def _could_decide(log: Log, one: RequestState, by: Actor, people: People, at: datetime) -> bool:
    request = one.request
    if request.rule is None and not takes_part(log, by):
        return False
    question = request.kind == "question"
    text = request.choices[0] if question and request.choices else "…"
    attempt = Attempt(request.id, "answer" if question else "approve", by, text=text)
    event = judge(log.state, attempt, people, at)
    if isinstance(event, DecisionMade) or event.rule != "channel" or request.rule is None:
        return isinstance(event, DecisionMade)
    # By another way they could approve it, and deny it here; unless something else bars them there too.
    way = next((one for one in _WAYS if may_approve_over(request.rule, one)), "api")
    elsewhere = by.model_copy(update={"address": f"{way}:"})
    return isinstance(judge(log.state, replace(attempt, by=elsewhere), people, at), DecisionMade)


def asked_for(log: Log, by: Actor, at: datetime) -> list[RequestState]:
    """The requests of a thread that this person waits for."""
    open_now = (one for one in log.state.pending if not _is_over(one, at))
    return [one for one in open_now if by.id in one.request.requesters or takes_part(log, by)]


def _is_over(one: RequestState, at: datetime) -> bool:
    return one.request.expires_at is not None and at >= one.request.expires_at


def waiting(
    log: Log, one: RequestState, by: Actor, at: datetime, *, deciding: bool, here: bool, codes: Mapping[RequestId, str]
) -> Waiting:
    """A request as this person is told of it.

    `here`: they ask in the thread of the request. `codes`: those that were issued to the number they ask from, if any.
    """
    request = one.request
    how = _how(log, one, by, here=here, code=codes.get(request.id, "")) if deciding else f"waits for {deciders(one)}"
    left = request.expires_at - at if request.expires_at else None
    return Waiting(title(one), request.kind, one_line(request.asked_by), left, how)


def pending_text(channel: str, mine: Sequence[Waiting], others: Sequence[Waiting]) -> str:
    """What waits for this person, then what they wait for."""
    if not mine and not others:
        return "Nothing waits for you, and nothing that you asked for waits for anybody."
    head = f"{plural(len(mine), 'request')} for you to decide:" if mine else "Nothing waits for you."
    rest = ["You wait for:", *_waiting_lines(others, channel)] if others else []
    return fitted([head, *_waiting_lines(mine, channel), *rest], MOST_CHARACTERS.get(channel, 2_800))


def _waiting_lines(listed: Sequence[Waiting], channel: str) -> list[str]:
    lines = [_waiting_line(one, channel) for one in listed[:_MOST_LISTED]]
    return lines if len(listed) <= _MOST_LISTED else [*lines, f"- and {len(listed) - _MOST_LISTED} more"]


def _waiting_line(one: Waiting, channel: str) -> str:
    left = f"{duration(one.left)} left" if one.left is not None else "no end"
    if channel == "sms":
        return f"- {cut(one.title, 50, note='...')}: {one.how} ({left})"
    asked = f", asked for by {one.asked_by}" if one.asked_by else ""
    return f"- {one.title} ({one.kind}{asked}, {left}): {one.how}"


def _how(log: Log, one: RequestState, by: Actor, *, here: bool, code: str) -> str:
    question = one.request.kind == "question"
    if code:
        return f"{code} and your answer" if question else f"YES {code} or NO {code}"
    actor = next((actor for actor in (*one.request.deciders, *one.joined) if actor.id == by.id), None)
    place = log.state.conversation
    address = actor.address if actor and actor.address in one.copies else ""
    if address and not _was_sent(log, one, address):
        return f"with my message to {address.partition(':')[2]}, which is not sent yet (quiet hours, or no way through)"
    channel, _, where = address.partition(":")
    if not address and place:
        channel, where = place.channel, log.state.owner.partition(":")[2]
    match channel:
        case "slack" if address:
            return "on its card, in my direct message to you"
        case "slack" if here:
            return "on its card in this thread"
        case "slack" if place:
            return f"on its card, in the Slack thread that {_starter(log)} began in #{place.ref.partition('/')[0]}"
        case "email":
            said = "with your answer" if question else "with APPROVE or DENY as the first line"
            return f"reply to my mail to {where} about it, {said}"
        case "sms":
            return f"with the code in my text to {where}"
        case _:
            return f"through the API, thread {short(log.thread_id)}"


def _was_sent(log: Log, one: RequestState, address: Address) -> bool:
    """Whether a copy got through; while its request is pending, its post is among those that may still change."""
    mine = RequestCard(one.request.id, address)
    return any(post.content == mine and post.shown for post in log.state.posts.values())


# --- status, cancel


def status_text(log: Log, at: datetime) -> str:
    """How one thread stands."""
    return f"{standing(log, at)} Last activity {ago(log, at)}. Thread {short(log.thread_id)}."


def threads_text(channel: str, head: str, logs: Sequence[Log], at: datetime, *, tail: str = "") -> str:
    """Several threads, a line each, the one touched last first."""
    lines = [
        f"- {short(log.thread_id)} “{cut(subject(log), 40 if channel == 'sms' else 80, note='...')}”, "
        f"{ago(log, at)}: {cut(standing(log, at), 70 if channel == 'sms' else 300, note='...')}"
        for log in logs
    ]
    end = f"\n{tail}" if tail else ""
    return fitted([head, *lines], MOST_CHARACTERS.get(channel, 2_800) - len(end)) + end


def not_yours(log: Log, people: People) -> str:
    """Why somebody cannot cancel a run, and who can."""
    able = [log.state.requester.name] if log.state.requester else []
    for one in log.state.pending:
        able += [person.name for person in people.deciders(one.roles, one.persons)] if one.request.rule else []
    names = " or ".join(map(one_line, dict.fromkeys(able[:5])))
    who = f" {names} can." if names else ""
    return (
        "Nothing was cancelled: only who takes part in this thread, or may decide what it waits for, can end it." + who
    )


def is_whole(thread_id: ThreadId) -> bool:
    """Whether this is an id, and not only how one begins."""
    return len(thread_id) == _WHOLE_ID


def _starter(log: Log) -> str:
    return one_line(log.state.requester.name) if log.state.requester else "somebody"
