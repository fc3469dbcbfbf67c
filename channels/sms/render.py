"""What goes out as a text: a view in about two segments, as the person `to` reads it (SM9). Pure.

What people and models wrote gives way, visibly. What is ours stands last, in lines of its own, and is never cut: the
verb, the code, the link. No instruction is a bare YES, which Twilio would take for an opt-in (SM4).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from bot.core.people import Actor
from bot.core.protocols import Outgoing
from bot.core.times import on_the_clock
from bot.core.views import CardView, SayView, WhisperView
from channels.sms.plain import from_markdown, one_line
from channels.sms.segments import CUT_MARK, MAX_CHARACTERS, cut_to, fits, size

AIM_CHARACTERS = 320
_LEAST_CHARACTERS = 100
"""What the words of others get at least, even where our own lines leave less of the aim."""
_MAX_LINK = 600
_MAX_LINES = 8
_MAX_TALK = 120
"""Of what an approver asked and the agent answered: the facts need their room."""
_MAX_NAME, _MAX_FACT, _MAX_CHOICE, _LEAST_CHOICE = 60, 90, 75, 40
_MAX_NAMES, _MAX_CHOICES = 3, 12


def wants_code(outgoing: Outgoing) -> bool:
    """Whether the text names a code: there is something that `to` can decide, answer or withdraw."""
    view = outgoing.view
    return isinstance(view, CardView) and view.open and (view.kind == "approval" or view.may_decide(outgoing.to))


def render(outgoing: Outgoing, code: str) -> str:
    """The text. `code`: the request's code on this number, empty where `wants_code` is false."""
    view = outgoing.view
    match view:
        case WhisperView():
            return render_notice(view.text)
        case SayView():
            return _said(view.text, _link("All of it", outgoing.full_text_url))
        case CardView() if not view.open:
            return _standing(view, outgoing)
        case CardView() if not view.may_decide(outgoing.to):
            return _waiting(view, code)
        case CardView(kind="question"):
            return _question(view, outgoing, code)
        case CardView():
            return _approval(view, outgoing, code)


def render_notice(text: str) -> str:
    """A text of the bot's own, line by line: cut only where Twilio would refuse it."""
    return cut_to("\n".join(filter(None, map(one_line, text.split("\n")))), MAX_CHARACTERS) or CUT_MARK


def _said(text: str, link: str) -> str:
    """The first lines of a text, and where the rest of it is."""
    lines = from_markdown(text).split("\n")
    whole = "\n".join(lines)
    if len(lines) <= _MAX_LINES and fits(whole, AIM_CHARACTERS):
        return whole or CUT_MARK
    room = max(_LEAST_CHARACTERS, AIM_CHARACTERS - size(link) - 1)
    shown = "\n".join(lines[:_MAX_LINES])
    marked = shown if len(lines) <= _MAX_LINES else f"{shown}\n{CUT_MARK}"
    head = marked if fits(marked, room) else cut_to(shown, room)
    return _lines(head, link)


def _approval(view: CardView, outgoing: Outgoing, code: str) -> str:
    until = _until(view, outgoing)
    link = _link("All of it", outgoing.decide_url or outgoing.full_text_url)
    ending = _lines(f"Reply YES {code} or NO {code}.{until}", link)
    facts = [f"{one_line(fact.label)}: {one_line(fact.value)}" for fact in view.facts]
    risk = "High risk" if view.risk == "high" else ""
    talk = cut_to(one_line(view.context), _MAX_TALK) if view.context.strip() else ""
    # What people and models said gives way to what the bot found out (AP14).
    details = [one_line(view.status), risk, *map(one_line, view.warnings), talk, *facts, one_line(view.note)]
    asked = f"Asked by {cut_to(one_line(view.asked_by), _MAX_NAME)}." if view.asked_by.strip() else ""
    return _fill(
        f"{'Reminder. ' if view.reminder else ''}Approve? {one_line(view.title)}", details, _lines(asked, ending)
    )


def _question(view: CardView, outgoing: Outgoing, code: str) -> str:
    if view.format == "yes_no":
        how, choices = f"Reply YES {code} or NO {code}.", ()
    elif view.choices:
        how, choices = f"Reply {code} and the number.", view.choices
    else:
        how, choices = f"Reply {code} and your answer.", ()
    how += _until(view, outgoing)
    title = one_line(view.title)
    listed = [f"{at} {one_line(choice)}" for at, choice in enumerate(choices, start=1)]
    context = one_line(view.context)
    whole = _lines(title, context, *listed, how)
    if fits(whole, AIM_CHARACTERS):
        return whole
    # Too long for a phone: a summary, and the page where all of it stands.
    ending = _lines(how, _link("All of it", outgoing.decide_url or outgoing.full_text_url))
    shown = _choices(listed, AIM_CHARACTERS - size(ending) - _LEAST_CHARACTERS)
    return _fill(title, [context], _lines(*shown, ending))


def _choices(listed: Sequence[str], room: int) -> Iterable[str]:
    """Every choice, shortened where they are many: a number that is not shown cannot be meant."""
    each = max(_LEAST_CHOICE, min(_MAX_CHOICE, room // max(1, len(listed))))
    shown = [cut_to(one, each) for one in listed[:_MAX_CHOICES]]
    return shown if len(listed) <= _MAX_CHOICES else [*shown, CUT_MARK]


def _waiting(view: CardView, code: str) -> str:
    """For whoever asked: an approval that others decide."""
    withdraw = f"NO {code} withdraws it." if view.kind == "approval" else ""
    title, status = one_line(view.title), one_line(view.status)
    return _fill(f"Waiting for {_names(view.deciders)}: {title}", [status, one_line(view.note)], withdraw)


def _standing(view: CardView, outgoing: Outgoing) -> str:
    title, status = one_line(view.title), one_line(view.status)
    text = f"Started: {title}" if view.kind == "activity" and view.mood == "busy" else f"{title}: {status}"
    output = _link("Output", outgoing.artifact_url if view.mood == "bad" else "")
    if fits(_lines(text, output), AIM_CHARACTERS):
        return _lines(text, output)
    ending = output or _link("All of it", outgoing.full_text_url)
    room = max(_LEAST_CHARACTERS, AIM_CHARACTERS - size(ending) - 1)
    if not text.startswith("Started: "):  # how it ended matters more than what it was called
        status = cut_to(status, room * 2 // 3)
        text = f"{cut_to(title, room - size(status) - 2)}: {status}"
    return _lines(cut_to(text, room), ending)


def _fill(head: str, details: Iterable[str], ending: str) -> str:
    """The head, as many details as fit, and the ending whole. What did not fit leaves a mark."""
    room = max(_LEAST_CHARACTERS, AIM_CHARACTERS - size(ending) - 1)
    if not fits(head, room):
        return _lines(cut_to(head, room), ending)
    shown, left = [head], room - size(head) - len(CUT_MARK) - 1
    missing = False
    for detail in details:
        if not detail:
            continue
        piece = cut_to(detail, _MAX_FACT)
        missing = missing or piece != detail
        if size(piece) + 2 > left:
            missing = True
            break
        shown.append(piece)
        left -= size(piece) + 2
    text = ". ".join(one.rstrip(".") for one in shown) + ("" if head.endswith(("?", "!")) and len(shown) == 1 else ".")
    return _lines(f"{text} {CUT_MARK}" if missing else text, ending)


def _until(view: CardView, outgoing: Outgoing) -> str:
    if view.expires_at is None:
        return ""
    at, zone = on_the_clock(datetime.fromtimestamp(view.expires_at, UTC), outgoing.timezone)
    today, _ = on_the_clock(outgoing.asked_at, outgoing.timezone)
    day = "" if at.date() == today.date() else f"{at.day} {at:%b} "
    return f" Open until {day}{at:%H:%M} {zone}."


def _names(deciders: Sequence[Actor]) -> str:
    if not deciders:
        return "somebody who may decide (nobody in the people file may)"
    names = [cut_to(one_line(one.name), _MAX_NAME // 2) for one in deciders[:_MAX_NAMES]]
    more = len(deciders) - len(names)
    return " or ".join([*names, f"{more} more"] if more else names)


def _link(label: str, url: str) -> str:
    """A link in a line of its own. One that no phone could take is left out: half a link leads nowhere."""
    return f"{label}: {url}" if url and size(url) <= _MAX_LINK else ""


def _lines(*parts: str) -> str:
    return "\n".join(part for part in parts if part)
