"""A request that is asked on one channel and decided on another."""

from __future__ import annotations

from pathlib import Path

from support import BOT_ADDRESS, bench

from bot.testing import wait_until

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
