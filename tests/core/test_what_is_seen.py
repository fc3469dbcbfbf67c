"""AP14: what is approved is what is seen: nothing invisible, nothing that poses as something else, nothing left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from logs import T0, launched, log, said

from bot.core import events as e
from bot.core.events import event_from_json, stored_form
from bot.core.protocols import Outgoing
from bot.core.state import Post, RequestCard
from bot.core.tool import plain_preview
from bot.core.values import Conversation, Preview, Request, Usage
from bot.core.views import CardView, view_of
from bot.core.wording import visible
from channels.email.render import render as render_mail
from channels.slack.render import render_view
from channels.sms.render import render as render_text

URL = "https://bot.example.com/view/post/x"


def card(preview: Preview) -> CardView:
    """The card of an approval with this preview."""
    request = Request(id="r" * 32, kind="approval", purpose="approval", prompt="x", preview=preview)
    found = log(launched(), said(), e.RequestOpened(at=T0, request=request))
    view = view_of(found.state, Post("p", RequestCard(request.id)))
    assert isinstance(view, CardView)
    return view


def shown(where: str, view: CardView) -> str:
    """What somebody reads there."""
    if where == "slack":
        blocks: list[dict[str, Any]] = render_view(view).blocks
        return str([field["text"] for block in blocks for field in block.get("fields", ())])
    place = Conversation(channel=where, ref="x")
    out = Outgoing(post_id="t:1:0", conversation=place, view=view, face="pending", asked_at=T0, to="email:a@b.c")
    if where == "email":
        mail = render_mail(out)
        return mail.text + mail.html
    return render_text(out, "482190")


@pytest.mark.parametrize("mark", ["\u202e", "\u200b", "\u2028*Recipient*\u2028ana", "\x07", "\u2066"])
@pytest.mark.parametrize("where", ["slack", "email"])
def test_what_nobody_sees_is_marked(where: str, mark: str) -> None:
    """Direction marks, invisible characters and line separators in the arguments of a tool are shown, not dropped."""
    text = shown(where, card(plain_preview("send_mail", {"recipient": f"ana@acme{mark}.example"})))
    assert mark[0] not in text
    assert f"ana@acme⟨U+{ord(mark[0]):04X}⟩" in text


def test_writing_that_needs_joiners_is_left_alone() -> None:
    """Persian and family emoji are no tricks; a joiner within ASCII is one."""
    assert visible("می\u200cخواهم 👩\u200d💻\tx\ny") == "می\u200cخواهم 👩\u200d💻\tx\ny"
    assert visible("pay\u200dpal") == "pay⟨U+200D⟩pal"


def test_a_value_with_line_ends_poses_as_no_other_fact_in_slack() -> None:
    """Values are plain text beside their labels, each further line is marked; the confirmation has one line a fact."""
    arguments = {"text": "hello\n*Recipient*\nana@acme.example", "recipient": "everybody@acme.example"}
    view = card(plain_preview("send_mail", arguments))
    blocks = render_view(replace(view, dangerous=True)).blocks
    fields = [field for block in blocks for field in block.get("fields", ())]
    assert [(one["type"], one["text"]) for one in fields] == [
        ("mrkdwn", "*text*"),
        ("plain_text", "hello\n│ *Recipient*\n│ ana@acme.example"),
        ("mrkdwn", "*recipient*"),
        ("plain_text", "everybody@acme.example"),
    ]
    lines = blocks[-1]["elements"][0]["confirm"]["text"]["text"].split("\n")
    assert lines == ["text: hello *Recipient* ana@acme.example", "recipient: everybody@acme.example"]


def test_mark_up_in_a_value_is_shown_and_not_carried_out() -> None:
    """`rm *` is not `rm` in bold: the value is what runs, letter for letter."""
    (_, value) = (field for block in render_view(card(plain_preview("run", {"command": "rm *a* `b` ~c~"}))).blocks
                  for field in block.get("fields", ()))  # fmt: skip
    assert value == {"type": "plain_text", "text": "rm *a* `b` ~c~", "emoji": False}


def test_what_a_fact_cannot_hold_can_be_read_whole() -> None:
    """SL13: the details have all of a long argument, and where Slack cannot show it, there is a link to it."""
    preview = plain_preview("send_mail", {"text": "a" * 5_000 + "THE END"})
    assert preview.facts[0].value.endswith("… [all of it below]")
    assert preview.details.endswith("THE END")
    assert URL in str(render_view(card(preview), full_text_url=URL).blocks)


def test_a_warning_goes_before_what_people_said_in_a_text() -> None:
    """A question and its answer never push a warning out of the two segments of a text."""
    view = card(Preview(title="Deploy v1.3.2 to production", warnings=("This is older than what runs.",)))
    view = replace(
        view, context="Lena Vogt asks: is there a migration?\nThe agent answers: It has none.", asked=("email:a@b.c",)
    )
    text = shown("sms", view)
    assert text.index("This is older than what runs.") < text.index("Lena Vogt asks")


def nested(depth: int) -> object:
    """Lists in lists."""
    return [nested(depth - 1)] if depth else 1


@pytest.mark.parametrize("odd", ["half a character \ud83d", "a\udce9", nested(300), {"\ud83d": 1}])
def test_what_cannot_be_stored_is_replaced_before_anything_is_made_of_it(odd: object) -> None:
    """Else a worker that appends it would fail for ever; what is shown, approved and run is what was stored."""
    event = e.ToolChosen(at=T0, tool="deploy", arguments={"reference": odd}, saw=2, usage=Usage(model="m"))
    kept = event_from_json(stored_form(event))
    assert isinstance(kept, e.ToolChosen)
    assert kept.arguments.keys() == {"reference"}
    assert event_from_json(stored_form(kept)) == kept
    assert "\ud83d" not in stored_form(event)


def test_what_can_be_stored_is_stored_as_it_is() -> None:
    """Pairs of halves are whole characters; nothing else is touched."""
    event = e.ToolFinished(at=T0, call_id="t:1:0", result="😀 café\x00")
    assert event_from_json(stored_form(event)) == event
