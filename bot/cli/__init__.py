"""The command line: `bot`. A wrong setting is told in a line, never as a traceback."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.console import Console
from rich.markup import escape

from bot.cli import audit, dev, doctor, mail, people, processes, slack, sms, threads
from bot.cli.board import Assemble
from bot.core.protocols import StoreUnavailable
from bot.runtime.people_file import PeopleFileError
from bot.runtime.policy_file import PolicyFileError
from bot.runtime.private_server import NoServer
from bot.settings import SettingsError

app = typer.Typer(
    name="bot",
    help="Switchboard: a chat-ops agent bot that a team owns and runs.\n\n"
    "Begin with `bot dev`: the whole bot with a simulated Slack, mailbox and phone, without any account. "
    "Settings come from the environment or from `.env`; `bot doctor` says what is set, missing or wrong.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command("dev")(dev.dev)
app.command("web")(processes.web)
app.command("worker")(processes.worker)
app.command("imap")(mail.imap)
app.command("smtp")(mail.smtp)
app.command("sms")(sms.sms)
app.command("simulator", hidden=True)(dev.simulator)
app.command("doctor")(doctor.doctor)
app.command("launch")(threads.launch)
app.command("api-key")(threads.api_key)
app.add_typer(audit.app, name="audit")
app.add_typer(people.app, name="people")
app.add_typer(threads.app, name="threads")
app.add_typer(slack.app, name="slack")

_TITLES: dict[type[Exception], str] = {
    SettingsError: "A setting is wrong:",
    PeopleFileError: "The people file cannot be used:",
    PolicyFileError: "The policy file cannot be used:",
    NoServer: "There is no Redis to work with:",
    StoreUnavailable: "Redis does not answer. Check REDIS_URL, or unset it to use a private server:",
}


def run(assemble: Assemble, arguments: Sequence[str] | None = None) -> None:
    """Run a command; what is wrong with the set-up is told in a line, with exit code 2."""
    try:
        app(arguments, obj=assemble)
    except tuple(_TITLES) as error:
        text = f"[bold red]{_TITLES[type(error)]}[/]\n{escape(str(error))}"
        Console(stderr=True).print(text, highlight=False, soft_wrap=True)
        raise SystemExit(2) from None
