"""Which audit records somebody asks for, and what is told beside them. Pure."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bot.cli.thread_ids import is_meant
from bot.core.audit import Found
from bot.core.audit_record import DECISIONS
from bot.core.people import People
from bot.core.values import ThreadId
from bot.core.wording import plural

_CHANNELS = ("slack", "email", "sms", "api")


@dataclass(frozen=True)
class Person:
    """Somebody, as they were typed, and the ids that the people file has for that."""

    typed: str
    ids: frozenset[str] = frozenset()

    @classmethod
    def of(cls, typed: str, people: People) -> Person:
        """By an id, a whole name, an address with or without its channel, or the last part of a Slack address."""
        typed = typed.strip()
        alone = cls(typed)
        known = (one.id for one in people if alone.names(one.id, one.name) or any(map(alone.has, one.addresses)))
        return cls(typed, frozenset(known))

    def did(self, entry: dict[str, Any]) -> bool:
        """Whether a record is of something that they did."""
        who, address = entry.get("who", {}), entry.get("address", "")
        return who.get("id") in self.ids or self.names(who.get("id", ""), who.get("name", "")) or self.has(address)

    def names(self, person_id: str, name: str) -> bool:
        """Whether this id or this whole name was typed."""
        return bool(self.typed) and self.typed.casefold() in {person_id.casefold(), name.casefold()}

    def has(self, address: str) -> bool:
        """Whether this address was typed, or what tells it from others of its channel."""
        channel, _, place = address.casefold().partition(":")
        if not place or channel not in _CHANNELS:
            return False
        typed = self.typed.casefold()
        return typed in {f"{channel}:{place}", place, *([place.rpartition("/")[2]] if channel == "slack" else [])}


@dataclass
class Search:
    """Keeps the newest records that fit; what does not fit is counted. Takes the records of a thread in their order."""

    limit: int
    thread: str = ""
    """An id, or how it begins."""
    person: Person | None = None
    since: datetime | None = None
    decisions: bool = False
    left_out: int = 0
    """Records that would fit, and are older than those that are kept."""
    _newest: list[tuple[datetime, ThreadId, int, dict[str, Any]]] = field(
        default_factory=list[tuple[datetime, ThreadId, int, dict[str, Any]]]
    )
    _looked_at: int = 0
    _oldest: str = ""
    _thread_id: ThreadId = ""
    _titles: dict[int, str] = field(default_factory=dict[int, str])
    _speaker: str = ""

    def leaves_out(self, thread_id: ThreadId) -> bool:
        """Whether nothing of this thread can fit."""
        return bool(self.thread) and not is_meant(thread_id, self.thread)

    def take(self, thread_id: ThreadId, found: Found) -> None:
        """Look at a record."""
        entry = self._told(thread_id, dict[str, Any](found.entry))
        if self.since is not None and datetime.fromisoformat(entry["at"]) < self.since:
            return
        self._looked_at += 1
        self._oldest = min(self._oldest or entry["at"], entry["at"])
        if (self.person is None or self.person.did(entry)) and (not self.decisions or _decides(entry)):
            heapq.heappush(self._newest, (found.after, thread_id, found.seq, entry))
            if len(self._newest) > self.limit:
                heapq.heappop(self._newest)
                self.left_out += 1

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The newest records that fit, oldest first."""
        return [entry for *_, entry in sorted(self._newest, key=lambda one: one[:3])]

    @property
    def nothing(self) -> str:
        """What is told where nothing fits: what was looked for, and how far back."""
        wanted = ["decisions"] if self.decisions else []
        wanted += [f"what {self.person.typed[:100]!r} did{self._known_as(self.person)}"] if self.person else []
        wanted += [f"thread {self.thread[:100]}"] if self.thread else []
        since = f"{self.since:%Y-%m-%d %H:%M} UTC" if self.since else ""
        wanted += [f"since {since}"] if since else []
        where = "of the threads meant" if self.thread else "that Redis has"
        if self._looked_at:
            back = f", back to {self._oldest[:16].replace('T', ' ')} UTC"
            looked = f"All {plural(self._looked_at, 'record')} {where} were looked through{back}."
        else:
            looked = f"There is no record {where}{' from then on' if since else ''}."
        return f"Nothing is recorded of: {', '.join(wanted) or 'anything'}. {looked}"

    @staticmethod
    def _known_as(person: Person) -> str:
        if not person.ids:
            return " (the people file has nobody like that)"
        return f" ({', '.join(sorted(person.ids))})" if person.ids != frozenset({person.typed}) else ""

    def _told(self, thread_id: ThreadId, entry: dict[str, Any]) -> dict[str, Any]:
        """With the requests that it withdrew by their titles, and with whose message came before that."""
        if thread_id != self._thread_id:
            self._thread_id, self._titles, self._speaker = thread_id, {}, ""
        if entry["what"] == "request_opened":
            self._titles[entry["seq"]] = entry.get("title", "") or f"a {entry.get('kind', 'request')}"
            self._speaker = ""
        elif entry["what"] == "said":
            self._speaker = entry.get("who", {}).get("name", "")
        if "withdrawn" in entry:
            entry["withdrew"] = [f"{self._titles.get(seq, 'a request')} (request {seq})" for seq in entry["withdrawn"]]
            if entry["what"] == "withdrawn" and self._speaker:
                entry["after"] = self._speaker
        return entry


def _decides(entry: dict[str, Any]) -> bool:
    return entry["what"] in DECISIONS or "withdrawn" in entry
