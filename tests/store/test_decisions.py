"""Many decide at once: one transition, and a truthful receipt for each of the others."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from logs import LENA, OMAR
from support import bench

from bot.core.decide import Attempt
from bot.core.events import DecisionMade, DecisionRefused


async def test_a_hundred_mixed_decisions_are_one_transition(redis_url: str, tmp_path: Path) -> None:
    """AP2: on real Redis; one decision, 99 receipts that say who decided, one run or none."""
    async with bench(redis_url, tmp_path) as found:
        asked = await found.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
        await found.card(asked)
        log = await found.settled(asked, lambda log: log.state.pending)
        (one,) = log.state.pending

        async def decide(n: int) -> DecisionMade | DecisionRefused | None:
            who, verdict = (LENA, OMAR)[n % 2], ("approve", "deny")[n // 2 % 2]
            attempt = Attempt(one.request.id, verdict, who, source=str(n))  # type: ignore[arg-type]
            return (await found.board.inbox.decide(log.thread_id, attempt, deliveries=(f"d{n}",)))[1]

        outcomes = await asyncio.gather(*(decide(n) for n in range(100)))
        made = [event for event in outcomes if isinstance(event, DecisionMade)]
        refused = [event for event in outcomes if isinstance(event, DecisionRefused)]
        assert len(made) == 1
        assert Counter(event.rule for event in refused) == {"late": 99}
        word = {"approve": "approved", "deny": "denied"}[made[0].verdict]
        assert all(f"already {word} by {made[0].by.name}" in event.why for event in refused)

        end = await found.settled(asked, lambda log: log.state.status == "finished")
        runs = [event.type for event in end.events].count("tool_started")
        assert runs == (1 if made[0].verdict == "approve" else 0)
        assert len(found.releases()) == 1 + runs
