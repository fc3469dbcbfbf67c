"""A request that is asked on one channel and decided on another."""

from __future__ import annotations

from pathlib import Path

from support import BOT_ADDRESS, Bench, bench

from bot.testing import wait_until
from channels.slack.simulator.records import Message

PEOPLE = """
[people.ana]
name = "Ana Ruiz"
roles = ["engineer"]
mail = ["ana@acme.example"]
[people.lena]
name = "Lena Vogt"
roles = ["approver"]
slack = ["T0ACME/U0LENA"]
[people.omar]
name = "Omar Haddad"
roles = ["approver"]
phone = ["+12025550103"]
"""


async def test_a_mail_is_approved_by_a_button_and_the_phone_is_told(redis_url: str, tmp_path: Path) -> None:
    """AP11, AP2: Ana has mail only, Lena Slack only, Omar a phone only; Lena's click settles it everywhere."""
    people = tmp_path / "people.toml"
    people.write_text(PEOPLE)
    async with bench(redis_url, tmp_path, mail=True, sms=True, people_file=people) as found:
        await found.mail.write("ana@acme.example", BOT_ADDRESS, "deploy v1.4.0 to production", "")
        await found.sms("omar", 1)
        direct = found.slack.workspace.channel("U0LENA")
        await wait_until(lambda: found.slack.workspace.messages(direct.id))
        card = found.slack.workspace.messages(direct.id)[-1]
        await found.slack.click("lena", card, "approve")
        log = await found.over()
        assert len(found.releases()) == 2
        decision = next(event for event in log.events if event.type == "decision_made")
        assert decision.by.address == "slack:T0ACME/U0LENA"
        assert "Approved by Lena Vogt" in (await found.sms("omar", 2))[-1].body
        assert "Approved by Lena Vogt" in found.slack.workspace.messages(direct.id)[-1].text
        assert not found.slack.card_actions(found.slack.workspace.messages(direct.id)[-1])
        assert "v1.4.0" in (await found.mails("ana", 4))[-1].text


async def test_what_is_asked_in_a_direct_message_reaches_its_approvers(redis_url: str, tmp_path: Path) -> None:
    """AP10: nobody else sees a direct message with the bot, so each approver in Slack gets a card of their own.

    Omar is told who decided; Ana's own card changes in place, and a click of hers is refused
    to her alone.
    """
    async with bench(redis_url, tmp_path) as found:
        asked = await found.slack.say("ana", "U0ANA", "deploy v1.4.0 to production")
        own = await found.card(asked, "deny")
        copies = {person: await _direct_card(found, user) for person, user in (("lena", "U0LENA"), ("omar", "U0OMAR"))}
        await found.slack.click("ana", own, "approve")
        await wait_until(lambda: found.slack.workspace.ephemerals("U0ANA"))
        assert len(found.releases()) == 1
        await found.slack.click("lena", copies["lena"], "approve")
        await found.finished(asked)
        assert len(found.releases()) == 2

        assert "Approved by Lena Vogt" in (await _direct_card(found, "U0OMAR", open_=False)).text
        assert "Approved by Lena Vogt" in found.slack.workspace.message(own.channel, own.ts).text
        assert "v1.4.0" in found.texts(asked)[-1]
        told = found.slack.workspace.ephemerals("U0ANA")
        assert len(told) == 1
        assert "it takes the role approver" in told[0].text
        assert all(one.channel == own.channel for one in told)


async def _direct_card(found: Bench, user: str, *, open_: bool = True) -> Message:
    """The one card in the direct messages between the bot and this person, once it can be decided, or no more."""
    direct = found.slack.workspace.channel(user).id

    def cards() -> list[Message]:
        return [
            one
            for one in found.slack.workspace.messages(direct)
            if bool(found.slack.card_actions(one)) == open_ and "roduction" in one.text
        ]

    await wait_until(cards)
    (card,) = cards()
    return card
