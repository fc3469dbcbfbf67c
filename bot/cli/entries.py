"""What is worth a thought in the entries of a policy file: which come to nothing, or to less than they say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bot.core.policies import Policies, Policy, matches
from bot.core.values import Ruling

BY_THE_DEPLOY_FILE = ("deploy", "rollback")
"""The tools whose own rulings the deploy file says, by environment."""


def never_reached(number: int, policies: Policies, tools: Sequence[str]) -> str:
    """Which earlier entry is about every call that this one (from 1) is about; empty where none is known to be."""
    entry = policies.entries[number - 1]
    for before, other in enumerate(policies.entries[: number - 1], 1):
        if _covers(other, entry, tools):
            return f"never reached: entry {before} is about the same calls"
    return ""


def stay_approved(
    number: int, policies: Policies, deploys: Mapping[str, Ruling], tools: Sequence[str]
) -> tuple[list[str], bool]:
    """The calls that an entry (from 1) with the verdict `run` meets, and does not reach: their own risk is high.

    And whether it lets anything run that is known.
    """
    entry = policies.entries[number - 1]
    if entry.verdict != "run":
        return [], False
    kept, runs = list[str](), bool(set(_meant(entry, tools)) - set(BY_THE_DEPLOY_FILE))
    for name, own in deploys.items():
        for tool in BY_THE_DEPLOY_FILE:
            call = {"environment": name}
            if any(one.matches(tool, call) for one in policies.entries[: number - 1]) or not _meets(entry, tool, call):
                continue
            if policies.applied(entry, tool, own).verdict == "run":
                runs = True
            else:
                kept.append(f"{'deploy to' if tool == 'deploy' else 'roll back'} {name}")
    return kept, runs


def unknown_environments(entry: Policy, deploys: Iterable[str], deploy_file: str) -> Iterator[str]:
    """Environments by their names that the deploy file does not have. What has a `*` may be about those to come."""
    known = list(deploys)
    for name in entry.when.get("environment", ()) if known else ():
        if _is_plain(name) and name not in known:
            yield f"when.environment: {deploy_file} has no environment {name[:60]!r}; it has {', '.join(known)}"


def _meets(entry: Policy, tool: str, call: Mapping[str, str]) -> bool:
    """Whether an entry is about some of these calls, whatever it says of their other arguments."""
    when = {key: patterns for key, patterns in entry.when.items() if key in call}
    return entry.model_copy(update={"when": when}).matches(tool, dict(call))


def _meant(entry: Policy, tools: Sequence[str]) -> list[str]:
    return [tool for tool in tools if matches(entry.tool, tool)]


def _covers(wider: Policy, entry: Policy, tools: Sequence[str]) -> bool:
    """Whether the wider one matches every call that the entry matches."""
    return set(_meant(entry, tools)) <= set(_meant(wider, tools)) and all(
        key in entry.when and all(any(_holds(wide, one) for wide in patterns) for one in entry.when[key])
        for key, patterns in wider.when.items()
    )


def _holds(wide: str, pattern: str) -> bool:
    """Whether every text that matches the pattern matches the wide one."""
    # A star of the pattern can only be matched by a star of the wide one, which takes whatever stands for it.
    return matches((wide,), pattern)


def _is_plain(pattern: str) -> bool:
    return "*" not in pattern
