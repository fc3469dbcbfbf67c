"""The model behind the protocol: Anthropic's Messages API, through its SDK, which also does the retries.

Each answer is exactly one tool call; everything else the API may say becomes a `ModelError` with a reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, cast

import anthropic
from anthropic.types import Message, ModelInfo
from pydantic import BaseModel

from bot.core.agent import Agent
from bot.core.builtins import BUILTINS, HAND_OFF
from bot.core.context import render_context
from bot.core.log import Log
from bot.core.protocols import Choice, ModelError
from bot.core.values import Usage

DEFAULT_MODEL = "claude-sonnet-5-5"
_MAX_TOKENS = 16_000
"""Thinking counts too, on the models that do it by themselves."""
_RETRY_SECONDS = 15.0
_LONGEST_RETRY_SECONDS = 300.0
"""What the API asks us to wait is respected up to here; the policy waits longer after each further failure."""

_PRICES_USD_PER_MILLION: tuple[tuple[str, float, float], ...] = (
    # Model prefix, input, output; published prices of November 2026. The longest prefix wins.
    ("claude-fable-5", 10.0, 50.0),
    ("claude-opus-5-5", 4.0, 20.0),
    ("claude-opus-5", 5.0, 25.0),
    ("claude-opus-4-", 5.0, 25.0),
    ("claude-sonnet-5", 2.0, 10.0),
    ("claude-sonnet-4", 3.0, 15.0),
    ("claude-haiku-4-5", 1.0, 5.0),
)
_CACHE_WRITE_FACTOR, _CACHE_READ_FACTOR = 1.25, 0.1


class AnthropicModel:
    """Asks Claude."""

    def __init__(
        self,
        api_key: str,
        *,
        model: str = DEFAULT_MODEL,
        base_url: str | None = None,
        max_retries: int = 4,
        timeout_seconds: float = 180.0,
        patience_seconds: float = 300.0,
    ) -> None:
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key, base_url=base_url, max_retries=max_retries, timeout=timeout_seconds
        )
        self._model = model
        # The SDK sleeps for as long as the API tells it to; a thread must not hold its worker for an hour.
        self._patience_seconds = patience_seconds
        # Not every model takes these two; what the API refuses once is not sent again.
        self._forced = True
        self._strict = True

    @property
    def name(self) -> str:
        """The model's id."""
        return self._model

    async def choose(self, agent: Agent, log: Log) -> Choice:
        """The next call. Raises ModelError."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._patience_seconds):
                message = await self._create(agent, render_context(log.thread_id, log.events))
        except TimeoutError as error:
            detail = f"The model did not answer within {self._patience_seconds:.0f} seconds."
            raise ModelError("unavailable", detail, retry_seconds=_RETRY_SECONDS) from error
        usage = _usage(message, int((time.perf_counter() - started) * 1000))
        return _choice(message, usage)

    async def ping(self) -> None:
        """Whether the API answers and knows the key and the model. Raises ModelError."""
        try:
            found = cast("object", await self._client.models.retrieve(self._model))
        except anthropic.APIError as error:
            raise _model_error(error) from error
        if not isinstance(found, ModelInfo):
            raise _not_the_api()

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()

    async def _create(self, agent: Agent, blocks: Sequence[str]) -> Message:
        while True:
            forced, strict = self._forced, self._strict
            try:
                request = self._request(agent, blocks, forced=forced, strict=strict)
                answer = cast("object", await self._client.messages.create(**request))
            except anthropic.BadRequestError as error:
                if not self._gave_way(error, forced=forced, strict=strict):
                    raise _model_error(error) from error
                continue
            except anthropic.APIError as error:
                raise _model_error(error) from error
            if not isinstance(answer, Message):
                raise _not_the_api()
            return answer

    def _request(self, agent: Agent, blocks: Sequence[str], *, forced: bool, strict: bool) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": block} for block in blocks]
        content[-1] = {**content[-1], "cache_control": {"type": "ephemeral"}}
        return {
            "model": self._model,
            "max_tokens": _MAX_TOKENS,
            "system": [{"type": "text", "text": agent.prompt, "cache_control": {"type": "ephemeral"}}],
            "tools": tool_definitions(agent, strict=strict),
            "tool_choice": {"type": "any" if forced else "auto", "disable_parallel_tool_use": True},
            "messages": [{"role": "user", "content": content}],
        }

    def _gave_way(self, error: anthropic.BadRequestError, *, forced: bool, strict: bool) -> bool:
        """Whether the request, sent like this, can be made again without what the API refused."""
        text = str(error).lower()
        if forced and "tool_choice" in text:  # some models refuse forced tool use
            self._forced = False
            return True
        if strict and ("strict" in text or "schema" in text):
            self._strict = False
            return True
        return False


def tool_definitions(agent: Agent, *, strict: bool) -> list[dict[str, Any]]:
    """The agent's tools and the built-in ones, as the API takes them; always in the same order, for the cache."""
    definitions: list[dict[str, Any]] = []
    for tool in (*agent.tools, *BUILTINS):
        if tool.name == HAND_OFF and not agent.hand_offs:
            continue
        definitions.append(
            {
                "name": tool.name,
                "description": _description(agent, tool.name, tool.description),
                "input_schema": _schema(tool.arguments, strict=strict),
                **({"strict": True} if strict else {}),
            }
        )
    return definitions


def _description(agent: Agent, name: str, text: str) -> str:
    return f"{text} There are: {', '.join(agent.hand_offs)}." if name == HAND_OFF else text


def _schema(arguments: type[BaseModel], *, strict: bool) -> dict[str, Any]:
    # The transformation keeps limits that the API's grammar lacks as text; ours are checked again by the policy.
    return anthropic.transform_schema(arguments) if strict else arguments.model_json_schema()


def _choice(message: Message, usage: Usage) -> Choice:
    match message.stop_reason:
        case "refusal":
            category = message.stop_details.category if message.stop_details else None
            raise ModelError("refusal", f"The model declined ({category or 'no category given'}).", usage=usage)
        case "max_tokens":
            raise ModelError("max_tokens", "The answer was cut off at the token limit.", usage=usage)
        case "model_context_window_exceeded":
            raise ModelError("context_window", "The thread no longer fits the model's context window.", usage=usage)
        case _:
            pass
    call = next((block for block in message.content if block.type == "tool_use"), None)
    if call is None:
        raise ModelError(
            "no_tool_call", f"The model answered without a tool call ({message.stop_reason}).", usage=usage
        )
    return Choice(tool=call.name, arguments=cast("dict[str, Any]", call.input), usage=usage)


def _model_error(error: anthropic.APIError) -> ModelError:
    status = error.status_code if isinstance(error, anthropic.APIStatusError) else None
    kind = type(error).__name__
    match status:
        case None:
            return ModelError("unavailable", f"The model cannot be reached ({kind}).", retry_seconds=_RETRY_SECONDS)
        case 401 | 403:
            return ModelError("rejected", f"The model's API refuses the key ({status}). `bot doctor` tells more.")
        case 404:
            return ModelError("rejected", "The model's API does not know the model. Check ANTHROPIC_MODEL.")
        case 413:
            return ModelError("context_window", "The thread is too large for the model's API.")
        case 400 | 402 | 422:
            return ModelError("rejected", f"The model's API refused the request ({status}): {_reason(error)}")
        case _:
            return ModelError(
                "unavailable", f"The model's API is in trouble ({status}).", retry_seconds=_retry_seconds(error)
            )


def _not_the_api() -> ModelError:
    # The SDK hands on any 200; a proxy's page is one, too.
    return ModelError("rejected", "What answers is not the model's API. Check ANTHROPIC_BASE_URL.")


def _retry_seconds(error: anthropic.APIError) -> float:
    after = error.response.headers.get("retry-after", "") if isinstance(error, anthropic.APIStatusError) else ""
    asked = float(after) if after.isascii() and after.isdigit() else 0.0
    return min(max(asked, _RETRY_SECONDS), _LONGEST_RETRY_SECONDS)


def _reason(error: anthropic.APIError) -> str:
    # The SDK keeps the API's own words at body["error"]["message"]; anything else is not worth showing.
    body = cast("Any", error).body
    try:
        return str(body["error"]["message"])[:300]
    except (TypeError, KeyError):
        return "no reason given"


def _usage(message: Message, latency_ms: int) -> Usage:
    used = message.usage
    read, write = used.cache_read_input_tokens or 0, used.cache_creation_input_tokens or 0
    return Usage(
        model=message.model,
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        cache_read_tokens=read,
        cache_write_tokens=write,
        latency_ms=latency_ms,
        cost_usd=cost_usd(message.model, used.input_tokens, used.output_tokens, cache_read=read, cache_write=write),
    )


def cost_usd(
    model: str, input_tokens: int, output_tokens: int, *, cache_read: int = 0, cache_write: int = 0
) -> float | None:
    """The price of an answer in US dollars, or None where the model's price is not known here."""
    known = [price for price in _PRICES_USD_PER_MILLION if model.startswith(price[0])]
    if not known:
        return None
    _, price_in, price_out = max(known, key=lambda price: len(price[0]))
    weighted_input = input_tokens + cache_write * _CACHE_WRITE_FACTOR + cache_read * _CACHE_READ_FACTOR
    return round((weighted_input * price_in + output_tokens * price_out) / 1_000_000, 6)
