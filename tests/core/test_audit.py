from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logs import (
    ANA,
    LENA,
    OMAR,
    PLACE,
    REQUEST_ID,
    STRANGER,
    T0,
    asks_approval,
    at,
    call,
    chose,
    decided,
    launched,
    opened,
    prepared,
    said,
)

from bot.core import events as e
from bot.core.audit import Unreadable, entries_of
from bot.core.audit_record import Fingerprints
from bot.core.chain import Tail, check, entry_in, linked
from bot.core.events import Event, event_to_json
from bot.core.values import Fact, Prepared, Preview, Request

MARKS = Fingerprints.of(b"a key of the tests")
REPLAYS = sorted((Path(__file__).parents[1] / "replay").glob("*.jsonl"))


def stored(*events: Event) -> list[bytes]:
    return [event_to_json(event).encode() for event in events]


def records(*events: Event) -> list[dict[str, Any]]:
    return [dict(found.entry) for found in entries_of("t1", stored(*events), MARKS)]


def question(purpose: str, *choices: str) -> Event:
    request = Request.model_validate(
        {"id": REQUEST_ID, "kind": "question", "purpose": purpose, "prompt": "Which one, dear?", "choices": choices}
    )
    return e.RequestOpened(at=T0, request=request)


WAITING = (launched(), said("please write"), chose("write", 2), prepared(3, asks_approval(), writes=True), opened(3))


# --- what is told


def test_an_approved_call_is_told_from_the_wish_to_the_result() -> None:
    """AP16: requester, person, address, authentication, digest, policy, time; and what ran and what came back."""
    story = records(
        *WAITING,
        decided("approve", digest="d"),
        e.ToolStarted(at=at(2), call_id=call(3), place="here"),
        e.ToolFinished(at=at(3), call_id=call(3), result="the whole output", summary="written", seconds=1.5),
    )
    assert [one["what"] for one in story] == [
        "launched", "said", "request_opened", "decided", "started", "succeeded",
    ]  # fmt: skip
    _, wish, asked, decision, start, result = story
    assert (wish["who"]["id"], wish["length"]) == ("ana", len("please write"))
    assert asked["policy"] == {
        "risk": "high", "roles": ["approver"], "persons": [], "approvals": 1, "four_eyes": True, "channels": [],
    }  # fmt: skip
    assert asked["requesters"] == ["ana"]
    assert asked["expires_at"] == "2026-03-20T10:00:00Z"
    assert decision["who"] == {"id": "lena", "kind": "person", "name": "Lena Vogt"}
    assert (decision["address"], decision["authenticated_by"]) == ("slack:T/U0LENA", "slack-signature")
    assert (decision["verdict"], decision["status"], decision["digest"]) == ("approve", "approved", "d")
    assert decision["request"] == asked["seq"] == 5
    assert decision["at"] == "2026-03-20T09:01:00Z"
    assert (start["approved_by"], start["place"], start["request"]) == (["lena"], "here", 5)
    assert re.fullmatch("[0-9a-f]{64}", start["digest"])
    assert (result["summary"], result["seconds"]) == ("written", 1.5)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            e.DecisionRefused(at=T0, request_id=REQUEST_ID, verdict="approve", by=STRANGER, why="no", rule="identity"),
            {"what": "refused", "rule": "identity", "verdict": "approve", "status": "pending", "request": 5},
        ),
        (
            e.DecisionRefused(at=T0, request_id="x" * 32, verdict="approve", by=LENA, why="no", rule="unknown"),
            {"what": "refused", "rule": "unknown", "request": None},
        ),
        (said("ok", LENA), {"what": "refused", "rule": "message", "verdict": "unclear", "status": "pending"}),
        (decided("deny", text="too risky"), {"what": "decided", "verdict": "deny", "status": "denied", "length": 9}),
        (decided("ask", text="why?"), {"what": "decided", "verdict": "ask", "status": "superseded", "length": 4}),
        (decided("edit"), {"what": "decided", "verdict": "edit", "status": "superseded"}),
        (e.RequestExpired(at=at(60), request_id=REQUEST_ID), {"what": "expired", "status": "expired", "request": 5}),
        (e.RequestReminded(at=at(30), request_id=REQUEST_ID, share=0.5), {"what": "reminded", "share": 0.5}),
        (
            e.RequestEscalated(at=T0, request_id=REQUEST_ID, step=0, deciders=(OMAR,)),
            {"what": "escalated", "asked": ["omar slack:T/U0OMAR"]},
        ),
        (e.Cancelled(at=T0, by=ANA), {"what": "cancelled", "status": "cancelled", "withdrawn": [5]}),
        (e.Paused(at=T0, by=ANA), {"what": "paused", "status": "paused"}),
        (e.Resumed(at=T0, by=ANA), {"what": "resumed", "status": "waiting"}),
        (chose("look", 5), {"what": "withdrawn", "withdrawn": [5]}),
        (e.RunFinished(at=T0, message="bye"), {"what": "withdrawn", "withdrawn": [5]}),
        (e.CallRefused(at=T0, call_id=call(3), why="it ran out"), {"what": "not_run", "rule": "approval"}),
        (
            e.PostReported(at=T0, post_id="t1:5:0", outcome="undeliverable", detail="550 no such user"),
            {"what": "undeliverable", "rule": "undeliverable", "post": "t1:5:0"},
        ),
        (
            e.PostFailed(at=T0, post_id="t1:5:0", face="pending", error="550 x", to="email:a@b.c", unreachable=True),
            {"what": "undeliverable", "rule": "unreachable", "address": "email:a@b.c"},
        ),
        (
            e.InboundRefused(at=T0, channel="email", address="email:x@y.z", rule="EM18", why="forged", source="<1@y>"),
            {"what": "turned_away", "rule": "EM18", "address": "email:x@y.z", "source": "<1@y>", "channel": "email"},
        ),
    ],
)  # fmt: skip
def test_what_happens_while_an_approval_waits_has_a_record(event: Event, expected: dict[str, Any]) -> None:
    """AP16: decisions, attempts that did not count, ends without a decision; each with the rule that was behind it."""
    last = records(*WAITING, event)[-1]
    assert last["seq"] == 6
    assert {key: last.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    "event",
    [
        e.RequestExpired(at=at(60), request_id=REQUEST_ID),
        e.RequestReminded(at=at(30), request_id=REQUEST_ID, share=0.5),
        e.FactsGathered(at=T0, agent="a", text="f"),
        e.PostSent(at=T0, post_id="t1:5:0", ref="C/1", face="denied"),
        e.PostReported(at=T0, post_id="t1:5:0", outcome="delivered"),
    ],
)
def test_what_came_to_nothing_has_no_record(event: Event) -> None:
    """A timer of a request that is settled, and the machine's own doings, are no part of the story."""
    before = records(*WAITING, decided("deny"))
    assert records(*WAITING, decided("deny"), event) == before


def test_a_post_that_went_elsewhere_is_told() -> None:
    """EM17: who was meant, and where it went instead."""
    request = Request.model_validate(
        {
            "id": REQUEST_ID, "kind": "approval", "purpose": "approval", "prompt": "p", "digest": "d",
            "copies": ["sms:+12025550102"],
        }
    )  # fmt: skip
    sent = e.PostSent(at=T0, post_id="t1:3:1", ref="m1", face="pending", to="email:lena@acme.example")
    last = records(launched(), said(), e.RequestOpened(at=T0, request=request), sent)[-1]
    assert (last["what"], last["address"], last["to"]) == ("rerouted", "sms:+12025550102", "email:lena@acme.example")


@pytest.mark.parametrize(
    ("finish", "what", "rule"),
    [
        (e.ToolFailed(at=T0, call_id=call(3), error="boom", summary="it broke"), "failed", None),
        (e.ToolInDoubt(at=T0, call_id=call(3), why="the worker died"), "in_doubt", None),
        (e.CallRefused(at=T0, call_id=call(3), why="ran out"), "not_run", "approval"),
    ],
)
def test_how_a_run_ended_is_told(finish: Event, what: str, rule: str | None) -> None:
    """A failure, a doubt and a refusal after the approval are three things."""
    started = e.ToolStarted(at=T0, call_id=call(3), place="here")
    last = records(launched(), said(), chose("look", 2), prepared(3), started, finish)[-1]
    assert (last["what"], last.get("rule"), last["tool"]) == (what, rule, "look")


def test_what_was_not_even_begun_says_why() -> None:
    """Invalid arguments, the policy's no and a failed look-up are told apart; only the policy's own words are kept."""
    begin = (launched(), said(), chose("look", 2))
    refused = e.CallRefused(at=T0, call_id=call(3), why="Nobody may do this.")
    invalid = records(*begin, refused)[-1]
    assert (invalid["rule"], invalid.get("summary")) == ("arguments", None)
    by_policy = records(*begin, prepared(3), refused)[-1]
    assert (by_policy["rule"], by_policy["summary"]) == ("policy", "Nobody may do this.")
    failed = e.ToolFailed(at=T0, call_id=call(3), error="no such tag")
    assert records(*begin, failed)[-1]["rule"] == "preparation"


def test_an_answer_is_told_by_the_bots_own_words_or_a_number() -> None:
    """No body gets in: a choice of the model's is a number, a free answer a length."""
    doubt = question("in_doubt", "It ran and succeeded", "It did not run")
    own = records(launched(), said(), doubt, decided("answer", text="It did not run", digest=""))[-1]
    assert own["choice"] == "It did not run"
    models = question("model", "the secret plan", "the other plan")
    taken = records(launched(), said(), models, decided("answer", text="the other plan", digest=""))
    assert taken[-1]["choice"] == "2 of 2"
    assert "plan" not in json.dumps(taken)
    free = records(launched(), said(), question("model"), said("in the blue room", LENA))
    assert (free[-1]["what"], free[-1]["verdict"], free[-1]["length"]) == ("decided", "answer", 16)
    assert "blue" not in json.dumps(free)
    assert "dear" not in json.dumps(free)


def test_secrets_are_hidden_and_lists_are_bounded() -> None:
    """What a preview or a summary has of a secret is not kept; what is cut is seen to be cut."""
    facts = tuple(Fact(label=f"f{n}", value="password=hunter2hunter2 " + "x " * 500) for n in range(40))
    exact = Prepared(
        arguments={"token": "xoxb-1234567890-abcdef"},
        preview=Preview(title="Write xoxb-1234567890-abcdef", facts=facts),
        ruling=asks_approval(),
    )
    made = e.CallPrepared(at=T0, call_id=call(3), prepared=exact)
    ask = Request.model_validate(
        {
            "id": REQUEST_ID, "kind": "approval", "purpose": "approval", "call_id": call(3), "prompt": "p",
            "preview": exact.preview.model_dump(), "requesters": [f"slack:T/{n}" for n in range(99)],
        }
    )  # fmt: skip
    story = records(launched(), said(), chose("write", 2), made, e.RequestOpened(at=T0, request=ask))
    text = json.dumps(story)
    assert "hunter2" not in text
    assert "xoxb" not in text
    assert len(story[-1]["facts"]) == 20
    assert story[-1]["facts"][0][1].endswith("… [cut]")
    assert story[-1]["requesters"][-1] == "… and 79 more"
    assert len(text) < 60_000
    loud = e.MessageReceived(at=T0, text="x", by=ANA, source="<" + "m." * 2500)
    assert records(launched(), loud)[-1]["source"].endswith("… [cut]")
    assert len(records(launched(), loud)[-1]["source"]) == 500


@pytest.mark.parametrize("path", REPLAYS, ids=lambda path: path.stem)
def test_the_golden_logs_are_told_without_what_was_written(path: Path) -> None:
    """No text of anybody, no opaque id, no reference of a channel's."""
    head, *lines = path.read_bytes().splitlines()
    thread_id = json.loads(head)["thread"]
    found = [one.entry for one in entries_of(thread_id, lines, MARKS)]
    assert found
    text = json.dumps(found)
    for line in lines:
        event = e.event_from_json(line)
        for said_text in (getattr(event, "text", ""), getattr(event, "message", ""), getattr(event, "result", "")):
            assert len(said_text) < 8 or json.dumps(said_text)[1:-1] not in text
        if isinstance(event, e.RequestOpened):
            assert event.request.id not in text


# --- what a record stands on


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_record_depends_on_nothing_that_came_after_it(data: st.DataObject) -> None:
    """Exported early or late, the records of a log are the same: that is what lets a trail be held against its log."""
    _, *lines = data.draw(st.sampled_from(REPLAYS)).read_bytes().splitlines()
    length = data.draw(st.integers(0, len(lines)))
    whole = list(entries_of("t1", lines, MARKS))
    early = list(entries_of("t1", lines[:length], MARKS))
    assert early == whole[: len(early)]
    assert all(one.seq > length for one in whole[len(early) :])
    assert [one.after for one in whole] == sorted(one.after for one in whole)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_change_anywhere_in_a_log_shows_in_every_later_fingerprint(data: st.DataObject) -> None:
    """Also in an event that has no record of its own, and in a text that no record holds."""
    lines = stored(*WAITING, decided("deny", text="no"))
    n = data.draw(st.integers(0, len(lines) - 1))
    other = [*lines[:n], lines[n].replace(b"2026-03-20", b"2026-03-21"), *lines[n + 1 :]]
    before = {one.seq: one.entry for one in entries_of("t1", lines, MARKS)}
    after = {one.seq: one.entry for one in entries_of("t1", other, MARKS)}
    for seq, entry in before.items():
        assert (entry.get("fingerprint") == after[seq].get("fingerprint")) == (seq <= n)


def test_a_fingerprint_needs_the_key() -> None:
    """Who has the file alone cannot try out which short answer or code a log had."""
    (one,) = entries_of("t1", stored(launched()), MARKS)
    (other,) = entries_of("t1", stored(launched()), Fingerprints.of(b"another key"))
    key_id, _, mark = one.entry.get("fingerprint", "").partition(":")
    assert len(mark) == 64
    assert key_id != other.entry.get("fingerprint", "").partition(":")[0]
    assert mark not in str(other.entry)


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"\xff", b'{"type":"thread_launched"}', b'{"type":"nothing"}'])
def test_a_stored_line_that_is_no_event_is_named(line: bytes) -> None:
    """Records up to it are told; nothing is guessed after it."""
    found = entries_of("t1", [*stored(launched()), line], MARKS)
    assert next(found).seq == 1
    with pytest.raises(Unreadable, match="thread t1, event 2") as problem:
        next(found)
    assert problem.value.seq == 2


# --- the chain


def trail(length: int, previous: Tail | None = None) -> list[bytes]:
    """So many records, linked."""
    tail, lines = previous or Tail(), list[bytes]()
    for n in range(length):
        entry = {"thread": f"t{n % 3}", "seq": n + 1, "what": "said", "at": "2026-03-20T09:00:00Z", "length": n}
        line, tail = linked(entry, tail)
        lines.append(line.encode())
    return lines


def problems(lines: list[bytes]) -> list[tuple[int, str]]:
    """The line (from 1) and what is wrong with it."""
    tail, found = Tail(), list[tuple[int, str]]()
    for n, line in enumerate(lines, start=1):
        checked = check(tail, line)
        tail = checked.tail
        if checked.problem:
            found.append((n, checked.problem))
    return found


def relinked(record: dict[str, Any], **changes: Any) -> bytes:  # noqa: ANN401 any field
    """A record changed by somebody who also makes its own hash anew."""
    place = Tail(record["number"] - 1, record["previous"])
    return linked({**entry_in(record), **changes}, place)[0].encode()


def test_a_trail_as_it_was_written_has_no_problem() -> None:
    """Sorted keys, one line each, the first one's predecessor is all zeros."""
    lines = trail(5)
    assert problems(lines) == []
    first = json.loads(lines[0])
    assert (first["number"], first["previous"]) == (1, "0" * 64)
    assert list(first) == sorted(first)
    assert json.loads(lines[1])["previous"] == first["hash"]


LENGTHS = st.integers(2, 12)


@settings(max_examples=200, deadline=None)
@given(st.data(), LENGTHS)
def test_a_changed_field_is_found_where_it_is(data: st.DataObject, length: int) -> None:
    """Any field, the hashes too; and only that line is blamed, or with it the next."""
    lines = trail(length)
    n = data.draw(st.integers(0, length - 1))
    record = json.loads(lines[n])
    key = data.draw(st.sampled_from(sorted(record)))
    changed = {**record, key: record[key] + 1 if isinstance(record[key], int) else f"{record[key]}x"}
    lines[n] = json.dumps(changed, sort_keys=True, separators=(",", ":")).encode()
    assert [line for line, _ in problems(lines)] == [n + 1]


@settings(max_examples=200, deadline=None)
@given(st.data(), LENGTHS)
def test_a_changed_byte_is_found_where_it_is(data: st.DataObject, length: int) -> None:
    """Whatever it is, even a blank that changes no meaning."""
    lines = trail(length)
    n = data.draw(st.integers(0, length - 1))
    at_byte = data.draw(st.integers(0, len(lines[n])))
    byte = data.draw(st.binary(min_size=1, max_size=1))
    lines[n] = lines[n][:at_byte] + byte + lines[n][at_byte:]
    assert [line for line, _ in problems(lines)] == [n + 1]


@settings(max_examples=100, deadline=None)
@given(st.data(), LENGTHS)
def test_a_change_with_a_fitting_hash_is_found_at_the_next_record(data: st.DataObject, length: int) -> None:
    """Whoever makes the hash of a changed record anew breaks the link to the one after it."""
    lines = trail(length)
    n = data.draw(st.integers(0, length - 2))
    lines[n] = relinked(json.loads(lines[n]), length=999)
    ((line, problem),) = problems(lines)
    assert line == n + 2
    assert "one of them was replaced" in problem


@settings(max_examples=100, deadline=None)
@given(st.data(), LENGTHS)
def test_dropped_records_are_found_and_named(data: st.DataObject, length: int) -> None:
    """Unless they were the last ones: that takes the last hash."""
    lines = trail(length)
    first = data.draw(st.integers(0, length - 2))
    last = data.draw(st.integers(first, length - 2))
    ((line, problem),) = problems(lines[:first] + lines[last + 1 :])
    assert line == first + 1
    assert f"record {first + 1} is" in problem or f"records {first + 1} to {last + 1} are" in problem
    assert problems(lines[:first]) == []


@settings(max_examples=100, deadline=None)
@given(st.data(), LENGTHS)
def test_reordered_records_are_found(data: st.DataObject, length: int) -> None:
    """The first line that is out of order is named."""
    lines = trail(length)
    order = data.draw(st.permutations(range(length)).filter(lambda it: it[:-1] != sorted(it)[:-1]))
    found = problems([lines[n] for n in order])
    assert found[0][0] == next(n for n, place in enumerate(order, start=1) if place != n - 1)


@settings(max_examples=100, deadline=None)
@given(st.data(), LENGTHS)
def test_repeated_records_are_found(data: st.DataObject, length: int) -> None:
    """Wherever the copy stands, it and nothing else is blamed."""
    lines = trail(length)
    n = data.draw(st.integers(0, length - 1))
    place = data.draw(st.integers(n + 1, length))
    ((line, problem),) = problems([*lines[:place], lines[n], *lines[place:]])
    assert line == place + 1
    assert f"record {n + 1} stands where record {place + 1} belongs" in problem


@settings(max_examples=100, deadline=None)
@given(st.data(), LENGTHS)
def test_an_inserted_record_is_found(data: st.DataObject, length: int) -> None:
    """Garbage is named itself; a well-made record is, or the one whose place it took."""
    lines = trail(length)
    place = data.draw(st.integers(0, length - 1))
    garbage = data.draw(st.binary(max_size=60).filter(lambda it: b"\n" not in it))
    assert problems([*lines[:place], garbage, *lines[place:]]) == [(place + 1, "this is not a record")]
    made_up = relinked(json.loads(lines[place]), length=999)
    assert problems([*lines[:place], made_up, *lines[place:]])[0][0] in {place + 1, place + 2}


def test_garbage_hides_no_more_records_than_it_has_lines() -> None:
    """AP16: one line that is none stands for one record; that more are gone behind it is said."""
    lines = trail(8)
    assert [line for line, _ in problems([*lines[:2], b"?", *lines[3:]])] == [3]
    found = problems([*lines[:2], b"?", *lines[6:]])
    assert found == [(3, "this is not a record"), (4, "records 3 to 6 are missing before record 7")]
    assert [line for line, _ in problems([*lines[:4], b"?", lines[1], *lines[5:]])] == [5, 6]


def test_a_rewritten_trail_has_another_head() -> None:
    """What the chain alone cannot find: every hash made anew. The last hash, kept elsewhere, tells."""
    lines = trail(4)
    forged, tail = list[bytes](), Tail()
    for line in lines:
        text, tail = linked({**entry_in(json.loads(line)), "what": "launched"}, tail)
        forged.append(text.encode())
    assert problems(forged) == []
    assert tail.hash != json.loads(lines[-1])["hash"]


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=100).map(str.encode)))
def test_no_line_upsets_the_check(line: bytes) -> None:
    """Whatever stands there is a finding."""
    assert check(Tail(), line).record is None


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 10_000,
        b'{"number":' + b"9" * 5000 + b"}",
        b'{"number":true,"seq":1,"thread":"t","what":"said","at":"","previous":"","hash":""}',
        b'{"number":1,"seq":1,"thread":"\\ud800","what":"said","at":"","previous":"","hash":""}',
        b"x" * 2_000_000,
    ],
)
def test_hostile_lines_are_no_records(line: bytes) -> None:
    """Deep, huge, of the wrong type, or not to be encoded."""
    assert check(Tail(), line).problem == "this is not a record"


def test_what_people_write_cannot_upset_a_terminal_or_a_line() -> None:
    """A record is one line of printable ASCII, whatever a name or an address has in it."""
    mallory = STRANGER.model_copy(update={"name": "\x1b[2J\u202emal\nlory\u2028"})
    (entry,) = records(e.ThreadLaunched(at=T0, agent="a", by=mallory, conversation=PLACE))
    line, _ = linked(entry, Tail())
    assert line.isascii()
    assert line.isprintable()
