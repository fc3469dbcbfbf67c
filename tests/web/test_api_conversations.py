"""Where a launch over the API may put its answers and its cards."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from support import API_KEY, Bench, bench


@pytest.fixture
async def unmanned(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    """A bot whose workers have not come yet."""
    async with bench(redis_url, tmp_path, workers=0) as found:
        yield found


async def launch(found: Bench, ref: str) -> tuple[int, dict[str, Any]]:
    """Status and body of a launch into this place of Slack's."""
    body = {"message": "deploy v1.4.0 to production", "conversation": {"channel": "slack", "ref": ref}}
    headers = {"Authorization": f"Bearer {API_KEY}"}
    answer = await found.http.post("/api/threads", json=body, headers=headers)
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    "ref",
    ["U0ANA", "W0ANA", "U0ANA/1773997200.000300", "T0ACME", "C", "", "c0deploys", "C0DEPLOYS\n", "C0/x", "C0/٣.٣"],
)
async def test_a_card_goes_to_no_place_that_is_not_a_channel(unmanned: Bench, ref: str) -> None:
    """AP11: a person's id would be a direct message that passes for a channel. 422 says what to send instead."""
    status, body = await launch(unmanned, ref)
    assert status == 422
    assert body["error"].startswith("conversation.ref: send a channel's id (C0DEPLOYS), or CHANNEL/THREAD_TS")
    assert not await unmanned.store.logs.recent(10)


@pytest.mark.parametrize("ref", ["C0DEPLOYS", "C0DEPLOYS/1773997200.000300", "G0GROUP", "D0ANA"])
async def test_a_card_goes_to_a_channel_or_a_thread(unmanned: Bench, ref: str) -> None:
    """AP11: channels, group messages and direct messages by their own ids."""
    assert (await launch(unmanned, ref))[0] == 201


async def test_the_description_has_the_pattern(unmanned: Bench) -> None:
    """Whoever makes a client from the description learns it there."""
    described = (await unmanned.http.get("/openapi.json")).json()["components"]["schemas"]["ConversationIn"]
    assert described["properties"]["ref"]["pattern"].startswith("^[CGD]")
