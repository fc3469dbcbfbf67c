"""What Slack sends to an app: shapes, signatures, retries."""

import asyncio
import hashlib
import hmac

import httpx
import pytest
from simulator_fakes import EVENTS_URL, Clock, RecordingApp

from channels.slack.simulator import SimulatedSlack


async def test_a_delivery_is_signed_as_slack_documents_it(
    slack: SimulatedSlack, recording_app: RecordingApp, clock: Clock
) -> None:
    """The signature is HMAC-SHA256 over `v0:{timestamp}:{raw body}` with the signing secret."""
    await slack.say("ana", "#general", "hello")
    (request,) = recording_app.requests
    timestamp = request.headers["X-Slack-Request-Timestamp"]
    assert timestamp == str(int(clock()))
    base = b"v0:" + timestamp.encode() + b":" + request.content
    expected = hmac.new(slack.tokens.signing_secret.encode(), base, hashlib.sha256).hexdigest()
    assert request.headers["X-Slack-Signature"] == f"v0={expected}"
    assert request.headers["Content-Type"] == "application/json"
    assert str(request.url) == EVENTS_URL


async def test_a_mention_arrives_twice_with_different_event_ids(
    slack: SimulatedSlack, recording_app: RecordingApp
) -> None:
    """SL7: one message in a channel that names the bot is an `app_mention` and a `message`."""
    said = await slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    first, second = recording_app.payloads
    assert {first["event"]["type"], second["event"]["type"]} == {"app_mention", "message"}
    assert first["event_id"] != second["event_id"]
    for payload in (first, second):
        assert payload["event"]["ts"] == said.ts
        assert payload["event"]["text"] == "<@U0BOT> deploy v1.4.0 to production"
        assert payload["event"]["channel"] == "C0DEPLOYS"
        assert payload["api_app_id"] == "A0BOT"
        assert payload["authorizations"][0]["user_id"] == "U0BOT"
    assert slack.deliveries.events("app_mention")[0].accepted


async def test_a_direct_message_arrives_once(slack: SimulatedSlack, recording_app: RecordingApp) -> None:
    """In a direct conversation there is only `message.im`, mention or not."""
    await slack.say("ana", "D0ANA", "@bot hello")
    (event,) = recording_app.events
    assert (event["type"], event["channel_type"]) == ("message", "im")


async def test_a_guest_of_slack_connect_shows_their_own_team(
    slack: SimulatedSlack, recording_app: RecordingApp
) -> None:
    """SL22 needs to see it: the event names the foreign team, the callback the workspace's own."""
    await slack.say("gil", "#deploys", "hello")
    (payload,) = recording_app.payloads
    assert payload["team_id"] == "T0ACME"
    assert payload["event"]["user_team"] == payload["event"]["source_team"] == "T0PARTNER"
    assert payload["is_ext_shared_channel"] is True


async def test_an_edit_and_a_deletion_arrive_as_hidden_events(
    slack: SimulatedSlack, recording_app: RecordingApp
) -> None:
    """SL9: `message_changed` and `message_deleted` carry the message as it was before."""
    said = await slack.say("ana", "#general", "helo")
    edited = await slack.edit("ana", said, "hello")
    await slack.delete("ana", edited)
    changed, deleted = recording_app.events[1:]
    assert changed["subtype"] == "message_changed"
    assert (changed["message"]["text"], changed["previous_message"]["text"]) == ("hello", "helo")
    assert deleted["subtype"] == "message_deleted"
    assert deleted["deleted_ts"] == said.ts


async def test_a_refused_event_is_sent_again_at_once_then_after_one_and_five_minutes(
    slack: SimulatedSlack, recording_app: RecordingApp, clock: Clock
) -> None:
    """SL6: three retries with their number and reason, each signed anew, all with one event id."""
    recording_app.answers = [
        httpx.Response(500),
        httpx.ConnectError("down"),
        httpx.Response(404),
        httpx.Response(200),
    ]
    await slack.say("ana", "#general", "hello")
    await slack.deliveries.settle()
    assert clock.slept == [60.0, 300.0]
    headers = [request.headers for request in recording_app.requests]
    assert [h.get("X-Slack-Retry-Num") for h in headers] == [None, "1", "2", "3"]
    assert [h.get("X-Slack-Retry-Reason") for h in headers] == [None, "http_error", "connection_failed", "http_error"]
    assert len({payload["event_id"] for payload in recording_app.payloads}) == 1
    assert len({h["X-Slack-Signature"] for h in headers}) == 3, "the two that follow at once share their second"
    (delivery,) = slack.deliveries.sent
    assert [attempt.status for attempt in delivery.attempts] == [500, None, 404, 200]
    assert delivery.accepted


async def test_an_event_is_given_up_after_three_retries(slack: SimulatedSlack, recording_app: RecordingApp) -> None:
    """Then Slack stops, and the delivery stays unaccepted."""
    recording_app.answers = [httpx.Response(503)] * 5
    await slack.say("ana", "#general", "hello")
    await slack.deliveries.settle()
    assert len(recording_app.requests) == 4
    assert not slack.deliveries.sent[0].accepted


async def test_an_app_can_refuse_retries(slack: SimulatedSlack, recording_app: RecordingApp) -> None:
    """`X-Slack-No-Retry: 1` ends it."""
    recording_app.answers = [httpx.Response(500, headers={"X-Slack-No-Retry": "1"})]
    await slack.say("ana", "#general", "hello")
    await slack.deliveries.settle()
    assert len(recording_app.requests) == 1


async def test_a_slow_app_is_a_timeout(clock: Clock) -> None:
    """SL3: no answer within Slack's patience counts as none."""

    async def never(_request: httpx.Request) -> httpx.Response:
        await clock_stops.wait()
        return httpx.Response(200)

    clock_stops = asyncio.Event()
    async with httpx.AsyncClient(transport=httpx.MockTransport(never)) as http:
        slack = SimulatedSlack(events_url=EVENTS_URL, http=http, now=clock, sleep=clock.sleep, ack_seconds=0.01)
        await slack.say("ana", "#general", "hello")
        await slack.deliveries.settle()
        assert [attempt.failure for attempt in slack.deliveries.sent[0].attempts] == ["http_timeout"] * 4
        await slack.close()


async def test_without_an_app_nothing_is_sent(clock: Clock) -> None:
    """A simulator that was told no address keeps the conversation and sends nothing."""
    slack = SimulatedSlack(now=clock, sleep=clock.sleep)
    await slack.say("ana", "#general", "hello")
    await slack.deliveries.settle()
    assert slack.deliveries.sent[0].attempts == []
    assert clock.slept == []
    await slack.close()


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("@bot deploy", "<@U0BOT> deploy"),
        ("@Switchboard: hi", "<@U0BOT>: hi"),
        ("ask @Lena Vogt and @omar", "ask <@U0LENA> and <@U0OMAR>"),
        ("see #deploys", "see <#C0DEPLOYS|deploys>"),
        ("a < b && c > d", "a &lt; b &amp;&amp; c &gt; d"),
        ("look: https://a.example/x?b=1&c=2.", "look: <https://a.example/x?b=1&amp;c=2>."),
        ("<@U0BOT> typed out", "<@U0BOT> typed out"),
        ("mail me@bot.example", "mail me@bot.example"),
        ("@here now", "<!here> now"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
    ],
)
async def test_what_a_person_types_is_encoded_as_slack_encodes_it(slack: SimulatedSlack, typed: str, sent: str) -> None:
    """Mentions and addresses become entities, everything else is escaped."""
    assert (await slack.say("ana", "#general", typed)).text == sent
