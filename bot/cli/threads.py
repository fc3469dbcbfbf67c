"""`bot threads`, `bot launch` and `bot api-key`: the API from a shell on the bot's own machine."""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from agents import FIRST_AGENT
from bot.cli.board import Board, assemble
from bot.cli.tables import show_table
from bot.cli.thread_ids import SHORTEST, all_meant, can_be_meant
from bot.core.events import Event, event_to_json
from bot.core.log import Log
from bot.core.people import Actor
from bot.core.values import ThreadId
from bot.core.wording import cut
from bot.runtime.inbox import MAX_MESSAGE_CHARACTERS
from bot.runtime.private_server import reachable_redis
from bot.settings import load_settings

app = typer.Typer(help="Look at threads: what the bot was asked, did and waits for.", no_args_is_help=True)
console = Console(highlight=False)
T = TypeVar("T")
_MOST_IDS = 20

_STYLES = {"waiting": "yellow", "working": "cyan", "finished": "green", "cancelled": "dim", "paused": "magenta"}


@app.command("list")
def list_threads(
    context: typer.Context, limit: Annotated[int, typer.Option(help="How many.", min=1, max=200)] = 20
) -> None:
    """List threads, the one touched last first."""

    async def find(board: Board) -> list[Log]:
        found = [await board.store.logs.load(one.thread_id) for one in await board.store.logs.recent(limit)]
        return [log for log in found if log.state.run != "empty"]

    logs = _with_board(context, find)
    if not logs:
        console.print('There are no threads yet. Start one with `bot launch "what is on production?"`.')
        return
    table = Table(
        Column("thread", no_wrap=True, min_width=25),  # whole, because `show` wants it
        Column("status", no_wrap=True, min_width=9),
        Column("agent", no_wrap=True, min_width=6),
        Column("touched (UTC)", no_wrap=True, min_width=13),
        Column("begins", no_wrap=True, overflow="ellipsis"),
        box=None,
        pad_edge=False,
    )
    for log in logs:
        status = log.state.status
        said = next((event.text for event in log.events if event.type == "message_received"), "").replace("\n", " ")
        touched = f"{log.events[-1].at:%m-%d %H:%M}"
        marked = f"[{_STYLES.get(status, '')}]{status}[/]" if status in _STYLES else status
        table.add_row(log.thread_id, marked, log.state.agent, touched, escape(cut(said, 50)))
    show_table(table, columns=120)


@app.command()
def show(
    context: typer.Context,
    thread: Annotated[str, typer.Argument(help="The thread's id, as `bot threads list` shows it, or how it begins.")],
    as_json: Annotated[bool, typer.Option("--json", help="The events as JSON lines.")] = False,
) -> None:
    """Show a thread: how it stands, what it waits for, and its log."""
    thread = thread.strip()

    async def find(board: Board) -> tuple[list[ThreadId], Log]:
        ids = await all_meant(board.store, thread)
        return ids, await board.store.logs.load(ids[0] if ids else thread)

    ids, log = _with_board(context, find)
    if len(ids) > 1:
        typer.echo(f"{len(ids)} threads begin with {thread}: {', '.join(ids[:_MOST_IDS])}", err=True)
        raise typer.Exit(1)
    if not len(log):
        short = "" if can_be_meant(thread) else f" To name one, {SHORTEST}."
        typer.echo(f"There is no thread {thread}. `bot threads list` shows those that there are.{short}", err=True)
        raise typer.Exit(1)
    if as_json:
        for event in log.events:
            typer.echo(event_to_json(event))
        return
    state = log.state
    console.print(f"[bold]{log.thread_id}[/]  {state.status}  agent {state.agent}  ${state.cost_usd:.4f}")
    for one in state.pending:
        roles = ", ".join(one.request.rule.roles) if one.request.rule else "anybody it knows"
        text = f"[yellow]waits for[/] {roles}: {escape(one.request.prompt)}  [dim]({one.request.id})[/]"
        console.print(text, soft_wrap=True)
    for seq, event in enumerate(log.events, start=1):
        console.print(
            f"[dim]{seq:>4}  {event.at:%m-%d %H:%M:%S}[/]  {event.type:<18} {escape(_brief(event))}",
            no_wrap=True,
            overflow="ellipsis" if console.is_terminal else "ignore",
            crop=console.is_terminal,
        )


def launch(
    context: typer.Context,
    message: Annotated[str, typer.Argument(help="What to ask, such as “what is on production?”.")],
    agent: Annotated[str, typer.Option(help="The agent that starts.")] = FIRST_AGENT,
) -> None:
    """Launch an agent, as the API does. A worker that runs elsewhere (`bot dev` or `bot worker`) does the work.

    It says in no channel what it does: `bot threads show` tells how it goes.
    """
    if not message.strip() or len(message) > MAX_MESSAGE_CHARACTERS:
        typer.echo(f"Write a message of 1 to {MAX_MESSAGE_CHARACTERS} characters.", err=True)
        raise typer.Exit(2)
    name = getpass.getuser()
    by = Actor(kind="service", id=f"api:{name}", name=name, address=f"api:{name}", authenticated_by="shell")

    async def start(board: Board) -> str:
        if agent not in board.agents:
            typer.echo(f"There is no agent {agent}. There are: {', '.join(board.agents)}.", err=True)
            raise typer.Exit(2)
        return (await board.inbox.launch(agent, message, by)).thread_id or ""

    thread_id = _with_board(context, start)
    typer.echo(f"Launched {thread_id}. See how it goes: bot threads show {thread_id}")


def api_key(
    name: Annotated[str, typer.Argument(help="Who will use it: a service's name, or @ and a person's id.")],
) -> None:
    """Make a key for the API: shows it once, and the hash that goes into API_KEYS.

    Only the hash is kept in the settings. API_KEYS takes several, with commas between them. A key of @lena acts as the
    person `lena` of the people file, as long as they are in it. Any other key is a service: it asks and answers, and
    approves nothing.
    """
    if not re.fullmatch(r"@?[A-Za-z0-9_-]+", name):
        typer.echo("A name is made of letters, digits, - and _; for a person, @ stands before their id.", err=True)
        raise typer.Exit(2)
    key = f"sb_{secrets.token_urlsafe(32)}"
    typer.echo(f"The key, shown only now:  {key}")
    typer.echo(f"Callers send the header:  Authorization: Bearer {key}")
    typer.echo(f"Add to API_KEYS:          {name}:{hashlib.sha256(key.encode()).hexdigest()}")


def _with_board(context: typer.Context, work: Callable[[Board], Awaitable[T]]) -> T:
    settings = load_settings()

    async def run(url: str) -> T:
        board = assemble(context, settings, url)
        try:
            await board.store.connection.wait_until_reachable(timeout_seconds=1)
            return await work(board)
        finally:
            await board.close()

    with reachable_redis(settings.redis_url, settings.data_dir) as url:
        return asyncio.run(run(url))


def _brief(event: Event) -> str:
    """An event in a line: what tells it from others of its type."""
    fields = json.loads(event_to_json(event))
    for name in ("type", "at", "usage", "by"):
        fields.pop(name, None)
    match event.type:
        case "message_received":
            text = f"{event.by.name}: {event.text}"
        case "tool_chosen":
            text = f"{event.tool} {json.dumps(event.arguments, ensure_ascii=False)}"
        case "request_opened":
            text = f"{event.request.kind}: {event.request.prompt}"
        case "decision_made" | "decision_refused":
            text = f"{event.verdict} by {event.by.name}"
        case _:
            text = json.dumps(fields, ensure_ascii=False) if fields else ""
    return cut(text.replace("\n", " ⏎ "), 150)
