"""What `bot dev` simulates: whatever is not set up, channel by channel."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bot.cli.counterparts import Counterparts, Ports, free_ports
from bot.settings import Settings

PORTS = Ports(page=8001, web=8000, twilio=8002, smtp=8025, pop3=8110, listener=2525)
SLACK = {"slack_bot_token": "xoxb-1", "slack_signing_secret": "s"}
MAIL = {"email_address": "bot@corp.example", "smtp_host": "smtp.corp.example"}
IMAP = {**MAIL, "imap_host": "imap.corp.example", "imap_username": "bot"}
PUBLIC = {"public_url": "https://bot.corp.example"}
TWILIO = {
    **PUBLIC, "twilio_account_sid": "AC1", "twilio_auth_token": "t", "twilio_from_number": "+12025550123",
}  # fmt: skip


def planned(values: dict[str, str], *, simulated: bool = False) -> tuple[Settings, Counterparts]:
    settings = Settings(_env_file=None, **values)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return settings, Counterparts.of(settings, PORTS, simulated=simulated)


@pytest.mark.parametrize(
    ("values", "simulates", "processes"),
    [
        ({}, "slack email sms", "simulator web worker sms smtp"),
        (SLACK, "email sms", "simulator web worker sms smtp"),
        (MAIL, "slack sms", "simulator web worker sms"),
        (IMAP, "slack sms", "simulator web worker sms imap"),
        (TWILIO, "slack email", "simulator web worker sms smtp"),
        ({**SLACK, **IMAP, **TWILIO}, "", "web worker sms imap"),
        ({"slack_bot_token": "xoxb-1"}, "slack email sms", "simulator web worker sms smtp"),
    ],
)
def test_what_is_set_up_is_real_and_the_rest_is_simulated(
    values: dict[str, str], simulates: str, processes: str
) -> None:
    """Half a set-up counts as none; each process is started that the channels need."""
    settings, found = planned(values)
    assert [name for name in ("slack", "email", "sms") if getattr(found, name)] == simulates.split()
    assert list(found.processes(settings)) == processes.split()
    assert found.any_simulated == bool(simulates)


def test_simulated_forces_everything_and_nothing_real_is_left(tmp_path: Path) -> None:
    """No real server, mailbox, workspace or number is reached with what the processes are given."""
    settings, found = planned({**SLACK, **IMAP, **TWILIO}, simulated=True)
    environment = found.environment(settings, tmp_path)
    seen = Settings(_env_file=None, **{name.lower(): value for name, value in environment.items()})  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert seen.slack_is_on
    assert seen.email_is_on
    assert seen.sms_is_on
    assert not seen.imap_is_on
    assert seen.public_url == "http://127.0.0.1:8000"
    assert "corp.example" not in " ".join(environment.values())
    assert environment == found.environment(settings, tmp_path), "the next start has the same secrets"


def test_a_real_channel_keeps_its_settings_and_the_public_address(tmp_path: Path) -> None:
    """With a real Slack behind PUBLIC_URL, that stays the address; only mail and phones are pointed elsewhere."""
    settings, found = planned({**SLACK, **PUBLIC})
    environment = found.environment(settings, tmp_path)
    assert environment["PUBLIC_URL"] == "https://bot.corp.example"
    assert not [name for name in environment if name.startswith("SLACK_")]
    assert environment["SMTP_HOST"] == "127.0.0.1"
    assert environment["TWILIO_API_URL"] == "http://127.0.0.1:8002"


def test_a_port_that_is_taken_is_passed_over() -> None:
    """And none is given out twice."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        found = free_ports(taken, taken)
    assert found
    ports = [found.page, found.web, found.twilio, found.smtp, found.pop3, found.listener]
    assert taken not in ports
    assert len(set(ports)) == 6
    assert free_ports(65_535, 65_535) is None
