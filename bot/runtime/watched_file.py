"""A text file of the operator's that somebody may be rewriting at any moment: says what is new in it, once it is whole.

The first half of a file is often a sound file that says less, and an editor that saves makes the file empty, or takes
it away, before it writes. So a change is taken only after the file has said the same for two seconds, and a file that
became empty is never taken. Neither clocks that are wrong nor a program that writes the same again and again hold a
change off for longer.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.core.protocols import Clock

_SETTLES_SECONDS: Final = 2.0
"""Longer than any program pauses between two writes; and some file systems keep times in whole seconds only."""
_OLD_SECONDS: Final = 10.0
"""From this age on a file's own time is believed at first sight: a file server's clock is not that far behind."""
_State = tuple[int, ...]
"""What tells one state of a file from another: times of change (ns), size, inode; or why it cannot be looked at."""
_GONE: Final[_State] = (errno.ENOENT,)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a file said at one look."""

    text: str
    problem: Exception | None
    says: str
    """The same for two looks that found the same: a text, a problem, or that there is no file."""


class WatchedFile:
    """One file. A file that is not there is one that says nothing, so its text is empty."""

    def __init__(self, path: Path, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`clock`: the wall clock, for the file's own times; `monotonic`: seconds, for how long it was seen so."""
        self._path = path
        self._clock = clock
        self._monotonic = monotonic
        self._taken: _State | None = None
        """The state after whose reading nothing more can have come, whatever became of it."""
        self._told = ""
        """What the file said (`_Reading.says`) when it was taken last."""
        self._state_since: tuple[_State, float] | None = None
        """The state that waits to be taken, and when it was first seen."""
        self._says_since: tuple[str, float] | None = None
        """What the file says now, and since when every look found it so."""
        self._says_something = False

    def read(self) -> str:
        """The text as it stands now, for a start. Raises OSError, or ValueError for what is no text or just changes."""
        state = self._state()
        found = self._reading(state)
        if found is None:
            raise ValueError("somebody is writing it at this moment; try again")
        self._taken = state
        text = self._tell(found)
        self._says_something = bool(text.strip())
        return text

    def news(self, *, again: bool = False) -> str | None:
        """The text, where it is another than before and whole; None: nothing new, or not yet. Cheap.

        `again`: also where it is the same as before. Raises what `read` raises, once for each state of the file, and
        ValueError for a file that said something and has become empty.
        """
        if self._taken is None:
            return self.read()
        state = self._state()
        if state == self._taken and not again:
            return None
        found = self._reading(state)
        if found is None or not (state == self._taken or self._counts(state, found, again=again)):
            return None
        text = self._tell(found)
        if not text.strip() and self._says_something and state != _GONE:
            raise ValueError("is empty now, which is what a save that failed leaves; write it again, or remove it")
        self._says_something = bool(text.strip())
        return text

    def _counts(self, state: _State, found: _Reading, *, again: bool) -> bool:
        """Whether what a state says that was not taken yet is to be told now."""
        now = self._monotonic()
        if self._state_since is None or self._state_since[0] != state:
            self._state_since = (state, now)
        if self._says_since is None or self._says_since[0] != found.says:
            self._says_since = (found.says, now)
        if now - self._state_since[1] >= _SETTLES_SECONDS or self._is_old(state):
            self._taken = state
            return True
        # Written again and again. The state is not done with: the next write may fall into the same tick of its time.
        if found.says == self._told:
            return again
        return now - self._says_since[1] >= _SETTLES_SECONDS

    def _is_old(self, state: _State) -> bool:
        return len(state) > 1 and self._clock.now().timestamp() - state[0] / 1e9 >= _OLD_SECONDS

    def _tell(self, found: _Reading) -> str:
        self._told = found.says
        if found.problem:
            raise found.problem
        return found.text

    def _reading(self, state: _State) -> _Reading | None:
        """What this state says; None if it was changed while it was read."""
        try:
            text = self._path.read_text(encoding="utf-8")
            found = _Reading(text, None, f"text {text}")
        except FileNotFoundError:
            found = _Reading("", None, "gone")
        except (OSError, UnicodeDecodeError) as error:
            found = _Reading("", error, f"problem {error}")
        return found if self._state() == state else None

    def _state(self) -> _State:
        try:
            status = self._path.stat()
        except OSError as error:
            return (error.errno or 0,)
        # ctime too: a program may set mtime back to what it was, and a change of permissions shows nowhere else.
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
