"""A call that people changed or asked about: who shaped it, what its cards say, and who is told how it ended."""

from __future__ import annotations

import pytest
from logs import ANA, LENA, OMAR, REQUEST_ID, T0, asks_approval, at, call, chose, decided, launched, log, prepared, said
from logs import request as one_request

from bot.core import events as e
from bot.core.context import render_context
from bot.core.decide import Attempt, as_typed
from bot.core.faces import needs_delivery
from bot.core.log import Log
from bot.core.people import Actor
from bot.core.state import Post, RequestCard
from bot.core.views import CardView, view_of

COPY = "email:omar@acme.example"
PROPOSED = (launched(), said(), chose("write", 2, what="A"), prepared(3, asks_approval(), writes=True))


def opened(number: int, **more: object) -> e.Event:
    """The request of this number about the call."""
    one = one_request(3, digest=f"d{number}").model_copy(update={"id": f"{number}" * 32, **more})
    return e.RequestOpened(at=T0, request=one)


def edited(number: int, by: Actor = LENA, **arguments: object) -> e.Event:
    """Somebody changed the call that the request of this number was about."""
    return e.DecisionMade(
        at=at(2), request_id=f"{number}" * 32, verdict="edit", by=by, arguments=arguments, digest=f"d{number}"
    )


def asked(number: int, text: str) -> e.Event:
    """Lena asked about it first."""
    return e.DecisionMade(at=at(1), request_id=f"{number}" * 32, verdict="ask", by=LENA, text=text, digest=f"d{number}")


def changed_once() -> Log:
    """A became B."""
    second = opened(2, proposed={"what": "A"}, changed_to={"what": "B"}, edited_by="Lena Vogt")
    return log(*PROPOSED, opened(1), edited(1, what="B"), prepared(3, asks_approval(), writes=True), second)


def facts(found: Log, number: int) -> list[str]:
    """What the card of the request of this number says was changed."""
    view = view_of(found.state, Post("p", RequestCard(f"{number}" * 32)))
    assert isinstance(view, CardView)
    return [fact.value for fact in view.facts]


@pytest.mark.parametrize("failed", [False, True])
def test_a_copy_that_was_on_its_way_hears_how_it_ended(failed: bool) -> None:  # noqa: FBT001
    """AP11: decided between the sending of Omar's copy and the record of it, or of its doubtful end."""
    base = log(*PROPOSED, e.RequestOpened(at=T0, request=one_request(3).model_copy(update={"copies": (COPY,)})))
    copy = next(post for post in base.state.posts.values() if post.line == COPY)
    over = base.plus([decided("approve")])
    assert copy.id not in over.state.posts
    if failed:
        over = over.plus(
            [e.PostFailed(at=T0, post_id=copy.id, face="pending", error="?", retry_at=at(2), in_doubt=True)]
        )
        over = over.plus([e.PostRetryDue(at=at(2), post_id=copy.id)])
    else:
        over = over.plus([e.PostSent(at=T0, post_id=copy.id, ref="<mail>", face="pending", to=COPY)])
    assert needs_delivery(over.state, over.state.posts[copy.id])
    assert over.state.called_off == {}


def test_a_copy_that_never_went_out_is_not_sent_afterwards() -> None:
    """AP11: nobody is told of the end of what they were not asked."""
    base = log(*PROPOSED, e.RequestOpened(at=T0, request=one_request(3).model_copy(update={"copies": (COPY,)})))
    copy = next(post for post in base.state.posts.values() if post.line == COPY)
    over = base.plus(
        [decided("approve"), e.PostFailed(at=T0, post_id=copy.id, face="pending", error="?", retry_at=at(2))]
    )
    assert copy.id not in over.state.posts


def test_a_closed_card_keeps_saying_what_it_was_about() -> None:
    """AP13: whatever the call is changed to next, and once it ran."""
    once = changed_once()
    assert facts(once, 2) == ["what: A → B"]
    assert facts(once.plus([edited(2, OMAR, what="C"), prepared(3, asks_approval(), writes=True)]), 2) == [
        "what: A → B"
    ]
    approved = e.DecisionMade(at=at(3), request_id="2" * 32, verdict="approve", by=OMAR, digest="d2")
    ran = e.ToolStarted(at=at(3), call_id=call(3), place="x"), e.ToolFinished(at=at(4), call_id=call(3), result="ok")
    assert facts(once.plus([approved, *ran]), 2) == ["what: A → B"]


def test_what_the_model_proposed_is_kept_though_it_was_nothing() -> None:
    """AP13: two changes later, what the agent chose is still known to have been no arguments at all."""
    base = log(launched(), said(), chose("write", 2), prepared(3, asks_approval(), writes=True), opened(1))
    again = opened(2, proposed={}, changed_to={"what": "B"}, edited_by="Lena Vogt")
    once = base.plus([edited(1, what="B"), prepared(3, asks_approval(), writes=True), again])
    twice = once.plus([edited(2, OMAR, what="C")])
    assert twice.state.call
    assert twice.state.call.proposed == {}


def test_an_answer_about_other_arguments_does_not_vouch_for_the_changed_call() -> None:
    """AP14: what the agent said before the change is marked as that; a change that could not be made is forgotten."""
    told = log(
        *PROPOSED, opened(1), edited(1, what="nowhere"), e.ToolFailed(at=at(1), call_id=call(3), error="no such thing"),
        prepared(3, asks_approval(), writes=True), opened(2), asked(2, "Is there a migration in it?"),
        chose("answer_approver", 11, answer="No migration in it."), prepared(3, asks_approval(), writes=True),
        opened(3), edited(3, OMAR, what="B"),
    )  # fmt: skip
    now = told.state.call
    assert now
    assert now.arguments == {"what": "B"}
    assert now.talk.splitlines() == [
        "Before it was changed: Lena Vogt asks: Is there a migration in it?",
        "Before it was changed: The agent answers: No migration in it.",
    ]


def test_words_of_another_do_not_bar_whoever_tried_a_change() -> None:
    """AP7: Ana says something while Lena's change is prepared, which then cannot be: Lena has shaped nothing."""
    undone = log(
        *PROPOSED, opened(1), edited(1, what="B"), said("thanks, no hurry"), chose("wait", 7),
        e.ToolFailed(at=at(3), call_id=call(3), error="there is no B"),
    )  # fmt: skip
    assert undone.state.call
    assert undone.state.call.arguments == {"what": "A"}
    assert undone.state.steered_by == ("ana",)


def test_whoever_changes_a_call_has_shaped_it_before_it_is_asked_anew() -> None:
    """AP7: the request that follows names Lena among those who had a say, and so does the run."""
    changing = log(*PROPOSED, opened(1), edited(1, what="B"))
    assert (changing.state.steered_by, changing.state.shaped_by) == (("ana",), ("ana", "lena"))
    assert changed_once().state.steered_by == ("ana", "lena")
    runs = changing.plus([prepared(3, writes=True), e.ToolStarted(at=at(3), call_id=call(3), place="x")])
    assert runs.state.steered_by == ("ana", "lena")


def test_a_bare_word_that_decides_nothing_is_not_shown_to_the_model() -> None:
    """AP15, AP7: Omar's "no" in the thread gets a hint; it shapes nothing, so it does not bar him either."""
    after = log(*PROPOSED, opened(1), said("no", OMAR), said("please use v2", ANA))
    assert "Omar Haddad" not in str(render_context(after.thread_id, after.events))
    assert "please use v2" in str(render_context(after.thread_id, after.events))
    assert after.state.steered_by == ("ana",)


@pytest.mark.parametrize("verdict", ["edit", "ask"])
def test_a_change_without_arguments_and_a_question_without_words_are_none(verdict: str) -> None:
    """AP13: pressing *Change it* is no change, whatever comes to be allowed between the press and its record."""
    attempt = as_typed(Attempt(REQUEST_ID, verdict, LENA))  # type: ignore[arg-type]
    assert attempt.problem
    assert attempt.problem[0] == "incomplete"
    assert as_typed(Attempt(REQUEST_ID, "edit", LENA, arguments={})).problem is None
    assert as_typed(Attempt(REQUEST_ID, "ask", LENA, text="why?")).problem is None
