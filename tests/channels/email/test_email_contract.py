"""Mail over SMTP, and two providers' webhooks, as ways in like any other.

Who wrote a mail is proven by the Authentication-Results of our own server where it came by SMTP, and by its DKIM
signature where it came by one of these providers (EM18), whose webhook has a proof of its own besides.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlencode

import aiosmtplib
from channel_contract import ChannelContract, Driver, Outcome, Parcel, Sealed, SecretContract, SecretDriver
from signing import lookup, signed
from support import BOT_ADDRESS, Bench

from channels.email.simulator import Mailbox, StoredMail
from channels.email.simulator.writing import Draft, written

ANA = Mailbox("ana@acme.example", "Ana Ruiz")
OURS = "mx.acme.example"
RESULTS = {
    "": f"Authentication-Results: {OURS}; dmarc=pass header.from=acme.example\r\n",
    "no verdict": "",
    "another server's verdict": "Authentication-Results: mx.evil.test; dmarc=pass header.from=acme.example\r\n",
    "a verdict below another": (
        "Authentication-Results: mx.evil.test; dmarc=pass header.from=acme.example\r\n"
        f"Authentication-Results: {OURS}; dmarc=pass header.from=acme.example\r\n"
    ),
    "failed": f"Authentication-Results: {OURS}; dmarc=fail header.from=acme.example\r\n",
    "about another domain": f"Authentication-Results: {OURS}; dmarc=pass header.from=evil.test\r\n",
}


class _Mail:
    """What a mail is, whichever way it goes."""

    def parcel(self, on_bench: Bench, text: str) -> Parcel:
        return _parcel(on_bench, Draft(ANA, text, to=BOT_ADDRESS, subject="A question"))

    def echo(self, on_bench: Bench) -> Parcel:
        own = Mailbox(BOT_ADDRESS, "Switchboard")
        return _parcel(on_bench, Draft(own, "deploy v1.4.0 to staging", to=BOT_ADDRESS, subject="A question"))

    def reply(self, on_bench: Bench, parcel: Parcel, text: str) -> Parcel:
        return _parcel(on_bench, Draft(ANA, text, in_reply_to=_answers(on_bench, parcel)[-1]))

    def heard(self, on_bench: Bench, parcel: Parcel) -> list[str]:
        return [mail.text for mail in _answers(on_bench, parcel)]

    def strays(self, on_bench: Bench, parcel: Parcel) -> list[str]:
        mine = {mail.number for mail in _answers(on_bench, parcel)}
        inboxes = [mail for address in on_bench.mail.mailboxes for mail in on_bench.mail.inbox(address)]
        return [mail.text for mail in inboxes if mail.number not in mine]


def _parcel(on_bench: Bench, draft: Draft) -> Parcel:
    message_id = f"<{secrets.token_hex(8)}@acme.example>"
    message = written(draft, message_id=message_id, at=on_bench.clock.now())
    (to,) = [one.addr_spec for one in message["To"].addresses]
    return Parcel(message.as_bytes(), message_id, to)


def _answers(on_bench: Bench, parcel: Parcel) -> list[StoredMail]:
    inbox = on_bench.mail.inbox(ANA.address)
    return [mail for mail in inbox if parcel.place in str(mail.headers["References"] or "").split()]


class Smtp(_Mail, Driver):
    """A forged mail is taken, so that nobody who was named as its sender gets it back; it just starts nothing."""

    needs: ClassVar[Mapping[str, Any]] = {"mail": True}
    forgeries = tuple(name for name in RESULTS if name)
    forged: ClassVar[Outcome] = "taken"
    timed = False

    def seal(self, on_bench: Bench, parcel: Parcel, *, forgery: str = "", secret: str = "") -> Sealed:
        del on_bench, secret  # there is none, and a verdict has no time
        return Sealed(RESULTS[forgery].encode() + parcel.content, {}, parcel.to)

    async def post(self, on_bench: Bench, sealed: Sealed) -> Outcome:
        place = aiosmtplib.SMTP(
            hostname="127.0.0.1", port=on_bench.mail.bot_port, local_hostname=OURS, start_tls=False, timeout=20
        )
        try:
            async with place as smtp:
                await smtp.sendmail(ANA.address, [sealed.to], sealed.content)
        except aiosmtplib.SMTPResponseException as error:
            return "refused" if error.code >= 500 else "again"
        return "taken"


class Mailgun(_Mail, SecretDriver):
    """A signed form; the signature has a time, long enough for the retries of a working day."""

    needs: ClassVar[Mapping[str, Any]] = {
        "mail": True, "mailgun_webhook_signing_key": "a signing key", "lookup": lookup,
    }  # fmt: skip
    forgeries = ("missing", "wrong", "stale", "early")
    forged: ClassVar[Outcome] = "refused"
    timed = True
    stale_after_hours = 10
    secret_setting = "mailgun_webhook_signing_key"
    secrets = ("an old signing key", "a new signing key")

    def seal(self, on_bench: Bench, parcel: Parcel, *, forgery: str = "", secret: str = "") -> Sealed:
        age = {"stale": 9 * 3600 + 1, "early": -301}.get(forgery, 0)
        timestamp = str(int(on_bench.clock.now().timestamp()) - age)
        token = hashlib.sha256(parcel.content).hexdigest()[:50]
        key = "a guess" if forgery == "wrong" else secret or "a signing key"
        form: dict[str, str | bytes] = {
            "recipient": parcel.to,
            "sender": ANA.address,
            "timestamp": timestamp,
            "token": token,
            "body-mime": signed(parcel.content),
        }
        if forgery != "missing":
            form["signature"] = hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
        return Sealed(urlencode(form).encode(), {"Content-Type": "application/x-www-form-urlencoded"})

    async def post(self, on_bench: Bench, sealed: Sealed) -> Outcome:
        return await _posted(on_bench, "/email/mailgun/mime", sealed)


class Postmark(_Mail, SecretDriver):
    """Basic authentication, which has no time: a replay is known by the mail (EM3)."""

    needs: ClassVar[Mapping[str, Any]] = {
        "mail": True, "postmark_webhook_login": "postmark:a password", "lookup": lookup,
    }  # fmt: skip
    forgeries = ("missing", "wrong", "empty")
    forged: ClassVar[Outcome] = "refused"
    timed = False
    secret_setting = "postmark_webhook_login"
    secrets = ("postmark:an old password", "postmark:a new password")

    def seal(self, on_bench: Bench, parcel: Parcel, *, forgery: str = "", secret: str = "") -> Sealed:
        del on_bench  # a login has no time
        raw = signed(parcel.content).decode()
        known = {"wrong": "postmark:a guess", "empty": ":"}.get(forgery, secret or "postmark:a password")
        headers = {"Content-Type": "application/json"}
        if forgery != "missing":
            headers["Authorization"] = f"Basic {base64.b64encode(known.encode()).decode()}"
        return Sealed(json.dumps({"RawEmail": raw, "OriginalRecipient": parcel.to}).encode(), headers)

    async def post(self, on_bench: Bench, sealed: Sealed) -> Outcome:
        return await _posted(on_bench, "/email/postmark", sealed)


async def _posted(on_bench: Bench, path: str, sealed: Sealed) -> Outcome:
    answer = await on_bench.http.post(path, content=sealed.content, headers=sealed.headers)
    return "taken" if answer.is_success else "refused" if answer.is_client_error else "again"


class TestSmtpContract(ChannelContract):
    """Everything that the contract asks, but for a secret, which SMTP has not."""

    driver: ClassVar[Driver] = Smtp()


class TestMailgunContract(SecretContract):
    """Everything that the contract asks."""

    driver: ClassVar[SecretDriver] = Mailgun()


class TestPostmarkContract(SecretContract):
    """Everything that the contract asks."""

    driver: ClassVar[SecretDriver] = Postmark()
