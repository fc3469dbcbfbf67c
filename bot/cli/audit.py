"""`bot audit`: who asked for what, who decided, what ran and what came back; exported, and checked again."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from rich.console import Console

from bot.cli import thread_ids
from bot.cli.audit_search import Person, Search
from bot.cli.audit_table import show_records
from bot.cli.board import Board, assemble
from bot.core.audit_record import Fingerprints
from bot.core.wording import plural
from bot.runtime.audit import Exported, TrailDamaged, export, export_to, found_in
from bot.runtime.audit_check import Verified, verify
from bot.runtime.people_file import PeopleFile
from bot.runtime.private_server import reachable_redis
from bot.runtime.store.audit import RedisAudit
from bot.settings import Settings, load_settings

app = typer.Typer(
    help="The audit trail: who asked for what, who decided what and how they were known, what ran and what came back; "
    "attempts that were refused, too. No codes, tokens or texts are in it.\n\n"
    "Without a command: `show`. Let cron run `bot audit export` every hour (Redis forgets a thread 90 days after its "
    "last event), keep the hash that it prints in another place, and check with `bot audit verify`."
)
console = Console(highlight=False)
T = TypeVar("T")
FILE = "audit.jsonl"
_MOST_PROBLEMS = 50

File = Annotated[Path | None, typer.Argument(help=f"The file; left out: {FILE} in DATA_DIR.", show_default=False)]


@app.callback(invoke_without_command=True)
def audit(context: typer.Context) -> None:
    """Show what happened lately, where no command is given."""
    if context.invoked_subcommand is None:
        show(context)


def _moment(text: str | datetime) -> datetime:
    """A day, or a time of one. Typer gives a default through it, too."""
    if isinstance(text, datetime):
        return text
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M"):
        with suppress(ValueError):
            return datetime.strptime(text.strip(), form).replace(tzinfo=UTC)
    raise typer.BadParameter(f"{text[:40]!r} is no day; write one such as 2026-03-01, or 2026-03-01T09:30, in UTC.")


@app.command()
def show(  # noqa: PLR0917 an argument for each option
    context: typer.Context,
    thread: Annotated[str, typer.Option(help="Only this thread: its id, or how that begins.")] = "",
    person: Annotated[str, typer.Option(help="Only what this person did: an id, a whole name, or an address.")] = "",
    since: Annotated[
        datetime | None,
        typer.Option(parser=_moment, metavar="DAY", help="From then on, in UTC: 2026-03-01 or 2026-03-01T09:30."),
    ] = None,
    limit: Annotated[int, typer.Option(help="How many, the newest.", min=1, max=10_000)] = 50,
    decisions: Annotated[
        bool, typer.Option("--decisions", help="Only what became of requests, and refused attempts.")
    ] = False,
) -> None:
    """Show the newest records, oldest first, from what Redis still has. It exports nothing and changes nothing."""
    thread, person = thread.strip(), person.strip()
    people = PeopleFile(load_settings().people_file).load()
    search = Search(
        limit=limit,
        thread=thread,
        person=Person.of(person, people) if person else None,
        since=since,
        decisions=decisions,
    )
    problems: list[str] = []

    async def find(board: Board) -> None:
        logs, marks = RedisAudit(board.store.connection), Fingerprints.of(board.settings.signing_key)
        async for thread_id, found in found_in(logs, marks, problems, since=search.since, but=search.leaves_out):
            search.take(thread_id, found)

    _with_board(context, find)
    for problem in problems:
        typer.echo(problem, err=True)
    if rows := search.rows:
        show_records(rows)
        if search.left_out:
            older = f"{plural(search.left_out, 'older record')} left out; --limit shows more."
            console.print(older, style="dim", soft_wrap=True)
        return
    console.print(search.nothing, markup=False, soft_wrap=True)
    if thread and not thread_ids.can_be_meant(thread):
        console.print(f"That is not how an id begins: {thread_ids.SHORTEST}.", soft_wrap=True)


@app.command("export")
def export_trail(context: typer.Context, file: File = None) -> None:
    """Add what is new to a file, one JSON record in a line, and print the hash of its last record.

    Each record carries the hash of the one before it. Run it as often as you like, from cron too: what is in the file
    is never written again. `-` writes everything that Redis has to the standard output instead.

    Keep the printed hash where whoever can write the file cannot: `bot audit verify --head HASH` then finds a cut end.
    """

    async def add(board: Board) -> Exported:
        logs, marks = RedisAudit(board.store.connection), Fingerprints.of(board.settings.signing_key)
        if to_stdout:
            return await export_to(sys.stdout.buffer, logs, marks)
        return await export(path, logs, marks)

    to_stdout, path = str(file) == "-", _path(file)
    try:
        if not to_stdout and file is None:
            path.parent.mkdir(parents=True, exist_ok=True)
        done = _with_board(context, add)
    except TrailDamaged as problem:
        _fail(f"Nothing was added to {path}, because it is damaged: {problem}\nLook at it with `bot audit verify`.")
    except OSError as error:
        _fail(f"{path} cannot be written ({error.strerror or type(error).__name__}).")
    for problem in done.problems:
        typer.echo(f"Not exported: {problem}", err=True)
    if done.mended:
        typer.echo("The last line was unfinished, because an export was interrupted; it was made anew.", err=True)
    typer.echo(f"{plural(done.added, 'record')} added, {done.tail.number} in all.", err=to_stdout)
    typer.echo(f"head {done.tail.hash}", err=to_stdout)
    if done.problems:
        raise typer.Exit(1)


@app.command("verify")
def verify_trail(
    context: typer.Context,
    file: File = None,
    head: Annotated[
        str | None,
        typer.Option(help="The hash that an export printed (or that whole line): finds an end that was cut off."),
    ] = None,
    against_redis: Annotated[
        bool, typer.Option(help="Also compare with the threads that Redis still has.", show_default=True)
    ] = True,
) -> None:
    """Check a file: finds changed, missing, inserted and reordered records, and names their places.

    With Redis, it also finds events that were changed or deleted there after they were exported. Exit code 1 where
    anything is wrong. Whoever can rewrite the whole file and every hash in it is found with --head; without it only by
    comparing: what is said of threads that Redis still has, and which of them are left out, but not that the file ends
    early.
    """
    path, told = _path(file), _head(head)

    async def check(board: Board) -> Verified:
        settings, logs = board.settings, RedisAudit(board.store.connection)
        marks = Fingerprints.of(settings.signing_key)
        return await verify(path, head=told, logs=logs, fingerprints=marks, now=board.clock.now())

    try:
        if not path.is_file():
            _fail(f"There is no file {path}. `bot audit export` makes it.")
        if against_redis:
            done = _with_board(context, check)
        else:
            alone = verify(path, head=told, logs=None, fingerprints=Fingerprints(b""), now=datetime.now(UTC))
            done = asyncio.run(alone)
    except OSError as error:
        _fail(f"{path} cannot be read ({error.strerror or type(error).__name__}).")
    for problem in done.problems[:_MOST_PROBLEMS]:
        typer.echo(problem)
    if len(done.problems) > _MOST_PROBLEMS:
        typer.echo(f"… and {len(done.problems) - _MOST_PROBLEMS} more")
    typer.echo(_summary(done, against_redis=against_redis))
    if done.problems or (not done.records and done.not_exported):  # a file that was emptied has no chain to break
        raise typer.Exit(1)


def _head(typed: str | None) -> str:
    """The hash that was typed; empty where no --head was. One that is none checks nothing, so it is a mistake."""
    if typed is None:
        return ""
    told = typed.strip().removeprefix("head ").strip().lower()
    if not re.fullmatch(r"[0-9a-f]{64}", told):
        what = "is no hash; it has 64 of 0-9 and a-f, as `bot audit export` prints it."
        typer.echo(f"--head: {typed[:80]!r} {what}", err=True)
        raise typer.Exit(2)
    return told


def _summary(done: Verified, *, against_redis: bool) -> str:
    verdict = "the chain holds" if done.records else "the file is empty"
    if done.problems:
        verdict = f"{plural(len(done.problems), 'problem')} found"
    lines = [f"{plural(done.records, 'record')}: {verdict}."]
    lines += [] if done.problems else [f"head {done.tail.hash}"]
    if against_redis:
        lines.append(f"Compared with Redis: {done.compared}; Redis has forgotten: {done.forgotten} (90 days).")
    if done.other_key:
        lines.append(f"{done.other_key} were exported under another SECRET_KEY: what they say was compared, no more.")
    if done.not_exported:
        lines.append(
            f"Redis has {plural(done.not_exported, 'record')} more: not exported yet, or cut off the end of the file; "
            "--head with the last hash that was kept elsewhere tells which."
        )
    return "\n".join(lines)


def _path(file: Path | None) -> Path:
    return file if file is not None else load_settings().data_dir / FILE


def _fail(text: str) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(1)


def _with_board(context: typer.Context, work: Callable[[Board], Awaitable[T]]) -> T:
    settings: Settings = load_settings()

    async def run(url: str) -> T:
        board = assemble(context, settings, url)
        try:
            await board.store.connection.wait_until_reachable(timeout_seconds=1)
            return await work(board)
        finally:
            await board.close()

    with reachable_redis(settings.redis_url, settings.data_dir) as url:
        return asyncio.run(run(url))
