"""Golden logs: what was recorded once folds to the same state, and is shown to the model in the same words, for ever.

`UPDATE_SNAPSHOTS=1 make test` writes the snapshots anew; read the difference before you commit it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from bot.core.context import render_context
from bot.core.events import event_from_json, event_to_json
from bot.core.log import Log
from bot.core.state import ThreadState

HERE = Path(__file__).parent
LOGS = sorted(HERE.glob("*.jsonl"))


def read(path: Path) -> Log:
    """A recorded log: the thread's id in the first line, an event in each further one."""
    head, *lines = path.read_text().splitlines()
    return Log.of(json.loads(head)["thread"], map(event_from_json, lines))


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_a_recorded_log_folds_to_its_snapshot(path: Path) -> None:
    """The meaning of what is in people's stores does not change."""
    log = read(path)
    state = TypeAdapter(ThreadState).dump_python(log.state, mode="json", exclude_defaults=True)
    shown = render_context(log.thread_id, log.events)
    told = json.dumps({"state": state, "context": list(shown)}, indent=1, ensure_ascii=False) + "\n"
    snapshot = path.with_suffix(".snapshot.json")
    if os.environ.get("UPDATE_SNAPSHOTS"):
        snapshot.write_text(told)
    assert told == snapshot.read_text()


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_a_recorded_log_is_written_as_it_was_read(path: Path) -> None:
    """The stored form is stable too."""
    assert [event_to_json(event) for event in read(path).events] == path.read_text().splitlines()[1:]


def test_there_are_golden_logs() -> None:
    """An empty folder would make the tests above say nothing."""
    assert len(LOGS) >= 3
