"""What the simulated network consists of. A record is frozen: a change makes a new one."""

from dataclasses import asdict, dataclass
from email.utils import formatdate
from typing import Any

Json = dict[str, Any]
"""A decoded JSON object, shaped as Twilio's documentation shapes it."""
Form = dict[str, str]

API_VERSION = "2010-04-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One text message. Times are seconds since the epoch."""

    sid: str
    direction: str
    """`inbound`, `outbound-api`, or `outbound-reply` for what Twilio says by itself."""
    sender: str
    to: str
    body: str
    status: str
    created: float
    updated: float
    sent: float | None = None
    error_code: int | None = None
    segments: int = 1
    media: int = 0
    validity_seconds: int = 36_000
    status_callback: str = ""

    @property
    def listed(self) -> bool:
        """Whether it is in the message list; Twilio's own replies are not."""
        return self.direction != "outbound-reply"

    def stored(self) -> Json:
        """For persistence; `Text(**stored)` is the same text again."""
        return asdict(self)

    def resource(self, account_sid: str) -> Json:
        """The Message resource that the REST API answers with."""
        uri = f"/{API_VERSION}/Accounts/{account_sid}/Messages/{self.sid}"
        return {
            "account_sid": account_sid,
            "api_version": API_VERSION,
            "body": self.body,
            "date_created": formatdate(self.created),
            "date_sent": None if self.sent is None else formatdate(self.sent),
            "date_updated": formatdate(self.updated),
            "direction": self.direction,
            "error_code": self.error_code,
            "error_message": None,
            "from": self.sender,
            "messaging_service_sid": None,
            "num_media": str(self.media),
            "num_segments": str(self.segments),
            "price": None,
            "price_unit": "USD",
            "sid": self.sid,
            "status": self.status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": self.to,
            "uri": f"{uri}.json",
        }
