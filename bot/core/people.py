"""Who somebody is: persons, their addresses, and the actor that an event records.

Display names never authorise (AP8): an address is what a channel has authenticated, and it belongs to one person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Literal, cast
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

RoleName = str
Address = str
"""`channel:place`, such as `slack:T0ACME/U0ANA`, `email:ana@acme.example` or `sms:+4915112345678`."""
Strangers = Literal["nothing", "ask", "launch"]
"""What somebody may do whom the people file does not have: be turned away, only ask, or launch like anybody else. A
stranger never decides, whatever this says."""


class Frozen(BaseModel):
    """A value: immutable, and strict about the names of its fields. Its errors never show what was in them."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Actor(Frozen):
    """Who did something, as it was known when it happened."""

    kind: Literal["person", "service", "unknown", "system"]
    id: str
    """A person's id, `api:<key name>` for a service, the address for an unknown, `system` for the bot itself."""
    name: str
    """For people to read. Never used to decide anything."""
    address: Address = ""
    authenticated_by: str = ""
    """How the channel knows the address: `slack-signature`, `api-key` …"""
    external: bool = False
    """Belongs to another organisation (Slack Connect, SL22)."""


SYSTEM = Actor(kind="system", id="system", name="Switchboard")


class QuietHours(Frozen):
    """When somebody does not want to be asked: from one time of the day to another, over midnight if it is later."""

    begin: time
    end: time
    timezone: str = "UTC"

    def until(self, at: datetime) -> datetime | None:
        """When they end, if `at` lies within; else None."""
        zone = ZoneInfo(self.timezone)
        local = at.astimezone(zone)
        now = local.time().replace(tzinfo=None)
        over_midnight = self.end <= self.begin
        inside = (now >= self.begin or now < self.end) if over_midnight else self.begin <= now < self.end
        if not inside:
            return None
        day = local.date() + (timedelta(days=1) if over_midnight and now >= self.begin else timedelta())
        # Where clocks are set back, a time of the day comes twice: the one that is still to come is meant.
        ends = (datetime.combine(day, self.end.replace(fold=fold), tzinfo=zone).astimezone(UTC) for fold in (0, 1))
        return next((end for end in ends if end > at), None)


class Person(Frozen):
    """A person of the team, from `PEOPLE_FILE`."""

    id: str
    name: str = Field(min_length=1, max_length=100)
    roles: tuple[RoleName, ...] = ()
    addresses: tuple[Address, ...] = ()
    timezone: str = "UTC"
    quiet: QuietHours | None = None
    external: bool = False
    """Belongs to another organisation, over whatever channel they come (SL22)."""


class People:
    """The directory. Looked up by address or id; roles are read when they are needed (AP7)."""

    def __init__(
        self,
        persons: Iterable[Person] = (),
        *,
        roles: Mapping[RoleName, str] | None = None,
        strangers: Mapping[str, Strangers] | None = None,
    ) -> None:
        """`roles` says in words what each role may, `strangers` what unknown senders of a channel may do."""
        self._by_id: dict[str, Person] = {}
        self._by_address: dict[str, Person] = {}
        self._roles = dict(roles or {})
        self._strangers: dict[str, Strangers] = dict(strangers or {})
        for person in persons:
            self._by_id[person.id] = person
            for address in person.addresses:
                owner = self._by_address.setdefault(address, person)
                if owner is not person:
                    raise ValueError(f"{address} belongs to both {owner.id} and {person.id}; an address has one owner")

    def __iter__(self) -> Iterator[Person]:
        """Every person, in the order of the file."""
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def roles(self) -> dict[RoleName, str]:
        """Every role that there is, and what it may, in words; where the file has no words for them, none."""
        held = dict.fromkeys((role for person in self for role in person.roles), "")
        return self._roles or held

    def strangers(self, channel: str) -> Strangers:
        """What somebody whom the file does not have may do over this channel."""
        return self._strangers.get(channel, "nothing")

    def get(self, person_id: str) -> Person | None:
        """The person with this id, or None."""
        return self._by_id.get(person_id)

    def at(self, address: str) -> Person | None:
        """The person who owns this address, or None."""
        return self._by_address.get(address)

    def actor(self, address: str, *, name: str, authenticated_by: str, external: bool = False) -> Actor:
        """Who stands behind an authenticated address."""
        person = self.at(address)
        return Actor(
            kind="person" if person else "unknown",
            id=person.id if person else address,
            name=(person.name if person else name)[:100] or address,
            address=address,
            authenticated_by=authenticated_by,
            external=external or (person is not None and person.external),
        )

    def with_any_role(self, roles: Iterable[RoleName]) -> tuple[Person, ...]:
        """Everybody who holds one of these roles."""
        wanted = set(roles)
        return tuple(person for person in self._by_id.values() if wanted & set(person.roles))

    def deciders(
        self, roles: Iterable[RoleName], persons: Iterable[str] = (), *, barred: Iterable[str] = ()
    ) -> tuple[Person, ...]:
        """Who may decide: everybody who holds one of these roles or is named, and is not barred.

        Members of another organisation approve nothing (SL22), so nobody counts on them or asks them.
        """
        wanted, named, without = set(roles), set(persons), set(barred)
        return tuple(
            person
            for person in self._by_id.values()
            if (wanted & set(person.roles) or person.id in named) and person.id not in without and not person.external
        )

    def requester(self, actor_id: str) -> tuple[str, Literal["person", "service", "unknown"], frozenset[RoleName]]:
        """Name, kind and present roles of somebody whose id a log has."""
        if actor_id.startswith("api:"):
            return actor_id.removeprefix("api:"), "service", frozenset()
        person = self._by_id.get(actor_id)
        return (person.name, "person", frozenset(person.roles)) if person else (actor_id, "unknown", frozenset())

    def roles_of(self, actor: Actor) -> frozenset[RoleName]:
        """The roles an actor holds now. Nobody but a known person holds any."""
        person = self._by_id.get(actor.id) if actor.kind == "person" else None
        return frozenset(person.roles) if person else frozenset()


ADDRESS_KEYS = {"slack": "slack", "mail": "email", "phone": "sms"}
"""The keys of the people file, and the channels whose addresses they hold."""
_QUIET_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9]) ?[-–] ?([01][0-9]|2[0-3]):([0-5][0-9])")


def people_from(
    persons: Mapping[str, Mapping[str, object]],
    *,
    roles: Mapping[RoleName, str] | None = None,
    strangers: Mapping[str, Strangers] | None = None,
) -> People:
    """Make the directory from the parsed file: `{id: {name, roles, slack, mail, phone, …}}`.

    Raises ValueError (a pydantic ValidationError is one) that says which person is wrong and how.
    """
    return People((_person(person_id, entry) for person_id, entry in persons.items()), roles=roles, strangers=strangers)


def _person(person_id: str, entry: Mapping[str, object]) -> Person:
    fields = dict(entry)
    addresses = tuple(
        address_of(channel, place)
        for key, channel in ADDRESS_KEYS.items()
        for place in _texts(person_id, key, fields.pop(key, ()))
    )
    hours = fields.pop("quiet_hours", None)
    quiet = quiet_hours_from(str(hours), timezone=str(fields.get("timezone", "UTC"))) if hours else None
    return Person.model_validate({"id": person_id, "addresses": addresses, "quiet": quiet, **fields})


def address_of(channel: str, place: str) -> Address:
    """The address of a place. Mail addresses are compared without regard to case."""
    return f"{channel}:{place.lower() if channel == 'email' else place}"


def quiet_hours_from(text: str, *, timezone: str) -> QuietHours:
    """`22:00-07:00` as quiet hours in a time zone. Raises ValueError that says what to write."""
    found = _QUIET_HOURS.fullmatch(text)
    if not found:
        raise ValueError(f'write them as "22:00-07:00", in the person\'s own time zone, not {text[:60]!r}')
    begin, end = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
    if begin == end:
        raise ValueError(f"{text} begins when it ends; leave quiet_hours out for none")
    return QuietHours(begin=begin, end=end, timezone=timezone)


def _texts(person_id: str, key: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in cast("list[object]", value)):
        raise ValueError(f"{person_id}: {key} must be a list of texts")
    return tuple(cast("list[str]", value))
