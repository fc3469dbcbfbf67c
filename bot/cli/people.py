"""`bot people`: who the bot knows, and who may decide what. Redis is asked only which addresses are out of use."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from agents import all_agents
from agents.deploy import deploy_file
from agents.deploy.deploy_file import ConfigurationError
from agents.deploy.deploying import ruling_of
from agents.settings import AgentSettings
from bot.cli.board import assemble
from bot.cli.who_decides import who_decides
from bot.core.agent import Agent
from bot.core.people import Address, People, Person, address_of
from bot.core.policies import Policies
from bot.core.protocols import StoreUnavailable
from bot.core.values import Ruling
from bot.core.wording import plural
from bot.runtime.clock import SystemClock
from bot.runtime.people_file import PeopleFile, PeopleFileError
from bot.runtime.policy_file import PolicyFile, PolicyFileError
from bot.runtime.private_server import NoServer, reachable_redis
from bot.settings import Settings, load_settings

app = typer.Typer(help="Who the bot knows, where it reaches them, and who may decide what.", no_args_is_help=True)
console = Console(highlight=False)
_DEFAULT_POLICY_FILE = Settings.model_fields["policy_file"].get_default()
_CHANNELS = ("slack", "email", "sms")


@app.command()
def check() -> None:
    """Read the people file, the policy file and the deploy file as the bot would, and say what comes of them.

    Shows each person with roles, addresses and the time there; what strangers may do; and who decides what. The files
    come from PEOPLE_FILE, POLICY_FILE and DEPLOY_FILE. Nothing is changed and Redis is not needed.

    Exit code 1 if a file has mistakes, or if something takes more approvals than there are persons to give them. All
    mistakes are listed, a line each, with what to write. A line with a `!` is worth a thought, and no mistake.
    """
    settings = load_settings()
    mistakes: list[str] = []
    people = _people(settings, mistakes)
    policies = _policies(settings, people, mistakes)
    if people is not None:
        _show_people(settings, people)
        if policies is not None:
            _title("Who decides")
            deploys = _environments(settings, people, mistakes)
            if reason := _why_nothing(settings, policies):
                _print(reason, indent=2)
            for one in who_decides(people, policies, deploys, known_agents(settings), settings, at=SystemClock().now()):
                _print(one.what, indent=2, style="bold")
                _print(one.how, indent=4)
                for note in one.notes:
                    _print(f"! {note}", indent=4, style="yellow")
                mistakes += [f"{one.what}: {one.wrong}"] if one.wrong else []
    if mistakes:
        _title("Mistakes")
        for line in mistakes:
            _print(f"✗ {line}", indent=2, style="red")
        raise typer.Exit(1)


@app.command()
def whois(
    context: typer.Context,
    who: Annotated[str, typer.Argument(metavar="ADDRESS|ID|NAME", help="Such as lena@acme.example, U0LENA or Lena.")],
) -> None:
    """Say who somebody is: by an address, an id or a part of the name.

    Takes a mail address, a phone number, a Slack user id, an address as logs have it (`slack:T0ACME/U0LENA`), the id of
    the people file, or a name. Shows roles, the time there, quiet hours, and which addresses are out of use, because
    mail bounced or texts were stopped.

    Exit code 1 if the people file has nobody like that.
    """
    settings = load_settings()
    people = PeopleFile(settings.people_file).load()
    found = find(people, who)
    if not found:
        known = ", ".join(person.id for person in people) or "nobody"
        _print(f"The people file has nobody like {who[:100]!r}. It has: {known}.")
        _print("Strangers may: " + ", ".join(f"{people.strangers(one)} ({one})" for one in _CHANNELS))
        raise typer.Exit(1)
    off = _out_of_use(context, settings)
    for person in found:
        _show(about(person, SystemClock().now(), off or {}))
    if off is None:
        _print("Redis does not answer, so it is not known which addresses are out of use.", style="yellow")


def known_agents(settings: Settings) -> dict[str, Agent]:
    """The agents, for their tools' names. Nothing is contacted."""
    return all_agents(
        AgentSettings(data_dir=settings.data_dir, deploy_repo=settings.deploy_repo, deploy_file=settings.deploy_file)
    )


def find(people: People, who: str) -> list[Person]:
    """Everybody who is meant by an id, an address with or without its channel, or a part of a name."""
    who = who.strip()
    if person := people.get(who.removeprefix("@")):  # with the sign where it is an id, as in API_KEYS and deploy.toml
        return [person]
    channel, _, place = who.partition(":")
    if channel in _CHANNELS:
        person = people.at(address_of(channel, place))
        return [person] if person else []
    places = {who.lower(), who.strip("<@>").upper(), re.sub(r"[ ()/.-]", "", who)}
    there = [person for person in people if places & {place for one in person.addresses for place in _places(one)}]
    return there or [person for person in people if who and who.casefold() in person.name.casefold()]


def _places(address: Address) -> tuple[str, ...]:
    channel, _, place = address.partition(":")
    return (place, place.rpartition("/")[2]) if channel == "slack" else (place,)


def about(person: Person, at: datetime, off: Mapping[Address, str] | None = None) -> tuple[str, list[str]]:
    """A person: a line, and lines that stand below it. `off`: addresses out of use, and why."""
    there = f"{at.astimezone(ZoneInfo(person.timezone)):%a %H:%M} in {person.timezone}"
    quiet = ""
    if person.quiet:
        until = person.quiet.until(at)
        end = until.astimezone(ZoneInfo(person.timezone)) if until else None
        quiet = f", quiet {person.quiet.begin:%H:%M}-{person.quiet.end:%H:%M}"
        quiet += f" (now, until {end:%H:%M})" if end else " (not now)"
    theirs = "; of another organisation, so approves nothing" if person.external else ""
    lines = [f"roles: {', '.join(person.roles) or 'none'}{theirs}", f"there: {there}{quiet}"]
    for address in person.addresses or ("no address: the bot cannot reach them",):
        why = (off or {}).get(address)
        lines.append(f"{address}  OUT OF USE: {why}" if why else address)
    return f"{person.name} ({person.id})", lines


def _show_people(settings: Settings, people: People) -> None:
    where = "" if settings.people_file.exists() else ", which is not there: copy people.sample.toml to it"
    _title(f"{plural(len(people), 'person')} in {settings.people_file}{where}")
    guests = of_another_team(people)
    for person in people:
        _show(about(person, SystemClock().now()))
        if person.id in guests:
            _print(f"! {guests[person.id]}", indent=4, style="yellow")
    _title("Roles")
    for line in role_lines(people):
        _print(line, indent=2)
    _title("Strangers may")
    _print(", ".join(f"{people.strangers(channel)} ({channel})" for channel in _CHANNELS), indent=2)


def of_another_team(people: People) -> dict[str, str]:
    """Who may belong to another organisation, to judge by the Slack team, and is not said to; and what to write."""
    teams = {person.id: {_team(one) for one in person.addresses if one.startswith("slack:")} for person in people}
    counted = Counter(team for one in teams.values() for team in one)
    home = counted.most_common(1)[0][0] if counted else ""
    why = "of another Slack team than most; of another organisation? write external = true: {} then approves nothing"
    return {
        person.id: why.format(person.name)
        for person in people
        if teams[person.id] and home not in teams[person.id] and not person.external
    }


def _team(address: Address) -> str:
    return address.partition(":")[2].partition("/")[0]


def role_lines(people: People) -> Iterator[str]:
    """Every role: what it may, and who holds it."""
    for role, words in people.roles.items():
        holders = ", ".join(person.name for person in people.with_any_role([role])) or "nobody"
        yield f"{role}: {holders}{f'. {words}' if words else ''}"


def _people(settings: Settings, mistakes: list[str]) -> People | None:
    try:
        return PeopleFile(settings.people_file).load()
    except PeopleFileError as error:
        mistakes += str(error).splitlines()
        return None


def _policies(settings: Settings, people: People | None, mistakes: list[str]) -> Policies | None:
    if not settings.policy_file.exists() and settings.policy_file != Path(_DEFAULT_POLICY_FILE):
        mistakes.append(f"POLICY_FILE: there is no file {settings.policy_file}, so each tool says itself who is asked")
    if people is None:
        return None
    try:
        return PolicyFile(settings.policy_file, lambda: people, known_agents(settings)).load()
    except PolicyFileError as error:
        mistakes += str(error).splitlines()
        return None


def _why_nothing(settings: Settings, policies: Policies) -> str:
    """Why there is nothing to say of who decides; empty where the files that say it are there."""
    if settings.deploy_file.exists() or policies.entries:
        return ""
    policy = "has no entries" if settings.policy_file.exists() else "is not there either"
    sample = settings.data_dir / "sample" / "deploy.toml"
    hint = f" `make dev` deploys by {sample}: set DEPLOY_FILE to that to see what it says." if sample.exists() else ""
    return f"There is no {settings.deploy_file} (DEPLOY_FILE), and {settings.policy_file} (POLICY_FILE) {policy}.{hint}"


def _environments(settings: Settings, people: People, mistakes: list[str]) -> dict[str, Ruling]:
    """What the deploy file says, where there is one; roles and persons that nobody knows are mistakes."""
    if not settings.deploy_file.exists():
        return {}
    try:
        file = deploy_file.load(settings.deploy_file)
    except ConfigurationError as error:
        mistakes += str(error).splitlines()
        return {}
    for name, one in file.environments.items():
        known = {*people.roles, *(f"@{person.id}" for person in people)}
        asked = tuple(word for step in one.escalation for word in step.ask)
        for key, named in (("approvers", one.approvers), ("requesters", one.requesters), ("escalation", asked)):
            mistakes += (
                f"{settings.deploy_file}: environments.{name}.{key}: the people file has no {word}; "
                f"it has {', '.join(sorted(known)) or 'nobody'}"
                for word in named
                if word not in known
            )
    return {name: ruling_of(one) for name, one in file.environments.items()}


def _out_of_use(context: typer.Context, settings: Settings) -> dict[Address, str] | None:
    # A mistake in the policies is no reason not to say who somebody is.
    settings = settings.model_copy(update={"policy_file": Path(os.devnull)})

    async def ask(url: str) -> dict[Address, str]:
        board = assemble(context, settings, url)
        try:
            await board.store.connection.wait_until_reachable(timeout_seconds=1)
            return await board.store.addresses.all_off()
        finally:
            await board.close()

    try:
        with reachable_redis(settings.redis_url, settings.data_dir) as url:
            return asyncio.run(ask(url))
    except (StoreUnavailable, NoServer):
        return None


def _title(text: str) -> None:
    console.print(Text(f"\n{text}", style="bold underline"))


def _show(told: tuple[str, list[str]]) -> None:
    head, lines = told
    _print(head, indent=2, style="bold")
    for line in lines:
        _print(line, indent=4)


def _print(text: str, *, indent: int = 0, style: str = "") -> None:
    # What a file holds is shown as it is, never read as markup.
    console.print(Padding(Text(text, style=style, overflow="fold"), (0, 0, 0, indent), expand=False))
