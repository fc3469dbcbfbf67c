"""The confirmation page: what will run, and the buttons to let it (EM20).

Opening it decides nothing, however often and by whatever machine it is opened. A person presses a button, which is a
POST, once; from then on the page tells the outcome. It works without scripts.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from urllib.parse import parse_qs

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from jinja2 import Environment, select_autoescape

from bot.core.decide import Attempt, Verdict
from bot.core.events import DecisionMade, DecisionRefused
from bot.core.log import Log
from bot.core.people import Actor, People
from bot.core.protocols import Clock
from bot.core.reading import match_choice
from bot.core.state import Post, RequestCard, RequestState
from bot.core.tokens import Claim, Tokens, read_token
from bot.core.views import CardView, view_of
from bot.core.wording import readable
from bot.runtime.inbox import Inbox, UnknownThread
from bot.web.bodies import bounded_body

logger = structlog.get_logger(__name__)

_TEMPLATE = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True).from_string(
    (files("bot.web") / "templates" / "decide.html").read_text(encoding="utf-8")
)
_MAX_BODY_BYTES = 32 * 1024
_MAX_FIELDS = 40
_MAX_REASON, _MAX_ANSWER = 1_000, 4_000
_GONE = "This link is not valid, or it has run out. Nothing was decided."


class _BadLink(Exception):  # noqa: N818 an answer, not a mistake
    """The link was not made here, or not for this, or has run out."""


@dataclass(frozen=True)
class _Visit:
    """A link that is good: for what, and whose it is."""

    claim: Claim
    log: Log
    one: RequestState
    by: Actor

    @property
    def is_used(self) -> bool:
        """Whether its person has decided with it: a link counts once (EM20)."""
        return any(
            isinstance(event, DecisionMade)
            and (event.request_id, event.by.address) == (self.one.request.id, self.by.address)
            and event.by.authenticated_by == self.by.authenticated_by
            for event in self.log.events
        )

    @property
    def delivery(self) -> str:
        """The link, where it is noted as used: hashed, so that it cannot be had from there."""
        return f"link:{hashlib.sha256(self.claim.token.encode()).hexdigest()}"

    def attempt(self, verdict: Verdict, text: str = "") -> Attempt:
        """What a button on the page stands for."""
        return Attempt(self.one.request.id, verdict, self.by, text=text, source="page", receipt="never")


def decide_page(  # noqa: C901 three small functions
    inbox: Inbox, people: Callable[[], People], tokens: Tokens, clock: Clock
) -> APIRouter:
    """The routes under `/decide`."""
    router = APIRouter(include_in_schema=False)

    async def visit(token: str) -> _Visit:
        claim = read_token(token)
        if claim is None:
            raise _BadLink
        try:
            log = await inbox.log(claim.thread_id)
        except UnknownThread:
            raise _BadLink from None
        one = log.request_of(claim.post_id)
        digest = one.request.digest if one else ""
        fitting = (
            address
            for address in log.recipients_of(claim.post_id)
            if tokens.fits("decide", claim, address, clock.now(), digest=digest)
        )
        owner = next(fitting, "")
        if one is None or not owner:
            raise _BadLink
        by = people().actor(owner, name=owner, authenticated_by=f"{owner.partition(':')[0]}-link")
        return _Visit(claim, log, one, by)

    @router.api_route("/decide/{token}", methods=["GET", "HEAD"])
    async def show(token: str) -> Response:
        try:
            return await _page(inbox, await visit(token))
        except _BadLink:
            return _told(_GONE)

    @router.post("/decide/{token}")
    async def decide(token: str, request: Request) -> Response:
        try:
            there = await visit(token)
        except _BadLink:
            return _told(_GONE)
        if there.is_used:
            return _shown(there)
        try:
            attempt = _attempt(inbox, there, _form(await bounded_body(request, _MAX_BODY_BYTES)))
        except ValueError as error:
            return await _page(inbox, there, problem=f"Nothing was decided: {error}.", status=422)
        _, event = await inbox.decide(there.log.thread_id, attempt, once=(there.delivery,))
        outcome = event.type if event else "duplicate"
        logger.info("page_decision", outcome=outcome, verdict=attempt.verdict, by=there.by.id)
        if isinstance(event, DecisionRefused):
            return await _page(inbox, await visit(token), problem=event.why, status=409)
        return _shown(there)

    del show, decide  # the router keeps them
    return router


def _told(text: str) -> Response:
    """A page that only says something, for whoever followed a link that leads nowhere."""
    view = CardView(kind="question", title="This link leads nowhere", context=text)
    return _response(view, 404, fields=(), me="whoever it was sent to", refusals={}, problem="", used=False, until="")


def _shown(there: _Visit) -> Response:
    """Off to the page, which tells the outcome; reloading it presses nothing."""
    return RedirectResponse(f"/decide/{there.claim.token}", status_code=303, headers=_HEADERS)


def _form(body: bytes) -> dict[str, str]:
    """What was sent. Raises ValueError where it has more fields than the page."""
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=_MAX_FIELDS, keep_blank_values=True)
    return {key: readable(values[0]) for key, values in fields.items()}


def _attempt(inbox: Inbox, there: _Visit, form: dict[str, str]) -> Attempt:
    """What was pressed. Raises ValueError with what is missing."""
    request, text = there.one.request, form.get("text", "").strip()
    if request.kind == "question":
        answer = match_choice(text[:_MAX_ANSWER], request.choices) if request.choices else text[:_MAX_ANSWER]
        if not answer:
            raise ValueError("please choose or write an answer first")
        return there.attempt("answer", answer)
    match form.get("verdict"):
        case "approve":
            return there.attempt("approve")
        case "deny":
            return there.attempt("deny", text[:_MAX_REASON])
        case "ask" if text:
            return there.attempt("ask", text[:_MAX_REASON])
        case "edit":
            typed = {key.removeprefix("argument:"): value for key, value in form.items() if key.startswith("argument:")}
            return replace(there.attempt("edit"), arguments=inbox.edited(there.log, request.id, typed))
        case _:
            raise ValueError("please press one of the buttons, and write your question before you ask")


async def _page(inbox: Inbox, there: _Visit, *, problem: str = "", status: int = 200) -> Response:
    request = there.one.request
    view = view_of(there.log.state, Post(there.claim.post_id, RequestCard(request.id)))
    assert isinstance(view, CardView)  # noqa: S101 a request's card is one
    refusals: dict[str, str] = {}
    used = view.open and there.is_used
    if view.open and not used:
        verdicts: tuple[Verdict, ...] = (
            ("approve", "deny", "ask", "edit") if request.kind == "approval" else ("answer",)
        )
        for verdict in verdicts:
            text = request.choices[0] if verdict == "answer" and request.choices else ""
            event = await inbox.would_be(there.log.thread_id, there.attempt(verdict, text))
            if isinstance(event, DecisionRefused):
                refusals[verdict] = event.why
    until = f"{request.expires_at:%Y-%m-%d %H:%M} UTC" if request.expires_at else ""
    fields = inbox.editable(there.log, request.id)
    return _response(
        view, status, fields=fields, me=there.by.name, refusals=refusals, problem=problem, used=used, until=until
    )


def _response(view: CardView, status: int, **shown: object) -> Response:
    nonce = secrets.token_urlsafe(16)
    html = _TEMPLATE.render(view=view, nonce=nonce, **shown)
    csp = f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    return Response(
        html,
        status_code=status,
        media_type="text/html; charset=utf-8",
        headers={**_HEADERS, "Content-Security-Policy": csp},
    )


_HEADERS = {
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
