"""The policy, as a table one can read: this is so, therefore that is done next."""

from __future__ import annotations

from dataclasses import replace

import pytest
from logs import (
    AGENT,
    ANA,
    LENA,
    OMAR,
    REQUEST_ID,
    RULE,
    T0,
    asks_approval,
    at,
    call,
    chose,
    decided,
    launched,
    log,
    opened,
    prepared,
    request,
    said,
)

from bot.core import effects as x
from bot.core import events as e
from bot.core.builtins import GO_ON, IT_RAN, STOP
from bot.core.digest import digest_of
from bot.core.events import Event
from bot.core.log import Log
from bot.core.policy import next_delivery, next_effect, next_step
from bot.core.schedule import timers_of
from bot.core.state import Reminder, RequestCard
from bot.core.values import ApprovalRule, EscalationStep, must_not_run, needs_approval


def test_a_message_that_the_model_has_not_seen_is_shown_to_it() -> None:
    """The first thing a new thread does is to ask the model."""
    assert next_effect(log(launched(), said()).state, AGENT) == x.AskModel()


def test_nothing_is_done_before_a_thread_begins() -> None:
    """An empty log has nothing to do."""
    assert next_effect(log().state, AGENT) is None


def test_a_chosen_tool_is_prepared_before_anything_else() -> None:
    """Selection is not execution."""
    effect = next_step(log(launched(), said(), chose("look", 2)).state, AGENT)
    assert isinstance(effect, x.PrepareCall)


def test_an_unknown_tool_becomes_an_error_that_the_model_sees() -> None:
    """The refusal names the tools that there are."""
    effect = next_step(log(launched(), said(), chose("fly", 2)).state, AGENT)
    assert isinstance(effect, x.RefuseCall)
    assert "no tool called 'fly'" in effect.why
    assert "look, write" in effect.why


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("done_for_now", {}), ("done_for_now", {"message": 1}), ("look", {"what": []}), ("wait", {"minutes": 0})],
)
def test_invalid_arguments_become_an_error_that_the_model_sees(tool: str, arguments: dict[str, object]) -> None:
    """Arguments are checked against the tool's schema before anything is done with them."""
    effect = next_step(log(launched(), said(), chose(tool, 2, **arguments)).state, AGENT)
    assert isinstance(effect, x.RefuseCall)
    assert "Invalid arguments" in effect.why


def test_a_hand_off_to_nobody_is_refused() -> None:
    """An agent hands over only to those that it names."""
    effect = next_step(log(launched(), said(), chose("hand_off", 2, agent="z", brief="x")).state, AGENT)
    assert isinstance(effect, x.RefuseCall)


def test_one_choice_is_no_choice() -> None:
    """A multiple choice needs two different answers."""
    options = {"format": "multiple_choice", "choices": ["a", " a "]}
    effect = next_step(
        log(launched(), said(), chose("request_human_input", 2, question="?", options=options)).state, AGENT
    )
    assert isinstance(effect, x.RefuseCall)


def test_a_permitted_call_runs_and_a_refused_one_does_not() -> None:
    """The ruling that was recorded decides."""
    before = (launched(), said(), chose("look", 2))
    assert isinstance(next_step(log(*before, prepared(3)).state, AGENT), x.RunTool)
    refused = next_step(log(*before, prepared(3, must_not_run("because"))).state, AGENT)
    assert refused == x.RefuseCall(call(3), "because")


def test_an_approval_binds_the_exact_arguments() -> None:
    """AP3: the digest covers tool, exact arguments, thread and call; anything else does not run."""
    before = (launched(), said(), chose("write", 2, what="a"), prepared(3, asks_approval(), writes=True, what="a!"))
    draft = next_step(log(*before).state, AGENT)
    assert isinstance(draft, x.OpenRequest)
    good = draft.draft.digest

    approved = log(*before, opened(3, digest=good), decided("approve", digest=good))
    assert isinstance(next_step(approved.state, AGENT), x.RunTool)

    held = approved.state.call
    assert held
    assert held.prepared
    other = replace(held, prepared=held.prepared.model_copy(update={"arguments": {"what": "b"}}))
    tampered = approved.state.but(call=other)
    assert isinstance(next_step(tampered, AGENT), x.RefuseCall)
    digests = {
        digest_of("t1", held),
        digest_of("t2", held),
        digest_of("t1", other),
        digest_of("t1", replace(held, id="c")),
    }
    assert len(digests) == 4


def test_a_decision_with_another_digest_approves_nothing() -> None:
    """AP3: a decision about something else is not about this."""
    before = (launched(), said(), chose("write", 2), prepared(3, asks_approval(), writes=True), opened(3, digest="d"))
    state = log(*before, decided("approve", digest="other")).state
    assert state.requests[REQUEST_ID].status == "pending"


WAITING = (launched(), said(), chose("write", 2), prepared(3, asks_approval(), writes=True), opened(3))


def waiting(*more: Event) -> Log:
    """A thread that waits for an approval, and what happened then."""
    return log(*WAITING, *more)


def test_a_thread_that_waits_does_nothing() -> None:
    """While an approval is open there is no next step."""
    assert next_step(waiting().state, AGENT) is None


@pytest.mark.parametrize("text", ["ok", "Yes!", "approve", "LGTM", "ja", "👍", "no", "deny."])
def test_a_bare_yes_or_no_gets_a_hint_and_decides_nothing(text: str) -> None:
    """AP15: approvals are decided on the card, never by a message."""
    state = waiting(said(text, LENA)).state
    assert state.requests[REQUEST_ID].status == "pending"
    assert next_step(state, AGENT) is None
    assert any("buttons" in str(post.content) for post in state.posts.values())


def test_any_other_message_is_shown_to_the_model_before_a_side_effect() -> None:
    """Decision 6: even an approval that comes at the same time waits until the model has seen the message."""
    state = waiting(said("hold on, use 1.4.1"), decided("approve")).state
    assert state.requests[REQUEST_ID].status == "approved"
    assert next_step(state, AGENT) == x.AskModel()


def test_the_model_may_keep_to_its_choice_by_waiting() -> None:
    """`wait` after a message leaves the open request as it is."""
    kept = waiting(said("this is the hotfix"), chose("wait", 6, reason="the approval"))
    assert kept.state.requests[REQUEST_ID].status == "pending"
    assert next_step(kept.state, AGENT) is None
    assert kept.plus((decided("approve"),)).state.call is not None


def test_another_choice_supersedes_the_open_request() -> None:
    """AP1, AP3: what was asked is withdrawn, its card says so, and an old approval counts for nothing."""
    state = waiting(said("no, look first"), chose("look", 6), decided("approve")).state
    assert state.requests[REQUEST_ID].status == "superseded"
    assert state.call
    assert state.call.tool == "look"


def test_a_choice_made_without_the_newest_message_is_dropped() -> None:
    """Decision 6: the model is asked again; what the dropped answer cost is kept."""
    state = log(launched(), said("a"), said("b"), chose("write", 2)).state
    assert state.call is None
    assert state.tokens == 10
    assert next_step(state, AGENT) == x.AskModel()


def test_a_denial_reaches_the_model_and_the_tool_never_runs() -> None:
    """AP12: the reason is something to answer to."""
    state = waiting(decided("deny", text="not today")).state
    assert state.call is None
    assert next_step(state, AGENT) == x.AskModel()


def test_timed_out_is_not_denied() -> None:
    """AP4: nobody decided; the call is dropped and the model hears of it."""
    state = waiting(e.RequestExpired(at=at(61), request_id=REQUEST_ID)).state
    assert state.requests[REQUEST_ID].status == "expired"
    assert state.call is None
    assert next_step(state, AGENT) == x.AskModel()


def test_a_quorum_counts_persons() -> None:
    """AP6: the same person twice is one; a denial ends it."""
    rule = asks_approval().rule
    assert rule
    two = rule.model_copy(update={"approvals": 2})
    before = (launched(), said(), chose("write", 2), prepared(3, asks_approval(), writes=True), opened(3, rule=two))
    once = log(*before, decided("approve"), decided("approve"))
    assert once.state.requests[REQUEST_ID].status == "pending"
    assert once.plus((decided("approve", ANA),)).state.requests[REQUEST_ID].status == "approved"
    assert once.plus((decided("deny", ANA),)).state.requests[REQUEST_ID].status == "cancelled"  # hers to withdraw


def test_a_started_call_is_taken_up_or_put_to_a_person_never_rerun_silently() -> None:
    """Decision 3: found started after a crash, the tool's own word decides."""
    started = e.ToolStarted(at=T0, call_id=call(3), place="here")
    asks = log(launched(), said(), chose("write", 2), prepared(3, writes=True), started)
    assert isinstance(next_step(asks.state, AGENT), x.MarkInDoubt)
    attaches = log(launched(), said(), chose("again", 2), prepared(3, writes=True), started)
    assert next_step(attaches.state, AGENT) == x.RunTool(attaches.state.call, resumed=True)  # type: ignore[arg-type]
    reads = log(launched(), said(), chose("look", 2), prepared(3), started)
    assert next_step(reads.state, AGENT) == x.RunTool(reads.state.call, resumed=True)  # type: ignore[arg-type]


def test_a_call_in_doubt_waits_for_a_person_and_their_word_settles_it() -> None:
    """Decision 3: nothing goes on before somebody has said what became of it."""
    doubt = log(
        launched(),
        said(),
        chose("write", 2),
        prepared(3, writes=True),
        e.ToolStarted(at=T0, call_id=call(3), place="here"),
        e.ToolInDoubt(at=T0, call_id=call(3), why="the worker died"),
        said("well?"),
    )
    ask = next_step(doubt.state, AGENT)
    assert isinstance(ask, x.OpenRequest)
    assert ask.draft.purpose == "in_doubt"
    assert ask.draft.life_seconds is None

    asked = request(3).model_copy(
        update={"kind": "question", "purpose": "in_doubt", "choices": ask.draft.choices, "rule": None}
    )
    open_ = doubt.plus((e.RequestOpened(at=T0, request=asked),))
    assert next_step(open_.state, AGENT) is None
    settled = open_.plus((decided("answer", text=IT_RAN),))
    assert settled.state.call is None
    assert settled.state.activities[call(3)].status == "succeeded"
    assert next_step(settled.state, AGENT) == x.AskModel()


def test_after_twenty_steps_a_person_is_asked() -> None:
    """Limits live in the policy; going on starts the count anew, stopping ends the run and says who stopped it."""
    events: list[Event] = [launched(), said()]
    for _ in range(20):
        seq = len(events) + 1
        events += [chose("look", seq - 1), e.ToolFinished(at=T0, call_id=call(seq), result="r")]
    limit = next_step(log(*events).state, AGENT)
    assert isinstance(limit, x.OpenRequest)
    assert "20 steps" in limit.draft.prompt

    asked = request(3).model_copy(
        update={"kind": "question", "purpose": "step_limit", "call_id": None, "choices": limit.draft.choices}
    )
    open_ = log(*events, e.RequestOpened(at=T0, request=asked))
    assert next_step(open_.state, AGENT) is None
    assert next_step(open_.plus((decided("answer", text=GO_ON),)).state, AGENT) == x.AskModel()
    stopped = next_step(open_.plus((decided("answer", text=STOP),)).state, AGENT)
    assert isinstance(stopped, x.FinishRun)
    assert "Lena Vogt" in stopped.message


def test_after_three_failures_in_a_row_of_one_tool_a_person_is_asked() -> None:
    """A success in between starts the count anew; the failures of other tools do not count."""

    def failing(*tools: str) -> Log:
        events: list[Event] = [launched(), said()]
        for tool in tools:
            seq = len(events) + 1
            outcome = (
                e.ToolFinished(at=T0, call_id=call(seq), result="r")
                if tool.endswith("+")
                else e.ToolFailed(at=T0, call_id=call(seq), error="broken pipe")
            )
            events += [chose(tool.rstrip("+"), seq - 1), outcome]
        return log(*events)

    limit = next_step(failing("look", "look", "look").state, AGENT)
    assert isinstance(limit, x.OpenRequest)
    assert "failed 3 times" in limit.draft.prompt
    assert "broken pipe" in limit.draft.prompt
    assert next_step(failing("look", "look+", "look", "look").state, AGENT) == x.AskModel()
    assert next_step(failing("look", "write", "look", "write").state, AGENT) == x.AskModel()


@pytest.mark.parametrize("reason", ["refusal", "context_window"])
def test_a_model_that_will_not_go_on_ends_the_run_in_plain_words(reason: str) -> None:
    """The people are told, and nothing claims success."""
    failed = e.ModelFailed(at=T0, reason=reason, detail="d")  # type: ignore[arg-type]
    effect = next_step(log(launched(), said(), failed).state, AGENT)
    assert isinstance(effect, x.FinishRun)
    assert not effect.by_model
    assert "Nothing further was run" in effect.message


def test_a_model_that_is_away_is_asked_again_by_a_timer_and_then_a_person_is() -> None:
    """Two pauses, then a question."""
    away = e.ModelFailed(at=T0, reason="unavailable", detail="overloaded", retry_at=at(1))
    due = e.ModelRetryDue(at=at(1))
    assert next_step(log(launched(), said(), away).state, AGENT) is None
    assert next_step(log(launched(), said(), away, due).state, AGENT) == x.AskModel()
    third = next_step(log(launched(), said(), away, due, away, due, away, due).state, AGENT)
    assert isinstance(third, x.OpenRequest)
    assert third.draft.purpose == "model_trouble"


def test_a_paused_thread_does_nothing_until_it_is_resumed() -> None:
    """An approval that comes in between is kept."""
    paused = waiting(e.Paused(at=T0, by=ANA), decided("approve", digest="d"))
    assert next_step(paused.state, AGENT) is None
    assert next_step(paused.plus((e.Resumed(at=T0, by=ANA),)).state, AGENT) is not None


def test_a_cancelled_run_withdraws_what_waits_and_a_new_message_starts_another() -> None:
    """AP1: the request ends as cancelled, and a late approval runs nothing."""
    cancelled = waiting(e.Cancelled(at=T0, by=ANA), decided("approve"))
    assert cancelled.state.status == "cancelled"
    assert cancelled.state.requests[REQUEST_ID].status == "cancelled"
    assert next_step(cancelled.state, AGENT) is None
    again = cancelled.plus((said("deploy it after all"),))
    assert again.state.status == "working"
    assert next_step(again.state, AGENT) == x.AskModel()


def test_a_reply_answers_an_open_question() -> None:
    """The answer reaches the model, and the question's card says who gave it."""
    question = request(3).model_copy(update={"kind": "question", "purpose": "model", "rule": None})
    asked = log(
        launched(), said(), chose("request_human_input", 2, question="?"), e.RequestOpened(at=T0, request=question)
    )
    answered = asked.plus((said("v1.4.0", LENA),))
    assert answered.state.requests[REQUEST_ID].status == "answered"
    assert answered.state.requests[REQUEST_ID].text == "v1.4.0"
    assert next_step(answered.state, AGENT) == x.AskModel()
    assert answered.state.steered_by == ("ana", "lena")


def test_whoever_gives_a_reason_for_a_denial_has_shaped_what_comes_next() -> None:
    """AP7: under four eyes, proposing through a denial and then approving would be one pair of eyes."""
    assert waiting(decided("deny", text="use v1.3.1")).state.steered_by == ("ana", "lena")
    assert waiting(decided("deny")).state.steered_by == ("ana",)


def test_answers_keep_their_order_when_one_cannot_be_sent() -> None:
    """SL18: a new post waits behind an older one that is held up; an update and a whisper need not."""
    held = log(launched(), said(), e.RunFinished(at=T0, message="first"))
    held = held.plus(
        (
            e.PostFailed(at=T0, post_id=call(3), face="said", error="ratelimited", retry_at=at(1)),
            said("and?"),
            e.RunFinished(at=T0, message="second"),
        )
    )
    assert next_delivery(held.state) is None
    due = held.plus((e.PostRetryDue(at=at(1), post_id=call(3)),))
    assert next_delivery(due.state) == x.Deliver(call(3), "said")
    sent = due.plus((e.PostSent(at=at(1), post_id=call(3), ref="C/1", face="said"),))
    assert next_delivery(sent.state) == x.Deliver(call(6), "said")


def test_stop_can_be_typed() -> None:
    """A question of the bot's own understands its choices in words too; anything else means to go on."""
    asked = request(3).model_copy(
        update={"kind": "question", "purpose": "step_limit", "call_id": None, "choices": (GO_ON, STOP), "rule": None}
    )
    open_ = log(launched(), said(), e.RequestOpened(at=T0, request=asked))
    assert isinstance(next_step(open_.plus((said(" stop! ", LENA),)).state, AGENT), x.FinishRun)
    assert next_step(open_.plus((said("try v1.3.1 instead", LENA),)).state, AGENT) == x.AskModel()


def test_a_tool_that_is_gone_by_the_time_of_its_approval_is_not_run() -> None:
    """An approval outlives a release of the bot; what it approved may not."""
    without = replace(AGENT, tools=())
    before = (launched(), said(), chose("write", 2), prepared(3, asks_approval(), writes=True))
    draft = next_step(log(*before).state, AGENT)
    assert isinstance(draft, x.OpenRequest)
    good = draft.draft.digest
    approved = log(*before, opened(3, digest=good), decided("approve", digest=good))
    assert isinstance(next_step(approved.state, without), x.RefuseCall)


def test_a_run_that_ends_by_itself_withdraws_what_is_open() -> None:
    """AP14: no card stays open, or says that something runs, once nothing will."""
    refused = waiting(said("what is in it?"), e.ModelFailed(at=T0, reason="refusal", detail="d", saw=6))
    end = next_step(refused.state, AGENT)
    assert isinstance(end, x.FinishRun)
    finished = refused.plus((e.RunFinished(at=T0, message=end.message, by_model=False), decided("approve")))
    assert finished.state.requests[REQUEST_ID].status == "cancelled"
    assert finished.state.activities[call(3)].status == "not_run"


def test_a_message_during_a_refusal_is_heard() -> None:
    """Decision 6: the model declined without having seen it, so it is asked again."""
    declined = e.ModelFailed(at=T0, reason="refusal", detail="d", saw=2)
    assert next_step(log(launched(), said(), said("another service, then"), declined).state, AGENT) == x.AskModel()
    assert next_step(log(launched(), said(), declined, said("another one")).state, AGENT) == x.AskModel()


def test_having_had_a_say_lasts_as_long_as_the_model_remembers_it() -> None:
    """AP7: a new run of the thread shows the model the old one's words, so their authors stay its authors."""
    state = log(
        launched(), said("use her branch", LENA), e.RunFinished(at=T0, message="ok"), said("go ahead, as she says")
    ).state
    assert state.steered_by == ("lena", "ana")


def test_a_question_before_the_steps_are_taken_again_does_not_forget_them() -> None:
    """AP11: asked about twice, the second time at once; who was brought in before the first one still is."""
    steps = (EscalationStep(after=0.5, roles=("oncall",)),)
    rule = RULE.model_copy(update={"escalation": steps})
    again = request(3, rule=rule).model_copy(update={"steps_due": 1})
    state = log(*WAITING[:-1], e.RequestOpened(at=T0, request=again), decided("ask", text="Sure?")).state
    assert state.call
    assert state.call.escalated == steps


def test_whoever_answers_with_a_button_has_shaped_what_comes_next() -> None:
    """AP7: an answer that is clicked goes to the model as one that is written does, and so does its author."""
    question = request(3).model_copy(update={"kind": "question", "purpose": "model", "rule": None})
    asked = log(
        launched(), said(), chose("request_human_input", 2, question="?"), e.RequestOpened(at=T0, request=question)
    )
    assert asked.plus((decided("answer", text="v1.4.0"),)).state.steered_by == ("ana", "lena")


CHANGED = decided("edit").model_copy(update={"arguments": {"what": "worse"}})
UNDONE = e.CallRefused(at=T0, call_id=call(3), why="No.")


def test_what_was_said_while_a_change_was_looked_at_is_not_undone_with_it() -> None:
    """AP7: Lena's change cannot be; Omar spoke meanwhile, so what waits again has been shaped by him, not by her."""
    assert waiting(CHANGED, UNDONE).state.steered_by == ("ana",)
    spoken = waiting(CHANGED, said("the older one, please", OMAR), chose("wait", 7, reason="."), UNDONE)
    assert spoken.state.call
    assert spoken.state.steered_by == ("ana", "omar")


def test_whoever_tried_to_change_a_call_has_shaped_what_is_chosen_instead() -> None:
    """AP7: the model reads what they wanted; the call as it was is not theirs, another one is."""
    again = waiting(CHANGED, UNDONE, prepared(3, asks_approval(), writes=True), opened(3))
    assert again.state.steered_by == ("ana",)
    other = again.plus((said("and?"), chose("write", 10, what="worse")))
    assert other.state.steered_by == ("ana", "lena")


def in_doubt(*more: Event) -> Log:
    """A thread whose call was approved, began to run, and was cut off."""
    began = e.ToolStarted(at=T0, call_id=call(3), place="here")
    return waiting(decided("approve"), began, e.ToolInDoubt(at=T0, call_id=call(3), why="the worker died"), *more)


def test_only_who_could_approve_a_call_says_what_became_of_it() -> None:
    """AP7, AP10: the question has the roles of the approval; four eyes do not matter, and it never runs out."""
    ask = next_step(in_doubt().state, AGENT)
    assert isinstance(ask, x.OpenRequest)
    rule = ask.draft.rule
    assert rule
    assert (rule.roles, rule.four_eyes, rule.life_seconds) == (RULE.roles, False, None)


def test_who_writes_while_a_call_is_in_doubt_has_shaped_what_comes_next() -> None:
    """AP7: the model reads it as soon as somebody has said what became of the call."""
    assert in_doubt(said("roll it back, then", LENA)).state.steered_by == ("ana", "lena")


def test_steps_that_were_taken_count_for_the_same_escalation_only() -> None:
    """AP10, AP11: asked about, it comes under another rule; whom its first step names is not asked before its time."""
    night, board = (EscalationStep(after=0.5, roles=(role,)) for role in ("oncall", "board"))
    taken = e.RequestEscalated(at=T0, request_id=REQUEST_ID, step=0)
    before = (*WAITING[:-1], opened(3, rule=RULE.model_copy(update={"escalation": (night,)})), taken)
    for step, due in ((night, 1), (board, 0)):
        rule = RULE.model_copy(update={"escalation": (step,)})
        again = log(*before, decided("ask", text="Sure?"), chose("answer_approver", 7, answer="Yes."))
        draft = next_step(again.plus((prepared(3, needs_approval(rule), writes=True),)).state, AGENT)
        assert isinstance(draft, x.OpenRequest)
        assert draft.draft.steps_due == due


def test_a_report_about_a_text_that_was_sent_anew_since_changes_nothing() -> None:
    """SM11: of the first one it is told twice that it did not arrive; the second one is on its way."""
    post = f"{call(5)}"
    asked = waiting().plus((e.PostSent(at=T0, post_id=post, ref="SM1", face="pending", tracked=True),))
    failed = e.PostReported(at=T0, post_id=post, ref="SM1", outcome="undeliverable", detail="30005")
    anew = asked.plus((failed, e.PostSent(at=T0, post_id=post, ref="SM2", face="pending", tracked=True)))
    assert next_delivery(anew.plus((failed,)).state) is None


def test_a_rule_that_says_nothing_of_time_gives_an_hour_and_two_reminders() -> None:
    """AP4, AP11: an hour, reminders at 50 % and 90 % of it; no more than seven days can be asked for."""
    rule = ApprovalRule(roles=("approver",))
    draft = next_step(log(*WAITING[:3], prepared(3, needs_approval(rule), writes=True)).state, AGENT)
    assert isinstance(draft, x.OpenRequest)
    assert draft.draft.life_seconds == 3600
    timers = timers_of(opened(3, rule=rule))
    assert [(one.event.type, one.at) for one in timers] == [
        ("request_expired", at(60)), ("request_reminded", at(30)), ("request_reminded", at(54)),
    ]  # fmt: skip
    assert ApprovalRule(life_seconds=7 * 86_400).life_seconds == 604_800
    with pytest.raises(ValueError, match="less than or equal to 604800"):
        ApprovalRule(life_seconds=7 * 86_400 + 1)


ENDS: dict[str, tuple[Event, ...]] = {
    "approved": (decided("approve"),),
    "denied": (decided("deny", text="no"),),
    "expired": (e.RequestExpired(at=at(60), request_id=REQUEST_ID),),
    "cancelled": (e.Cancelled(at=T0, by=ANA),),
    "superseded": (said("something else", OMAR), chose("look", 6)),
}
LATER: tuple[Event, ...] = (
    *(decided(verdict, OMAR, text="?") for verdict in ("approve", "deny", "edit", "ask", "answer")),
    e.RequestExpired(at=at(60), request_id=REQUEST_ID),
    e.RequestReminded(at=at(30), request_id=REQUEST_ID, share=0.5),
    e.EscalationDue(at=at(30), request_id=REQUEST_ID, step=0),
    e.RequestEscalated(at=at(30), request_id=REQUEST_ID, step=0, deciders=(OMAR,), copies=(OMAR.address,)),
    e.Cancelled(at=at(61), by=OMAR),
    e.RunFinished(at=at(61), message="done"),
    said("ok", OMAR),
)


@pytest.mark.parametrize("later", LATER, ids=lambda one: f"{one.type}-{getattr(one, 'verdict', '')}")
@pytest.mark.parametrize("status", ENDS)
def test_a_final_state_is_final(status: str, later: Event) -> None:
    """AP1, AP5: whatever comes then, the request stays as it ended, and nobody is asked any more."""
    over = waiting(*ENDS[status])
    ended = over.state.requests[REQUEST_ID]
    assert ended.status == status
    after = over.plus((later,)).state
    assert after.requests[REQUEST_ID] == ended
    asking = [post for post in after.posts.values() if isinstance(post.content, RequestCard | Reminder)]
    assert {post.line for post in asking} <= {""}
    assert not [post for post in asking if isinstance(post.content, Reminder)]


def test_what_became_of_a_call_is_asked_even_after_its_run_was_cancelled() -> None:
    """AP1: it may have changed something, so the question stays open, and its answer is heard."""
    asked = request(3).model_copy(update={"kind": "question", "purpose": "in_doubt", "choices": (IT_RAN,)})
    asked = asked.model_copy(update={"id": "q" * 32, "rule": None})
    cancelled = in_doubt(e.RequestOpened(at=T0, request=asked), e.Cancelled(at=T0, by=ANA))
    assert [one.request.id for one in cancelled.state.pending] == ["q" * 32]
