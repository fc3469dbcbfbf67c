"""SM9 to SM11: the channel against a simulated Twilio, over sockets and through Twilio's own client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from simulator_fakes import Clock

from bot.core.people import Actor
from bot.core.protocols import Channel, Delivered, DeliveryError, Outgoing
from bot.core.values import Conversation
from bot.core.views import CardView, SayView, View, WhisperView
from channels.sms.client import SmsChannel
from channels.sms.simulator import SimulatedTwilio, serve

ANA, LENA = "+12025550111", "+12025550112"
STATUS_URL = "https://bot.example/twilio/status"
DOWN = "http://127.0.0.1:9"
APPROVAL = CardView(
    kind="approval",
    title="Deploy v1.4.0 to production",
    request_id="r" * 24,
    open=True,
    ruled=True,
    deciders=(Actor(kind="person", id="lena", name="Lena Vogt", address=f"sms:{LENA}"),),
    expires_at=1_700_000_900.0,
)
SAY = SayView("v1.3.9 is on production.", "answer")


@dataclass
class MemoryCodes:
    """Codes in memory; notes what was asked for."""

    issued: list[tuple[str, str, str, datetime | None]] = field(
        default_factory=list["tuple[str, str, str, datetime | None]"]
    )

    async def issue(self, address: str, post_id: str, request_id: str, until: datetime | None) -> str:
        self.issued.append((address, post_id, request_id, until))
        return "482190"


@dataclass
class Setup:
    """A channel and what is at its other end."""

    twilio: SimulatedTwilio
    clock: Clock
    codes: MemoryCodes
    channel: SmsChannel

    def post(self, view: View, to: str = LENA) -> Outgoing:
        """A post on its way."""
        return Outgoing(
            post_id="t0123:12:0",
            conversation=Conversation(channel="sms", ref=ANA),
            view=view,
            to=f"sms:{to}" if to else "",
            asked_at=datetime.fromtimestamp(self.clock(), UTC),
        )


@asynccontextmanager
async def channel_at(
    twilio: SimulatedTwilio,
    clock: Clock,
    codes: MemoryCodes,
    *,
    api_url: str = "",
    status_url: str = "",
    token: str = "",
) -> AsyncGenerator[SmsChannel]:
    """A channel for the simulated account."""
    channel = SmsChannel.at(
        api_url or twilio.api_url,
        twilio.account_sid,
        token or twilio.auth_token,
        twilio.number,
        status_url=status_url,
        codes=codes,
        now=lambda: datetime.fromtimestamp(clock(), UTC),
    )
    yield channel
    await channel.close()


@pytest.fixture
async def sms() -> AsyncGenerator[Setup]:
    """Everything there is, without an app: callbacks and webhooks go nowhere."""
    clock, codes = Clock(), MemoryCodes()
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as http:
        twilio = SimulatedTwilio(http=http, now=clock, sleep=clock.sleep, step_seconds=1)
        async with serve(twilio), channel_at(twilio, clock, codes, status_url=STATUS_URL) as channel:
            yield Setup(twilio, clock, codes, channel)


async def refused(sms: Setup, outgoing: Outgoing) -> DeliveryError:
    """The error of a delivery."""
    with pytest.raises(DeliveryError) as caught:
        await sms.channel.deliver(outgoing)
    return caught.value


async def test_a_card_is_sent_with_its_code_and_its_life(sms: Setup) -> None:
    """SM5, SM10, SM11: the code is issued for this number, the text dies with its request, and Twilio reports."""
    delivered = await sms.channel.deliver(sms.post(APPROVAL))
    (text,) = sms.twilio.sent_to(LENA)
    assert delivered == Delivered(text.sid, tracked=True)
    assert "Reply YES 482190 or NO 482190. Open until" in text.body
    assert text.validity_seconds == 900
    assert text.status_callback == f"{STATUS_URL}?post=t0123%3A12%3A0"
    assert sms.codes.issued == [(f"sms:{LENA}", "t0123:12:0", "r" * 24, datetime.fromtimestamp(1_700_000_900, UTC))]
    await sms.twilio.settle()
    assert [one.body for one in sms.twilio.phone(LENA)] == [text.body]
    channel: Channel = sms.channel
    assert (channel.name, channel.is_shared(Conversation(channel="sms", ref="+1"))) == ("sms", False)


@pytest.mark.parametrize(("left", "seconds"), [(0.9, 1), (-50, 1), (60.7, 60), (86_400, 36_000)])
async def test_the_life_of_a_text_is_one_that_twilio_takes(sms: Setup, left: float, seconds: int) -> None:
    """SM10: from 1 to 36,000 seconds, and never longer than what is left."""
    await sms.channel.deliver(sms.post(replace(APPROVAL, expires_at=sms.clock() + left)))
    assert sms.twilio.sent_to(LENA)[0].validity_seconds == seconds


async def test_a_request_without_an_end_uses_twilios_default(sms: Setup) -> None:
    """SM10: nothing to outlive."""
    await sms.channel.deliver(sms.post(replace(APPROVAL, expires_at=None)))
    assert sms.twilio.sent_to(LENA)[0].validity_seconds == 36_000
    assert sms.codes.issued[0][3] is None


async def test_an_open_card_is_not_sent_twice(sms: Setup) -> None:
    """SM9: a text cannot be updated, so an update comes only where there is something new."""
    first = await sms.channel.deliver(sms.post(APPROVAL))
    again = replace(sms.post(APPROVAL), ref=first.ref)
    assert await sms.channel.deliver(again) == Delivered(first.ref)
    voted = replace(sms.post(replace(APPROVAL, status="1 of 2 approvals: Omar Haddad")), ref=first.ref)
    assert (await sms.channel.deliver(voted)).ref != first.ref
    closed = replace(sms.post(replace(APPROVAL, open=False, status="Cancelled.")), ref=first.ref)
    await sms.channel.deliver(closed)
    assert len(sms.twilio.sent_to(LENA)) == 3
    assert sms.twilio.sent_to(LENA)[-1].body == "Deploy v1.4.0 to production: Cancelled."


async def test_a_text_goes_to_the_number_of_the_conversation_where_nobody_is_named(sms: Setup) -> None:
    """A conversation of this channel is a phone; a note goes to whom it names."""
    await sms.channel.deliver(sms.post(SAY, to=""))
    await sms.channel.deliver(sms.post(WhisperView(f"sms:{LENA}", "Use the code."), to=""))
    assert [one.body for one in sms.twilio.sent_to(ANA)] == ["v1.3.9 is on production."]
    assert [one.body for one in sms.twilio.sent_to(LENA)] == ["Use the code."]
    assert sms.codes.issued == []


async def test_without_a_place_for_reports_nothing_is_tracked(sms: Setup) -> None:
    """SM11: the post counts as sent once Twilio took it."""
    async with channel_at(sms.twilio, sms.clock, sms.codes) as channel:
        assert not (await channel.deliver(sms.post(SAY))).tracked
    assert sms.twilio.sent_to(LENA)[0].status_callback == ""


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        *((code, 400, (None, False, True)) for code in (21610, 21614, 21635, 21211, 30006)),
        *((code, 429 if code == 20429 else 400, (10.0, False, False)) for code in (20429,)),
        *((code, 400, (60.0, False, False)) for code in (21611, 30001, 30022)),
        (20003, 401, (300.0, False, False)),
        (70051, 403, (300.0, False, False)),
        (21659, 400, (300.0, False, False)),
        (20500, 500, (5.0, True, False)),
        (20503, 503, (5.0, True, False)),
        (21617, 400, (None, False, False)),
        (99999, 400, (None, False, False)),
    ],
)
async def test_refusals(sms: Setup, code: int, status: int, expected: tuple[float | None, bool, bool]) -> None:
    """SM11: each error of Twilio's has its class, and none of them repeats what was sent."""
    sms.twilio.fail_next(code, status)
    error = await refused(sms, sms.post(SAY))
    assert (error.retry_seconds, error.in_doubt, error.undeliverable) == expected
    assert error.error == f"Twilio answered {code}"


async def test_what_twilio_enforces_is_met(sms: Setup) -> None:
    """SM4, SM11: opted out, a landline abroad, a number that is none, a wrong token."""
    sms.twilio.network.opt(LENA, out=True)
    assert (await refused(sms, sms.post(SAY))).undeliverable
    sms.twilio.rest.landlines.add("+4930123456")
    assert (await refused(sms, sms.post(SAY, to="+4930123456"))).undeliverable
    assert (await refused(sms, sms.post(SAY, to="+1202"))).undeliverable
    async with channel_at(sms.twilio, sms.clock, sms.codes, token="other") as channel:
        with pytest.raises(DeliveryError, match="Twilio answered 20003") as caught:
            await channel.ping()
        assert caught.value.retry_seconds == 300
        with pytest.raises(DeliveryError, match="Twilio answered 20003"):
            await channel.recent_inbound(datetime.fromtimestamp(0, UTC))
    assert await sms.channel.ping() == {"name": "Simulated", "status": "active"}


async def test_a_lost_answer_is_looked_for_before_it_is_sent_again(sms: Setup) -> None:
    """SM11: Twilio knows no idempotency key, so the list is asked; the link may have been signed anew."""
    sms.twilio.lose_answer()
    post = replace(sms.post(APPROVAL), decide_url="https://bot.example/decide/one")
    error = await refused(sms, post)
    assert (error.in_doubt, error.undeliverable) == (True, False)
    assert error.retry_seconds is not None
    sms.clock.seconds += 30
    again = replace(post, in_doubt=True, decide_url="https://bot.example/decide/two")
    delivered = await sms.channel.deliver(again)
    assert [one.sid for one in sms.twilio.sent_to(LENA)] == [delivered.ref]
    assert delivered.tracked


async def test_a_text_that_is_not_in_the_list_is_sent(sms: Setup) -> None:
    """SM11: neither another text, nor another phone's, nor one from long before counts as this one."""
    await sms.channel.deliver(sms.post(SAY, to=ANA))
    await sms.channel.deliver(sms.post(SAY))
    sms.clock.seconds += 3_600
    await sms.channel.deliver(sms.post(SayView("Another answer.", "answer")))
    delivered = await sms.channel.deliver(replace(sms.post(SAY), in_doubt=True))
    assert sms.twilio.sent_to(LENA)[-1].sid == delivered.ref
    assert len(sms.twilio.sent_to(LENA)) == 3


async def test_a_twilio_that_cannot_be_reached_leaves_a_post_in_doubt(sms: Setup) -> None:
    """SM11: of a request without an answer nobody knows; and while the list cannot be read, nothing is sent."""
    async with channel_at(sms.twilio, sms.clock, sms.codes, api_url=DOWN) as channel:
        for post in (sms.post(SAY), replace(sms.post(SAY), in_doubt=True)):
            with pytest.raises(DeliveryError) as caught:
                await channel.deliver(post)
            assert caught.value.in_doubt
            assert caught.value.retry_seconds == 5
            assert LENA not in caught.value.error
        with pytest.raises(DeliveryError):
            await channel.notice(LENA, "hello")


@pytest.mark.parametrize(
    ("status", "body", "in_doubt"),
    [
        ("201 Created", "{}", True),
        ("201 Created", "<html>482190</html>", True),
        ("201 Created", "[]", True),
        ("502 Bad Gateway", "<html>482190</html>", True),
        ("302 Found", "", False),
        ("404 Not Found", '{"code": "482190"}', False),
    ],
)
async def test_an_answer_that_is_not_twilios(sms: Setup, status: str, body: str, *, in_doubt: bool) -> None:
    """SM11: a proxy's page is no answer, and nothing of it gets into an error."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, channel_at(sms.twilio, sms.clock, sms.codes, api_url=url) as channel:
        with pytest.raises(DeliveryError) as caught:
            await channel.deliver(sms.post(SAY))
        assert caught.value.in_doubt == in_doubt
        assert "482190" not in str(caught.value)
        with pytest.raises(DeliveryError) as caught:
            await channel.recent_inbound(datetime.fromtimestamp(0, UTC))
        assert "482190" not in str(caught.value)
        assert not caught.value.in_doubt


async def test_what_was_missed_is_found_in_the_list(sms: Setup) -> None:
    """SM2: after an outage the texts of that time are read, page by page, the oldest first, and only inbound ones."""
    await sms.twilio.text(ANA, "before")
    sms.clock.seconds += 60
    since = datetime.fromtimestamp(sms.clock(), UTC)
    sms.twilio.go_down()
    for at in range(230):
        await sms.twilio.text(ANA, f"text {at}", media=1)
    await sms.channel.notice(ANA, "sent by us")
    found = await sms.channel.recent_inbound(since)
    assert [one.text for one in found] == [f"text {at}" for at in range(230)]
    assert {(one.number, one.to, one.media) for one in found} == {(ANA, sms.twilio.number, 1)}
    assert [one.sid for one in found] == [one.sid for one in sms.twilio.phone(ANA) if one.body.startswith("text")]
    assert await sms.channel.recent_inbound(since + timedelta(hours=1)) == []


async def test_the_list_is_read_to_a_bound(sms: Setup) -> None:
    """SM2: however much there is, the poll ends."""
    sms.twilio.go_down()
    for at in range(1_050):
        await sms.twilio.text(ANA, str(at))
    found = await sms.channel.recent_inbound(datetime.fromtimestamp(0, UTC))
    assert [found[0].text, found[-1].text, len(found)] == ["50", "1049", 1_000]


async def test_nothing_of_a_text_is_logged(sms: Setup, caplog: pytest.LogCaptureFixture) -> None:
    """SM5: a code in a log would be a leak; so would be a number or the token."""
    caplog.set_level(logging.DEBUG)
    await sms.channel.deliver(sms.post(APPROVAL))
    sms.twilio.fail_next(20500, 500)
    await refused(sms, sms.post(APPROVAL))
    logged = " ".join(record.getMessage() for record in caplog.records)
    for secret in ("482190", LENA, sms.twilio.auth_token):
        assert secret not in logged
