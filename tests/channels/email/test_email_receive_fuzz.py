"""Damaged mails: there is an answer in time, and never an approval that was not there."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from channels.email.receive import Bounce, Mail, OwnMail, Unusable, read_mail
from channels.email.record import RawMail

MAILS = Path(__file__).parent / "mails"
OWN = OwnMail("bot@acme.example", "mx.acme.example")
CASES_PER_MAIL = 80
SLOWEST_SECONDS = 1.0

# Nobody in these wrote a word of approval: it stands in a longer sentence of ours, at most. (A mail that says "yes but
# not today" is not among them: cut in the middle, it says yes.)
NO_APPROVAL = (
    *(
        "gmail_android_deny",
        "outlook_web_deny",
        "outlook_web_empty",
        "ios_mail_deny_spanish",
        "ios_mail_signature_only",
    ),
    *("samsung_deny", "gmail_inline_answers", "bad_base64", "bad_quoted_printable", "null_bytes_in_body", "launch"),
    *("subject_rubbish", "charset_that_is_none", "closing_boundary_missing", "bounce_postfix", "bounce_exchange"),
    *("bounce_gmail", "bounce_delayed", "bounce_without_status", "headers_only", "nothing_at_all"),
)
# Nowhere in these does our server say that the sender's domain passed.
NO_PROOF = (
    *("no_results", "dmarc_of_another_domain", "forged_results_elsewhere", "results_do_not_parse", "headers_only"),
    *("from_homoglyph", "bounce_postfix", "no_headers", "dmarc_in_a_quoted_value"),
)

Mutation = Callable[[random.Random, bytes], bytes]


def flip_bits(rng: random.Random, raw: bytes) -> bytes:
    damaged = bytearray(raw)
    for _ in range(rng.randint(1, 30) if raw else 0):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def truncate(rng: random.Random, raw: bytes) -> bytes:
    return raw[: rng.randint(0, len(raw))]


def headers_moved(rng: random.Random, raw: bytes) -> bytes:
    block, blank, body = raw.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", block)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(fields))
        match rng.randrange(3):
            case 0:
                fields.insert(rng.randrange(len(fields)), fields[at])
            case 1 if len(fields) > 1:
                fields.pop(at)
            case _:
                rng.shuffle(fields)
    return b"\r\n".join(fields) + blank + body


def boundary_damaged(rng: random.Random, raw: bytes) -> bytes:
    lines = raw.split(b"\r\n")
    for at, line in enumerate(lines):
        if line.startswith(b"--") and rng.random() < 0.5:
            lines[at] = rng.choice([b"", line + b"x", line[:-1], line + b"--", b" " + line, line + b"\r\n" + line])
    return b"\r\n".join(lines)


def charset_swapped(rng: random.Random, raw: bytes) -> bytes:
    names = (
        b"utf-16",
        b"utf-7",
        b"zlib",
        b"idna",
        b"shift_jis",
        b"\xff\xfe",
        b"unicode_escape",
        b"iso-2022-kr",
        b"hz",
        b"",
    )
    swapped = re.sub(rb'(charset=)"?[^";\r\n]*"?', lambda found: found.group(1) + rng.choice(names), raw)
    encodings = (b"base64", b"quoted-printable", b"x-uuencode", b"")
    return re.sub(rb"(Transfer-Encoding: )\S+", lambda found: found.group(1) + rng.choice(encodings), swapped)


def lines_spliced(rng: random.Random, raw: bytes) -> bytes:
    lines = raw.split(b"\n")
    for _ in range(rng.randint(1, 8)):
        start = rng.randrange(len(lines))
        piece = lines[start : start + rng.randint(1, 5)]
        at = rng.randrange(len(lines))
        lines[at:at] = piece
        if rng.random() < 0.5:
            del lines[start : start + len(piece)]
        lines = lines or [b""]
    return b"\n".join(lines)


MUTATIONS: tuple[Mutation, ...] = (flip_bits, truncate, headers_moved, boundary_damaged, charset_swapped, lines_spliced)


def mutated(path: Path, mutations: tuple[Mutation, ...]) -> list[bytes]:
    """The same damaged mails in every run."""
    rng = random.Random(path.stem)
    raw = path.read_bytes()
    cases: list[bytes] = []
    for number in range(CASES_PER_MAIL):
        damaged = mutations[number % len(mutations)](rng, raw)
        cases.append(rng.choice(mutations)(rng, damaged) if rng.random() < 0.3 else damaged)
    return cases


@pytest.mark.parametrize("path", sorted(MAILS.glob("*.eml")), ids=lambda path: path.stem)
def test_a_damaged_mail_never_raises_and_never_takes_long(path: Path) -> None:
    """EM4, EM5, EM13: an answer of a known kind, in time; a forwarded mail still decides nothing."""
    for raw in mutated(path, MUTATIONS):
        began = time.process_time()
        mail = read_mail(RawMail(raw, "smtp", envelope_from="a@x.example", envelope_to=("bot@acme.example",)), OWN)
        assert time.process_time() - began < SLOWEST_SECONDS
        assert isinstance(mail, Mail | Bounce | Unusable)
        assert mail.message_id.startswith("<")
        if isinstance(mail, Mail):
            assert not (mail.forwarded and mail.decision.verdict)
            assert mail.sender.count("@") == 1
            assert "\n" not in mail.subject


@pytest.mark.parametrize("name", NO_APPROVAL)
def test_damage_makes_no_approval(name: str) -> None:
    """EM12, EM13: where nobody wrote a word of approval, no damage brings one out of a quote, a header or a part."""
    for raw in mutated(MAILS / f"{name}.eml", MUTATIONS):
        mail = read_mail(RawMail(raw, "imap"), OWN)
        assert not isinstance(mail, Mail) or mail.decision.verdict != "approve"


@pytest.mark.parametrize("name", NO_PROOF)
def test_damage_makes_no_proof(name: str) -> None:
    """EM18: where our server did not say that the sender's domain passed, no damage makes it say so."""
    for raw in mutated(MAILS / f"{name}.eml", MUTATIONS):
        mail = read_mail(RawMail(raw, "imap"), OWN)
        assert not isinstance(mail, Mail) or mail.authentication != "pass"
