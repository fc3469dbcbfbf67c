"""What the policy file and the deploy file come to: who decides what, what is wrong with that, what is worth a thought.

Pure; `bot people check` prints it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.cli.entries import BY_THE_DEPLOY_FILE, never_reached, stay_approved, unknown_environments
from bot.cli.nights import reaches_nobody
from bot.core.agent import Agent
from bot.core.people import People, Person
from bot.core.policies import Policies, Policy, matches
from bot.core.values import ApprovalRule, EscalationStep, Ruling, may_run, needs_approval
from bot.core.wording import plural
from bot.runtime.policy_file import arguments_by_tool, names_as_typed
from bot.settings import Settings


@dataclass(frozen=True)
class Decided:
    """Something that may happen, and who decides it; each a text for people."""

    what: str
    how: str
    wrong: str = ""
    """Why nobody can decide it; mostly empty."""
    notes: tuple[str, ...] = ()


def who_decides(
    people: People,
    policies: Policies,
    deploys: Mapping[str, Ruling],
    agents: Mapping[str, Agent],
    settings: Settings,
    *,
    at: datetime,
) -> Iterator[Decided]:
    """What holds for each environment and each other tool with a word on it, and what each entry of the file says.

    `at`: the day for which quiet hours are looked at.
    """
    for name, own in deploys.items():
        rulings = [policies.resolve(tool, {"environment": name}, own) for tool in BY_THE_DEPLOY_FILE]
        for ruling, what in zip(rulings, ("deploy to", "roll back"), strict=True):
            if what == "deploy to" or _bare(ruling) != _bare(rulings[0]):
                changed = _changed(ruling, own, settings)
                yield _of_a_ruling(f"{what} {name} ({settings.deploy_file}{changed})", people, ruling, at)
    yield from _of_tools(people, policies, agents, settings, at)
    typed, tools = names_as_typed(agents.values()), list(arguments_by_tool(agents.values()))
    for number, entry in enumerate(policies.entries, 1):
        what = f"{entry.subject} ({settings.policy_file}, entry {number})"
        if hidden := never_reached(number, policies, tools):
            notes, kept, runs = (hidden,), [], False
        else:
            kept, runs = stay_approved(number, policies, deploys, tools)
            notes = (
                *_names_that_have_others(entry, typed),
                *unknown_environments(entry, deploys, settings.deploy_file.name),
                *_still_approved(kept, settings),
            )
        if kept:
            but = "runs unasked, but for what is of high risk" if runs else "lets nothing run unasked"
            yield Decided(what, but, notes=notes)
        else:
            yield _of_an_entry(what, people, policies, entry, notes, at=at)


def _of_tools(
    people: People, policies: Policies, agents: Mapping[str, Agent], settings: Settings, at: datetime
) -> Iterator[Decided]:
    """The tools that ask people by a rule of their own, beside those whose rules the deploy file has."""
    for agent in agents.values():
        for tool in agent.tools:
            if tool.name in BY_THE_DEPLOY_FILE or tool.ruling.verdict == "run":
                continue
            ruling = policies.resolve(tool.name, {}, tool.ruling)
            changed = _changed(ruling, tool.ruling, settings)
            notes = ("it may rule otherwise on single calls",) if tool.prepare else ()
            yield _of_a_ruling(f"{tool.name} (agent {agent.name}{changed})", people, ruling, at, notes)


def _changed(ruling: Ruling, own: Ruling, settings: Settings) -> str:
    return f", {settings.policy_file}" if _bare(ruling) != own else ""


def _bare(ruling: Ruling) -> Ruling:
    """What it says, whichever entry said so."""
    return ruling.model_copy(update={"entry": ""})


def _still_approved(calls: Sequence[str], settings: Settings) -> Iterator[str]:
    if calls:
        yield (
            f"an approval is still needed to {' and to '.join(calls)}: the risk is high ({settings.deploy_file.name}); "
            'what is to run unasked all the same takes risk = "medium" beside the verdict'
        )


def _of_a_ruling(what: str, people: People, ruling: Ruling, at: datetime, notes: tuple[str, ...] = ()) -> Decided:
    rule = ruling.rule
    if rule is None:
        return Decided(what, f"refused: {ruling.why}" if ruling.verdict == "refuse" else "runs unasked", notes=notes)
    able = people.deciders(rule.roles, rule.persons)
    names = ", ".join(person.name for person in able) or "nobody"
    how = "; ".join([f"{rule.risk} risk", f"{plural(rule.approvals, 'approval')} of: {names}", *_terms(rule, people)])
    wrong = "" if len(able) >= rule.approvals else f"it takes {plural(rule.approvals, 'approval')}; who may: {names}"
    return Decided(what, how, wrong, (*notes, *_thoughts(rule, able, people, at)))


def _of_an_entry(
    what: str, people: People, policies: Policies, entry: Policy, notes: tuple[str, ...], *, at: datetime
) -> Decided:
    """What it says and no more: the rest depends on the tool."""
    if entry.verdict:
        return _of_a_ruling(what, people, policies.applied(entry, entry.tool[0], may_run()), at, notes)
    rule = policies.applied(entry, entry.tool[0], needs_approval(ApprovalRule())).rule or ApprovalRule()
    parts = [f"{rule.risk} risk"] if entry.says("risk") else []
    parts += [plural(rule.approvals, "approval")] if entry.says("approvals") else []
    able = people.deciders(rule.roles, rule.persons)
    if able:
        others = "" if entry.says("roles") else ", and whoever the tool itself names"
        parts.append(f"decided by: {', '.join(person.name for person in able)}{others}")
    terms = _terms(rule.model_copy(update={} if entry.says("reminders") else {"reminders": ()}), people)
    parts += ["no four eyes: who asks may approve"] if entry.says("four_eyes") and not rule.four_eyes else []
    parts += [term for term in terms if entry.says("life") or not term.startswith("waits")]
    how = "; ".join(parts) or "all stays as the tool has it"
    if not entry.says("roles"):  # the tool's roles come on top
        return Decided(what, how, notes=notes)
    short = f"it takes {plural(rule.approvals, 'approval')}, and {plural(len(able), 'person')} may"
    wrong = short if len(able) < rule.approvals else ""
    return Decided(what, how, wrong, (*notes, *_four_eyes(rule, able), *_out_of_reach(rule, people)))


def _thoughts(rule: ApprovalRule, able: Sequence[Person], people: People, at: datetime) -> Iterator[str]:
    """What is no mistake, and worth one."""
    yield from _four_eyes(rule, able)
    yield from _alone(rule)
    yield from _by_text(rule)
    yield from _out_of_reach(rule, people)
    yield from reaches_nobody(rule, able, people, at)


def _four_eyes(rule: ApprovalRule, able: Sequence[Person]) -> Iterator[str]:
    """Said where there are just enough persons, so that none of them can ask for it without one too few being left."""
    if rule.four_eyes and len(able) == rule.approvals:
        who = "one of them" if able[1:] else able[0].name
        left = f"only {plural(len(able) - 1, 'person')} would be left" if able[1:] else "nobody would be left"
        yield f"four eyes: if {who} asks for it, {left} to approve it"


def _alone(rule: ApprovalRule) -> Iterator[str]:
    """Said where high risk takes no second person (AP9): somebody meant that, or did not notice."""
    if rule.risk == "high" and rule.approvals == 1 and not rule.four_eyes:
        yield "high risk, and one person alone may ask for it and approve it; four_eyes = true takes a second one"


def _by_text(rule: ApprovalRule) -> Iterator[str]:
    """Said where a text message approves what is of high risk (SM8): it may come from the deploy file, unnoticed."""
    if rule.risk == "high" and "sms" in rule.channels:
        yield (
            "high risk, and a text message may approve it, whose sender can be forged; "
            "leave sms out of channels to end that"
        )


def _out_of_reach(rule: ApprovalRule, people: People) -> Iterator[str]:
    """Said of each step with channels over which somebody whom it names has no address."""
    for step in rule.escalation:
        for person in people.deciders(step.roles, step.persons) if step.channels else ():
            if not {one.partition(":")[0] for one in person.addresses} & set(step.channels):
                lacks = f"{person.name} has no address for {' or '.join(step.channels)}"
                yield f"at {step.after:.0%}: {lacks}, so is asked some other way, if any"


def _names_that_have_others(entry: Policy, typed: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Said of each `when` on a name as somebody typed it: what has another name too gets past the entry."""
    meant = [names for tool, names in typed.items() if matches(entry.tool, tool)]
    for key in entry.when:
        if pins := sorted({names[key] for names in meant if key in names}):
            yield (
                f"when.{key}: is what somebody typed, so another name of the same {' or '.join(pins)} does not match; "
                f"to hold for all of its names, write when.{pins[0]}"
            )


def _terms(rule: ApprovalRule, people: People) -> list[str]:
    terms = ["four eyes"] if rule.four_eyes else []
    terms += [f"over {', '.join(rule.channels)}"] if rule.channels else []
    terms.append(f"waits {_life(rule.life_seconds)}" if rule.life_seconds else "waits for ever")
    terms += [f"reminded at {', '.join(f'{one:.0%}' for one in rule.reminders)}"] if rule.reminders else []
    terms += [_step(step, people) for step in rule.escalation]
    return [*terms, "in quiet hours too"] if rule.wakes else terms


def _step(step: EscalationStep, people: People) -> str:
    names = ", ".join(person.name for person in people.deciders(step.roles, step.persons)) or "nobody"
    ways = f" by {', '.join(step.channels)}" if step.channels else ""
    return f"at {step.after:.0%} {names} asked too{ways}"


def _life(seconds: int) -> str:
    for noun, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds % size == 0:
            return plural(seconds // size, noun)
    return plural(seconds, "second")
