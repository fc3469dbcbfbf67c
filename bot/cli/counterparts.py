"""What `bot dev` simulates, where that listens, and the settings that point the bot at it."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.kept import kept_token
from bot.settings import Settings

HOST = "127.0.0.1"
BOT_ADDRESS = "bot@acme.example"
AUTHSERV_ID = "mx.acme.example"
BOT_NUMBER = "+12025550100"
_TRIED = 50
_SMTP, _POP3, _LISTENER = 8025, 8110, 2525


@dataclass(frozen=True)
class Ports:
    """Where everything listens, on loopback."""

    page: int
    web: int
    twilio: int
    """The simulated REST API."""
    smtp: int
    """The simulated mail server."""
    pop3: int
    listener: int
    """The bot's own port for mail, which that server hands mail on to."""


def free_ports(page: int, web: int) -> Ports | None:
    """These, or the next ones that are free; None where there are none. Nothing is taken yet."""
    taken: list[int] = []
    for wanted in (page, web, page + 1, _SMTP, _POP3, _LISTENER):
        port = _free_port(wanted, taken)
        if port is None:
            return None
        taken.append(port)
    return Ports(*taken)


def _free_port(wanted: int, taken: Sequence[int]) -> int | None:
    for port in range(wanted, min(wanted + _TRIED, 65536)):
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    return None


@dataclass(frozen=True)
class Counterparts:
    """Which channels are simulated; the others are real, as `.env` has them."""

    ports: Ports
    slack: bool
    email: bool
    sms: bool

    @classmethod
    def of(cls, settings: Settings, ports: Ports, *, simulated: bool) -> Counterparts:
        """What is set up is real, unless everything is to be simulated."""
        real = not simulated
        return cls(
            ports,
            slack=not (real and settings.slack_is_on),
            email=not (real and settings.email_is_on),
            sms=not (real and settings.sms_is_on),
        )

    @property
    def any_simulated(self) -> bool:
        """Whether there is a page."""
        return self.slack or self.email or self.sms

    def processes(self, settings: Settings) -> dict[str, list[str]]:
        """The processes by name, and what to call `bot` with."""
        found: dict[str, list[str]] = {"simulator": self._simulator()} if self.any_simulated else {}
        found |= {"web": ["web"], "worker": ["worker"], "sms": ["sms"]}
        if self.email:
            found["smtp"] = ["smtp", "--port", str(self.ports.listener)]
        elif settings.imap_is_on:
            found["imap"] = ["imap"]
        return found

    def addresses(self) -> list[str]:
        """What has to answer before it can be used."""
        found = [f"http://{HOST}:{self.ports.web}/readyz"]
        if self.any_simulated:
            found.append(f"http://{HOST}:{self.ports.page}/")
        if self.email:
            found.append(f"tcp://{HOST}:{self.ports.listener}")
        return found

    def environment(self, settings: Settings, data_dir: Path) -> dict[str, str]:
        """The settings of every process. What is made up for the simulators stays the same from start to start."""
        web = f"http://{HOST}:{self.ports.web}"
        all_simulated = self.slack and self.email and self.sms
        found = {"PUBLIC_URL": web if all_simulated or not settings.public_url else settings.public_url}
        kept = kept_token(data_dir / "simulator_secret")
        if self.slack:
            found |= {
                "SLACK_API_URL": f"http://{HOST}:{self.ports.page}/api/",
                "SLACK_BOT_TOKEN": f"xoxb-simulated-{kept[:24]}",
                "SLACK_SIGNING_SECRET": kept[24:],
                "SLACK_APP_TOKEN": "",
            }
        if self.email:
            found |= {
                "EMAIL_ADDRESS": BOT_ADDRESS,
                "EMAIL_AUTHSERV_ID": AUTHSERV_ID,
                "SMTP_HOST": HOST,
                "SMTP_PORT": str(self.ports.smtp),
                "SMTP_TLS": "none",
                "SMTP_USERNAME": "",
                "SMTP_PASSWORD": "",
                "IMAP_HOST": "",
            }
        if self.sms:
            found |= {
                "TWILIO_API_URL": f"http://{HOST}:{self.ports.twilio}",
                "TWILIO_ACCOUNT_SID": f"AC{_derived(kept, 'account')}",
                "TWILIO_AUTH_TOKEN": _derived(kept, "token"),
                "TWILIO_FROM_NUMBER": BOT_NUMBER,
            }
        return found

    def _simulator(self) -> list[str]:
        ports = self.ports
        words = ["simulator", "--port", str(ports.page), "--web", f"http://{HOST}:{ports.web}"]
        if self.slack:
            words.append("--slack")
        if self.email:
            words += ["--smtp-port", str(ports.smtp), "--pop3-port", str(ports.pop3)]
            words += ["--listener-port", str(ports.listener)]
        if self.sms:
            words += ["--twilio-port", str(ports.twilio)]
        return words


def _derived(kept: str, name: str) -> str:
    return hashlib.sha256(f"{kept} {name}".encode()).hexdigest()[:32]
