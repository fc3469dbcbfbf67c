"""What `read_mail` makes of the headers, the envelope and hostile structure of a mail."""

from __future__ import annotations

import base64
import hashlib
import time

import pytest

from channels.email.receive import Bounce, Mail, OwnMail, Unusable, read_mail
from channels.email.record import MAX_RAW_BYTES, RawMail, Verdict
from channels.email.trail import read_trail

OWN = OwnMail("bot@acme.example", "mx.acme.example")
SLOWEST_SECONDS = 2.0


def token(first: int) -> str:
    """A well-formed token."""
    return base64.b32encode(bytes([first, *range(27)])).decode().rstrip("=").lower()


def raw_mail(*headers: str, body: str = "APPROVE", sender: str = "Lena <lena@corp.example>") -> bytes:
    """A plain mail with these headers."""
    lines = (f"From: {sender}", "Message-ID: <one@corp.example>", *headers, "", body)
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def read(raw: bytes, own: OwnMail = OWN, **envelope: object) -> Mail | Bounce | Unusable:
    return read_mail(RawMail(raw, "imap", **envelope), own)  # pyright: ignore[reportArgumentType]


def read_person(raw: bytes, own: OwnMail = OWN, **envelope: object) -> Mail:
    mail = read(raw, own, **envelope)
    assert isinstance(mail, Mail), mail
    return mail


def test_tokens_come_in_the_order_of_their_places() -> None:
    """EM8: To/Cc, References, Delivered-To, Envelope-To, X-Envelope-To, then the envelope; none twice."""
    first, second, third, fourth, fifth, sixth, seventh = (token(n) for n in range(7))
    mail = read_person(
        raw_mail(
            f"X-Envelope-To: bot+{sixth}@acme.example",
            f"Envelope-To: <bot+{fifth}@acme.example>",
            f"Delivered-To: bot+{fourth}@acme.example",
            f"In-Reply-To: <{third}.1a2b@acme.example>",
            f"References: <{second}.ff@acme.example> <{third}.1a2b@acme.example>",
            f"To: Bot <BOT+{first.upper()}@Acme.Example>, someone@acme.example",
            f"Cc: bot+{first}@acme.example",
        ),
        envelope_to=(f"bot+{seventh}@acme.example",),
    )
    assert mail.tokens == (first, third, second, fourth, fifth, sixth, seventh)


@pytest.mark.parametrize(
    "to",
    [
        "bot+{}@evil.example",
        "robot+{}@acme.example",
        "bot+{}@acme.example.evil.example",
        "bot+{}x@acme.example",
        "bot+short@acme.example",
        "x+{}@acme.example",
    ],
)
def test_only_our_own_address_carries_a_token(to: str) -> None:
    """EM8: a token in another address, or one that is none, is not taken."""
    assert read_person(raw_mail("To: " + to.format(token(1)))).tokens == ()


def test_numbers_in_the_subject_are_no_token() -> None:
    """EM8: the subject never authorises anything."""
    assert read_person(raw_mail(f"Subject: Re: {token(1)}")).tokens == ()


def test_the_nearest_parent_comes_first() -> None:
    """EM10: In-Reply-To, then References from the newest; the trail keeps the chain from the oldest."""
    mail = read_person(
        raw_mail("In-Reply-To: <c@x.example>", "References: <a@x.example> <b@x.example>\r\n <c@x.example>")
    )
    assert mail.parents == ("<c@x.example>", "<b@x.example>", "<a@x.example>")
    trail = read_trail(mail.trail)
    assert trail.references == ("<a@x.example>", "<b@x.example>", "<c@x.example>")
    assert trail.message_id == mail.message_id == "<one@corp.example>"


def test_a_long_chain_is_bounded() -> None:
    """EM5: a thousand references cost nothing; the first and the newest stay."""
    ids = [f"<{n}@x.example>" for n in range(1000)]
    mail = read_person(raw_mail("References: " + "\r\n ".join(ids)))
    assert len(mail.parents) == 100
    assert mail.parents[0] == ids[-1]
    chain = read_trail(mail.trail).references
    assert (len(chain), chain[0], chain[-1]) == (100, ids[0], ids[-1])


@pytest.mark.parametrize(
    "broken", ["<[abc]>", "abc@x.example", "<a b@x.example>", "<>", "<a@>", "<a@b@c>", "<a@[b>", "<é@x>"]
)
def test_a_broken_message_id_is_made_of_the_checksum(broken: str) -> None:
    """EM3, EM4: the same bytes get the same id, other bytes another one."""
    raw = b"From: lena@corp.example\r\nMessage-ID: " + broken.encode() + b"\r\n\r\nhello"
    mail = read_person(raw)
    assert mail.digest == hashlib.sha256(raw).hexdigest()
    assert mail.message_id == f"<{mail.digest[:40]}@checksum.invalid>"
    assert read_person(raw + b" ").message_id != mail.message_id


@pytest.mark.parametrize(
    ("subject", "topic"),
    [
        ("Re: Deploy", "Deploy"),
        ("RE: AW: Re[2]: Antw: SV: Deploy", "Deploy"),
        ("Re : Deploy", "Deploy"),
        ("回复：部署", "部署"),
        ("R: Deploy", "Deploy"),
        ("Fwd: Deploy", "Fwd: Deploy"),
        ("Regarding: Deploy", "Regarding: Deploy"),
        ("=?utf-8?q?Re=3A_Gr=C3=BC?= =?utf-8?q?=C3=9Fe?=", "Grüße"),
        ("=?utf-8?b?44OH44OX?= =?utf-8?b?44Ot44Kk?=", "デプロイ"),
        ("a\r\n b\tc", "a b c"),
        ("Deploy\u202e now\u200b", "Deploy now"),
        ("", ""),
    ],
)
def test_the_subject_is_one_plain_line(subject: str, topic: str) -> None:
    """EM4, EM10: decoded, without reply prefixes and invisible characters."""
    assert read_person(raw_mail(f"Subject: {subject}")).subject == topic


def test_a_long_subject_is_cut() -> None:
    """EM5: whatever comes, a subject has an end."""
    assert len(read_person(raw_mail("Subject: " + "x" * 5000)).subject) == 300


@pytest.mark.parametrize(
    ("written", "address", "name"),
    [
        ("lena@corp.example", "lena@corp.example", ""),
        ("<Lena@Corp.Example>", "lena@corp.example", ""),
        ("Lena Fischer <lena@corp.example>", "lena@corp.example", "Lena Fischer"),
        ('"Fischer, Lena" <lena@corp.example>', "lena@corp.example", "Fischer, Lena"),
        ('"O\\"Neil" <lena@corp.example>', "lena@corp.example", 'O"Neil'),
        ("=?utf-8?q?J=C3=B6rg?= <lena@corp.example>", "lena@corp.example", "Jörg"),
        ("Jörg <lena@corp.example>", "lena@corp.example", "Jörg"),
        ("lena@corp.example (Lena)", "lena@corp.example", ""),
        ('"lena@corp.example" <lena@corp.example>', "lena@corp.example", "lena@corp.example"),
        ("J. R. Fischer <l.f+tag@corp.example>", "l.f+tag@corp.example", "J. R. Fischer"),
        ("Lena\r\n <lena@corp.example>", "lena@corp.example", "Lena"),
        ("lena@\u212aorp.example", "lena@\u212aorp.example", ""),
    ],
)
def test_one_plain_mailbox_is_the_sender(written: str, address: str, name: str) -> None:
    """EM18: the address in lowercase, the name decoded; letters that only look alike stay other letters."""
    mail = read_person(raw_mail(sender=written))
    assert (mail.sender, mail.sender_name) == (address, name)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "Lena",
        "lena",
        "@corp.example",
        "lena@",
        "<>",
        "lena@corp.example lena@corp.example",
        "lena@corp.example <lena@corp.example>",
        "lena@corp.example> <evil@x.example>",
        "<lena@corp.example> <evil@x.example>",
        "<lena@corp.example> evil",
        "<lena@corp.example>, <evil@x.example>",
        "Lena <lena@corp.example>;",
        "undisclosed-recipients:;",
        "Lena <<lena@corp.example>>",
        "Lena <@relay.example:lena@corp.example>",
        '"lena@corp.example"@x.example',
        "lena@[192.0.2.1]",
        "lena@corp.example(",
        "lena(comment@corp.example",
        '"Lena <lena@corp.example>',
        '"Lena <lena@corp.example>" <evil@x.example>',
        "lena＠corp.example <evil@x.example>",
        "=?utf-8?b?bGVuYUBjb3JwLmV4YW1wbGU=?= <evil@x.example>",
        "=?utf-8?q?lena=40corp.example=00?= <evil@x.example>",
        "=?utf-8?q?lena?=@corp.example",
        "evil@x.example (on behalf of (lena@corp.example))",
        "lena@corp.example\u200b",
        "lena@co\u00adrp.example",
        "lena@corp.example\rX: y",
        "(" * 900,
        "a" * 65 + "@corp.example",
        "a@" + "b." * 200 + "example",
        "x" * 5000 + "@corp.example",
    ],
)
def test_any_other_from_header_is_refused(written: str) -> None:
    """EM18: what two programs could read in two ways is nobody's mail, and nobody gets an answer to it."""
    mail = read(raw_mail(sender=written))
    assert isinstance(mail, Unusable)
    assert (mail.kind, mail.rule, mail.sender) == ("forged_sender", "EM18", "")


RESULTS = "Authentication-Results: mx.acme.example; dmarc={} header.from=corp.example"


@pytest.mark.parametrize(
    ("verdict", "authentication", "by"),
    [
        (Verdict("pass", "corp.example"), "pass", "dmarc by imap"),
        (Verdict("fail", "corp.example"), "fail", "dmarc by imap"),
        (Verdict("none", "corp.example"), "none", ""),
        (Verdict("pass", "other.example"), "fail", "dmarc by mx.acme.example"),
        (None, "fail", "dmarc by mx.acme.example"),
    ],
)
def test_the_provider_s_verdict_goes_first(verdict: Verdict | None, authentication: str, by: str) -> None:
    """EM18: the provider's verdict about this very domain, else our server's header."""
    mail = read_person(raw_mail(RESULTS.format("fail")), verdict=verdict)
    assert (mail.authentication, mail.authenticated_by) == (authentication, by)


@pytest.mark.parametrize("authserv_id", ["", "acme.example", "mx.acme.example.evil.example"])
def test_results_of_a_server_that_is_not_ours_prove_nothing(authserv_id: str) -> None:
    """EM18: without our own authserv-id no Authentication-Results header is believed."""
    own = OwnMail("bot@acme.example", authserv_id)
    assert read_person(raw_mail(RESULTS.format("pass")), own).authentication == "none"


@pytest.mark.parametrize(
    "value",
    [
        "mx.acme.example; dmarc=pass",
        "mx.acme.example; dmarc=pass header.from=sub.corp.example",
        "mx.acme.example; dmarc=pass header.from=corp.example header.from=evil.example",
        "mx.acme.example; dmarc=pass header.from=corp.example; dmarc=pass header.from=corp.example",
        "mx.acme.example; dmarc=bestguesspass header.from=corp.example",
        "mx.acme.example; dkim=pass header.d=corp.example; spf=pass smtp.mailfrom=corp.example",
        "mx.acme.example; none (dmarc=pass header.from=corp.example)",
        "mx.acme.example; none",
        "mx.acme.example",
        "; dmarc=pass header.from=corp.example",
        "dmarc=pass header.from=corp.example",
        "mx.acme.example 2; dmarc=pass header.from=corp.example",
        "mx.acme.example; dmarc=pass " + "(" * 3000,
        "mx.acme.example; " + "spf=pass; " * 2000 + "dmarc=pass header.from=corp.example",
    ],
)
def test_doubtful_results_prove_nothing(value: str) -> None:
    """EM18: none, or several, or about another domain, or not readable."""
    assert read_person(raw_mail(f"Authentication-Results: {value}")).authentication == "none"


@pytest.mark.parametrize(
    "sign",
    [
        "Auto-Submitted: auto-generated",
        "Auto-Submitted: AUTO-REPLIED (vacation)",
        "Auto-Submitted: no\r\nAuto-Submitted: auto-notified",
        "X-Autoreply: yes",
        "X-Loop: x",
        "Precedence: Bulk",
        "Precedence: list",
        "Precedence: junk",
        "Precedence: auto_reply",
        "Precedence: bulk (x)",
        "Precedence: (a (nested) comment) Bulk",
        "X-Precedence: bulk",
        "Preference: auto_reply",
        "X-Autogenerated: Reply",
        "X-FC-MachineGenerated: true",
        "X-Autorespond: Deploy",
        "X-Mail-Autoreply: x",
        "Auto-Submitted: (no) auto-replied",
        "List-Id: <x.example>",
        "List-Unsubscribe: <https://x.example>",
        "List-Anything: x",
        "Return-Path: <>",
        "Return-Path: < >",
        "Content-Type: multipart/report; boundary=x",
        "Subject: Out of Office: Deploy",
        "Subject: Out of office",
        "Subject: Automatic reply: Deploy",
        "Subject: Automatische Antwort: Deploy",
        "Subject: Réponse automatique : Deploy",
        "Subject: Respuesta automática: Deploy",
        "Subject: Risposta automatica: R: Deploy",
        "Subject: Resposta automática: Deploy",
        "Subject: Automatisch antwoord: Deploy",
        "Subject: Autosvar: Deploy",
        "Subject: =?utf-8?q?R=C3=A9ponse_automatique=3A?= Deploy",
        "Subject: 自動応答: デプロイ",
        "Subject: Автоматический ответ: Deploy",
        "Subject: Out of Office AutoReply: Deploy",
        "Subject: [EXT] Automatic reply: Deploy",
        "Subject: Abwesenheitsnotiz: Deploy",
        "Subject: 自动回复：Deploy",
        "Subject: Abwesend: Deploy\r\nX-Auto-Response-Suppress: All",
        "Subject: On vacation!\r\nX-Auto-Response-Suppress: DR, OOF, AutoReply",
        "Subject: 부재중: Deploy\r\nX-MS-Exchange-Inbox-Rules-Loop: lena@corp.example",
        "Subject: Automatic reply (until Monday)\r\nX-MS-Exchange-Generated-Message-Source: Mailbox Rules Agent",
        "Subject: Abwesend: Deploy\r\nPrecedence: bulk",
    ],
)
def test_a_mail_that_no_person_wrote_is_automatic(sign: str) -> None:
    """EM15: each of these is enough, whatever the mail says; words that people use too need a second sign."""
    mail = read(raw_mail(sign))
    assert isinstance(mail, Unusable)
    assert (mail.kind, mail.rule) == ("automatic", "EM15")


@pytest.mark.parametrize(
    "local",
    [
        "MAILER-DAEMON",
        "postmaster",
        "noreply",
        "no-reply",
        "no_reply",
        "do-not-reply",
        "donotreply",
        "jira-noreply",
        "noreply+x",
    ],
)
def test_the_address_of_a_machine_is_automatic(local: str) -> None:
    """EM15: nobody reads what is sent there."""
    mail = read(raw_mail(sender=f"{local}@corp.example"))
    assert isinstance(mail, Unusable)
    assert mail.kind == "automatic"


@pytest.mark.parametrize(
    "header",
    [
        "X-Auto-Response-Suppress: All",
        "Auto-Submitted: no",
        "Auto-Submitted: No; x=y",
        "Precedence: first-class",
        "X-Autoreply: no",
        "Return-Path: <lena@corp.example>",
        "X-MS-Exchange-Organization-SCL: -1",
        "Subject: Re: Automatic reply: Deploy",
        "Subject: Automatic replying is broken",
        "Subject: Out of office hours deploy",
        "Subject: Auto-scaling",
        "Auto-Submitted: (comment) no",
        "Auto-Submitted: no (not at all)",
        "Auto-Submitted:",
        "Precedence: (bulk) first-class",
        "X-Autorespond:",
        "X-FC-MachineGenerated: false",
        "Subject: Abwesend: deploy v1.4.0",
        "Subject: On vacation: who approves?",
        "Subject: Nicht im Büro - wer übernimmt?",
        "Subject: Automatic reply (it is broken)",
        "Subject: Out of office - deploy before I leave",
        "Subject: Abwesend: deploy\r\nX-Auto-Response-Suppress: None",
        "Subject: Abwesend: deploy\r\nIn-Reply-To: <x@acme.example>",
        "Subject: Re: Abwesend: deploy\r\nX-Auto-Response-Suppress: All",
        "Listing: x",
    ],
)
def test_a_mail_of_a_person_is_not_taken_for_an_automatic_one(header: str) -> None:
    """EM15: what Exchange and others put on every mail, and subjects that merely speak of absence, are no sign."""
    assert read_person(raw_mail(header)).decision.verdict == "approve"


def test_an_unknown_envelope_sender_is_no_null_sender() -> None:
    """EM15: only an empty one is; from a mailbox it is not known."""
    assert isinstance(read(raw_mail(), envelope_from=None), Mail)
    assert isinstance(read(raw_mail(), envelope_from=""), Unusable)


@pytest.mark.parametrize(
    "raw",
    [
        raw_mail(sender="bot@acme.example"),
        raw_mail(sender=f"Switchboard <BOT+{token(1)}@acme.example>"),
        raw_mail("Return-Path: <bot+x@acme.example>"),
        raw_mail("From: bot@acme.example"),
    ],
)
def test_our_own_mail_is_told_apart(raw: bytes) -> None:
    """EM15: mail from our own address, with any tag, is a loop."""
    mail = read(raw)
    assert isinstance(mail, Unusable)
    assert mail.kind == "own"


def nested(depth: int) -> bytes:
    """A multipart in a multipart, and so on."""
    opening = "".join(f"--b{n}\r\nContent-Type: multipart/mixed; boundary=b{n + 1}\r\n\r\n" for n in range(depth))
    return raw_mail("Content-Type: multipart/mixed; boundary=b0", body=opening + f"--b{depth}\r\n\r\nAPPROVE\r\n")


def many(count: int, header: str = "") -> bytes:
    """A flat multipart."""
    return raw_mail("Content-Type: multipart/mixed; boundary=b", body=f"--b\r\n{header}\r\nx\r\n" * count + "--b--")


ATTACHED = "Content-Disposition: attachment; filename=x\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(raw_mail(body="x" * MAX_RAW_BYTES), id="10 MB"),
        pytest.param(nested(21), id="21 deep"),
        pytest.param(nested(50_000), id="50,000 deep"),
        pytest.param(many(101), id="101 parts"),
        pytest.param(many(200_000), id="200,000 parts"),
        pytest.param(many(21, ATTACHED), id="21 attachments"),
        pytest.param(raw_mail("X: y\r\n" * 2000), id="2,000 headers"),
        pytest.param(b"X: " + b"y" * 1_000_000, id="one endless header"),
    ],
)
def test_a_mail_over_a_cap_is_said_to_be_too_large(raw: bytes) -> None:
    """EM5: no decision, at once, and a reason that says which cap it was."""
    began = time.process_time()
    mail = read(raw)
    assert time.process_time() - began < SLOWEST_SECONDS
    assert isinstance(mail, Unusable)
    assert (mail.kind, mail.rule) == ("too_large", "EM5")
    assert mail.why.startswith(("more than", "parts are nested"))


@pytest.mark.parametrize(
    "raw", [nested(19), many(99), many(20, ATTACHED)], ids=["19 deep", "99 parts", "20 attachments"]
)
def test_a_mail_under_the_caps_is_read(raw: bytes) -> None:
    """EM5: the caps are not reached."""
    assert isinstance(read(raw), Mail)


def test_a_large_automatic_mail_gets_no_receipt() -> None:
    """EM5, EM15: that it is too large is told to people only."""
    mail = read(raw_mail("Precedence: bulk", body="x" * MAX_RAW_BYTES))
    assert isinstance(mail, Unusable)
    assert mail.kind == "automatic"


HTML = "Content-Type: text/html"
HOSTILE = {
    "attributions": raw_mail(body="On " * 30_000 + "\r\n" + "On a, wrote\r\n" * 30_000),
    "header names": raw_mail(body="From: x\r\n" * 40_000),
    "one long line": raw_mail(body="-" * 5_000_000),
    "quote marks": raw_mail(body="> " * 50_000 + "\r\n" + ">\r\n" * 100_000),
    "signatures": raw_mail(body="- a\r\nThanks,\r\n" * 20_000),
    "deep html": raw_mail(HTML, body="<div>" * 100_000 + "APPROVE"),
    "deep quotes": raw_mail(HTML, body="<blockquote>" * 50_000 + "APPROVE"),
    "long style": raw_mail(HTML, body="<p style='" + "font-size:" * 100_000 + "'>APPROVE"),
    "many elements": raw_mail(HTML, body="<p>x" * 300_000),
    "open comment": raw_mail(HTML, body="<!--" * 100_000 + "APPROVE"),
    "encoded words": raw_mail("Subject: " + "=?utf-8?q?" * 20_000),
    "parameters": raw_mail("Content-Type: text/plain" + '; a="' * 30_000),
    "addresses": raw_mail("To: " + "bot+" * 20_000, sender="a." * 400 + "@"),
    "base64": raw_mail("Content-Transfer-Encoding: base64", body="A" * 9_000_000),
    "boundaries": raw_mail("Content-Type: multipart/mixed; boundary=b", body="--c\r\n" * 1_500_000),
    "charset": raw_mail("Content-Type: text/plain; charset=idna", body="a." * 1_000_000),
    "report": raw_mail(
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b",
        body="--b\r\nContent-Type: message/delivery-status\r\n\r\n" + "Status: 5\r\n\r\n" * 200_000,
    ),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_input_costs_little(name: str) -> None:
    """EM4, EM5: no exception, no recursion limit, no quadratic time."""
    began = time.process_time()
    read(HOSTILE[name])
    assert time.process_time() - began < SLOWEST_SECONDS


def test_the_text_is_bounded() -> None:
    """EM5: what goes on from here has an end, and one sees that it was cut."""
    mail = read_person(raw_mail(body="word\r\n" * 100_000))
    assert len(mail.text) <= 100_000
    assert len(mail.reply) <= 100_000
