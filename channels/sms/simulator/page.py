"""The phones in the browser: who has one, what is on it, and writing a text.

It acts for the people it was given only, never for the bot: a text goes the way that Twilio's do.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from starlette.routing import Route

from channels.simulating import Files, Json, Panel, Streams, acting, guarded, reading
from channels.sms.simulator.app import SimulatedTwilio
from channels.sms.simulator.records import Text

FILES = Path(__file__).with_name("page")
SHOWN_TEXTS = 500
"""Of each phone, the newest."""
MAX_TEXT = 1_600
"""Characters that Twilio takes in one text."""


class PhonePage:
    """The page's endpoints over one `SimulatedTwilio`. `phones`: the numbers that one can act as, and their owners.

    `notice` and `links` (label, address) appear on the page.
    """

    def __init__(
        self,
        twilio: SimulatedTwilio,
        phones: Mapping[str, str],
        *,
        notice: str = "",
        links: Iterable[tuple[str, str]] = (),
    ) -> None:
        self._twilio, self._phones = twilio, dict(phones)
        self._notice, self._links = notice, list(links)
        self._streams = Streams(twilio.network, lambda change: {"kind": change.kind})
        routes = [
            *Files(FILES).routes("/phone", "/phone/files"),
            Route("/phone/state", reading(self._state)),
            Route("/phone/changes", guarded(self._streams.endpoint)),
            Route("/phone/send", acting(self._send), methods=["POST"]),
        ]
        self.panel = Panel("phone", "Phone", "/phone", routes, self._arrived, self._streams.close)

    def _arrived(self) -> int:
        return sum(
            text.to in self._phones and text.status == "delivered" for text in self._twilio.network.texts.values()
        )

    def _state(self) -> Json:
        network = self._twilio.network
        trouble = {one.sid: one.code for one in self._twilio.troubles}
        shown: list[Text] = []
        for number in self._phones:
            shown += [text for text in network.texts.values() if number in {text.sender, text.to}][-SHOWN_TEXTS:]
        return {
            "number": network.change_number,
            "notice": self._notice,
            "links": [{"label": label, "url": url} for label, url in self._links],
            "bot": self._twilio.number,
            "people": [{"id": number, "name": name} for number, name in self._phones.items()],
            "left": sorted(network.opted_out),
            "texts": [_shown(text, trouble.get(text.sid)) for text in shown],
        }

    async def _send(self, body: Json) -> None:
        number, text = str(body["from"]), str(body["text"]).strip()
        if number not in self._phones:
            raise ValueError("nobody here has this number")
        if not text or len(text) > MAX_TEXT:
            raise ValueError(f"a text has 1 to {MAX_TEXT:,} characters")
        await self._twilio.text(number, text)


def _shown(text: Text, trouble: int | None) -> Json:
    inbound = text.direction == "inbound"
    return {
        "key": text.sid,
        "phone": text.sender if inbound else text.to,
        "mine": inbound,
        "body": text.body,
        "at": text.created,
        "status": text.status,
        "segments": text.segments,
        "error": trouble if inbound else text.error_code,
    }
