"""The bot on a bench: the real web application and worker, a real Redis, and the simulated Slack as its counterpart."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from agents.deploy.sample import Sample, make_sample
from bot.app import Switchboard
from bot.core.events import InboundRefused
from bot.core.log import Log
from bot.core.protocols import Clock, Model
from bot.core.values import ThreadId
from bot.runtime.store import Store
from bot.runtime.worker import Pace, Worker
from bot.settings import Settings
from bot.testing import FakeClock, wait_until
from channels.email.client.dkim import Lookup
from channels.email.listener import MailListener
from channels.email.simulator import Mailbox, SimulatedMail, StoredMail
from channels.email.simulator import serve as serve_mail
from channels.slack.receive import conversation_of
from channels.slack.simulator import Message, SimulatedSlack, sample_workspace, serve
from channels.sms.simulator import SimulatedTwilio, Text
from channels.sms.simulator import serve as serve_twilio

PEOPLE = Path(__file__).parents[2] / "people.sample.toml"
BOT_ADDRESS = "bot@acme.example"
PHONES = {
    "nia": "+12025550103",
    "ana": "+12025550101",
    "lena": "+12025550102",
    "omar": "+12025550103",
    "eve": "+12025550199",
}
FAST = Pace(
    lease_seconds=15.0,  # a busy machine is not a dead worker
    heartbeat_seconds=0.05,
    block_seconds=0.2,
    timers_seconds=0.03,
    takeover_seconds=0.05,
    sweep_seconds=30.0,
    outage_seconds=0.05,
    drain_seconds=5.0,
)
API_KEY = "sb_test-key-of-ci"
LENA_KEY = "sb_test-key-of-lena"


def hashed(key: str) -> str:
    """As API_KEYS has it."""
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass
class Bench:
    """Everything a test needs: people's hands on one side, the stores on the other."""

    board: Switchboard
    slack: SimulatedSlack
    app: FastAPI
    http: httpx.AsyncClient
    clock: FakeClock
    sample: Sample
    data_dir: Path
    counterparts: Counterparts
    workers: list[tuple[Worker, asyncio.Task[None]]] = field(default_factory=list[tuple[Worker, asyncio.Task[None]]])

    @property
    def mail(self) -> SimulatedMail:
        """The organisation's mail server."""
        assert self.counterparts.mail, "this bench has no mail: bench(..., mail=True)"
        return self.counterparts.mail

    @property
    def twilio(self) -> SimulatedTwilio:
        """Twilio, and everybody's phones."""
        assert self.counterparts.twilio, "this bench has no phones: bench(..., sms=True)"
        return self.counterparts.twilio

    @property
    def store(self) -> Store:
        """The real store."""
        return self.board.store

    async def start_worker(self, pace: Pace = FAST) -> Worker:
        """One more worker."""
        worker = self.board.worker(pace)
        self.workers.append((worker, asyncio.create_task(worker.run())))
        return worker

    async def stop_workers(self) -> None:
        """Drain them all."""
        for worker, _ in self.workers:
            worker.stop()
        for _, task in self.workers:
            await task
        self.workers.clear()

    async def threads(self) -> list[Log]:
        """Every thread's log, the one touched last first; not what was refused at the door."""
        found = [await self.store.logs.load(one.thread_id) for one in await self.store.logs.recent(100)]
        return [log for log in found if log.state.run != "empty"]

    async def until(self, condition: Callable[[Log], object]) -> Log:
        """The newest thread's log, once the condition holds for it."""
        found = Log("")
        for _ in range(1500):
            found = await self._newest(found)
            if found.events and condition(found):
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"never so: {[event.type for log in await self.threads() for event in log.events]}")

    async def _newest(self, known: Log) -> Log:
        """What `threads` begins with; of a log that is known already only its end is read."""
        for one in await self.store.logs.recent(100):
            same = one.thread_id == known.thread_id
            log = await (self.store.logs.refresh(known) if same else self.store.logs.load(one.thread_id))
            if log.state.run != "empty":
                return log
        return known

    async def over(self) -> Log:
        """The newest thread's log, once its run is over and everything was sent."""
        log = await self.until(
            lambda log: log.state.status == "finished" and all(post.shown for post in log.state.posts.values())
        )
        await self.settled_texts()
        return log

    async def settled_texts(self) -> None:
        """Until every text has arrived."""
        if self.counterparts.twilio:
            await self.counterparts.twilio.settle()

    async def refused(self, channel: str) -> list[InboundRefused]:
        """What was turned away at the door today."""
        log = await self.store.logs.load(f"refused-{channel}-{self.clock.now():%Y-%m-%d}")
        return [event for event in log.events if isinstance(event, InboundRefused)]

    async def mails(self, person: str, at_least: int) -> list[StoredMail]:
        """A person's mails, oldest first, once there are so many."""
        address = f"{person}@acme.example"
        await wait_until(lambda: len(self.mail.inbox(address)) >= at_least)
        return self.mail.inbox(address)

    async def sms(self, person: str, at_least: int) -> list[Text]:
        """What arrived on a person's phone, oldest first, once it is so much."""
        number = PHONES[person]
        await wait_until(lambda: len(self._arrived(number)) >= at_least)
        return self._arrived(number)

    def _arrived(self, number: str) -> list[Text]:
        return [text for text in self.twilio.phone(number) if text.to == number]

    async def log_of(self, message: Message) -> Log:
        """The thread that a message in Slack belongs to."""
        return await self.store.logs.load(await self._thread_of(message))

    async def _thread_of(self, message: Message) -> ThreadId:
        root = message.thread_ts or message.ts
        return await self.board.inbox.thread_of(conversation_of(message.channel, root))

    async def settled(self, message: Message, condition: Callable[[Log], object]) -> Log:
        """The thread's log, once the condition holds for it."""
        found = await self.log_of(message)
        for _ in range(1500):
            if condition(found):
                return found
            await asyncio.sleep(0.01)
            if found.thread_id == await self._thread_of(message):
                found = await self.store.logs.refresh(found)
            else:
                found = await self.log_of(message)
        raise AssertionError(f"never settled: {found.state.status} {[event.type for event in found.events]}")

    async def finished(self, message: Message) -> Log:
        """The thread's log, once its run is over and everything is shown."""
        return await self.settled(message, lambda log: log.state.status == "finished" and not log.state.posts)

    async def card(self, message: Message, action: str = "approve") -> Message:
        """The newest card in the thread that has this button."""

        def find() -> Message | None:
            thread = self.slack.thread(message.channel, message.thread_ts or message.ts)
            cards = [one for one in thread if action in self.slack.card_actions(one)]
            return cards[-1] if cards else None

        await wait_until(find)
        found = find()
        assert found
        return found

    def texts(self, message: Message) -> list[str]:
        """What is written in the thread, oldest first."""
        return [one.text for one in self.slack.thread(message.channel, message.thread_ts or message.ts)]

    def deploys_take(self, seconds: float) -> None:
        """From now on a deploy command of the sample runs for this long."""
        file = self.sample.deploy_file
        file.write_text(re.sub(r'"--seconds", "[\d.]+"', f'"--seconds", "{seconds:g}"', file.read_text()))

    def releases(self, environment: str = "production") -> list[str]:
        """What the deploy command itself wrote down, a line for each run."""
        log = self.sample.deploy_file.parent / "releases" / f"{environment}.log"
        return log.read_text().splitlines()


@dataclass
class Counterparts:
    """The counterparts beside Slack that a bench has."""

    mail: SimulatedMail | None = None
    twilio: SimulatedTwilio | None = None


@cache
def _first_sample() -> tuple[Sample, tempfile.TemporaryDirectory[str]]:
    """One for all tests of this process to copy: its history takes git a while. It goes with the process."""
    place = tempfile.TemporaryDirectory(prefix="switchboard-sample-")
    return make_sample(Path(place.name), seconds=0), place


def sample_in(directory: Path) -> Sample:
    """A sample of a test's own, whose deploys take no time."""
    first, _ = _first_sample()
    shutil.copytree(first.deploy_file.parent, directory)
    return Sample(directory / first.repository.name, directory / first.deploy_file.name)


@asynccontextmanager
async def _mail(time: FakeClock, *, wanted: bool) -> AsyncGenerator[tuple[SimulatedMail | None, dict[str, object]]]:
    """The mail server, and the settings that point at it."""
    if not wanted:
        yield None, {}
        return
    names = {"ana": "Ana Ruiz", "lena": "Lena Vogt", "omar": "Omar Haddad", "eve": "Eve Stranger"}
    office = SimulatedMail(
        [Mailbox(f"{one}@acme.example", name) for one, name in names.items()],
        bot_address=BOT_ADDRESS,
        now=time.now,
        sleep=_at_once,
    )
    async with serve_mail(office) as ports:
        yield office, {
            "smtp_host": ports.host, "smtp_port": ports.smtp, "smtp_tls": "none",
            "email_address": BOT_ADDRESS, "email_authserv_id": office.authserv_id,
        }  # fmt: skip


@asynccontextmanager
async def _phones(
    time: FakeClock, http: httpx.AsyncClient, *, wanted: bool
) -> AsyncGenerator[tuple[SimulatedTwilio | None, dict[str, object]]]:
    """Twilio, and the settings that point at it."""
    if not wanted:
        yield None, {}
        return
    twilio = SimulatedTwilio(
        webhook_url="http://bot.test/twilio/sms", http=http, now=lambda: time.now().timestamp(), sleep=_at_once
    )
    async with serve_twilio(twilio):
        yield twilio, {
            "twilio_api_url": twilio.api_url, "twilio_account_sid": twilio.account_sid,
            "twilio_auth_token": twilio.auth_token, "twilio_from_number": twilio.number,
        }  # fmt: skip


@asynccontextmanager
async def _listening(board: Switchboard, office: SimulatedMail | None) -> AsyncGenerator[None]:
    """The bot's SMTP listener, as `bot smtp` runs it."""
    desk = board.desks.email
    if office is None or desk is None:
        yield
        return
    listener = MailListener(desk.take, BOT_ADDRESS, port=0)
    await listener.start()
    office.bot_port = listener.port
    try:
        yield
    finally:
        office.bot_port = None
        await listener.close()


def bench_settings(redis_url: str, data_dir: Path, sample: Sample, slack: SimulatedSlack, **more: object) -> Settings:
    """Settings that point at the counterparts."""
    values: dict[str, Any] = {
        "redis_url": redis_url,
        "public_url": "http://bot.test",
        "slack_bot_token": slack.tokens.bot_token,
        "slack_signing_secret": slack.tokens.signing_secret,
        "slack_api_url": slack.api_url,
        "secret_key": "a secret of the tests",
        "api_keys": f"ci:{hashed(API_KEY)},@lena:{hashed(LENA_KEY)}",
        "people_file": PEOPLE,
        "deploy_repo": str(sample.repository),
        "deploy_file": sample.deploy_file,
        "data_dir": data_dir,
        **more,
    }
    return Settings(_env_file=None, **values)  # pyright: ignore[reportCallIssue]


@asynccontextmanager
async def bench(
    redis_url: str,
    tmp_path: Path,
    *,
    workers: int = 1,
    model: Model | None = None,
    clock: Clock | None = None,
    mail: bool = False,
    sms: bool = False,
    lookup: Lookup | None = None,
    **settings: object,
) -> AsyncGenerator[Bench]:
    """The bot, set up and running."""
    time = FakeClock()
    sample = sample_in(tmp_path / "sample")
    door = Door()
    transport = httpx.ASGITransport(app=door, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://bot.test") as http:
        slack = SimulatedSlack(
            workspace=sample_workspace(lambda: time.now().timestamp()),
            events_url="http://bot.test/slack/events",
            http=http,
            now=lambda: time.now().timestamp(),
            sleep=_at_once,
            ack_seconds=10.0,
        )
        async with (
            serve(slack),
            _mail(time, wanted=mail) as (office, mail_settings),
            _phones(time, http, wanted=sms) as (twilio, phone_settings),
        ):
            more = {**mail_settings, **phone_settings, **settings}
            chosen = bench_settings(redis_url, tmp_path / "data", sample, slack, **more)
            board = Switchboard.assemble(chosen, redis_url, clock=clock or time, model=model)
            if board.channels.slack:
                board.channels.slack.dialog_seconds = 10.0  # a busy machine is not a slow Slack
            door.app = app = board.web(lookup=lookup)
            async with app.router.lifespan_context(app), _listening(board, office):
                counterparts = Counterparts(office, twilio)
                found = Bench(board, slack, app, http, time, sample, tmp_path / "data", counterparts)
                for _ in range(workers):
                    await found.start_worker()
                try:
                    yield found
                finally:
                    await slack.deliveries.settle()
                    await found.stop_workers()
        await slack.close()


async def emptied(redis_url: str) -> None:
    """Nothing of an earlier test is left."""
    store = Store(redis_url, FakeClock())
    await store.connection.redis.flushall()
    await store.close()


def rewrite(file: Path, text: str) -> None:
    """Change a file that the bot watches; it looks as if that had been a while ago, so that it counts at once."""
    file.write_text(text)
    os.utime(file, (1, 1))


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Door:
    """Where Slack's requests arrive; what stands behind it can change, as in a restart."""

    app: FastAPI | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        assert self.app is not None
        await self.app(scope, receive, send)


async def _at_once(seconds: float) -> None:
    del seconds
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
