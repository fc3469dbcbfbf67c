"""Acting as a person: clicks, modals, commands, and what they may not do."""

import httpx
import pytest
from simulator_fakes import CARD, MODAL, Loose, RecordingApp

from channels.slack.simulator import (
    DID_NOT_RESPOND,
    Message,
    NotAllowedError,
    NotSubmittedError,
    NotThereError,
    SimulatedSlack,
    UnknownError,
    View,
)


def card(slack: SimulatedSlack, **extra: Loose) -> Message:
    """A decision card that the bot posted in a thread of Ana's."""
    parent = slack.workspace.post("C0DEPLOYS", "U0ANA", "deploy")
    return slack.workspace.post(
        "C0DEPLOYS", "U0BOT", "Approve?", blocks=CARD, thread_ts=parent.ts, bot_id="B0BOT", **extra
    )


def modal(slack: SimulatedSlack, **extra: Loose) -> View:
    return slack.workspace.open_view("U0LENA", {**MODAL, **extra})


async def test_a_click_carries_who_where_and_what(slack: SimulatedSlack, recording_app: RecordingApp) -> None:
    """The payload has the shape that Slack documents for `block_actions`, in a form field."""
    shown = card(slack)
    delivery = await slack.click("lena", shown, "approve")
    assert delivery.accepted
    assert recording_app.requests[0].headers["content-type"] == "application/x-www-form-urlencoded"
    (payload,) = recording_app.payloads
    assert payload["type"] == "block_actions"
    assert payload["user"] == {"id": "U0LENA", "username": "lena", "name": "lena", "team_id": "T0ACME"}
    assert payload["container"] == {
        "type": "message",
        "message_ts": shown.ts,
        "channel_id": "C0DEPLOYS",
        "is_ephemeral": False,
        "thread_ts": shown.thread_ts,
    }
    assert payload["message"]["blocks"] == shown.blocks
    (action,) = payload["actions"]
    assert (action["action_id"], action["block_id"], action["value"]) == ("approve", "decide", "r1")
    assert action["action_ts"] > shown.ts
    assert payload["channel"] == {"id": "C0DEPLOYS", "name": "deploys"}


async def test_a_choice_carries_the_selected_option(slack: SimulatedSlack, recording_app: RecordingApp) -> None:
    """It stands in `actions` and in `state.values`."""
    await slack.click("lena", card(slack), "when", "later")
    (payload,) = recording_app.payloads
    assert payload["actions"][0]["selected_option"]["value"] == "later"
    assert payload["state"]["values"]["decide"]["when"]["selected_option"]["value"] == "later"


async def test_a_click_on_an_ephemeral_message_has_no_message(
    slack: SimulatedSlack, recording_app: RecordingApp
) -> None:
    """Slack does not keep what it showed to one person; and nobody else can click it."""
    shown = card(slack, ephemeral_to="U0LENA")
    await slack.click("lena", shown, "approve")
    assert "message" not in recording_app.payloads[0]
    assert recording_app.payloads[0]["container"]["is_ephemeral"] is True
    with pytest.raises(NotAllowedError):
        await slack.click("ana", shown, "approve")


async def test_a_person_can_click_what_they_saw_before_an_update(
    slack: SimulatedSlack, recording_app: RecordingApp
) -> None:
    """A stale click: the message that was taken earlier still has its buttons."""
    before = card(slack)
    after = slack.workspace.update(before.channel, before.ts, text="Approved")
    await slack.click("omar", before, "deny")
    assert recording_app.payloads[0]["actions"][0]["action_id"] == "deny"
    with pytest.raises(NotThereError):
        await slack.click("omar", after, "deny")


async def test_an_interaction_is_not_retried_and_the_person_is_told(
    slack: SimulatedSlack, recording_app: RecordingApp
) -> None:
    """Slack shows a warning instead of trying again."""
    changes = slack.workspace.subscribe()
    shown = card(slack)
    recording_app.answers = [httpx.Response(500)]
    delivery = await slack.click("lena", shown, "approve")
    await slack.deliveries.settle()
    assert (delivery.accepted, len(recording_app.requests)) == (False, 1)
    assert changes
    slack.workspace.close_subscriptions()
    troubles = [change.data async for change in changes if change.kind == "trouble"]
    assert troubles == [{"user": "U0LENA", "channel": "C0DEPLOYS", "text": DID_NOT_RESPOND}]


async def test_a_submitted_modal_closes(slack: SimulatedSlack, recording_app: RecordingApp) -> None:
    """An empty 200 closes it; the submission carried what was entered and the modal's private metadata."""
    await slack.submit("lena", modal(slack), {"why": {"text": "freeze"}})
    (payload,) = recording_app.payloads
    assert payload["view"]["state"]["values"] == {"why": {"text": {"type": "plain_text_input", "value": "freeze"}}}
    assert (payload["view"]["private_metadata"], payload["view"]["callback_id"]) == ("r1", "deny_reason")
    assert slack.views("lena") == []


async def test_errors_are_shown_in_the_modal(slack: SimulatedSlack, recording_app: RecordingApp) -> None:
    """`response_action: errors` keeps it open."""
    recording_app.answers = [httpx.Response(200, json={"response_action": "errors", "errors": {"why": "too short"}})]
    await slack.submit("lena", modal(slack), {"why": {"text": "x"}})
    assert slack.views("lena")[0].errors == {"why": "too short"}


@pytest.mark.parametrize(
    ("answer", "metadata"),
    [
        ({"response_action": "update", "view": {**MODAL, "private_metadata": "new"}}, ["first", "new"]),
        ({"response_action": "push", "view": {**MODAL, "private_metadata": "new"}}, ["first", "r1", "new"]),
        ({"response_action": "clear"}, []),
        ({"response_action": "update", "view": {"type": "modal"}}, ["first", "r1"]),
    ],
)
async def test_a_response_action_is_carried_out(
    slack: SimulatedSlack, recording_app: RecordingApp, answer: dict[str, Loose], metadata: list[str]
) -> None:
    """`update`, `push` and `clear`; a modal that breaks a limit changes nothing."""
    modal(slack, private_metadata="first")
    recording_app.answers = [httpx.Response(200, json=answer)]
    await slack.submit("lena", modal(slack), {"why": {"text": "freeze"}})
    assert [view.payload["private_metadata"] for view in slack.views("lena")] == metadata


@pytest.mark.parametrize("entered", [{}, {"why": {"text": "x" * 21}}])
async def test_slacks_client_refuses_empty_and_overlong_inputs(
    slack: SimulatedSlack, recording_app: RecordingApp, entered: dict[str, Loose]
) -> None:
    """The app never sees them."""
    view = modal(slack)
    with pytest.raises(NotSubmittedError):
        await slack.submit("lena", view, entered)
    assert list(slack.views("lena")[0].errors) == ["why"]
    assert recording_app.requests == []
    with pytest.raises(NotThereError):
        await slack.submit("lena", view, {"other": {"text": "x"}})


async def test_the_app_hears_of_a_closed_modal_only_when_it_asked(
    slack: SimulatedSlack, recording_app: RecordingApp
) -> None:
    """`notify_on_close`."""
    await slack.close_view("lena", modal(slack))
    assert recording_app.requests == []
    await slack.close_view("lena", modal(slack, notify_on_close=True))
    assert recording_app.payloads[0]["type"] == "view_closed"


async def test_a_command_is_a_form_and_its_answer_is_shown_to_one_person(
    slack: SimulatedSlack, recording_app: RecordingApp
) -> None:
    """A text or JSON body is ephemeral unless it says `in_channel`."""
    recording_app.answers = [
        httpx.Response(200, text="on it"),
        httpx.Response(200, json={"response_type": "in_channel", "text": "everybody"}),
        httpx.Response(200),
    ]
    for _ in range(3):
        await slack.command("ana", "#deploys", "/deploy", "v1.4.0")
    payload = recording_app.payloads[0]
    assert (payload["command"], payload["text"], payload["user_id"]) == ("/deploy", "v1.4.0", "U0ANA")
    assert [message.text for message in slack.ephemerals("ana")] == ["on it"]
    assert [message.text for message in slack.workspace.messages("#deploys")] == ["everybody"]


async def test_a_response_url_answers_five_times_for_thirty_minutes(
    served: SimulatedSlack, recording_app: RecordingApp
) -> None:
    """SL16: then it is gone; until then it answers the person who clicked."""
    shown = card(served)
    await served.click("lena", shown, "approve")
    url = recording_app.payloads[0]["response_url"]
    async with httpx.AsyncClient() as http:
        statuses = [(await http.post(url, json={"text": f"no. {n}"})).status_code for n in range(6)]
        assert statuses == [200] * 5 + [404]
        assert len(served.ephemerals("lena")) == 5
        await served.click("lena", shown, "approve")
        replace = {"replace_original": True, "text": "Done"}
        await http.post(recording_app.payloads[1]["response_url"], json=replace)
    assert served.workspace.message(shown.channel, shown.ts).text == "Done"


async def test_nobody_acts_as_the_bot_or_where_they_are_not(slack: SimulatedSlack) -> None:
    """People are people, in their channels, with their own messages and modals."""
    said = await slack.say("ana", "#general", "mine")
    view = modal(slack)
    with pytest.raises(NotAllowedError):
        await slack.say("U0BOT", "#general", "I am the bot")
    with pytest.raises(NotAllowedError):
        await slack.say("lena", "D0ANA", "let me in")
    with pytest.raises(NotAllowedError):
        await slack.edit("lena", said, "yours")
    with pytest.raises(NotAllowedError):
        await slack.submit("ana", view, {"why": {"text": "x"}})
    with pytest.raises(UnknownError):
        await slack.say("nobody", "#general", "x")
