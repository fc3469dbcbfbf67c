"""Who calls the API: bearer keys, of which the settings hold only hashes."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping

from fastapi import HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from bot.core.people import Actor, People

BEARER = HTTPBearer(auto_error=False, description="A key made with `bot api-key NAME`.")


class Callers:
    """Knows callers by their keys. A key named `@` and a person's id acts as that person; any other is a service.

    Which of the two it is, its name says and no other file: a person who leaves takes their key's rights along (AP7).
    """

    def __init__(self, hashes: Mapping[str, str], people: Callable[[], People]) -> None:
        self._hashes = dict(hashes)
        self._people = people

    async def __call__(self, request: Request) -> Actor:
        """The caller, as a FastAPI dependency. Raises 401."""
        credentials: HTTPAuthorizationCredentials | None = await BEARER(request)
        name = self._name_of(credentials.credentials) if credentials else None
        if name is None:
            message = "Send a key as `Authorization: Bearer KEY`; `bot api-key NAME` makes one for API_KEYS."
            raise HTTPException(401, message, headers={"WWW-Authenticate": "Bearer"})
        address = f"api:{name.removeprefix('@')}"
        if not name.startswith("@"):
            return Actor(kind="service", id=address, name=name, address=address, authenticated_by="api-key")
        person = self._people().get(name.removeprefix("@"))
        if person is None:
            raise HTTPException(
                401, f"The people file has no {name.removeprefix('@')}, whose key this is.",
                headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
        return Actor(
            kind="person", id=person.id, name=person.name, address=address, authenticated_by="api-key",
            external=person.external,
        )  # fmt: skip

    def _name_of(self, key: str) -> str | None:
        digest = hashlib.sha256(key.encode()).hexdigest()
        found = None
        for name, known in self._hashes.items():  # all of them, so that the time taken says nothing
            if hmac.compare_digest(digest, known):
                found = name
        return found
