"""AP16: no token of the bot's gets into a record, by whichever field it comes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logs import LENA, REQUEST_ID, T0, asks_approval, at, call, chose, decided, opened, prepared

from bot.core import events as e
from bot.core.audit import entries_of
from bot.core.audit_record import Fingerprints, pruned, shorten
from bot.core.events import Event, event_to_json
from bot.core.people import Actor
from bot.core.tokens import LENGTH, Tokens, read_token, without_tokens
from bot.core.values import Conversation, Fact, Preview

MARKS = Fingerprints.of(b"a key of the tests")
POST = f"t{'0f' * 12}:5:0"
TOKEN = Tokens(b"secret").make("trace", POST, "email:lena@acme.example", T0)
DIGEST = "2345abcdef" * 6 + "2345"
REPLAYS = sorted((Path(__file__).parents[1] / "replay").glob("*.jsonl"))
BASE32 = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
MADE_UP = st.text(alphabet=BASE32, min_size=LENGTH, max_size=LENGTH).filter(
    lambda it: not set(it.lower()) <= set("abcdef234567")
)


def told(*events: Event) -> str:
    """What the audit says of a log."""
    return json.dumps([one.entry for one in entries_of("t1", [event_to_json(one).encode() for one in events], MARKS)])


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (TOKEN, "[token]"),
        (TOKEN.upper(), "[token]"),
        (TOKEN.title(), "[token]"),
        (f"<{TOKEN}.70faf2e428@acme.example>", "<[token].70faf2e428@acme.example>"),
        (f"email:bot+{TOKEN}@acme.example", "email:bot+[token]@acme.example"),
        (f"https://bot.example/decide/{TOKEN}?x=1", "https://bot.example/decide/[token]?x=1"),
        (f"SRS0=ab=cd=acme.example=bot+{TOKEN}@relay.example", "SRS0=ab=cd=acme.example=bot+[token]@relay.example"),
        (f"x{TOKEN}y", "[token]"),
        (f"bot%2B{TOKEN}", "bot%[token]"),
        (f"0{TOKEN}1 {TOKEN}", "0[token]1 [token]"),
        (f"é{TOKEN}é", "é[token]é"),
        (TOKEN * 3, "[token]"),
        (TOKEN[:-1], TOKEN[:-1]),
        ("482190", "482190"),
        ("YES 482190", "YES 482190"),
        (DIGEST, DIGEST),
        (f"sha256:{DIGEST.upper()} it is", f"sha256:{DIGEST.upper()} it is"),
        (f"{DIGEST}{TOKEN}", "[token]"),
        ("t" + "0f" * 12, "t" + "0f" * 12),
        ("7624a6f1c0ffee0123456789abcdef0123456789", "7624a6f1c0ffee0123456789abcdef0123456789"),
        ("", ""),
    ],
)
def test_a_token_is_blanked_in_whatever_it_stands(text: str, left: str) -> None:
    """AP16: in any case, glued to anything, several of them; ids, codes and digests stay as they are."""
    assert without_tokens(text) == left


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=BASE32 + "0189.+-@< é", max_size=60), MADE_UP)
def test_nothing_is_left_that_reads_as_a_token(around: str, made_up: str) -> None:
    """AP16: whatever `read_token` would take, wherever in a text it begins, is gone; and twice changes nothing."""
    half = len(around) // 2
    left = without_tokens(f"{around[:half]}{made_up}{around[half:]}")
    assert not [n for n in range(len(left)) if read_token(left[n : n + LENGTH])]
    assert without_tokens(left) == left


def test_a_mail_of_ours_that_comes_back_is_on_record_without_its_token() -> None:
    """AP16, EM15: its Message-ID, and a reply address as its sender: who and which is told, and nothing to use."""
    back = e.InboundRefused(
        at=T0,
        channel="email",
        address=f"email:bot+{TOKEN}@acme.example",
        rule="EM15",
        why="our own",
        source=f"<{TOKEN}.70faf2e428@acme.example> {DIGEST}",
    )
    (entry,) = json.loads(told(back))
    assert entry["address"] == "email:bot+[token]@acme.example"
    assert entry["source"] == f"<[token].70faf2e428@acme.example> {DIGEST}"
    assert told(back) == told(back)


def test_no_field_of_a_record_holds_one() -> None:
    """AP16: names, addresses, ids, titles, facts, places, summaries, lists: whatever comes from outside."""
    somebody = Actor(
        kind="unknown", id=f"email:{TOKEN}@x.example", name=f"Lena {TOKEN}", address=f"email:{TOKEN}@x.example",
        authenticated_by=f"dmarc by {TOKEN}",
    )  # fmt: skip
    shown = Preview(title=f"Write {TOKEN}", facts=(Fact(label=TOKEN, value=f"see /decide/{TOKEN}"),))
    exact = prepared(3, asks_approval(), writes=True)
    assert isinstance(exact, e.CallPrepared)
    ask = opened(3)
    assert isinstance(ask, e.RequestOpened)
    request = ask.request.model_copy(
        update={"preview": shown, "requesters": (f"email:{TOKEN}@x.example",), "edited_by": TOKEN, "entry": TOKEN}
    )
    text = told(
        e.ThreadLaunched(at=T0, agent="a", by=somebody, conversation=Conversation(channel="email", ref=f"<{TOKEN}@x>")),
        e.MessageReceived(at=T0, text=TOKEN, by=somebody, source=f"<{TOKEN}.1@acme.example>"),
        chose("write", 2),
        exact.model_copy(update={"prepared": exact.prepared.model_copy(update={"preview": shown})}),
        ask.model_copy(update={"request": request}),
        e.DecisionRefused(
            at=T0, request_id=REQUEST_ID, verdict="approve", by=somebody, why=TOKEN, rule="late", source=f"<{TOKEN}@y>"
        ),
        decided("approve", by=LENA, digest=request.digest),
        e.ToolStarted(at=at(2), call_id=call(3), place=TOKEN),
        e.ToolFinished(at=at(3), call_id=call(3), result=TOKEN, summary=f"wrote {TOKEN}", seconds=1.5),
    )
    assert TOKEN not in text
    assert text.count("[token]") > 20


@pytest.mark.parametrize("padding", [*range(440, 520, 7), 290, 300])
def test_a_token_is_not_left_half_by_cutting(padding: int) -> None:
    """AP16: a text is cut after it was blanked: all but a few characters of a token are almost as good as all."""
    begun = TOKEN[:20]
    assert begun not in json.dumps(pruned({"source": f"{'-' * padding}{TOKEN}{'-' * 400}"}))
    assert begun not in shorten(f"{'-' * (padding - 200)}{TOKEN}{'-' * 400}", 300)


@pytest.mark.parametrize("path", REPLAYS, ids=lambda path: path.stem)
def test_the_golden_logs_lose_nothing_else(path: Path) -> None:
    """Their records are as they were: what is no token is not touched."""
    head, *lines = path.read_bytes().splitlines()
    found = [one.entry for one in entries_of(json.loads(head)["thread"], lines, MARKS)]
    assert found
    assert "[token]" not in json.dumps(found)


def test_a_token_is_made_for_many_people_and_not_for_any_number() -> None:
    """EM7: the four-thousandth copy has one that is read again; what does not fit is refused, not cut."""
    tokens = Tokens(b"a key")
    post = f"t{'0' * 24}:7:4095"
    claim = read_token(tokens.make("reply", post, "email:a@b.c", T0))
    assert claim
    assert claim.post_id == post
    assert tokens.fits("reply", claim, "email:a@b.c", T0)
    for late in (f"t{'0' * 24}:7:4096", f"t{'0' * 24}:{1 << 20}:0"):
        with pytest.raises(ValueError, match="no token is made"):
            tokens.make("reply", late, "email:a@b.c", T0)
