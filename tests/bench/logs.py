"""Short ways to write down what happened in a thread, for tests of the fold and the policy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

from bot.core import events as e
from bot.core.agent import Agent
from bot.core.log import Log
from bot.core.people import Actor, People, Person
from bot.core.tool import Tool, ToolContext, ToolError, ToolResult
from bot.core.values import (
    ApprovalRule,
    Conversation,
    Prepared,
    Preview,
    Request,
    Ruling,
    Usage,
    may_run,
    needs_approval,
)

T0 = datetime(2026, 3, 20, 9, 0, tzinfo=UTC)
THREAD = "t1"
PLACE = Conversation(channel="slack", ref="C1/1.0")
ANA = Actor(kind="person", id="ana", name="Ana Ruiz", address="slack:T/U0ANA", authenticated_by="slack-signature")
LENA = Actor(kind="person", id="lena", name="Lena Vogt", address="slack:T/U0LENA", authenticated_by="slack-signature")
OMAR = Actor(kind="person", id="omar", name="Omar Haddad", address="slack:T/U0OMAR", authenticated_by="slack-signature")
STRANGER = Actor(kind="unknown", id="slack:T/U0XXX", name="mallory", address="slack:T/U0XXX")
PEOPLE = People(
    (
        Person(id="ana", name="Ana Ruiz", roles=("engineer",), addresses=("slack:T/U0ANA",)),
        Person(id="lena", name="Lena Vogt", roles=("engineer", "approver"), addresses=("slack:T/U0LENA",)),
        Person(id="omar", name="Omar Haddad", roles=("approver",), addresses=("slack:T/U0OMAR",)),
    )
)
RULE = ApprovalRule(risk="high", roles=("approver",), four_eyes=True)
REQUEST_ID = "r" * 32


def at(minutes: float = 0) -> datetime:
    """A time in the test's own day."""
    return T0 + timedelta(minutes=minutes)


class Nothing(BaseModel):
    """Does nothing in particular."""

    what: str = ""


async def _run(arguments: Nothing, _: ToolContext) -> ToolResult:
    if arguments.what == "fail":
        raise ToolError("it failed", summary="failed")
    return ToolResult(f"did {arguments.what}", summary="did it")


LOOK = Tool("look", Nothing, _run)
WRITE = Tool("write", Nothing, _run, writes=True, recovery="ask")
AGAIN = Tool("again", Nothing, _run, writes=True, recovery="attach")
AGENT = Agent(name="a", purpose="tests", prompt="-", tools=(LOOK, WRITE, AGAIN), hand_offs=("b",))


def log(*events: e.Event) -> Log:
    """A log of these events."""
    return Log.of(THREAD, events)


def launched(by: Actor = ANA, place: Conversation | None = PLACE) -> e.Event:
    """The thread begins."""
    return e.ThreadLaunched(at=T0, agent="a", by=by, conversation=place)


def said(text: str = "hello", by: Actor = ANA, minutes: float = 0) -> e.Event:
    """A message."""
    return e.MessageReceived(at=at(minutes), text=text, by=by)


def chose(tool: str, saw: int, **arguments: object) -> e.Event:
    """The model chose a tool."""
    return e.ToolChosen(at=T0, tool=tool, arguments=dict(arguments), saw=saw, usage=Usage(model="m", input_tokens=10))


def prepared(seq: int, ruling: Ruling | None = None, *, writes: bool = False, what: str = "") -> e.Event:
    """A call was made exact."""
    exact = Prepared(
        arguments={"what": what}, preview=Preview(title="Write it"), ruling=ruling or may_run(), writes=writes
    )
    return e.CallPrepared(at=T0, call_id=call(seq), prepared=exact)


def asks_approval() -> Ruling:
    """The policy wants a person."""
    return needs_approval(RULE)


def request(seq: int, *, digest: str = "d", rule: ApprovalRule = RULE, life_minutes: float | None = 60) -> Request:
    """An approval of the call that was chosen at this seq."""
    return Request(
        id=REQUEST_ID,
        kind="approval",
        purpose="approval",
        call_id=call(seq),
        prompt="Write it",
        digest=digest,
        rule=rule,
        requesters=("ana",),
        expires_at=at(life_minutes) if life_minutes else None,
    )


def opened(seq: int, **more: object) -> e.Event:
    """A person was asked."""
    return e.RequestOpened(at=T0, request=request(seq, **more))  # type: ignore[arg-type]


def decided(verdict: str, by: Actor = LENA, *, text: str = "", digest: str = "d", minutes: float = 1) -> e.Event:
    """A person decided."""
    return e.DecisionMade(
        at=at(minutes),
        request_id=REQUEST_ID,
        verdict=verdict,  # type: ignore[arg-type]
        by=by,
        text=text,
        digest=digest,
    )


def call(seq: int) -> str:
    """The id of the call that was chosen at this seq."""
    return f"{THREAD}:{seq}:0"
