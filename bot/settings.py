"""The only reader of the environment (and of `.env`). A channel without its settings is off."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bot.core.tokens import LENGTH as TOKEN_LENGTH
from bot.kept import kept_token

_HASH = re.compile(r"[0-9a-f]{64}")
_LOCAL = re.compile(r"[A-Za-z0-9._-]+")
_DOMAIN = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_MAX_LOCAL = 64 - 1 - TOKEN_LENGTH
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")

MailTls = Literal["starttls", "tls", "none"]


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

    email_address: str = ""
    """The bot's own address. Replies come to `local+token@domain`, so the server has to take those too."""
    email_authserv_id: str = ""
    """The name by which our mail server signs its `Authentication-Results`; without it no mail is believed (EM18)."""
    smtp_host: str = ""
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_username: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_tls: MailTls = "starttls"
    imap_host: str = ""
    imap_port: int = Field(default=993, ge=1, le=65535)
    imap_username: str = ""
    imap_password: SecretStr = SecretStr("")
    imap_access_token: SecretStr = SecretStr("")
    """For XOAUTH2 instead of a password."""
    imap_tls: MailTls = "tls"
    postmark_webhook_login: SecretStr = SecretStr("")
    """`user:password` of the webhook's address; two of them during a rotation, with a comma between them."""
    sendgrid_webhook_public_key: SecretStr = SecretStr("")
    """Base64, as SendGrid shows it."""
    mailgun_webhook_signing_key: SecretStr = SecretStr("")

    twilio_account_sid: str = ""
    twilio_auth_token: SecretStr = SecretStr("")
    """Two of them during a rotation, the new one first, with a comma between them (SM1)."""
    twilio_from_number: str = ""
    twilio_api_url: str = "https://api.twilio.com"
    sms_daily_cap: int = Field(default=500, ge=1)
    """Texts a day that are given to an agent, from all numbers together (SM7)."""
    sms_daily_cap_per_number: int = Field(default=50, ge=1)

    anthropic_api_key: SecretStr = SecretStr("")
    anthropic_base_url: str = ""
    anthropic_model: str = "claude-sonnet-5-5"

    secret_key: SecretStr = SecretStr("")
    api_keys: Annotated[dict[str, str], NoDecode] = {}
    """Caller's name to SHA-256 (hex) of the key: `API_KEYS=ci:<hash>,@lena:<hash>`. With `@`, a person's."""
    people_file: Path = Path("people.toml")
    policy_file: Path = Path("policy.toml")
    """Where there is no such file, tools decide by themselves who is asked."""
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
            if not name.removeprefix("@") or not _HASH.fullmatch(digest):
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

    @field_validator("email_address")
    @classmethod
    def _is_mail_address(cls, value: str) -> str:
        local, _, domain = value.rpartition("@")
        if value and not (_LOCAL.fullmatch(local) and _DOMAIN.fullmatch(domain)):
            raise ValueError("write one address, such as bot@acme.example")
        if len(local) > _MAX_LOCAL:
            raise ValueError(f"the part before the @ may have {_MAX_LOCAL} characters; replies add a token to it")
        return value.lower()

    @field_validator("twilio_from_number")
    @classmethod
    def _is_number(cls, value: str) -> str:
        if value and not _NUMBER.fullmatch(value):
            raise ValueError("write it as +12025550123, without blanks")
        return value

    @field_validator("public_url", "slack_api_url", "anthropic_base_url", "twilio_api_url")
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
    def email_is_on(self) -> bool:
        """Mail can be sent. Which ways in there are is another matter."""
        return bool(self.email_address and self.smtp_host)

    @property
    def imap_is_on(self) -> bool:
        """There is a mailbox to read."""
        return bool(self.email_is_on and self.imap_host and self.imap_username)

    @property
    def sms_is_on(self) -> bool:
        """Texts can be sent, and their webhooks verified, which takes the address that Twilio calls (SM1)."""
        account = self.twilio_account_sid and self._set(self.twilio_auth_token)
        return bool(account and self.twilio_from_number and self.public_url)

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
    def each(secret: SecretStr) -> tuple[str, ...]:
        """The secrets of a setting that takes two during a rotation."""
        return tuple(part for one in secret.get_secret_value().split(",") if (part := one.strip()))

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
        return "write a whole number, 1 or more; a port is at most 65535"
    return message.removeprefix("Value error, ")
