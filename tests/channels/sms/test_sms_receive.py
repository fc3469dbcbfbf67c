"""SM3 to SM6, SM11: what Twilio's forms mean, and what a text says about a code."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.sms.receive import (
    STATUS_RANKS,
    Intent,
    StatusReport,
    address_of,
    conversation_of,
    outcome_of,
    read_intent,
    read_status,
    read_text,
)

SID = "SM" + "0123456789abcdef" * 2
NUMBER = "+12025550111"
FORM = {"From": "+12025550111", "To": "+12025550100", "Body": "hello", "MessageSid": SID, "NumMedia": "0"}


def test_a_text_is_read() -> None:
    """SM3: who, what, and the id that it is deduped by."""
    text = read_text({**FORM, "NumMedia": "2"})
    assert text is not None
    assert (text.number, text.to, text.text, text.sid, text.opt, text.media) == (
        "+12025550111",
        "+12025550100",
        "hello",
        SID,
        None,
        2,
    )
    assert address_of(text.number) == "sms:+12025550111"
    assert conversation_of(text.number).ref == "+12025550111"


@pytest.mark.parametrize(
    "change",
    [
        {"From": ""},
        {"From": "12025550111"},
        {"From": "+1202555"},
        {"From": "+12025550111;ext=1"},
        {"From": "+１２０２５５５０１１１"},
        {"From": "whatsapp:+12025550111"},
        {"From": "ACME"},
        {"From": "+999" + "1" * 11},
        {"To": ""},
        {"To": "+" * 41},
        {"MessageSid": ""},
        {"MessageSid": "SM1"},
        {"MessageSid": SID + "\n"},
        {"NumMedia": "-1"},
        {"NumMedia": "9" * 20},
        {"NumMedia": "x"},
    ],
)
def test_what_no_phone_sent_is_nothing(change: dict[str, str]) -> None:
    """SM7: only a possible number in E.164 is a sender; a malformed form is None, never an error."""
    assert read_text({**FORM, **change}) is None


@pytest.mark.parametrize("name", ["From", "To", "Body", "MessageSid"])
def test_a_missing_field_is_nothing(name: str) -> None:
    """SM3: nothing is guessed."""
    assert read_text({key: value for key, value in FORM.items() if key != name}) is None


def test_a_text_that_is_too_long_is_seen_to_be_cut() -> None:
    """SM9: cutting never makes an approval of something longer."""
    text = read_text({**FORM, "Body": "yes 482190" + " " * 2_000 + "but not today"})
    assert text is not None
    assert len(text.text) == 1_600
    assert read_intent(text.text).verdict is None


def test_half_a_character_does_not_break_the_log() -> None:
    """SM2: what is stored can be stored."""
    text = read_text({**FORM, "Body": "a\ud800b"})
    assert text is not None
    assert text.text == "a?b"


@pytest.mark.parametrize(
    ("body", "opt"),
    [
        *(
            (word, "stop")
            for word in ("STOP", "Unsubscribe", "end", "QUIT", "stopall", "REVOKE", "OptOut", " cancel\n")
        ),
        *((word, "start") for word in ("START", "yes", "Yes ", "UNSTOP")),
        *((word, None) for word in ("stop please", "yes!", "Stop.", "yes 482190", "no", "", "HELP", "stop stop")),
    ],
)
def test_keywords(body: str, opt: str | None) -> None:
    """SM4: the whole text, in any case, exactly as Twilio takes it."""
    text = read_text({**FORM, "Body": body})
    assert text is not None
    assert text.opt == opt


@pytest.mark.parametrize(("said", "opt"), [("STOP", "stop"), ("START", "start"), ("HELP", None), ("other", None)])
def test_twilios_word_about_a_keyword_wins(said: str, opt: str | None) -> None:
    """SM4: with Advanced Opt-Out the list of words is Twilio's customer's, so its field counts and not the text."""
    text = read_text({**FORM, "Body": "arrêt" if said != "HELP" else "stop", "OptOutType": said})
    assert text is not None
    assert text.opt == opt


APPROVE = ("YES 482190", "482190 yes", "yes 482 190", "482-190 approve", "４８２１９０ ＹＥＳ", "yes ٤٨٢١٩٠",
           "YES 482190.",
           "(482190) Yes!", "yes: 482190", "  yes\n482190 ", "ja 482190", "oui 482190", "sí 482190", "承認482190",
           "482190 Approved", "lgtm #482190")  # fmt: skip
DENY = (("no 482190", ""), ("482190 NO", ""), ("No, 482190", ""),
        ("no 482190 because it is broken", "because it is broken"),
        ("482190 no, use v1.3.9", "use v1.3.9"), ("nein 482190: kaputt", "kaputt"), ("482190却下", ""),
        ("deny 482190\nbroken", "broken"), ("482190\nno\nbroken", "broken"), ("482190 rejected - why now?", "why now?"),
        ("no 482 190", ""))  # fmt: skip
NEITHER = (
    ("482190", "482190", "", False),
    ("482 190", "482190", "", False),
    ("482190 2", "482190", "2", False),
    ("Answer 482190 use v1.3.9", "482190", "Answer use v1.3.9", False),
    ("482190: use v1.3.9", "482190", "use v1.3.9", False),
    ("yes 482190 but not today", "482190", "yes but not today", True),
    ("yes 482190\nbut not today", "482190", "yes but not today", True),
    ("not yes 482190", "482190", "not yes", True),
    ("don't say no 482190", "482190", "don't say no", True),
    ("please approve 482190", "482190", "please approve", True),
    ("no 482190 yes", "482190", "no yes", True),
    ("yes 482190?", "482190", "yes ?", True),
    ("yes? 482190", "482190", "yes?", False),
    ("yes 482190 482190", "482190", "yes", True),
    ("482190 ok", "482190", "ok", False),
    ("ye\u200bs 482190", "482190", "ye\u200bs", False),
    ("yes 482190 no 123456", None, "yes 482190 no 123456", True),
    ("yes", None, "yes", False),
    ("no", None, "no", False),
    ("", None, "", False),
    ("what is on production?", None, "what is on production?", False),
    ("yes 1482190", None, "yes 1482190", False),
    ("yes v1.482190", None, "yes v1.482190", False),
    ("yes 482190a", None, "yes 482190a", False),
    ("yes +482190", None, "yes +482190", False),
    ("yes 482190.5", None, "yes 482190.5", False),
    ("yes 482.190", None, "yes 482.190", False),
    ("no 482 190 because", None, "no 482 190 because", False),
    ("deploy 100 200", None, "deploy 100 200", False),
    ("order 482190-1", None, "order 482190-1", False),
)


@pytest.mark.parametrize("text", APPROVE)
def test_a_word_and_the_code_and_nothing_else_approve(text: str) -> None:
    """SM5, SM6: in either order, in several languages, whatever digits the keyboard has."""
    assert read_intent(text) == Intent("482190", "approve", "", stray=False)


@pytest.mark.parametrize(("text", "reason"), DENY)
def test_a_denial_may_have_a_reason(text: str, reason: str) -> None:
    """SM6: the word beside the code, and what follows is why."""
    assert read_intent(text) == Intent("482190", "deny", reason, stray=False)


@pytest.mark.parametrize(("text", "code", "rest", "stray"), NEITHER)
def test_anything_less_than_that_decides_nothing(text: str, code: str | None, rest: str, *, stray: bool) -> None:
    """SM6: never "the most recent", never a guess."""
    assert read_intent(text) == Intent(code, None, rest, stray=stray)


@settings(deadline=None)
@given(text=st.text(max_size=80), other=st.text(alphabet="abc xyz", min_size=1, max_size=20))
def test_no_text_approves_with_anything_beside_it(text: str, other: str) -> None:
    """SM6: hostile input is never an error, a verdict never comes without a code, and one word more is no approval."""
    intent = read_intent(text)
    assert intent.code is not None or intent.verdict is None
    if other.strip():
        assert read_intent(f"yes 482190 {other}").verdict is None
        assert read_intent(f"{other} 482190 yes").verdict is None


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        ("queued", None, None),
        ("accepted", None, None),
        ("sending", None, None),
        ("sent", None, None),
        ("delivered", None, "delivered"),
        ("read", None, "delivered"),
        *(("undelivered", code, "undeliverable") for code in (21610, 21614, 21635, 21211, 30005, 30006)),
        *(("undelivered", code, "retry") for code in (30003, 30001, 30022, 21611)),
        ("undelivered", 30007, "filtered"),
        ("failed", 30007, "filtered"),
        ("failed", 30001, "retry"),
        *(("failed", code, "failed") for code in (30036, 30008, 12345, None)),
        ("canceled", None, "failed"),
        ("sent", 30006, None),
    ],
)
def test_outcomes(status: str, code: int | None, outcome: str | None) -> None:
    """SM11: each error has its class, and nothing is said before a text's way is over."""
    assert outcome_of(StatusReport(SID, status, code, "t:1:0", NUMBER)) == outcome


def test_a_status_report_is_read() -> None:
    """SM11: Twilio's form and our own query together."""
    form = {"MessageSid": SID, "MessageStatus": "undelivered", "ErrorCode": "30003", "To": NUMBER}
    assert read_status(form, {"post": "t0123:12:0"}) == StatusReport(SID, "undelivered", 30003, "t0123:12:0", NUMBER)
    plain = read_status({"MessageSid": SID, "MessageStatus": "sent"}, {"post": "t:1:0"})
    assert plain == StatusReport(SID, "sent", None, "t:1:0", "")


@pytest.mark.parametrize(
    ("form", "query"),
    [
        ({}, {}),
        ({"MessageSid": SID, "MessageStatus": "sent"}, {}),
        ({"MessageSid": SID, "MessageStatus": "sent"}, {"post": "x" * 201}),
        ({"MessageSid": SID, "MessageStatus": "new-status"}, {"post": "t:1:0"}),
        ({"MessageSid": "x", "MessageStatus": "sent"}, {"post": "t:1:0"}),
    ],
)
def test_a_report_about_nothing_is_nothing(form: dict[str, str], query: dict[str, str]) -> None:
    """SM11: never an error."""
    assert read_status(form, query) is None


def test_statuses_have_an_order() -> None:
    """SM11: a late `sent` is older than `delivered`, and final ones do not replace each other."""
    order = ["queued", "sending", "sent", "delivered"]
    assert [STATUS_RANKS[one] for one in order] == [0, 1, 2, 3]
    assert {
        StatusReport(SID, one, None, "p", NUMBER).rank for one in ("delivered", "undelivered", "failed", "read")
    } == {3}
