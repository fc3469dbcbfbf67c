"""Brings records into order without holding them in memory: a private temporary database that ends with its use."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import cast

from bot.core.values import ThreadId

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Spool:
    """Records by thread and seq, each once."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def add(self, thread_id: ThreadId, seq: int, text: str, *, after: datetime = _EPOCH, line: int = 0) -> bool:
        """Keep a record. False: there is one of this event already."""
        row = (thread_id, seq, (after - _EPOCH) // timedelta(microseconds=1), line, text)
        return self._database.execute("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?)", row).rowcount > 0

    def by_time(self) -> Iterator[str]:
        """The records by time, then thread, then seq."""
        return (text for (text,) in self._database.execute("SELECT text FROM records ORDER BY after, thread, seq"))

    def threads(self) -> Iterator[ThreadId]:
        """Every thread of which there is a record."""
        return (thread for (thread,) in self._database.execute("SELECT DISTINCT thread FROM records ORDER BY thread"))

    def has(self, thread_id: ThreadId) -> bool:
        """Whether there is a record of this thread."""
        found = self._database.execute("SELECT 1 FROM records WHERE thread = ? LIMIT 1", (thread_id,))
        return found.fetchone() is not None

    def of(self, thread_id: ThreadId) -> list[tuple[int, int, str]]:
        """Seq, line and record of a thread, by seq."""
        rows = self._database.execute("SELECT seq, line, text FROM records WHERE thread = ? ORDER BY seq", (thread_id,))
        return cast("list[tuple[int, int, str]]", rows.fetchall())


@contextmanager
def spool() -> Generator[Spool]:
    """An empty spool; what it holds is gone at the end."""
    with closing(sqlite3.connect("", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = OFF")  # nothing of it is kept, so nothing has to be safe
        database.execute(
            "CREATE TABLE records (thread TEXT, seq INTEGER, after INTEGER, line INTEGER, text TEXT,"
            " PRIMARY KEY (thread, seq)) WITHOUT ROWID"
        )
        yield Spool(database)
