"""Moves texts: ours to the phones, with status callbacks, and those of the phones to the app's webhook.

A failed webhook is not tried again: Twilio does not, unless its address says so, and logs 11200 instead
(https://www.twilio.com/docs/api/errors/11200).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import httpx

from channels.sms.simulator.network import Network
from channels.sms.simulator.records import API_VERSION, Form, Text
from channels.sms.simulator.signing import signature

PATIENCE_SECONDS = 15.0
STOP_WORDS = ("stop", "unsubscribe", "end", "quit", "stopall", "revoke", "optout", "cancel")
START_WORDS = ("start", "yes", "unstop")
HELP_WORDS = ("help", "info")
_REPLIES = {
    "STOP": "You are unsubscribed and will get no more messages from this number. Reply START to resubscribe.",
    "START": "You are resubscribed to messages from this number. Reply HELP for help, STOP to unsubscribe.",
    "HELP": "Reply STOP to unsubscribe. Msg&Data Rates May Apply.",
}
_FAILED_BEFORE_SENDING = frozenset({30001, 30036})
EXPIRED = 30036
_XML_TYPES = ("text/xml", "application/xml")


@dataclass(frozen=True, slots=True)
class Callback:
    """A status callback that was made, or that is held back."""

    url: str
    form: Form


@dataclass(frozen=True, slots=True)
class Trouble:
    """A line of Twilio's debugger."""

    code: int
    """11200 a status that is not 2xx, 11205 no answer, 12100 no XML, 12300 not declared as XML."""
    sid: str


class Carrier:
    """The roads. `sleep` waits between the states of a text; `step_seconds` is how long."""

    def __init__(
        self,
        *,
        network: Network,
        http: httpx.AsyncClient,
        account_sid: str,
        auth_token: str,
        number: str,
        webhook_url: str,
        sleep: Callable[[float], Awaitable[None]],
        step_seconds: float,
        advanced_opt_out: bool,
    ) -> None:
        self.network = network
        self.account_sid, self.auth_token, self.number = account_sid, auth_token, number
        self.webhook_url = webhook_url
        self.down = False
        """The app cannot be reached: what phones send is kept in the list only."""
        self.step_seconds = step_seconds
        self.queue_seconds = 0.0
        """How long a text waits in Twilio's queue before its first step."""
        self.errors: dict[str, int] = {}
        """Numbers that nothing reaches, and the error code that is reported."""
        self.troubles: list[Trouble] = []
        self.callbacks: list[Callback] = []
        """All that were posted, in order."""
        self.held: list[Callback] | None = None
        """Callbacks wait here instead of being posted, while it is a list."""
        self._http, self._sleep, self._advanced = http, sleep, advanced_opt_out
        self._tasks: set[asyncio.Task[None]] = set()

    # --- to the phones

    def send(self, text: Text) -> None:
        """Take a queued text on its way, in the background."""
        task = asyncio.create_task(self._move(text))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Until everything that is on its way has arrived or failed."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Leave everything where it is."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def call_back(self, callback: Callback) -> int:
        """Post a status callback, as often and in whatever order one likes; the app's status, 0 without an answer."""
        self.callbacks.append(callback)
        answer = await self._post(callback.url, callback.form)
        return answer.status_code if answer else 0

    async def _move(self, text: Text) -> None:
        await self._sleep(self.queue_seconds + self.step_seconds)
        error = EXPIRED if self.network.now() - text.created > text.validity_seconds else self.errors.get(text.to)
        if error in _FAILED_BEFORE_SENDING:
            await self._reach(text, "failed", error)
            return
        await self._reach(text, "sending")
        await self._sleep(self.step_seconds)
        await self._reach(text, "sent")
        await self._sleep(self.step_seconds)
        await self._reach(text, "undelivered" if error else "delivered", error)

    async def _reach(self, text: Text, status: str, error: int | None = None) -> None:
        sent = self.network.now() if status == "sent" else self.network.texts[text.sid].sent
        text = self.network.change(text.sid, status=status, error_code=error, sent=sent)
        if not text.status_callback:
            return
        callback = Callback(text.status_callback, self._status_form(text))
        if self.held is not None:
            self.held.append(callback)
        else:
            await self.call_back(callback)

    def _status_form(self, text: Text) -> Form:
        form = {
            "AccountSid": self.account_sid,
            "ApiVersion": API_VERSION,
            "From": text.sender,
            "MessageSid": text.sid,
            "MessageStatus": text.status,
            "SmsSid": text.sid,
            "SmsStatus": text.status,
            "To": text.to,
        }
        if text.error_code is not None:
            form["ErrorCode"] = str(text.error_code)
        if text.status in {"delivered", "undelivered"}:
            form["RawDlrDoneDate"] = datetime.fromtimestamp(self.network.now(), UTC).strftime("%y%m%d%H%M")
        return form

    # --- from the phones

    async def receive(self, number: str, body: str, *, media: int = 0) -> Text:
        """Somebody texts our number: kept, answered by Twilio where it is a keyword, and posted to the app."""
        text = self.network.add(
            direction="inbound", sender=number, to=self.number, body=body, status="received",
            sent=self.network.now(), media=media,
        )  # fmt: skip
        keyword = _keyword(body)
        if keyword:
            self._answer(number, keyword)
        if self.down:
            self._trouble(11205, text)
        elif self.webhook_url:
            await self._deliver(text, self._inbound_form(text, keyword))
        return text

    async def redeliver(self, text: Text) -> None:
        """The same webhook again, as after a timeout with a retry in its address."""
        await self._deliver(text, self._inbound_form(text, _keyword(text.body)))

    def _answer(self, number: str, keyword: str) -> None:
        changed = keyword == "HELP" or self.network.opt(number, out=keyword == "STOP")
        if changed:
            self.network.add(
                direction="outbound-reply", sender=self.number, to=number, body=_REPLIES[keyword], status="delivered"
            )

    def _inbound_form(self, text: Text, keyword: str) -> Form:
        form = {
            "AccountSid": self.account_sid,
            "ApiVersion": API_VERSION,
            "Body": text.body,
            "From": text.sender,
            "FromCity": "",  # blank fields are sent, and signed (SM1)
            "FromCountry": "US",
            "FromState": "",
            "FromZip": "",
            "MessageSid": text.sid,
            "NumMedia": str(text.media),
            "NumSegments": str(text.segments),
            "SmsMessageSid": text.sid,
            "SmsSid": text.sid,
            "SmsStatus": "received",
            "To": text.to,
            "ToCity": "",
            "ToCountry": "US",
            "ToState": "",
            "ToZip": "",
        }
        return {**form, "OptOutType": keyword} if keyword and self._advanced else form

    async def _deliver(self, text: Text, form: Form) -> None:
        answer = await self._post(self.webhook_url, form)
        if answer is None:
            self._trouble(11205, text)
        elif not answer.is_success:
            self._trouble(11200, text)
        elif answer.content and not answer.headers.get("content-type", "").startswith(_XML_TYPES):
            self._trouble(12300, text)
        elif answer.content and not _is_xml(answer.content):
            self._trouble(12100, text)

    async def _post(self, url: str, form: Form) -> httpx.Response | None:
        headers = {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "X-Twilio-Signature": signature(url, form, self.auth_token),
        }
        try:
            return await self._http.post(url, content=urlencode(form), headers=headers, timeout=PATIENCE_SECONDS)
        except httpx.HTTPError:
            return None

    def _trouble(self, code: int, text: Text) -> None:
        self.troubles.append(Trouble(code, text.sid))
        self.network.notice("trouble", {"code": code, "sid": text.sid})


def _keyword(body: str) -> str:
    """What Twilio takes a text for: only the whole text counts, in any case."""
    word = body.strip().lower()
    words = {"STOP": STOP_WORDS, "START": START_WORDS, "HELP": HELP_WORDS}
    return next((keyword for keyword, listed in words.items() if word in listed), "")


def _is_xml(content: bytes) -> bool:
    try:
        ET.fromstring(content)  # noqa: S314 the app's own answer, on loopback
    except ET.ParseError:
        return False
    return True
