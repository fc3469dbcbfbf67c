"""`bot slack`: what one needs to set up Slack."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bot.settings import load_settings
from channels.slack.manifest import manifest as app_manifest

app = typer.Typer(help="Set up Slack: print what its app configuration needs.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Set up Slack: print what its app configuration needs."""


@app.command()
def manifest(
    socket_mode: Annotated[
        bool, typer.Option("--socket-mode", help="For Socket Mode: no public address is needed.")
    ] = False,
    name: Annotated[str, typer.Option(help="What the bot is called in Slack.")] = "Switchboard",
) -> None:
    """Print the app manifest, to paste at https://api.slack.com/apps, “Create New App”, “From a manifest”.

    Slack then shows what goes into `.env`: SLACK_BOT_TOKEN, and SLACK_SIGNING_SECRET (over HTTP, which needs
    PUBLIC_URL, the address at which Slack reaches this bot) or SLACK_APP_TOKEN (Socket Mode).
    """
    public_url = load_settings().public_url
    if not socket_mode and not public_url:
        typer.echo("Set PUBLIC_URL to the address at which Slack reaches this bot, or use --socket-mode.", err=True)
        raise typer.Exit(2)
    typer.echo(json.dumps(app_manifest(name=name, public_url=public_url, socket_mode=socket_mode), indent=2))
