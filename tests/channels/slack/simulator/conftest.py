"""A simulated Slack, served or not, and Slack's own client pointed at it."""

from collections.abc import AsyncGenerator

import aiohttp
import httpx
import pytest
from simulator_fakes import EVENTS_URL, Clock, Loose, RecordingApp
from slack_sdk.web.async_client import AsyncWebClient

from channels.slack.simulator import SimulatedSlack, serve


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recording_app() -> RecordingApp:
    return RecordingApp()


@pytest.fixture
async def slack(clock: Clock, recording_app: RecordingApp) -> AsyncGenerator[SimulatedSlack]:
    """A simulator that is not served: people act in it, and its deliveries reach `recording_app`."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(recording_app)) as http:
        simulator = SimulatedSlack(
            events_url=EVENTS_URL, http=http, now=clock, sleep=clock.sleep, ack_seconds=0.5,
            notice="scripted rules", links=[("Threads", "http://127.0.0.1:8000/")],
        )  # fmt: skip
        yield simulator
        await simulator.close()


@pytest.fixture
async def served(slack: SimulatedSlack) -> AsyncGenerator[SimulatedSlack]:
    """The same, served on a free port."""
    async with serve(slack):
        yield slack


@pytest.fixture
async def client(served: SimulatedSlack) -> AsyncGenerator[Loose]:
    """Slack's own client, pointed at the simulator."""
    async with aiohttp.ClientSession() as session:
        yield AsyncWebClient(token=served.tokens.bot_token, base_url=served.api_url, session=session)
