"""`bot simulator`: what stands in for Slack, a mail server and Twilio, and the page where people use them.

`bot dev` starts it; its secrets and addresses are those of the settings that the bot itself gets.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Annotated

import typer

from bot.core.people import People
from bot.runtime.people_file import PeopleFile
from bot.settings import Settings, load_settings
from channels.email.simulator import Mailbox, SimulatedMail
from channels.email.simulator import serve as serve_mail
from channels.email.simulator.page import MailPage
from channels.simulating import Panel, serve_pages
from channels.slack.simulator import SimulatedSlack
from channels.slack.simulator import serve as serve_slack
from channels.sms.simulator import SimulatedTwilio
from channels.sms.simulator import serve as serve_twilio
from channels.sms.simulator.page import PhonePage

NO_MODEL = (
    "No model is behind this: the answers come from scripted rules. Set ANTHROPIC_API_KEY in .env for a real one."
)
_STRANGER = "Sam Stranger"
_STRANGERS_ADDRESS, _STRANGERS_NUMBER = "sam@elsewhere.example", "+12025550199"


def simulator(  # noqa: PLR0917 Typer calls it by name
    port: Annotated[int, typer.Option(help="Of the page.")],
    web: Annotated[str, typer.Option(help="The address of `bot web`.")],
    slack: Annotated[bool, typer.Option("--slack")] = False,
    smtp_port: Annotated[int, typer.Option(help="Of the mail server; 0: there is none.")] = 0,
    pop3_port: Annotated[int, typer.Option(help="Of its mailboxes.")] = 0,
    listener_port: Annotated[int, typer.Option(help="Where it hands mail to the bot.")] = 0,
    twilio_port: Annotated[int, typer.Option(help="Of Twilio's API; 0: there is none.")] = 0,
) -> None:
    """Serve the simulated Slack, mail server and phones with their page, until it is stopped."""
    settings = load_settings()
    people = PeopleFile(settings.people_file).load()
    simulation = _Simulation(settings, people, web)
    asyncio.run(
        simulation.run(
            port,
            slack=slack,
            mail_ports=(smtp_port, pop3_port, listener_port) if smtp_port else None,
            twilio_port=twilio_port,
        )
    )


@dataclass(frozen=True)
class _Simulation:
    settings: Settings
    people: People
    web: str

    @property
    def notice(self) -> str:
        return "" if self.settings.model_is_on else NO_MODEL

    @property
    def links(self) -> list[tuple[str, str]]:
        return [("The bot's API", f"{self.web}/docs")]

    async def run(self, port: int, *, slack: bool, mail_ports: tuple[int, int, int] | None, twilio_port: int) -> None:
        """Serve until SIGTERM or Ctrl-C."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with AsyncExitStack() as served:
            panels: list[Panel] = []
            if mail_ports:
                panels.append(await self._mail(served, *mail_ports))
            if twilio_port:
                panels.append(await self._phones(served, twilio_port))
            page = serve_slack(self._slack(), port, beside=panels) if slack else serve_pages(panels, port)
            await served.enter_async_context(page)
            await stop.wait()

    def _slack(self) -> SimulatedSlack:
        settings = self.settings
        return SimulatedSlack(
            events_url=f"{self.web}/slack/events",
            bot_token=settings.slack_bot_token.get_secret_value(),
            signing_secret=settings.slack_signing_secret.get_secret_value(),
            notice=self.notice,
            links=self.links,
            save_to=settings.data_dir / "slack.json",
        )

    async def _mail(self, served: AsyncExitStack, smtp_port: int, pop3_port: int, listener_port: int) -> Panel:
        settings = self.settings
        boxes = [*self._places("email"), (_STRANGERS_ADDRESS, _STRANGER)]
        office = SimulatedMail(
            [Mailbox(address, name) for address, name in boxes],
            bot_address=settings.email_address,
            bot_port=listener_port,
            authserv_id=settings.email_authserv_id,
            save_to=settings.data_dir / "mail",
        )
        ports = await served.enter_async_context(serve_mail(office, smtp_port=smtp_port, pop3_port=pop3_port))
        sent_to = settings.data_dir / "mail_sent"
        return MailPage(office, ports, notice=self.notice, links=self.links, sent_to=sent_to).panel

    async def _phones(self, served: AsyncExitStack, port: int) -> Panel:
        settings = self.settings
        twilio = SimulatedTwilio(
            number=settings.twilio_from_number,
            webhook_url=f"{settings.public_url}/twilio/sms",
            account_sid=settings.twilio_account_sid,
            auth_token=settings.twilio_auth_token.get_secret_value(),
            save_to=settings.data_dir / "texts.json",
        )
        await served.enter_async_context(serve_twilio(twilio, port))
        phones = dict([*self._places("sms"), (_STRANGERS_NUMBER, _STRANGER)])
        return PhonePage(twilio, phones, notice=self.notice, links=self.links).panel

    def _places(self, channel: str) -> list[tuple[str, str]]:
        """Everybody's addresses in a channel, with their names."""
        return [
            (address.removeprefix(f"{channel}:"), person.name)
            for person in self.people
            for address in person.addresses
            if address.startswith(f"{channel}:")
        ]
