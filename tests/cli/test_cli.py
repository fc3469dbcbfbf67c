from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from anthropic_counterpart import KEY, serve_anthropic
from support import PEOPLE, free_port

from agents.deploy.sample import make_sample
from bot.app import Switchboard
from bot.cli import run
from bot.settings import Settings
from channels.slack.manifest import BOT_EVENTS, BOT_SCOPES
from channels.slack.simulator import SimulatedSlack, serve

NOWHERE = "redis://127.0.0.1:1"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own, without `.env` and without this machine's environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for name in list(os.environ):
        if name.lower() in Settings.model_fields:
            monkeypatch.delenv(name)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return tmp_path


class Shell:
    """Runs commands in this process."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture
        self.error = ""

    def __call__(self, *words: str, code: int = 0) -> str:
        """What the command printed, once it ended with this code; what it printed as an error is in `error`."""
        with pytest.raises(SystemExit) as ended:
            run(Switchboard.assemble, words)
        printed = self._capture.readouterr()
        self.error = printed.err
        assert (ended.value.code or 0) == code, printed
        assert "Traceback" not in printed.err
        return printed.out


@pytest.fixture
def bot(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


# --- help


def test_without_a_command_it_teaches_where_to_begin(bot: Shell) -> None:
    """The first thing anybody sees names the first command to type and where settings come from."""
    text = bot("--help")
    assert "Begin with bot dev" in text
    assert ".env" in text
    for command in ("dev", "web", "worker", "doctor", "launch", "threads", "api-key", "slack"):
        assert re.search(rf"^│ {command} ", text, re.MULTILINE), command
    assert "simulator" not in re.findall(r"^│ (\S+)", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "teaches"),
    [
        (["dev"], ["simulated Slack", "DATA_DIR", "Ctrl-C", "--port", "--simulated", "SLACK_BOT_TOKEN"]),
        (["web"], ["webhooks", "/docs", "PORT", "Any number"]),
        (["worker"], ["ask the model", "Any number", "SIGTERM"]),
        (["doctor"], ["Redis, Slack, mail, SMS, the model", "changes", "Exit code 1"]),
        (["launch"], ["what is on production?", "bot threads show", "bot worker", "--agent"]),
        (["api-key"], ["API_KEYS", "person's id"]),
        (["threads"], ["list", "show", "waits for"]),
        (["threads", "list"], ["touched last", "--limit"]),
        (["threads", "show"], ["bot threads list", "--json"]),
        (["slack"], ["manifest"]),
        (["slack", "manifest"], ["api.slack.com/apps", "PUBLIC_URL", "--socket-mode", "SLACK_SIGNING_SECRET"]),
    ],
)
def test_the_help_of_each_command_teaches(bot: Shell, words: list[str], teaches: list[str]) -> None:
    """What it does, what it needs, and what to do next."""
    text = " ".join(bot(*words, "--help").replace("│", " ").split())
    for lesson in teaches:
        assert lesson in text, lesson


# --- what is wrong is told in a line


@pytest.mark.parametrize("words", [["dev"], ["web"], ["worker"], ["doctor"], ["launch", "hi"], ["threads", "list"]])
def test_a_wrong_setting_is_told_in_a_line(bot: Shell, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """Exit code 2, the setting's name, what to write; no traceback and no secret."""
    monkeypatch.setenv("API_KEYS", "hunter2hunter2")
    monkeypatch.setenv("PORT", "many")
    assert bot(*words, code=2) == ""
    assert bot.error.splitlines() == [
        "A setting is wrong:",
        "PORT: write a whole number, 1 or more; a port is at most 65535",
        "API_KEYS: each entry is NAME:SHA256-HEX; `bot api-key NAME` makes one",
    ]


def test_a_wrong_people_file_is_told_as_it_is_written(bot: Shell, home: Path) -> None:
    """Brackets in the message are shown, not taken for colours."""
    (home / "people.toml").write_text('[persons.ana]\nname = "Ana"')
    bot("threads", "list", code=2)
    assert bot.error.startswith("The people file cannot be used:\n")
    assert "unknown table [persons]; persons are written as [people.<id>]" in bot.error


def test_a_redis_that_is_away_is_told(bot: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to check."""
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2hunter2@127.0.0.1:1")
    bot("threads", "show", "t1", code=2)
    assert "Redis does not answer. Check REDIS_URL" in bot.error
    assert "hunter2" not in bot.error


def test_a_data_dir_that_cannot_be_is_told(bot: Shell, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file where the directory should be."""
    (home / "file").write_text("x")
    monkeypatch.setenv("DATA_DIR", str(home / "file"))
    bot("threads", "list", code=2)
    assert "Set DATA_DIR to a place of its own" in bot.error
    bot("dev", code=2)
    assert "DATA_DIR" in bot.error


@pytest.mark.parametrize(
    "words", [["nonsense"], ["launch"], ["threads", "list", "--limit", "0"], ["dev", "--port", "0"]]
)
def test_a_wrong_command_line_is_told(bot: Shell, words: list[str]) -> None:
    """Exit code 2 and the way to the help."""
    bot(*words, code=2)
    assert "--help" in bot.error


# --- slack manifest


def test_the_manifest_for_http_names_the_address(bot: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON to paste: scopes, events, and PUBLIC_URL's address for events and for buttons."""
    monkeypatch.setenv("PUBLIC_URL", "https://bot.example.com/")
    manifest: dict[str, Any] = json.loads(bot("slack", "manifest", "--name", "Deployer"))
    settings = manifest["settings"]
    assert settings["event_subscriptions"]["request_url"] == "https://bot.example.com/slack/events"
    assert settings["interactivity"] == {"is_enabled": True, "request_url": "https://bot.example.com/slack/events"}
    assert settings["socket_mode_enabled"] is False
    assert settings["event_subscriptions"]["bot_events"] == list(BOT_EVENTS)
    assert manifest["oauth_config"]["scopes"]["bot"] == list(BOT_SCOPES)
    assert {"app_mentions:read", "chat:write", "channels:history", "im:history", "im:write"} <= set(BOT_SCOPES)
    assert manifest["display_information"]["name"] == "Deployer"
    (command,) = manifest["features"]["slash_commands"]
    assert (command["command"], command["url"]) == ("/deployer", "https://bot.example.com/slack/events")
    assert "commands" in BOT_SCOPES


def test_the_manifest_for_socket_mode_needs_no_address(bot: Shell) -> None:
    """No URL anywhere in it."""
    text = bot("slack", "manifest", "--socket-mode")
    manifest: dict[str, Any] = json.loads(text)
    assert manifest["settings"]["socket_mode_enabled"] is True
    assert "http" not in text


def test_the_manifest_without_an_address_says_what_is_missing(bot: Shell) -> None:
    """Half a manifest would only fail later, at Slack."""
    assert bot("slack", "manifest", code=2) == ""
    assert "Set PUBLIC_URL" in bot.error
    assert "--socket-mode" in bot.error


# --- keys


def test_a_new_key_fits_its_hash(bot: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed for API_KEYS is taken there, and is the hash of the key."""
    text = bot("api-key", "ci-deploys")
    key = re.search(r"shown only now: +(\S+)", text)
    entry = re.search(r"API_KEYS: +(\S+)", text)
    assert key
    assert entry
    assert entry[1] == f"ci-deploys:{hashlib.sha256(key[1].encode()).hexdigest()}"
    assert f"Authorization: Bearer {key[1]}" in text
    assert key[1] not in bot("api-key", "ci-deploys")
    monkeypatch.setenv("API_KEYS", entry[1])
    assert "keys: ci-deploys" in bot("doctor", code=1)


@pytest.mark.parametrize("name", ["a b", "a:b", "a,b", ""])
def test_a_name_that_would_not_fit_is_refused(bot: Shell, name: str) -> None:
    """API_KEYS has colons and commas of its own."""
    assert bot("api-key", name, code=2) == ""
    assert "letters, digits, - and _" in bot.error


# --- launch and threads


def launched(bot: Shell, message: str, *more: str) -> str:
    """The thread's id."""
    found = re.fullmatch(r"Launched (t\w{24})\. See how it goes: bot threads show \1\n", bot("launch", message, *more))
    assert found
    return found[1]


def test_a_launched_thread_is_listed_and_shown(bot: Shell) -> None:
    """Without a worker it waits to be worked on; the list has its whole id, which `show` takes."""
    assert "There are no threads yet" in bot("threads", "list")
    thread_id = launched(bot, "what is on production?")
    listed = bot("threads", "list")
    assert thread_id in listed
    assert "what is on production?" in listed
    assert "working" in listed
    shown = bot("threads", "show", thread_id)
    assert shown.startswith(thread_id)
    assert "agent triage" in shown
    assert re.search(r"2 .*message_received +\w+: what is on production\?", shown)


def test_a_thread_is_shown_by_how_its_id_begins(bot: Shell) -> None:
    """At least `t` and 6 characters, as the bot's own answers print it; less is told to be too little."""
    thread_id = launched(bot, "what is on production?")
    launched(bot, "and on staging?")
    assert bot("threads", "show", thread_id[:7]) == bot("threads", "show", thread_id)
    assert bot("threads", "show", thread_id[:6], code=1) == ""
    assert f"There is no thread {thread_id[:6]}" in bot.error
    assert "write at least `t` and 6" in bot.error


def test_the_list_keeps_ids_whole_in_a_narrow_terminal(bot: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else has to be cut, an id is there to be copied."""
    monkeypatch.setenv("COLUMNS", "80")
    thread_id = launched(bot, "deploy v1.4.0 to production and then tell everybody in the team about it " * 5)
    rows = [line for line in bot("threads", "list").splitlines() if line.startswith(thread_id)]
    assert len(rows) == 1
    assert "triage" in rows[0]
    assert "…" in rows[0]


def test_the_events_come_as_json_lines(bot: Shell) -> None:
    """For jq: one event a line, as the API gives them."""
    thread_id = launched(bot, "hello", "--agent", "deploy")
    events = [json.loads(line) for line in bot("threads", "show", thread_id, "--json").splitlines()]
    assert [event["type"] for event in events] == ["thread_launched", "message_received"]
    assert events[0]["agent"] == "deploy"
    assert events[0]["by"]["kind"] == "service"


@pytest.mark.parametrize("text", ["[/red] [bold]x[/] [cut] \\[", "line 1\nline 2", "x" * 300, "[link=http://x]"])
def test_whatever_people_write_can_be_listed(bot: Shell, text: str) -> None:
    """Brackets and line breaks are text, not markup."""
    thread_id = launched(bot, text)
    assert text[:5].splitlines()[0] in bot("threads", "list")
    assert text[:5].splitlines()[0] in bot("threads", "show", thread_id)


def test_what_cannot_be_launched_says_why(bot: Shell) -> None:
    """An agent that is not there, or nothing to ask."""
    bot("launch", "hello", "--agent", "cook", code=2)
    assert "There is no agent cook. There are: triage, deploy." in bot.error
    bot("launch", "  ", code=2)
    assert "1 to 40000 characters" in bot.error


def test_a_thread_that_is_not_there_says_where_to_look(bot: Shell) -> None:
    """Exit code 1, and the command that lists those that there are."""
    bot("threads", "show", "tnothing", code=1)
    assert "There is no thread tnothing. `bot threads list`" in bot.error


# --- doctor


def line(text: str, subject: str) -> str:
    """The doctor's line on this subject."""
    return next(one for one in text.splitlines() if one[2:].startswith(subject))


def test_the_doctor_says_what_is_missing_and_how_to_begin(bot: Shell) -> None:
    """On a fresh machine: what is off, and which setting or command turns it on; nobody known is an error."""
    text = bot("doctor", code=1)
    assert line(text, "Redis").startswith("✓")
    assert "private" in line(text, "Redis")
    assert line(text, "Slack").startswith("–")
    assert "`bot slack manifest`" in line(text, "Slack")
    assert line(text, "Model").startswith("!")
    assert "ANTHROPIC_API_KEY" in line(text, "Model")
    assert line(text, "People").startswith("✗")
    assert "people.sample.toml" in line(text, "People")
    assert "DEPLOY_REPO" in line(text, "Deploy")
    assert "`bot api-key NAME`" in line(text, "API")
    assert "SECRET_KEY" in line(text, "Links")


@pytest.fixture
def sound(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that are all right, apart from channels and model."""
    sample = make_sample(home / "sample", seconds=0)
    for name, value in (
        ("PEOPLE_FILE", str(PEOPLE)),
        ("DEPLOY_REPO", str(sample.repository)),
        ("DEPLOY_FILE", str(sample.deploy_file)),
        ("SECRET_KEY", "a secret of the tests"),
        ("API_KEYS", f"ci:{hashlib.sha256(b'key').hexdigest()}"),
    ):
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("sound")
def test_the_doctor_is_content_where_everything_works(bot: Shell) -> None:
    """Exit code 0, and what it found."""
    text = bot("doctor")
    assert "4 in" in line(text, "People")
    assert "2 with the role approver" in line(text, "People")
    assert "environments: " in line(text, "Deploy")
    assert "production" in line(text, "Deploy")
    assert "keys: ci" in line(text, "API")
    assert "✗" not in text
    assert "Links" not in text


@pytest.mark.usefixtures("sound")
@pytest.mark.parametrize(
    ("name", "value", "subject", "says"),
    [
        ("REDIS_URL", NOWHERE, "Redis", "unset REDIS_URL to use a private one"),
        ("SLACK_BOT_TOKEN", "xoxb-1", "Slack", "set SLACK_SIGNING_SECRET (HTTP) or SLACK_APP_TOKEN (Socket Mode)"),
        ("DEPLOY_FILE", "nothing.toml", "Deploy", "nothing.toml"),
        ("DEPLOY_REPO", "/nowhere", "Deploy", "/nowhere"),
        ("PEOPLE_FILE", "broken.toml", "People", "[people.ana] name: this key is missing"),
    ],
)
def test_the_doctor_tells_each_mistake_beside_what_works(
    bot: Shell, home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, subject: str, says: str
) -> None:
    """Exit code 1; a mistake in one place never hides the others."""
    (home / "broken.toml").write_text("[people.ana]\n")
    monkeypatch.setenv(name, value)
    text = bot("doctor", code=1)
    assert line(text, subject).startswith("✗")
    assert says in line(text, subject)
    assert text.count("✗") == 1
    subjects = {one[2:].split()[0] for one in text.splitlines()}
    assert subjects == {"Redis", "Slack", "Email", "SMS", "Model", "People", "Policy", "Deploy", "API"}


@pytest.mark.usefixtures("sound")
async def test_the_doctor_asks_slack_and_the_model(bot: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right settings are confirmed by who answers; wrong ones are told, without the secret."""
    slack = SimulatedSlack()
    async with serve(slack), serve_anthropic() as claude:
        monkeypatch.setenv("SLACK_API_URL", slack.api_url)
        monkeypatch.setenv("SLACK_SIGNING_SECRET", slack.tokens.signing_secret)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", claude.url)
        monkeypatch.setenv("SLACK_BOT_TOKEN", slack.tokens.bot_token)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        text = await asyncio.to_thread(bot, "doctor")
        assert "switchboard in Acme (T0ACME), in over HTTP; PUBLIC_URL is not set" in line(text, "Slack")
        assert "claude-sonnet-5-5 answers" in line(text, "Model")
        monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-hunter2hunter2")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-hunter2hunter2")
        text = await asyncio.to_thread(bot, "doctor", code=1)
        assert "invalid_auth" in line(text, "Slack")
        assert "refuses the key (401)" in line(text, "Model")
        assert "hunter2" not in text


# --- the processes


@contextmanager
def process(*words: str, **environment: str) -> Generator[subprocess.Popen[str]]:
    running = subprocess.Popen(
        [sys.executable, "-m", "bot", *words],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield running
    finally:
        if running.poll() is None:
            running.terminate()
        running.communicate(timeout=30)


def read_until(running: subprocess.Popen[str], wanted: Callable[[str], object], *, seconds: float) -> str:
    """What it printed until then."""
    assert running.stdout
    said, deadline = "", time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(running.stdout, selectors.EVENT_READ)
        while not wanted(said):
            assert selector.select(deadline - time.monotonic()), f"not within {seconds} s: {said}"
            chunk = os.read(running.stdout.fileno(), 65536).decode()
            assert chunk, f"it ended: {said}"
            said += chunk
    return said


def test_dev_starts_everything_and_finds_it_again(home: Path) -> None:
    """The whole bot from one command: pages, an API, a worker; after Ctrl-C the next start has everything still."""
    port, web = free_port(), free_port()
    page, api = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{web}/api/threads"
    environment = {"PORT": str(web), "API_KEYS": f"ci:{hashlib.sha256(b'key').hexdigest()}"}
    headers = {"Authorization": "Bearer key"}
    seconds: list[float] = []
    listed: list[list[str]] = []
    for start in (1, 2):
        begun = time.monotonic()
        with process("dev", "--port", str(port), **environment) as dev:
            said = read_until(dev, lambda text: "Ctrl-C" in text, seconds=25)
            seconds.append(time.monotonic() - begun)
            assert f"Open {page}\n" in said
            for place in (f"chat   {page} ", f"mail   {page}/mail ", f"phone  {page}/phone "):
                assert place in said
            assert f"api    http://127.0.0.1:{web}/docs" in said
            assert "scripted rules answer (set ANTHROPIC_API_KEY)" in said
            assert re.search(r"^  people .*/people\.sample\.toml$", said, re.MULTILINE)
            assert f"  deploy {home / 'data' / 'sample' / 'deploy.toml'}\n" in said
            for path in ("/", "/mail", "/phone"):
                assert httpx.get(f"{page}{path}").is_success
            on = httpx.get(f"http://127.0.0.1:{web}/readyz").json()["channels"]
            assert on == {"slack": True, "email": True, "sms": True}
            if start == 1:
                body = {"message": "what is on production?"}
                assert httpx.post(api, json=body, headers=headers).status_code == 201
                ask = {"to": "bot@acme.example", "subject": "", "text": "what is on production?"}
                act_on(page, "mail/send", {"from": "ana@acme.example", **ask})
                act_on(page, "phone/send", {"from": "+12025550101", **ask})
            answered_by_mail_and_text(page)
            listed.append(sorted(one["id"] for one in httpx.get(api, headers=headers).json()["threads"]))
            dev.send_signal(signal.SIGINT)
            out, _ = dev.communicate(timeout=15)
            assert "Stopping" in out
            assert dev.returncode == 0
    assert listed[0] == listed[1]
    assert len(listed[0]) == 3
    assert seconds[1] < seconds[0] + 5.0  # nothing of the last run has to time out first
    assert not (home / "data" / "redis" / "redis.sock").exists()


def act_on(page: str, path: str, body: dict[str, str]) -> None:
    """Do something as a person, as the page does it."""
    answer = httpx.post(f"{page}/{path}", json=body, headers={"Origin": page})
    assert answer.json() == {"ok": True}


def answered_by_mail_and_text(page: str) -> None:
    """Wait until the bot's answers lie in the mailbox and on the phone."""
    deadline = time.monotonic() + 15
    while True:
        mails, texts = httpx.get(f"{page}/mail/state").json()["mails"], httpx.get(f"{page}/phone/state").json()["texts"]
        by_mail = [one["preview"] for one in mails if not one["sent"]]
        by_text = [one["body"] for one in texts if not one["mine"] and one["status"] == "delivered"]
        if by_mail and by_text:
            break
        assert time.monotonic() < deadline, (mails, texts)
        time.sleep(0.1)
    assert "production runs v1.3.2" in by_mail[0]
    assert "production runs v1.3.2" in by_text[0]
