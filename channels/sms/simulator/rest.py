"""Twilio's REST API, as much of it as the bot uses: the Messages and Account resources, with Twilio's error codes."""

import base64
import re
import secrets
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode, urlsplit

import phonenumbers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from channels.sms.simulator.carrier import Carrier
from channels.sms.simulator.network import Network
from channels.sms.simulator.records import API_VERSION, Text

MAX_CHARACTERS = 1_600
MAX_VALIDITY = 36_000
_MAX_CALLBACK, _PAGE, _MAX_PAGE = 4_000, 50, 1_000
_TRIES_LANDLINES = frozenset({"US", "CA", "GB"})
"""There Twilio tries and reports 30006; elsewhere it refuses with 21635."""


class Refused(Exception):  # noqa: N818 an answer of the API
    """The call is not done."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


async def refusal(_: Request, refused: Exception) -> Response:
    """As Twilio words it."""
    if not isinstance(refused, Refused):
        raise refused
    info = f"https://www.twilio.com/docs/errors/{refused.code}"
    body = {"code": refused.code, "message": refused.message, "more_info": info, "status": refused.status}
    return JSONResponse(body, status_code=refused.status)


class RestApi:
    """The endpoints, and the trouble that a test wants from them."""

    def __init__(self, network: Network, carrier: Carrier, *, per_second: float | None) -> None:
        self.network, self.carrier = network, carrier
        self.per_second = per_second
        self.landlines: set[str] = set()
        self.faults: deque[Refused] = deque()
        """Answers of the next POSTs, one each."""
        self.answers_to_lose = 0
        """So many POSTs are done, and their answers never arrive."""
        self._recent: deque[float] = deque()

    async def messages(self, request: Request) -> Response:
        """POST sends a text, GET lists them."""
        self._authorise(request)
        if request.method == "POST":
            return await self._create(request)
        return JSONResponse(self._list(request.query_params))

    async def message(self, request: Request) -> Response:
        """One text."""
        self._authorise(request)
        text = self.network.texts.get(request.path_params["sid"])
        if text is None or not text.listed:
            raise Refused(20404, "The requested resource was not found", 404)
        return JSONResponse(text.resource(self.carrier.account_sid))

    async def account(self, request: Request) -> Response:
        """The account."""
        self._authorise(request)
        sid = self.carrier.account_sid
        body = {"sid": sid, "friendly_name": "Simulated", "status": "active", "type": "Full",
                "uri": f"/{API_VERSION}/Accounts/{sid}.json"}  # fmt: skip
        return JSONResponse(body)

    def _authorise(self, request: Request) -> None:
        sent = request.headers.get("authorization", "").encode()
        pair = f"{self.carrier.account_sid}:{self.carrier.auth_token}".encode()
        if not secrets.compare_digest(sent, b"Basic " + base64.b64encode(pair)):
            raise Refused(20003, "Authenticate", 401)
        if request.path_params["account"] != self.carrier.account_sid:
            raise Refused(20404, "The requested resource was not found", 404)

    async def _create(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        if self.faults:
            raise self.faults.popleft()
        self._limit()
        self._check(form)
        text = self.network.add(
            direction="outbound-api", sender=form["From"], to=form["To"], body=form["Body"], status="queued",
            validity_seconds=int(form.get("ValidityPeriod", MAX_VALIDITY)),
            status_callback=form.get("StatusCallback", ""),
        )  # fmt: skip
        if text.to in self.landlines:
            self.carrier.errors[text.to] = 30006
        self.carrier.send(text)
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            request.state.transport.abort()
        return JSONResponse(text.resource(self.carrier.account_sid), status_code=201)

    def _limit(self) -> None:
        if self.per_second is None:
            return
        now = self.network.now()
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        if len(self._recent) >= self.per_second:
            raise Refused(20429, "Too Many Requests", 429)
        self._recent.append(now)

    def _check(self, form: Mapping[str, str]) -> None:
        to, sender, body = form.get("To", ""), form.get("From", ""), form.get("Body", "")
        if not to:
            raise Refused(21604, "A 'To' phone number is required.")
        region = _region(to)
        if region is None:
            raise Refused(21211, "Invalid 'To' Phone Number.")
        if not sender:
            raise Refused(21603, "A 'From' phone number is required.")
        if sender != self.carrier.number:
            raise Refused(21659, "'From' is not a Twilio phone number or short code.")
        if to == sender:
            raise Refused(21266, "'To' and 'From' number cannot be the same.")
        _check_content(form, body)
        if to in self.network.opted_out:
            raise Refused(21610, "Attempt to send to unsubscribed recipient.")
        if to in self.landlines and region not in _TRIES_LANDLINES:
            raise Refused(21635, "'To' number cannot be a landline.")

    def _list(self, query: Mapping[str, str]) -> dict[str, object]:
        try:
            size = min(_MAX_PAGE, max(1, int(query.get("PageSize", _PAGE))))
            page = max(0, int(query.get("Page", 0)))
            dates = _dates(query)
        except ValueError:
            raise Refused(20001, "Invalid parameter.") from None
        found = [text for text in self.network.newest_first() if _matches(text, query, dates)]
        token = query.get("PageToken", "").removeprefix("PA")
        # A page goes on after a text, not at a place: what came in meanwhile moves nothing.
        start = next((at + 1 for at, text in enumerate(found) if token and text.sid == token), 0)
        shown = found[start : start + size]
        path = f"/{API_VERSION}/Accounts/{self.carrier.account_sid}/Messages.json"
        more = start + size < len(found)
        following = {"PageSize": str(size), "Page": str(page + 1), "PageToken": f"PA{shown[-1].sid}" if more else ""}
        return {
            "messages": [text.resource(self.carrier.account_sid) for text in shown],
            "page": page,
            "page_size": size,
            "start": page * size,
            "end": page * size + max(0, len(shown) - 1),
            "uri": f"{path}?{urlencode(dict(query))}",
            "first_page_uri": f"{path}?PageSize={size}&Page=0",
            "previous_page_uri": None,
            "next_page_uri": f"{path}?{urlencode({**query, **following})}" if more else None,
        }


def _region(number: str) -> str | None:
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return None
    if parsed.country_code is None or not phonenumbers.is_possible_number(parsed):
        return None
    return phonenumbers.region_code_for_country_code(parsed.country_code)


def _is_address(url: str) -> bool:
    found = urlsplit(url)
    host = found.hostname or ""
    return found.scheme in {"http", "https"} and bool(host) and "_" not in host and len(url) <= _MAX_CALLBACK


def _matches(text: Text, query: Mapping[str, str], dates: Mapping[str, float]) -> bool:
    if query.get("To", text.to) != text.to or query.get("From", text.sender) != text.sender:
        return False
    if not dates:
        return True
    sent = text.sent  # None while it is queued: no filter by date finds it
    return sent is not None and all(
        sent >= at if name == "DateSent>" else sent <= at if name == "DateSent<" else sent // 86_400 == at // 86_400
        for name, at in dates.items()
    )


def _dates(query: Mapping[str, str]) -> dict[str, float]:
    """The filters by date. `DateSent>=2026-11-21` is the name `DateSent>` and a value. Raises ValueError."""
    found: dict[str, float] = {}
    for name in ("DateSent", "DateSent>", "DateSent<"):
        if name in query:
            at = datetime.fromisoformat(query[name])
            found[name] = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    return found


def _check_content(form: Mapping[str, str], body: str) -> None:
    if not body:
        raise Refused(21602, "Message body is required.")
    if len(body) > MAX_CHARACTERS:
        raise Refused(21617, "The concatenated message body exceeds the 1600 character limit.")
    validity = form.get("ValidityPeriod", str(MAX_VALIDITY))
    if not re.fullmatch(r"[0-9]{1,6}", validity) or not 1 <= int(validity) <= MAX_VALIDITY:
        raise Refused(21624, "The validity period is out of range.")
    if "StatusCallback" in form and not _is_address(form["StatusCallback"]):
        raise Refused(21609, "The 'StatusCallback' URL is not a valid URL.")
