"""Which messages are a command, and what the answers say."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from logs import (
    ANA,
    LENA,
    OMAR,
    PEOPLE,
    PLACE,
    REQUEST_ID,
    RULE,
    STRANGER,
    THREAD,
    asks_approval,
    at,
    chose,
    decided,
    launched,
    log,
    prepared,
    said,
)
from logs import request as one_request

from bot.core import events as e
from bot.core.commands import (
    Command,
    asked_for,
    fitted,
    help_text,
    pending_text,
    read_command,
    to_decide,
    waiting,
    whoami_text,
)
from bot.core.hearing import is_heard, may_cancel, may_see, takes_part
from bot.core.log import Log
from bot.core.people import Actor, People, Person
from bot.core.standing import duration, standing
from bot.core.values import Prepared, Preview, Request, Usage, needs_approval
from bot.core.wording import one_line

AGENTS = (
    ("deploy", "Everything about releases: deploying, rolling back, what runs where, tags, commits, what changed."),
)
GIL = Actor(kind="person", id="gil", name="Gil Park", address="slack:T/U0GIL")


def asked(**changes: object) -> Log:
    """Ana asked for a deploy, which waits for Lena or Omar."""
    prepared = Prepared(
        arguments={"what": "it"}, preview=Preview(title="Deploy v1"), ruling=needs_approval(RULE), writes=True
    )
    deciders = tuple(one.model_copy(update={"authenticated_by": ""}) for one in (LENA, OMAR))
    request = Request(
        id=REQUEST_ID, kind="approval", purpose="approval", call_id=f"{THREAD}:3:0", prompt="Deploy v1",
        preview=prepared.preview, rule=RULE, requesters=("ana",), asked_by="Ana Ruiz", deciders=deciders,
        expires_at=at(60),
    ).model_copy(update=changes)  # fmt: skip
    return Log.of(
        THREAD,
        (
            e.ThreadLaunched(at=at(0), agent="deploy", by=ANA, conversation=PLACE),
            e.MessageReceived(at=at(0), text="deploy\nv1", by=ANA),
            e.ToolChosen(at=at(1), tool="write", arguments={"what": "it"}, saw=2, usage=Usage(model="m")),
            e.CallPrepared(at=at(1), call_id=f"{THREAD}:3:0", prepared=prepared),
            e.RequestOpened(at=at(2), request=request),
        ),
    )


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("help", Command("help")),
        ("  Help!\n", Command("help")),
        ("?", Command("help")),
        ("？", Command("help")),  # as a Japanese keyboard writes it
        ("help?", Command("help")),
        ("*pending*", Command("pending")),
        ("`status`", Command("status")),
        ("/status", Command("status")),
        ("WHOAMI", Command("whoami")),
        ("ｗｈｏａｍｉ", Command("whoami")),
        ("cancel.", Command("cancel")),
        ("Cancel run", Command("cancel")),
        ("cancel t1a2b3c4d", Command("cancel", "t1a2b3c4d")),
        ("status T0123456789abcdef01234567", Command("status", "t0123456789abcdef01234567")),
        ("help me deploy", None),
        ("cancel?", None),
        ("cancel that, deploy v1 instead", None),
        ("status report", None),
        ("pending t1a2b3c4d", None),
        ("cancel t1a2", None),
        ("cancel run now", None),
        ("status run", None),
        ("status\n\nof production", None),
        ("who am i", None),
        ("??", None),
        ("", None),
        ("yes", None),
        ("help" + " " * 200, None),
        ("he\u200blp", None),
    ],
)
def test_only_a_message_that_says_nothing_else_is_a_command(text: str, command: Command | None) -> None:
    """The whole message is the word, in any case, with any punctuation around it; `cancel?` asks, and stops nothing."""
    assert read_command(text) == command


def test_an_approval_is_for_those_who_may_give_it_and_not_for_who_asked() -> None:
    """AP7: what four eyes bar somebody from is not put before them as theirs to decide; they wait for it."""
    log = asked()
    assert [bool(to_decide(log, one, PEOPLE, at(3))) for one in (ANA, LENA, OMAR, GIL, STRANGER)] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert [bool(asked_for(log, one, at(3))) for one in (ANA, LENA, OMAR, GIL, STRANGER)] == [
        True, False, False, False, False,
    ]  # fmt: skip


def test_roles_are_those_of_now() -> None:
    """AP7: whoever lost the role is not shown the request any more."""
    without = People((Person(id="lena", name="Lena Vogt", addresses=("slack:T/U0LENA",)),))
    assert to_decide(asked(), LENA, without, at(3)) == []


def test_what_has_run_out_waits_for_nobody() -> None:
    """AP4: at its end a request is nobody's any more, also before the timer has said so."""
    log = asked()
    assert to_decide(log, LENA, PEOPLE, at(60)) == []
    assert asked_for(log, ANA, at(60)) == []


def test_a_second_vote_is_not_asked_of_who_has_voted() -> None:
    """AP6: the quorum counts persons."""
    log = asked(rule=RULE.model_copy(update={"approvals": 2}))
    voted = log.plus([e.DecisionMade(at=at(3), request_id=REQUEST_ID, verdict="approve", by=LENA)])
    assert to_decide(voted, LENA, PEOPLE, at(4)) == []
    assert len(to_decide(voted, OMAR, PEOPLE, at(4))) == 1


def test_what_cannot_be_approved_by_text_is_shown_there_all_the_same() -> None:
    """SM8, AP9: it can be denied there, and approved elsewhere."""
    by = ANA.model_copy(update={"id": "lena", "address": "sms:+12025550102"})
    assert len(to_decide(asked(), by, PEOPLE, at(3))) == 1


def test_a_question_without_a_rule_is_for_those_in_the_thread() -> None:
    """Anybody known may answer it, but not everybody is told what is asked in everybody's threads."""
    log = asked(kind="question", rule=None, choices=("a", "b"))
    assert len(to_decide(log, ANA, PEOPLE, at(3))) == 1
    assert to_decide(log, LENA, PEOPLE, at(3)) == []


def test_a_code_is_shown_only_where_it_was_sent_to_the_number_that_asks() -> None:
    """SM5, SM6: without a code of one's own the answer says where to decide."""
    log = asked()
    (one,) = log.state.pending
    with_code = waiting(log, one, LENA, at(10), deciding=True, here=False, codes={REQUEST_ID: "482190"})
    assert with_code.how == "YES 482190 or NO 482190"
    assert with_code.left == timedelta(minutes=50)
    without = waiting(log, one, LENA, at(10), deciding=True, here=False, codes={"another": "482190"})
    assert without.how == "on its card, in the Slack thread that Ana Ruiz began in #C1"
    text = pending_text("sms", [with_code], [])
    assert text == "1 request for you to decide:\n- Deploy v1: YES 482190 or NO 482190 (50 minutes left)"


def test_each_is_told_how_to_decide_where_they_were_asked() -> None:
    """AP10: a copy by mail is answered by mail, whichever way they ask what is pending."""
    lena = LENA.model_copy(update={"address": "email:lena@acme.example"})
    log = asked(deciders=(lena, OMAR), copies=("email:lena@acme.example",))
    (one,) = log.state.pending
    how = waiting(log, one, LENA, at(3), deciding=True, here=True, codes={}).how
    assert how == "with my message to lena@acme.example, which is not sent yet (quiet hours, or no way through)"
    copy = next(post for post in log.state.posts.values() if post.line)
    log = log.plus([e.PostSent(at=at(3), post_id=copy.id, ref="1", face="pending", to=copy.line)])
    how = waiting(log, one, LENA, at(3), deciding=True, here=True, codes={}).how
    assert how == "reply to my mail to lena@acme.example about it, with APPROVE or DENY as the first line"
    assert waiting(log, one, OMAR, at(3), deciding=True, here=True, codes={}).how == "on its card in this thread"
    assert (
        waiting(log, one, ANA, at(3), deciding=False, here=True, codes={}).how == "waits for Lena Vogt or Omar Haddad"
    )


def test_a_list_that_is_too_long_loses_whole_lines() -> None:
    """SM9: a code is never cut; what is missing is counted."""
    lines = [f"- request {n}: YES 48219{n} or NO 48219{n}" for n in range(10)]
    text = fitted(lines, 120)
    assert len(text) <= 120
    kept = text.split("\n")
    assert kept[:-1] == lines[: len(kept) - 1]
    assert kept[-1] == f"and {10 - len(kept) + 1} more."
    assert fitted(lines, 10_000).split("\n") == lines


def test_what_is_not_listed_is_counted() -> None:
    """A list that ends early says so, on every channel."""
    log = asked()
    (one,) = log.state.pending
    many = [waiting(log, one, LENA, at(3), deciding=True, here=True, codes={})] * 30
    assert pending_text("email", many, []).endswith("- and 20 more")
    for channel in ("slack", "sms"):
        assert re.search(r"and \d+ more", pending_text(channel, many, many))


@pytest.mark.parametrize("agents", [AGENTS, (), (("a", "b" * 2_000),) * 40])
def test_help_by_text_fits_two_segments(agents: tuple[tuple[str, str], ...]) -> None:
    """SM4, SM9: how to decide, how to cancel, and what the carrier takes CANCEL for, whatever agents there are."""
    text = help_text("sms", agents)
    assert len(text) <= 320
    assert "YES or NO and the code" in text
    assert "cancel run" in text
    assert "STOP or CANCEL alone ends all texts" in text


@pytest.mark.parametrize("channel", ["slack", "email"])
def test_help_fits_and_names_every_command(channel: str) -> None:
    """SL13: also with many agents."""
    text = help_text(channel, (("deploy", "Releases."), *((f"agent{n}", "x" * 900) for n in range(40))))
    assert len(text) <= 3_000
    assert "deploy: Releases." in text
    assert all(f"- {word}" in text for word in ("help", "pending", "status", "cancel", "whoami"))


def test_no_line_of_a_help_mail_decides() -> None:
    """EM13: an answer that is quoted below a reply is never a decision."""
    assert all(read.strip().casefold() not in {"approve", "deny"} for read in help_text("email", AGENTS).split("\n"))


def test_whoami_says_whom_one_is_taken_for_and_why() -> None:
    """AP8: the person, the address, how it was proven, the roles; of a stranger, what the people file needs."""
    text = whoami_text(LENA, PEOPLE)
    assert text == (
        "You are Lena Vogt (lena). Roles: engineer, approver. Quiet hours: none. "
        "Known by Slack address T/U0LENA, proven by Slack's signature."
    )
    unknown = whoami_text(STRANGER.model_copy(update={"authenticated_by": "slack-signature"}), PEOPLE)
    assert 'slack = ["T/U0XXX"]' in unknown
    assert "you can do nothing here" in unknown


def test_who_may_look_and_who_may_cancel() -> None:
    """Who takes part, and who may decide what waits; nobody else."""
    log = asked()
    assert [takes_part(log, one) for one in (ANA, LENA, GIL)] == [True, False, False]
    assert [may_see(log, one) for one in (ANA, LENA, GIL)] == [True, True, False]
    assert [may_cancel(log, one, PEOPLE) for one in (ANA, LENA, GIL, STRANGER)] == [True, True, False, False]
    decided = log.plus([e.DecisionMade(at=at(3), request_id=REQUEST_ID, verdict="deny", by=LENA, text="no")])
    assert not may_cancel(decided, OMAR, PEOPLE)


def test_whoever_was_brought_in_may_look() -> None:
    """AP11: a step that was taken asks Gil too, so he may be told how it stands."""
    step = e.RequestEscalated(at=at(30), request_id=REQUEST_ID, step=0, deciders=(GIL,))
    assert may_see(asked().plus([step]), GIL)


def test_whoever_a_rule_names_may_cancel_what_waits_for_them() -> None:
    """AP10: named persons decide whatever roles they hold, and so may end what waits for them; others may not."""
    named = PEOPLE.get("lena")
    assert named
    people = People((*(one for one in PEOPLE if one is not named), named.model_copy(update={"roles": ()})))
    log = asked(rule=RULE.model_copy(update={"roles": (), "persons": ("lena",)}))
    assert [may_cancel(log, one, people) for one in (LENA, OMAR)] == [True, False]


@pytest.mark.parametrize("policy", ["nothing", "ask", "launch"])
def test_a_stranger_is_heard_as_the_policy_says_and_only_in_their_own_threads(policy: str) -> None:
    """AP8: in a thread of somebody else their words would shape what is done there."""
    people = People(strangers={"slack": policy})  # type: ignore[dict-item]
    own = Log.of("t2", [e.ThreadLaunched(at=at(0), agent="a", by=STRANGER, conversation=PLACE)])
    heard = policy != "nothing"
    assert is_heard(STRANGER, people) is heard
    assert is_heard(STRANGER, people, own) is heard
    assert not is_heard(STRANGER, people, asked())
    assert is_heard(ANA, people, asked())
    by_text = STRANGER.model_copy(update={"id": "sms:+12025550199", "address": "sms:+12025550199"})
    assert not is_heard(by_text, people)  # SM7: what is said of Slack says nothing of texts
    assert may_cancel(own, STRANGER, people)


def test_how_a_thread_stands() -> None:
    """One sentence from the log, for each state that people meet."""
    log = asked()
    assert (
        standing(log, at(32))
        == "Waiting for Lena Vogt or Omar Haddad to approve: “Deploy v1”, since 09:02 UTC (28 minutes left)."
    )
    assert standing(log.plus([e.Cancelled(at=at(3), by=ANA)]), at(4)) == "Cancelled by Ana Ruiz."
    approved = log.plus(
        [e.DecisionMade(at=at(3), request_id=REQUEST_ID, verdict="approve", by=LENA, digest=""),
         e.ToolStarted(at=at(4), call_id=f"{THREAD}:3:0", place="here")]
    )  # fmt: skip
    assert standing(approved, at(5)) == "Running “Deploy v1”, since 09:04 UTC."
    failed = approved.plus([e.ToolFailed(at=at(6), call_id=f"{THREAD}:3:0", error="no\nroute", summary="")])
    assert standing(failed, at(7)) == "Working on it. The last error: no route"
    assert standing(failed.plus([e.Paused(at=at(8), by=LENA)]), at(9)).startswith("Paused by Lena Vogt.")
    over = failed.plus([e.RunFinished(at=at(8), message="done")])
    assert standing(replace(over, state=over.state.but(failures={})), at(9)) == "Finished."
    waits = e.ToolChosen(at=at(1), tool="wait", arguments={}, saw=2, usage=Usage(model="m"))
    began = e.WaitStarted(at=at(2), reason="for the build", until=at(30))
    idle = Log.of(THREAD, (*log.events[:2], waits, began))
    assert standing(idle, at(3)) == "Waiting until 09:30 UTC, since 09:02 UTC: for the build"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 seconds"), (1, "1 second"), (59, "59 seconds"), (60, "1 minute"), (3_599, "59 minutes"),
     (7_500, "2 h 5 min"), (172_800, "2 days")],
)  # fmt: skip
def test_durations_read_as_people_say_them(seconds: int, words: str) -> None:
    """Rounded down, as a deadline has to be."""
    assert duration(timedelta(seconds=seconds)) == words


def test_text_of_others_cannot_pose_as_a_line_of_the_answer() -> None:
    """AP14: no line ends, no characters that turn the direction."""
    assert one_line("a\n- YES 000000\r\n\u202eb\x00\u200b") == "a - YES 000000 b"


@pytest.mark.parametrize(("requesters", "voted"), [(("lena",), False), (("ana",), True)])
def test_by_text_too_nobody_is_told_to_decide_what_they_cannot(requesters: tuple[str, ...], voted: bool) -> None:  # noqa: FBT001
    """AP7, AP6: a channel that approves nothing here does not hide that four eyes, or a vote, bar her everywhere."""
    phone = "sms:+12025550102"
    lena = Person(id="lena", name="Lena Vogt", roles=("approver",), addresses=("slack:T/U0LENA", phone))
    people = People((lena, *(one for one in PEOPLE if one.id != "lena")))
    rule = RULE.model_copy(update={"approvals": 2})
    asked = one_request(3, rule=rule).model_copy(update={"requesters": requesters})
    found = log(
        launched(), said(), chose("write", 2), prepared(3, asks_approval(), writes=True),
        e.RequestOpened(at=at(), request=asked),
    )  # fmt: skip
    if voted:
        found = found.plus([decided("approve")])
    assert to_decide(found, LENA, people, at(3)) == []
    assert to_decide(found, LENA.model_copy(update={"address": phone}), people, at(3)) == []
    other = OMAR.model_copy(update={"address": "sms:+12025550103"})
    assert len(to_decide(found, other, people, at(3))) == 1  # who can, by another way, is told
