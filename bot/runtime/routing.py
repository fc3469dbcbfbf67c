"""At which address somebody is asked or told: where the conversation is, else wherever they can be reached.

What comes in, and what the model writes, has no say in it: addresses come from the people file alone (AP10).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bot.core.people import Actor, Address, People, Person
from bot.core.protocols import Channel
from bot.core.state import RequestState, ThreadState
from bot.core.values import ApprovalRule, Conversation, EscalationStep, Resting

MOST_COPIES = 500
"""Of a request, at once. Whoever is left out may decide all the same; a role that more people hold is a mistake."""


class Addresses(Protocol):
    """Which addresses are of no use: opted out, bounced."""

    async def why_off(self, address: Address) -> str | None:
        """Why nothing is sent there; None: it is in use."""
        ...

    async def turn_off(self, address: Address, why: str) -> None:
        """Send nothing there until it is turned on again."""
        ...


@dataclass(frozen=True)
class Asked:
    """Who may decide a request, and which of them the conversation's own card does not reach."""

    deciders: tuple[Actor, ...]
    copies: tuple[Address, ...]


class Routing:
    """Finds ways to people."""

    def __init__(self, people: Callable[[], People], channels: Mapping[str, Channel], addresses: Addresses) -> None:
        self._people = people
        self._channels = channels
        self._addresses = addresses

    def channel(self, name: str) -> Channel | None:
        """The channel of this name, where it is on."""
        return self._channels.get(name)

    def is_shared(self, conversation: Conversation) -> bool:
        """Whether one card in this conversation is for everybody who can be reached over its channel."""
        channel = self._channels.get(conversation.channel)
        return channel is None or channel.is_shared(conversation)

    def person_at(self, address: Address) -> str:
        """The id of whoever has this address now; empty: nobody."""
        person = self._people().at(address)
        return person.id if person else ""

    def timezone_at(self, address: Address) -> str:
        """The time zone of whoever has this address now."""
        person = self._people().at(address)
        return person.timezone if person else "UTC"

    async def turn_off(self, address: Address, why: str) -> None:
        """Nothing gets through to this address."""
        await self._addresses.turn_off(address, why)

    async def ask(self, state: ThreadState, rule: ApprovalRule | None, barred: tuple[str, ...]) -> Asked:
        """Who is asked about a request of this thread, and where. Raises StoreUnavailable."""
        if rule is None:
            return Asked((), ())
        return await self._asked(state, self._people().deciders(rule.roles, rule.persons, barred=barred))

    async def ask_too(self, state: ThreadState, one: RequestState, step: EscalationStep) -> Asked:
        """Whom a step of an escalation brings in who was not asked before. Raises StoreUnavailable."""
        rule = one.request.rule
        known = {actor.id for actor in (*one.request.deciders, *one.joined)}
        barred = {vote.by.id for vote in one.votes} | set(one.request.requesters if rule and rule.four_eyes else ())
        barred |= set[str]() if step.channels else known  # a step with channels asks there whom others asked elsewhere
        found = await self._asked(
            state,
            self._people().deciders(step.roles, step.persons, barred=barred),
            channels=step.channels,
            aside=True,  # the card is there already, and tells nobody anew
        )
        asked = tuple(
            actor
            for actor in found.deciders
            if actor.id not in known or (actor.address not in one.copies and channel_of(actor.address) in step.channels)
        )
        new = {actor.address for actor in asked} - set(one.copies)
        return Asked(asked, tuple(address for address in found.copies if address in new))

    def can_bring_in(self, rule: ApprovalRule, asked: Asked, barred: tuple[str, ...]) -> bool:
        """Whether a step of the escalation names somebody who is not asked already."""
        known = {actor.id for actor in asked.deciders}
        steps = (self._people().deciders(step.roles, step.persons, barred=barred) for step in rule.escalation)
        return any(person.id not in known for step in steps for person in step)

    def quiet_until(self, address: Address, at: datetime) -> datetime | None:
        """When the quiet hours of whoever has this address end, if it is in them."""
        person = self._people().at(address)
        return person.quiet.until(at) if person and person.quiet else None

    def resting(self, copies: Iterable[Address], rule: ApprovalRule | None, at: datetime) -> tuple[Resting, ...]:
        """Who of those that get a copy has quiet hours now, and no rule that wakes them."""
        if rule and rule.wakes:
            return ()
        people, found = self._people(), dict[str, Resting]()
        for address in copies:
            person, until = people.at(address), self.quiet_until(address, at)
            if person and until:
                found[person.id] = Resting(id=person.id, name=person.name, until=until)
        return tuple(found.values())

    async def _asked(
        self, state: ThreadState, persons: Iterable[Person], *, channels: tuple[str, ...] = (), aside: bool = False
    ) -> Asked:
        place = state.conversation
        here = place.channel if place else ""
        deciders: list[Actor] = []
        copies: list[Address] = []
        for person in persons:
            address = await self._best(person, here, owner=state.owner, channels=channels)
            # Without a conversation nothing is sent anywhere: then nobody is asked at any address.
            asked_at = address if place else ""
            deciders.append(Actor(kind="person", id=person.id, name=person.name, address=asked_at))
            if not address or place is None:
                continue
            seen = channel_of(address) == place.channel and self.is_shared(place) and not aside
            if not seen and (aside or address != state.owner):
                copies.append(address)
        return Asked(tuple(deciders), tuple(copies[:MOST_COPIES]))

    async def way_to(self, address: Address) -> Address:
        """This address, or another one of the same person where nothing gets through to it; empty: there is none.

        Raises StoreUnavailable.
        """
        if await self._in_use(address):
            return address
        person = self._people().at(address)
        for other in person.addresses if person else ():
            if other != address and await self._in_use(other):
                return other
        return ""

    async def _best(self, person: Person, here: str, *, owner: Address, channels: tuple[str, ...]) -> Address:
        if owner in person.addresses and not channels:
            return owner
        wanted = channels or (here,)
        # A stable sort: the order of the people file decides the rest.
        in_order = sorted(
            person.addresses,
            key=lambda one: wanted.index(channel_of(one)) if channel_of(one) in wanted else len(wanted),
        )
        for address in in_order:
            if await self._in_use(address):
                return address
        return in_order[0] if in_order and channel_of(in_order[0]) == here else ""

    async def _in_use(self, address: Address) -> bool:
        return channel_of(address) in self._channels and await self._addresses.why_off(address) is None


def channel_of(address: Address) -> str:
    """The channel that an address belongs to."""
    return address.partition(":")[0]
