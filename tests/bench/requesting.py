"""Requests on the bench: people of whom each has one channel, what is said of production, and what to look for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from support import Bench, bench

from bot.core.agent import Agent
from bot.core.audit import entries_of
from bot.core.audit_record import Entry, Fingerprints
from bot.core.events import DecisionMade, DecisionRefused, Event, RequestOpened, event_to_json
from bot.core.faces import needs_delivery
from bot.core.log import Log
from bot.core.protocols import Choice
from bot.core.values import Arguments, Request, Usage
from bot.runtime.scripted import ScriptedModel
from channels.slack.simulator import Message

PEOPLE = """
[people.ana]
name = "Ana Ruiz"
roles = ["engineer"]
slack = "T0ACME/U0ANA"
[people.lena]
name = "Lena Vogt"
roles = ["engineer", "approver"]
slack = "T0ACME/U0LENA"
[people.omar]
name = "Omar Haddad"
roles = ["engineer", "approver"]
mail = "omar@acme.example"
[people.nia]
name = "Nia Stone"
roles = ["engineer", "approver"]
phone = "+12025550103"
"""
"""Ana and Lena have Slack only, Omar mail only, Nia a phone only."""
PRODUCTION = '[[policies]]\ntool = "deploy"\nwhen = { environment = "production" }\n'
OMAR = "omar@acme.example"
NIA = "+12025550103"
DEPLOY = "@bot deploy v1.4.0 to production"


@asynccontextmanager
async def office(
    redis_url: str, tmp_path: Path, policy: str = "", *, people: str = PEOPLE, workers: int = 1
) -> AsyncGenerator[Bench]:
    """The bot with all channels, these people, and this said of deploys to production."""
    (tmp_path / "people.toml").write_text(people)
    (tmp_path / "policy.toml").write_text(PRODUCTION + policy)
    async with bench(
        redis_url, tmp_path, workers=workers, mail=True, sms=True,
        people_file=tmp_path / "people.toml", policy_file=tmp_path / "policy.toml",
    ) as found:  # fmt: skip
        yield found


async def waiting(found: Bench, by: str = "ana") -> tuple[Message, Message]:
    """What somebody asked for in Slack and its card, once everybody was asked."""
    asked = await found.slack.say(by, "#deploys", DEPLOY)
    card = await found.card(asked)
    await found.settled(asked, lambda log: log.state.pending and is_sent(log))
    return asked, card


def is_sent(log: Log) -> bool:
    """Whether everything shows what it should."""
    return not any(needs_delivery(log.state, post) or post.blocked for post in log.state.posts.values())


def kinds(log: Log, kind: str) -> int:
    """How many events of this kind there are."""
    return [event.type for event in log.events].count(kind)


def requests(log: Log) -> list[Request]:
    """Every request, oldest first."""
    return [event.request for event in log.events if isinstance(event, RequestOpened)]


def made(log: Log) -> list[tuple[str, str]]:
    """Who decided what."""
    return [(event.by.id, event.verdict) for event in log.events if isinstance(event, DecisionMade)]


def refusals(log: Log) -> list[tuple[str, str]]:
    """Whose attempt did not count, by which rule."""
    return [(event.by.id, event.rule) for event in log.events if isinstance(event, DecisionRefused)]


def code_in(body: str) -> str:
    """The code that a text says to reply with."""
    return body.split("YES ")[1][:6]


def audited(log: Log, what: str = "refused") -> list[Entry]:
    """What the audit trail has of attempts that did not count, or of something else."""
    lines = (event_to_json(event).encode() for event in log.events)
    entries = (one.entry for one in entries_of(log.thread_id, lines, Fingerprints(b"a key of the tests")))
    return [entry for entry in entries if entry.get("what") == what]


class Directed(ScriptedModel):
    """The sample's script, but for what these turns say instead: each gets the log and gives a call, or nothing."""

    def __init__(self, *turns: Callable[[Log], tuple[str, Arguments] | None]) -> None:
        self._turns = turns

    async def choose(self, agent: Agent, log: Log) -> Choice:
        """What the first turn that has something to say wants, else what the script does."""
        for turn in self._turns:
            if agent.name == "deploy" and (call := turn(log)):
                return Choice(tool=call[0], arguments=call[1], usage=Usage(model="directed"))
        return await super().choose(agent, log)


def newest(log: Log) -> Event:
    """The event that the model has to answer to."""
    return log.events[log.state.heard - 1]


async def nth_card(found: Bench, asked: Message, number: int) -> Message:
    """The card of the request of this number, from 1, once everybody was asked."""
    await found.settled(asked, lambda log: len(requests(log)) == number and log.state.pending and is_sent(log))
    return await found.card(asked)


async def asks(found: Bench, person: str, card: Message, question: str) -> None:
    """Somebody asks first, with Slack's dialog."""
    await found.slack.click(person, card, "ask")
    await found.slack.submit(person, found.slack.views(person)[-1], {"question": {"text": question}})


async def changes(found: Bench, person: str, card: Message, **arguments: str) -> None:
    """Somebody changes the call, with Slack's dialog."""
    await found.slack.click(person, card, "edit")
    typed = {f"argument:{name}": {"text": text} for name, text in arguments.items()}
    await found.slack.submit(person, found.slack.views(person)[-1], typed)
