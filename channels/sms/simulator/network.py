"""All texts, who has opted out, and the notices about both. It never sends anything anywhere: `carrier` does."""

import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from channels.simulating import Watched
from channels.sms.segments import segments
from channels.sms.simulator.records import Text


class Network(Watched):
    """The store; `now` gives seconds since the epoch.

    Its notices: `text` (new, or its status changed), `opt` (a number left or came back), `trouble` (a webhook failed).
    """

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now())
        self.now = now
        self.texts: dict[str, Text] = {}
        """By sid, in the order in which they were written."""
        self.opted_out: set[str] = set()

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

    def _put(self, text: Text) -> Text:
        self.texts[text.sid] = text
        self.notice("text", text.stored())
        return text

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
