"""Every limit of SL13: what just fits is taken, one more is refused in Slack's words."""

from collections.abc import Callable

import pytest
from simulator_fakes import Loose

from channels.slack.simulator.limits import BreachError, check_message, check_view

Json = dict[str, Loose]


def plain(chars: int) -> Json:
    return {"type": "plain_text", "text": "x" * chars}


def mrkdwn(chars: int) -> Json:
    return {"type": "mrkdwn", "text": "x" * chars}


def button(**extra: Loose) -> Json:
    return {"type": "button", "action_id": "go", "text": plain(2), **extra}


def actions(*elements: Json) -> Json:
    return {"type": "actions", "elements": list(elements)}


def confirm(**sizes: int) -> dict[str, Loose]:
    chars = {"title": 1, "text": 1, "confirm": 1, "deny": 1} | sizes
    return {"confirm": {part: plain(size) for part, size in chars.items()}}


def select(count: int = 1, *, text: int = 1, value: int = 1) -> Json:
    options = [{"text": plain(text), "value": "v" * value} for _ in range(count)]
    return {"type": "static_select", "action_id": "pick", "options": options}


def sections(count: int) -> list[Json]:
    return [{"type": "section", "text": plain(1)} for _ in range(count)]


BLOCK_LIMITS: dict[str, tuple[int, Callable[[int], Json]]] = {
    "section text": (3_000, lambda n: {"type": "section", "text": mrkdwn(n)}),
    "section fields": (10, lambda n: {"type": "section", "fields": [plain(1)] * n}),
    "section field text": (2_000, lambda n: {"type": "section", "fields": [mrkdwn(n)]}),
    "header": (150, lambda n: {"type": "header", "text": plain(n)}),
    "context elements": (10, lambda n: {"type": "context", "elements": [mrkdwn(1)] * n}),
    "actions elements": (25, lambda n: actions(*(button(action_id=f"a{i}") for i in range(n)))),
    "action_id": (255, lambda n: actions(button(action_id="a" * n))),
    "block_id": (255, lambda n: {"type": "divider", "block_id": "b" * n}),
    "button text": (75, lambda n: actions(button(text=plain(n)))),
    "button value": (2_000, lambda n: actions(button(value="v" * n))),
    "confirm title": (100, lambda n: actions(button(**confirm(title=n)))),
    "confirm text": (300, lambda n: actions(button(**confirm(text=n)))),
    "confirm yes": (30, lambda n: actions(button(**confirm(confirm=n)))),
    "confirm no": (30, lambda n: actions(button(**confirm(deny=n)))),
    "select options": (100, lambda n: actions(select(n))),
    "option text": (75, lambda n: actions(select(text=n))),
    "option value": (150, lambda n: actions(select(value=n))),
}


@pytest.mark.parametrize("name", BLOCK_LIMITS)
def test_a_block_may_be_as_large_as_the_limit_and_no_larger(name: str) -> None:
    """The largest allowed block passes; one more makes the message `invalid_blocks`, with a pointer to the place."""
    most, build = BLOCK_LIMITS[name]
    assert check_message({"text": "t", "blocks": [build(most)]})
    with pytest.raises(BreachError) as breach:
        check_message({"text": "t", "blocks": [build(most + 1)]})
    answer = breach.value.answer()
    assert answer["error"] == "invalid_blocks"
    assert len(answer["response_metadata"]["messages"]) == 1
    assert answer["response_metadata"]["messages"][0].startswith("[ERROR] ")
    assert "[json-pointer:/blocks/0/" in answer["errors"][0]
    assert str(most) in answer["errors"][0] or str(most + 1) in answer["errors"][0]


def message_with(**args: Loose) -> Json:
    return {"text": "t", **args}


MESSAGES: dict[str, tuple[Json, str | None]] = {
    "50 blocks": (message_with(blocks=sections(50)), None),
    "51 blocks": (message_with(blocks=sections(51)), "invalid_blocks"),
    "40,000 characters": ({"text": "x" * 40_000}, None),
    "40,001 characters": ({"text": "x" * 40_001}, "msg_too_long"),
    "12,000 of markdown": (message_with(blocks=[{"type": "markdown", "text": "x" * 12_000}]), None),
    "12,001 of markdown in two blocks": (
        message_with(blocks=[{"type": "markdown", "text": "x" * 6_000}, {"type": "markdown", "text": "x" * 6_001}]),
        "msg_blocks_too_long",
    ),
    "a message beyond 13,200": (
        message_with(blocks=[{"type": "section", "text": mrkdwn(2_900)} for _ in range(5)]),
        "msg_blocks_too_long",
    ),
    "nothing": ({}, "no_text"),
    "empty text": ({"text": ""}, "no_text"),
    "blocks without text": ({"blocks": sections(1)}, None),
    "blocks that are no list": (message_with(blocks="{}"), "invalid_blocks_format"),
    "blocks that are no JSON": (message_with(blocks="["), "invalid_blocks_format"),
    "blocks as a JSON string": (message_with(blocks='[{"type": "divider"}]'), None),
    "an unknown block": (message_with(blocks=[{"type": "carousel"}]), "invalid_blocks"),
    "an unknown element": (message_with(blocks=[actions({"type": "knob", "action_id": "k"})]), "invalid_blocks"),
    "a text input in an actions block": (
        message_with(blocks=[actions({"type": "plain_text_input", "action_id": "k"})]),
        "invalid_blocks",
    ),
    "an unknown style": (message_with(blocks=[actions(button(style="warning"))]), "invalid_blocks"),
    "empty section text": (message_with(blocks=[{"type": "section", "text": mrkdwn(0)}]), "invalid_blocks"),
    "a section of nothing": (message_with(blocks=[{"type": "section"}]), "invalid_blocks"),
    "mrkdwn in a header": (message_with(blocks=[{"type": "header", "text": mrkdwn(3)}]), "invalid_blocks"),
    "one action_id twice in a block": (message_with(blocks=[actions(button(), button())]), "invalid_blocks"),
    "one action_id in two blocks": (message_with(blocks=[actions(button()), actions(button())]), None),
    "one block_id twice": (
        message_with(blocks=[{"type": "divider", "block_id": "b"}, {"type": "divider", "block_id": "b"}]),
        "invalid_blocks",
    ),
    "metadata": (message_with(metadata={"event_type": "e", "event_payload": {}}), None),
    "metadata as a JSON string": (message_with(metadata='{"event_type": "e", "event_payload": {}}'), None),
    "metadata without payload": (message_with(metadata={"event_type": "e"}), "invalid_metadata_schema"),
    "metadata that is no object": (message_with(metadata="[]"), "invalid_metadata_format"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_judged_as_slack_judges_it(name: str) -> None:
    """A message passes, or is refused with Slack's error string."""
    args, error = MESSAGES[name]
    if error is None:
        check_message(args)
        return
    with pytest.raises(BreachError) as breach:
        check_message(args)
    assert breach.value.error == error


def modal(**extra: Loose) -> Json:
    return {"type": "modal", "title": plain(5), "blocks": sections(1), **extra}


INPUT = {"type": "input", "label": plain(3), "element": {"type": "plain_text_input", "action_id": "reason"}}

MODALS: dict[str, tuple[Json, bool]] = {
    "a plain one": (modal(), True),
    "a title of 24": (modal(title=plain(24)), True),
    "a title of 25": (modal(title=plain(25)), False),
    "a submit of 25": (modal(submit=plain(25)), False),
    "a close of 25": (modal(close=plain(25)), False),
    "private_metadata of 3,000": (modal(private_metadata="x" * 3_000), True),
    "private_metadata of 3,001": (modal(private_metadata="x" * 3_001), False),
    "100 blocks": (modal(blocks=sections(100)), True),
    "101 blocks": (modal(blocks=sections(101)), False),
    "an input with submit": (modal(blocks=[INPUT], submit=plain(4)), True),
    "an input without submit": (modal(blocks=[INPUT]), False),
    "a markdown block": (modal(blocks=[{"type": "markdown", "text": "x"}]), False),
    "no title": ({"type": "modal", "blocks": sections(1)}, False),
    "no blocks": ({"type": "modal", "title": plain(1)}, False),
    "another type": (modal(type="dialog"), False),
}


@pytest.mark.parametrize("name", MODALS)
def test_a_modal_is_judged_as_slack_judges_it(name: str) -> None:
    """A modal passes, or is refused as `invalid_arguments` with a pointer into the view."""
    view, fits = MODALS[name]
    if fits:
        assert check_view(view) == view
        return
    with pytest.raises(BreachError) as breach:
        check_view(view)
    assert breach.value.error == "invalid_arguments"
    assert all("[json-pointer:/view" in detail for detail in breach.value.details)


@pytest.mark.parametrize("view", [None, "", "not json", [], "[]"])
def test_something_else_in_place_of_a_modal_is_refused(view: object) -> None:
    """What is no JSON object is no modal."""
    with pytest.raises(BreachError, match="invalid_arguments"):
        check_view(view)
