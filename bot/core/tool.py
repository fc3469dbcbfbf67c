"""What a tool is: structured output that the model chooses, made exact, approved, and run behind a boundary.

A tool is prepared (facts gathered, arguments pinned, policy asked) and then run; only running changes the world.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from bot.core.people import RoleName
from bot.core.values import ApprovalRule, Fact, Prepared, Preview, Ruling, ThreadId, may_run, needs_approval
from bot.core.wording import cut

Recovery = Literal["rerun", "attach", "ask"]
"""What happens to a call that was started when its worker died: run again with the same key, take up the run where it
was started, or ask a person what became of it."""

A = TypeVar("A", bound=BaseModel)
_LONGEST_FACT = 1_000
_OF_A_WRITING_TOOL = ApprovalRule(roles=("approver",), four_eyes=True)
"""Where the tool has no rule of its own."""


def _nobody_may() -> Ruling:
    return needs_approval(ApprovalRule())


class ToolError(Exception):
    """A failure that the model should read and may react to. `summary` is one line for people."""

    def __init__(self, message: str, *, summary: str = "", seconds: float = 0.0, output_bytes: int = 0) -> None:
        super().__init__(message)
        self.summary = summary
        self.seconds = seconds
        self.output_bytes = output_bytes


class OutcomeUnknown(Exception):  # noqa: N818 it is not known to be an error
    """The tool may or may not have done its work. Never run again silently: a person is asked."""


@dataclass(frozen=True)
class ToolResult:
    """What a tool found or did."""

    text: str
    """For the model; the boundary moves what is too long into an artifact."""
    summary: str = ""
    """One line for people, from what really happened."""
    seconds: float = 0.0
    output_bytes: int = 0
    """How much was written to `ToolContext.output`; above 0, the output is kept as an artifact."""


@dataclass(frozen=True)
class Requester:
    """Somebody who asked for a run, or had a say in it."""

    id: str
    name: str
    kind: Literal["person", "service", "unknown"]
    roles: frozenset[RoleName] = frozenset()


@dataclass(frozen=True)
class PrepareContext:
    """What may matter for a ruling."""

    thread_id: ThreadId
    requesters: tuple[Requester, ...]
    """Everybody whose words shaped this run; the one who started it first. A call needs the rights of each of them."""
    ruling: Ruling = field(default_factory=_nobody_may)
    """What the tool's own `rule` comes to: what `prepare` returns, unless it has another word on this very call."""


@dataclass(frozen=True)
class ToolContext:
    """What a running tool gets."""

    thread_id: ThreadId
    key: str
    """The idempotency key: the same for every attempt at this call, and never that of another one."""
    output: Callable[[int, bytes], Awaitable[None]]
    """Keeps output as it comes: (byte offset, chunk). Writing the same bytes twice is harmless."""
    resumed: bool = False
    """An earlier worker started this call here and is gone."""
    may_begin: bool = True
    """False: if the call has not really begun yet, it must not any more. It was cancelled, or its approval ran out."""


@dataclass(frozen=True)
class Tool(Generic[A]):
    """A tool of an agent."""

    name: str
    arguments: type[A]
    """Its docstring is the description that the model reads; strict about unknown fields."""
    run: Callable[[Any, ToolContext], Awaitable[ToolResult]]
    """Gets the exact arguments: an `exact` where there is one, else an `arguments`."""
    prepare: Callable[[A, PrepareContext], Awaitable[Prepared]] | None = None
    """Pins the arguments, and rules on the call. Without it the `rule` holds for the arguments as they were chosen."""
    rule: ApprovalRule | None = None
    """Who decides a call: the risk, whose approvals, for how long, over which channels, who is asked next. Unless
    given, a reading tool runs, and a writing one asks an approver under four eyes. A policy file stands over it."""
    exact: type[BaseModel] | None = None
    """The shape of what `prepare` makes of the arguments, where that is another one."""
    writes: bool = False
    recovery: Recovery = "rerun"
    time_limit_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.writes and self.recovery == "rerun" and self.prepare is None:
            raise ValueError(
                f"{self.name} writes: say what happens after a crash (recovery), and prepare it if it may rerun"
            )

    @property
    def description(self) -> str:
        """What the model reads."""
        return " ".join((self.arguments.__doc__ or "").split())

    @property
    def ruling(self) -> Ruling:
        """What holds for a call of which nothing else is said."""
        if self.rule is None and not self.writes:
            return may_run()
        return needs_approval(self.rule or _OF_A_WRITING_TOOL)

    async def prepared(self, arguments: dict[str, Any], context: PrepareContext) -> Prepared:
        """The call made exact. Raises ToolError where it cannot be, pydantic.ValidationError for invalid arguments."""
        chosen = self.arguments.model_validate(arguments)
        if self.prepare is not None:
            prepared = await self.prepare(chosen, replace(context, ruling=self.ruling))
            return prepared.model_copy(update={"writes": self.writes})
        exact = chosen.model_dump(mode="json")
        preview = plain_preview(self.name, exact)
        return Prepared(arguments=exact, preview=preview, ruling=self.ruling, writes=self.writes)


AnyTool = Tool[Any]


def plain_preview(tool: str, arguments: dict[str, Any]) -> Preview:
    """A preview from nothing but the tool's name and its exact arguments (AP14)."""
    texts = {key: str(value) for key, value in arguments.items()}
    facts = tuple(
        Fact(label=cut(key, 75), value=cut(text, _LONGEST_FACT, note="… [all of it below]") or "(empty)")
        for key, text in texts.items()
    )
    # Whoever approves can read all of what they approve: what a fact cannot hold stands whole below (AP14).
    long = (f"{key}:\n{text}" for key, text in texts.items() if len(text) > _LONGEST_FACT)
    return Preview(title=cut(tool.replace("_", " "), 150), facts=facts, details="\n\n".join(long))
