"""The only reader of the environment (and of `.env`). A channel without its settings is off."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError, field_validator
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
            keys[name] = digest
        return keys

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("write DEBUG, INFO, WARNING or ERROR")
        return value.upper()

    @field_validator("public_url", "slack_api_url", "anthropic_base_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("write a whole address, beginning with https://")
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
        lines = [f"{'_'.join(map(str, one['loc'])).upper()}: {_plain(one['msg'])}" for one in error.errors()]
        raise SettingsError("\n".join(lines)) from None


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")
