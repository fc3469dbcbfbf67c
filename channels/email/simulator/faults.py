"""Scripted trouble for tests: what the simulated server answers next. A fault is used up by one answer."""

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Literal

Where = Literal["connect", "auth", "mail", "rcpt", "data"]
Loss = Literal["cut", "silence"]


@dataclass(frozen=True, slots=True)
class Fault:
    """An answer such as `451 4.7.1 come back later`. On connecting it is given instead of the greeting."""

    code: int
    text: str

    @property
    def line(self) -> str:
        """As it goes over the wire."""
        return f"{self.code} {self.text}"


class Faults:
    """The script: for each command, the answers to its next uses, in order."""

    def __init__(self) -> None:
        self._script: defaultdict[Where, deque[Fault]] = defaultdict(deque)
        self._lost: deque[Loss] = deque()

    def fail_next(self, code: int, text: str, count: int = 1, *, at: Where = "rcpt") -> None:
        """Let the next `count` uses of a command fail. At `data` the mail is refused after it was sent whole."""
        self._script[at].extend([Fault(code, text)] * count)

    def lose_answer_after_data(self, count: int = 1, *, how: Loss = "cut") -> None:
        """Let the next `count` mails be taken, and the answer be lost: the connection is cut, or nothing is said."""
        self._lost.extend(how for _ in range(count))

    def take(self, at: Where) -> str | None:
        """The answer of the fault that is due, if any; it is used up."""
        return self._script[at].popleft().line if self._script[at] else None

    def take_loss(self) -> Loss | None:
        """How the answer to this mail is lost, if it is; it is used up."""
        return self._lost.popleft() if self._lost else None
