"""A stateful counterpart of Anthropic's Messages API on loopback: it checks what that one checks, and plays a script.

The SDK is built on httpx2, which no httpx mock intercepts, so it is served on a real port.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from channels.simulating.serving import serve_app

Json = dict[str, Any]
StopReason = Literal[
    "end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded"
]
KEY = "sk-ant-test-key-of-the-counterpart"
MODEL = "claude-sonnet-5-5"
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_MAX_CACHE_MARKS = 4
_FIELDS = frozenset(
    (
        *("model", "max_tokens", "messages", "system", "tools", "tool_choice", "metadata", "stop_sequences", "stream"),
        *("temperature", "top_k", "top_p", "thinking", "service_tier", "output_config", "cache_control"),
    )
)
_TOOL_CHOICE_FIELDS = {
    "auto": {"disable_parallel_tool_use"},
    "any": {"disable_parallel_tool_use"},
    "tool": {"name", "disable_parallel_tool_use"},
    "none": set[str](),
}
_NOT_IN_STRICT = frozenset(
    (
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
        *("maxItems", "uniqueItems", "default", "pattern"),
    )
)
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


@dataclass(frozen=True)
class Reply:
    """An answer of the model."""

    tool: str = ""
    arguments: Json = field(default_factory=dict[str, Any])
    text: str = ""
    stop_reason: StopReason = "tool_use"
    category: str | None = None
    """Of a refusal."""
    input_tokens: int = 1000
    output_tokens: int = 50
    cache_read: int = 0
    cache_write: int = 0


@dataclass(frozen=True)
class Fault:
    """An error instead of an answer."""

    status: int
    message: str = "made up by the test"
    retry_after: str = ""


@dataclass(frozen=True)
class Hang:
    """No answer, for as long as the client waits."""


@dataclass(frozen=True)
class WrongPlace:
    """A page of something that is not the API at all."""


Answer = Reply | Fault | Hang | WrongPlace


class _Refused(Exception):  # noqa: N818 an answer of the API
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AnthropicCounterpart:
    """Takes requests as the real API does, keeps the good ones, and plays `answers` in order."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self.requests: list[Json] = []
        """The bodies of all requests that got past the checks."""
        self.refused: list[str] = []
        """What was wrong with the others."""
        self.keys = {KEY}
        self.models = {MODEL}
        self.refuses_forced_use = False
        """As models do that always think: no `tool_choice` any or tool."""
        self.refuses_strict = False
        self.url = ""
        self.left = asyncio.Event()
        self.app = Starlette(
            routes=[
                Route("/v1/messages", self._messages, methods=["POST"]),
                Route("/v1/models/{model}", self._model, methods=["GET"]),
            ]
        )

    def plays(self, *answers: Answer) -> None:
        """Answer these, after what is still to come."""
        self.answers.extend(answers)

    async def _messages(self, request: Request) -> Response:
        try:
            self._authenticated(request)
            body = _body(await request.body())
            self._check(body)
        except _Refused as refused:
            self.refused.append(str(refused))
            return _error(refused.status, str(refused))
        self.requests.append(body)
        answer = self.answers.popleft() if self.answers else Fault(500, "the script has no more answers")
        match answer:
            case Reply():
                return JSONResponse(_message(answer, body["model"], len(self.requests)))
            case Fault(status, message, retry_after):
                return _error(status, message, retry_after)
            case Hang():
                await self.left.wait()
                return Response(status_code=499)
            case WrongPlace():
                return HTMLResponse("<h1>Welcome to the hotel's network</h1>")

    async def _model(self, request: Request) -> Response:
        try:
            self._authenticated(request)
            model = request.path_params["model"]
            _require(model in self.models, f"model: {model}", status=404)
        except _Refused as refused:
            return _error(refused.status, str(refused))
        return JSONResponse({"type": "model", "id": model, "display_name": model, "created_at": "2026-01-01T00:00:00Z"})

    def _authenticated(self, request: Request) -> None:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        key = request.headers.get("x-api-key", bearer)
        if key not in self.keys:
            raise _Refused(401, "invalid x-api-key")
        if not request.headers.get("anthropic-version"):
            raise _Refused(400, "anthropic-version: header is required")

    def _check(self, body: Json) -> None:
        for name in body:
            _require(name in _FIELDS, f"{name}: Extra inputs are not permitted")
        for name in ("model", "max_tokens", "messages"):
            _require(name in body, f"{name}: Field required")
        _require(body["model"] in self.models, f"model: {body['model']}", status=404)
        _require(body["max_tokens"] >= 1, "max_tokens: must be greater than or equal to 1")
        _check_messages(body["messages"])
        _check_blocks(body.get("system", []), "system")
        tools = cast("list[Json]", body.get("tools", []))
        for place, tool in enumerate(tools):
            self._check_tool(tool, f"tools.{place}")
        _require(len({tool["name"] for tool in tools}) == len(tools), "tools: Tool names must be unique.")
        if "tool_choice" in body:
            self._check_tool_choice(body["tool_choice"], tools)
        marks = json.dumps(body).count('"cache_control":')
        _require(marks <= _MAX_CACHE_MARKS, f"A maximum of 4 blocks with cache_control may be provided. Found {marks}.")

    def _check_tool(self, tool: Json, place: str) -> None:
        allowed = {"name", "description", "input_schema", "strict", "cache_control", "type"}
        for name in tool:
            _require(name in allowed, f"{place}.custom.{name}: Extra inputs are not permitted")
        _require(
            bool(_TOOL_NAME.fullmatch(tool.get("name", ""))),
            f"{place}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'",
        )
        _require(
            tool.get("input_schema", {}).get("type") == "object",
            f"{place}.custom.input_schema.type: Input should be 'object'",
        )
        if tool.get("strict"):
            _require(not self.refuses_strict, f"{place}.custom.strict: strict tools are not supported by this model")
            _check_strict(tool["input_schema"], f"{place}.custom.input_schema")

    def _check_tool_choice(self, choice: Json, tools: list[Json]) -> None:
        kind = choice.get("type")
        _require(kind in _TOOL_CHOICE_FIELDS, "tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'")
        for name in set(choice) - {"type"}:
            _require(
                name in _TOOL_CHOICE_FIELDS[kind or ""], f"tool_choice.{kind}.{name}: Extra inputs are not permitted"
            )
        _require(bool(tools) or kind == "none", "tool_choice: may only be specified while providing `tools`.")
        forced = kind in {"any", "tool"}
        _require(
            not (forced and self.refuses_forced_use),
            "tool_choice: this model does not support forced tool use; use `auto` or `none`.",
        )


def _body(raw: bytes) -> Json:
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise _Refused(400, "The request body is not valid JSON") from error
    if not isinstance(body, dict):
        raise _Refused(400, "The request body is not an object")
    return cast("Json", body)


def _require(holds: bool, message: str, *, status: int = 400) -> None:  # noqa: FBT001 the condition is the subject
    if not holds:
        raise _Refused(status, message)


def _check_messages(messages: list[Json]) -> None:
    _require(bool(messages), "messages: at least one message is required")
    expected = "user"
    for place, message in enumerate(messages):
        _require(
            message.get("role") == expected, 'messages: roles must alternate between "user" and "assistant", user first'
        )
        _require(bool(message.get("content")), f"messages.{place}: content must be non-empty")
        _check_blocks(message["content"], f"messages.{place}.content")
        expected = "assistant" if expected == "user" else "user"


def _check_blocks(content: str | list[Json], place: str) -> None:
    if isinstance(content, str):
        return
    for number, block in enumerate(content):
        if block.get("type") == "text":
            _require(bool(block.get("text")), f"{place}.{number}: text content blocks must be non-empty")
            _require(bool(block["text"].strip()), f"{place}.{number}: text content blocks must contain non-whitespace")
        mark = block.get("cache_control")
        if mark is not None:
            _require(
                mark.get("type") == "ephemeral", f"{place}.{number}.cache_control.type: Input should be 'ephemeral'"
            )


def _check_strict(schema: Json, place: str) -> None:
    """Strict tools take a part of JSON Schema only: closed objects, and none of the limits."""
    for keyword in schema:
        _require(keyword not in _NOT_IN_STRICT, f"{place}: For strict tools, property '{keyword}' is not supported")
    if schema.get("type") == "object":
        closed = schema.get("additionalProperties") is False
        _require(closed, f"{place}: For 'object' type, 'additionalProperties' must be explicitly set to false")
    for group in ("properties", "$defs"):
        for name, inner in cast("dict[str, Json]", schema.get(group, {})).items():
            _check_strict(inner, f"{place}.{group}.{name}")
    for inner in cast("list[Json]", schema.get("anyOf", [])):
        _check_strict(inner, f"{place}.anyOf")
    if "items" in schema:
        _check_strict(schema["items"], f"{place}.items")


def _message(reply: Reply, model: str, number: int) -> Json:
    content: list[Json] = []
    if reply.text:
        content.append({"type": "text", "text": reply.text})
    if reply.tool:
        call_id = f"toolu_{number:04}"
        content.append({"type": "tool_use", "id": call_id, "name": reply.tool, "input": reply.arguments})
    details = {"type": "refusal", "category": reply.category, "explanation": None}
    return {
        "id": f"msg_{number:04}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": reply.stop_reason,
        "stop_sequence": None,
        "stop_details": details if reply.stop_reason == "refusal" else None,
        "usage": {
            "input_tokens": reply.input_tokens,
            "output_tokens": reply.output_tokens,
            "cache_read_input_tokens": reply.cache_read,
            "cache_creation_input_tokens": reply.cache_write,
        },
    }


def _error(status: int, message: str, retry_after: str = "") -> JSONResponse:
    error = {"type": _ERROR_TYPES.get(status, "api_error"), "message": message}
    headers = {"retry-after": retry_after} if retry_after else {}
    body = {"type": "error", "error": error, "request_id": "req_0001"}
    return JSONResponse(body, status_code=status, headers=headers)


@asynccontextmanager
async def serve_anthropic() -> AsyncGenerator[AnthropicCounterpart]:
    """A counterpart that listens on a free port."""
    counterpart = AnthropicCounterpart()
    async with serve_app(counterpart.app) as url:
        counterpart.url = url
        try:
            yield counterpart
        finally:
            counterpart.left.set()
