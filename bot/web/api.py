"""`/api/threads`: launch, look, speak, answer, pause, resume, cancel: simple calls on the inbox of every channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from bot.core.agent import Agent
from bot.core.decide import Attempt
from bot.core.editing import why_not
from bot.core.events import DecisionRefused, event_to_json
from bot.core.log import Log
from bot.core.people import Actor
from bot.core.protocols import ThreadStore
from bot.core.values import Conversation, RequestId, ThreadId
from bot.runtime.inbox import Control, ConversationTaken, Inbox, ThreadFull, UnknownThread
from bot.runtime.listing import readable
from bot.web.api_models import (
    ErrorOut,
    LaunchIn,
    MessageIn,
    RequestOut,
    ResponseIn,
    ThreadDetailOut,
    ThreadOut,
    ThreadsOut,
)
from bot.web.bodies import BoundedRoute
from bot.web.keys import BEARER, Callers

_STATUS_OF_REFUSAL = {
    "unknown": 404,
    "late": 409,
    "expired": 409,
    "twice": 409,
    "card": 409,
    "kind": 422,
    "choice": 422,
    "arguments": 422,
    "channel": 403,
    "identity": 403,
    "role": 403,
    "external": 403,
    "four_eyes": 403,
}
_DONE: dict[Control, str] = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}
_MAX_FOLLOWERS = 32
"""Each holds a connection to Redis, and the pool has to keep some for everybody else."""
_ERRORS: dict[int | str, dict[str, Any]] = {code: {"model": ErrorOut} for code in (401, 403, 404, 409, 413, 422, 503)}


class Problem(HTTPException):
    """An answer that says what went wrong and what is pending."""

    def __init__(self, status: int, error: str, log: Log | None = None) -> None:
        super().__init__(status, error)
        self.body = ErrorOut(error=error, pending=[RequestOut.of(one) for one in log.state.pending] if log else [])


@dataclass(frozen=True)
class ApiDesk:
    """What the routes work with; it lies in the application's state."""

    inbox: Inbox
    store: ThreadStore
    agents: Mapping[str, Agent]
    callers: Callers
    followers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MAX_FOLLOWERS))

    async def log(self, thread_id: ThreadId) -> Log:
        """The log of a thread. Raises Problem 404."""
        try:
            return await self.inbox.log(thread_id)
        except UnknownThread as error:
            raise Problem(404, f"There is no thread {thread_id[:60]}.") from error

    async def control(self, thread_id: ThreadId, what: Control, by: Actor) -> ThreadOut:
        """Pause, resume or cancel, where that makes sense. Raises Problem 404, 409."""
        log = await self.log(thread_id)
        sensible = {"pause": not log.state.paused, "resume": log.state.paused, "cancel": log.state.run == "working"}
        if not sensible[what]:
            raise Problem(409, f"The thread is {log.state.status}, so it cannot be {_DONE[what]}.", log)
        return ThreadOut.of(await _bounded(self.inbox.control(thread_id, what, by)))


def _desk(request: Request) -> ApiDesk:
    return cast("ApiDesk", request.app.state.api_desk)


async def _caller(request: Request) -> Actor:
    return await _desk(request).callers(request)


Desk = Annotated[ApiDesk, Depends(_desk)]
By = Annotated[Actor, Depends(_caller)]
router = APIRouter(
    prefix="/api/threads",
    tags=["threads"],
    responses=_ERRORS,
    dependencies=[Depends(BEARER)],
    route_class=BoundedRoute,
)


@router.post("", status_code=201)
async def launch(desk: Desk, by: By, body: LaunchIn, response: Response) -> ThreadOut:
    """Start an agent. 200 instead of 201: this idempotency key had launched the thread already."""
    if body.agent not in desk.agents:
        raise Problem(422, f"There is no agent {body.agent!r}. There are: {', '.join(desk.agents)}.")
    place = Conversation(channel=body.conversation.channel, ref=body.conversation.ref) if body.conversation else None
    in_thread = place is not None and "/" in place.ref
    try:
        received = await desk.inbox.launch(
            body.agent, body.message, by, conversation=place, bind=in_thread, key=body.idempotency_key
        )
    except ConversationTaken as error:
        raise Problem(409, f"This conversation belongs to thread {error}. Send it a message instead.") from error
    response.status_code = 201 if received.outcome == "launched" else 200
    return ThreadOut.of(await desk.log(received.thread_id or ""))


@router.get("")
async def list_threads(desk: Desk, _: By, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> ThreadsOut:
    """Threads, the one touched last first."""
    found = await readable(desk.store, [one.thread_id for one in await desk.store.recent(limit)])
    return ThreadsOut(threads=[ThreadOut.of(log) for log in found if log.state.run != "empty"])


@router.get("/{thread_id}")
async def show_thread(desk: Desk, _: By, thread_id: ThreadId) -> ThreadDetailOut:
    """Status, pending requests and the whole log."""
    return ThreadDetailOut.of(await desk.log(thread_id))


@router.get("/{thread_id}/events", response_class=EventSourceResponse)
async def follow(
    desk: Desk,
    _: By,
    thread_id: ThreadId,
    after: Annotated[int, Query(ge=0, description="Begin behind this seq.")] = 0,
    last_event_id: Annotated[str, Header(description="Sent by browsers that reconnect.", max_length=12)] = "",
) -> EventSourceResponse:
    """Server-sent events: each with its seq as `id` and its type as `event`; resumes after `Last-Event-ID`."""
    await desk.log(thread_id)
    start = int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else after
    if desk.followers.locked():
        raise HTTPException(503, "Too many follow threads here already.", headers={"Retry-After": "30"})
    return EventSourceResponse(_stream(desk, thread_id, start), ping=15)


@router.post("/{thread_id}/messages", status_code=202)
async def add_message(desk: Desk, by: By, thread_id: ThreadId, body: MessageIn) -> ThreadOut:
    """Say something to the thread. It answers an open question, and never decides an approval."""
    await desk.log(thread_id)
    source = f"api:{by.id}:{body.idempotency_key}" if body.idempotency_key else ""
    return ThreadOut.of(await _bounded(desk.inbox.add_message(thread_id, body.message, by, source=source)))


@router.post("/{thread_id}/requests/{request_id}/response")
async def respond(desk: Desk, by: By, thread_id: ThreadId, request_id: str, body: ResponseIn) -> RequestOut:
    """Answer a question, or decide an approval, ask about it first, or change its call.

    409: it is not pending. 422: it wants something else. What was asked about or changed is `superseded`, and a new
    request follows.
    """
    log = await desk.log(thread_id)
    if (body.decision is None) == (body.answer is None):
        raise Problem(422, "Send either a decision (approve, deny, ask, edit) or an answer.", log)
    if request_id not in log.state.requests:
        raise Problem(404, "This thread has no such request.", log)
    if (body.decision == "ask") != bool(body.question.strip()):
        raise Problem(422, "A question goes with the decision `ask`, and only with it.", log)
    if (body.decision == "edit") != bool(body.arguments):
        raise Problem(422, "Arguments go with the decision `edit`, and only with it.", log)
    log, event = await desk.inbox.decide(thread_id, _attempt(desk, log, request_id, by, body))
    if isinstance(event, DecisionRefused):
        raise Problem(_STATUS_OF_REFUSAL.get(event.rule, 409), event.why, log)
    return RequestOut.of(log.state.requests[request_id])


def _attempt(desk: ApiDesk, log: Log, request_id: RequestId, by: Actor, body: ResponseIn) -> Attempt:
    match body.decision:
        case None:
            return Attempt(request_id, "answer", by, text=body.answer or "")
        case "ask":
            return Attempt(request_id, "ask", by, text=body.question.strip())
        case "edit":
            try:
                changed = desk.inbox.changed(log, request_id, body.arguments)
            except ValueError as error:
                why = why_not(error)
                return Attempt(request_id, "edit", by, problem=("arguments", why))
            return Attempt(request_id, "edit", by, arguments=changed)
        case "approve" | "deny":
            return Attempt(request_id, body.decision, by, text=body.reason)


@router.post("/{thread_id}/pause")
async def pause(desk: Desk, by: By, thread_id: ThreadId) -> ThreadOut:
    """Do nothing further until it is resumed. What runs is left to finish."""
    return await desk.control(thread_id, "pause", by)


@router.post("/{thread_id}/resume")
async def resume(desk: Desk, by: By, thread_id: ThreadId) -> ThreadOut:
    """Go on."""
    return await desk.control(thread_id, "resume", by)


@router.post("/{thread_id}/cancel")
async def cancel(desk: Desk, by: By, thread_id: ThreadId) -> ThreadOut:
    """End the run and withdraw what waits. What runs is left to finish."""
    return await desk.control(thread_id, "cancel", by)


async def _bounded(work: Coroutine[Any, Any, Log]) -> Log:
    try:
        return await work
    except ThreadFull as error:
        raise Problem(409, "The thread is too long to take more. Launch a new one.") from error


async def _stream(desk: ApiDesk, thread_id: ThreadId, after: int) -> AsyncGenerator[ServerSentEvent]:
    log = Log(thread_id)
    async with desk.followers, aclosing(desk.store.changes(thread_id)) as changes:
        async for length in changes:
            if length <= len(log):
                continue
            known = len(log)
            log = await desk.store.refresh(log)
            for seq in range(max(known, after), len(log)):
                event = log.events[seq]
                yield ServerSentEvent(event_to_json(event), event=event.type, id=str(seq + 1))
