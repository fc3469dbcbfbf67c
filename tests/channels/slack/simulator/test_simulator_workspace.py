"""The store: timestamps, keeping, watching."""

from pathlib import Path

from simulator_fakes import Clock

from channels.simulating.watching import KEPT_CHANGES
from channels.slack.simulator import SimulatedSlack, Workspace, sample_workspace, serve


def test_timestamps_are_unique_and_increase_while_the_clock_stands_still(clock: Clock) -> None:
    """They look like Slack's, and a clock that goes back does not break them."""
    workspace = sample_workspace(clock)
    given = [workspace.next_ts() for _ in range(3)]
    clock.seconds -= 10
    given.append(workspace.next_ts())
    assert given[0] == "1700000000.000100"
    assert given == sorted(set(given))


def test_a_workspace_survives_being_saved(clock: Clock, tmp_path: Path) -> None:
    """Conversations, reactions and files come back; timestamps go on after the old ones."""
    workspace = sample_workspace(clock)
    said = workspace.post("#deploys", "U0ANA", "hello", metadata={"event_type": "e", "event_payload": {}})
    workspace.react("#deploys", said.ts, "eyes", "U0BOT")
    workspace.add_file("F1", "a.txt", "A", b"text")
    workspace.save(tmp_path / "kept" / "slack.json")
    again = Workspace.load(tmp_path / "kept" / "slack.json", clock)
    assert again.to_json() == workspace.to_json()
    assert again.channels == workspace.channels
    assert again.next_ts() > said.ts
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["slack.json"], "nothing half-written is left"


async def test_a_served_simulator_keeps_its_conversations(clock: Clock, tmp_path: Path) -> None:
    """A second `make dev` shows what was said in the first."""
    path = tmp_path / "slack.json"
    first = SimulatedSlack(now=clock, save_to=path)
    async with serve(first):
        await first.say("ana", "#general", "remember me")
    second = SimulatedSlack(now=clock, save_to=path)
    assert [message.text for message in second.workspace.messages("#general")] == ["remember me"]
    await second.close()


async def test_a_watcher_catches_up_from_where_it_was(clock: Clock) -> None:
    """It gets each notice after the one that it knows, once, and then new ones."""
    workspace = sample_workspace(clock)
    for text in ("one", "two"):
        workspace.post("#general", "U0ANA", text)
    changes = workspace.subscribe(after=workspace.change_number - 1)
    assert changes
    workspace.post("#general", "U0ANA", "three")
    workspace.close_subscriptions()
    assert [change.data["text"] async for change in changes] == ["two", "three"]


def test_a_watcher_that_missed_too_much_is_told_so(clock: Clock) -> None:
    """Also one that comes from another process, with a number this one never gave."""
    workspace = sample_workspace(clock)
    start = workspace.change_number
    for _ in range(KEPT_CHANGES + 2):
        workspace.notice("trouble", {})
    assert workspace.subscribe(after=start + 1) is None
    assert workspace.subscribe(after=start + 10**6) is None
    assert workspace.subscribe(after=start + 2)
