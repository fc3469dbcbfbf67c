from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bot.core.policies import Escalation, Policies, Policy
from bot.core.values import ApprovalRule, EscalationStep, Ruling, may_run, must_not_run, needs_approval

OWN = needs_approval(ApprovalRule(risk="medium", roles=("approver",), reminders=(0.5,)))
"""What the tool itself says, where nothing else is written."""
PRODUCTION = {"environment": "production", "reference": "v1.4.0"}


def policies(*entries: dict[str, Any], **escalations: dict[str, Any]) -> Policies:
    """As a file would have them; `tool` is `deploy` unless it is written."""
    return Policies(
        tuple(Policy.model_validate({"tool": "deploy", **entry}) for entry in entries),
        {name: Escalation.model_validate(one) for name, one in escalations.items()},
    )


def rule_of(found: Policies, own: Ruling = OWN) -> ApprovalRule:
    ruling = found.resolve("deploy", PRODUCTION, own)
    assert ruling.verdict == "approve", ruling
    assert ruling.rule
    return ruling.rule


def test_without_an_entry_the_tool_decides() -> None:
    """No file, and an entry about something else, change nothing."""
    for ruling in (OWN, may_run(), must_not_run("no")):
        assert Policies().resolve("deploy", PRODUCTION, ruling) == ruling
        assert policies({"tool": "restart", "risk": "high"}).resolve("deploy", PRODUCTION, ruling) == ruling


@pytest.mark.parametrize(
    ("tool", "when", "matches"),
    [
        ("deploy", {}, True),
        (["restart", "deploy"], {}, True),
        ("dep*", {}, True),
        ("Deploy", {}, False),
        ("deploy", {"environment": "production"}, True),
        ("deploy", {"environment": "prod"}, False),
        ("deploy", {"environment": "prod*"}, True),
        ("deploy", {"environment": ["staging", "production"]}, True),
        ("deploy", {"environment": "production", "reference": "v*"}, True),
        ("deploy", {"environment": "production", "reference": "main"}, False),
        ("deploy", {"region": "*"}, False),
        ("deploy", {"replicas": "3", "force": "true"}, True),
        ("deploy", {"targets": "*"}, False),
        ("deploy", {"nothing": "*"}, False),
        ("deploy", {"share": "50"}, True),
        ("deploy", {"share": "50.0"}, False),
        ("deploy", {"unit": "web[1]"}, True),  # `*` alone stands for others
        ("deploy", {"unit": "web?1?"}, False),
        ("deploy", {"city": "Z\u00fcrich"}, True),
    ],
)
def test_an_entry_is_about_exact_arguments(tool: object, when: dict[str, object], *, matches: bool) -> None:
    """All of them have to match. Numbers and truths are compared as text; what is missing or no text never matches."""
    entry = Policy.model_validate({"tool": tool, "when": when})
    arguments = {**PRODUCTION, "replicas": 3, "force": True, "targets": ["a"], "nothing": None}
    arguments |= {"share": 50.0, "unit": "web[1]", "city": "Zu\u0308rich"}
    assert entry.matches("deploy", arguments) is matches


def test_the_first_entry_that_matches_decides_alone() -> None:
    """Order is meaning: what comes later is not mixed in."""
    found = policies({"when": {"environment": "prod*"}, "approvals": 2}, {"approvals": 3, "wakes": True})
    rule = rule_of(found)
    assert (rule.approvals, rule.wakes) == (2, False)


def test_a_key_that_is_not_written_stays_as_the_tool_has_it() -> None:
    """Key by key: an entry that changes the life changes nothing else."""
    own = ApprovalRule(risk="low", roles=("boss",), four_eyes=True, channels=("slack",), reminders=(0.2,))
    assert rule_of(policies({"life": "2h"}), needs_approval(own)) == own.model_copy(update={"life_seconds": 7200})
    persons = rule_of(policies({"persons": ["lena"]}), needs_approval(own))
    assert (persons.roles, persons.persons) == (("boss",), ("lena",))
    alone = rule_of(policies({"persons": ["lena"], "roles": []}), needs_approval(own))
    assert (alone.roles, alone.persons) == ((), ("lena",))


def test_raising_the_risk_to_high_asks_for_four_eyes_unless_relaxed() -> None:
    """AP7: on by default for high risk, and a policy may relax it."""
    assert rule_of(policies({"risk": "high"})).four_eyes
    assert not rule_of(policies({"risk": "high", "four_eyes": False})).four_eyes
    assert not rule_of(policies({"risk": "low"})).four_eyes


def test_an_escalation_is_recorded_step_by_step() -> None:
    """AP11: the named path is laid out on the rule, so that the request says by itself who is asked when."""
    rule = rule_of(
        policies(
            {"escalation": "oncall", "life": "2h"},
            oncall={"roles": ["oncall"], "channels": ["sms"], "after": "50%", "then": "leads"},
            leads={"persons": ["lena"], "after": 0.8},
            other={"persons": ["ana"], "after": 0.9},
        )
    )
    assert [(step.name, step.after, step.roles, step.persons, step.channels) for step in rule.escalation] == [
        ("oncall", 0.5, ("oncall",), (), ("sms",)),
        ("leads", 0.8, (), ("lena",), ()),
    ]


def test_a_path_that_goes_round_ends() -> None:
    """Such a file is refused; still, nothing ever hangs over it."""
    found = policies(a={"persons": ["x"], "after": 0.1, "then": "b"}, b={"persons": ["x"], "after": 0.2, "then": "a"})
    assert [step.name for step in found.path("a")] == ["a", "b"]


def test_what_never_ends_has_no_shares() -> None:
    """AP4: a policy may say that a request never expires; reminders that the tool has by itself go then."""
    rule = rule_of(policies({"life": "never"}))
    assert (rule.life_seconds, rule.reminders, rule.escalation) == (None, (), ())


@pytest.mark.parametrize(
    ("shape", "entry"),
    [
        (Policy, {"tool": "deploy", "channels": []}),
        (Policy, {"tool": []}),
        (Policy, {"tool": "deploy", "when": {"environment": []}}),
        (Escalation, {"persons": ["lena"], "after": 0.5, "channels": []}),
    ],
)
def test_an_empty_list_never_stands_for_everything(shape: type[Policy | Escalation], entry: dict[str, object]) -> None:
    """AP9: whoever writes `channels = []` means fewer channels than before, not all of them."""
    with pytest.raises(ValidationError, match=r"at least 1 item|names none"):
        shape.model_validate(entry)


def test_an_empty_list_of_persons_names_nobody() -> None:
    """AP4: it takes away whom the tool names by themselves; with no roles either, nobody is left."""
    own = needs_approval(ApprovalRule(roles=("approver",), persons=("lena",)))
    assert (rule_of(policies({"persons": []}), own).roles, rule_of(policies({"persons": []}), own).persons) == (
        ("approver",),
        (),
    )


def test_what_the_tool_refuses_stays_refused() -> None:
    """No file makes run, or puts before people, what the tool itself does not do."""
    no = must_not_run("Ana may not deploy.")
    for entry in ({"verdict": "run", "risk": "low"}, {"roles": ["approver"]}, {"verdict": "refuse", "why": "Else."}):
        assert policies(entry).resolve("deploy", PRODUCTION, no) == no


def test_a_call_can_be_let_run_or_refused() -> None:
    """`run` asks nobody; `refuse` tells why. Each says which entry it was (AP16)."""
    ran = policies({"verdict": "run"}).resolve("deploy", PRODUCTION, OWN)
    assert (ran.verdict, ran.rule, ran.entry) == ("run", None, "1: deploy")
    refused = policies({"verdict": "refuse", "why": "Not today."}).resolve("deploy", PRODUCTION, OWN)
    assert (refused.verdict, refused.why, refused.entry) == ("refuse", "Not today.", "1: deploy")
    assert policies({"verdict": "refuse"}).resolve("deploy", PRODUCTION, may_run()).why


def test_high_risk_does_not_run_unasked() -> None:
    """AP9: letting run what the tool calls high risk takes a lower risk, written down."""
    high = needs_approval(ApprovalRule(risk="high", roles=("approver",)))
    assert policies({"verdict": "run"}).resolve("deploy", PRODUCTION, high) == high
    assert policies({"verdict": "run", "risk": "low"}).resolve("deploy", PRODUCTION, high).verdict == "run"


def test_whoever_names_the_roles_names_all_who_decide() -> None:
    """AP10: the tool's own escalation goes with its own roles; who is only added to them leaves it as it is."""
    own = ApprovalRule(roles=("approver",), escalation=(EscalationStep(after=0.5, roles=("oncall",)),))
    alone = rule_of(policies({"roles": [], "persons": ["lena"]}), needs_approval(own))
    assert (alone.roles, alone.persons, alone.escalation) == ((), ("lena",), ())
    assert rule_of(policies({"persons": ["lena"]}), needs_approval(own)).escalation == own.escalation
    path = {"more": {"roles": ["lead"], "after": "60%"}}
    named = rule_of(policies({"roles": ["approver"], "escalation": "more"}, **path), needs_approval(own))
    assert [step.roles for step in named.escalation] == [("lead",)]


def test_a_ruling_says_which_entry_it_comes_from() -> None:
    """AP16: the number of the entry and what it is about; where the tool's own rule holds, nothing."""
    found = policies(
        {"tool": "rollback", "approvals": 2},
        {"tool": ["deploy", "roll*"], "when": {"environment": ["production", "live"]}, "approvals": 3},
    )
    assert (
        found.resolve("deploy", PRODUCTION, OWN).entry == "2: deploy or roll* where environment is production or live"
    )
    assert found.resolve("rollback", PRODUCTION, OWN).entry == "1: rollback"
    assert found.resolve("restart", PRODUCTION, OWN) == OWN
    no = must_not_run("Ana may not deploy.")
    assert found.resolve("deploy", PRODUCTION, no) == no


def test_a_tool_that_runs_by_itself_can_be_put_before_people() -> None:
    """Whoever names deciders means an approval."""
    rule = rule_of(policies({"roles": ["approver"], "approvals": 2}), may_run())
    assert (rule.roles, rule.approvals) == (("approver",), 2)
    assert policies({"reminders": ["50%"]}).resolve("deploy", PRODUCTION, may_run()) == may_run()


@pytest.mark.parametrize("entry", [{"approvals": 2}, {"four_eyes": True}, {"risk": "high"}])
def test_an_approval_that_nobody_can_give_refuses(entry: dict[str, object]) -> None:
    """AP4: asking for an approval without naming anybody does not let the call run unasked."""
    ruling = policies(entry).resolve("deploy", PRODUCTION, may_run())
    assert ruling.verdict == "refuse"
    assert "names nobody" in ruling.why
