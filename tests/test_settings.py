from __future__ import annotations

import hashlib
import os
import stat
import threading
from pathlib import Path

import pytest

from bot.kept import kept_token
from bot.settings import Settings, SettingsError, load_settings

HASH = hashlib.sha256(b"a key").hexdigest()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No `.env`, and nothing of this machine's environment."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.lower() in Settings.model_fields:
            monkeypatch.delenv(name)
    return tmp_path


def test_without_any_setting_everything_has_a_sensible_value() -> None:
    """A fresh machine: a private Redis, no channel, no model, loopback only."""
    settings = load_settings()
    assert (settings.redis_url, settings.host, settings.port) == ("", "127.0.0.1", 8000)
    assert settings.data_dir == Path(".data")
    assert not settings.slack_is_on
    assert not settings.model_is_on
    assert settings.api_keys == {}


def test_the_environment_comes_before_the_env_file(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.env` is read from the working directory, what is unknown in it is ignored."""
    (elsewhere / ".env").write_text("PORT=9000\nLOG_LEVEL=debug\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("PORT", "9001")
    settings = load_settings()
    assert (settings.port, settings.log_level) == (9001, "DEBUG")


def test_an_empty_value_is_none_and_hides_the_one_of_the_env_file(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`PORT=` in a copied file is no mistake, and `SLACK_APP_TOKEN=` switches off what `.env` says."""
    (elsewhere / ".env").write_text("SLACK_APP_TOKEN=xapp-1-of-the-file\nPORT=\nDATA_DIR=\nANTHROPIC_MODEL=\n")
    monkeypatch.setenv("SLACK_APP_TOKEN", "")
    settings = load_settings()
    assert not settings.slack_over_socket
    assert (settings.port, settings.data_dir) == (8000, Path(".data"))
    assert settings.anthropic_model


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "http", "write a whole number, 1 or more; a port is at most 65535"),
        ("PORT", "0", "write a whole number, 1 or more; a port is at most 65535"),
        ("PORT", "65536", "write a whole number, 1 or more; a port is at most 65535"),
        ("REDIS_URL", "localhost:6379", "write redis://HOST:PORT/0"),
        ("REDIS_URL", "http://user:hunter2hunter2@localhost", "write redis://HOST:PORT/0"),
        ("REDIS_URL", "redis://:hunter2hunter2@localhost:port", "write redis://HOST:PORT/0"),
        ("REDIS_URL", "redis://", "write redis://HOST:PORT/0"),
        ("REDIS_URL", "unix://", "unix:///PATH"),
        ("API_KEYS", "hunter2hunter2", "each entry is NAME:SHA256-HEX"),
        ("API_KEYS", "ci:hunter2hunter2", "`bot api-key NAME` makes one"),
        ("API_KEYS", f":{HASH}", "each entry is NAME:SHA256-HEX"),
        ("API_KEYS", f"ci:{HASH},ci:{HASH}", "ci is there twice"),
        ("LOG_LEVEL", "LOUD", "write DEBUG, INFO, WARNING or ERROR"),
        ("PUBLIC_URL", "bot.example.com", "write a whole address, such as https://bot.example.com"),
        ("PUBLIC_URL", "https://", "write a whole address"),
        ("SLACK_API_URL", "slack.com/api", "write a whole address"),
        ("ANTHROPIC_BASE_URL", "ftp://user:hunter2hunter2@api", "write a whole address"),
    ],
)
def test_a_wrong_value_is_told_in_a_line_without_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    """The line names the setting and what to write; a secret that slipped into it is not repeated."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert str(raised.value).startswith(f"{name}: ")
    assert says in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert raised.value.__cause__ is None


def test_several_mistakes_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for each, so that nobody has to start the bot three times."""
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("LOG_LEVEL", "x")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert [line.partition(":")[0] for line in str(raised.value).splitlines()] == ["PORT", "LOG_LEVEL"]


def test_an_env_file_that_is_no_text_is_told(elsewhere: Path) -> None:
    """A file saved in another encoding is a mistake like any other."""
    (elsewhere / ".env").write_bytes("SLACK_BOT_TOKEN=größe".encode("latin-1"))
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_settings()


def test_api_keys_are_names_and_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces and a comma at the end do no harm."""
    monkeypatch.setenv("API_KEYS", f" ci:{HASH}, lena:{HASH},")
    assert load_settings().api_keys == {"ci": HASH, "lena": HASH}


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://:pw@redis.internal:6380/2",
        "rediss://user:pw@redis.example.com:6379/0",
        "unix:///run/redis.sock?db=1",
        "redis://[::1]:6379",
    ],
)
def test_every_usual_address_of_redis_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What redis-py understands is not in the way."""
    monkeypatch.setenv("REDIS_URL", url)
    assert load_settings().redis_url == url


def test_addresses_lose_their_last_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are put behind them."""
    monkeypatch.setenv("PUBLIC_URL", "https://bot.example.com/")
    assert load_settings().public_url == "https://bot.example.com"


@pytest.mark.parametrize(
    ("given", "is_on"),
    [
        ({}, False),
        ({"SLACK_BOT_TOKEN": "xoxb-1"}, False),
        ({"SLACK_SIGNING_SECRET": "s"}, False),
        ({"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": "s"}, True),
        ({"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"}, True),
    ],
)
def test_slack_is_on_with_a_token_and_a_way_in(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], *, is_on: bool
) -> None:
    """A channel without all of its settings is off."""
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert load_settings().slack_is_on == is_on


def test_secrets_do_not_show_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printing the settings by mistake tells no secret."""
    names = ("SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_APP_TOKEN", "ANTHROPIC_API_KEY", "SECRET_KEY")
    for name in names:
        monkeypatch.setenv(name, "hunter2hunter2")
    assert "hunter2" not in repr(load_settings())


def test_links_are_signed_with_the_secret_key_or_a_kept_one(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without SECRET_KEY one is made once and kept, for its owner only."""
    made = load_settings().signing_key
    assert load_settings().signing_key == made
    assert stat.S_IMODE((elsewhere / ".data" / "secret_key").stat().st_mode) == 0o600
    monkeypatch.setenv("SECRET_KEY", "given")
    assert load_settings().signing_key not in {made, b"given"}


def test_processes_that_make_a_kept_value_at_once_agree_on_it(tmp_path: Path) -> None:
    """The first one wins, and nobody reads half a value."""
    together, found = threading.Barrier(8), list[str]()

    def make() -> None:
        together.wait()
        found.append(kept_token(tmp_path / "deep" / "token"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found[0]) == 64
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["token"]
