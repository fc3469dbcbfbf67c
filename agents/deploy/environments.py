"""What may be deployed where, by whom and how: one environment of the deploy file.

Commands are lists of words and never pass through a shell; what a person or the model chose only ever fills a
placeholder inside a word. This module runs nothing.
"""

import string
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Annotated, Any, Final, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from bot.core.policies import Share, growing
from bot.core.values import EscalationStep

Risk = Literal["low", "medium", "high"]
Role = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,30}$")]
RoleOrPerson = Annotated[str, StringConstraints(pattern=r"^([a-z][a-z0-9_-]{0,30}|@[A-Za-z0-9_-]{1,64})$")]
"""A role, or `@` and the id of a person."""

_DEPLOY_PLACEHOLDERS: Final = ("commit", "environment", "reference", "run")
_CURRENT_PLACEHOLDERS: Final = ("environment",)
_SHELLS: Final = ("sh", "bash", "dash", "ksh", "zsh", "ash", "fish")


def _no_repeats(roles: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(roles)) < len(roles):
        raise ValueError("names a role twice")
    return roles


def _at_least_one(channels: tuple[str, ...]) -> tuple[str, ...]:
    if not channels:  # which would allow all of them
        raise ValueError("names none")
    return channels


Roles = Annotated[tuple[Role, ...], AfterValidator(_no_repeats)]
Approvers = Annotated[tuple[RoleOrPerson, ...], AfterValidator(_no_repeats)]


class Step(BaseModel):
    """Who is asked too, once nobody has decided for a while."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    after: Share
    ask: Annotated[Approvers, Field(min_length=1)]
    """Roles, and persons as `@id`; they may approve from then on."""
    channels: Annotated[tuple[Literal["slack", "email", "sms"], ...], Field(min_length=1)] = ()
    """Where they are asked, the best first. Unless written: where the conversation is, else wherever they can be."""


def _growing(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    if any(later.after <= earlier.after for earlier, later in pairwise(steps)):
        raise ValueError("has a step that is not later than the one before it; write growing shares")
    return steps


class Environment(BaseModel):
    """One place that can be deployed to.

    The first word of a command is a program: with a slash it is looked for from the directory of the deploy file, so
    that the operator's script runs and not one that the commit brought along; without a slash, on the PATH.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
    """The key of its table; not written again inside it."""
    deploy: tuple[str, ...]
    """Words that deploy; runs in a work tree of exactly the commit. May hold {commit}, {environment}, {reference} and
    {run}, and `{{` or `}}` for a brace itself."""
    current: tuple[str, ...]
    """Words that print the commit or tag that runs there, or nothing; runs in the directory of the deploy file, and may
    hold {environment}."""
    risk: Risk
    approvers: Approvers = ()
    """Roles that may approve, and persons as `@id`; at least one when `approvals` is not 0."""
    requesters: Annotated[Roles, Field(min_length=1)]
    """Roles that may ask for a deploy."""
    approvals: Annotated[StrictInt, Field(ge=0, le=10)] = 1
    """How many people have to approve; 0 only where the risk is not high."""
    four_eyes: StrictBool = False
    """Whether whoever asked may not be one who approves. Unless written: true where the risk is high."""
    channels: Annotated[tuple[Literal["slack", "email", "sms", "api"], ...], AfterValidator(_at_least_one)] = ()
    """Channels over which it may be approved. Unless written: all, but where the risk is high, no text messages."""
    reminders: Annotated[tuple[Share, ...], AfterValidator(growing), Field(max_length=10)] = (0.5, 0.9)
    """Shares of the life of an approval after which whoever has not decided is reminded."""
    escalation: Annotated[tuple[Step, ...], AfterValidator(_growing), Field(max_length=10)] = ()
    """Who is asked too as the life of an approval passes, in the order of the shares."""
    approval_life_seconds: Annotated[StrictInt, Field(ge=60, le=604_800)] = 3600
    time_limit_seconds: Annotated[StrictInt, Field(ge=1, le=86_400)] = 900

    @property
    def approving_roles(self) -> tuple[str, ...]:
        """Roles that may approve."""
        return _roles(self.approvers)

    @property
    def approving_persons(self) -> tuple[str, ...]:
        """Ids of persons who may approve, whatever roles they hold."""
        return _persons(self.approvers)

    def escalation_steps(self) -> tuple[EscalationStep, ...]:
        """The escalation as a request records it."""
        return tuple(
            EscalationStep(
                name=" or ".join(one.removeprefix("@") for one in step.ask),
                after=step.after,
                roles=_roles(step.ask),
                persons=_persons(step.ask),
                channels=step.channels,
            )
            for step in self.escalation
        )

    def deploy_command(self, *, commit: str, reference: str, run: str) -> tuple[str, ...]:
        """The words that deploy this commit: each placeholder filled, each word still one argument."""
        values = {"commit": commit, "environment": self.name, "reference": reference, "run": run}
        return tuple(word.format_map(values) for word in self.deploy)

    def current_command(self) -> tuple[str, ...]:
        """The words that ask what runs there."""
        return tuple(word.format_map({"environment": self.name}) for word in self.current)

    @field_validator("deploy", "current")
    @classmethod
    def _command(cls, words: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known = _DEPLOY_PLACEHOLDERS if info.field_name == "deploy" else _CURRENT_PLACEHOLDERS
        if not words or not words[0].strip():
            raise ValueError("is an empty command")
        found = [_placeholders(word, known) for word in words]
        if found[0]:
            raise ValueError("has a placeholder in the program itself, which must be fixed")
        if PurePath(words[0]).name in _SHELLS:
            for before, word, names in zip(words, words[1:], found[1:], strict=False):
                if names and before.startswith("-") and "c" in before:
                    raise ValueError(
                        f'fills a placeholder into the script text "{word[:60]}", where a shell would read it as code; '
                        'pass it as an argument instead: ["sh", "-c", "./deploy \\"$1\\"", "sh", "{commit}"]'
                    )
        directory = cast("dict[str, Path]", info.context or {}).get("directory")
        if directory is None or "/" not in words[0]:
            return words
        # The path is filled in like every word later, so that braces of its own have to be doubled.
        return (str(PurePath(str(directory).replace("{", "{{").replace("}", "}}"), words[0])), *words[1:])

    @model_validator(mode="before")
    @classmethod
    def _careful_by_default(cls, data: dict[str, Any]) -> dict[str, Any]:
        return {"four_eyes": data.get("risk") == "high", **data}

    @model_validator(mode="after")
    def _can_be_approved(self) -> Self:
        if self.approvals and not self.approvers:
            raise ValueError('asks for approvals but has no approvers; write approvers = ["approver"] or approvals = 0')
        if not self.approvals and (self.risk == "high" or self.four_eyes):
            raise ValueError("has high risk or four_eyes but needs no approval; write approvals = 1 or more")
        return self


def _roles(named: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(one for one in named if not one.startswith("@"))


def _persons(named: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(one.removeprefix("@") for one in named if one.startswith("@"))


def _placeholders(word: str, known: tuple[str, ...]) -> list[str]:
    """The names in braces in a word; ValueError for one that nobody fills."""
    try:
        parts = list(string.Formatter().parse(word))
    except ValueError:
        raise ValueError(
            f'has a brace without its pair in "{word[:60]}" (double it to mean the brace itself)'
        ) from None
    names = [name for _, name, _, _ in parts if name is not None]
    listed = ", ".join(f"{{{name}}}" for name in known)
    for _, name, form, conversion in parts:
        if name is not None and (name not in known or form or conversion):
            raise ValueError(f'has the unknown placeholder "{{{name[:60]}}}" (known: {listed})')
    return names
