"""Slack's Events API, as a way in like any other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from channel_contract import Outcome, Parcel, Sealed, SecretContract, SecretDriver
from support import Bench

from channels.slack.simulator import Message
from channels.slack.simulator.delivery import signature
from channels.slack.simulator.people import wire_text


class Events(SecretDriver):
    """Signed event callbacks; the signature has a time."""

    needs: ClassVar[Mapping[str, Any]] = {}
    forgeries = ("missing", "wrong", "stale", "early", "of another body")
    forged: ClassVar[Outcome] = "refused"
    timed = True
    secret_setting = "slack_signing_secret"
    secrets = ("an old signing secret", "a new signing secret")

    def parcel(self, on_bench: Bench, text: str) -> Parcel:
        workspace = on_bench.slack.workspace
        return self._parcel(on_bench, workspace.post("C0DEPLOYS", "U0ANA", wire_text(workspace, f"@bot {text}")))

    def echo(self, on_bench: Bench) -> Parcel:
        workspace = on_bench.slack.workspace
        said = workspace.post("C0DEPLOYS", "U0BOT", "<@U0BOT> deploy v1.4.0 to staging", bot_id=workspace.bot_id)
        return self._parcel(on_bench, said)

    def reply(self, on_bench: Bench, parcel: Parcel, text: str) -> Parcel:
        written = on_bench.slack.workspace.post("C0DEPLOYS", "U0ANA", text, thread_ts=parcel.place)
        return self._parcel(on_bench, written)

    def seal(self, on_bench: Bench, parcel: Parcel, *, forgery: str = "", secret: str = "") -> Sealed:
        age = {"stale": 301, "early": -301}.get(forgery, 0)
        timestamp = str(int(on_bench.clock.now().timestamp()) - age)
        of = parcel.content + b" " if forgery == "of another body" else parcel.content
        known = "a guess" if forgery == "wrong" else secret or on_bench.slack.tokens.signing_secret
        headers = {
            "Content-Type": "application/json",
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": signature(known, timestamp, of),
        }
        if forgery == "missing":
            del headers["X-Slack-Signature"]
        return Sealed(parcel.content, headers)

    async def post(self, on_bench: Bench, sealed: Sealed) -> Outcome:
        answer = await on_bench.http.post("/slack/events", content=sealed.content, headers=sealed.headers)
        return "taken" if answer.is_success else "refused" if answer.is_client_error else "again"

    def heard(self, on_bench: Bench, parcel: Parcel) -> list[str]:
        return [one.text for one in self._said(on_bench) if one.thread_ts == parcel.place]

    def strays(self, on_bench: Bench, parcel: Parcel) -> list[str]:
        return [one.text for one in self._said(on_bench) if one.thread_ts != parcel.place]

    def _said(self, on_bench: Bench) -> list[Message]:
        workspace = on_bench.slack.workspace
        said = [one for channel in workspace.channels for one in workspace.messages(channel, ephemeral=True)]
        return [one for one in said if one.bot_id and one.client_msg_id is None]

    def _parcel(self, on_bench: Bench, message: Message) -> Parcel:
        body = json.dumps(on_bench.slack.payloads.posted(message)[0]).encode()
        return Parcel(body, message.thread_ts or message.ts)


class TestSlackContract(SecretContract):
    """Everything that the contract asks."""

    driver: ClassVar[SecretDriver] = Events()
