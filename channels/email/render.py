"""What goes out by mail: a view as its recipient should read it, as plain text and as HTML with the same parts. Pure.

A card is made from the facts of the log, never from the model's words (AP14); what is cut is seen to be cut. No line of
the plain part is a decision, so that a reply whose client does not mark the quote decides nothing by it (EM13).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from bot.core.people import Address
from bot.core.protocols import Outgoing
from bot.core.times import on_the_clock
from bot.core.views import CardView, Mood, SayView, WhisperView
from bot.core.wording import cut
from channels.email.markdown import html_from_markdown, is_web_link
from channels.email.sheet import (
    Answer,
    Choices,
    Heading,
    HowTo,
    Link,
    Paragraph,
    Part,
    Small,
    Standing,
    Table,
    Verbatim,
    Warn,
    clean,
    one_line,
    plain_text,
    subject_line,
)

MAX_ANSWER = 60_000
"""Characters of an answer; a longer one ends in a link to the whole text."""
_MAX_HEADING = 200
_MAX_TEXT, _MAX_FACTS, _MAX_WARNINGS, _MAX_CHOICES, _MAX_NAMES = 20_000, 100, 20, 100, 10
_TEMPLATE = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
    (files("channels.email") / "templates" / "mail.html").read_text(encoding="utf-8")
)
_RISKS = {"low": "Low risk", "medium": "Medium risk", "high": "High risk"}
_COLOURS: dict[Mood, str] = {
    "open": "#c98a04",
    "good": "#2e9e5b",
    "bad": "#d64545",
    "quiet": "#8a94a6",
    "busy": "#4a86e8",
}


@dataclass(frozen=True)
class MailContent:
    """A mail without its head."""

    subject: str
    """One line, without `Re:`. The same for everything that is sent about one card."""
    text: str
    html: str


def render(outgoing: Outgoing) -> MailContent:
    """A view as a mail to `outgoing.to`."""
    view = outgoing.view
    match view:
        case SayView():
            return _content(_about(view.text), _say(view, outgoing.full_text_url))
        case WhisperView():
            return render_receipt(view.text)
        case CardView():
            # Where it came first, the mail was about what was asked: its subject must not change in the thread (EM10).
            subject = _subject(view, outgoing.to) if view.open or outgoing.ref else view.title
            news = not view.open or bool(outgoing.ref and view.status)
            return _content(subject, _news(view, outgoing) if news else _card(view, outgoing))


def render_receipt(text: str) -> MailContent:
    """A short text from the bot itself."""
    kept = cut(clean(text).strip(), _MAX_TEXT) or "…"
    return _content(_about(kept), (Paragraph(kept),))


def _content(subject: str, parts: tuple[Part, ...]) -> MailContent:
    line = subject_line(subject)
    # What a list of mails shows behind the subject, which has the heading already.
    rest = plain_text(parts[1:] if isinstance(parts[0], Heading) else parts)
    preheader = one_line(rest.removeprefix("| ").replace("\n| ", "\n"), 140)
    return MailContent(line, plain_text(parts), _html(line, preheader, parts))


def _html(subject: str, preheader: str, parts: tuple[Part, ...]) -> str:
    shown = [
        # The one text that is HTML already: markdown.py made it, and escaped it.
        {**vars(part), "html": Markup(part.html)} if isinstance(part, Answer) else vars(part)  # noqa: S704
        for part in parts
    ]
    return _TEMPLATE.render(subject=subject, preheader=preheader, parts=shown, colours=_COLOURS)


def _about(text: str) -> str:
    """A subject for a text that has none: its first line, without the marks of markdown."""
    lines = (one_line(line).strip("#*_`>| -") for line in text[:5_000].splitlines())
    return next(filter(None, lines), "Switchboard")


def _say(view: SayView, full_text_url: str) -> tuple[Part, ...]:
    text = clean(view.text).strip() or "…"
    if len(text) <= MAX_ANSWER:
        return (Answer(text, html_from_markdown(text), view.tone),)
    kept = text[:MAX_ANSWER]
    note = f"… [cut here: these are the first {MAX_ANSWER} of {len(text)} characters]"
    return (Answer(kept, html_from_markdown(kept), view.tone), Small(note), *_linked("Read all of it", full_text_url))


def _subject(view: CardView, to: Address) -> str:
    if view.kind != "approval":
        return view.title
    if _is_asked(view, to):
        return f"{'Reminder: ' if view.reminder else ''}Approval needed: {view.title}"
    return f"{_waiting_for(view)}: {view.title}"


def _is_asked(view: CardView, to: Address) -> bool:
    """Whether the mail asks its reader; other than `may_decide` it stays so once the card is decided."""
    return to in view.asked or any(one.address == to for one in view.deciders)


def _waiting_for(view: CardView) -> str:
    return f"Waiting for {names} to approve" if (names := _names(view)) else "Waiting for approval"


def _names(view: CardView) -> str:
    names = [one_line(one.name, 100) for one in view.deciders[:_MAX_NAMES]]
    if len(view.deciders) > _MAX_NAMES:
        names.append(f"{len(view.deciders) - _MAX_NAMES} others")
    return " or ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _card(view: CardView, outgoing: Outgoing) -> tuple[Part, ...]:
    """All of it, and what to do."""
    may_decide = view.may_decide(outgoing.to)
    parts: list[Part] = [Heading(_heading(view, outgoing.to))]
    if view.status:
        parts.append(Standing(_text(view.status), view.mood))
    if view.kind == "question" and len(one_line(view.title)) > _MAX_HEADING:
        parts.append(Paragraph(_text(view.title), quoted=True))
    whole = _Whole()
    parts += _facts(view, whole)
    if whole.cut:
        parts += [Small("… [cut here]"), *_linked("Read all of it", outgoing.full_text_url)]
    parts += _terms(view, outgoing)
    parts += _how(view, outgoing, may_decide=may_decide)
    return tuple(parts)


def _heading(view: CardView, to: Address) -> str:
    title = one_line(view.title, _MAX_HEADING)
    if view.kind == "question":
        return title
    still = "Reminder: still waiting for you. " if view.reminder else ""
    return f"{still}Approval needed: {title}" if view.may_decide(to) else f"{_waiting_for(view)}: {title}"


class _Whole:
    """Whether anything had to be left out."""

    def __init__(self) -> None:
        self.cut = False

    def of(self, text: str, limit: int = _MAX_TEXT) -> str:
        """The text, or as much of it as a mail should hold."""
        cleaned = clean(text).strip("\n")
        self.cut = self.cut or len(cleaned) > limit
        return cut(cleaned, limit)


def _facts(view: CardView, whole: _Whole) -> list[Part]:
    """What will run, or what the question is about."""
    parts: list[Part] = []
    if view.context:
        parts.append(Paragraph(whole.of(view.context), quoted=True))
    if view.facts:
        rows = tuple((one_line(one.label), whole.of(one.value) or "–") for one in view.facts[:_MAX_FACTS])
        parts.append(Table(rows))
    warnings = (*view.warnings[:_MAX_WARNINGS], *(("This is high risk.",) if view.risk == "high" else ()))
    parts += [Warn(whole.of(one, 2_000)) for one in warnings]
    if view.note:
        parts.append(Small(whole.of(view.note, 600)))
    if view.details:
        parts.append(Verbatim(whole.of(view.details)))
    if view.choices:
        parts.append(Choices(tuple(whole.of(one, 1_000) or "–" for one in view.choices[:_MAX_CHOICES])))
    lengths = ((view.facts, _MAX_FACTS), (view.warnings, _MAX_WARNINGS), (view.choices, _MAX_CHOICES))
    whole.cut = whole.cut or any(len(things) > most for things, most in lengths)
    return parts


def _terms(view: CardView, outgoing: Outgoing) -> list[Part]:
    """Who asked, who can decide, and until when."""
    notes: list[str] = []
    if view.kind == "approval":
        notes.append(f"{_RISKS[view.risk]}.")
        if view.asked_by:
            notes.append(f"Asked for by {one_line(view.asked_by, 300)}.")
        names = _names(view)
        notes.append(f"Can be decided by {names}." if names else "Nobody in the people file may decide this.")
    if view.expires_at:
        at, zone = on_the_clock(datetime.fromtimestamp(view.expires_at, UTC), outgoing.timezone)
        notes.append(f"Open until {at:%Y-%m-%d %H:%M} {zone}.")
    return [Small(" ".join(notes))] if notes else []


def _how(view: CardView, outgoing: Outgoing, *, may_decide: bool) -> list[Part]:
    """Exactly what to do. A decision is never asked for by a link alone, nor made by opening one (EM20)."""
    if view.kind == "approval":
        return _how_to_approve(outgoing) if may_decide else _how_to_withdraw(outgoing)
    if not may_decide:
        return [Small(f"Waiting for {_names(view) or 'somebody'} to answer.")]
    if view.format == "yes_no":
        how = "Reply YES or NO."
    elif view.choices:
        how = "Reply with the number or the text of your choice."
    else:
        how = "Reply to this mail to answer."
    return [HowTo(how), *_page("Answer on a page", outgoing.decide_url)]


def _how_to_approve(outgoing: Outgoing) -> list[Part]:
    how = "Reply with APPROVE or DENY as the first line (below DENY a reason, which the agent reads)."
    ask = "Or ask first: write ASK as the first line, and your question below it."
    return [HowTo(how), Small(ask), *_page("Review and decide", outgoing.decide_url)]


def _how_to_withdraw(outgoing: Outgoing) -> list[Part]:
    return [HowTo("Reply DENY to withdraw it."), *_page("Review it", outgoing.decide_url)]


def _page(text: str, url: str) -> list[Part]:
    button = _linked(text, url, button=True)
    return [*button, Small("Opening the page decides nothing by itself.")] if button else []


def _news(view: CardView, outgoing: Outgoing) -> tuple[Part, ...]:
    """How it stands now, short: what it was stands in the mail above."""
    title = one_line(view.title, _MAX_HEADING)
    if view.kind == "activity" and view.mood == "busy":
        parts: list[Part] = [Heading(f"Started: {title}")]
    else:
        parts = [Heading(title)]
        if view.status:
            parts.append(Standing(_text(view.status), view.mood))
    if view.artifact and outgoing.artifact_url:
        name = one_line(view.artifact.title or view.artifact.name, 100)
        parts += _linked(f"{name} ({_size(view.artifact.size_bytes)})", outgoing.artifact_url)
    if view.open:
        parts += _terms(view, outgoing)
        parts += _how(view, outgoing, may_decide=view.may_decide(outgoing.to))
    return tuple(parts)


def _text(text: str) -> str:
    return cut(clean(text).strip(), 5_000)


def _linked(text: str, url: str, *, button: bool = False) -> list[Part]:
    return [Link(text, url, button)] if is_web_link(url) else []


def _size(size_bytes: int) -> str:
    return f"{size_bytes} bytes" if size_bytes < 1024 else f"{size_bytes / 1024:.0f} KB"  # noqa: PLR2004
