"""The policy: state -> the next effect. Between the model's choice and its run stand these rules, and no others.

It looks at what is so, never at what just happened: after a crash one loads the log and asks again.
"""

from __future__ import annotations

from pydantic import ValidationError

from bot.core import builtins as b
from bot.core import effects as x
from bot.core.agent import Agent
from bot.core.digest import digest_of
from bot.core.faces import face_of, needs_delivery
from bot.core.people import Address
from bot.core.state import Call, ThreadState, Whisper
from bot.core.values import ApprovalRule, Purpose
from bot.core.wording import plural

_QUESTION_LIFE_SECONDS = {"high": 3600, "medium": 24 * 3600, "low": 3 * 24 * 3600}
_END_OF_RUN = {
    "refusal": "The model declined to go on with this, so I stopped. Nothing further was run.",
    "context_window": "This thread has become too long for the model, so I stopped. Nothing further was run; "
    "please start a new thread with what is still to do.",
}
_LIMIT_PURPOSES = frozenset({"step_limit", "failures", "model_trouble"})


def next_effect(state: ThreadState, agent: Agent) -> x.Effect | None:
    """What to do now. None: the thread waits on the world, or is at its end.

    An approval has an end: what was approved begins at once, and posts are brought up to date while it runs.
    """
    if state.call and state.call.phase == "approved" and isinstance(step := next_step(state, agent), x.RunTool):
        return step
    return next_delivery(state) or next_step(state, agent)


def next_delivery(state: ThreadState) -> x.Deliver | None:
    """The oldest post that does not show what it should.

    A new post waits behind an older one for the same eyes that could not be sent yet, so that answers keep their order;
    receipts, and updates of what is there already, need not wait.
    """
    held_up: set[Address] = set()
    for post in state.posts.values():
        in_line = post.ref is None and not isinstance(post.content, Whisper)
        if needs_delivery(state, post) and not (in_line and post.line in held_up):
            return x.Deliver(post.id, face_of(state, post))
        if in_line and post.blocked:
            held_up.add(post.line)
    return None


def next_step(state: ThreadState, agent: Agent) -> x.Effect | None:
    """What to do now, deliveries aside."""
    for one in state.pending:
        if one.escalations_due > one.escalated:
            return x.Escalate(one.request.id, one.escalated)
    call = state.call
    if call and call.phase == "started":
        return _take_up(state, call, agent)
    if call and call.phase == "in_doubt":
        return None if call.request_id else x.OpenRequest(_doubt(state, call))
    if state.paused or state.run != "working":
        return None
    if state.stop_reason:
        return x.FinishRun(state.stop_reason, by_model=False)
    if any(one.request.purpose in _LIMIT_PURPOSES for one in state.pending):
        return None
    if state.heard > state.seen:
        return _ask(state, agent)
    return _carry_out(state, call, agent) if call else None


def _take_up(state: ThreadState, call: Call, agent: Agent) -> x.Effect:
    tool = agent.tool(call.tool)
    if tool is None or tool.recovery == "ask":
        return x.MarkInDoubt(call.id, f"The worker stopped while `{call.tool}` was running.")
    # Since it was recorded as started, somebody may have cancelled, paused or said something else.
    may_begin = state.run == "working" and not state.paused and state.heard <= state.seen
    return x.RunTool(call, resumed=True, may_begin=may_begin)


def _ask(state: ThreadState, agent: Agent) -> x.Effect | None:
    if state.model_problem in _END_OF_RUN:
        return x.FinishRun(_END_OF_RUN[state.model_problem], by_model=False)
    if state.model_problem == "rejected" or state.model_failures >= agent.max_failures:
        return x.OpenRequest(
            _limit("model_trouble", f"The model gives no usable answer. {state.last_error} Shall I try again?")
        )
    if state.model_blocked:
        return None
    failing = next((tool for tool, count in state.failures.items() if count >= agent.max_failures), None)
    if failing:
        times = plural(state.failures[failing], "time")
        prompt = f"`{failing}` failed {times} in a row. The last error: {state.last_error} Shall I go on?"
        return x.OpenRequest(_limit("failures", prompt))
    if state.steps >= agent.max_steps:
        prompt = f"I have taken {plural(state.steps, 'step')} on this and am not done. Shall I go on?"
        return x.OpenRequest(_limit("step_limit", prompt))
    if agent.prefetch and agent.name not in state.briefed:
        return x.GatherFacts()
    return x.AskModel()


def _limit(purpose: Purpose, prompt: str) -> x.RequestDraft:
    return x.RequestDraft(
        kind="question", purpose=purpose, prompt=prompt, format="multiple_choice", choices=(b.GO_ON, b.STOP)
    )


def _doubt(state: ThreadState, call: Call) -> x.RequestDraft:
    activity = state.activities.get(call.id)
    what = activity.title if activity else call.tool
    rule = call.prepared.ruling.rule if call.prepared else None
    return x.RequestDraft(
        kind="question",
        purpose="in_doubt",
        call_id=call.id,
        prompt=f"I do not know what became of “{what}”. Please look, and tell me.",
        context=state.last_error,
        urgency="high",
        format="multiple_choice",
        choices=(b.IT_RAN, b.IT_FAILED, b.IT_DID_NOT_RUN),
        # Whoever may approve the call may say what became of it; four eyes do not matter for a report.
        rule=ApprovalRule(risk=rule.risk, roles=rule.roles, persons=rule.persons, life_seconds=None) if rule else None,
        life_seconds=None,
    )


def _carry_out(state: ThreadState, call: Call, agent: Agent) -> x.Effect | None:
    if call.phase in {"prepared", "approved"} and agent.tool(call.tool) is None:
        return x.RefuseCall(call.id, f"There is no tool called {call.tool!r} any more, so it was not run.")
    match call.phase:
        case "chosen":
            return _begin(call, agent)
        case "prepared":
            return _ruled(state, call)
        case "approved":
            request = state.requests[call.request_id or ""].request
            if request.digest != digest_of(state.thread_id, call):
                return x.RefuseCall(call.id, "What was approved is not what would run, so it was not run.")
            return x.RunTool(call)
        case "waiting" | "asked_back" | "started" | "in_doubt":
            return None


def _begin(call: Call, agent: Agent) -> x.Effect:
    builtin = next((one for one in b.BUILTINS if one.name == call.tool), None)
    tool = agent.tool(call.tool)
    model = builtin.arguments if builtin else tool.arguments if tool else None
    if model is None:
        known = ", ".join([*(one.name for one in agent.tools), *(one.name for one in b.BUILTINS)])
        return x.RefuseCall(call.id, f"There is no tool called {call.tool!r}. There are: {known}.")
    try:
        arguments = model.model_validate(call.arguments)
    except ValidationError as error:
        return x.RefuseCall(call.id, f"Invalid arguments for {call.tool}: {_explain(error)}")
    match arguments:
        case b.DoneForNow():
            return x.FinishRun(arguments.message)
        case b.Wait():
            return x.StartWait(arguments.reason, arguments.minutes)
        case b.HandOff():
            if arguments.agent not in agent.hand_offs:
                known = ", ".join(agent.hand_offs) or "nobody"
                return x.RefuseCall(
                    call.id, f"You cannot hand off to {arguments.agent!r}. You can hand off to: {known}."
                )
            return x.HandOver(arguments.agent, arguments.brief)
        case b.RequestHumanInput():
            return _question(call, arguments)
        case b.AnswerApprover():
            return x.RefuseCall(call.id, "No approver has asked anything. Go on with what you were doing.")
        case _:
            return x.PrepareCall(call)


def _question(call: Call, asked: b.RequestHumanInput) -> x.Effect:
    options = asked.options
    choices = tuple(dict.fromkeys(choice.strip()[:150] for choice in options.choices if choice.strip()))
    if options.format == "multiple_choice" and len(choices) < 2:  # noqa: PLR2004 a choice needs two
        return x.RefuseCall(call.id, "multiple_choice needs at least two different choices.")
    shown = {"free_text": (), "yes_no": ("Yes", "No"), "multiple_choice": choices}[options.format]
    return x.OpenRequest(
        x.RequestDraft(
            kind="question",
            purpose="model",
            call_id=call.id,
            prompt=asked.question,
            context=asked.context,
            urgency=options.urgency,
            format=options.format,
            choices=shown,
            life_seconds=_QUESTION_LIFE_SECONDS[options.urgency],
        )
    )


def _ruled(state: ThreadState, call: Call) -> x.Effect:
    assert call.prepared is not None  # noqa: S101 the phase says so
    ruling = call.prepared.ruling
    if ruling.verdict == "run":
        return x.RunTool(call)
    if ruling.verdict == "refuse" or ruling.rule is None:
        return x.RefuseCall(call.id, ruling.why or "The policy does not let this run.")
    return x.OpenRequest(
        x.RequestDraft(
            kind="approval",
            purpose="approval",
            call_id=call.id,
            prompt=call.prepared.preview.title,
            preview=call.prepared.preview,
            digest=digest_of(state.thread_id, call),
            rule=ruling.rule,
            entry=ruling.entry,
            requesters=state.shaped_by,
            life_seconds=ruling.rule.life_seconds,
            context=call.talk,
            proposed=call.proposed,
            changed_to=None if call.proposed is None else call.arguments,
            edited_by=call.edited_by,
            steps_due=len(call.escalated) if ruling.rule.escalation[: len(call.escalated)] == call.escalated else 0,
        )
    )


def _explain(error: ValidationError) -> str:
    problems = (f"{'.'.join(str(part) for part in one['loc']) or 'arguments'}: {one['msg']}" for one in error.errors())
    return "; ".join(problems)[:1500]
