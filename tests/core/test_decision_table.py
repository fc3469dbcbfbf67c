"""Who may decide what, over which channel: the table is the documentation, and every line of it is run through `judge`.

Policies come from a policy file, people from a people file, as in an installation.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from bot.core.decide import Attempt, Verdict, judge
from bot.core.events import DecisionMade, DecisionRefused
from bot.core.people import Actor, People
from bot.core.state import Post, RequestCard, RequestState, ThreadState, Vote
from bot.core.values import ApprovalRule, Request, needs_approval
from bot.runtime.people_file import parse_people
from bot.runtime.policy_file import parse_policies

PEOPLE = """
[roles]
engineer = "Asks for things."
approver = "Approves them."
oncall = "Is asked when nobody has decided for a while."
guest = "Belongs to a partner."

[people.ana]
name = "Ana Ruiz"
roles = ["engineer"]
slack = "T0ACME/U0ANA"
mail = "ana@acme.example"
phone = "+12025550101"

[people.lena]
name = "Lena Vogt"
roles = ["engineer", "approver"]
slack = "T0ACME/U0LENA"
mail = "lena@acme.example"
phone = "+12025550102"

[people.omar]
name = "Omar Haddad"
roles = ["engineer", "approver"]
slack = "T0ACME/U0OMAR"
mail = "omar@acme.example"
phone = "+12025550103"

[people.noor]
name = "Noor Aziz"
roles = ["oncall"]
slack = "T0ACME/U0NOOR"
mail = "noor@acme.example"
phone = "+12025550104"

[people.kim]
name = "Kim Sato"
slack = "T0ACME/U0KIM"
mail = "kim@acme.example"
phone = "+12025550105"

# Of a partner's workspace (Slack Connect). Somebody gave the partner's lead the role of an approver, by mistake or not.
[people.gil]
name = "Gil Park"
roles = ["guest", "approver"]
slack = "T0PARTNER/U0GIL"
"""

POLICIES = """
[escalations.oncall]
roles = ["oncall"]
after = "50%"
then = "kim"

[escalations.kim]
persons = ["kim"]
after = "80%"

[[policies]]
tool = "plain"                # what a role is enough for
roles = ["approver"]

[[policies]]
tool = "careful"              # nobody approves what they asked for, or had a say in
roles = ["approver"]
four_eyes = true

[[policies]]
tool = "two"                  # two persons
roles = ["approver"]
approvals = 2
four_eyes = true

[[policies]]
tool = "named"                # persons instead of a role
roles = []
persons = ["kim"]

[[policies]]
tool = "paging"               # others are asked once nobody has decided for a while
roles = ["approver"]
escalation = "oncall"

[[policies]]
tool = "slack_only"           # channels are named, so no others count
roles = ["approver"]
channels = ["slack"]

[[policies]]
tool = "texts_too"            # a text message may approve even high risk, because somebody wrote so
roles = ["approver"]
channels = ["slack", "email", "sms"]
"""

TABLE = """
| policy     | risk   | asked by | so far         | who        | over  | does    | outcome   | because                                      |
|------------|--------|----------|----------------|------------|-------|---------|-----------|----------------------------------------------|
|            |        |          |                |            |       |         |           | THE ROLE                                     |
| plain      | medium | ana      |                | lena       | slack | approve | counts    | she holds the role                           |
| plain      | medium | ana      |                | ana        | slack | approve | role      | she does not                                 |
| plain      | medium | ana      |                | kim        | slack | approve | role      | no role at all                               |
| plain      | medium | ana      |                | kim        | email | approve | role      | the same person on another channel           |
| plain      | medium | ana      | lena lost role | lena       | slack | approve | role      | AP7: roles are read at the decision          |
| plain      | medium | ana      | kim got role   | kim        | slack | approve | counts    | AP7: gained since it was asked counts too    |
| plain      | medium | ana      | lena gone      | lena       | slack | approve | identity  | AP8: no longer in the people file            |
| plain      | medium | ana      |                | api:ci     | api   | approve | identity  | a service is no person                       |
| plain      | medium | ana      |                | lena       | api   | approve | counts    | a person's own key is that person            |
|            |        |          |                |            |       |         |           | STRANGERS AND GUESTS                         |
| plain      | medium | ana      |                | stranger   | slack | approve | identity  | AP8: nobody knows this address               |
| plain      | medium | ana      |                | stranger   | email | approve | identity  | AP8: a name like Lena's does not help        |
| plain      | medium | ana      |                | stranger   | sms   | approve | identity  | AP8                                          |
| plain      | low    | ana      |                | stranger   | email | deny    | identity  | an unknown person never decides anything     |
| plain      | low    | stranger |                | stranger   | email | deny    | identity  | not even what they asked for themselves      |
| plain      | low    | ana      |                | gil        | slack | approve | external  | SL22: another organisation approves nothing  |
| plain      | low    | ana      |                | gil        | slack | edit    | external  | SL22: a change approves too                  |
| plain      | low    | ana      |                | gil        | slack | deny    | counts    | but with the role, a no is a no              |
| plain      | low    | ana      |                | gil        | slack | ask     | counts    | asking changes nothing                       |
|            |        |          |                |            |       |         |           | RISK AND CHANNEL (AP9)                       |
| plain      | low    | ana      |                | lena       | slack | approve | counts    | low: any channel                             |
| plain      | low    | ana      |                | lena       | email | approve | counts    |                                              |
| plain      | low    | ana      |                | lena       | sms   | approve | counts    |                                              |
| plain      | medium | ana      |                | lena       | email | approve | counts    | medium: any, as each proves who it is        |
| plain      | medium | ana      |                | lena       | sms   | approve | counts    |                                              |
| plain      | high   | ana      |                | lena       | slack | approve | counts    | high: not by text message (SM8)              |
| plain      | high   | ana      |                | lena       | email | approve | counts    |                                              |
| plain      | high   | ana      |                | lena       | api   | approve | counts    |                                              |
| plain      | high   | ana      |                | lena       | sms   | approve | channel   | a sender's number can be forged              |
| plain      | high   | ana      |                | lena       | sms   | edit    | channel   | nor can it be changed there                  |
| plain      | high   | ana      |                | lena       | sms   | deny    | counts    | a no is good over every channel              |
| plain      | high   | ana      |                | lena       | sms   | ask     | counts    | so is a question                             |
| texts_too  | high   | ana      |                | lena       | sms   | approve | counts    | unless the policy names the channel          |
| texts_too  | high   | ana      |                | lena       | api   | approve | channel   | and then no other one counts                 |
| slack_only | low    | ana      |                | lena       | slack | approve | counts    |                                              |
| slack_only | low    | ana      |                | lena       | email | approve | channel   |                                              |
| slack_only | low    | ana      |                | lena       | sms   | approve | channel   |                                              |
| slack_only | low    | ana      |                | lena       | email | deny    | counts    | a no is good over every channel              |
| slack_only | low    | ana      |                | kim        | email | approve | role      | the role is looked at first                  |
|            |        |          |                |            |       |         |           | FOUR EYES (AP7)                              |
| plain      | medium | lena     |                | lena       | slack | approve | counts    | not asked for: she may approve her own       |
| plain      | high   | lena     |                | lena       | slack | approve | four_eyes | on by default where the policy says high     |
| careful    | medium | lena     |                | lena       | slack | approve | four_eyes | she asked for it                             |
| careful    | medium | lena     |                | lena       | email | approve | four_eyes | AP8: on every channel                        |
| careful    | medium | lena     |                | lena       | api   | approve | four_eyes | AP8: and with her own key                    |
| careful    | medium | lena     |                | lena       | slack | edit    | four_eyes | changing it is approving it                  |
| careful    | medium | lena     |                | omar       | slack | approve | counts    | somebody else                                |
| careful    | medium | ana+lena |                | lena       | slack | approve | four_eyes | she had a say in the thread                  |
| careful    | medium | ana+lena |                | omar       | slack | approve | counts    |                                              |
| careful    | medium | api:ci   |                | lena       | slack | approve | counts    | a service asked, and it is known             |
| careful    | medium | stranger |                | lena       | slack | approve | four_eyes | unknown requester: it fails closed           |
| careful    | medium | ana+stranger |            | lena       | slack | approve | four_eyes | one of them is unknown                       |
| careful    | medium | nobody   |                | lena       | slack | approve | four_eyes | nobody knows who asked                       |
| careful    | medium | ana      | ana gone       | lena       | slack | approve | four_eyes | whoever asked is known no more               |
| careful    | medium | stranger |                | lena       | slack | deny    | counts    | a no needs no four eyes                      |
| careful    | medium | lena     |                | lena       | slack | ask     | counts    | nor does a question                          |
|            |        |          |                |            |       |         |           | TWO PERSONS (AP6)                            |
| two        | high   | ana      |                | lena       | slack | approve | counts    | the first one                                |
| two        | high   | ana      | lena approved  | omar       | email | approve | counts    | the second one, over another channel         |
| two        | high   | ana      | lena approved  | lena       | slack | approve | twice     | one person counts once                       |
| two        | high   | ana      | lena approved  | lena       | email | approve | twice     | AP8: on two channels she is one person       |
| two        | high   | ana      | lena approved  | lena       | slack | deny    | counts    | whoever has approved may still say no        |
| two        | high   | ana      | lena approved  | omar       | slack | deny    | counts    | one no ends it                               |
| two        | high   | omar     | lena approved  | omar       | slack | approve | four_eyes | nor is whoever asked the second one          |
| two        | high   | ana      | lena approved  | omar       | sms   | approve | channel   | each of them needs a good channel            |
| two        | high   | ana      | vote, lena out | omar       | slack | approve | voter     | whose vote it was cannot be told any more    |
| two        | high   | ana      | vote, lena out | omar       | slack | deny    | counts    | a no needs no other votes                    |
|            |        |          |                |            |       |         |           | NAMED PERSONS                                |
| named      | medium | ana      |                | kim        | slack | approve | counts    | named, whatever roles they hold              |
| named      | medium | ana      |                | lena       | slack | approve | role      | the role is not asked for here               |
| named      | high   | ana      |                | kim        | sms   | approve | channel   | a name does not make the channel better      |
| named      | high   | kim      |                | kim        | slack | approve | four_eyes | nor does it lift four eyes                   |
|            |        |          |                |            |       |         |           | ESCALATION (AP11)                            |
| paging     | medium | ana      |                | noor       | slack | approve | role      | not before the step was taken                |
| paging     | medium | ana      | 1 step         | noor       | slack | approve | counts    | from then on                                 |
| paging     | medium | ana      | 1 step         | kim        | slack | approve | role      | the second step was not taken                |
| paging     | medium | ana      | 2 steps        | kim        | slack | approve | counts    |                                              |
| paging     | medium | ana      | 2 steps        | lena       | slack | approve | counts    | whoever could decide before still can        |
| paging     | high   | ana      | 1 step         | noor       | sms   | approve | channel   | the page reaches them, the approval does not |
| paging     | high   | noor     | 1 step         | noor       | slack | approve | four_eyes |                                              |
|            |        |          |                |            |       |         |           | A NO, A CHANGE, A QUESTION                   |
| plain      | medium | ana      |                | ana        | slack | deny    | counts    | whoever asked may take it back               |
| plain      | medium | ana      |                | ana        | sms   | deny    | counts    | over any channel                             |
| plain      | medium | api:ci   |                | api:ci     | api   | deny    | counts    | a service too                                |
| plain      | medium | ana      |                | kim        | slack | deny    | role      | anybody else needs the role                  |
| plain      | medium | ana      |                | lena       | slack | edit    | counts    | AP13: changes it, and it is put anew         |
| plain      | medium | ana      |                | ana        | slack | edit    | role      | AP13: a change takes what an approval takes  |
| plain      | medium | ana      |                | lena       | slack | ask     | counts    |                                              |
| plain      | medium | ana      |                | ana        | slack | ask     | role      | whoever asked writes in the thread           |
| plain      | medium | ana      |                | lena       | slack | answer  | kind      | an approval is no question                   |
| plain      | medium | ana      |                | lena       | email | unclear | unclear   | AP4: what is unclear approves nothing        |
|            |        |          |                |            |       |         |           | TOO LATE (AP2, AP4, AP5)                     |
| plain      | medium | ana      | approved       | omar       | slack | deny    | late      | decided is decided                           |
| plain      | medium | ana      | approved       | lena       | slack | approve | late      | the same again changes nothing               |
| plain      | medium | ana      | denied         | lena       | slack | approve | late      |                                              |
| plain      | medium | ana      | expired        | lena       | slack | approve | late      | a final state is final                       |
| plain      | medium | ana      | superseded     | lena       | slack | approve | late      | AP3: the old card is dead                    |
| plain      | medium | ana      | cancelled      | lena       | slack | approve | late      |                                              |
| plain      | medium | ana      | approved       | stranger   | slack | approve | late      | nobody learns more than that it is over      |
| plain      | medium | ana      | run out        | lena       | slack | approve | expired   | its end counts, not the timer behind it      |
| plain      | medium | ana      | run out        | ana        | slack | deny    | expired   | for everybody                                |
|            |        |          |                |            |       |         |           | ANOTHER CARD, ANOTHER REQUEST                |
| plain      | medium | ana      | a newer card   | lena       | slack | approve | card      | AP3: what it shows may be old                |
| plain      | medium | ana      | a newer card   | lena       | slack | deny    | card      | for a no as well                             |
| plain      | medium | ana      | a newer card   | lena       | email | approve | counts    | a mail is held against its own token         |
| plain      | medium | ana      | no request     | lena       | slack | approve | unknown   | nobody asked                                 |
"""  # noqa: E501 a table is read across

NOW = datetime(2026, 3, 20, 9, 0, tzinfo=UTC)
REQUEST_ID = "a-request-of-the-decision-table"
COLUMNS = ("policy", "risk", "asked by", "so far", "who", "over", "does", "outcome", "because")
Row = dict[str, str]


def rows() -> list[Row]:
    """The lines of the table, without its head and the headings."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.strip().splitlines()]
    assert tuple(lines[0]) == COLUMNS
    return [dict(zip(COLUMNS, cells, strict=True)) for cells in lines[2:] if cells[0]]


def rule_of(policy: str, risk: str, people: People) -> ApprovalRule:
    """What the policy file makes of a tool that has no wishes of its own."""
    text = POLICIES.replace("[[policies]]\n", f'[[policies]]\nrisk = "{risk}"\n')
    policies = parse_policies(text, people, dict.fromkeys(named_policies(), ()))
    rule = policies.resolve(policy, {}, needs_approval(ApprovalRule())).rule
    assert rule
    return rule


def named_policies() -> list[str]:
    """As the file has them."""
    return [line.split('"')[1] for line in POLICIES.splitlines() if line.startswith("tool =")]


def actor(who: str, over: str, people: People) -> Actor:
    """Somebody, as a channel has authenticated them."""
    if who.startswith("api:"):
        return Actor(kind="service", id=who, name="ci", address=who, authenticated_by="api-key")
    if over == "api":
        return Actor(kind="person", id=who, name=who.title(), address=f"api:{who}", authenticated_by="api-key")
    places = {"slack": "T0ELSE/U0EVE", "email": "lena.vogt@else.example", "sms": "+12025550199"}
    person = parse_people(PEOPLE).get(who)
    address = f"{over}:{places[over]}"
    if person:
        address = next(one for one in person.addresses if one.startswith(f"{over}:"))
    return people.actor(address, name="Lena Vogt", authenticated_by=f"{over}-test", external=who == "gil")


def requesters(asked_by: str) -> tuple[str, ...]:
    """Ids of those who asked; a stranger's is the address."""
    names = asked_by.replace("stranger", "email:eve@else.example").split("+")
    return () if asked_by == "nobody" else tuple(names)


def people_now(so_far: str) -> People:
    """The people file at the moment of the decision."""
    match so_far.split():
        case [person, "gone"] | ["vote,", person, "out"]:
            tables = PEOPLE.split("[people.")
            return parse_people("[people.".join(one for one in tables if not one.startswith(f"{person}]")))
        case ["lena", "lost", "role"]:
            return parse_people(PEOPLE.replace('roles = ["engineer", "approver"]', 'roles = ["engineer"]', 1))
        case ["kim", "got", "role"]:
            return parse_people(PEOPLE.replace('name = "Kim Sato"', 'name = "Kim Sato"\nroles = ["approver"]'))
        case _:
            return parse_people(PEOPLE)


def request_after(so_far: str, request: Request) -> RequestState:
    """The request at the moment of the decision."""
    one = RequestState(request)
    match so_far.split():
        case ["lena", "approved"] | ["vote,", "lena", "out"]:
            return replace(one, votes=(Vote(actor("lena", "slack", parse_people(PEOPLE)), NOW),))
        case [number, "step" | "steps"]:
            return replace(one, escalations_due=int(number), escalated=int(number))
        case ["approved" | "denied" | "expired" | "superseded" | "cancelled" as status]:
            return replace(one, status=status, decided_at=NOW)
        case ["run", "out"]:
            return replace(one, request=request.model_copy(update={"expires_at": NOW}))
        case _:
            return one


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=" ".join(filter(None, list(row.values())[:8])).replace(" ", "-")) for row in rows()]
)
def test_a_decision_counts_or_is_refused_by_a_rule(row: Row) -> None:
    """AP2 to AP9, AP11, AP13, line by line: policy, risk, person and channel give the outcome."""
    everybody, people = parse_people(PEOPLE), people_now(row["so far"])
    request = Request(
        id=REQUEST_ID,
        kind="approval",
        purpose="approval",
        prompt="Do it?",
        digest="d" * 64,
        rule=rule_of(row["policy"], row["risk"], everybody),
        requesters=requesters(row["asked by"]),
        expires_at=NOW + timedelta(hours=1),
    )
    known = {} if row["so far"] == "no request" else {REQUEST_ID: request_after(row["so far"], request)}
    card = Post("t:1:0", RequestCard(REQUEST_ID), ref="C0DEPLOYS/2")
    state = ThreadState(thread_id="t", requests=known, posts={card.id: card} if row["so far"] == "a newer card" else {})
    verdict = cast("Verdict", row["does"])
    attempt = Attempt(
        REQUEST_ID,
        verdict,
        actor(row["who"], row["over"], people),
        arguments={"unit": "web"},
        ref="C0DEPLOYS/1" if row["over"] == "slack" else "",
    )
    found = judge(state, attempt, people, NOW + timedelta(seconds=1))
    if row["outcome"] == "counts":
        assert isinstance(found, DecisionMade), found
        assert (found.verdict, found.digest) == (verdict, "d" * 64)
    else:
        assert isinstance(found, DecisionRefused), found
        assert found.rule == row["outcome"]
        assert found.why


def test_every_policy_and_every_rule_that_refuses_has_a_line() -> None:
    """The table leaves nothing out of what it documents."""
    table = rows()
    assert len(table) >= 60
    assert {row["outcome"] for row in table} == {
        "counts", "role", "identity", "external", "channel", "four_eyes", "twice", "voter", "kind", "unclear", "late",
        "expired", "card", "unknown",
    }  # fmt: skip
    assert {row["policy"] for row in table} == set(named_policies())
    assert {(row["risk"], row["over"]) for row in table if row["does"] == "approve"} >= {
        (risk, over) for risk in ("low", "medium", "high") for over in ("slack", "email", "sms")
    }
