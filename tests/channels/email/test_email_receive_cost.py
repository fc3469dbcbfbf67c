"""What hostile mails cost: time grows with the size at most, and what is not read decides nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from channels.email.html_lines import MAX_CHARACTERS, MAX_ELEMENTS, MAX_STYLES, html_lines
from channels.email.mime import MAX_TEXT_BYTES
from channels.email.receive import Mail, OwnMail, Unusable, read_mail
from channels.email.record import RawMail

OWN = OwnMail("bot@acme.example", "")
PLAIN, HTML = "text/plain", "text/html"
TWICE = 2.5
"""Twice the input may take so much longer."""
NOISE_SECONDS = 0.05


def mail(body: str, kind: str = HTML) -> bytes:
    """A mail of one part."""
    return f"From: lena@corp.example\r\nContent-Type: {kind}\r\n\r\n{body}".encode()


def parts(count: int, body: str, kind: str = HTML) -> bytes:
    """A mail of many equal parts."""
    one = f"--b\r\nContent-Type: {kind}\r\n\r\n{body}\r\n"
    return mail(one * count + "--b--\r\n", "multipart/mixed; boundary=b")


def nested(boundaries: list[str], body: str) -> bytes:
    """A multipart in a multipart, and so on; the body in the innermost."""
    opened = "".join(f"--{a}\r\nContent-Type: multipart/x; boundary={b}\r\n\r\n" for a, b in pairwise(boundaries))
    return mail(f"{opened}--{boundaries[-1]}\r\n\r\n{body}", f"multipart/x; boundary={boundaries[0]}")


# Each makes a mail whose size grows with the number.
HOSTILE: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "comments left open in style attributes": (12, lambda n: mail(("<p style='" + "/*a" * 6600 + "'>a</p>") * n)),
    "comments left open in a style attribute": (3000, lambda n: mail("<p style='" + "/*a" * n + "'>a</p>")),
    "comments left open in style sheets": (8000, lambda n: mail("<style>" + "/*a" * n + "</style>a")),
    "many style sheets": (3, lambda n: parts(n, ("<style>" + "/*a" * 6600 + "</style>") * 8)),
    "one element with many attributes": (20_000, lambda n: mail("<p " + " ".join(f"a{i}" for i in range(n)) + ">a")),
    "many classes": (40, lambda n: mail(f"<p class='{'a ' * 5000}'>" * n)),
    "different styles": (20_000, lambda n: mail("".join(f"<p style=a{i}>a" for i in range(n)))),
    "elements": (100_000, lambda n: mail("<p>a" * n)),
    "elements in many parts": (1200, lambda n: parts(98, "<p>a" * n)),
    "short lines in many parts": (550, lambda n: parts(98, "on 1:<br>" * n)),
    "dated addresses in html": (2000, lambda n: parts(5, ("1&lt;" + "a@" * 290 + " &gt;<br>") * n)),
    "dated addresses": (80, lambda n: mail(("1<" + "a@" * 290 + " >\r\n") * n, PLAIN)),
    "blanks behind an address": (80, lambda n: mail(("1 <a@b>" + " " * 500 + "x:\r\n") * n, PLAIN)),
    "dashes behind words": (160, lambda n: mail(("--a" + "-" * 280 + "x\r\n") * n, PLAIN)),
    "boundaries of other levels": (100_000, lambda n: nested([f"b{i}" for i in range(19)], "--b5x\r\n" * n)),
    "boundaries that begin alike": (
        40_000,
        lambda n: nested(["b" * i for i in range(1, 20)], f"--{'b' * 20}x\r\n" * n),
    ),
    "long boundaries": (6000, lambda n: nested(["x" * 150 + str(i) for i in range(19)], f"--{'x' * 150}\r\n" * n)),
    "blanks behind a boundary": (800_000, lambda n: nested(["b", "c"], "--c" + " " * n + "x\r\n")),
    "headers of many parts": (
        400,
        lambda n: mail(("--b\r\n" + "a: b\r\n" + " c\r\n" * n + "\r\nx\r\n") * 98, "multipart/x; boundary=b"),
    ),
    "a body without an end": (1_000_000, lambda n: mail("a\n" * n, PLAIN)),
}


def seconds(raw: bytes) -> float:
    """The least processor time of three readings."""
    taken: list[float] = []
    for _ in range(3):
        began = time.process_time()
        read_mail(RawMail(raw, "smtp"), OWN)
        taken.append(time.process_time() - began)
    return min(taken)


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_twice_the_mail_takes_twice_the_time_at_most(name: str) -> None:
    """EM4, EM5: no construction makes reading slower than its size does."""
    size, build = HOSTILE[name]
    assert seconds(build(2 * size)) <= TWICE * seconds(build(size)) + NOISE_SECONDS


HARMLESS = mail(("we deploy on friday, " * 28 + "\r\n") * 160, PLAIN)


@pytest.mark.parametrize("name", ["dated addresses", "blanks behind an address", "dashes behind words"])
def test_a_line_that_is_nearly_a_quote_costs_little_more_than_any_other(name: str) -> None:
    """EM5: lines are short, so that a slow search in one only shows beside harmless lines."""
    size, build = HOSTILE[name]
    raw = build(size)
    assert seconds(raw) <= 10 * seconds(HARMLESS) * max(1, len(raw) / len(HARMLESS)) + NOISE_SECONDS


def verdict(raw: bytes) -> str | None:
    """What the mail decides."""
    read = read_mail(RawMail(raw, "smtp"), OWN)
    assert isinstance(read, Mail)
    return read.decision.verdict


MUCH = {
    "elements": "<i></i>" * MAX_ELEMENTS,
    "text": "a " * MAX_CHARACTERS,
    "different styles": "".join(f"<p style='margin:{i}px'></p>" for i in range(MAX_STYLES // 10)),
    "a long attribute": f"<p style='{'margin:0;' * 400}'></p>",
    "a long class": f"<p class='{'a ' * 2000}'></p>",
}


@pytest.mark.parametrize("name", sorted(MUCH))
def test_more_than_is_read_decides_only_below_a_quote(name: str) -> None:
    """EM11, EM12: nothing in or below a quote decides, so it need not be read; elsewhere it makes the mail unclear."""
    quoted = f"<p>APPROVE</p><blockquote>Which?{MUCH[name]}</blockquote>"
    assert verdict(mail(quoted)) == "approve"
    assert html_lines(f"<p>APPROVE</p>{MUCH[name]}")[1]
    assert verdict(mail(f"<p>APPROVE</p>{MUCH[name]}")) is None


def test_styles_that_repeat_are_looked_at_once() -> None:
    """EM11: mail programs put the same style on each of thousands of elements; that is still read."""
    style = "font-size:11.0pt;font-family:Calibri,sans-serif;color:#1F497D"
    assert verdict(mail("<p>APPROVE</p>" + f"<p style='{style}'></p>" * 5000)) == "approve"


@pytest.mark.parametrize(
    "sheet", ["a{margin:0}" * 10_000, "b{visibility:hidden}"], ids=["more than is looked at", "one that hides"]
)
def test_a_style_sheet_counts_wherever_it_stands(sheet: str) -> None:
    """EM11: a sheet at the end changes what stood above, even behind all that is read as text."""
    quote = f"<blockquote>{'a ' * MAX_CHARACTERS}</blockquote>"
    assert verdict(mail(f"<p>APPROVE</p>{quote}")) == "approve"
    assert verdict(mail(f"<p>APPROVE</p>{quote}<style>{sheet}</style>")) is None


def test_a_comment_in_a_style_that_is_left_open_has_no_end() -> None:
    """EM11: as for a browser."""
    assert verdict(mail("<p style='/*display:none'>APPROVE</p>")) == "approve"
    assert verdict(mail("<p style='display:none/*'>APPROVE</p>")) is None


def test_text_deep_in_a_page_is_read() -> None:
    """EM11: a few hundred levels are not the end of it: "not" is seen, and so it counts."""
    assert html_lines("<p>APPROVE</p>" + "<div>" * 400 + "not now") == (["APPROVE", "not now"], False)
    assert html_lines("<p>APPROVE</p>" + "<div>" * 5000 + "not now")[1]


@pytest.mark.parametrize("kind", [PLAIN, HTML])
def test_more_text_than_is_read_decides_nothing(kind: str) -> None:
    """EM5: the parts count together, whatever they are."""
    assert verdict(parts(1, "APPROVE<br>" if kind == HTML else "APPROVE", kind)) == "approve"
    filler = "--b\r\nContent-Type: text/plain\r\n\r\n" + " " * (MAX_TEXT_BYTES // 4) + "\r\n"
    approve = f"--b\r\nContent-Type: {kind}\r\n\r\nAPPROVE\r\n"
    assert verdict(mail(approve + filler * 3 + "--b--", "multipart/mixed; boundary=b")) == "approve"
    assert verdict(mail(approve + filler * 4 + "--b--", "multipart/mixed; boundary=b")) is None


def test_a_decision_below_very_many_lines_is_none() -> None:
    """EM12: a first line decides only together with all that its writer added."""
    assert verdict(mail("APPROVE\r\n" + "a\r\n" * 4000, PLAIN)) == "approve"
    assert verdict(mail("APPROVE\r\n" + "a\r\n" * 6000, PLAIN)) is None


def test_large_parts_in_many_levels_are_too_large() -> None:
    """EM5: what would be searched again on each of the levels gets a receipt instead."""
    read = read_mail(RawMail(nested([f"b{i}" for i in range(19)], "a\r\n" * 3_000_000), "smtp"), OWN)
    assert isinstance(read, Unusable)
    assert (read.kind, read.rule) == ("too_large", "EM5")
