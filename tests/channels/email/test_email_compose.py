"""EM7, EM10, EM16, EM23: the head of a mail, as the one who gets its bytes reads it."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.protocols import Outgoing
from bot.core.values import Conversation
from bot.core.views import SayView, View, WhisperView
from channels.email.compose import compose, compose_notice
from channels.email.render import MailContent, render
from channels.email.trail import Trail

SENDER = "bot@acme.example"
TOKEN = "k5" * 22 + "a"
AT = datetime(2026, 3, 20, 9, 0, tzinfo=UTC)
POST = "t0123456789abcdef01234567:5:0"
TRAIL = Trail(subject="production is slow", message_id="<2@mx.acme.example>", references=("<1@mx.acme.example>",))
OUTGOING = Outgoing(
    post_id=POST,
    conversation=Conversation(channel="email", ref="ana@acme.example/7"),
    view=SayView("v1.4.0 runs.", "answer"),
    face="answer",
    to="email:lena@acme.example",
    reply_token=TOKEN,
    trace_token=TOKEN,
    bounce_token=TOKEN,
)
BAD_CHARACTERS = ("\r", "\n", "\r\nBcc: evil@evil.example", "\x00", "\x0b", "\x85", "\u2028")


def composed(
    outgoing: Outgoing = OUTGOING, *, subject: str = "Approval needed: x", sender: str = SENDER
) -> EmailMessage:
    """The mail, with a subject that is not taken from the view."""
    content = replace(render(outgoing), subject=subject)
    return compose(outgoing, content, sender, AT)


def read(message: EmailMessage) -> EmailMessage:
    """The same as its recipient parses it from the bytes."""
    return email.message_from_bytes(message.as_bytes(), policy=email.policy.default)


def test_the_head_of_a_mail() -> None:
    """EM7, EM16, EM23: one recipient, an address for replies that names the post, and a machine's marks."""
    found = read(composed())
    assert found["From"] == "Switchboard <bot@acme.example>"
    assert found["To"] == "lena@acme.example"
    assert found["Reply-To"] == f"bot+{TOKEN}@acme.example"
    assert found["Auto-Submitted"] == "auto-generated"
    assert found["X-Auto-Response-Suppress"] == "All"
    assert found["Date"].datetime == AT
    assert found["In-Reply-To"] is None
    assert found.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in found.iter_parts()] == ["text/plain", "text/html"]


def test_the_message_id_stays_over_retries_and_names_post_face_and_recipient() -> None:
    """EM10: the same sending has the same bytes; another face or recipient is another mail."""
    first = composed().as_bytes()
    assert first == composed(replace(OUTGOING, in_doubt=True)).as_bytes()
    ids = {
        composed(one)["Message-ID"]
        for one in (
            OUTGOING,
            replace(OUTGOING, face="other"),
            replace(OUTGOING, trace_token="b" * 45),
            replace(OUTGOING, trace_token=""),
            replace(OUTGOING, trace_token="", post_id=f"{POST}1"),
        )
    }
    assert len(ids) == 5
    assert composed()["Message-ID"].startswith(f"<{TOKEN}.")
    assert all(one.endswith("@acme.example>") for one in ids)


def test_an_answer_stands_below_the_mail_it_answers() -> None:
    """EM10: the subject of the thread with one `Re:`, and the whole chain."""
    found = read(composed(replace(OUTGOING, trail=TRAIL.model_dump_json())))
    assert found["Subject"] == "Re: production is slow"
    assert found["In-Reply-To"] == "<2@mx.acme.example>"
    assert found["References"].split() == ["<1@mx.acme.example>", "<2@mx.acme.example>"]


@pytest.mark.parametrize("subject", ["Re: x", "RE: re: x", "AW: x", "Re[2]: x", "x"])
def test_re_stands_once(subject: str) -> None:
    """EM10: however the trail's subject came, it is answered with one `Re:`."""
    trail = Trail(subject=subject, message_id="<2@mx.acme.example>")
    assert read(composed(replace(OUTGOING, trail=trail.model_dump_json())))["Subject"] == "Re: x"


def test_what_follows_stands_below_the_first_mail() -> None:
    """EM10: without a trail the subject is that of the first mail; with one the chain ends in the first mail."""
    first = composed()
    follow_up = replace(OUTGOING, ref=first["Message-ID"], face="approved")
    alone = read(composed(follow_up))
    assert alone["Subject"] == "Re: Approval needed: x"
    assert alone["In-Reply-To"] == alone["References"] == first["Message-ID"]
    assert alone["Message-ID"] != first["Message-ID"]
    below = read(composed(replace(follow_up, trail=TRAIL.model_dump_json())))
    assert below["Subject"] == "Re: production is slow"
    assert below["In-Reply-To"] == first["Message-ID"]
    assert below["References"].split() == ["<1@mx.acme.example>", "<2@mx.acme.example>", first["Message-ID"]]


def test_a_long_chain_keeps_its_ends_and_its_ids() -> None:
    """EM10: first and last 50, no id broken, and no line longer than a server takes."""
    ids = tuple(f"<{'x' * 120}.{at}@a-rather-long-host-name.mail.acme.example>" for at in range(200))
    trail = Trail(subject="x", message_id="<last@acme.example>", references=ids)
    message = composed(replace(OUTGOING, trail=trail.model_dump_json()))
    assert read(message)["References"].split() == [ids[0], *ids[-49:], "<last@acme.example>"]
    assert max(map(len, message.as_bytes().split(b"\r\n"))) < 998


def test_ids_that_are_none_are_left_out() -> None:
    """EM23: what a stranger's mail called its id never starts a header of ours."""
    trail = Trail(
        subject="x", message_id="<a@b>\r\nBcc: <evil@evil.example>", references=("none", "<[abc]>", "<a b@c>", "<ü@c>")
    )
    found = read(composed(replace(OUTGOING, trail=trail.model_dump_json())))
    assert found["Bcc"] is None
    assert found["References"] == found["In-Reply-To"] == "<[abc]>"


@pytest.mark.parametrize("bad", BAD_CHARACTERS)
def test_a_header_that_would_start_another_is_refused(bad: str) -> None:
    """EM23: in a subject, a recipient, a token or the sender; a trail's subject is made one line."""
    with pytest.raises(ValueError, match="subject"):
        composed(subject=f"Hello{bad}x")
    with pytest.raises(ValueError, match="address"):
        composed(replace(OUTGOING, to=f"email:lena@acme.example{bad}"))
    with pytest.raises(ValueError, match="token"):
        composed(replace(OUTGOING, reply_token=f"{TOKEN}{bad}"))
    with pytest.raises(ValueError, match="address"):
        composed(sender=f"{SENDER}{bad}")
    trail = Trail(subject=f"Hello{bad} x", message_id="<2@acme.example>")
    assert read(composed(replace(OUTGOING, trail=trail.model_dump_json())))["Bcc"] is None


@pytest.mark.parametrize(
    "to",
    [
        *("lena", "@acme.example", "lena@", "lena @acme.example", "a@b@acme.example", "<lena@acme.example>", ""),
        *(
            "Lena <lena@acme.example>",
            "lena@acme.example, omar@acme.example",
            "lena@-acme.example",
            "lena@acme..example",
        ),
        *(f"{'x' * 65}@acme.example", "lénà@acme.example", '"lena x"@acme.example', ".lena@acme.example"),
    ],
)
def test_only_plain_addresses_are_written_to(to: str) -> None:
    """EM23: whatever a server could read as something else is refused, without repeating it."""
    with pytest.raises(ValueError, match="address") as refused:
        composed(replace(OUTGOING, to=f"email:{to}"))
    assert not to or to not in str(refused.value)


def test_an_international_domain_is_written_in_ascii() -> None:
    """EM23: the wire holds its IDNA form."""
    assert composed(replace(OUTGOING, to="email:lena@bücher.example"))["To"] == "lena@xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("ref", "address"),
    [("ana@acme.example", "ana@acme.example"), ("a/na@acme.example/x@y/z", "a/na@acme.example")],
)
def test_without_a_person_the_conversation_says_who(ref: str, address: str) -> None:
    """The address at the start of the conversation is the recipient."""
    outgoing = replace(OUTGOING, to="", conversation=Conversation(channel="email", ref=ref))
    assert composed(outgoing)["To"] == address


def test_another_channels_address_is_refused() -> None:
    """A Slack id is no mailbox."""
    with pytest.raises(ValueError, match="no mail address"):
        composed(replace(OUTGOING, to="slack:T0ACME/U0LENA"))


def test_a_sender_without_room_for_the_token_is_refused() -> None:
    """EM7: the local part of the reply address is at most 64 characters."""
    fits = f"{'b' * 18}@acme.example"
    assert len(composed(sender=fits)["Reply-To"].partition("@")[0]) == 64
    with pytest.raises(ValueError, match="no room"):
        composed(sender=f"b{fits}")


@pytest.mark.parametrize(
    ("view", "expected"),
    [(SayView("x", "answer"), "auto-generated"), (WhisperView("email:lena@acme.example", "x"), "auto-replied")],
)
def test_receipts_are_marked_as_replies(view: View, expected: str) -> None:
    """EM16."""
    assert composed(replace(OUTGOING, view=view))["Auto-Submitted"] == expected


def test_a_notice_stands_below_the_mail_it_is_about() -> None:
    """EM16: marked as a reply, without a token, and the same for the same seed."""
    notice = compose_notice(
        "eve@other.example", "Not taken", "I do not know you.", sender=SENDER, in_reply_to=TRAIL, now=AT, seed="s"
    )
    found = read(notice)
    assert found["Auto-Submitted"] == "auto-replied"
    assert found["Reply-To"] is None
    assert found["Subject"] == "Re: production is slow"
    assert found["In-Reply-To"] == "<2@mx.acme.example>"
    again, other = (
        compose_notice("eve@other.example", "Not taken", "x", sender=SENDER, in_reply_to=Trail(), now=AT, seed=seed)
        for seed in ("s", "other")
    )
    assert again["Message-ID"] == notice["Message-ID"] != other["Message-ID"]
    assert read(again)["Subject"] == "Not taken"


PRINTABLE = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Zs"), include_characters=" "), min_size=1
)


@settings(deadline=None)
@given(words=PRINTABLE, text=st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=300))
def test_any_subject_and_text_arrive_as_they_were(words: str, text: str) -> None:
    """EM23: Unicode survives the wire, which carries ASCII in short lines only."""
    subject = " ".join(words.split())[:150] or "x"
    raw = compose(OUTGOING, MailContent(subject, f"{text}\n", f"<p>{len(text)}</p>\n"), SENDER, AT).as_bytes()
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 100
    found = email.message_from_bytes(raw, policy=email.policy.default)
    assert found["Subject"] == subject
    plain = found.get_body(("plain",))
    assert plain is not None
    assert plain.get_content().replace("\r\n", "\n") == f"{text}\n"


@pytest.mark.parametrize("subject", ["=?utf-8?q?evil?=", "a" * 150, "ä" * 150, "日本 " * 40 + "x", "Grüße — für dich"])
def test_odd_subjects_arrive_as_they_were(subject: str) -> None:
    """EM23: what looks encoded is not decoded, and long words are not torn."""
    assert read(composed(subject=subject))["Subject"] == subject
