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
    """Knows callers by their keys. A key that is named like a person's id acts as that person."""

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
        person = self._people().get(name)
        return Actor(
            kind="person" if person else "service",
            id=person.id if person else f"api:{name}",
            name=person.name if person else name,
            address=f"api:{name}",
            authenticated_by="api-key",
        )

    def _name_of(self, key: str) -> str | None:
        digest = hashlib.sha256(key.encode()).hexdigest()
        found = None
        for name, known in self._hashes.items():  # all of them, so that the time taken says nothing
            if hmac.compare_digest(digest, known):
                found = name
        return found
