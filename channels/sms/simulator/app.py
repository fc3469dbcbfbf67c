"""`SimulatedTwilio`: an account with one number, and all the phones in the world.

The composition root of the simulator. It must never listen anywhere by itself: `serving` does that, on loopback.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.routing import Route

from channels.sms.simulator.carrier import Callback, Carrier, Trouble
from channels.sms.simulator.network import Network
from channels.sms.simulator.records import API_VERSION, Text
from channels.sms.simulator.rest import Refused, RestApi, refusal


class SimulatedTwilio:
    """A stateful Twilio counterpart. Serve `app` (see `serving.serve`) and set `webhook_url` to the app's address.

    Account and token are made up unless given; the numbers are of ranges that nobody has (+1 202 555 01xx). `now` gives
    seconds since the epoch; `sleep` waits between the states of a text. `per_second`: how many texts the API takes
    (None: any). `advanced_opt_out`: inbound keywords carry `OptOutType`, as only a Messaging Service that has this
    feature makes them. `save_to` keeps the texts over restarts.
    """

    def __init__(
        self,
        *,
        number: str = "+12025550100",
        webhook_url: str = "",
        http: httpx.AsyncClient | None = None,
        account_sid: str | None = None,
        auth_token: str | None = None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        step_seconds: float = 0.2,
        per_second: float | None = None,
        advanced_opt_out: bool = False,
        save_to: Path | None = None,
    ) -> None:
        self.number, self.save_to = number, save_to
        self.account_sid = account_sid or f"AC{secrets.token_hex(16)}"
        self.auth_token = auth_token or secrets.token_hex(16)
        self.base_url = "http://127.0.0.1"
        self.network = Network(now)
        if save_to and save_to.exists():
            self.network.load(save_to)
        self._own_http = None if http else httpx.AsyncClient(trust_env=False)
        self.carrier = Carrier(
            network=self.network,
            http=http or self._own_http or httpx.AsyncClient(),
            account_sid=self.account_sid,
            auth_token=self.auth_token,
            number=number,
            webhook_url=webhook_url,
            sleep=sleep,
            step_seconds=step_seconds,
            advanced_opt_out=advanced_opt_out,
        )
        self.rest = RestApi(self.network, self.carrier, per_second=per_second)
        root = f"/{API_VERSION}/Accounts/{{account}}"
        self.app = Starlette(
            routes=[
                Route(f"{root}/Messages.json", self.rest.messages, methods=["GET", "POST"]),
                Route(f"{root}/Messages/{{sid}}.json", self.rest.message, methods=["GET"]),
                Route(f"{root}.json", self.rest.account, methods=["GET"]),
            ],
            exception_handlers={Refused: refusal},
        )

    @property
    def api_url(self) -> str:
        """What the app takes as `TWILIO_API_URL`."""
        return self.base_url

    @property
    def webhook_url(self) -> str:
        """Where inbound texts are posted."""
        return self.carrier.webhook_url

    @webhook_url.setter
    def webhook_url(self, url: str) -> None:
        self.carrier.webhook_url = url

    # --- what people do

    async def text(self, from_number: str, body: str, *, media: int = 0) -> Text:
        """Somebody texts the bot's number; returns once the app has answered or Twilio has given up."""
        return await self.carrier.receive(from_number, body, media=media)

    def phone(self, number: str) -> list[Text]:
        """What this phone shows: what it sent, and what arrived, in order."""
        return [
            text
            for text in self.network.texts.values()
            if text.sender == number or (text.to == number and text.status == "delivered")
        ]

    def sent_to(self, number: str) -> list[Text]:
        """What the app sent to a number, whatever became of it."""
        return [text for text in self.network.texts.values() if text.to == number and text.direction == "outbound-api"]

    @property
    def segments_sent(self) -> int:
        """What the app's texts cost so far."""
        return sum(text.segments for text in self.network.texts.values() if text.direction == "outbound-api")

    # --- what happens

    def go_down(self) -> None:
        """From now on the app cannot be reached: texts are kept, webhooks are not made."""
        self.carrier.down = True

    def come_up(self) -> None:
        """The app can be reached again. What it missed is not sent again."""
        self.carrier.down = False

    def fail_next(self, code: int, status: int = 400) -> None:
        """Refuse the next text with this error."""
        self.rest.faults.append(Refused(code, "as the test wanted", status))

    def lose_answer(self, count: int = 1) -> None:
        """Take the next texts, and cut the connection instead of answering."""
        self.rest.answers_to_lose = count

    def fail_delivery(self, number: str, code: int) -> None:
        """Nothing arrives at this number any more; Twilio reports this error."""
        self.carrier.errors[number] = code

    def hold_callbacks(self) -> list[Callback]:
        """From now on status callbacks wait in the list that is returned; see `carrier.call_back`."""
        self.carrier.held = []
        return self.carrier.held

    @property
    def troubles(self) -> list[Trouble]:
        """Twilio's debugger: webhooks that went wrong."""
        return self.carrier.troubles

    async def settle(self) -> None:
        """Until every text has arrived or failed, and its callbacks were made."""
        await self.carrier.settle()

    async def close(self) -> None:
        """Stop everything that is under way and free the connections; what was said stays readable."""
        self.network.close_subscriptions()
        await self.carrier.close()
        if self._own_http:
            await self._own_http.aclose()
