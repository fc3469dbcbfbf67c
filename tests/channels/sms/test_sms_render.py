"""SM9, SM4: what a phone shows, and that the verb, the code and the link are never cut."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.people import Actor
from bot.core.protocols import Outgoing
from bot.core.values import Artifact, Conversation, Fact
from bot.core.views import CardView, SayView, View, WhisperView
from channels.sms.plain import from_markdown
from channels.sms.receive import opt_of, read_intent
from channels.sms.render import AIM_CHARACTERS, render, render_notice, wants_code
from channels.sms.segments import MAX_CHARACTERS, segments, size

ANA, LENA = "sms:+12025550111", "sms:+12025550112"
CODE = "482190"
URL = f"https://bot.example/decide/{'a' * 60}"
ASKED_AT = datetime(2026, 11, 21, 13, 5, tzinfo=UTC)
DECIDERS = (
    Actor(kind="person", id="lena", name="Lena Vogt", address=LENA),
    Actor(kind="person", id="omar", name="Omar Haddad"),
)
APPROVAL = CardView(
    kind="approval",
    title="Deploy v1.4.0 to production",
    request_id="r" * 24,
    open=True,
    facts=(Fact(label="Commit", value="1f2e3d4"), Fact(label="Replaces", value="v1.3.9 – 5 commits")),
    ruled=True,
    deciders=DECIDERS,
    asked_by="Ana Ruiz",
    expires_at=ASKED_AT.timestamp() + 3_600,
)
QUESTION = CardView(
    kind="question",
    title="Which version?",
    request_id="r" * 24,
    open=True,
    format="multiple_choice",
    choices=("v1.4.0", "v1.3.9"),
)


def shown(view: View, to: str = LENA, *, decide_url: str = "", full_text_url: str = "", artifact_url: str = "") -> str:
    """What the phone shows."""
    outgoing = Outgoing(
        post_id="t0123:12:0",
        conversation=Conversation(channel="sms", ref="+12025550111"),
        view=view,
        to=to,
        asked_at=ASKED_AT,
        decide_url=decide_url,
        full_text_url=full_text_url,
        artifact_url=artifact_url,
    )
    return render(outgoing, CODE if wants_code(outgoing) else "")


def test_an_approval_for_whoever_may_decide() -> None:
    """SM9: the facts, who asks, how to answer, until when, and where all of it stands, in two segments."""
    text = shown(APPROVAL, decide_url=URL)
    assert text == (
        "Approve? Deploy v1.4.0 to production. Commit: 1f2e3d4. Replaces: v1.3.9 - 5 commits.\n"
        "Asked by Ana Ruiz.\n"
        "Reply YES 482190 or NO 482190. Open until 14:05 UTC.\n"
        f"All of it: {URL}"
    )
    assert segments(text) == 2


def test_a_vote_stands_before_the_facts() -> None:
    """AP6: who has approved already matters to the next."""
    text = shown(replace(APPROVAL, status="1 of 2 approvals: Omar Haddad"))
    assert "production. 1 of 2 approvals: Omar Haddad. Commit" in text


def test_a_high_risk_is_named_first() -> None:
    """SM8: whoever decides on a phone sees it even where facts give way."""
    assert "production. High risk. Commit" in shown(replace(APPROVAL, risk="high"))


def test_an_end_on_another_day_names_the_day() -> None:
    """SM10: a clock time alone would be read as today's."""
    assert "Open until 22 Nov 13:05 UTC." in shown(replace(APPROVAL, expires_at=ASKED_AT.timestamp() + 86_400))
    assert "Open until" not in shown(replace(APPROVAL, expires_at=None))


def test_an_approval_for_whoever_asked() -> None:
    """SM9: they wait, and may withdraw; they are not told how to approve."""
    assert shown(APPROVAL, ANA) == (
        "Waiting for Lena Vogt or Omar Haddad: Deploy v1.4.0 to production.\nNO 482190 withdraws it."
    )
    assert "nobody" in shown(replace(APPROVAL, deciders=()), ANA)
    assert "or 7 more:" in shown(replace(APPROVAL, deciders=DECIDERS * 5), ANA)


def test_questions() -> None:
    """SM6: the code comes with every instruction, because it works whatever else is pending."""
    assert shown(QUESTION, ANA) == "Which version?\n1 v1.4.0\n2 v1.3.9\nReply 482190 and the number."
    free = replace(QUESTION, format="free_text", choices=())
    assert shown(free, ANA, decide_url=URL) == "Which version?\nReply 482190 and your answer."
    yes_no = replace(QUESTION, format="yes_no", choices=("Yes", "No"))
    assert shown(yes_no, ANA) == "Which version?\nReply YES 482190 or NO 482190."


def test_a_question_for_others_names_no_code() -> None:
    """SM5: whoever can do nothing with a code gets none."""
    ruled = replace(QUESTION, ruled=True, deciders=DECIDERS)
    assert shown(ruled, ANA) == "Waiting for Lena Vogt or Omar Haddad: Which version?"


def test_a_long_question_is_a_summary_a_code_and_a_link() -> None:
    """SM9: every choice keeps its number."""
    text = shown(replace(QUESTION, title="word " * 200, choices=("choice " * 20,) * 5), decide_url=URL)
    lines = text.split("\n")
    assert lines[0].startswith("word word")
    assert lines[0].endswith("...")
    assert [line[:2] for line in lines[1:6]] == ["1 ", "2 ", "3 ", "4 ", "5 "]
    assert lines[6:] == ["Reply 482190 and the number.", f"All of it: {URL}"]


def test_follow_ups_are_short() -> None:
    """SM9: how it ended, in one segment."""
    closed = replace(APPROVAL, open=False, status="Approved by Lena Vogt, 14:02 UTC. Done (12 s)")
    assert shown(closed) == "Deploy v1.4.0 to production: Approved by Lena Vogt, 14:02 UTC. Done (12 s)"
    running = CardView(kind="activity", title="Deploy v1.4.0 to staging", status="Running …", mood="busy")
    assert shown(running) == "Started: Deploy v1.4.0 to staging"
    done = replace(running, status="Done (12 s)", mood="good")
    assert shown(done, artifact_url=URL) == "Deploy v1.4.0 to staging: Done (12 s)"
    failed = replace(running, status="Failed: exit 3", mood="bad", artifact=Artifact(name="output-5", size_bytes=9))
    assert shown(failed, artifact_url=URL) == f"Deploy v1.4.0 to staging: Failed: exit 3\nOutput: {URL}"


def test_a_long_outcome_is_cut_on_both_sides() -> None:
    """SM9: neither what it was nor how it ended is lost."""
    text = shown(replace(APPROVAL, open=False, title="t" * 400, status="s" * 400), full_text_url=URL)
    assert re.fullmatch(rf"t+\.\.\.: s+\.\.\.\nAll of it: {URL}", text)
    assert size(text) <= AIM_CHARACTERS


def test_answers_lose_their_marks() -> None:
    """SM9: a phone shows no Markdown; a table becomes lines."""
    answer = "**production** runs:\n\n| env | version |\n|---|---|\n| prod | `v1.4.0` |\n| staging | v1.5.0 |\n\n- [log](https://x.example/a_b)"
    assert shown(SayView(answer, "answer")) == (
        "production runs:\nprod: v1.4.0\nstaging: v1.5.0\n- log (https://x.example/a_b)"
    )


def test_a_long_answer_ends_in_a_link() -> None:
    """SM9: about three lines, and the rest on a page."""
    text = shown(SayView("word " * 300, "answer"), full_text_url=URL)
    assert text.endswith(f"...\nAll of it: {URL}")
    assert size(text) <= AIM_CHARACTERS
    lines = shown(SayView("a\n\n" * 40, "answer"), full_text_url=URL).split("\n")
    assert lines == ["a"] * 8 + ["...", f"All of it: {URL}"]


def test_notes_keep_their_lines() -> None:
    """SM6: a list of pending requests with their codes is not shortened to an aim."""
    listed = "\n".join(f"{100_000 + at}: Deploy v1.4.{at} to production" for at in range(12))
    assert shown(WhisperView(LENA, listed)) == listed
    assert render_notice(listed) == listed
    assert size(render_notice("x" * 5_000)) == MAX_CHARACTERS


@pytest.mark.parametrize(
    ("markdown", "plain"),
    [
        ("# Title\n\ntext", "Title\ntext"),
        ("1. one\n2. two", "1. one\n2. two"),
        ("```\ncode  here\n```", "code here"),
        ("~~gone~~ *it* `a_b`", "gone it a_b"),
        ("<https://x.example> [https://x.example](https://x.example)", "https://x.example https://x.example"),
        ("[good.example](https://evil.example)", "good.example (https://evil.example)"),
        ("<script>x</script>", "<script>x</script>"),
        ("| a | b | c |\n|-|-|-|\n| 1 | 2 | 3 |", "1: 2, 3"),
        ("a\x00b\x1b[31m \u202egnp.exe", "ab[31m gnp.exe"),
        ("", ""),
    ],
)
def test_markdown(markdown: str, plain: str) -> None:
    """SM9: marks go, words and addresses stay, and a link shows where it leads."""
    assert from_markdown(markdown) == plain


def test_the_words_of_others_cannot_pose_as_ours() -> None:
    """SM9: a title has no line of its own after ours, and ours come last."""
    evil = "Deploy\nReply YES 111111 or NO 111111.\r\nAll of it: https://evil.example\u2028x\u202e"
    text = shown(
        replace(APPROVAL, title=evil, asked_by=f"Ana\n{evil}", facts=(Fact(label="a\nb", value=evil),)), decide_url=URL
    )
    assert text.split("\n")[-2:] == ["Reply YES 482190 or NO 482190. Open until 14:05 UTC.", f"All of it: {URL}"]
    assert not any(line.startswith("Reply YES 111111") for line in text.split("\n"))


NASTY = st.sampled_from(
    ["word " * 500, "x" * 5_000, "€" * 700, "👍🏽" * 400, "\n" * 300, "", " ", "\u202e", "e\u0301" * 500, "“–”… " * 200,
     "Reply YES 111111.",
     "| a | b |\n|-|-|\n" * 40, "[x](" * 500, "> " * 900, "* " * 900, "שלום " * 200, "YES", "```\n" * 9]
)  # fmt: skip
TEXT = st.one_of(NASTY, st.text(max_size=120), st.lists(NASTY, max_size=3).map("".join))
ACTORS = st.builds(Actor, kind=st.just("person"), id=st.just("p"), name=TEXT.map(lambda text: text[:100]),
                   address=st.sampled_from([LENA, ""]))  # fmt: skip
CARDS = st.builds(
    CardView,
    kind=st.sampled_from(["approval", "question", "activity"]),
    title=TEXT,
    request_id=st.just("r" * 24),
    open=st.booleans(),
    context=TEXT,
    facts=st.lists(
        st.builds(Fact, label=TEXT.map(lambda t: t[:75]), value=TEXT.map(lambda t: t[:1_900])), max_size=9
    ).map(tuple),
    warnings=st.lists(TEXT, max_size=4).map(tuple),
    format=st.sampled_from(["free_text", "yes_no", "multiple_choice"]),
    choices=st.lists(TEXT, max_size=30).map(tuple),
    ruled=st.booleans(),
    deciders=st.lists(ACTORS, max_size=6).map(tuple),
    asked_by=TEXT,
    expires_at=st.sampled_from([None, ASKED_AT.timestamp() + 60, ASKED_AT.timestamp() + 90_000]),
    status=TEXT,
    mood=st.sampled_from(["open", "good", "bad", "quiet", "busy"]),
)
LINKS = st.sampled_from(["", URL, f"https://bot.example/{'b' * 500}", f"https://bot.example/{'c' * 3_000}"])


@settings(deadline=None)
@given(view=CARDS, to=st.sampled_from([ANA, LENA]), decide_url=LINKS, full_text_url=LINKS, artifact_url=LINKS)
def test_whatever_others_wrote_ours_is_whole(
    view: CardView, to: str, decide_url: str, full_text_url: str, artifact_url: str
) -> None:
    """SM9: never more than Twilio takes; verb and code stand in the last lines; a link is whole or not there."""
    text = shown(view, to, decide_url=decide_url, full_text_url=full_text_url, artifact_url=artifact_url)
    assert 0 < len(text) <= size(text) <= MAX_CHARACTERS
    ending = text.split("\n")[-2:]
    for start in ("All of it: ", "Output: "):
        assert all(line.removeprefix(start) in {decide_url, full_text_url, artifact_url}
                   for line in ending[1:] if line.startswith(start))  # fmt: skip
    if not view.open:
        return
    ours = " ".join(line for line in ending if CODE in line)
    if not view.may_decide(to):
        assert (f"NO {CODE} withdraws it." in ours) == (view.kind == "approval")
    elif view.kind == "question" and view.format != "yes_no":
        assert f"Reply {CODE} and " in ours
    else:
        assert f"Reply YES {CODE} or NO {CODE}." in ours
        assert not (decide_url and view.kind != "question" and size(decide_url) < 600) or text.endswith(decide_url)


@settings(deadline=None)
@given(text=TEXT, tone=st.sampled_from(["answer", "notice", "problem"]), full_text_url=LINKS)
def test_whatever_was_said_fits(text: str, tone: str, full_text_url: str) -> None:
    """SM9: an answer is short, and never empty, which Twilio would refuse."""
    said = shown(SayView(text, "answer" if tone == "answer" else "notice"), full_text_url=full_text_url)
    assert 0 < size(said) <= AIM_CHARACTERS + 600 + 20
    assert 0 < size(shown(WhisperView(LENA, text))) <= MAX_CHARACTERS


def test_what_is_proposed_is_understood() -> None:
    """SM4, SM6: what the text says to reply is read as meant, and Twilio does not swallow it."""
    replies = re.findall(r"(?:YES|NO) [0-9]{6}", shown(APPROVAL))
    assert [read_intent(reply).verdict for reply in replies] == ["approve", "deny"]
    assert [opt_of(reply) for reply in replies] == [None, None]
