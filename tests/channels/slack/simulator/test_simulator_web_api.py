"""The simulated Web API, called through Slack's own client."""

import asyncio

import aiohttp
import pytest
from simulator_fakes import CARD, MODAL, Clock, Loose, RecordingApp, wait_until
from slack_sdk.errors import SlackApiError

from channels.slack.simulator import LostAnswer, RateLimited, Refused, ServerError, SimulatedSlack, Slow, serve


async def failing(call: Loose) -> Loose:
    """The response of a call that Slack's client raises for."""
    with pytest.raises(SlackApiError) as error:
        await call
    raised: Loose = error.value
    return raised.response


async def refused(call: Loose) -> str:
    """The error string of a call that Slack refuses."""
    return (await failing(call))["error"]


async def test_the_token_says_who_the_bot_is(client: Loose) -> None:
    """`auth.test` names the team, the bot's user and its bot id."""
    answer = await client.auth_test()
    assert (answer["team_id"], answer["user_id"], answer["bot_id"]) == ("T0ACME", "U0BOT", "B0BOT")


async def test_calls_without_a_right_token_are_refused(client: Loose, served: SimulatedSlack) -> None:
    """No token, a made-up one, and the app-level token where the bot's is needed."""
    assert await refused(client.auth_test(token="")) == "not_authed"
    assert await refused(client.auth_test(token="xoxb-made-up")) == "invalid_auth"
    assert await refused(client.auth_test(token=served.tokens.app_token)) == "not_allowed_token_type"
    assert await refused(client.apps_connections_open(app_token=served.tokens.bot_token)) == "not_allowed_token_type"


async def test_an_unknown_method_is_refused(client: Loose) -> None:
    """Methods that are not simulated say so."""
    assert await refused(client.api_call("pins.add")) == "unknown_method"


async def test_a_post_lands_in_the_thread_with_its_metadata(client: Loose, served: SimulatedSlack) -> None:
    """SL19: what was posted can be found again by the metadata it carries, when that is asked for."""
    said = await served.say("ana", "#deploys", "@bot deploy")
    metadata = {"event_type": "switchboard_outbox", "event_payload": {"id": "t:1:0"}}
    posted = await client.chat_postMessage(
        channel="C0DEPLOYS", text="Approve?", blocks=CARD, thread_ts=said.ts, metadata=metadata
    )
    parent, reply = served.thread("C0DEPLOYS", said.ts)
    assert (parent.ts, reply.ts, reply.text) == (said.ts, posted["ts"], "Approve?")
    assert reply.blocks[0]["block_id"], "Slack fills in missing block ids"
    bare = await client.conversations_replies(channel="C0DEPLOYS", ts=said.ts)
    full = await client.conversations_replies(channel="C0DEPLOYS", ts=said.ts, include_all_metadata=True)
    assert "metadata" not in bare["messages"][1]
    assert full["messages"][1]["metadata"] == metadata
    assert full["messages"][0]["reply_count"] == 1


async def test_history_is_newest_first_and_leaves_replies_out(client: Loose, served: SimulatedSlack) -> None:
    """`conversations.history` pages through the messages of the channel itself."""
    said = [await served.say("ana", "#general", f"line {n}") for n in range(3)]
    await served.say("omar", "#general", "a reply", thread_ts=said[0].ts)
    page = await client.conversations_history(channel="C0GENERAL", limit=2)
    rest = await client.conversations_history(channel="C0GENERAL", cursor=page["response_metadata"]["next_cursor"])
    assert [message["text"] for message in [*page["messages"], *rest["messages"]]] == ["line 2", "line 1", "line 0"]
    assert (page["has_more"], rest["has_more"]) == (True, False)


async def test_only_own_messages_can_be_updated(client: Loose, served: SimulatedSlack) -> None:
    """`chat.update` replaces the blocks, and refuses other people's and unknown messages."""
    said = await served.say("ana", "#general", "mine")
    posted = await client.chat_postMessage(channel="C0GENERAL", text="card", blocks=CARD)
    await client.chat_update(channel="C0GENERAL", ts=posted["ts"], text="Approved by Lena", blocks=CARD[:1])
    message = served.workspace.message("C0GENERAL", posted["ts"])
    assert (message.text, message.edited, served.card_actions(message)) == ("Approved by Lena", True, {})
    assert await refused(client.chat_update(channel="C0GENERAL", ts=said.ts, text="x")) == "cant_update_message"
    assert await refused(client.chat_update(channel="C0GENERAL", ts="1.000000", text="x")) == "message_not_found"
    assert await refused(client.chat_delete(channel="C0GENERAL", ts=said.ts)) == "cant_delete_message"


async def test_the_bot_hears_its_own_posts(client: Loose, served: SimulatedSlack, recording_app: RecordingApp) -> None:
    """SL9: a post comes back as a message with `bot_id`, an update as `message_changed`, never as a mention."""
    posted = await client.chat_postMessage(channel="C0GENERAL", text="I am <@U0BOT>")
    await client.chat_update(channel="C0GENERAL", ts=posted["ts"], text="I was")
    await served.deliveries.settle()
    echo, changed = recording_app.events
    assert (echo["type"], echo["bot_id"], echo["user"]) == ("message", "B0BOT", "U0BOT")
    assert (changed["subtype"], changed["message"]["bot_id"]) == ("message_changed", "B0BOT")


async def test_an_ephemeral_message_is_seen_by_one_person(
    client: Loose, served: SimulatedSlack, recording_app: RecordingApp
) -> None:
    """It is in nobody's history, causes no event, and needs its person in the channel."""
    await client.chat_postEphemeral(channel="C0GENERAL", user="U0ANA", text="only you")
    assert [message.text for message in served.ephemerals("ana")] == ["only you"]
    assert served.ephemerals("lena") == []
    assert served.workspace.messages("C0GENERAL") == []
    assert recording_app.requests == []
    call = client.chat_postEphemeral(channel="D0ANA", user="U0LENA", text="x")
    assert await refused(call) == "user_not_in_channel"


async def test_wrong_places_are_refused(client: Loose, served: SimulatedSlack) -> None:
    """Unknown channels and threads, an empty thread_ts (SL11), and channels that the bot did not join."""
    post = client.chat_postMessage
    assert await refused(post(channel="C0NONE", text="x")) == "channel_not_found"
    assert await refused(post(channel="C0GENERAL", text="x", thread_ts="")) == "invalid_arguments"
    assert await refused(post(channel="C0GENERAL", text="x", thread_ts="1600000000.000100")) == "thread_not_found"
    assert await refused(client.api_call("chat.postMessage", json={"channel": "C0GENERAL"})) == "no_text"
    assert await refused(client.users_info(user="U0NOBODY")) == "user_not_found"
    assert await refused(client.conversations_replies(channel="C0GENERAL", ts="1.000000")) == "thread_not_found"


async def test_people_and_channels_can_be_looked_up(client: Loose) -> None:
    """`users.info` shows a guest's own team, `conversations.info` whether a channel is shared."""
    assert (await client.users_info(user="U0GIL"))["user"]["team_id"] == "T0PARTNER"
    assert (await client.conversations_info(channel="C0DEPLOYS"))["channel"]["is_ext_shared"] is True
    assert (await client.conversations_open(users="U0ANA"))["channel"]["id"] == "D0ANA"


async def test_a_reaction_is_given_once(client: Loose, served: SimulatedSlack) -> None:
    """`reactions.add` refuses the second."""
    said = await served.say("ana", "#general", "hi")
    await client.reactions_add(channel="C0GENERAL", timestamp=said.ts, name="eyes")
    again = client.reactions_add(channel="C0GENERAL", timestamp=said.ts, name="eyes")
    assert await refused(again) == "already_reacted"
    assert served.workspace.message("C0GENERAL", said.ts).reactions == {"eyes": ["U0BOT"]}


async def test_posts_in_one_channel_are_limited_to_one_a_second_when_asked_for(
    client: Loose, served: SimulatedSlack, clock: Clock
) -> None:
    """SL18: the second post within a second is 429 with `Retry-After`; another channel is free, and so is later."""
    served.limiter.per_second = 1
    await client.chat_postMessage(channel="C0GENERAL", text="one")
    limited = await failing(client.chat_postMessage(channel="C0GENERAL", text="two"))
    assert (limited.status_code, limited.headers["Retry-After"], limited["error"]) == (429, "1", "ratelimited")
    await client.chat_postMessage(channel="C0DEPLOYS", text="elsewhere")
    clock.seconds += 1
    await client.chat_postMessage(channel="C0GENERAL", text="two")


async def test_a_trigger_opens_one_modal_within_three_seconds(
    client: Loose, served: SimulatedSlack, recording_app: RecordingApp, clock: Clock
) -> None:
    """SL16: used, expired and invented trigger ids each get Slack's own error."""
    await client.chat_postMessage(channel="C0GENERAL", text="card", blocks=CARD)
    await served.deliveries.settle()
    (card,) = served.workspace.messages("C0GENERAL")
    await served.click("lena", card, "deny")
    trigger_id = recording_app.payloads[-1]["trigger_id"]
    bad = {**MODAL, "title": {"type": "plain_text", "text": "x" * 25}}
    assert await refused(client.views_open(trigger_id=trigger_id, view=bad)) == "invalid_arguments"
    opened = await client.views_open(trigger_id=trigger_id, view=MODAL)
    assert [view.id for view in served.views("lena")] == [opened["view"]["id"]]
    assert await refused(client.views_open(trigger_id=trigger_id, view=MODAL)) == "exchanged_trigger_id"
    assert await refused(client.views_open(trigger_id="1.2.3", view=MODAL)) == "invalid_trigger_id"
    await served.click("lena", card, "deny")
    clock.seconds += 3.1
    late = recording_app.payloads[-1]["trigger_id"]
    assert await refused(client.views_open(trigger_id=late, view=MODAL)) == "expired_trigger_id"
    view = served.views("lena")[0]
    stale = client.views_update(view_id=view.id, hash="0.old", view=MODAL)
    assert await refused(stale) == "hash_conflict"
    await client.views_update(view_id=view.id, hash=view.hash, view={**MODAL, "private_metadata": "r2"})
    assert served.views("lena")[0].payload["private_metadata"] == "r2"


async def test_a_lost_answer_is_applied_and_cut(served: SimulatedSlack) -> None:
    """The message is there once, and the caller sees nothing but a closed connection."""
    served.faults.script("chat.postMessage", LostAnswer())
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {served.tokens.bot_token}"}
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.post(
                f"{served.api_url}chat.postMessage", json={"channel": "C0GENERAL", "text": "once"}, headers=headers
            )
    assert [message.text for message in served.workspace.messages("C0GENERAL")] == ["once"]
    assert served.faults.unused == {}


async def test_slacks_client_posts_twice_after_a_lost_answer(client: Loose, served: SimulatedSlack) -> None:
    """SL18: its retry on connection errors does not know that the call was applied."""
    served.faults.script("chat.postMessage", LostAnswer())
    await client.chat_postMessage(channel="C0GENERAL", text="twice")
    assert [message.text for message in served.workspace.messages("C0GENERAL")] == ["twice", "twice"]


async def test_scripted_faults_come_in_order_and_are_not_applied(client: Loose, served: SimulatedSlack) -> None:
    """Each fault meets one call of its method; other methods are untouched."""
    served.faults.script("chat.postMessage", RateLimited(7), ServerError(503), Refused("is_archived"))
    post = client.chat_postMessage
    assert (await failing(post(channel="C0GENERAL", text="x"))).headers["Retry-After"] == "7"
    assert (await failing(post(channel="C0GENERAL", text="x"))).status_code == 503
    assert await refused(post(channel="C0GENERAL", text="x")) == "is_archived"
    await client.auth_test()
    assert served.workspace.messages("C0GENERAL") == []
    await post(channel="C0GENERAL", text="x")
    assert len(served.workspace.messages("C0GENERAL")) == 1


async def test_a_slow_call_is_applied_before_it_is_answered(client: Loose, served: SimulatedSlack) -> None:
    """The store has the message while the caller still waits."""
    gate = asyncio.Event()
    served.faults.script("chat.postMessage", Slow(until=gate))
    posting = asyncio.create_task(client.chat_postMessage(channel="C0GENERAL", text="slow"))
    await wait_until(lambda: len(served.workspace.messages("C0GENERAL")) == 1)
    assert not posting.done()
    gate.set()
    assert (await posting)["ok"]


async def test_a_file_is_uploaded_in_three_steps(client: Loose, served: SimulatedSlack) -> None:
    """Slack's client shares a text file into a thread."""
    said = await served.say("ana", "#general", "@bot what changed?")
    await client.files_upload_v2(
        content="all of it", filename="changes.txt", channel="C0GENERAL", initial_comment="In full", thread_ts=said.ts
    )
    reply = served.thread("C0GENERAL", said.ts)[-1]
    assert reply.text == "In full"
    assert served.workspace.files[reply.files[0]].text == "all of it"


async def test_a_taken_port_is_an_error(served: SimulatedSlack) -> None:
    """It does not end the process."""
    port = int(served.base_url.rsplit(":", 1)[1])
    other = SimulatedSlack()
    with pytest.raises(OSError, match="taken"):
        async with serve(other, port):
            pass
    await other.close()
