"""Who is heard, who takes part in a thread, and who may end its run. Pure.

Nothing here decides a request: that is `judge`'s business, and it never lets a stranger.
"""

from __future__ import annotations

from bot.core.events import ThreadLaunched
from bot.core.log import Log
from bot.core.people import Actor, People


def is_heard(by: Actor, people: People, log: Log | None = None) -> bool:
    """Whether what somebody says is taken at all. `log`: the thread that they speak in, where there is one.

    A stranger is heard where their channel's policy lets them in, and then only in threads that they began themselves:
    in those of others their words would shape what others are answered.
    """
    if by.kind != "unknown":
        return True
    if people.strangers(by.address.partition(":")[0]) == "nothing":
        return False
    return log is None or not len(log) or _began(log, by)


def takes_part(log: Log, by: Actor) -> bool:
    """Whether somebody started this thread, or said something in it that the agent was shown."""
    state = log.state
    return by.id in state.steered_by or (state.requester is not None and state.requester.id == by.id)


def may_see(log: Log, by: Actor) -> bool:
    """Whether somebody may be told how a thread stands: who takes part, and who was asked to decide something."""
    asked = (actor.id for one in log.state.requests.values() for actor in (*one.request.deciders, *one.joined))
    return takes_part(log, by) or by.id in set(asked)


def may_cancel(log: Log, by: Actor, people: People) -> bool:
    """Whether somebody may end this run: who takes part, and who may decide what it waits for.

    A stranger may only end what they began.
    """
    if by.kind == "unknown":
        return _began(log, by)
    roles = people.roles_of(by)
    return takes_part(log, by) or any(
        one.request.rule and (roles & one.roles or by.id in one.persons) for one in log.state.pending
    )


def _began(log: Log, by: Actor) -> bool:
    launched = next((event for event in log.events if isinstance(event, ThreadLaunched)), None)
    return launched is not None and launched.by.id == by.id
