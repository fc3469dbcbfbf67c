"""The simulated Twilio does what Twilio's documentation says, as Twilio's own client and validator see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

import httpx
import pytest
from simulator_fakes import Clock, Loose, RecordingApp
from twilio.base.exceptions import TwilioRestException
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from channels.sms.client.http import PointedHttpClient
from channels.sms.simulator import SimulatedTwilio, Trouble, serve

BOT, ANA, LENA = "+12025550100", "+12025550111", "+12025550112"
WEBHOOK, CALLBACK = "https://bot.example/twilio/sms", "https://bot.example/twilio/status?post=t%3A1%3A0"
OK = httpx.Response(200, content=b"<Response/>", headers={"content-type": "text/xml"})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app() -> RecordingApp:
    return RecordingApp()


@pytest.fixture
async def twilio(clock: Clock, app: RecordingApp) -> AsyncGenerator[SimulatedTwilio]:
    """Served, with an app that records its webhooks."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(app)) as http:
        simulator = SimulatedTwilio(
            number=BOT, webhook_url=WEBHOOK, http=http, now=clock, sleep=clock.sleep, step_seconds=1
        )
        async with serve(simulator):
            yield simulator


@pytest.fixture
async def sdk(twilio: SimulatedTwilio) -> AsyncGenerator[Loose]:
    """Twilio's own client."""
    http = PointedHttpClient(twilio.api_url)
    yield Client(twilio.account_sid, twilio.auth_token, http_client=http, environment={"TWILIO_REGION": ""})
    await http.close()


def form_of(request: httpx.Request) -> dict[str, str]:
    """The fields, blank ones too."""
    return dict(parse_qsl(request.content.decode(), keep_blank_values=True))


def assert_signed(twilio: SimulatedTwilio, request: httpx.Request, url: str) -> None:
    """By the SDK's own validator."""
    assert str(request.url) == url
    validator = cast("Any", RequestValidator)(twilio.auth_token)
    assert validator.validate(url, form_of(request), request.headers["X-Twilio-Signature"])


async def test_a_text_goes_through_its_states_with_signed_callbacks(
    twilio: SimulatedTwilio, sdk: Loose, app: RecordingApp
) -> None:
    """SM11: queued is the answer, and each state after it is reported."""
    sent = await sdk.messages.create_async(to=ANA, from_=BOT, body="hello € ", status_callback=CALLBACK)
    assert (sent.status, sent.direction, sent.num_segments, sent.date_sent) == ("queued", "outbound-api", "1", None)
    await twilio.settle()
    assert [form_of(one)["MessageStatus"] for one in app.requests] == ["sending", "sent", "delivered"]
    for request in app.requests:
        assert_signed(twilio, request, CALLBACK)
        assert form_of(request)["MessageSid"] == sent.sid
    fetched = await sdk.messages(sent.sid).fetch_async()
    assert (fetched.status, fetched.body) == ("delivered", "hello € ")
    assert fetched.date_sent is not None
    assert [one.body for one in twilio.phone(ANA)] == ["hello € "]
    assert twilio.segments_sent == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"to": ""}, 21604),
        ({"to": "123"}, 21211),
        ({"from_": ""}, 21603),
        ({"from_": "+12025550199"}, 21659),
        ({"to": BOT}, 21266),
        ({"body": ""}, 21602),
        ({"body": "x" * 1_601}, 21617),
        ({"validity_period": 0}, 21624),
        ({"validity_period": 36_001}, 21624),
        ({"status_callback": "bot.example/x"}, 21609),
        ({"status_callback": "ftp://bot.example/x"}, 21609),
        ({"status_callback": "https://bot_example.org/x"}, 21609),
        ({"to": "+4930123456"}, 21635),
        ({"to": LENA}, 21610),
    ],
)
async def test_what_twilio_refuses(twilio: SimulatedTwilio, sdk: Loose, change: dict[str, Any], code: int) -> None:
    """SM9 to SM11: with Twilio's own code, and nothing is sent."""
    twilio.rest.landlines.add("+4930123456")
    twilio.network.opt(LENA, out=True)
    with pytest.raises(TwilioRestException) as caught:
        await sdk.messages.create_async(**{"to": ANA, "from_": BOT, "body": "x", **change})
    assert (caught.value.code, caught.value.status) == (code, 400)
    assert twilio.network.texts == {}


async def test_the_limits_themselves_are_allowed(twilio: SimulatedTwilio, sdk: Loose) -> None:
    """SM9, SM10: 1,600 characters and ten hours."""
    await sdk.messages.create_async(to=ANA, from_=BOT, body="x" * 1_600, validity_period=36_000)
    assert twilio.segments_sent == 11


async def test_the_account_and_its_token_are_checked(twilio: SimulatedTwilio) -> None:
    """SM1: basic authentication, and only the account's own resources."""
    async with httpx.AsyncClient(base_url=twilio.api_url, trust_env=False) as http:
        own, other = (f"/2010-04-01/Accounts/{one}/Messages.json" for one in (twilio.account_sid, "ACother"))
        wrong = await http.get(own, auth=(twilio.account_sid, "wrong"))
        assert (wrong.status_code, wrong.json()["code"]) == (401, 20003)
        assert (await http.get(own)).status_code == 401
        right = (twilio.account_sid, twilio.auth_token)
        assert (await http.get(other, auth=right)).json()["code"] == 20404
        missing = await http.get(own.replace(".json", "/SMx.json"), auth=right)
        assert set(missing.json()) == {"code", "message", "more_info", "status"}
        assert (await http.get(own, auth=right, params={"DateSent": "yesterday"})).json()["code"] == 20001


async def test_too_many_at_once(twilio: SimulatedTwilio, sdk: Loose, clock: Clock) -> None:
    """SM11: 429, until a second has gone by."""
    twilio.rest.per_second = 2
    twilio.carrier.step_seconds = 0
    for _ in range(2):
        await sdk.messages.create_async(to=ANA, from_=BOT, body="x")
    with pytest.raises(TwilioRestException) as caught:
        await sdk.messages.create_async(to=ANA, from_=BOT, body="x")
    assert (caught.value.code, caught.value.status) == (20429, 429)
    clock.seconds += 1
    await sdk.messages.create_async(to=ANA, from_=BOT, body="x")


@pytest.mark.parametrize(("code", "status"), [(30003, "undelivered"), (30007, "undelivered"), (30001, "failed")])
async def test_a_text_that_does_not_arrive(
    twilio: SimulatedTwilio, sdk: Loose, app: RecordingApp, code: int, status: str
) -> None:
    """SM11: the last callback says why, and the phone shows nothing."""
    twilio.fail_delivery(ANA, code)
    await sdk.messages.create_async(to=ANA, from_=BOT, body="x", status_callback=CALLBACK)
    await twilio.settle()
    last = form_of(app.requests[-1])
    assert (last["MessageStatus"], last["ErrorCode"]) == (status, str(code))
    assert twilio.phone(ANA) == []


async def test_a_landline_in_america_is_tried(twilio: SimulatedTwilio, sdk: Loose) -> None:
    """SM11: there it is 30006 afterwards, elsewhere 21635 at once."""
    twilio.rest.landlines.add(ANA)
    sent = await sdk.messages.create_async(to=ANA, from_=BOT, body="x")
    await twilio.settle()
    assert twilio.network.texts[sent.sid].error_code == 30006


async def test_a_text_does_not_outlive_its_validity(twilio: SimulatedTwilio, sdk: Loose) -> None:
    """SM10: one that waited too long in the queue is not sent."""
    twilio.carrier.queue_seconds = 60
    short = await sdk.messages.create_async(to=ANA, from_=BOT, body="stale", validity_period=59)
    await twilio.settle()
    long = await sdk.messages.create_async(to=ANA, from_=BOT, body="fresh", validity_period=120)
    await twilio.settle()
    found = twilio.network.texts
    assert (found[short.sid].status, found[short.sid].error_code) == ("failed", 30036)
    assert found[long.sid].status == "delivered"
    assert [one.body for one in twilio.phone(ANA)] == ["fresh"]


async def test_callbacks_can_come_late_twice_and_out_of_order(
    twilio: SimulatedTwilio, sdk: Loose, app: RecordingApp
) -> None:
    """SM11: as they do over a real network."""
    held = twilio.hold_callbacks()
    await sdk.messages.create_async(to=ANA, from_=BOT, body="x", status_callback=CALLBACK)
    await twilio.settle()
    assert app.requests == []
    for callback in (*reversed(held), held[0]):
        assert await twilio.carrier.call_back(callback) == 200
    said = [form_of(one)["MessageStatus"] for one in app.requests]
    assert said == ["delivered", "sent", "sending", "sending"]
    assert len(twilio.carrier.callbacks) == 4


async def test_an_inbound_text_is_posted_with_twilios_fields(twilio: SimulatedTwilio, app: RecordingApp) -> None:
    """SM1, SM3: signed over the exact address and all fields, blank ones too."""
    app.answers.append(OK)
    text = await twilio.text(ANA, "what is on production? ß €", media=1)
    (request,) = app.requests
    assert_signed(twilio, request, WEBHOOK)
    form = form_of(request)
    assert form["FromZip"] == ""
    assert (form["From"], form["To"], form["Body"], form["MessageSid"], form["SmsSid"], form["NumMedia"]) == (
        ANA,
        BOT,
        "what is on production? ß €",
        text.sid,
        text.sid,
        "1",
    )
    assert "OptOutType" not in form
    assert twilio.troubles == []
    await twilio.carrier.redeliver(text)
    assert form_of(app.requests[1]) == form


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (httpx.Response(500), 11200),
        (httpx.Response(403), 11200),
        (httpx.ReadTimeout("slow"), 11205),
        (httpx.ConnectError("down"), 11205),
        (httpx.Response(200, content=b"<Response>", headers={"content-type": "text/xml"}), 12100),
        (httpx.Response(200, content=b"{}", headers={"content-type": "application/json"}), 12300),
    ],
)
async def test_a_webhook_that_fails_is_not_tried_again(
    twilio: SimulatedTwilio, app: RecordingApp, answer: httpx.Response | Exception, code: int
) -> None:
    """SM2: Twilio writes it into its debugger, and the text is in the list for whoever looks."""
    app.answers.append(answer)
    text = await twilio.text(ANA, "hello")
    assert twilio.troubles == [Trouble(code, text.sid)]
    assert len(app.requests) == 1
    assert [one.body for one in twilio.phone(ANA)] == ["hello"]


async def test_an_outage_of_the_app(twilio: SimulatedTwilio, app: RecordingApp, sdk: Loose) -> None:
    """SM2: texts are kept, the webhook is not called, and nothing is made up for afterwards."""
    twilio.go_down()
    missed = await twilio.text(ANA, "hello")
    twilio.come_up()
    await twilio.text(ANA, "again")
    assert [form_of(one)["Body"] for one in app.requests] == ["again"]
    assert Trouble(11205, missed.sid) in twilio.troubles
    assert [one.body for one in await sdk.messages.list_async(to=BOT)] == ["again", "hello"]


@pytest.mark.parametrize(
    "word", ["STOP", "stop ", "Unsubscribe", "END", "quit", "stopall", "REVOKE", "optout", "cancel"]
)
async def test_a_number_opts_out_and_in(twilio: SimulatedTwilio, app: RecordingApp, sdk: Loose, word: str) -> None:
    """SM4: Twilio answers by itself, still tells the app, and refuses what is sent afterwards."""
    await twilio.text(ANA, word)
    await twilio.text(ANA, word)
    with pytest.raises(TwilioRestException) as caught:
        await sdk.messages.create_async(to=ANA, from_=BOT, body="x")
    assert caught.value.code == 21610
    await twilio.text(ANA, "yes")
    await sdk.messages.create_async(to=ANA, from_=BOT, body="back")
    await twilio.settle()
    assert [form_of(one)["Body"] for one in app.requests] == [word, word, "yes"]
    shown = [(one.direction, one.body.partition(".")[0]) for one in twilio.phone(ANA)]
    assert shown == [
        ("inbound", word),
        ("outbound-reply", "You are unsubscribed and will get no more messages from this number"),
        ("inbound", word),
        ("inbound", "yes"),
        ("outbound-reply", "You are resubscribed to messages from this number"),
        ("outbound-api", "back"),
    ]
    assert all(one.direction != "outbound-reply" for one in await sdk.messages.list_async())


async def test_advanced_opt_out_names_the_keyword(app: RecordingApp, clock: Clock) -> None:
    """SM4: `OptOutType` comes only where a Messaging Service has that feature."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(app)) as http:
        twilio = SimulatedTwilio(webhook_url=WEBHOOK, http=http, now=clock, advanced_opt_out=True)
        for body in ("stop", "start", "help", "stop please"):
            await twilio.text(ANA, body)
        await twilio.close()
    assert [form_of(one).get("OptOutType") for one in app.requests] == ["STOP", "START", "HELP", None]


async def test_the_list_is_filtered_and_paged(twilio: SimulatedTwilio, sdk: Loose, clock: Clock) -> None:
    """SM2: the newest first; a page goes on where the last one ended, whatever came in between."""
    for at in range(7):
        await twilio.text(ANA, str(at))
        clock.seconds += 3_600
    await twilio.text(LENA, "lena")
    page = await sdk.messages.page_async(from_=ANA, page_size=3)
    said = [one.body for one in page]
    await twilio.text(ANA, "new")
    while (page := await page.next_page_async()) is not None:
        said += [one.body for one in page]
    assert said == ["6", "5", "4", "3", "2", "1", "0"]
    since = datetime.fromtimestamp(clock() - 2 * 3_600, UTC)
    assert [one.body for one in await sdk.messages.list_async(from_=ANA, date_sent_after=since)] == ["new", "6", "5"]
    assert [one.body for one in await sdk.messages.list_async(to=BOT, from_=LENA)] == ["lena"]


async def test_lost_answers(twilio: SimulatedTwilio, sdk: Loose) -> None:
    """SM11: the text is sent, and whoever sent it does not hear of it."""
    twilio.lose_answer(2)
    for _ in range(2):
        with pytest.raises(Exception, match=r"disconnected|reset|closed"):
            await sdk.messages.create_async(to=ANA, from_=BOT, body="x")
    await sdk.messages.create_async(to=ANA, from_=BOT, body="x")
    assert len(twilio.sent_to(ANA)) == 3


async def test_watchers_see_what_happens(twilio: SimulatedTwilio) -> None:
    """For a page: numbered, without gaps, also for one that was away; and it ends with the simulator."""
    start = twilio.network.change_number
    live = twilio.network.subscribe()
    assert live
    waiting = asyncio.create_task(anext(live))
    await asyncio.sleep(0)
    await twilio.text(ANA, "stop")
    first = await waiting
    assert (first.number, first.kind, first.data["body"]) == (start + 1, "text", "stop")
    later = twilio.network.subscribe(start)
    assert later
    await twilio.close()
    changes = [change async for change in later]
    assert [one.kind for one in changes] == ["text", "opt", "text"]
    assert [one.number for one in changes] == [start + 1, start + 2, start + 3]
    assert twilio.network.subscribe(start - 1) is None


async def test_texts_outlive_a_restart(tmp_path: Path, clock: Clock) -> None:
    """`make dev` keeps its phones."""
    path = tmp_path / "kept" / "sms.json"
    before = SimulatedTwilio(now=clock, sleep=clock.sleep, save_to=path)
    async with serve(before):
        await before.text(ANA, "hello")
        await before.text(LENA, "stop")
    after = SimulatedTwilio(now=clock, sleep=clock.sleep, save_to=path)
    assert [one.body for one in after.phone(ANA)] == ["hello"]
    assert after.network.opted_out == {LENA}
    assert after.phone(LENA) == before.phone(LENA)
    await after.close()


async def test_a_port_that_is_taken_is_an_error(twilio: SimulatedTwilio) -> None:
    """It never takes the process down with it."""
    other = SimulatedTwilio()
    with pytest.raises(OSError, match="taken"):
        async with serve(other, int(twilio.base_url.rpartition(":")[2])):
            pass
    await other.close()
