"""A text file of the operator's that somebody may be rewriting at any moment: says what is new in it, once it is whole.

The first half of a file is often a sound file that says less, and an editor that saves makes the file empty, or takes
it away, before it writes. So a change is taken only after the file was left alone for two seconds, and a file that
became empty is never taken.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from bot.core.protocols import Clock

_SETTLES_SECONDS: Final = 2.0
"""Longer than any program pauses between two writes; and some file systems keep times in whole seconds only."""
_State = tuple[int, ...]
"""What tells one state of a file from another: times of change (ns), size, inode; or why it cannot be looked at."""
_GONE: Final[_State] = (errno.ENOENT,)


class WatchedFile:
    """One file. A file that is not there is one that says nothing, so its text is empty."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """`clock`: the wall clock, since it is compared with the file's own times."""
        self._path = path
        self._clock = clock
        self._taken: _State | None = None
        """The state that was read last, whatever came of it."""
        self._seen: tuple[_State, float] | None = None
        """The state that waits to be taken, and when it was first seen."""
        self._says_something = False

    def read(self) -> str:
        """The text as it stands now, for a start. Raises OSError, or ValueError for what is no text or just changes."""
        text = self._take(self._state())
        if text is None:
            raise ValueError("somebody is writing it at this moment; try again")
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
        if not (again if state == self._taken else self._has_settled(state)):
            return None
        text = self._take(state)
        if text is None:
            return None
        if not text.strip() and self._says_something and state != _GONE:
            raise ValueError("is empty now, which is what a save that failed leaves; write it again, or remove it")
        self._says_something = bool(text.strip())
        return text

    def _take(self, state: _State) -> str | None:
        """The text of this state; None if it was changed while it was read."""
        text, problem = "", None
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError) as error:
            problem = error
        if self._state() != state:
            return None
        self._taken = state
        if problem:
            raise problem
        return text

    def _has_settled(self, state: _State) -> bool:
        """Whether the file was last written two seconds ago, or has been seen like this for that long.

        The latter counts for a file that is gone, and for one whose time lies in the future.
        """
        now = self._clock.now().timestamp()
        if self._seen is None or self._seen[0] != state:
            self._seen = (state, now)
        written = state[0] / 1e9 if len(state) > 1 else now
        return now - min(self._seen[1], written) >= _SETTLES_SECONDS

    def _state(self) -> _State:
        try:
            status = self._path.stat()
        except OSError as error:
            return (error.errno or 0,)
        # ctime too: a program may set mtime back to what it was, and a change of permissions shows nowhere else.
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
