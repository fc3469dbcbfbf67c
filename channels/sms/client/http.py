"""Twilio's asynchronous HTTP client, pointed at another address, with a time limit, and silent."""

from __future__ import annotations

import logging
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.http.response import Response

_TIMEOUT_SECONDS = 10.0


class PointedHttpClient(AsyncTwilioHttpClient):
    """Sends what Twilio's client makes to `api_url` instead of the host that the SDK has built in. Never retries."""

    def __init__(self, api_url: str) -> None:
        silent = logging.getLogger("switchboard.twilio")
        silent.setLevel(logging.CRITICAL)  # the SDK logs addresses with numbers in them
        cast("Any", super()).__init__(pool_connections=False, logger=silent)
        base = urlsplit(api_url)
        self._scheme, self._host, self._prefix = base.scheme, base.netloc, base.path.rstrip("/")

    async def request(  # noqa: PLR0917 the SDK's signature
        self,
        method: str,
        url: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 the SDK's signature
        allow_redirects: bool = False,  # noqa: FBT001, FBT002 the SDK's signature
    ) -> Response:
        """One request. Raises aiohttp.ClientError, TimeoutError."""
        if cast("Any", self.session) is None:  # made here, because only here a loop is sure to run
            self.session = aiohttp.ClientSession()
        asked = urlsplit(url)
        pointed = urlunsplit((self._scheme, self._host, self._prefix + asked.path, asked.query, ""))
        # The SDK's own way to pass `auth` is deprecated in aiohttp.
        signed = {**(headers or {}), "Authorization": aiohttp.encode_basic_auth(*auth)} if auth else headers
        return await cast("Any", super()).request(
            method, pointed, params, data, signed, None, timeout or _TIMEOUT_SECONDS, allow_redirects
        )
