"""The pages behind signed links: a whole text, a tool's output. They show, and can do nothing."""

from __future__ import annotations

import secrets
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Response
from jinja2 import Environment, select_autoescape

from bot.core.protocols import ThreadStore
from bot.core.redact import redact
from bot.core.state import Post
from bot.core.views import CardView, SayView, view_of
from bot.runtime.links import Links

_TEMPLATE = Environment(autoescape=select_autoescape(default=True)).from_string(
    (files("bot.web") / "templates" / "view.html").read_text(encoding="utf-8")
)


def pages(store: ThreadStore, links: Links) -> APIRouter:
    """The routes under `/view`."""
    router = APIRouter(include_in_schema=False)

    @router.get("/view/{subject}/{thread_id}/{name}")
    async def view(subject: str, thread_id: str, name: str, until: str = "", signature: str = "") -> Response:
        if not links.allows(subject, thread_id, name, until, signature):
            raise HTTPException(403, "This link is not valid, or it has run out. Ask the bot again in the thread.")
        if subject == "artifact":
            body = (await store.read_artifact(thread_id, name)).decode("utf-8", "replace")
            return _page("Output", f"Thread {thread_id}", redact(body) or "(nothing)")
        title, body = await _post(store, thread_id, name)
        return _page(title, f"Thread {thread_id}", body)

    del view  # the router keeps it
    return router


async def _post(store: ThreadStore, thread_id: str, post_id: str) -> tuple[str, str]:
    """The whole text of a post: from the log as it was when the post was made, because settled posts are dropped."""
    log = await store.load(thread_id)
    seq = post_id.rpartition(":")[0].rpartition(":")[2]
    made = log.events[: int(seq)] if seq.isdigit() else ()
    post: Post | None = type(log).of(thread_id, made).state.posts.get(post_id)
    if post is None:
        raise HTTPException(404, "There is nothing behind this link any more.")
    shown = view_of(log.state, post)
    match shown:
        case SayView():
            return "Answer", shown.text
        case CardView():
            facts = "\n".join(f"{fact.label}: {fact.value}" for fact in shown.facts)
            warnings = "\n".join(f"Warning: {warning}" for warning in shown.warnings)
            choices = "\n".join(f"- {choice}" for choice in shown.choices)
            parts = (shown.context, facts, warnings, shown.details, choices, shown.status)
            return shown.title, "\n\n".join(part for part in parts if part)
        case _:
            raise HTTPException(404, "There is nothing behind this link.")


def _page(title: str, note: str, body: str) -> Response:
    nonce = secrets.token_urlsafe(16)
    html = _TEMPLATE.render(title=title, note=note, body=body, nonce=nonce)
    headers = {
        "Content-Security-Policy": f"default-src 'none'; style-src 'nonce-{nonce}'; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex",
    }
    return Response(html, media_type="text/html; charset=utf-8", headers=headers)
