"""Asking people: a request as it is put to them, and whom a step of its escalation brings in."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from bot.core.effects import RequestDraft
from bot.core.events import RequestEscalated
from bot.core.people import People
from bot.core.state import ThreadState
from bot.core.values import Request, RequestId
from bot.runtime.routing import Routing


class Asking:
    """Makes requests: who is asked and where comes from the people file and the rule, never from a text (AP10)."""

    def __init__(self, routing: Routing, people: Callable[[], People]) -> None:
        self._routing = routing
        self._people = people

    async def request(self, draft: RequestDraft, state: ThreadState, at: datetime) -> Request:
        """The request that a draft becomes now. Raises StoreUnavailable."""
        barred = draft.requesters if draft.rule and draft.rule.four_eyes else ()
        asked = await self._routing.ask(state, draft.rule, barred)
        first, *others = [self._people().requester(one)[0] for one in draft.requesters] or [""]
        return Request(
            id=secrets.token_urlsafe(24),
            kind=draft.kind,
            purpose=draft.purpose,
            call_id=draft.call_id,
            prompt=draft.prompt,
            context=draft.context,
            urgency=draft.urgency,
            format=draft.format,
            choices=draft.choices,
            preview=draft.preview,
            digest=draft.digest,
            rule=draft.rule,
            entry=draft.entry,
            deciders=asked.deciders,
            copies=asked.copies,
            resting=self._routing.resting(asked.copies, draft.rule, at),
            asked_by=f"{first} ({', '.join(others)} had a say)" if others else first,
            requesters=draft.requesters,
            proposed=draft.proposed,
            changed_to=draft.changed_to,
            edited_by=draft.edited_by,
            more_may_join=bool(draft.rule) and self._routing.can_bring_in(draft.rule, asked, barred),
            steps_due=draft.steps_due,
            expires_at=at + timedelta(seconds=draft.life_seconds) if draft.life_seconds else None,
        )

    async def escalation(self, request_id: RequestId, step: int, state: ThreadState, at: datetime) -> RequestEscalated:
        """Who is brought in by this step of a pending request. Raises StoreUnavailable."""
        one = state.requests[request_id]
        steps = one.request.rule.escalation if one.request.rule else ()
        asked = await self._routing.ask_too(state, one, steps[step])
        return RequestEscalated(at=at, request_id=request_id, step=step, deciders=asked.deciders, copies=asked.copies)
