"""`bot dev`: the whole bot on one machine, with a simulated Slack, mailbox and phone, without any account.

It starts the processes of the Procfile, with settings that point them at the simulators and at a sample repository.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agents.deploy.sample import make_sample
from bot.cli.children import report_dead, start, stop, wait_until_up, watch
from bot.cli.counterparts import BOT_ADDRESS, Counterparts, free_ports
from bot.cli.simulator import simulator
from bot.runtime.private_server import reachable_redis, server_binary
from bot.settings import Settings, SettingsError, load_settings

__all__ = ["dev", "simulator"]

console = Console(highlight=False)
_SAMPLE_PEOPLE = Path(__file__).parents[2] / "people.sample.toml"


def dev(
    port: Annotated[
        int,
        typer.Option(
            help="Port of the page. The bot itself listens on PORT (8000). A port that is taken is passed over.",
            min=1,
            max=65535,
        ),
    ] = 8001,
    simulated: Annotated[
        bool,
        typer.Option("--simulated", help="Simulate Slack, mail and phones even if real ones are set up in .env."),
    ] = False,
) -> None:
    """Start everything: web, worker, a private Redis, and a simulated Slack, mailbox and phone to use in the browser.

    What is set up in `.env` is used instead of its simulation: a workspace (SLACK_BOT_TOKEN), a mail server
    (EMAIL_ADDRESS and SMTP_HOST), a number at Twilio (TWILIO_ACCOUNT_SID and PUBLIC_URL). What it keeps lies in
    DATA_DIR (`.data`), so that the next start goes on where this one stopped. Ctrl-C stops it.
    """
    settings = load_settings()
    data_dir = settings.data_dir.absolute()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"DATA_DIR: {data_dir} cannot be made ({error.strerror})") from error
    signal.signal(signal.SIGTERM, _interrupt)
    with reachable_redis(settings.redis_url, settings.data_dir) as url:
        redis = "REDIS_URL" if settings.redis_url else server_binary()[1]
        ports = free_ports(port, settings.port)
        if ports is None:
            console.print(f"No port from {port} on is free. Choose another with --port.")
            raise typer.Exit(2)
        counterparts = Counterparts.of(settings, ports, simulated=simulated)
        environment = {**os.environ, "REDIS_URL": url, "DATA_DIR": str(data_dir), "PORT": str(ports.web)}
        environment |= _sample(settings, data_dir)
        environment |= counterparts.environment(settings, data_dir)
        children = {
            name: start(name, words, environment, data_dir / "logs")
            for name, words in counterparts.processes(settings).items()
        }
        try:
            with console.status("Starting …"):
                missing = wait_until_up(children, counterparts.addresses(), data_dir, console)
            if missing:
                console.print(f"[red]{missing} does not answer.[/] Look into {data_dir / 'logs'}.")
                raise typer.Exit(1)
            report_dead(children, data_dir, console)
            _greet(settings, redis, counterparts, environment)
            watch(children, data_dir, console)
        except KeyboardInterrupt:
            console.print("\nStopping; what runs comes to its end first.")
        finally:
            stop(children)


def _sample(settings: Settings, data_dir: Path) -> dict[str, str]:
    """The sample repository and the sample people, where nothing else is set up."""
    given: dict[str, str] = {}
    if not settings.deploy_repo:
        sample = make_sample(data_dir / "sample")
        given |= {"DEPLOY_REPO": str(sample.repository), "DEPLOY_FILE": str(sample.deploy_file)}
    if not settings.people_file.exists():
        given["PEOPLE_FILE"] = str(_SAMPLE_PEOPLE)
    return given


def given_or_set(settings: Settings, environment: Mapping[str, str]) -> tuple[str, str]:
    """The people file and the deploy file that the processes use."""
    return (
        environment.get("PEOPLE_FILE") or str(settings.people_file),
        environment.get("DEPLOY_FILE") or str(settings.deploy_file),
    )


def _greet(settings: Settings, redis: str, counterparts: Counterparts, environment: Mapping[str, str]) -> None:
    def say(line: str) -> None:
        console.print(f"  {line}", soft_wrap=True)

    ports = counterparts.ports
    page = f"http://127.0.0.1:{ports.page}"
    console.print()
    if counterparts.any_simulated:
        say(f"[bold green]Switchboard is up.[/]  Open [bold]{page}[/]")
    else:
        say("[bold green]Switchboard is up[/] and works with what is set up in .env.")
    console.print()
    if counterparts.slack:
        say(f"chat   {page}         in #deploys: [italic]@bot deploy v1.4.0 to production[/]")
    else:
        say("chat   your Slack workspace: mention the bot in a channel")
    if counterparts.email:
        say(f"mail   {page}/mail    to {BOT_ADDRESS}: [italic]deploy v1.4.0 to production[/]")
    else:
        say(f"mail   {settings.email_address} at {settings.smtp_host}")
    if counterparts.sms:
        say(f"phone  {page}/phone   text: [italic]what is on production?[/]")
    else:
        say(f"phone  {settings.twilio_from_number} at Twilio")
    console.print()
    model = settings.anthropic_model if settings.model_is_on else "none: scripted rules answer (set ANTHROPIC_API_KEY)"
    say(f"model  {model}")
    say(f"redis  {redis}")
    say(f"api    http://127.0.0.1:{ports.web}/docs")
    if counterparts.email:
        say(f"mail   programs: SMTP 127.0.0.1:{ports.smtp} without a login, POP3 127.0.0.1:{ports.pop3}")
    people, deploy = given_or_set(settings, environment)
    say(f"people {people}")
    say(f"deploy {deploy}")
    say(f"logs   {Path(environment['DATA_DIR']) / 'logs'}")
    say("Ctrl-C stops it; the next start finds everything again.\n")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
