"""Records a golden log: plays a conversation on the bench and writes its events down.

`PYTHONPATH=.:tests/bench python tests/replay/record.py`, once for each new conversation. A recorded log is never
recorded again, because it stands for what is in people's stores already. Where the shape of an event changes, an
upcaster keeps these readable.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from support import Bench, bench

from bot.core.events import event_to_json
from bot.core.log import Log
from bot.runtime.private_server import private_server
from bot.testing import wait_until

HERE = Path(__file__).parent


async def approved(found: Bench) -> Log:
    """Asked, approved, deployed."""
    asked = await found.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    await found.slack.click("lena", await found.card(asked), "approve")
    return await found.finished(asked)


async def denied(found: Bench) -> Log:
    """Denied with a reason that names another release, which is approved."""
    asked = await found.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    card = await found.card(asked)
    await found.slack.click("ana", card, "approve")
    await found.slack.click("omar", card, "deny")
    (view,) = found.slack.views("omar")
    await found.slack.submit("omar", view, {"reason": {"text": "use v1.3.1"}})
    await found.settled(asked, lambda log: len(log.state.requests) == 2)
    await wait_until(lambda: len(found.texts(asked)) > 2)
    second = await found.card(asked)
    await found.slack.click("lena", second, "approve")
    return await found.finished(asked)


async def asked_back(found: Bench) -> Log:
    """A question with choices, a deploy to staging that needs no approval, then a failure, then a cancellation."""
    asked = await found.slack.say("ana", "#deploys", "@bot deploy v1.3.2")
    card = await found.card(asked, "answer:0")
    await found.slack.click("ana", card, "answer:0")
    await found.finished(asked)
    await found.slack.say("ana", "#deploys", "deploy release-1.4.1 to staging", asked.ts)
    await found.settled(asked, lambda log: any(event.type == "tool_failed" for event in log.events))
    await found.finished(asked)
    await found.slack.say("ana", "#deploys", "deploy v1.4.0 to production", asked.ts)
    await found.card(asked)
    await found.slack.say("ana", "#deploys", "ok", asked.ts)
    await found.slack.say("ana", "#deploys", "never mind", asked.ts)
    return await found.finished(asked)


CONVERSATIONS: dict[str, Callable[[Bench], Awaitable[Log]]] = {
    "approved": approved,
    "denied": denied,
    "asked_back": asked_back,
}


async def record(name: str, url: str, place: Path) -> None:
    """Play one conversation and write its log."""
    async with bench(url, place) as found:
        log = await CONVERSATIONS[name](found)
    lines = [event_to_json(event) for event in log.events]
    (HERE / f"{name}.jsonl").write_text("\n".join([f'{{"thread":"{log.thread_id}"}}', *lines]) + "\n")


def main() -> None:
    """Record what is not recorded yet."""
    for name in CONVERSATIONS:
        if (HERE / f"{name}.jsonl").exists():
            continue
        with tempfile.TemporaryDirectory() as temporary, private_server(Path(temporary)) as url:
            asyncio.run(record(name, url, Path(temporary) / name))
        sys.stdout.write(f"recorded {name}\n")


if __name__ == "__main__":
    main()
