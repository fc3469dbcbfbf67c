"""The interactive parts of blocks, and what Slack reports about them when a person uses one.

Pure: it reads blocks and builds the `actions` and `state` of an interaction. A person can only use what is there.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from channels.slack.simulator.records import Json, Message

Values = dict[str, dict[str, Any]]
"""What a person entered in a modal: block id -> action id -> text, an option's value, or a list of option values."""

_SINGLE_CHOICE = {"static_select", "overflow", "radio_buttons"}
_MANY_CHOICES = {"checkboxes", "multi_static_select"}


class NotThereError(LookupError):
    """The message or modal holds no such button, option or input."""


def interactive(blocks: Iterable[Json]) -> Iterator[tuple[Json, Json]]:
    """Each (block, element) of the blocks that a person can use, in reading order."""
    for block in blocks:
        for element in (block.get("accessory"), block.get("element"), *(block.get("elements") or ())):
            if element and element.get("action_id"):
                yield block, element


def card_actions(message: Message) -> dict[str, Json]:
    """The buttons and selects of a message: action id -> element; empty once a card has been decided."""
    return {element["action_id"]: element for _, element in interactive(message.blocks)}


def options(element: Json) -> list[Json]:
    """The options of a select, those of its groups included."""
    grouped = [option for group in element.get("option_groups", []) for option in group["options"]]
    return [*element.get("options", []), *grouped]


def used(message: Message, action_id: str, value: str | None, ts: str) -> tuple[Json, Json]:
    """What Slack reports of one use: the entry of `actions`, and `state.values`. Raises `NotThereError`.

    `value` picks the option of a select; for a button it is only needed to tell two with one action id apart.
    """
    for block, element in interactive(message.blocks):
        if element["action_id"] != action_id:
            continue
        if element["type"] == "button" and value not in {None, element.get("value")}:
            continue
        action: Json = {"action_id": action_id, "block_id": block["block_id"], "type": element["type"]}
        if element["type"] == "button":
            action |= {key: element[key] for key in ("text", "value", "style") if key in element}
        else:
            action |= _entered(element, value)
        action["action_ts"] = ts
        return action, _state(message, block["block_id"], action)
    raise NotThereError(f"no {action_id} (value {value}) in message {message.ts}: it has {[*card_actions(message)]}")


def _state(message: Message, block_id: str, action: Json) -> Json:
    values: Json = {}
    for block, element in interactive(message.blocks):
        if element["type"] == "button":
            continue
        entry = {"type": element["type"], "selected_option": element.get("initial_option")}
        if (block["block_id"], element["action_id"]) == (block_id, action["action_id"]):
            keys = ("type", "selected_option", "selected_options", "value")
            entry = {key: action[key] for key in keys if key in action}
        values.setdefault(block["block_id"], {})[element["action_id"]] = entry
    return values


def submitted(view: Json, entered: Values) -> tuple[Json, dict[str, str]]:
    """A modal's `state.values`, and what Slack's own client would object to: block id -> words.

    Raises `NotThereError` when something was entered that the modal does not ask for.
    """
    asked = {(block["block_id"], element["action_id"]) for block, element in interactive(view["blocks"])}
    for block_id, by_action in entered.items():
        for action_id in by_action:
            if (block_id, action_id) not in asked:
                raise NotThereError(f"no input {block_id}/{action_id}: the modal asks for {sorted(asked)}")
    values: Json = {}
    objections: dict[str, str] = {}
    for block, element in interactive(view["blocks"]):
        if element["type"] == "button":
            continue
        block_id, action_id = block["block_id"], element["action_id"]
        value = entered.get(block_id, {}).get(action_id, _initial(element))
        values.setdefault(block_id, {})[action_id] = {"type": element["type"], **_entered(element, value)}
        if not value and block["type"] == "input" and not block.get("optional"):
            objections[block_id] = "Please complete this required field."
        elif isinstance(value, str) and len(value) > element.get("max_length", 3_000):
            objections[block_id] = f"Please enter no more than {element.get('max_length', 3_000)} characters."
        elif isinstance(value, str) and value and len(value) < element.get("min_length", 0):
            objections[block_id] = f"Please enter at least {element['min_length']} characters."
    return values, objections


def _initial(element: Json) -> Any:  # noqa: ANN401 - text, an option's value, or a list of them
    if element["type"] in _MANY_CHOICES:
        return [option["value"] for option in element.get("initial_options", [])]
    if option := element.get("initial_option"):
        return option["value"]
    return next((element[key] for key in element if key.startswith("initial_")), None)


def _entered(element: Json, value: Any) -> Json:  # noqa: ANN401 - see Values
    kind = element["type"]
    if kind in _SINGLE_CHOICE:
        return {"selected_option": _option(element, value) if value else None}
    if kind in _MANY_CHOICES:
        chosen: list[str] = [value] if isinstance(value, str) else value or []
        return {"selected_options": [_option(element, one) for one in chosen]}
    picked = {"datepicker": "selected_date", "timepicker": "selected_time", "datetimepicker": "selected_date_time"}
    if kind.endswith("_select"):
        return {f"selected_{kind.removesuffix('s_select')}": value}
    return {picked.get(kind, "value"): value or None}


def _option(element: Json, value: str) -> Json:
    for option in options(element):
        if option["value"] == value:
            return option
    raise NotThereError(f"no option {value} in {element['action_id']}: it has {[o['value'] for o in options(element)]}")
