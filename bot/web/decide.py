"""The confirmation page: what will run, and the buttons to let it (EM20).

Opening it decides nothing and is noted nowhere, however often and by whatever machine it is opened. A person presses a
button, which is a POST; what does not count is recorded too (AP16). A link counts once, with one exception, which fails
safe: who has approved may still deny with it while the request waits (AP6). It works without scripts.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.resources import files
from urllib.parse import parse_qs

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from jinja2 import Environment, select_autoescape

from bot.core.decide import Attempt, Verdict
from bot.core.events import DecisionMade
from bot.core.log import Log
from bot.core.people import Actor, People
from bot.core.protocols import Clock
from bot.core.reading import match_choice
from bot.core.state import Post, RequestCard, RequestState
from bot.core.times import on_the_clock
from bot.core.tokens import Claim, Tokens, link_binds, read_token
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
_DUBIOUS = frozenset({"arguments", "incomplete"})
"""Rules of presses that were none: something was missing in them, or cannot run."""
_USED = ("used", "You have decided with this link already, and it counts once.")
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
    timezone: str

    @property
    def counted(self) -> frozenset[str]:
        """What its person has decided with it."""
        return frozenset(
            event.verdict
            for event in self.log.events
            if isinstance(event, DecisionMade)
            and (event.request_id, event.by.address) == (self.one.request.id, self.by.address)
            and event.by.authenticated_by == self.by.authenticated_by
        )

    def mark(self, use: str) -> str:
        """The link, where it is noted as used for something: hashed, so that it cannot be had from there."""
        return f"link:{hashlib.sha256(self.claim.token.encode()).hexdigest()}:{use}"

    def attempt(self, verdict: Verdict, text: str = "") -> Attempt:
        """What a button on the page stands for."""
        problem = _USED if self.counted and verdict != "deny" else None
        return Attempt(
            self.one.request.id, verdict, self.by, text=text, source="page", problem=problem, receipt="never"
        )

    def failed(self, verdict: Verdict, rule: str, why: str) -> Attempt:
        """A press that is none."""
        attempt = self.attempt(verdict)
        return replace(attempt, problem=attempt.problem or (rule, f"Nothing was decided: {why}."))


def decide_page(  # noqa: C901, PLR0915 four small functions
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
        known = {address: people().at(address) for address in log.recipients_of(claim.post_id)}
        fitting = (
            address
            for address, person in known.items()
            if tokens.fits("decide", claim, address, clock.now(), binds=link_binds(person.id if person else "", digest))
        )
        owner = next(fitting, "")
        if one is None or not owner:
            raise _BadLink
        by = people().actor(owner, name=owner, authenticated_by=f"{owner.partition(':')[0]}-link")
        person = known[owner]
        return _Visit(claim, log, one, by, person.timezone if person else "UTC")

    @router.api_route("/decide/{token}", methods=["GET", "HEAD"])
    async def show(token: str) -> Response:
        try:
            return _page(inbox, await visit(token))
        except _BadLink:
            return _told(_GONE)

    async def press(there: _Visit, attempt: Attempt) -> tuple[str, str] | None:
        """Decide, or note that this does not count: once for each link, button and reason. Gives rule and reason."""
        thread_id, button = there.log.thread_id, attempt.verdict
        found = inbox.would_be(there.log, attempt)
        if isinstance(found, DecisionMade):
            once = there.mark("denied" if button == "deny" else "decided")
            _, event = await inbox.decide(thread_id, attempt, once=(once,))
            problem = _USED  # unless the event says otherwise: pressed twice at the same moment, and the other counted
        else:
            event, problem = None, (found.rule, found.why)
        if event is None:
            told = replace(attempt, problem=problem)
            _, event = await inbox.decide(thread_id, told, deliveries=(there.mark(f"{button}:{problem[0]}"),))
        outcome = event.type if event else "duplicate"
        logger.info("page_decision", outcome=outcome, verdict=button, by=there.by.id)
        if isinstance(event, DecisionMade):
            return None
        return (event.rule, event.why) if event else problem

    @router.post("/decide/{token}")
    async def decide(token: str, request: Request) -> Response:
        try:
            there = await visit(token)
        except _BadLink:
            # Whoever it was decided nothing, and somebody may have been told that they could (AP16). Nobody has proven
            # anything here, so a minute of it is one record.
            why = "a button of a page whose link is not valid, or has run out; once for each minute"
            await inbox.refuse("page:", "link", why, source=f"{clock.now():%Y-%m-%dT%H:%M}")
            return _told(_GONE)
        attempt = _attempt(inbox, there, await bounded_body(request, _MAX_BODY_BYTES))
        refused = await press(there, attempt)
        with suppress(_BadLink):  # it may have run out since; what was pressed counts all the same
            there = await visit(token)
        if refused is None or attempt.verdict in there.counted:
            return _shown(there)
        rule, why = refused
        return _page(inbox, there, problem=why, status=422 if rule in _DUBIOUS else 409)

    del show, decide  # the router keeps them
    return router


def _told(text: str) -> Response:
    """A page that only says something, for whoever followed a link that leads nowhere."""
    view = CardView(kind="question", title="This link leads nowhere", context=text)
    return _response(
        view, 404, fields=(), me="whoever it was sent to", offered=(), refusals=(), problem="", used=False, until=""
    )


def _shown(there: _Visit) -> Response:
    """Off to the page, which tells the outcome; reloading it presses nothing."""
    return RedirectResponse(f"/decide/{there.claim.token}", status_code=303, headers=_HEADERS)


def _form(body: bytes) -> dict[str, str]:
    """What was sent. Raises ValueError where it has more fields than the page, or one twice (AP4)."""
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=_MAX_FIELDS, keep_blank_values=True)
    if any(len(values) > 1 for values in fields.values()):
        raise ValueError("a field came twice; please press one of the buttons")
    return {key: readable(values[0]) for key, values in fields.items()}


def _attempt(inbox: Inbox, there: _Visit, body: bytes) -> Attempt:
    """What was pressed; with its problem, where something is missing in it or cannot run."""
    try:
        form = _form(body)
    except ValueError as error:
        return there.failed("unclear", "incomplete", str(error))
    request, text = there.one.request, form.get("text", "").strip()
    if request.kind == "question":
        answer = _chosen(form, text, request.choices) if request.choices else text[:_MAX_ANSWER]
        if not answer:
            return there.failed("answer", "incomplete", "please choose or write an answer first")
        return there.attempt("answer", answer)
    match form.get("verdict"):
        case "approve":
            return there.attempt("approve")
        case "deny":
            return there.attempt("deny", text[:_MAX_REASON])
        case "ask" if text:
            return there.attempt("ask", text[:_MAX_REASON])
        case "ask":
            return there.failed("ask", "incomplete", "please write your question before you ask")
        case "edit":
            typed = {key.removeprefix("argument:"): value for key, value in form.items() if key.startswith("argument:")}
            try:
                arguments = inbox.edited(there.log, request.id, typed)
            except ValueError as error:
                return there.failed("edit", "arguments", str(error))
            return replace(there.attempt("edit"), arguments=arguments)
        case _:
            return there.failed("unclear", "incomplete", "please press one of the buttons")


def _chosen(form: dict[str, str], text: str, choices: tuple[str, ...]) -> str | None:
    """The choice whose button was pressed, by its place; or that somebody wrote."""
    place = form.get("choice", "")
    if place.isascii() and place.isdigit() and len(place) < len("1000") and int(place) < len(choices):
        return choices[int(place)]
    return match_choice(text[:_MAX_ANSWER], choices)


def _page(inbox: Inbox, there: _Visit, *, problem: str = "", status: int = 200) -> Response:
    request = there.one.request
    view = view_of(there.log.state, Post(there.claim.post_id, RequestCard(request.id)))
    assert isinstance(view, CardView)  # noqa: S101 a request's card is one
    buttons: tuple[Verdict, ...] = ("approve", "deny", "ask", "edit") if request.kind == "approval" else ("answer",)
    used = view.open and bool(there.counted)
    offered, refusals = list[Verdict](), list[str]()
    for button in buttons if view.open else ():
        text = request.choices[0] if button == "answer" and request.choices else ""
        event = inbox.would_be(there.log, there.attempt(button, text))
        if isinstance(event, DecisionMade):
            offered.append(button)
        elif button == "deny" or not used:
            refusals.append(event.why)
    until = ""
    if request.expires_at:
        at, zone = on_the_clock(request.expires_at, there.timezone)
        until = f"{at:%Y-%m-%d %H:%M} {zone}"
    fields = inbox.editable(there.log, request.id)
    return _response(
        view,
        status,
        fields=fields,
        me=there.by.name,
        offered=offered,
        refusals=refusals,
        problem=problem,
        used=used,
        until=until,
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
