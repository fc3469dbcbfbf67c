"""The only reader of the environment (and of `.env`). A channel without its settings is off."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bot.kept import kept_token

_HASH = re.compile(r"[0-9a-f]{64}")


class SettingsError(Exception):
    """A setting is wrong. The text says which, and what to write instead; it never holds a secret."""


class Settings(BaseSettings):
    """What the environment says. Read once, by the composition root."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True)

    redis_url: str = ""
    """Empty: a private server is started in `data_dir`."""
    public_url: str = ""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)

    slack_bot_token: SecretStr = SecretStr("")
    slack_signing_secret: SecretStr = SecretStr("")
    slack_app_token: SecretStr = SecretStr("")
    slack_api_url: str = "https://slack.com/api/"

    anthropic_api_key: SecretStr = SecretStr("")
    anthropic_base_url: str = ""
    anthropic_model: str = "claude-sonnet-5-5"

    secret_key: SecretStr = SecretStr("")
    api_keys: Annotated[dict[str, str], NoDecode] = {}
    """Caller's name to SHA-256 (hex) of the key: `API_KEYS=ci:<hash>,lena:<hash>`."""
    people_file: Path = Path("people.toml")
    deploy_repo: str = ""
    deploy_file: Path = Path("deploy.toml")
    data_dir: Path = Path(".data")
    log_level: str = "INFO"

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object, info: ValidationInfo) -> object:
        return cls.model_fields[info.field_name or ""].get_default() if value == "" else value

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        keys: dict[str, str] = {}
        for entry in filter(None, (part.strip() for part in value.split(","))):
            name, _, digest = entry.partition(":")
            if not name or not _HASH.fullmatch(digest):
                raise ValueError("each entry is NAME:SHA256-HEX; `bot api-key NAME` makes one")
            if name in keys:
                raise ValueError(f"{name} is there twice; give the second key a name of its own")
            keys[name] = digest
        return keys

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("write DEBUG, INFO, WARNING or ERROR")
        return value.upper()

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: str) -> str:
        if value and not _has_place(value, ("redis", "rediss", "unix")):
            raise ValueError("write redis://HOST:PORT/0, rediss://… or unix:///PATH; leave it out for a private server")
        return value

    @field_validator("public_url", "slack_api_url", "anthropic_base_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if value and not _has_place(value, ("http", "https")):
            raise ValueError("write a whole address, such as https://bot.example.com")
        return value.rstrip("/")

    @property
    def slack_is_on(self) -> bool:
        """Slack can be answered: there is a bot token, and a way in."""
        return bool(self._set(self.slack_bot_token) and (self.slack_over_http or self.slack_over_socket))

    @property
    def slack_over_http(self) -> bool:
        """Events come in at `/slack/events`."""
        return self._set(self.slack_signing_secret)

    @property
    def slack_over_socket(self) -> bool:
        """Events come in over Socket Mode."""
        return self._set(self.slack_app_token)

    @property
    def model_is_on(self) -> bool:
        """There is a key for the model's API."""
        return self._set(self.anthropic_api_key)

    @cached_property
    def signing_key(self) -> bytes:
        """The key that links are signed with: from SECRET_KEY, else made once and kept in the data directory."""
        if self._set(self.secret_key):
            return hashlib.sha256(self.secret_key.get_secret_value().encode()).digest()
        return hashlib.sha256(kept_token(self.data_dir / "secret_key").encode()).digest()

    @staticmethod
    def _set(secret: SecretStr) -> bool:
        return bool(secret.get_secret_value())


def load_settings() -> Settings:
    """Read the environment. Raises SettingsError, one line for each wrong setting."""
    try:
        return Settings()
    except ValidationError as error:
        # Only the messages: the input itself may be a secret.
        lines = [
            f"{'_'.join(map(str, one['loc'])).upper()}: {_plain(one['type'], one['msg'])}" for one in error.errors()
        ]
        raise SettingsError("\n".join(lines)) from None
    except UnicodeDecodeError:
        raise SettingsError(".env: this is not UTF-8 text") from None


def _has_place(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        place = parts.path if parts.scheme == "unix" else parts.hostname
        return parts.scheme in schemes and bool(place) and parts.port != 0
    except ValueError:  # a port that is no number, an address with half a bracket
        return False


def _plain(kind: str, message: str) -> str:
    if kind in {"int_parsing", "greater_than_equal", "less_than_equal"}:
        return "write a whole number from 1 to 65535"  # the only numbers here are ports
    return message.removeprefix("Value error, ")
