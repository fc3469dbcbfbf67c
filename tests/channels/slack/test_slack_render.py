"""SL13 to SL15: whatever people, tools and models write becomes messages that Slack takes, and can not pose as ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.people import Actor
from bot.core.values import Artifact, Fact
from bot.core.views import CardView, SayView, View, WhisperView
from channels.slack.dialogs import Place, deny_modal
from channels.slack.mrkdwn import clean, cut_escaped, escape, from_markdown, split
from channels.slack.render import SlackPost, render_view
from channels.slack.simulator.limits import check_message, check_view

URL = (
    "https://bot.example/view/post/t0123456789abcdef01234567/t0123456789abcdef01234567%3A12%3A0?until=1&signature="
    + ("0" * 40)
)
REQUEST = "qYk3Zt0rQx1nB7cV5mL9pW2sD4fG6hJ8"

UNHURRIED = settings(deadline=None)
"""The suite has its own limit; a busy machine is no failure."""

NASTY = st.sampled_from(
    [
        *("", " ", "\n\n\n", "&" * 75, "<" * 200, "&amp;" * 40, "`" * 30, "```\ncode", "```" * 9, "*bold* _it_ ~no~"),
        *("<!channel>", "<!here|x>", "<@U0LENA>", "<#C0DEPLOYS>", "<https://evil.example|https://good.example>"),
        *(
            "👍🏽" * 20,
            "👩‍👩‍👧‍👦",
            "שלום עולם",
            "مرحبا",
            "\u202egnp.exe",
            "\u0000\u0007",
            "\u200e",
            "\u200b",
            "e\u0301" * 50,
        ),
        *("word " * 8_000, "x" * 40_000, "&" * 3_001, "\n" * 9_000, "<" * 40_000, "&lt" * 1_000),
        *("[good.example](https://evil.example/?good.example)", "**bold** __dunder__ ~~gone~~", "- a\n- b\n# Title"),
        *(("```\n" + "log line & more <b>\n" * 900 + "```\nafter"), "https://x.example/__init__.py?a=1&b=2 " * 120),
    ]
)
TEXT = st.one_of(NASTY, st.text(max_size=200), st.lists(NASTY, max_size=4).map("".join))
SHORT = TEXT.map(lambda text: text[:75])
ACTORS = st.builds(
    Actor,
    kind=st.just("person"),
    id=st.just("p"),
    name=TEXT.map(lambda text: text[:100]),
    address=st.sampled_from(["slack:T0ACME/U0LENA", "", "slack:T0ACME/<!channel>"]),
)
CARDS = st.builds(
    CardView,
    kind=st.sampled_from(["approval", "question", "activity"]),
    title=TEXT,
    request_id=st.just(REQUEST),
    open=st.booleans(),
    context=TEXT,
    facts=st.lists(st.builds(Fact, label=SHORT, value=TEXT.map(lambda text: text[:1_900])), max_size=45).map(tuple),
    warnings=st.lists(TEXT, max_size=9).map(tuple),
    details=TEXT,
    format=st.sampled_from(["free_text", "yes_no", "multiple_choice"]),
    choices=st.one_of(st.lists(TEXT.map(lambda text: text[:150]), max_size=120)).map(tuple),
    risk=st.sampled_from(["low", "medium", "high"]),
    dangerous=st.booleans(),
    deciders=st.lists(ACTORS, max_size=14).map(tuple),
    expires_at=st.one_of(st.none(), st.just(1_774_000_000.0)),
    status=TEXT,
    mood=st.sampled_from(["open", "good", "bad", "quiet", "busy"]),
    artifact=st.one_of(st.none(), st.builds(Artifact, name=st.just("output-5"), size_bytes=st.just(2_000), title=TEXT)),
)
VIEWS = st.one_of(
    CARDS,
    st.builds(SayView, text=TEXT, tone=st.sampled_from(["answer", "notice", "problem"])),
    st.builds(WhisperView, address=st.just("slack:T0ACME/U0ANA"), text=TEXT),
)
ENTITY = re.compile(r"<([^<>]*)>")
OURS = re.compile(r"@U0LENA|!date\^1774000000\^\{date_short_pretty\} \{time\}\|[-0-9: ]+UTC")


def told(part: object) -> Iterator[str]:
    """Every mrkdwn text in blocks."""
    if isinstance(part, list):
        for one in cast("list[object]", part):
            yield from told(one)
    elif isinstance(part, dict):
        found = cast("dict[str, Any]", part)
        if found.get("type") == "mrkdwn":
            yield found["text"]
        for value in found.values():
            yield from told(value)


def shown(post: SlackPost) -> str:
    """The message, as one text."""
    return "\n".join([post.text, *told(post.blocks)])


@UNHURRIED
@given(view=VIEWS)
def test_slack_takes_every_message(view: View) -> None:
    """SL13, SL14: blocks and fallback text are within all limits, whatever stands in the view."""
    post = render_view(view, full_text_url=URL, artifact_url=URL)
    check_message({"text": post.text, "blocks": post.blocks})
    assert post.blocks


@UNHURRIED
@given(view=VIEWS)
def test_nothing_that_was_written_becomes_mark_up_of_slacks(view: View) -> None:
    """SL14: the only mentions, dates and links in a message are those that the bot made itself."""
    post = render_view(view, full_text_url=URL, artifact_url=URL)
    for text in told(post.blocks):
        for entity in ENTITY.findall(text):
            assert OURS.fullmatch(entity) or entity.startswith(("https://", "http://"))
            if isinstance(view, CardView):
                assert OURS.fullmatch(entity) or entity.startswith(URL)
        left = ENTITY.sub("", text)
        assert "<" not in left
        assert ">" not in left
        assert not re.search(r"&(?!amp;|lt;|gt;)", left)
    assert not re.search(r"[<>]", post.text)


@UNHURRIED
@given(view=VIEWS)
def test_no_text_runs_backwards_or_rings(view: View) -> None:
    """SL14: control characters and direction overrides are gone; letters of any script stay."""
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f]", shown(render_view(view)))


@UNHURRIED
@given(text=TEXT)
def test_an_answer_is_shown_to_its_end_or_says_that_it_is_cut(text: str) -> None:
    """SL13: cutting is visible and the whole text is linked, for answers as for notices."""
    for tone in ("answer", "notice"):
        post = render_view(SayView(text + "\nTHE-END", "answer" if tone == "answer" else "notice"), full_text_url=URL)
        whole = "".join(told(post.blocks))
        assert "THE-END" in whole or ("cut here" in whole and URL in whole)


@UNHURRIED
@given(view=CARDS)
def test_a_card_shows_everything_or_says_that_it_is_cut(view: CardView) -> None:
    """SL13, AP14: a fact, a warning or a line that does not fit is missed visibly."""
    post = render_view(view, full_text_url=URL)
    whole = "\n".join(told(post.blocks))
    plain = [one["text"]["text"] for one in post.blocks if one["type"] == "section" and "text" in one]
    parts = [view.details.replace("```", "'''"), *view.warnings]
    values = [field["text"] for one in post.blocks for field in one.get("fields", ()) if field["type"] == "plain_text"]
    facts = [clean(fact.value).strip().replace("\n", "\n│ ") or "–" for fact in view.facts]
    complete = all(escape(part) in whole for part in parts) and (
        clean(view.context) in [*plain, ""] or not clean(view.context).strip()
    )
    complete = complete and facts == values
    assert complete or ("cut here" in whole and URL in whole)


@UNHURRIED
@given(view=CARDS)
def test_a_button_carries_nothing_but_the_requests_id(view: CardView) -> None:
    """SL15: no digest, no argument and no choice stands in what comes back from a click."""
    for block in render_view(view).blocks:
        for element in block.get("elements", ()):
            if block["type"] != "actions":
                continue
            assert block["block_id"] == f"request:{REQUEST}"
            if element["type"] == "button":
                assert element["value"] == REQUEST
                assert re.fullmatch(r"approve|deny|ask|edit|answer:\d", element["action_id"])
            else:
                assert [one["value"] for one in element["options"]] == [
                    str(at) for at in range(len(element["options"]))
                ]


@UNHURRIED
@given(view=CARDS)
def test_only_an_open_request_has_buttons(view: CardView) -> None:
    """Decision by button, 4: a card that is decided can not be clicked; an approval that is open always can."""
    buttons = [block for block in render_view(view).blocks if block["type"] == "actions"]
    assert view.open or not buttons
    assert buttons or not (view.open and view.kind == "approval")


@UNHURRIED
@given(title=TEXT)
def test_the_dialog_for_a_reason_fits_whatever_is_denied(title: str) -> None:
    """SL13: the modal's title, texts and metadata are within their limits."""
    check_view(deny_modal(Place(REQUEST, "C0DEPLOYS", "1774000000.000100", "C0DEPLOYS/1.2"), title))


@UNHURRIED
@given(text=TEXT, limit=st.integers(min_value=20, max_value=4_000))
def test_cutting_never_leaves_half_an_entity(text: str, limit: int) -> None:
    """SL13: what is cut is within the limit, is seen to be cut, and has no torn `&amp;`."""
    kept = cut_escaped(escape(text), limit)
    assert len(kept) <= limit
    assert kept == escape(text) or kept.endswith("… [cut]")
    assert not re.search(r"&(?!amp;|lt;|gt;)", kept)


@UNHURRIED
@given(text=TEXT, limit=st.integers(min_value=60, max_value=4_000))
def test_splitting_keeps_every_word_and_every_fence_closed(text: str, limit: int) -> None:
    """SL13: the pieces are within the limit and hold all of the text, and code stays code in each."""
    pieces = split(from_markdown(text), limit)
    assert all(len(piece) <= limit for piece in pieces)
    assert all(sum(line == "```" for line in piece.split("\n")) % 2 == 0 for piece in pieces)
    assert _bare("".join(pieces)) == _bare(from_markdown(text))


def _bare(text: str) -> str:
    return re.sub(r"\s|```", "", text)


@pytest.mark.parametrize(
    ("markdown", "mrkdwn"),
    [
        ("**done** and __done__", "*done* and *done*"),
        ("# Release **1.4**", "*Release 1.4*"),
        ("- one\n* two", "• one\n• two"),
        ("~~old~~ `a < b`", "~old~ `a &lt; b`"),
        ("`**not bold**`", "`**not bold**`"),
        ("```python\na ** b\n```", "```\na ** b\n```"),
        ("[notes](https://x.example/a?b=1&c=2)", "notes (<https://x.example/a?b=1&amp;c=2>)"),
        ("[x.example/a](https://x.example/a)", "<https://x.example/a|x.example/a>"),
        ("[https://x.example](https://x.example)", "<https://x.example|https://x.example>"),
        ("[code](https://x.example/__init__.py)", "code (<https://x.example/__init__.py>)"),
        ("[good.example](https://evil.example/good.example)", "good.example (<https://evil.example/good.example>)"),
        ("[a](javascript:alert(1))", "[a](javascript:alert(1))"),
        ("<!channel> <@U0ANA>", "&lt;!channel&gt; &lt;@U0ANA&gt;"),
    ],
)
def test_markdown_becomes_slacks_own_mark_up(markdown: str, mrkdwn: str) -> None:
    """SL14: escaped first; a link shows where it leads unless its label says exactly that."""
    assert from_markdown(markdown) == mrkdwn


def test_a_dangerous_approval_asks_twice() -> None:
    """Decision by button, 5: `style: danger` and a confirm dialog that repeats the facts."""
    facts = (Fact(label="Environment", value="production"), Fact(label="Release", value="v1.4.0 (0c1d2e3)"))
    view = CardView("approval", "Deploy v1.4.0", REQUEST, open=True, facts=facts, risk="high", dangerous=True)
    approve, *others = render_view(view).blocks[-1]["elements"]
    assert approve["style"] == "danger"
    assert "v1.4.0 (0c1d2e3)" in approve["confirm"]["text"]["text"]
    assert [one["text"]["text"] for one in others] == ["Deny …", "Ask first …", "Change it …"]
    assert not any("style" in one or "confirm" in one for one in others)


def test_choices_that_are_too_long_for_buttons_are_written_out() -> None:
    """SL13: two choices that differ only behind the cut can be told apart."""
    choices = ("a" * 100 + " one", "a" * 100 + " two")
    post = render_view(CardView("question", "Which?", REQUEST, open=True, format="multiple_choice", choices=choices))
    assert all(choice in shown(post) for choice in choices)


def test_many_deciders_are_counted() -> None:
    """SL13: whoever is not named is at least counted."""
    many = tuple(Actor(kind="person", id=f"p{at}", name=f"Person {at}") for at in range(12))
    view = CardView("approval", "Deploy", REQUEST, open=True, deciders=many)
    assert "and 2 more" in shown(render_view(view))
