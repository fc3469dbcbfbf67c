"""DKIM for mail from providers that give no verdict: real signatures, through the real routes (EM1, EM18).

The only thing that is not real is the DNS, but for the last tests, where it is a server on loopback.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import dkim
import dns.asyncresolver
import dns.message
import dns.rcode
import dns.rrset
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from fastapi import FastAPI
from structlog.testing import capture_logs
from support import BOT_ADDRESS, bench

from bot.core.events import MessageReceived
from bot.web.email import email_routes
from channels.email.client import DkimCheck
from channels.email.client.dkim import txt_record
from channels.email.receive import Mail, OwnMail, read_mail
from channels.email.record import MAX_RAW_BYTES, CannotTell, RawMail, Verdict

LOGIN = {"authorization": "Basic " + base64.b64encode(b"postmark:secret").decode()}
OWN = OwnMail("bot@in.acme.example", "mx.acme.example")
HEADERS = ("from", "to", "cc", "subject", "message-id", "date")
SIGNED = b"from", b"to", b"subject", b"message-id"
KEY = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
MAIL = (
    b"From: Lena <lena@acme.example>\r\nTo: bot+x@in.acme.example\r\nSubject: Re: Release\r\n"
    b"Message-ID: <1@acme.example>\r\nDate: Mon, 5 Oct 2026 10:00:00 +0000\r\n\r\nAPPROVE\r\n\r\n> Reply.\r\n"
)
NAME = "k._domainkey.acme.example."
PASS = Verdict("pass", "acme.example", "dkim by acme.example")
NONE = Verdict("none", "acme.example")


def pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def public(key: rsa.RSAPrivateKey) -> bytes:
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def record(tags: bytes = b"v=DKIM1; k=rsa; ", key: rsa.RSAPrivateKey = KEY) -> bytes:
    return tags + b"p=" + public(key)


def signature(raw: bytes = MAIL, domain: str = "acme.example", headers: Sequence[bytes] = SIGNED, **how: Any) -> bytes:  # noqa: ANN401
    """The header field, by dkimpy: `key` a PEM, `canonicalize`, `length`, `identity`."""
    made = cast("Any", dkim).sign(
        raw, b"k", domain.encode(), how.pop("key", pem(KEY)), include_headers=list(headers), **how
    )
    return bytes(made)


def signed(raw: bytes = MAIL, domain: str = "acme.example", headers: Sequence[bytes] = SIGNED, **how: Any) -> bytes:  # noqa: ANN401
    return signature(raw, domain, headers, **how) + raw


def with_tags(tags: str, raw: bytes = MAIL) -> bytes:
    """A good signature with tags that dkimpy does not make, such as `t=1; x=2`."""
    others = {name.encode(): value.encode() for name, _, value in (tag.partition("=") for tag in tags.split("; "))}
    sign = cast("Any", dkim).DKIM(raw)
    make = sign.gen_header

    def gen_header(fields: list[tuple[bytes, bytes]], *rest: Any) -> bytes:  # noqa: ANN401
        return make([*others.items(), *[one for one in fields if one[0] not in others]], *rest)

    sign.gen_header = gen_header
    return b"DKIM-Signature: " + _of(sign) + raw


def _of(sign: Any) -> bytes:  # noqa: ANN401 dkimpy has no types
    made: bytes = sign.sign(b"k", b"acme.example", pem(KEY), include_headers=list(SIGNED))
    return made.removeprefix(b"DKIM-Signature: ")


@dataclass
class Front:
    """The routes, the DNS they ask, and what came of the mails."""

    keys: dict[str, bytes] = field(default_factory=lambda: {NAME: record()})
    away: set[str] = field(default_factory=set[str])
    asked: list[str] = field(default_factory=list[str])
    taken: list[RawMail] = field(default_factory=list[RawMail])
    http: httpx.AsyncClient = field(default_factory=httpx.AsyncClient)

    async def lookup(self, name: str) -> bytes | None:
        self.asked.append(name)
        if name in self.away:
            raise CannotTell("the DNS does not answer")
        return self.keys.get(name)

    async def take(self, mail: RawMail) -> None:
        self.taken.append(mail)

    async def hand_over(self, raw: bytes) -> httpx.Response:
        """As Postmark does."""
        event = {"RawEmail": raw.decode(), "OriginalRecipient": "bot+x@in.acme.example"}
        with capture_logs():
            return await self.http.post("/email/postmark", content=json.dumps(event), headers=LOGIN)

    async def verdict(self, raw: bytes) -> Verdict | None:
        """What comes with the mail when it is taken."""
        assert (await self.hand_over(raw)).status_code == 200
        return self.taken[-1].verdict


@pytest.fixture
async def front() -> AsyncGenerator[Front]:
    found = Front()
    await found.http.aclose()

    async def seen(token: str, digest: str) -> bool:
        raise AssertionError(token, digest)

    app = FastAPI()
    app.include_router(
        email_routes(
            found.take,
            postmark_logins=["postmark:secret"],
            sendgrid_keys=[],
            mailgun_keys=[],
            seen=seen,
            check=DkimCheck(found.lookup).verdict,
        )
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bot.test") as found.http:
        yield found


@pytest.mark.parametrize("header", [b"relaxed", b"simple"])
@pytest.mark.parametrize("body", [b"relaxed", b"simple"])
async def test_a_signature_of_the_from_domain_proves_the_sender(front: Front, header: bytes, body: bytes) -> None:
    """EM18: and the record of who decided says what proved it."""
    raw = MAIL + b"\tThe   end \t\r\n\r\n\r\n"
    assert await front.verdict(signed(raw, canonicalize=(header, body))) == PASS
    mail = read_mail(front.taken[0], OWN)
    assert isinstance(mail, Mail)
    assert (mail.authentication, mail.authenticated_by) == ("pass", "dkim by acme.example")


def changed(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda raw: raw.replace(old, new)


def at_the_end(text: bytes) -> Callable[[bytes], bytes]:
    return lambda raw: raw + text


def on_top(line: bytes) -> Callable[[bytes], bytes]:
    return lambda raw: line + b"\r\n" + raw


def before_the_body(line: bytes) -> Callable[[bytes], bytes]:
    return lambda raw: raw.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n", 1)


@pytest.mark.parametrize(
    "tampered",
    [
        changed(b"APPROVE", b"DENY"),
        at_the_end(b"more\r\n"),
        changed(b"Re: Release", b"Re: Other"),
        changed(b"bot+x@", b"bot+y@"),
        changed(b"<1@acme", b"<2@acme"),
        changed(b"lena@acme.example>", b"ana@acme.example>"),
        on_top(b"To: bot+y@in.acme.example"),
        on_top(b"To : bot+y@in.acme.example"),
        on_top(b"Cc: bot+y@in.acme.example"),
        on_top(b"Subject: Other"),
        on_top(b"Message-ID: <2@acme.example>"),
        before_the_body(b"To: bot+y@in.acme.example"),
        before_the_body(b"Subject: Other"),
    ],
)
async def test_what_was_changed_or_added_on_the_way_proves_nothing(
    front: Front, tampered: Callable[[bytes], bytes]
) -> None:
    """EM18: a signature covers the lowest fields only, so one more on top breaks nothing."""
    assert await front.verdict(tampered(signed())) == NONE


async def test_line_feeds_alone_make_no_difference(front: Front) -> None:
    """Providers that store lines without carriage returns hand over the same mail."""
    assert await front.verdict(signed().replace(b"\r\n", b"\n")) == PASS
    assert await front.verdict(signed(canonicalize=(b"relaxed", b"relaxed")).replace(b"\r\n", b"\n")) == PASS


@pytest.mark.parametrize("line", [b"From: Ana <ana@acme.example>", b"From : Ana <ana@acme.example>", b"no header"])
async def test_a_second_from_or_a_broken_header_block_is_nobody_s(front: Front, line: bytes) -> None:
    """EM18."""
    for place in (on_top, before_the_body):
        assert await front.verdict(place(line)(signed())) == Verdict("none", "")
    assert not front.asked


async def test_what_no_signature_speaks_of_may_be_added(front: Front) -> None:
    """Providers put headers of their own on top."""
    extra = b"Received: from x by y\r\nX-Spam-Status: No\r\nReturn-Path: <lena@acme.example>"
    assert await front.verdict(on_top(extra)(signed())) == PASS


@pytest.mark.parametrize("name", SIGNED)
async def test_a_field_the_bot_acts_on_is_to_be_signed(front: Front, name: bytes) -> None:
    """EM18: From, To, Subject and Message-ID."""
    without = [one for one in SIGNED if one != name]
    # dkimpy signs nothing without From
    raw = signed().replace(b"h=from : ", b"h=") if name == b"from" else signed(headers=without)
    assert name + b" :" not in raw
    assert await front.verdict(raw) == NONE
    assert not front.asked


async def test_oversigned_fields_are_no_obstacle(front: Front) -> None:
    """Signers name a field once more than it is there, so that none can be added."""
    assert await front.verdict(signed(headers=[*SIGNED, *SIGNED, b"cc", b"date"])) == PASS
    assert await front.verdict(on_top(b"Cc: bot+y@in.acme.example")(signed(headers=[*SIGNED, b"cc"]))) == NONE


async def test_a_signature_of_a_part_of_the_body_proves_nothing(front: Front) -> None:
    """EM18: with `l=` whoever passes the mail on can write below it."""
    assert await front.verdict(signed(length=True)) == NONE
    assert await front.verdict(signed(length=True) + b"more") == NONE


@pytest.mark.parametrize(
    ("sender", "signer", "proves"),
    [
        ("acme.example", "acme.example", True),
        ("Acme.Example", "acme.example", True),
        ("berlin.acme.example", "acme.example", True),
        ("acme.example", "mail.acme.example", False),
        ("acme.example", "evil.example", False),
        ("acme.example", "cme.example", False),
        ("evil-acme.example", "acme.example", False),
        ("acme.example.evil.example", "acme.example", False),
        ("acme.example", "example", False),
    ],
)
async def test_the_signer_is_the_from_domain_or_a_parent_of_it(
    front: Front,
    sender: str,
    signer: str,
    proves: bool,  # noqa: FBT001
) -> None:
    """EM18: the same as for the results of a provider."""
    front.keys = {f"k._domainkey.{signer}.": record()}
    raw = MAIL.replace(b"lena@acme.example", f"lena@{sender}".encode())
    expected = Verdict("pass", sender.lower(), f"dkim by {signer}") if proves else Verdict("none", sender.lower())
    assert await front.verdict(signed(raw, signer)) == expected


async def test_another_domain_s_signature_beside_it_changes_nothing(front: Front) -> None:
    """EM18: lists and mailers sign too, and the DNS is not even asked about them."""
    front.keys["k._domainkey.evil.example."] = record()
    other = signature(domain="evil.example")
    assert await front.verdict(other + signed()) == PASS
    assert front.asked == [NAME]


@pytest.mark.parametrize(
    ("tag", "proves"),
    [
        # Named, because the time is another one in each process that collects the tests.
        pytest.param(f"x={int(time.time()) + 3600}", True, id="ends later"),
        pytest.param(f"t={int(time.time()) - 7200}", True, id="made earlier"),
        pytest.param(f"t={int(time.time()) - 7200}; x={int(time.time()) - 60}", False, id="made earlier and ended"),
        pytest.param(f"x={int(time.time()) - 60}", False, id="ended"),
        ("x=1", False),
        ("x=soon", False),
        ("x=" + "9" * 5000, False),
        ("a=rsa-sha1", False),
        ("v=2", False),
        ("q=http", False),
        ("c=relaxed/none", False),
        ("s=../k", False),
        ("d=acme..example", False),
        ("i=@evil.example", False),
        ("t=" + "9" * 5000, False),
        ("z=" + " " * 30 + "x", False),
    ],
)
async def test_a_signature_that_is_not_in_force_or_not_plain_proves_nothing(
    front: Front,
    tag: str,
    proves: bool,  # noqa: FBT001
) -> None:
    """EM18: an expiry that has passed, by ten minutes or ten years, among them."""
    assert await front.verdict(with_tags(tag)) == (PASS if proves else NONE)


@pytest.mark.parametrize(
    ("key", "proves"),
    [
        (record(), True),
        (record(b""), True),
        (record(b"v=DKIM1; h=sha1:sha256; s=email; t=s; n=a key; "), True),
        (record(b"s=*; "), True),
        (record(key=OTHER), False),  # another key
        (record(b"t=y; "), False),
        (record(b"t=s:y; "), False),
        (record(b"s=tlsrpt; "), False),
        (record(b"s=other; "), False),
        (record(b"h=sha1; "), False),
        (record(b"k=ed25519; "), False),
        (record(b"v=DKIM2; "), False),
        (record(b"n=" + b"x" * 1000 + b"; "), False),
        (b"v=DKIM1; p=", False),
        (b"v=DKIM1; k=rsa", False),
        (b"v=DKIM1; p=%%%", False),
        (b"v=DKIM1; p=AAAA", False),
        (b"v=DKIM1; p=" + base64.b64encode(b"\x30\x80\xff\x05\x01"), False),
        (b"v=spf1 -all", False),
        (b"", False),
        (b"\xff\xfe", False),
    ],
)
async def test_only_a_key_that_is_meant_for_mail_and_fits_counts(front: Front, key: bytes, proves: bool) -> None:  # noqa: FBT001
    """RFC 6376 3.6.1: testing, another service, another hash, revoked, or no key at all."""
    front.keys = {NAME: key}
    assert await front.verdict(signed()) == (PASS if proves else NONE)


def small_key() -> rsa.RSAPrivateKey:
    """Of 640 bits, which nobody makes any more: a good prime, and a well-known small one."""
    q, e = 2**127 - 1, 65537
    p = rsa.generate_private_key(e, 1024).private_numbers().p  # noqa: S505 half of it is what is wanted
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPublicNumbers(e, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), numbers).private_key()


async def test_a_key_has_at_least_1024_bits(front: Front) -> None:
    """RFC 8301: a smaller one can be broken, however well the signature fits it."""
    for key, proves in ((rsa.generate_private_key(65537, 1024), True), (small_key(), False)):  # noqa: S505
        raw, found = signed(key=pem(key)), record(key=key)
        front.keys = {NAME: found}

        def known(name: bytes, timeout: int, found: bytes = found) -> bytes:
            return found

        assert cast("Any", dkim).verify(raw, minkey=512, dnsfunc=known)
        assert await front.verdict(raw) == (PASS if proves else NONE)


async def test_a_strict_key_is_for_its_very_domain(front: Front) -> None:
    """RFC 6376 3.6.1: `t=s`."""
    raw = signed(identity=b"lena@berlin.acme.example")
    assert await front.verdict(raw) == PASS
    front.keys = {NAME: record(b"t=s; ")}
    assert await front.verdict(raw) == NONE


async def test_without_a_key_or_a_signature_nothing_is_proven(front: Front) -> None:
    """EM18: and never that it is forged, as that would need the policy of the domain."""
    front.keys.clear()
    assert await front.verdict(signed()) == NONE
    assert await front.verdict(MAIL) == NONE
    assert await front.verdict(b"DKIM-Signature: v=1\r\nDKIM-Signature:\r\nDKIM-Signature: ;;=\r\n" + MAIL) == NONE
    assert front.asked == [NAME]


async def test_while_the_dns_is_away_nothing_is_taken_and_the_provider_tries_again(front: Front) -> None:
    """EM1: 503 as long as that lasts, and then the same mail is taken."""
    front.away = {NAME}
    for _ in range(2):
        answer = await front.hand_over(signed())
        assert (answer.status_code, front.taken) == (503, [])
        assert answer.headers["retry-after"] == "60"
    front.away.clear()
    assert await front.verdict(signed()) == PASS


async def test_one_key_that_is_away_matters_only_where_no_other_proves_it(front: Front) -> None:
    """EM1."""
    raw = MAIL.replace(b"lena@acme.example", b"lena@berlin.acme.example")
    both = signature(raw, "berlin.acme.example") + signed(raw)
    front.away = {"k._domainkey.berlin.acme.example."}
    assert await front.verdict(both) == Verdict("pass", "berlin.acme.example", "dkim by acme.example")
    front.keys.clear()
    assert (await front.hand_over(both)).status_code == 503


async def test_five_signatures_are_looked_at(front: Front) -> None:
    """A mail cannot make the bot ask for as many keys as it likes."""
    wrong = b"".join(signature().replace(b"s=k;", f"s=k{n};".encode()) for n in range(5))
    assert await front.verdict(wrong + signed()) == NONE
    assert sorted(front.asked) == [f"k{n}._domainkey.acme.example." for n in range(5)]
    assert await front.verdict(wrong[: len(wrong) // 5 * 4] + signed()) == PASS


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n",
        b" \r\n \r\n",
        b":\r\n\r\n",
        b"\x00",
        b"\xff" * 100,
        b"From: a@acme.example",
        b"From: a@acme.example\r\nX: " + b"x" * 300_000,
        b"DKIM-Signature: " + b"a=b;" * 10_000 + b"\r\n" + MAIL,
        b"DKIM-Signature: v=1; b" + b" " * 50_000 + b"\r\n" + MAIL,
        b"DKIM-Signature:" + b"\r\n " * 20_000 + b"b\r\n" + MAIL,
        b"X:" + b"\r\n " * 80_000 + b"b\r\n" + MAIL,
        signed() + b"x" * MAX_RAW_BYTES,
        signed(canonicalize=(b"relaxed", b"relaxed")) + b" " * 900_000 + b"x",
        signed(MAIL + b"a " * 2_000_000, canonicalize=(b"relaxed", b"relaxed")),
        signed(canonicalize=(b"relaxed", b"simple")) + b"\r\n" * 1_000_000,
    ],
)
async def test_a_hostile_mail_is_no_error_and_takes_no_time(raw: bytes) -> None:
    """EM4: what grows with the square of a size is bounded."""
    dns_of_the_sender = Front()
    await dns_of_the_sender.http.aclose()
    began = time.process_time()
    verdict = await DkimCheck(dns_of_the_sender.lookup).verdict(raw)
    assert verdict.dmarc == "none" or raw.endswith(b"\r\n\r\n")
    assert time.process_time() - began < 5


async def test_nothing_of_a_mail_is_logged(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    """What dkimpy would log are headers and more."""
    with caplog.at_level(logging.DEBUG):
        await DkimCheck(front.lookup).verdict(signed() + b"secret")
        await DkimCheck(front.lookup).verdict(with_tags("v=2"))
    assert not [one for one in caplog.records if one.name.startswith("dkim")]


async def test_results_in_the_mail_itself_are_not_believed(front: Front) -> None:
    """EM18: with a provider in front it is the sender who wrote the topmost one."""
    forged = b"Authentication-Results: mx.acme.example; dmarc=pass header.from=acme.example\r\n" + MAIL
    assert await front.verdict(forged) == NONE
    for mail in (front.taken[0], RawMail(forged, "postmark"), RawMail(forged, "sendgrid"), RawMail(forged, "mailgun")):
        read = read_mail(mail, OWN)
        assert isinstance(read, Mail)
        assert (read.authentication, read.authenticated_by) == ("none", "")


async def test_a_signed_mail_by_mailgun_launches_an_agent_for_its_sender(redis_url: str, tmp_path: Path) -> None:
    """EM18: the whole bot; the same mail unsigned gets a receipt and nothing else."""
    async with bench(redis_url, tmp_path, mail=True, mailgun_webhook_signing_key="key") as post:
        bot = httpx.ASGITransport(app=post.board.web(lookup=Front().lookup))
        at = str(int(post.clock.now().timestamp()))

        async def by_mailgun(raw: bytes, token: str) -> int:
            proof = hmac.new(b"key", f"{at}{token}".encode(), hashlib.sha256).hexdigest()
            form = {"timestamp": at, "token": token, "signature": proof, "body-mime": raw, "recipient": BOT_ADDRESS}
            async with httpx.AsyncClient(transport=bot, base_url="http://bot.test") as http:
                kind = {"content-type": "application/x-www-form-urlencoded"}
                return (await http.post("/email/mailgun/mime", content=urlencode(form), headers=kind)).status_code

        raw = MAIL.replace(b"APPROVE", b"what is on production?").replace(b"bot+x@in.", b"bot@")
        assert await by_mailgun(raw, "one") == 200
        assert await post.threads() == []
        assert await by_mailgun(signed(raw), "two") == 200
        log = await post.until(lambda log: bool(log.events))
        (message,) = [event for event in log.events if isinstance(event, MessageReceived)]
        assert (message.by.name, message.by.authenticated_by) == ("Lena Vogt", "dkim by acme.example")


class NameServer(asyncio.DatagramProtocol):
    """Answers on loopback."""

    def __init__(self, texts: Sequence[str], rcode: dns.rcode.Rcode, *, silent: bool) -> None:
        self.texts, self.rcode, self.silent = texts, rcode, silent
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        answer.set_rcode(self.rcode)
        if self.texts:
            answer.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "TXT", *self.texts))
        if self.transport and not self.silent:
            self.transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def dns_with(
    *texts: str, rcode: dns.rcode.Rcode = dns.rcode.NOERROR, silent: bool = False
) -> AsyncGenerator[dns.asyncresolver.Resolver]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NameServer(texts, rcode, silent=silent), ("127.0.0.1", 0)
    )
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = transport.get_extra_info("sockname")[1]
    try:
        yield resolver
    finally:
        transport.close()


@pytest.mark.parametrize(
    ("texts", "rcode", "found"),
    [
        (['"v=DKIM1; " "p=AA"'], dns.rcode.NOERROR, b"v=DKIM1; p=AA"),
        (['"p=AA"', '"p=BB"'], dns.rcode.NOERROR, None),
        ([], dns.rcode.NOERROR, None),
        ([], dns.rcode.NXDOMAIN, None),
    ],
)
async def test_the_key_is_the_one_text_record_of_its_name(
    texts: list[str], rcode: dns.rcode.Rcode, found: bytes | None
) -> None:
    """RFC 6376 3.6.2.2: its strings joined; what several mean is not defined."""
    async with dns_with(*texts, rcode=rcode) as resolver:
        assert await txt_record(NAME, resolver) == found


@pytest.mark.parametrize(("rcode", "silent"), [(dns.rcode.SERVFAIL, False), (dns.rcode.NOERROR, True)])
async def test_a_dns_in_trouble_is_no_answer(
    rcode: dns.rcode.Rcode,
    silent: bool,  # noqa: FBT001
) -> None:
    """EM1: a server that fails or says nothing does not mean that there is no key."""
    async with dns_with(rcode=rcode, silent=silent) as resolver:
        resolver.lifetime = 0.3
        with pytest.raises(CannotTell):
            await txt_record(NAME, resolver)
