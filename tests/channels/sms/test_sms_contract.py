"""Twilio's webhook for inbound texts, as a way in like any other."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

from channel_contract import Outcome, Parcel, Sealed, SecretContract, SecretDriver
from support import PHONES, Bench

from channels.sms.simulator import signature

URL = "http://bot.test/twilio/sms"


class Webhook(SecretDriver):
    """Signed forms. The signature has no time: a replay is known by its MessageSid (SM3)."""

    needs: ClassVar[Mapping[str, Any]] = {"sms": True}
    forgeries = ("missing", "wrong", "of another form", "without its blank fields", "for another host")
    forged: ClassVar[Outcome] = "refused"
    timed = False
    secret_setting = "twilio_auth_token"
    secrets = ("0123456789abcdef" * 2, "fedcba9876543210" * 2)

    def parcel(self, on_bench: Bench, text: str) -> Parcel:
        return _parcel(on_bench, PHONES["ana"], text)

    def echo(self, on_bench: Bench) -> Parcel:
        return _parcel(on_bench, on_bench.twilio.number, "deploy v1.4.0 to staging")

    def reply(self, on_bench: Bench, parcel: Parcel, text: str) -> Parcel:
        return _parcel(on_bench, parcel.place, text)

    def seal(self, on_bench: Bench, parcel: Parcel, *, forgery: str = "", secret: str = "") -> Sealed:
        form = dict(parse_qsl(parcel.content.decode(), keep_blank_values=True))
        url = "http://evil.test/twilio/sms" if forgery == "for another host" else URL
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
        if forgery == "for another host":
            headers["Host"] = "evil.test"
        if forgery == "of another form":
            form["Body"] += "!"
        if forgery == "without its blank fields":
            form = {name: value for name, value in form.items() if value}
        known = "a guess" if forgery == "wrong" else secret or on_bench.twilio.auth_token
        if forgery != "missing":
            headers["X-Twilio-Signature"] = signature(url, form, known)
        return Sealed(parcel.content, headers)

    async def post(self, on_bench: Bench, sealed: Sealed) -> Outcome:
        answer = await on_bench.http.post("/twilio/sms", content=sealed.content, headers=sealed.headers)
        return "taken" if answer.is_success else "refused" if answer.is_client_error else "again"

    def heard(self, on_bench: Bench, parcel: Parcel) -> list[str]:
        return [text.body for text in on_bench.twilio.sent_to(parcel.place)]

    def strays(self, on_bench: Bench, parcel: Parcel) -> list[str]:
        sent = [text for text in on_bench.twilio.network.texts.values() if text.direction == "outbound-api"]
        return [text.body for text in sent if text.to != parcel.place]


def _parcel(on_bench: Bench, number: str, text: str) -> Parcel:
    sid = f"SM{secrets.token_hex(16)}"
    form = {
        "AccountSid": on_bench.twilio.account_sid,
        "Body": text,
        "From": number,
        "FromCity": "",
        "MessageSid": sid,
        "NumMedia": "0",
        "SmsSid": sid,
        "To": on_bench.twilio.number,
    }
    return Parcel(urlencode(form).encode(), number)


class TestSmsContract(SecretContract):
    """Everything that the contract asks."""

    driver: ClassVar[SecretDriver] = Webhook()
