"""What the commands need of the composition root, which stands above them and is handed in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import typer
from fastapi import FastAPI

from bot.core.agent import Agent
from bot.core.protocols import Clock, Model
from bot.desks.email import EmailDesk
from bot.desks.sms import SmsDesk
from bot.runtime.inbox import Inbox
from bot.runtime.store import Store
from bot.runtime.worker import Worker
from bot.settings import Settings
from channels.email.client import EmailChannel
from channels.slack.client import SlackChannel
from channels.sms.client import SmsChannel


class Channels(Protocol):
    """The ways to people that are on."""

    @property
    def slack(self) -> SlackChannel | None:
        """Slack, where it is on."""
        ...

    @property
    def email(self) -> EmailChannel | None:
        """Mail, where it is on."""
        ...

    @property
    def sms(self) -> SmsChannel | None:
        """SMS, where it is on."""
        ...


class Desks(Protocol):
    """Where what comes in is taken in, for each channel that is on."""

    @property
    def email(self) -> EmailDesk | None:
        """Takes in mail."""
        ...

    @property
    def sms(self) -> SmsDesk | None:
        """Takes in texts."""
        ...


class Board(Protocol):
    """The bot, put together."""

    @property
    def settings(self) -> Settings:
        """What the environment says."""
        ...

    @property
    def clock(self) -> Clock:
        """Where time comes from."""
        ...

    @property
    def store(self) -> Store:
        """Logs, wake-ups, timers."""
        ...

    @property
    def agents(self) -> dict[str, Agent]:
        """Every agent by name."""
        ...

    @property
    def model(self) -> Model:
        """What chooses."""
        ...

    @property
    def channels(self) -> Channels:
        """The ways to people that are on."""
        ...

    @property
    def desks(self) -> Desks:
        """Where what comes in is taken in."""
        ...

    @property
    def inbox(self) -> Inbox:
        """The way in."""
        ...

    def worker(self) -> Worker:
        """A worker."""
        ...

    def web(self) -> FastAPI:
        """The web application."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


Assemble = Callable[[Settings, str], Board]
"""Settings and the URL of Redis in, the bot out."""


def assemble(context: typer.Context, settings: Settings, redis_url: str) -> Board:
    """The bot, as the composition root puts it together."""
    return cast("Assemble", context.find_root().obj)(settings, redis_url)
