"""All texts, who has opted out, and the notices about both. It never sends anything anywhere: `carrier` does."""

import asyncio
import json
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from channels.sms.segments import segments
from channels.sms.simulator.records import Change, Json, Text

KEPT_CHANGES = 2_000
"""How many notices a watcher that lost its connection can catch up on; beyond that it must read the state again."""


class Network:
    """The store; `now` gives seconds since the epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.texts: dict[str, Text] = {}
        """By sid, in the order in which they were written."""
        self.opted_out: set[str] = set()
        self._changes: deque[Change] = deque(maxlen=KEPT_CHANGES)
        # Numbers of an earlier process are always smaller, so that its watchers notice that they must start anew.
        self._number = int(now() * 1_000)
        self._grown = asyncio.Event()
        self._closed = False

    def add(self, *, direction: str, sender: str, to: str, body: str, status: str, **more: Any) -> Text:  # noqa: ANN401
        """A new text; `more` are further fields of `Text`."""
        now = self.now()
        sid, count = f"SM{secrets.token_hex(16)}", max(1, segments(body))
        text = Text(sid=sid, direction=direction, sender=sender, to=to, body=body, status=status, segments=count,
                    created=now, updated=now, **more)  # fmt: skip
        return self._put(text)

    def change(self, sid: str, **fields: Any) -> Text:  # noqa: ANN401 fields of `Text`
        """The text with other fields, as it is from now on."""
        return self._put(replace(self.texts[sid], updated=self.now(), **fields))

    def opt(self, number: str, *, out: bool) -> bool:
        """Opt a number out or in; whether that changed anything."""
        if (number in self.opted_out) == out:
            return False
        (self.opted_out.add if out else self.opted_out.discard)(number)
        self.notice("opt", {"number": number, "out": out})
        return True

    def newest_first(self) -> list[Text]:
        """What the message list holds."""
        return [text for text in reversed(self.texts.values()) if text.listed]

    def notice(self, kind: str, data: Json) -> None:
        """Tell every watcher."""
        self._number += 1
        self._changes.append(Change(self._number, kind, data))
        self._wake()

    @property
    def change_number(self) -> int:
        """The number of the newest notice."""
        return self._number

    def can_catch_up(self, after: int) -> bool:
        """Whether all notices since that one are still there."""
        oldest = self._changes[0].number if self._changes else self._number + 1
        return oldest - 1 <= after <= self._number

    async def subscribe(self, after: int | None = None) -> AsyncGenerator[Change]:
        """Notices after that number (from now on by default), until `close`. Raises LookupError where some are gone."""
        after = self._number if after is None else after
        while True:
            if not self.can_catch_up(after):
                raise LookupError("too long ago: read the state again")
            grown = self._grown
            for change in [one for one in self._changes if one.number > after]:
                after = change.number
                yield change
            if self._closed:
                return
            if after == self._number:
                await grown.wait()

    def close(self) -> None:
        """End every watcher's iteration, so that a server with open streams can stop."""
        self._closed = True
        self._wake()

    def _put(self, text: Text) -> Text:
        self.texts[text.sid] = text
        self.notice("text", text.stored())
        return text

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    def save(self, path: Path) -> None:
        """Write everything down; the file is replaced whole."""
        texts = [text.stored() for text in self.texts.values()]
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.with_suffix(".new")
        written.write_text(json.dumps({"texts": texts, "opted_out": sorted(self.opted_out)}), encoding="utf-8")
        written.replace(path)

    def load(self, path: Path) -> None:
        """Take up what was written down."""
        found = json.loads(path.read_text(encoding="utf-8"))
        self.texts = {one["sid"]: Text(**one) for one in found["texts"]}
        self.opted_out = set(found["opted_out"])
