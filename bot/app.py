"""The composition root: the only place where constructors meet."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from fastapi import FastAPI

from agents import FIRST_AGENT, all_agents
from agents.settings import AgentSettings
from bot.core.agent import Agent
from bot.core.protocols import Channel, Clock, Model
from bot.kept import kept_token
from bot.runtime.clock import SystemClock
from bot.runtime.inbox import Inbox
from bot.runtime.links import Links
from bot.runtime.outbox import Outbox
from bot.runtime.people_file import PeopleFile
from bot.runtime.perform import Perform
from bot.runtime.runner import Runner
from bot.runtime.scripted import ScriptedModel
from bot.runtime.store import Store
from bot.runtime.worker import Pace, Worker
from bot.settings import Settings
from bot.web.api import ApiDesk
from bot.web.api import router as api_router
from bot.web.health import health_routes
from bot.web.keys import Callers
from bot.web.pages import pages
from bot.web.server import web_application
from bot.web.slack import slack_routes
from bot.web.slack_desk import SlackDesk
from channels.slack.client import SlackChannel, SlackEvents

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Switchboard:
    """Everything, put together. Nothing is contacted before it is used."""

    settings: Settings
    clock: Clock
    store: Store
    people: PeopleFile
    agents: dict[str, Agent]
    model: Model
    slack: SlackChannel | None
    inbox: Inbox
    links: Links

    @classmethod
    def assemble(
        cls, settings: Settings, url: str, *, clock: Clock | None = None, model: Model | None = None
    ) -> Switchboard:
        """Build it. Raises PeopleFileError for a people file that cannot be used."""
        clock = clock or SystemClock()
        store = Store(url, clock)
        people = PeopleFile(settings.people_file)
        people.load()
        slack = None
        if settings.slack_is_on:
            slack = SlackChannel.at(settings.slack_api_url, settings.slack_bot_token.get_secret_value())
        agents = all_agents(
            AgentSettings(
                data_dir=settings.data_dir, deploy_repo=settings.deploy_repo, deploy_file=settings.deploy_file
            )
        )
        return cls(
            settings=settings,
            clock=clock,
            store=store,
            people=people,
            agents=agents,
            model=model or _model(settings),
            slack=slack,
            inbox=Inbox(store.logs, clock, people),
            links=Links(settings.public_url, settings.signing_key),
        )

    def worker(self, pace: Pace | None = None) -> Worker:
        """A worker on this store."""
        channels: dict[str, Channel] = {self.slack.name: self.slack} if self.slack else {}
        outbox = Outbox(self.store.logs, channels, self.clock, self.links)
        perform = Perform(
            store=self.store.logs,
            model=self.model,
            agents=self.agents,
            outbox=outbox,
            people=self.people,
            clock=self.clock,
            # Where a detached run was started, and where alone it can be taken up again.
            place=kept_token(self.settings.data_dir / "place", random_bytes=8),
        )
        return Worker(self.store, Runner(self.store.logs, perform), self.clock, pace=pace)

    def web(self) -> FastAPI:
        """The web application; with an app token, it also keeps a Socket Mode connection."""
        settings = self.settings
        desk = SlackDesk(self.inbox, self.slack, self.people, first_agent=FIRST_AGENT) if self.slack else None
        events = SlackEvents(self.slack.client, desk) if self.slack and desk else None

        @asynccontextmanager
        async def living() -> AsyncGenerator[None]:
            if events and settings.slack_over_socket:
                await events.connect(settings.slack_app_token.get_secret_value())
            logger.info("web_started", slack=bool(events), model=self.model.name)
            try:
                yield
            finally:
                if events:
                    await events.close()
                if desk:
                    await desk.close()
                await self.close()

        routers = [
            slack_routes(
                events, settings.slack_signing_secret.get_secret_value(), now=lambda: self.clock.now().timestamp()
            ),
            api_router,
            pages(self.store.logs, self.links),
            health_routes(self.store, model=self.model.name, channels={"slack": self.slack is not None}),
        ]
        app = web_application(routers, living)
        app.state.api_desk = ApiDesk(self.inbox, self.store.logs, self.agents, Callers(settings.api_keys, self.people))
        return app

    async def close(self) -> None:
        """Let go of every connection."""
        if self.slack:
            await self.slack.close()
        await self.model.close()
        await self.store.close()


def _model(settings: Settings) -> Model:
    if not settings.model_is_on:
        return ScriptedModel()
    # Its SDK takes a second to import, in every process and every command: only where it is used.
    from bot.runtime.anthropic_model import AnthropicModel  # noqa: PLC0415

    return AnthropicModel(
        settings.anthropic_api_key.get_secret_value(),
        model=settings.anthropic_model,
        base_url=settings.anthropic_base_url or None,
    )
