"""`bot doctor`: what is set, what is missing, and whether everything answers."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

from agents.deploy import deploy_file
from agents.deploy.deploy_file import ConfigurationError
from agents.deploy.repository import Repository, RepositoryError
from bot.cli.board import Board, assemble
from bot.cli.mail import imap_place
from bot.cli.people import known_agents
from bot.core.protocols import DeliveryError, ModelError, StoreUnavailable
from bot.runtime.people_file import PeopleFile, PeopleFileError
from bot.runtime.policy_file import PolicyFile, PolicyFileError
from bot.runtime.private_server import NoServer, reachable_redis, server_binary
from bot.settings import Settings, load_settings
from channels.email.client.imap import ImapMailbox, MailboxError

console = Console(highlight=False)
_MARKS = {"ok": "[green]✓[/]", "off": "[dim]–[/]", "warn": "[yellow]![/]", "bad": "[red]✗[/]"}


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    mark: str
    subject: str
    text: str


def doctor(context: typer.Context) -> None:
    """Check the set-up: Redis, Slack, mail, SMS, the model, people, policies, the deploy file, the API's keys.

    It changes no setting; where there is no REDIS_URL, it starts the private Redis in DATA_DIR for a moment.

    ✓ works, – is off, ! works but you should know, ✗ is wrong. Exit code 1 if something is wrong, 2 if a setting
    cannot even be read.
    """
    settings = load_settings()
    # These two files have their own lines below; a mistake in one of them must not hide the others.
    empty = Path(os.devnull)
    without_files = settings.model_copy(update={"people_file": empty, "policy_file": empty})
    try:
        with reachable_redis(settings.redis_url, settings.data_dir) as url:
            findings = asyncio.run(_services(assemble(context, without_files, url)))
    except NoServer as error:
        findings = [Finding("bad", "Redis", str(error))]
    findings += [*_people(settings), *_policies(settings), *asyncio.run(_deploy(settings)), *_web(settings)]
    for one in findings:
        text = f"{_MARKS[one.mark]} [bold]{one.subject:<8}[/] {escape(one.text)}"
        console.print(text, soft_wrap=True)
    if any(one.mark == "bad" for one in findings):
        raise typer.Exit(1)


async def _services(board: Board) -> list[Finding]:
    try:
        return [await _redis(board), await _slack(board), *await _email(board), await _sms(board), await _model(board)]
    finally:
        await board.close()


async def _redis(board: Board) -> Finding:
    where = "REDIS_URL" if board.settings.redis_url else f"private, {server_binary()[1]}, in {board.settings.data_dir}"
    try:
        seconds = await board.store.connection.ping()
    except StoreUnavailable as error:
        return Finding("bad", "Redis", f"{where}: {error}. Start it, or unset REDIS_URL to use a private one.")
    return Finding("ok", "Redis", f"{where}; answers in {seconds * 1000:.1f} ms")


async def _slack(board: Board) -> Finding:
    settings = board.settings
    if not settings.slack_bot_token.get_secret_value():
        return Finding("off", "Slack", "off: SLACK_BOT_TOKEN is not set. `bot slack manifest` begins the set-up.")
    if board.channels.slack is None:
        return Finding("bad", "Slack", "no way in: set SLACK_SIGNING_SECRET (HTTP) or SLACK_APP_TOKEN (Socket Mode).")
    ways = [
        name for name, on in (("HTTP", settings.slack_over_http), ("Socket Mode", settings.slack_over_socket)) if on
    ]
    try:
        who = await board.channels.slack.ping()
        if settings.slack_over_socket:
            await board.channels.slack.ping_socket_mode(settings.slack_app_token.get_secret_value())
    except DeliveryError as error:
        return Finding("bad", "Slack", f"{settings.slack_api_url} refuses or does not answer: {error.error}")
    text = f"{who['user']} in {who['team']} ({who['team_id']}), in over {' and '.join(ways)}"
    if settings.slack_over_http and not settings.public_url:
        return Finding("warn", "Slack", f"{text}; PUBLIC_URL is not set, so long texts are cut without a link")
    return Finding("ok", "Slack", text)


async def _email(board: Board) -> list[Finding]:
    settings, channel = board.settings, board.channels.email
    if channel is None:
        missing = "SMTP_HOST" if settings.email_address else "EMAIL_ADDRESS"
        return [Finding("off", "Email", f"off: {missing} is not set.")]
    try:
        await channel.ping()
    except DeliveryError as error:
        return [Finding("bad", "Email", f"{settings.smtp_host}:{settings.smtp_port} does not take mail: {error.error}")]
    ways = [
        name
        for name, on in (
            ("IMAP", settings.imap_is_on),
            ("Postmark", bool(settings.each(settings.postmark_webhook_login))),
            ("SendGrid", bool(settings.each(settings.sendgrid_webhook_public_key))),
            ("Mailgun", bool(settings.each(settings.mailgun_webhook_signing_key))),
        )
        if on
    ]
    found = [Finding("ok", "Email", f"{settings.email_address}, out by {settings.smtp_host}, in by {_ways_in(ways)}")]
    if not settings.email_authserv_id:
        why = "EMAIL_AUTHSERV_ID is not set: unless a provider vouches for a mail, nobody who writes is believed"
        found.append(Finding("warn", "Email", why))
    if settings.imap_is_on:
        found.append(await _imap(settings))
    elif settings.imap_host:
        found.append(Finding("warn", "IMAP", "off: IMAP_HOST is set, IMAP_USERNAME is not"))
    if not settings.public_url:
        found.append(Finding("warn", "Email", "PUBLIC_URL is not set, so mails have no link to decide with"))
    return found


async def _imap(settings: Settings) -> Finding:
    async def take(_: object) -> None:
        """Nothing is taken in: only the way is tried."""

    try:
        await ImapMailbox(imap_place(settings), take).ping()
    except MailboxError as error:
        return Finding("bad", "IMAP", f"{settings.imap_host}:{settings.imap_port}: {error}")
    return Finding("ok", "IMAP", f"{settings.imap_username} at {settings.imap_host}")


def _ways_in(ways: list[str]) -> str:
    return f"{' and '.join(ways)}, or `bot smtp`" if ways else "`bot smtp` only"


async def _sms(board: Board) -> Finding:
    settings, channel = board.settings, board.channels.sms
    if channel is None:
        wanted = {
            "TWILIO_ACCOUNT_SID": settings.twilio_account_sid,
            "TWILIO_AUTH_TOKEN": settings.twilio_auth_token.get_secret_value(),
            "TWILIO_FROM_NUMBER": settings.twilio_from_number,
            "PUBLIC_URL": settings.public_url,
        }
        missing = [name for name, value in wanted.items() if not value]
        mark = "off" if "TWILIO_ACCOUNT_SID" in missing else "bad"
        return Finding(mark, "SMS", f"off: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set.")
    try:
        await channel.ping()
    except DeliveryError as error:
        return Finding("bad", "SMS", f"{settings.twilio_api_url} refuses or does not answer: {error.error}")
    return Finding("ok", "SMS", f"{settings.twilio_from_number}, webhooks at {settings.public_url}/twilio/sms")


async def _model(board: Board) -> Finding:
    if not board.settings.model_is_on:
        return Finding("warn", "Model", "no model: scripted rules answer. Set ANTHROPIC_API_KEY to have a real one.")
    try:
        await board.model.ping()
    except ModelError as error:
        return Finding("bad", "Model", f"{board.model.name}: {error.detail}")
    return Finding("ok", "Model", f"{board.model.name} answers")


def _people(settings: Settings) -> list[Finding]:
    if not settings.people_file.exists():
        return [
            Finding(
                "bad",
                "People",
                f"{settings.people_file} is not there, so the bot knows nobody and nobody can approve anything. "
                "Copy people.sample.toml to it, or set PEOPLE_FILE.",
            )
        ]
    try:
        people = PeopleFile(settings.people_file).load()
    except PeopleFileError as error:
        return [Finding("bad", "People", str(error))]
    approvers = people.with_any_role(["approver"])
    mark = "ok" if approvers else "warn"
    return [
        Finding(mark, "People", f"{len(people)} in {settings.people_file}, {len(approvers)} with the role approver")
    ]


def _policies(settings: Settings) -> list[Finding]:
    if not settings.policy_file.exists():
        return [Finding("off", "Policy", f"there is no {settings.policy_file}: each tool says itself who is asked.")]
    try:
        people = PeopleFile(settings.people_file).load()
        policies = PolicyFile(settings.policy_file, lambda: people, known_agents(settings)).load()
    except PeopleFileError:
        return [Finding("warn", "Policy", f"{settings.policy_file} is held against the people file: mend that first.")]
    except PolicyFileError as error:
        return [Finding("bad", "Policy", str(error))]
    number = len(policies.entries)
    noun = "entry" if number == 1 else "entries"
    return [Finding("ok", "Policy", f"{number} {noun} in {settings.policy_file}")]


async def _deploy(settings: Settings) -> list[Finding]:
    if not settings.deploy_repo:
        return [Finding("off", "Deploy", "off: DEPLOY_REPO is not set.")]
    try:
        file = await asyncio.to_thread(deploy_file.load, settings.deploy_file)
        repository = Repository(settings.deploy_repo, settings.data_dir / "repositories")
        await repository.refresh()
        tags = await repository.tags(1)
    except (ConfigurationError, RepositoryError) as error:
        return [Finding("bad", "Deploy", str(error))]
    newest = f"newest tag {tags[0].name}" if tags else "no tags"
    return [Finding("ok", "Deploy", f"{repository.url}, {newest}; environments: {', '.join(file.environments)}")]


def _web(settings: Settings) -> list[Finding]:
    findings: list[Finding] = []
    if not settings.api_keys:
        findings.append(Finding("off", "API", "nobody can call it: API_KEYS is not set. `bot api-key NAME` makes one."))
    else:
        findings.append(Finding("ok", "API", f"keys: {', '.join(settings.api_keys)}"))
    if not settings.secret_key.get_secret_value():
        where = Path(settings.data_dir) / "secret_key"
        findings.append(Finding("warn", "Links", f"signed with {where}; set SECRET_KEY if there are several machines"))
    return findings
