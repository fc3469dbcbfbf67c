"""The composition root: the only place where constructors meet."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog
from fastapi import APIRouter, FastAPI

from agents import FIRST_AGENT, all_agents
from agents.settings import AgentSettings
from bot.core.agent import Agent
from bot.core.protocols import Channel, Clock, Model
from bot.core.tokens import Tokens
from bot.desks.commands import Commands
from bot.desks.email import EmailDesk
from bot.desks.slack import SlackDesk
from bot.desks.sms import Caps, SmsDesk
from bot.kept import kept_token
from bot.runtime.clock import SystemClock
from bot.runtime.inbox import Inbox
from bot.runtime.links import Links
from bot.runtime.outbox import Outbox
from bot.runtime.people_file import PeopleFile
from bot.runtime.perform import Perform
from bot.runtime.policy_file import PolicyFile
from bot.runtime.routing import Routing
from bot.runtime.runner import Runner
from bot.runtime.scripted import ScriptedModel
from bot.runtime.store import Store
from bot.runtime.worker import Pace, Worker
from bot.settings import Settings
from bot.web.api import ApiDesk
from bot.web.api import router as api_router
from bot.web.decide import decide_page
from bot.web.email import email_routes
from bot.web.health import health_routes
from bot.web.keys import Callers
from bot.web.pages import pages
from bot.web.server import web_application
from bot.web.slack import slack_routes
from bot.web.twilio import twilio_routes
from channels.email.client import DkimCheck, EmailChannel, SmtpPlace
from channels.email.client.dkim import Lookup
from channels.email.receive import OwnMail
from channels.slack.client import SlackChannel, SlackEvents
from channels.sms.client import SmsChannel

logger = structlog.get_logger(__name__)

_TOKEN_WINDOW = timedelta(hours=18)
"""How long it is remembered for which mail a token of Mailgun's counts: twice as long as its timestamp is good."""


@dataclass(frozen=True)
class Channels:
    """The ways to people that are on."""

    slack: SlackChannel | None
    email: EmailChannel | None
    sms: SmsChannel | None

    @classmethod
    def of(cls, settings: Settings, store: Store, clock: Clock) -> Channels:
        """Those whose settings are there. Nothing is contacted."""
        slack = email = sms = None
        if settings.slack_is_on:
            slack = SlackChannel.at(settings.slack_api_url, settings.slack_bot_token.get_secret_value())
        if settings.email_is_on:
            place = SmtpPlace(
                settings.smtp_host,
                settings.smtp_port,
                settings.smtp_username,
                settings.smtp_password.get_secret_value(),
                settings.smtp_tls,
            )
            email = EmailChannel(place, settings.email_address, now=clock.now)
        if settings.sms_is_on:
            sms = SmsChannel.at(
                settings.twilio_api_url,
                settings.twilio_account_sid,
                settings.each(settings.twilio_auth_token)[0],
                settings.twilio_from_number,
                status_url=f"{settings.public_url}/twilio/status",
                codes=store.codes,
                now=clock.now,
            )
        return cls(slack, email, sms)

    def by_name(self) -> dict[str, Channel]:
        """Each under the prefix of its addresses."""
        return {one.name: one for one in (self.slack, self.email, self.sms) if one}

    async def close(self) -> None:
        """Let go of connections."""
        for one in self.by_name().values():
            await one.close()


@dataclass(frozen=True)
class Desks:
    """Where what comes in is taken in, for each channel that is on."""

    slack: SlackDesk | None
    email: EmailDesk | None
    sms: SmsDesk | None

    async def close(self) -> None:
        """Let what they still have to say get out."""
        for one in (self.slack, self.email, self.sms):
            if one:
                await one.close()


@dataclass(frozen=True)
class Switchboard:
    """Everything, put together. Nothing is contacted before it is used."""

    settings: Settings
    clock: Clock
    store: Store
    people: PeopleFile
    policies: PolicyFile
    agents: dict[str, Agent]
    model: Model
    channels: Channels
    desks: Desks
    inbox: Inbox
    links: Links
    tokens: Tokens

    @classmethod
    def assemble(
        cls, settings: Settings, url: str, *, clock: Clock | None = None, model: Model | None = None
    ) -> Switchboard:
        """Build it. Raises PeopleFileError, PolicyFileError for a file that cannot be used."""
        clock = clock or SystemClock()
        store = Store(url, clock)
        people = PeopleFile(settings.people_file)
        people.load()
        agents = all_agents(
            AgentSettings(
                data_dir=settings.data_dir, deploy_repo=settings.deploy_repo, deploy_file=settings.deploy_file
            )
        )
        policies = PolicyFile(settings.policy_file, people, agents)
        policies.load()
        channels, tokens = Channels.of(settings, store, clock), Tokens(settings.signing_key)
        inbox = Inbox(store.logs, clock, people, agents)
        return cls(
            settings=settings,
            clock=clock,
            store=store,
            people=people,
            policies=policies,
            agents=agents,
            model=model or _model(settings),
            channels=channels,
            desks=_desks(
                settings, channels, inbox, people=people, store=store, agents=agents, tokens=tokens, clock=clock
            ),
            inbox=inbox,
            links=Links(settings.public_url, settings.signing_key),
            tokens=tokens,
        )

    def worker(self, pace: Pace | None = None) -> Worker:
        """A worker on this store."""
        routing = Routing(self.people, self.channels.by_name(), self.store.addresses)
        outbox = Outbox(self.store.logs, routing, self.clock, self.links, self.tokens)
        perform = Perform(
            store=self.store.logs,
            model=self.model,
            agents=self.agents,
            outbox=outbox,
            routing=routing,
            people=self.people,
            policies=self.policies,
            clock=self.clock,
            # Where a detached run was started, and where alone it can be taken up again.
            place=kept_token(self.settings.data_dir / "place", random_bytes=8),
        )
        return Worker(self.store, Runner(self.store.logs, perform), self.clock, pace=pace)

    def web(self, *, lookup: Lookup | None = None) -> FastAPI:
        """The web application; with an app token, it also keeps a Socket Mode connection.

        `lookup` finds the keys of signed mails, in the DNS unless told otherwise.
        """
        settings, slack = self.settings, self.channels.slack
        events = SlackEvents(slack.client, self.desks.slack) if slack and self.desks.slack else None

        @asynccontextmanager
        async def living() -> AsyncGenerator[None]:
            if events and settings.slack_over_socket:
                await events.connect(settings.slack_app_token.get_secret_value())
            logger.info("web_started", channels=sorted(self.channels.by_name()), model=self.model.name)
            try:
                yield
            finally:
                if events:
                    await events.close()
                await self.close()

        on = self.channels.by_name()
        routers = [
            slack_routes(
                events, settings.each(settings.slack_signing_secret), now=lambda: self.clock.now().timestamp()
            ),
            twilio_routes(self.desks.sms, settings.public_url, settings.each(settings.twilio_auth_token)),
            self._email_routes(lookup),
            api_router,
            pages(self.store.logs, self.links),
            decide_page(self.inbox, self.people, self.tokens, self.clock),
            health_routes(
                self.store, model=self.model.name, channels={name: name in on for name in ("slack", "email", "sms")}
            ),
        ]
        app = web_application(routers, living)
        app.state.api_desk = ApiDesk(self.inbox, self.store.logs, self.agents, Callers(settings.api_keys, self.people))
        return app

    def _email_routes(self, lookup: Lookup | None) -> APIRouter:
        rates = self.store.rates

        async def seen(token: str, digest: str) -> bool:
            bound, same = f"mailgun:{token}", f"mailgun:{token}:{digest}"
            if await rates.recent(same, _TOKEN_WINDOW):
                return False
            if await rates.recent(bound, _TOKEN_WINDOW):
                return True
            # In this order: should the store go away in between, the same mail still counts when it comes again.
            await rates.add(same, _TOKEN_WINDOW)
            await rates.add(bound, _TOKEN_WINDOW)
            return False

        def now() -> float:
            return self.clock.now().timestamp()

        settings, desk = self.settings, self.desks.email
        return email_routes(
            desk.take if desk else None,
            postmark_logins=settings.each(settings.postmark_webhook_login),
            sendgrid_keys=settings.each(settings.sendgrid_webhook_public_key),
            mailgun_keys=settings.each(settings.mailgun_webhook_signing_key),
            seen=seen,
            check=DkimCheck(lookup, now=now).verdict,
            now=now,
        )

    async def close(self) -> None:
        """Let go of every connection."""
        await self.desks.close()
        await self.channels.close()
        await self.model.close()
        await self.store.close()


def _desks(
    settings: Settings,
    channels: Channels,
    inbox: Inbox,
    *,
    people: PeopleFile,
    store: Store,
    agents: Mapping[str, Agent],
    tokens: Tokens,
    clock: Clock,
) -> Desks:
    able = [one for one in agents.values() if one.name != FIRST_AGENT]  # it only hands over to these
    commands = Commands(inbox, people, store, clock=clock, agents=able)
    slack = email = sms = None
    if channels.slack:
        slack = SlackDesk(inbox, channels.slack, people, commands, store.addresses, first_agent=FIRST_AGENT)
    if channels.email:
        own = OwnMail(settings.email_address, settings.email_authserv_id)
        email = EmailDesk(
            inbox, channels.email, people, store, commands, own=own, tokens=tokens, clock=clock, first_agent=FIRST_AGENT
        )
    if channels.sms:
        caps = Caps(settings.sms_daily_cap_per_number, settings.sms_daily_cap)
        sms = SmsDesk(inbox, channels.sms, people, store, commands, caps=caps, clock=clock, first_agent=FIRST_AGENT)
    return Desks(slack, email, sms)


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
