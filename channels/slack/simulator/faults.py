"""Scripted trouble for tests: what the simulated Web API does wrong on the next calls of a method.

A fault is used up by one call. Faults never change the store by themselves: only `LostAnswer` and `Slow` let the call
be applied, and then it is applied as usual.
"""

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimited:
    """429 with `Retry-After`; the call is not applied."""

    retry_after_seconds: int = 1


@dataclass(frozen=True, slots=True)
class ServerError:
    """An HTTP error status with a body that is not JSON; the call is not applied."""

    status: int = 500


@dataclass(frozen=True, slots=True)
class LostAnswer:
    """The call is applied, then the connection is cut before a byte of the answer."""


@dataclass(frozen=True, slots=True)
class Refused:
    """`{"ok": false, "error": …}`; the call is not applied."""

    error: str = "channel_not_found"


@dataclass(frozen=True, slots=True)
class Slow:
    """The call is applied at once, and answered after `seconds` of the simulator's sleep and once `until` is set."""

    seconds: float = 0
    until: asyncio.Event | None = None


Fault = RateLimited | ServerError | LostAnswer | Refused | Slow


class Faults:
    """The script: for each Web API method, the faults of its next calls in order."""

    def __init__(self) -> None:
        self._script: defaultdict[str, deque[Fault]] = defaultdict(deque)

    def script(self, method: str, *faults: Fault) -> None:
        """Let the next calls of `method` ("chat.postMessage") meet these faults, one each."""
        self._script[method].extend(faults)

    def take(self, method: str) -> Fault | None:
        """The fault of this call, if any; it is used up."""
        return self._script[method].popleft() if self._script[method] else None

    @property
    def unused(self) -> dict[str, list[Fault]]:
        """What no call has met yet."""
        return {method: list(faults) for method, faults in self._script.items() if faults}
