"""The deploy journey by text message: a signed webhook in, what arrives on the phones out."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from support import PHONES, Bench, bench

ANA, LENA, OMAR = PHONES["ana"], PHONES["lena"], PHONES["omar"]


@pytest.fixture
async def phones(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, sms=True) as found:
        yield found


def code_in(text: str) -> str:
    found = re.search(r"YES (\d{6})", text)
    assert found, text
    return found[1]


async def test_a_text_becomes_a_deploy_that_a_person_approved_with_a_code(phones: Bench) -> None:
    """SM2, SM5, SM6: Ana texts, Lena and Omar are asked with codes of their own, Lena's YES lets it run, once."""
    await phones.twilio.text(ANA, "deploy v1.4.0 to production")

    (asked,) = await phones.sms("lena", 1)
    (also_asked,) = await phones.sms("omar", 1)
    assert "Deploy v1.4.0 to production" in asked.body
    assert "Ana Ruiz" in asked.body
    assert code_in(asked.body) != code_in(also_asked.body)
    (waiting,) = await phones.sms("ana", 1)
    assert waiting.body.startswith("Waiting for Lena Vogt or Omar Haddad")
    assert phones.releases() == phones.releases()[:1]  # only what ran there before

    await phones.twilio.text(LENA, f"YES {code_in(asked.body)}")
    log = await phones.over()

    assert len(phones.releases()) == 2
    decision = next(event for event in log.events if event.type == "decision_made")
    assert (decision.by.id, decision.by.address, decision.by.authenticated_by) == (
        "lena", f"sms:{LENA}", "twilio-signature",
    )  # fmt: skip
    told = [text.body for text in await phones.sms("ana", 4)]
    assert "Approved by Lena Vogt" in told[1]
    assert "v1.4.0" in told[-1]
    assert len(told[-1]) <= 320
    (_, outcome) = await phones.sms("omar", 2)
    assert "Approved by Lena Vogt" in outcome.body
