"""Slack's limits on what an app may send (rule SL13), with Slack's own words for each breach.

Pure: it reads payloads and names problems. It must never be more lenient than Slack on a limit that it lists; where
Slack is vague, it is the stricter one. Shapes and numbers: docs.slack.dev/reference/block-kit.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, cast

from channels.slack.simulator.records import Json

MESSAGE_BLOCKS, MODAL_BLOCKS = 50, 100
TEXT_CHARS = 40_000
SECTION_CHARS, FIELDS, FIELD_CHARS, HEADER_CHARS = 3_000, 10, 2_000, 150
CONTEXT_ELEMENTS, ACTIONS_ELEMENTS = 10, 25
MARKDOWN_CHARS = 12_000
MESSAGE_CHARS = 13_200
"""What a whole message's blocks may hold: undocumented, measured in slackapi/bolt-js issue 2509."""
ID_CHARS, BUTTON_CHARS, BUTTON_VALUE_CHARS = 255, 75, 2_000
CONFIRM_TITLE, CONFIRM_TEXT, CONFIRM_BUTTON = 100, 300, 30
OPTIONS, OPTION_CHARS, OPTION_VALUE_CHARS = 100, 75, 150
MODAL_CHARS, PRIVATE_METADATA_CHARS = 24, 3_000
LABEL_CHARS, PLACEHOLDER_CHARS, ALT_CHARS = 2_000, 150, 2_000

_CHOICES = {"static_select", "multi_static_select", "overflow", "radio_buttons", "checkboxes"}
_PICKERS = {
    *("datepicker", "timepicker", "datetimepicker", "users_select", "multi_users_select"),
    *("conversations_select", "multi_conversations_select", "channels_select", "multi_channels_select"),
}
_TYPED = {"plain_text_input", "number_input", "email_text_input", "url_text_input"}
_ELEMENTS = {
    "section": {"button", "image", *_CHOICES, *_PICKERS},
    "actions": {"button", *_CHOICES, *_PICKERS},
    "input": {*_TYPED, *_PICKERS, *_CHOICES} - {"overflow"},
}
_OPTION_LIMITS = {"overflow": 5, "radio_buttons": 10, "checkboxes": 10}


class BreachError(ValueError):
    """The payload is refused: `error` is Slack's error string, `details` its list of explanations."""

    def __init__(self, error: str, details: Iterable[str] = ()) -> None:
        super().__init__(error)
        self.error = error
        self.details = list(details)

    def answer(self) -> Json:
        """The body that Slack answers."""
        if not self.details:
            return {"ok": False, "error": self.error}
        messages = [f"[ERROR] {detail}" for detail in self.details]
        return {"ok": False, "error": self.error, "errors": self.details, "response_metadata": {"messages": messages}}


def check_message(args: Json) -> list[Json]:
    """Judge the arguments of a message and return its blocks, decoded; raises `BreachError`."""
    blocks = _decoded_list(args.get("blocks"))
    text = args.get("text") or ""
    if not text and not blocks and not args.get("attachments"):
        raise BreachError("no_text")
    if not isinstance(text, str):
        raise BreachError("invalid_arguments", ["must be a string [json-pointer:/text]"])
    if len(text) > TEXT_CHARS:
        raise BreachError("msg_too_long")
    _check_metadata(args.get("metadata"))
    inspection = _Inspection(modal=False)
    inspection.blocks(blocks)
    if inspection.problems:
        raise BreachError("invalid_blocks", inspection.problems)
    if inspection.markdown_chars > MARKDOWN_CHARS or inspection.total_chars > MESSAGE_CHARS:
        raise BreachError("msg_blocks_too_long")
    return blocks


def check_view(raw: object) -> Json:
    """Judge a modal and return it, decoded; raises `BreachError`."""
    try:
        view: object = json.loads(raw) if isinstance(raw, str) else raw
    except json.JSONDecodeError:
        view = None
    if not isinstance(view, dict):
        raise BreachError("invalid_arguments", ["must be a valid view [json-pointer:/view]"])
    modal = cast("Json", view)
    inspection = _Inspection(modal=True)
    inspection.view(modal)
    if inspection.problems:
        raise BreachError("invalid_arguments", inspection.problems)
    return modal


def _decoded_list(raw: object) -> list[Json]:
    if raw is None or raw == "":
        return []
    try:
        blocks: object = json.loads(raw) if isinstance(raw, str) else raw
    except json.JSONDecodeError:
        blocks = None
    if not isinstance(blocks, list):
        raise BreachError("invalid_blocks_format")
    return cast("list[Json]", blocks)


def _check_metadata(raw: object) -> None:
    if raw is None:
        return
    try:
        metadata: object = json.loads(raw) if isinstance(raw, str) else raw
    except json.JSONDecodeError:
        metadata = None
    if not isinstance(metadata, dict):
        raise BreachError("invalid_metadata_format")
    fields = cast("Json", metadata)
    if not isinstance(fields.get("event_type"), str) or not isinstance(fields.get("event_payload"), dict):
        raise BreachError("invalid_metadata_schema")


class _Inspection:
    """A walk over blocks that collects every problem with its JSON pointer."""

    def __init__(self, *, modal: bool) -> None:
        self.modal = modal
        self.root = "/view/blocks" if modal else "/blocks"
        self.problems: list[str] = []
        self.markdown_chars = 0
        self.total_chars = 0

    def problem(self, what: str, at: str) -> None:
        self.problems.append(f"{what} [json-pointer:{at}]")

    def view(self, view: Json) -> None:
        if view.get("type") != "modal":
            self.problem(f"unsupported type: {view.get('type')}", "/view/type")
        self.text(view.get("title"), "/view/title", MODAL_CHARS, plain=True)
        for button in ("submit", "close"):
            if button in view:
                self.text(view[button], f"/view/{button}", MODAL_CHARS, plain=True)
        self.string(view.get("private_metadata", ""), "/view/private_metadata", PRIVATE_METADATA_CHARS, least=0)
        self.string(view.get("callback_id", ""), "/view/callback_id", ID_CHARS, least=0)
        blocks: object = view.get("blocks")
        if not isinstance(blocks, list):
            self.problem("missing required field: blocks", "/view")
            return
        listed = cast("list[Json]", blocks)
        self.blocks(listed)
        if "submit" not in view and any(block.get("type") == "input" for block in listed):
            self.problem("missing required field: submit", "/view")

    def blocks(self, blocks: list[Json]) -> None:
        most = MODAL_BLOCKS if self.modal else MESSAGE_BLOCKS
        if len(blocks) > most:
            self.problem(f"no more than {most} items allowed", self.root)
        for index, block in enumerate(blocks):
            self.block(block, f"{self.root}/{index}")
        self.unique([block.get("block_id") for block in blocks], "block_id", self.root)

    def block(self, block: Json, at: str) -> None:
        if block.get("block_id") is not None:
            self.string(block["block_id"], f"{at}/block_id", ID_CHARS, least=0)
        kinds: dict[str, Callable[[Json, str], None]] = {
            "section": self.section,
            "header": self.header,
            "context": self.context,
            "actions": self.actions,
            "input": self.input,
            "markdown": self.markdown,
            "rich_text": self.rich_text,
            "image": self.image,
        }
        if self.modal:
            del kinds["markdown"]
        if block.get("type") in kinds:
            kinds[block["type"]](block, at)
        elif block.get("type") != "divider":
            self.problem(f"unsupported type: {block.get('type')}", f"{at}/type")

    def header(self, block: Json, at: str) -> None:
        self.text(block.get("text"), f"{at}/text", HEADER_CHARS, plain=True)

    def input(self, block: Json, at: str) -> None:
        self.text(block.get("label"), f"{at}/label", LABEL_CHARS, plain=True)
        self.element(block.get("element"), f"{at}/element", _ELEMENTS["input"])

    def markdown(self, block: Json, at: str) -> None:
        # Its own limit counts over the whole message: see `check_message`.
        self.string(block.get("text"), f"{at}/text", sys.maxsize)
        self.markdown_chars += len(str(block.get("text")))
        self.total_chars += len(str(block.get("text")))

    def rich_text(self, block: Json, at: str) -> None:
        self.items(block.get("elements"), f"{at}/elements", sys.maxsize)
        self.total_chars += len(json.dumps(block.get("elements")))

    def image(self, block: Json, at: str) -> None:
        self.string(block.get("alt_text"), f"{at}/alt_text", ALT_CHARS)

    def section(self, block: Json, at: str) -> None:
        if "text" not in block and "fields" not in block:
            self.problem("must define either `fields` or `text`", at)
        if "text" in block:
            self.text(block["text"], f"{at}/text", SECTION_CHARS)
        if "fields" in block:
            for index, field in enumerate(self.items(block["fields"], f"{at}/fields", FIELDS)):
                self.text(field, f"{at}/fields/{index}", FIELD_CHARS)
        if "accessory" in block:
            self.element(block["accessory"], f"{at}/accessory", _ELEMENTS["section"])

    def context(self, block: Json, at: str) -> None:
        for index, element in enumerate(self.items(block.get("elements"), f"{at}/elements", CONTEXT_ELEMENTS)):
            if element.get("type") != "image":
                self.text(element, f"{at}/elements/{index}", SECTION_CHARS)

    def actions(self, block: Json, at: str) -> None:
        listed = self.items(block.get("elements"), f"{at}/elements", ACTIONS_ELEMENTS)
        for index, element in enumerate(listed):
            self.element(element, f"{at}/elements/{index}", _ELEMENTS["actions"])
        self.unique([element.get("action_id") for element in listed], "action_id", f"{at}/elements")

    def element(self, element: object, at: str, allowed: set[str]) -> None:
        if not isinstance(element, dict):
            self.problem("missing required field: element", at)
            return
        item = cast("Json", element)
        kind = item.get("type")
        if kind not in allowed:
            self.problem(f"unsupported type: {kind}", f"{at}/type")
            return
        if item.get("action_id") is not None:
            self.string(item["action_id"], f"{at}/action_id", ID_CHARS)
        if kind == "button":
            self.button(item, at)
        if kind in _CHOICES:
            self.choices(item, at, _OPTION_LIMITS.get(str(kind), OPTIONS))
        if "placeholder" in item:
            self.text(item["placeholder"], f"{at}/placeholder", PLACEHOLDER_CHARS, plain=True)
        if "confirm" in item:
            self.confirm(item["confirm"], f"{at}/confirm")

    def button(self, button: Json, at: str) -> None:
        self.text(button.get("text"), f"{at}/text", BUTTON_CHARS, plain=True)
        if "value" in button:
            self.string(button["value"], f"{at}/value", BUTTON_VALUE_CHARS)
        if button.get("style", "primary") not in {"primary", "danger"}:
            self.problem("must be a valid enum value", f"{at}/style")

    def choices(self, select: Json, at: str, most: int) -> None:
        if "option_groups" in select:
            groups = self.items(select["option_groups"], f"{at}/option_groups", OPTIONS)
            listed = [(group.get("options"), f"{at}/option_groups/{i}/options") for i, group in enumerate(groups)]
        else:
            listed = [(select.get("options"), f"{at}/options")]
        for options, where in listed:
            for index, option in enumerate(self.items(options, where, most)):
                self.text(option.get("text"), f"{where}/{index}/text", OPTION_CHARS)
                self.string(option.get("value"), f"{where}/{index}/value", OPTION_VALUE_CHARS)

    def confirm(self, confirm: object, at: str) -> None:
        if not isinstance(confirm, dict):
            self.problem("must be a valid confirm object", at)
            return
        item = cast("Json", confirm)
        self.text(item.get("title"), f"{at}/title", CONFIRM_TITLE, plain=True)
        self.text(item.get("text"), f"{at}/text", CONFIRM_TEXT)
        self.text(item.get("confirm"), f"{at}/confirm", CONFIRM_BUTTON, plain=True)
        self.text(item.get("deny"), f"{at}/deny", CONFIRM_BUTTON, plain=True)

    def text(self, text: object, at: str, most: int, *, plain: bool = False) -> None:
        if not isinstance(text, dict):
            self.problem(f"missing required field: {at.rsplit('/', 1)[1]}", at.rsplit("/", 1)[0])
            return
        item = cast("Json", text)
        allowed = {"plain_text"} if plain else {"plain_text", "mrkdwn"}
        if item.get("type") not in allowed:
            self.problem(f"unsupported type: {item.get('type')}", f"{at}/type")
        self.string(item.get("text"), f"{at}/text", most)
        self.total_chars += len(str(item.get("text")))

    def string(self, value: object, at: str, most: int, *, least: int = 1) -> None:
        if not isinstance(value, str):
            self.problem("must be a string", at)
        elif len(value) < least:
            self.problem(f"must be more than {least - 1} characters", at)
        elif len(value) > most:
            self.problem(f"must be less than {most + 1} characters", at)

    def items(self, items: object, at: str, most: int) -> list[Json]:
        if not isinstance(items, list) or not items:
            self.problem("no fewer than 1 items required", at)
            return []
        listed = cast("list[Any]", items)
        if len(listed) > most:
            self.problem(f"no more than {most} items allowed", at)
        return [cast("Json", item) if isinstance(item, dict) else {} for item in listed]

    def unique(self, ids: list[Any], name: str, at: str) -> None:
        for value, count in Counter(value for value in ids if value).items():
            if count > 1:
                self.problem(f"`{name}` {json.dumps(value)} already exists", at)
