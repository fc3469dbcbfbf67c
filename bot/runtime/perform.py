"""The perform boundary: one match over the effects, each turned into the event that says what happened.

Side effects happen here and nowhere else. Nothing is decided here that the policy could decide.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar, assert_never

from pydantic import ValidationError

from bot.core import effects as x
from bot.core import events as e
from bot.core.agent import Agent
from bot.core.log import Log
from bot.core.people import People
from bot.core.policies import Policies
from bot.core.protocols import Clock, Lease, Model, ModelError, ThreadStore
from bot.core.redact import redact
from bot.core.state import Call
from bot.core.tool import AnyTool, OutcomeUnknown, PrepareContext, Requester, ToolContext, ToolError, ToolResult
from bot.core.values import Artifact, CallId, must_not_run
from bot.core.wording import cut
from bot.runtime.asking import Asking
from bot.runtime.outbox import Outbox
from bot.runtime.routing import Routing, channel_of

MAX_RESULT_CHARACTERS = 6_000
"""A longer result lies beside the log as an artifact; the model sees its beginning and its end."""
MAX_ERROR_CHARACTERS = 3_000
_PREPARE_SECONDS = 60.0
_FRESH = timedelta(minutes=5)
"""How long what was looked up for a call, and ruled about it, is good: to run it unasked, or to ask people."""

T = TypeVar("T")


class Perform:
    """Carries effects out."""

    def __init__(
        self,
        *,
        store: ThreadStore,
        model: Model,
        agents: Mapping[str, Agent],
        outbox: Outbox,
        routing: Routing,
        people: Callable[[], People],
        clock: Clock,
        place: str,
        policies: Callable[[], Policies] = Policies,
    ) -> None:
        """`policies` stand over what tools say of their own calls; without them, that holds."""
        self._store = store
        self._model = model
        self._agents = agents
        self._outbox = outbox
        self._asking = Asking(routing, people)
        self._people = people
        self._clock = clock
        self._place = place
        self._policies = policies

    def agent_of(self, log: Log) -> Agent:
        """The agent that has the thread; the first one, where it no longer exists."""
        return self._agents.get(log.state.agent) or next(iter(self._agents.values()))

    async def __call__(self, effect: x.Effect, log: Log, lease: Lease) -> e.Event:  # noqa: C901, PLR0912 one match
        """Do it, and return what happened. `RunTool` only begins here: see `run_tool`."""
        at = self._clock.now()
        match effect:
            case x.Deliver(post_id, face):
                return await self._outbox.deliver(log, log.state.posts[post_id], face, recovered=lease.recovered)
            case x.AskModel():
                return await self._ask(log)
            case x.GatherFacts():
                return await self._gather(log)
            case x.PrepareCall(call):
                return await self._prepare(call, log)
            case x.RefuseCall(call_id, why):
                return e.CallRefused(at=at, call_id=call_id, why=why)
            case x.OpenRequest(draft):
                if log.state.call and draft.purpose == "approval" and self._is_stale(log.state.call, log, at):
                    return await self._prepare(log.state.call, log)
                return e.RequestOpened(at=at, request=await self._asking.request(draft, log.state, at))
            case x.Escalate(request_id, step):
                return await self._asking.escalation(request_id, step, log.state, at)
            case x.RunTool(call):
                return await self._start(call, log, at)
            case x.MarkInDoubt(call_id, why):
                return e.ToolInDoubt(at=at, call_id=call_id, why=why)
            case x.StartWait(reason, minutes):
                until = at + timedelta(minutes=minutes) if minutes else None
                return e.WaitStarted(at=at, reason=reason, until=until)
            case x.HandOver(agent, brief):
                return e.HandedOff(at=at, agent=agent, brief=brief)
            case x.FinishRun(message, by_model):
                return e.RunFinished(at=at, message=redact(message), by_model=by_model)
            case _:
                assert_never(effect)

    async def run_tool(self, effect: x.RunTool, log: Log) -> e.Event:
        """Run a call whose start is recorded. Whatever happens becomes an event; only cancellation gets out."""
        call = effect.call
        tool = self.agent_of(log).tool(call.tool)
        if tool is None:
            return e.ToolInDoubt(at=self._clock.now(), call_id=call.id, why=f"The tool {call.tool} is gone.")
        started = log.state.call
        if effect.resumed and tool.recovery == "attach" and started and started.place != self._place:
            why = "It was started on another machine, which no longer reports on it."
            return e.ToolInDoubt(at=self._clock.now(), call_id=call.id, why=why)
        may_begin = effect.may_begin and not self._ran_out(call, log)
        if effect.resumed and not may_begin and tool.writes and tool.recovery == "rerun":
            why = "It was started, and by now it may not be run again."
            return e.ToolInDoubt(at=self._clock.now(), call_id=call.id, why=why)
        begun = time.perf_counter()
        try:
            result = await self._run(tool, call, log, resumed=effect.resumed, may_begin=may_begin)
        except OutcomeUnknown as error:
            return e.ToolInDoubt(at=self._clock.now(), call_id=call.id, why=_short(str(error)))
        except TimeoutError:
            return self._timed_out(tool, call, time.perf_counter() - begun)
        except ToolError as error:
            return self._failed(call, error, error.seconds or time.perf_counter() - begun)
        except Exception as error:  # noqa: BLE001 whatever a tool raises becomes an event that the model sees
            unexpected = ToolError(f"{type(error).__name__}: {error}", summary="an unexpected error")
            return self._failed(call, unexpected, time.perf_counter() - begun)
        return await self._finished(call, result, result.seconds or time.perf_counter() - begun)

    def _ran_out(self, call: Call, log: Log) -> bool:
        """Whether the approval of a call, if it needed one, is over."""
        request = log.state.requests.get(call.request_id or "")
        expires_at = request.request.expires_at if request else None
        return expires_at is not None and self._clock.now() >= expires_at

    async def _run(self, tool: AnyTool, call: Call, log: Log, *, resumed: bool, may_begin: bool) -> ToolResult:
        async def output(offset: int, chunk: bytes) -> None:
            await self._store.write_artifact(log.thread_id, _artifact_name("output", call.id), offset, chunk)

        # A call's id comes again where a log has ended, or has lost its end: the time of the choice does not.
        key = f"{call.id}@{log.chosen_at(call.id).isoformat()}"
        context = ToolContext(log.thread_id, key, output, resumed=resumed, may_begin=may_begin)
        exact = (tool.exact or tool.arguments).model_validate(call.exact_arguments)
        return await _within(tool.time_limit_seconds, tool.run(exact, context))

    async def _ask(self, log: Log) -> e.Event:
        try:
            choice = await self._model.choose(self.agent_of(log), log)
        except ModelError as error:
            now = self._clock.now()
            pause = None if error.retry_seconds is None else error.retry_seconds * 4**log.state.model_failures
            retry_at = now + timedelta(seconds=pause) if pause is not None else None
            return e.ModelFailed(
                at=now,
                reason=error.reason,
                detail=_short(error.detail),
                retry_at=retry_at,
                usage=error.usage,
                saw=len(log),
            )
        return e.ToolChosen(
            at=self._clock.now(), tool=choice.tool, arguments=choice.arguments, saw=len(log), usage=choice.usage
        )

    async def _gather(self, log: Log) -> e.Event:
        agent = self.agent_of(log)
        try:
            text = await _within(_PREPARE_SECONDS, agent.prefetch()) if agent.prefetch else ""
        except Exception as error:  # noqa: BLE001 as in run_tool; the agent can do without
            text = f"The facts could not be gathered: {error}"
        return e.FactsGathered(at=self._clock.now(), agent=agent.name, text=cut(redact(text), MAX_ERROR_CHARACTERS))

    async def _prepare(self, call: Call, log: Log) -> e.Event:
        tool = self.agent_of(log).tool(call.tool)
        ids = log.state.shaped_by or ((log.state.requester.id,) if log.state.requester else ())
        context = PrepareContext(log.thread_id, tuple(self._requester(one) for one in ids))
        if tool is None:
            return self._failed(call, ToolError(f"There is no tool called {call.tool!r}."), 0.0)
        try:
            prepared = await _within(_PREPARE_SECONDS, tool.prepared(call.arguments, context))
        except ToolError as error:
            return self._failed(call, error, error.seconds)
        except TimeoutError:
            return self._failed(call, ToolError("Looking up the facts for this took too long."), _PREPARE_SECONDS)
        except ValidationError as error:
            return self._failed(call, ToolError(f"Invalid arguments: {error.errors(include_url=False)}"), 0.0)
        except Exception as error:  # noqa: BLE001 as in run_tool
            return self._failed(call, ToolError(f"{type(error).__name__}: {error}"), 0.0)
        ruling = self._policies().resolve(tool.name, prepared.arguments, prepared.ruling)
        if tool.writes and (stranger := self._stranger(context.requesters)):
            ruling = must_not_run(f"{stranger} is not in the people file, and may ask here but change nothing.")
        prepared = prepared.model_copy(update={"ruling": ruling})
        return e.CallPrepared(at=self._clock.now(), call_id=call.id, prepared=prepared)

    def _stranger(self, requesters: tuple[Requester, ...]) -> str:
        """Somebody with a say in this who is not known, where the channel lets such people only ask."""
        people = self._people()
        unknown = (one for one in requesters if one.kind == "unknown")
        return next((one.name for one in unknown if people.strangers(channel_of(one.id)) != "launch"), "")

    async def _start(self, call: Call, log: Log, at: datetime) -> e.Event:
        if self._ran_out(call, log):
            return e.CallRefused(
                at=at, call_id=call.id, why="The approval ran out before this could run. It was not run."
            )
        if self._is_stale(call, log, at):
            return await self._prepare(call, log)
        return e.ToolStarted(at=at, call_id=call.id, place=self._place)

    def _is_stale(self, call: Call, log: Log, at: datetime) -> bool:
        """Whether a pause or an outage lies between the ruling about a call and what follows from it."""
        return call.phase == "prepared" and at - log.prepared_at(call.id) > _FRESH

    def _requester(self, actor_id: str) -> Requester:
        name, kind, roles = self._people().requester(actor_id)
        return Requester(actor_id, name, kind, roles)

    async def _finished(self, call: Call, result: ToolResult, seconds: float) -> e.ToolFinished:
        text, artifact = redact(result.text), None
        if result.output_bytes:
            artifact = Artifact(name=_artifact_name("output", call.id), size_bytes=result.output_bytes, title="Output")
        elif len(text) > MAX_RESULT_CHARACTERS:
            name = _artifact_name("result", call.id)
            whole = text.encode()
            await self._store.write_artifact(call.id.partition(":")[0], name, 0, whole)
            artifact = Artifact(name=name, size_bytes=len(whole), title="Result")
        return e.ToolFinished(
            at=self._clock.now(),
            call_id=call.id,
            result=_middle_cut(text, MAX_RESULT_CHARACTERS, artifact),
            summary=cut(redact(result.summary), 300),
            artifact=artifact,
            seconds=round(seconds, 2),
        )

    def _failed(self, call: Call, error: ToolError, seconds: float) -> e.ToolFailed:
        artifact = None
        if error.output_bytes:
            artifact = Artifact(name=_artifact_name("output", call.id), size_bytes=error.output_bytes, title="Output")
        return e.ToolFailed(
            at=self._clock.now(),
            call_id=call.id,
            error=cut(redact(str(error)), MAX_ERROR_CHARACTERS),
            summary=cut(redact(error.summary), 300),
            artifact=artifact,
            seconds=round(seconds, 2),
        )

    def _timed_out(self, tool: AnyTool, call: Call, seconds: float) -> e.Event:
        why = f"{tool.name} did not return within {tool.time_limit_seconds:.0f} seconds."
        if tool.writes:
            return e.ToolInDoubt(at=self._clock.now(), call_id=call.id, why=why)
        return self._failed(call, ToolError(why), seconds)


async def _within(seconds: float, work: Awaitable[T]) -> T:
    async with asyncio.timeout(seconds):
        return await work


def _artifact_name(kind: str, call_id: CallId) -> str:
    return f"{kind}-{call_id.split(':')[1]}"


def _middle_cut(text: str, limit: int, artifact: Artifact | None) -> str:
    if len(text) <= limit:
        return text
    where = f"; all of it is artifact {artifact.name}" if artifact else ""
    half = limit // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out{where} …]\n{text[-half:]}"


def _short(text: str) -> str:
    return cut(redact(text), 600)
