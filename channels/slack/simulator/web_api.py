"""The HTTP side of the Web API: decoding calls, checking tokens, rate limits and scripted faults.

A token is checked before anything else about a call is looked at, and a fault or a limit never leaves a call half
applied. What a method does is in `methods`.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from channels.slack.simulator.faults import Fault, Faults, LostAnswer, RateLimited, Refused, ServerError, Slow
from channels.slack.simulator.limits import BreachError, check_message
from channels.slack.simulator.methods import Methods
from channels.slack.simulator.records import Json
from channels.slack.simulator.tickets import Tickets
from channels.slack.simulator.workspace import Workspace

SCOPES = "app_mentions:read,channels:history,chat:write,commands,im:history,im:write,reactions:write,users:read"
POSTING = {"chat.postMessage", "chat.postEphemeral", "chat.update"}


class CutConnection(Response):
    """Ends the TCP connection without a byte of an answer; needs `serving.serve` underneath."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - nothing is sent: that is the point
        """Abort, and stay until the server has noticed, so that it does not answer in our place."""
        transport: asyncio.Transport | None = scope.get("state", {}).get("transport")
        if transport is None:
            raise ConnectionAbortedError("the simulated answer is lost")
        transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass


@dataclass(frozen=True, slots=True)
class Tokens:
    """The credentials that the app was installed with."""

    bot_token: str
    app_token: str
    signing_secret: str


class PostLimiter:
    """About one message a second in each channel (SL18); `per_second` None lets everything through."""

    def __init__(self, per_second: float | None, now: Callable[[], float]) -> None:
        self.per_second = per_second
        self._now = now
        self._free_at: dict[str, float] = {}

    def refuse(self, channel: str) -> int | None:
        """Seconds for `Retry-After`, or None after counting this message."""
        if not self.per_second:
            return None
        now = self._now()
        wait = self._free_at.get(channel, now) - now
        if wait > 0:
            return max(1, round(wait))
        self._free_at[channel] = now + 1 / self.per_second
        return None


class WebApi:
    """Endpoints for `/api/{method}`, and for the response URLs of interactions."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        methods: Methods,
        tickets: Tickets,
        faults: Faults,
        tokens: Tokens,
        limiter: PostLimiter,
        socket_url: Callable[[], str],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._workspace, self._methods, self._tickets, self._tokens = workspace, methods, tickets, tokens
        self._faults, self._limiter, self._socket_url, self._sleep = faults, limiter, socket_url, sleep
        self.calls: list[tuple[str, Json]] = []
        """Every authorised call: the method and its arguments, without the token."""

    async def call(self, request: Request) -> Response:
        """One Web API call."""
        method = request.path_params["method"]
        try:
            args = await _arguments(request)
        except ValueError:
            return JSONResponse({"ok": False, "error": "invalid_json"})
        token = request.headers.get("authorization", "").removeprefix("Bearer ").strip() or args.get("token")
        args.pop("token", None)
        if not token:
            return JSONResponse({"ok": False, "error": "not_authed"})
        known = {self._tokens.bot_token, self._tokens.app_token}
        if token not in known:
            return JSONResponse({"ok": False, "error": "invalid_auth"})
        self.calls.append((method, args))
        if fault := self._faults.take(method):
            return await self._faulty(fault, method, args, str(token))
        return self._answer(method, args, str(token))

    def _answer(self, method: str, args: Json, token: str) -> Response:
        if method == "apps.connections.open":
            if token != self._tokens.app_token:
                return JSONResponse({"ok": False, "error": "not_allowed_token_type"})
            return JSONResponse({"ok": True, "url": self._socket_url()})
        if method not in self._methods.table:
            return JSONResponse({"ok": False, "error": "unknown_method", "req_method": method})
        if token != self._tokens.bot_token:
            return JSONResponse({"ok": False, "error": "not_allowed_token_type"})
        if method in POSTING and (seconds := self._limiter.refuse(str(args.get("channel")))):
            return _rate_limited(seconds)
        try:
            body = {"ok": True, **self._methods.table[method](args)}
        except BreachError as breach:
            body = breach.answer()
        return JSONResponse(body, headers={"x-oauth-scopes": SCOPES})

    async def _faulty(self, fault: Fault, method: str, args: Json, token: str) -> Response:
        match fault:
            case RateLimited(seconds):
                return _rate_limited(seconds)
            case ServerError(status):
                return PlainTextResponse("upstream request failed", status)
            case Refused(error):
                return JSONResponse({"ok": False, "error": error})
            case LostAnswer():
                self._answer(method, args, token)
                return CutConnection()
            case Slow(seconds, until):
                answer = self._answer(method, args, token)
                await self._sleep(seconds)
                if until:
                    await until.wait()
                return answer

    async def respond(self, request: Request) -> Response:
        """A response URL: five uses within 30 minutes (SL16), for the person who acted or for the channel."""
        ticket = self._tickets.respond(request.path_params["key"])
        if ticket is None:
            return JSONResponse({"ok": False, "error": "expired_url"}, 404)
        try:
            args = await _arguments(request)
            original = ticket.message
            if original and args.get("delete_original"):
                self._workspace.delete(original.channel, original.ts)
                return PlainTextResponse("ok")
            blocks = check_message(args)
        except ValueError as problem:
            body = problem.answer() if isinstance(problem, BreachError) else {"ok": False, "error": "invalid_payload"}
            return JSONResponse(body, 400)
        text = args.get("text") or ""
        if original and args.get("replace_original"):
            self._workspace.update(original.channel, original.ts, text=text, blocks=blocks)
        else:
            public = args.get("response_type") == "in_channel"
            message = self._workspace.post(
                ticket.channel,
                self._workspace.bot.id,
                text,
                blocks=blocks,
                thread_ts=args.get("thread_ts") or (original.thread_ts if original else None),
                bot_id=self._workspace.bot_id,
                ephemeral_to=None if public else ticket.user,
            )
            if public:
                self._methods.announce(message)
        return PlainTextResponse("ok")


def _rate_limited(seconds: int) -> Response:
    return JSONResponse({"ok": False, "error": "ratelimited"}, 429, headers={"Retry-After": str(seconds)})


async def _arguments(request: Request) -> Json:
    """The arguments of a call, from wherever slack_sdk puts them; raises `ValueError` for broken JSON."""
    args: Json = dict(request.query_params)
    if request.headers.get("content-type", "").startswith("application/json"):
        body: object = json.loads(await request.body() or b"{}")
        if not isinstance(body, dict):
            raise ValueError("not a JSON object")
        return args | cast("Json", body)
    if request.method == "POST":
        async with request.form() as form:
            args |= {key: value for key, value in form.items() if isinstance(value, str)}
    return args
