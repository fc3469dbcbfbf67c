"""What an installation says of its tools: one set of entries that stand over the tools' own rulings.

Pure. The first entry that matches a call applies, key by key; what it does not say stays as the tool has it. Nothing
here lets a call run that the tool itself refuses.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictInt

from bot.core.people import Frozen, People
from bot.core.values import ApprovalRule, Arguments, EscalationStep, Risk, Ruling, may_run, must_not_run, needs_approval

_LIFE = re.compile(r"([1-9][0-9]{0,5})([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}
_LONGEST_SECONDS = 7 * 86_400
_PERCENT = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,3})?) ?%")


def _share(value: object) -> object:
    if isinstance(value, str) and (found := _PERCENT.fullmatch(value)):
        value = float(found[1]) / 100
    if isinstance(value, bool) or not isinstance(value, float) or not 0 < value < 1:
        raise ValueError("is no share of the life")
    return value


def _life(value: object) -> object:
    if value == "never":
        return None
    found = _LIFE.fullmatch(value) if isinstance(value, str) else None
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise ValueError("is no life")
    return seconds


def _one_is_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def growing(shares: tuple[float, ...]) -> tuple[float, ...]:
    """The shares, if each is later than the one before it. Raises ValueError."""
    if any(later <= earlier for earlier, later in pairwise(shares)):
        raise ValueError("does not grow")
    return shares


def _at_least_one(channels: tuple[str, ...]) -> tuple[str, ...]:
    if not channels:  # which would allow all of them
        raise ValueError("names none")
    return channels


Share = Annotated[float, BeforeValidator(_share)]
_Text = Annotated[str, Field(min_length=1, max_length=200)]
Patterns = Annotated[tuple[_Text, ...], BeforeValidator(_one_is_many), Field(min_length=1, max_length=50)]
Names = Annotated[tuple[_Text, ...], Field(max_length=50)]


class Escalation(Frozen):
    """A step of a path: who is asked too, after which share of the request's life, and which step comes then."""

    roles: Names = ()
    persons: Names = ()
    channels: Annotated[tuple[Literal["slack", "email", "sms"], ...], AfterValidator(_at_least_one)] = ()
    after: Share
    then: _Text | None = None

    def step(self, name: str) -> EscalationStep:
        """As a request records it."""
        return EscalationStep(
            name=name, after=self.after, roles=self.roles, persons=self.persons, channels=self.channels
        )


class Policy(Frozen):
    """An entry: which calls it is about, and what it says of them. A key that was not written says nothing."""

    tool: Patterns
    when: dict[str, Patterns] = Field(default_factory=dict[str, tuple[str, ...]])
    """Exact arguments of the call, each a text or several, of which one has to match. `*` stands for anything."""
    verdict: Literal["run", "refuse"] | None = None
    why: Annotated[str, Field(max_length=500)] = ""
    """What the model and the person are told, where the verdict is `refuse`."""
    risk: Risk = "medium"
    roles: Names = ()
    persons: Names = ()
    approvals: Annotated[StrictInt, Field(ge=1, le=10)] = 1
    four_eyes: StrictBool = False
    channels: Annotated[tuple[Literal["slack", "email", "sms", "api"], ...], AfterValidator(_at_least_one)] = ()
    life: Annotated[int | None, BeforeValidator(_life)] = 3600
    """In seconds; None: it never expires."""
    reminders: Annotated[tuple[Share, ...], AfterValidator(growing), Field(max_length=10)] = ()
    escalation: _Text | None = None
    """The name of the step that the path begins with."""
    wakes: StrictBool = False

    @property
    def subject(self) -> str:
        """What it is about, for people: `rollback where environment is production`."""
        when = " and ".join(f"{key} is {' or '.join(values)}" for key, values in self.when.items())
        return f"{' or '.join(self.tool)}{f' where {when}' if when else ''}"

    def says(self, key: str) -> bool:
        """Whether the entry has this key."""
        return key in self.model_fields_set

    def matches(self, tool: str, arguments: Arguments) -> bool:
        """Whether it is about this call. An argument that is missing, a list or a table matches nothing."""
        return matches(self.tool, tool) and all(
            key in arguments and (text := _text(arguments[key])) is not None and matches(patterns, text)
            for key, patterns in self.when.items()
        )


_OF_A_RULE = ("risk", "roles", "persons", "approvals", "four_eyes", "channels", "reminders", "wakes")
_OF_AN_APPROVAL = (*_OF_A_RULE[1:], "life", "escalation")
"""The keys that mean something only where people decide."""


@dataclass(frozen=True)
class Policies:
    """All entries, in their order, and the named steps of their escalations."""

    entries: tuple[Policy, ...] = ()
    escalations: Mapping[str, Escalation] | None = None

    def resolve(self, tool: str, arguments: Arguments, ruling: Ruling) -> Ruling:
        """What holds for a call of which the tool itself says `ruling`: the first entry that matches decides."""
        for number, entry in enumerate(self.entries, 1):
            if entry.matches(tool, arguments):
                said = self.applied(entry, tool, ruling)
                return said if said is ruling else said.model_copy(update={"entry": f"{number}: {entry.subject}"})
        return ruling

    def applied(self, entry: Policy, tool: str, ruling: Ruling) -> Ruling:
        """What this entry makes of what the tool itself says.

        `verdict = "run"` does not reach a call of high risk: whoever means that writes the lower risk beside it. An
        entry that says high asks for four eyes too, unless it says otherwise (AP7).
        """
        if ruling.verdict == "refuse":
            return ruling
        if entry.verdict == "refuse":
            return must_not_run(entry.why or "The policy of this installation does not let this run.")
        own = ruling.rule
        if entry.verdict == "run":
            is_high = own is not None and own.risk == "high" and not entry.says("risk")
            return ruling if is_high else may_run()
        if own is None and not (entry.roles or entry.persons):
            if entry.says("approvals") or entry.four_eyes or entry.risk == "high":
                return must_not_run(f"The policy asks for an approval of {tool}, but names nobody who may give it.")
            return ruling
        return needs_approval(self._over(entry, own or ApprovalRule()))

    def path(self, name: str | None) -> tuple[EscalationStep, ...]:
        """The steps of an escalation from this one on. It ends before a step that was there already."""
        steps: dict[str, EscalationStep] = {}
        known = self.escalations or {}
        while name and name in known and name not in steps:
            steps[name] = known[name].step(name)
            name = known[name].then
        return tuple(steps.values())

    def _over(self, entry: Policy, own: ApprovalRule) -> ApprovalRule:
        said = {key: getattr(entry, key) for key in _OF_A_RULE if entry.says(key)}
        if entry.risk == "high" and not entry.says("four_eyes"):
            said["four_eyes"] = True  # unless the entry relaxes it (AP7)
        if entry.says("life"):
            said["life_seconds"] = entry.life
        if entry.escalation or entry.says("roles"):  # whoever names the roles names all who decide
            said["escalation"] = self.path(entry.escalation)
        rule = own.model_copy(update=said)
        if rule.life_seconds is None:  # there are no shares of what never ends
            return rule.model_copy(update={"reminders": (), "escalation": ()})
        return rule


def matches(patterns: Iterable[str], text: str) -> bool:
    """`*` stands for anything, and nothing else for anything but itself."""
    whole = unicodedata.normalize("NFC", text)
    return any(_pattern(pattern).fullmatch(whole) for pattern in patterns)


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    parts = unicodedata.normalize("NFC", pattern).split("*")
    return re.compile(".*".join(map(re.escape, parts)), re.DOTALL)


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else None


def path_mistakes(escalations: Mapping[str, Escalation], declared: Iterable[str]) -> Iterator[str]:
    """What is wrong with the paths, a line each: the place, and what to write. `declared`: every name in the file."""
    looped: set[str] = set()
    for name, one in escalations.items():
        place = f"[escalations.{name}]"
        if not one.roles and not one.persons:
            yield f'{place} roles: it asks nobody; write roles = ["oncall"] or persons = ["lena"]'
        if one.then and one.then not in declared:
            yield f"{place} then: {_no_path(one.then, declared)}"
        follower = escalations.get(one.then or "")
        ring = _ring(name, escalations)
        if ring and name not in looped:
            looped.update(ring)
            yield f"{place} then: {' → '.join([*ring, name])} goes round in a circle; take `then` out of one of them"
        elif follower and not ring and follower.after <= one.after:
            yield (
                f"[escalations.{one.then}] after: {follower.after:.0%} is not later than the {one.after:.0%} of "
                f"{name}, which leads on to it; write a later share"
            )


def entry_mistakes(entry: Policy, declared: Iterable[str]) -> Iterator[str]:
    """What contradicts itself in an entry, a line each: the key, and what to write."""
    if entry.verdict == "run" and entry.risk == "high":
        yield "verdict: what is of high risk does not run unasked; write a lower risk, or who approves instead"
    if entry.verdict and (extra := [key for key in _OF_AN_APPROVAL if entry.says(key)]):
        yield f'verdict: "{entry.verdict}" asks nobody; take out {", ".join(extra)}, or the verdict'
    if entry.why and entry.verdict != "refuse":
        yield 'why: is told only where verdict = "refuse"; take it out, or write the verdict'
    if entry.says("roles") and not entry.roles and not entry.persons:
        yield 'roles: nobody could decide; write roles = ["approver"], or persons = ["lena"] beside it'
    if entry.says("when") and not entry.when:
        yield "when: without an argument in it, it is about every call; write one at least, or leave it out"
    if entry.escalation and entry.escalation not in declared:
        yield f"escalation: {_no_path(entry.escalation, declared)}"
    if entry.life is None and (entry.reminders or entry.escalation):
        what = " and ".join(key for key in ("reminders", "escalation") if getattr(entry, key))
        yield f'life: "never" has no shares for {what}; write a life such as "7d", or take them out'


def unknown_names(one: Policy | Escalation, people: People) -> Iterator[str]:
    """Roles and persons that the people file does not have, a line each."""
    known: dict[str, list[str]] = {"role": list(people.roles), "person": [person.id for person in people]}
    for noun, names in (("role", one.roles), ("person", one.persons)):
        for name in names:
            if name not in known[noun]:
                yield f"{noun}s: the people file has no {noun} {name[:60]!r}; it has {', '.join(known[noun]) or 'none'}"


def unknown_tools(entry: Policy, tools: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Tools and arguments that no agent has, a line each. `tools`: the names of the exact arguments of each."""
    meant = {pattern: [tool for tool in tools if matches((pattern,), tool)] for pattern in entry.tool}
    for pattern, found in meant.items():
        if not found:
            yield f"tool: there is no tool {pattern[:60]!r}; there are {', '.join(sorted(tools)) or 'none'}"
    arguments = sorted({name for found in meant.values() for tool in found for name in tools[tool]})
    if all(meant.values()):
        for key in entry.when:
            if key not in arguments:
                yield f"when.{key}: the tool has no such argument; it has {', '.join(arguments) or 'none'}"


def _ring(name: str, escalations: Mapping[str, Escalation]) -> list[str]:
    """The steps by which a step comes back to itself; none where it does not."""
    way = [name]
    while (then := escalations[way[-1]].then) and then in escalations and then not in way:
        way.append(then)
    return way if then == name else []


def _no_path(name: str, declared: Iterable[str]) -> str:
    return f"there is no [escalations.{name[:60]}]; there are {', '.join(declared) or 'none'}"
