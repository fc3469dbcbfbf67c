"""`bot smtp`, `bot imap`, `bot sms`, and what the doctor says of mail and texts: real processes, real counterparts."""

from __future__ import annotations

import asyncio
import os
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

import pytest
from dovecot import PASSWORD, USER, dovecot, why_missing
from support import PEOPLE, free_port

from bot.core.log import Log
from bot.runtime.store import Store
from bot.testing import FakeClock
from channels.email.simulator import Mailbox, SimulatedMail
from channels.email.simulator import serve as serve_mail
from channels.sms.simulator import SimulatedTwilio
from channels.sms.simulator import serve as serve_twilio

NUMBERS = {"ana": "+12025550101"}


def settings(tmp_path: Path, redis_url: str, **more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "VIRTUAL_ENV"}}
    own = {"REDIS_URL": redis_url, "DATA_DIR": str(tmp_path / "data"), "PEOPLE_FILE": str(PEOPLE), "SECRET_KEY": "s"}
    return {**kept, **own, **more}


@contextmanager
def running(words: list[str], environment: dict[str, str], cwd: Path) -> Generator[subprocess.Popen[str]]:
    """The command as a process, stopped with SIGTERM at the end, which it must take within seconds."""
    command = [sys.executable, "-m", "bot", *words]
    path = {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        command, env=environment | path, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=20)
        assert process.returncode == 0, said


def smtp_at(port: int) -> smtplib.SMTP:
    for _ in range(200):
        try:
            return smtplib.SMTP("127.0.0.1", port, timeout=10)
        except OSError:
            time.sleep(0.05)
    raise AssertionError("nobody listens")


async def threads(redis_url: str) -> list[Log]:
    store = Store(redis_url, FakeClock())
    try:
        found = [await store.logs.load(one.thread_id) for one in await store.logs.recent(10)]
        return [log for log in found if log.state.run != "empty"]
    finally:
        await store.close()


async def test_the_listener_stores_a_mail_before_it_says_yes(redis_url: str, tmp_path: Path) -> None:
    """EM1: `bot smtp` as a process: 250 means that the thread is there; SIGTERM ends it in order."""
    port = free_port()
    on = {"EMAIL_ADDRESS": "bot@acme.example", "SMTP_HOST": "127.0.0.1", "EMAIL_AUTHSERV_ID": "mx.acme.example"}
    mail = EmailMessage()
    mail["Authentication-Results"] = "mx.acme.example; dmarc=pass header.from=acme.example"
    mail["From"], mail["To"], mail["Subject"] = "ana@acme.example", "bot@acme.example", "what is on production?"
    mail["Message-ID"] = "<1@acme.example>"
    mail.set_content("Thanks")
    with running(["smtp", "--port", str(port)], settings(tmp_path, redis_url, **on), tmp_path):
        with smtp_at(port) as client:
            assert client.sendmail("ana@acme.example", ["bot@acme.example"], mail.as_bytes()) == {}
        (log,) = await threads(redis_url)
        assert log.state.requester
        assert log.state.requester.id == "ana"


@pytest.mark.parametrize("words", [["imap"], ["smtp"], ["sms"]])
def test_what_is_not_set_up_waits_instead_of_ending(redis_url: str, tmp_path: Path, words: list[str]) -> None:
    """A process of the Procfile that ends would take the others with it; it says once what is missing."""
    with running(words, settings(tmp_path, redis_url), tmp_path) as process:
        assert process.stdout
        said = process.stdout.readline()
        assert f"{words[0]}_is_off" in said
        assert "EMAIL_ADDRESS" in said or "TWILIO_ACCOUNT_SID" in said
        assert process.poll() is None


async def test_the_poll_picks_up_a_text_that_no_webhook_brought(redis_url: str, tmp_path: Path) -> None:
    """`bot sms` as a process, against Twilio's message list."""
    twilio = SimulatedTwilio()
    async with serve_twilio(twilio):
        twilio.go_down()
        await twilio.text(NUMBERS["ana"], "what is on production?")
        on = {
            "TWILIO_API_URL": twilio.api_url, "TWILIO_ACCOUNT_SID": twilio.account_sid,
            "TWILIO_AUTH_TOKEN": twilio.auth_token, "TWILIO_FROM_NUMBER": twilio.number,
            "PUBLIC_URL": "https://bot.example",
        }  # fmt: skip
        with running(["sms"], settings(tmp_path, redis_url, **on), tmp_path):
            found: list[Log] = []
            for _ in range(200):
                if found := await threads(redis_url):
                    break
                await asyncio.sleep(0.05)
            (log,) = found
            assert log.state.requester
            assert log.state.requester.id == "ana"


async def test_the_doctor_asks_the_mail_server_and_twilio(redis_url: str, tmp_path: Path) -> None:
    """What answers is told, and what is missing beside it."""
    twilio = SimulatedTwilio()
    office = SimulatedMail([Mailbox("ana@acme.example", "Ana")], bot_address="bot@acme.example")
    async with serve_twilio(twilio), serve_mail(office) as ports:
        on = {
            "EMAIL_ADDRESS": "bot@acme.example", "SMTP_HOST": ports.host, "SMTP_PORT": str(ports.smtp),
            "SMTP_TLS": "none", "TWILIO_API_URL": twilio.api_url, "TWILIO_ACCOUNT_SID": twilio.account_sid,
            "TWILIO_AUTH_TOKEN": twilio.auth_token, "TWILIO_FROM_NUMBER": twilio.number,
            "PUBLIC_URL": "https://bot.example",
        }  # fmt: skip
        text = await asyncio.to_thread(_doctor, settings(tmp_path, redis_url, **on), tmp_path)
        lines = {line[2:].split()[0] + str(number): line for number, line in enumerate(text.splitlines())}
        email = [line for key, line in lines.items() if key.startswith("Email")]
        assert email[0].startswith("✓")
        assert "in by `bot smtp` only" in email[0]
        assert "EMAIL_AUTHSERV_ID is not set" in email[1]
        (sms,) = [line for key, line in lines.items() if key.startswith("SMS")]
        assert sms.startswith("✓")
        assert "https://bot.example/twilio/sms" in sms
        wrong = {**on, "TWILIO_AUTH_TOKEN": "hunter2hunter2", "SMTP_PORT": str(free_port())}
        text = await asyncio.to_thread(_doctor, settings(tmp_path, redis_url, **wrong), tmp_path)
        assert text.count("✗ ") == 2
        assert "hunter2" not in text


def _doctor(environment: dict[str, str], cwd: Path) -> str:
    path = {"PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "bot", "doctor"], env=environment | path, cwd=cwd, capture_output=True, text=True,
        check=False, timeout=60,
    ).stdout  # fmt: skip


@pytest.mark.skipif(bool(why_missing()) and not os.environ.get("REQUIRE_DOVECOT"), reason="there is no Dovecot")
async def test_the_mailbox_process_starts_a_thread_from_a_real_mailbox(redis_url: str, tmp_path: Path) -> None:
    """EM1, EM6: `bot imap` as a process, against Dovecot: the thread is there before the mail is marked as seen."""
    mail = EmailMessage()
    mail["Authentication-Results"] = "mx.acme.example; dmarc=pass header.from=acme.example"
    mail["From"], mail["To"], mail["Subject"] = "ana@acme.example", "bot@acme.example", "what is on production?"
    mail["Message-ID"] = "<imap-1@acme.example>"
    mail.set_content("Thanks")
    with dovecot() as server:
        name = server.deliver(mail.as_bytes())
        on = {
            "EMAIL_ADDRESS": "bot@acme.example", "SMTP_HOST": "127.0.0.1", "EMAIL_AUTHSERV_ID": "mx.acme.example",
            "IMAP_HOST": "127.0.0.1", "IMAP_PORT": str(server.port), "IMAP_TLS": "none", "IMAP_USERNAME": USER,
            "IMAP_PASSWORD": PASSWORD,
        }  # fmt: skip
        with running(["imap"], settings(tmp_path, redis_url, **on), tmp_path):
            for _ in range(400):
                if server.is_seen(name):
                    break
                await asyncio.sleep(0.05)
            assert server.is_seen(name)
            (log,) = await threads(redis_url)
            assert log.state.requester
            assert log.state.requester.id == "ana"
