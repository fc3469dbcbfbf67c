"""The webhooks of the mail providers, through their routes (EM1, EM2, EM18)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI
from structlog.testing import capture_logs
from support import bench

from bot.core.protocols import StoreUnavailable
from bot.web.email import email_routes
from channels.email.providers import mailgun, postmark, sendgrid
from channels.email.record import MAX_RAW_BYTES, RawMail, Verdict

NOW = 1_790_000_000
HOUR, DAY = 3600, 24 * 3600
FORM = "multipart/form-data; boundary=xYzZY"
MAIL = b"From: Lena <lena@acme.example>\r\nTo: bot+x@in.acme.example\r\nSubject: Hi\r\n\r\ncaf\xe9 \x00 ok\r\n"
LOGIN = "postmark:a:secret"
SIGNING_KEY = "key-of-mailgun"
PRIVATE_KEY = ec.generate_private_key(ec.SECP256R1())


def public(key: ec.EllipticCurvePrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


@dataclass
class Front:
    """The routes, and what came of them."""

    http: httpx.AsyncClient
    taken: list[RawMail] = field(default_factory=list[RawMail])
    tokens: dict[str, str] = field(default_factory=dict[str, str])
    store_is_away: bool = False

    async def take(self, record: RawMail) -> None:
        if self.store_is_away:
            raise StoreUnavailable
        self.taken.append(record)

    async def seen(self, token: str, digest: str) -> bool:
        return self.tokens.setdefault(token, digest) != digest

    async def check(self, raw: bytes) -> Verdict:
        return Verdict("none", f"{len(raw)}.checked.example")

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        with capture_logs():
            return await self.http.post(path, content=body, headers=headers)


@pytest.fixture
async def front() -> AsyncGenerator[Front]:
    async with httpx.AsyncClient(base_url="http://bot.test") as unused:
        found = Front(unused)
    app = FastAPI()
    app.include_router(
        email_routes(
            found.take,
            postmark_logins=["old:login", LOGIN],
            sendgrid_keys=[public(ec.generate_private_key(ec.SECP256R1())), public(PRIVATE_KEY)],
            mailgun_keys=["another key", SIGNING_KEY],
            seen=found.seen,
            check=found.check,
            now=lambda: NOW,
        )
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bot.test") as found.http:
        yield found


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


def form(fields: dict[str, bytes] | list[tuple[str, bytes]], boundary: bytes = b"xYzZY") -> bytes:
    pairs = list(fields.items()) if isinstance(fields, dict) else fields
    head = b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
    return b"".join(head % (boundary, name.encode(), value) for name, value in pairs) + b"--%b--\r\n" % boundary


def postmark_body(**changes: object) -> bytes:
    event = {
        "RawEmail": "From: lena@acme.example\r\n\r\nHi",
        "OriginalRecipient": "hash+x@inbound.example",
        "From": "x",
    }
    return json.dumps(event | changes).encode()


def sendgrid_fields(raw: bytes = MAIL, **changes: str) -> dict[str, bytes]:
    envelope = {"to": ["bot+x@in.acme.example"], "from": "bounces@acme.example"}
    fields = {"email": raw, "envelope": json.dumps(envelope).encode(), "SPF": b"none", "dkim": b"none"}
    return fields | {name: value.encode() for name, value in changes.items()}


def sendgrid_headers(
    body: bytes, *, timestamp: str = str(NOW), key: ec.EllipticCurvePrivateKey = PRIVATE_KEY
) -> dict[str, str]:
    signature = key.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
    return {
        "content-type": FORM,
        "x-twilio-email-event-webhook-timestamp": timestamp,
        "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
    }


def mailgun_fields(key: str = SIGNING_KEY, timestamp: str = str(NOW), token: str = "t" * 50) -> dict[str, bytes]:
    signature = hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    return {
        "recipient": b"bot+x@in.acme.example",
        "sender": b"lena@acme.example",
        "body-mime": MAIL,
        "timestamp": timestamp.encode(),
        "token": token.encode(),
        "signature": signature.encode(),
    }


async def test_postmark_s_raw_mail_is_taken(front: Front) -> None:
    """EM1: its bytes and its recipient; nothing in it is a verdict, so the bot judges the sender itself."""
    answer = await front.post("/email/postmark", postmark_body(), {"authorization": basic(LOGIN)})
    assert answer.status_code == 200
    raw = b"From: lena@acme.example\r\n\r\nHi"
    judged = Verdict("none", f"{len(raw)}.checked.example")
    assert front.taken == [RawMail(raw, "postmark", envelope_to=("hash+x@inbound.example",), verdict=judged)]


async def test_during_a_rotation_both_logins_are_good(front: Front) -> None:
    assert (await front.post("/email/postmark", postmark_body(), {"authorization": basic("old:login")})).is_success


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic ",
        "Basic %%%",
        "Bearer x",
        basic(""),
        basic(":"),
        basic("postmark:"),
        basic("postmark:b"),
        basic(LOGIN + "x"),
    ],
)
async def test_postmark_without_the_login_is_refused(front: Front, authorization: str) -> None:
    """EM2: 401, nothing is taken, and the body is not even looked at."""
    answer = await front.post("/email/postmark", b"{", {"authorization": authorization})
    assert (answer.status_code, front.taken) == (401, [])
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"[" * 100_000, 400),
        (b"\xff", 400),
        (postmark_body(RawEmail=7), 400),
        (postmark_body(OriginalRecipient=None), 400),
        (postmark_body(RawEmail=""), 422),
        (postmark_body(RawEmail=None), 422),
    ],
)
async def test_what_postmark_does_not_send_like_this_is_refused(front: Front, body: bytes, status: int) -> None:
    answer = await front.post("/email/postmark", body, {"authorization": basic(LOGIN)})
    assert (answer.status_code, front.taken) == (status, [])
    assert ("Include raw email content" in answer.text) == (status == 422)


async def test_sendgrid_s_raw_mail_is_taken(front: Front) -> None:
    """EM1: every byte of it, and its envelope."""
    body = form(sendgrid_fields())
    assert (await front.post("/email/sendgrid", body, sendgrid_headers(body))).status_code == 200
    assert front.taken == [
        RawMail(
            MAIL,
            "sendgrid",
            envelope_from="bounces@acme.example",
            envelope_to=("bot+x@in.acme.example",),
            verdict=Verdict("none", "acme.example"),
        )
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"x-twilio-email-event-webhook-signature": ""},
        {"x-twilio-email-event-webhook-signature": "%%%"},
        {"x-twilio-email-event-webhook-signature": base64.b64encode(b"x" * 70).decode()},
        {"x-twilio-email-event-webhook-timestamp": ""},
        {"x-twilio-email-event-webhook-timestamp": "soon"},
        {"x-twilio-email-event-webhook-timestamp": str(NOW + 1)},
        {"x-twilio-email-event-webhook-timestamp": "9" * 40},
    ],
)
async def test_sendgrid_without_a_good_signature_is_refused(front: Front, changes: dict[str, str]) -> None:
    """EM2."""
    body = form(sendgrid_fields())
    answer = await front.post("/email/sendgrid", body, sendgrid_headers(body) | changes)
    assert (answer.status_code, front.taken) == (401, [])


@pytest.mark.parametrize(("age", "status"), [(3 * DAY, 200), (3 * DAY + 1, 401), (-300, 200), (-301, 401)])
async def test_sendgrid_s_timestamp_is_good_for_as_long_as_it_retries(front: Front, age: int, status: int) -> None:
    """EM1, EM2: three days; an older request is not taken, however well it is signed."""
    body = form(sendgrid_fields())
    headers = sendgrid_headers(body, timestamp=str(NOW - age))
    assert (await front.post("/email/sendgrid", body, headers)).status_code == status


async def test_sendgrid_s_signature_covers_the_body_and_the_key_counts(front: Front) -> None:
    """EM2: another body, or another key."""
    body = form(sendgrid_fields())
    headers = sendgrid_headers(body)
    assert (await front.post("/email/sendgrid", body + b" ", headers)).status_code == 401
    other = sendgrid_headers(body, key=ec.generate_private_key(ec.SECP256R1()))
    assert (await front.post("/email/sendgrid", body, other)).status_code == 401
    assert not front.taken


@pytest.mark.parametrize("key", ["not base64", base64.b64encode(b"no key").decode()])
def test_a_setting_that_is_no_public_key_refuses_everything(key: str) -> None:
    """EM2: it fails closed."""
    with pytest.raises(sendgrid.Refused):
        sendgrid.verify_sendgrid(b"x", str(NOW), base64.b64encode(b"x").decode(), [key], NOW)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (form({**sendgrid_fields(), "email": b""}), 422),
        (form({name: value for name, value in sendgrid_fields().items() if name != "email"}), 422),
        (form(sendgrid_fields(envelope="{")), 400),
        (form(sendgrid_fields(envelope="[]")), 400),
        (form(sendgrid_fields(envelope='{"from": 1, "to": []}')), 400),
        (form([*sendgrid_fields().items(), ("SPF", b"pass")]), 400),
        (form(sendgrid_fields()) + b"--xYzZY--\r\n", 400),
        (form(sendgrid_fields())[:-6], 400),
        (b"preamble\r\n" + form(sendgrid_fields()), 400),
        (b"", 400),
    ],
)
async def test_what_sendgrid_does_not_send_like_this_is_refused(front: Front, body: bytes, status: int) -> None:
    answer = await front.post("/email/sendgrid", body, sendgrid_headers(body))
    assert (answer.status_code, front.taken) == (status, [])
    assert ("POST the raw, full MIME message" in answer.text) == (status == 422)


@pytest.mark.parametrize("closes", [b"", b"--xYzZY--\r\n"])
async def test_a_mail_cannot_write_fields_of_its_own_into_the_form(front: Front, closes: bytes) -> None:
    """EM18: the boundary can be guessed; a field that is there twice, or a second end, gives the whole thing away."""
    injected = b'\r\n--xYzZY\r\nContent-Disposition: form-data; name="SPF"\r\n\r\npass\r\n' + closes
    body = form(sendgrid_fields(MAIL + injected))
    assert (await front.post("/email/sendgrid", body, sendgrid_headers(body))).status_code == 400
    assert not front.taken


def signed(*tags: str) -> bytes:
    return b"".join(f"DKIM-Signature: v=1; a=rsa-sha256; {one}; s=k; b=xx\r\n".encode() for one in tags)


OURS, EVIL = "d=acme.example", "d=evil.example"


@pytest.mark.parametrize(
    ("signatures", "said", "expected"),
    [
        # DKIM
        ([OURS], {"dkim": "{@acme.example : pass}"}, "pass"),
        (["d=ACME.example; i=lena@Acme.example"], {"dkim": "{lena@acme.example : pass}"}, "pass"),
        ([EVIL, OURS], {"dkim": "{@evil.example : fail, @acme.example : pass}"}, "pass"),
        ([EVIL, OURS], {"dkim": "{@evil.example : pass, @acme.example : fail (body has been altered)}"}, "none"),
        ([OURS], {"dkim": "{@acme.example : fail (body has been altered)}"}, "none"),
        ([EVIL], {"dkim": "{@evil.example : pass}"}, "none"),
        (["d=mail.acme.example"], {"dkim": "{@mail.acme.example : pass}"}, "none"),
        ([OURS + "; l=10"], {"dkim": "{@acme.example : pass}"}, "none"),
        # results of domains that have no signature in the mail
        ([], {"dkim": "{@acme.example : pass}"}, "none"),
        ([EVIL], {"dkim": "{@evil.example : pass, @acme.example : pass}"}, "none"),
        # an identity or an explanation that spells another domain's entry
        (
            ["d=evil.example; i=@acme.example : pass, @evil.example", OURS],
            {"dkim": "{@acme.example : pass, @evil.example : pass}"},
            "none",
        ),
        (["d=evil.example; i==40acme.example", OURS], {"dkim": "{@acme.example : pass}"}, "none"),
        (
            [EVIL, OURS],
            {"dkim": "{@evil.example : invalid (unsupported algorithm x), @acme.example : pass, (y)}"},
            "none",
        ),
        (["d=evil.example; i=@acme.example"], {"dkim": "{@acme.example : pass}"}, "none"),
        (["d=evil.example; d=acme.example"], {"dkim": "{@acme.example : pass}"}, "none"),
        (["d=example"], {"dkim": "{@example : pass}"}, "none"),
        ([OURS], {"dkim": "{@acme.example : pass"}, "none"),
        # SPF
        ([], {"SPF": "pass"}, "pass"),
        ([], {"SPF": "Pass"}, "pass"),
        ([], {"SPF": "softfail"}, "none"),
        ([], {"SPF": "neutral"}, "none"),
        ([], {"SPF": "passing"}, "none"),
        ([], {"SPF": "fail"}, "fail"),
        ([OURS], {"SPF": "fail", "dkim": "{@acme.example : pass}"}, "pass"),
        ([], {"SPF": "pass", "envelope": '{"to": [], "from": "x@evil.example"}'}, "none"),
        ([], {"SPF": "fail", "envelope": '{"to": [], "from": "x@evil.example"}'}, "none"),
        ([], {"SPF": "pass", "envelope": '{"to": [], "from": "x@notacme.example"}'}, "none"),
        ([], {"SPF": "pass", "envelope": '{"to": [], "from": "x@sub.acme.example"}'}, "none"),
        ([], {"SPF": "pass", "envelope": '{"to": [], "from": "x@example"}'}, "none"),
        ([], {"SPF": "pass", "envelope": '{"to": [], "from": ""}'}, "none"),
        ([], {"SPF": "pass", "envelope": '{"to": [], "from": "<>"}'}, "none"),
    ],
)
async def test_sendgrid_s_results_prove_the_from_domain_or_nothing(
    front: Front, signatures: list[str], said: dict[str, str], expected: str
) -> None:
    """EM18: aligned is the From domain itself or a parent of it."""
    body = form(sendgrid_fields(signed(*signatures) + MAIL, **said))
    assert (await front.post("/email/sendgrid", body, sendgrid_headers(body))).status_code == 200
    assert [one.verdict for one in front.taken] == [Verdict(expected, "acme.example")]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "head",
    [
        b"From: lena@acme.example\r\nFrom: evil@x.example\r\n",
        b"From: lena@acme.example <evil@x.example>\r\n",
        b"Subject: no sender\r\n",
        b"X: " + b"x" * 300_000 + b"\r\n",
    ],
)
async def test_a_mail_without_one_clear_sender_gets_no_verdict(front: Front, head: bytes) -> None:
    """EM18."""
    body = form(sendgrid_fields(head + b"\r\nAPPROVE", SPF="pass"))
    assert (await front.post("/email/sendgrid", body, sendgrid_headers(body))).status_code == 200
    assert [one.verdict for one in front.taken] == [Verdict("none", "")]


async def test_a_parent_of_the_from_domain_proves_it(front: Front) -> None:
    """EM18: whoever holds acme.example holds what lies below."""
    raw = MAIL.replace(b"lena@acme.example", b"lena@berlin.acme.example")
    body = form(sendgrid_fields(raw, SPF="pass"))
    await front.post("/email/sendgrid", body, sendgrid_headers(body))
    assert front.taken[0].verdict == Verdict("pass", "berlin.acme.example")


@pytest.mark.parametrize("path", ["/email/mailgun", "/email/mailgun/mime"])
@pytest.mark.parametrize("urlencoded", [True, False])
async def test_mailgun_s_raw_mail_is_taken(front: Front, path: str, urlencoded: bool) -> None:  # noqa: FBT001
    """EM1: in both forms that Mailgun uses, every byte."""
    fields = mailgun_fields()
    body = urlencode(fields).encode() if urlencoded else form(fields)
    headers = {"content-type": "application/x-www-form-urlencoded" if urlencoded else FORM}
    assert (await front.post(path, body, headers)).status_code == 200
    assert front.taken == [
        RawMail(
            MAIL,
            "mailgun",
            envelope_from="lena@acme.example",
            envelope_to=("bot+x@in.acme.example",),
            verdict=Verdict("none", f"{len(MAIL)}.checked.example"),
        )
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": b""},
        {"signature": b"0" * 64},
        {"signature": "é".encode()},
        {"timestamp": b""},
        {"timestamp": str(NOW + 1).encode()},
        {"timestamp": b"now"},
        {"token": b""},
        {"token": b"another"},
        {"token": b"\xff"},
        mailgun_fields(timestamp=str(NOW - 9 * HOUR - 1)),
        mailgun_fields(timestamp=str(NOW + 301)),
        mailgun_fields(key="a key that is not ours"),
        mailgun_fields(key=""),
    ],
)
async def test_mailgun_without_a_good_signature_is_refused(front: Front, changes: dict[str, bytes]) -> None:
    """EM2: and no token is noted for it."""
    answer = await front.post("/email/mailgun/mime", form(mailgun_fields() | changes), {"content-type": FORM})
    assert (answer.status_code, front.taken, front.tokens) == (401, [], {})


@pytest.mark.parametrize("name", ["signature", "timestamp", "token"])
async def test_mailgun_without_a_part_of_the_signature_is_refused(front: Front, name: str) -> None:
    """EM2."""
    fields = mailgun_fields()
    del fields[name]
    assert (await front.post("/email/mailgun", form(fields), {"content-type": FORM})).status_code == 401
    assert not front.taken


@pytest.mark.parametrize(
    "other",
    [
        {"body-mime": b"From: boss@acme.example\r\n\r\nAPPROVE"},
        {"recipient": b"bot+y@in.acme.example"},
        {"sender": b"boss@acme.example"},
        {"recipient": b"bot+x@in.acme.examplelena@acme.example", "sender": b""},
    ],
)
async def test_mailgun_s_token_counts_for_one_mail(front: Front, other: dict[str, bytes]) -> None:
    """EM2: the signature covers neither mail nor envelope, so whoever has seen one could put another mail to it."""
    assert (await front.post("/email/mailgun", form(mailgun_fields()), {"content-type": FORM})).status_code == 200
    forged = form(mailgun_fields() | other)
    assert (await front.post("/email/mailgun", forged, {"content-type": FORM})).status_code == 401
    assert len(front.taken) == 1


async def test_mailgun_may_send_the_same_again_for_as_long_as_it_retries(front: Front) -> None:
    """EM1: with the timestamp, token and signature of the first try; the desk takes copies once."""
    body = form(mailgun_fields(timestamp=str(NOW - 9 * HOUR)))
    front.store_is_away = True
    with pytest.raises(StoreUnavailable):
        await front.post("/email/mailgun", body, {"content-type": FORM})
    front.store_is_away = False
    for _ in range(2):
        assert (await front.post("/email/mailgun", body, {"content-type": FORM})).status_code == 200
    assert len(front.taken) == 2


async def test_the_store_remembers_which_mail_a_token_of_mailgun_s_counts_for(redis_url: str, tmp_path: Path) -> None:
    """EM1, EM2: the same mail is taken in again and again, another one never, whichever comes in between."""
    async with bench(redis_url, tmp_path, mail=True, mailgun_webhook_signing_key=SIGNING_KEY) as post:
        fields = mailgun_fields(timestamp=str(int(post.clock.now().timestamp())))
        forged = fields | {"body-mime": b"From: boss@acme.example\r\n\r\nAPPROVE"}
        another = mailgun_fields(timestamp=fields["timestamp"].decode(), token="another")
        answers = [
            (await post.http.post("/email/mailgun", content=form(one), headers={"content-type": FORM})).status_code
            for one in (fields, fields, forged, forged, fields, another)
        ]
        assert answers == [200, 200, 401, 401, 200, 200]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (form(mailgun_fields() | {"body-mime": b""}), FORM, 422),
        (form(mailgun_fields()), "application/json", 401),
        (form(mailgun_fields()), "multipart/form-data", 401),
        (b"\xff=%", "application/x-www-form-urlencoded", 401),
        (b"", "application/x-www-form-urlencoded", 401),
        (urlencode([(f"f{n}", "x") for n in range(200)]).encode(), "application/x-www-form-urlencoded", 401),
    ],
)
async def test_what_mailgun_does_not_send_like_this_is_refused(
    front: Front, body: bytes, kind: str, status: int
) -> None:
    """EM2: where there is no form there is no signature either."""
    answer = await front.post("/email/mailgun", body, {"content-type": kind})
    assert (answer.status_code, front.taken) == (status, [])
    assert ("/email/mailgun/mime" in answer.text) == (status == 422)


async def test_a_mail_that_is_too_large_is_handed_on_to_be_refused_with_a_receipt(front: Front) -> None:
    """EM5: one byte over the cap is enough for that."""
    large = MAIL + b"x" * MAX_RAW_BYTES
    await front.post("/email/mailgun", form(mailgun_fields() | {"body-mime": large}), {"content-type": FORM})
    assert [len(one.raw) for one in front.taken] == [MAX_RAW_BYTES + 1]


@pytest.mark.parametrize(
    ("provider", "limit"),
    [("postmark", postmark.MAX_BODY_BYTES), ("sendgrid", sendgrid.MAX_BODY_BYTES), ("mailgun", mailgun.MAX_BODY_BYTES)],
)
async def test_a_body_is_read_within_a_bound(front: Front, provider: str, limit: int) -> None:
    """Whether the length is announced or not."""
    headers = sendgrid_headers(b"") | {"authorization": basic(LOGIN)}
    answer = await front.post(f"/email/{provider}", b"x", headers | {"content-length": str(limit + 1)})
    assert (answer.status_code, front.taken) == (413, [])


async def test_when_the_store_is_away_the_route_does_not_say_yes(front: Front) -> None:
    """EM1: the exception goes on to the application, which answers 503."""
    front.store_is_away = True
    with pytest.raises(StoreUnavailable):
        await front.post("/email/postmark", postmark_body(), {"authorization": basic(LOGIN)})


@pytest.mark.parametrize(
    ("path", "on", "says"),
    [
        ("/email/postmark", True, "set POSTMARK_WEBHOOK_LOGIN."),
        ("/email/sendgrid", True, "set SENDGRID_WEBHOOK_PUBLIC_KEY."),
        ("/email/mailgun", True, "set MAILGUN_WEBHOOK_SIGNING_KEY."),
        ("/email/mailgun/mime", False, "set EMAIL_ADDRESS, SMTP_HOST, MAILGUN_WEBHOOK_SIGNING_KEY."),
        ("/email/other", True, "it is postmark, sendgrid or mailgun"),
        ("/email/postmark/mime", True, "Not Found"),
    ],
)
async def test_a_provider_that_is_not_set_up_is_told_so(front: Front, path: str, on: bool, says: str) -> None:  # noqa: FBT001
    """With the setting that is missing; an empty secret is none."""
    app = FastAPI()
    app.include_router(
        email_routes(
            front.take if on else None,
            postmark_logins=[],
            sendgrid_keys=[""],
            mailgun_keys=(),
            seen=front.seen,
            check=front.check,
        )
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bot.test") as http:
        answer = await http.post(path, content=b"", headers={"authorization": basic(":")})
    assert answer.status_code == 404
    assert says in answer.text
