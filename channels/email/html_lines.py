"""An HTML mail as the lines that a person sees; quoted ones begin with `> ` (EM11). Pure, and it never raises.

What is not seen must not decide: hidden text is left out, and where a style sheet hides something the whole is unclear.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, cast

from lxml import etree as _etree  # pyright: ignore[reportMissingTypeStubs, reportAttributeAccessIssue, reportUnknownVariableType]

etree = cast("Any", _etree)
Element = Any
"""An lxml element; lxml has no types."""

RULE = "_" * 32
"""What a horizontal line becomes; Outlook draws one above what it quotes."""
MAX_LINES = 20_000
_NEVER_SHOWN = frozenset(
    (
        *("head", "style", "script", "title", "template", "noscript", "object", "embed", "applet", "iframe", "frame"),
        *("noembed", "noframes", "svg", "math", "select", "option", "datalist", "textarea", "input", "button"),
        *(
            "audio",
            "video",
            "canvas",
            "meta",
            "link",
            "base",
            "map",
            "dialog",
            "details",
            "rp",
            "marquee",
            "bdo",
            "xml",
        ),
    )
)
_BLOCKS = frozenset(
    (
        *("p", "div", "blockquote", "table", "tr", "ul", "ol", "li", "dl", "dt", "dd", "pre", "hr", "br", "center"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "header", "footer", "main", "aside", "form"),
        *("address", "fieldset", "figure", "figcaption", "nav", "tbody", "thead", "tfoot", "caption", "body", "html"),
    )
)
_STRUCK = frozenset({"s", "strike", "del"})
_AT_START = r"(?:^|[;{\"])"
_HIDING = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|mso-hide:all|unicode-bidi:|text-security:"
    r"|opacity:(?:0(?:\.[0-4]\d*)?|\.[0-4]\d*|[0-4]?\d%)(?![\d.%])"
    r"|font-size:(?:[0-3](?:\.\d+)?(?:px|pt)|0(?:\.[0-3]\d*)?(?:r?em|vw|vh|%)?|\.[0-3]\d*r?em|\d(?:\.\d+)?%)(?![\da-z.%])"
    rf"|{_AT_START}(?:font:[a-z]*0(?![\d.])|(?:max-)?(?:height|width):0(?![\d.])|clip(?:-path)?:|transform:|content:)"
    rf"|text-indent:-\d{{3}}|margin(?:-left|-top)?:-\d{{4}}|{_AT_START}(?:left|top|right|bottom):-\d{{3}}"
    rf"|{_AT_START}color:(?:white|transparent|#f{{3,4}}(?![\da-f])|#f{{6}}(?:ff)?(?![\da-f])|rgba?\(255,255,255"
    r"|#[\da-f]{6}00|rgba\([^)]{0,40},0?\.?0\))"
)
_QUOTE_CLASS = frozenset(
    (
        *("gmail_quote", "gmail_quote_container", "gmail_extra", "gmail_attr", "yahoo_quoted", "moz-cite-prefix"),
        *(
            "moz-forward-container",
            "protonmail_quote",
            "tutanota_quote",
            "zmail_extra",
            "ms-outlook-mobile-reference-message",
        ),
        *(
            "outlookmessageheader",
            "wordsection1-quote",
            "front-blockquote",
            "quoted_message",
            "mail_quote",
            "js-quoted-text",
        ),
    )
)
_REST_IS_QUOTED = re.compile(
    r"divRplyFwdMsg|appendonsend|mail-editor-reference-message-container|OLK_SRC_BODY_SECTION|reply-intro"
    r"|reference-message|yahoo_quoted_\d+|isReplyContent|isForwardContent|ymail_android_signature_quote",
    re.IGNORECASE,
)
_OUTLOOK_RULE = re.compile(r"border:none;border-top:solid#(?:b5c4df|e1e1e1)1(?:\.0)?pt")
_BLANKS = re.compile(r"[ \t\n\r\f]+")


@dataclass
class _Page:
    """The lines so far, and where in the tree the reader stands."""

    lines: list[str] = field(default_factory=list[str])
    current: list[str] = field(default_factory=list[str])
    hidden: int = 0
    quoted: int = 0
    struck: int = 0
    pre: int = 0
    rest_is_quoted: bool = False

    def say(self, text: str | None) -> None:
        """Text at this place; dropped where it is hidden."""
        if not text or self.hidden:
            return
        if not self.pre:
            self.current.append(_BLANKS.sub(" ", text))
            return
        for number, line in enumerate(text.split("\n")):
            if number:
                self.end_line()
            self.current.append(line)

    def end_line(self, *, blank_too: bool = False) -> None:
        """A line break; an empty line only counts where it was meant."""
        line = "".join(self.current).replace("\xa0", " ")
        line = line.rstrip() if self.pre else line.strip()
        self.current.clear()
        if line.strip() or (blank_too and not self.hidden):
            quoted = self.quoted or self.rest_is_quoted
            self.lines.append(f"> {line}" if quoted else line)


def html_lines(html: str) -> tuple[list[str], bool]:
    """The visible lines, and whether the mail may look different from them (a style sheet hides something)."""
    parser: Any = etree.HTMLParser(
        remove_comments=True, remove_pis=True, no_network=True, recover=True, encoding="utf-8"
    )
    try:
        tree: Any = etree.fromstring(html.encode("utf-8", "replace"), parser)
    except (etree.LxmlError, ValueError):
        tree = None
    if tree is None:
        return [], True
    unclear = False
    page = _Page()
    opened: list[tuple[bool, bool, bool, bool]] = []
    walk = etree.iterwalk(tree, events=("start", "end"))
    for event, element in walk:
        tag = _name(element)
        if event == "start":
            unclear = unclear or (tag == "style" and bool(_HIDING.search(_flat(element.text or ""))))
            opened.append(_open(page, tag, element))
            page.say(element.text)
        else:
            _close(page, tag, opened.pop())
            page.say(element.tail)
        if len(page.lines) > MAX_LINES:
            break
    page.end_line()
    return page.lines, unclear


def _open(page: _Page, tag: str, element: Element) -> tuple[bool, bool, bool, bool]:
    """Enter an element. Returns what `_close` has to take back: hidden, quoted, struck, preformatted."""
    style = _flat(element.get("style") or "")
    if tag in _BLOCKS:
        page.end_line(blank_too=tag == "br")
    marks = f"{element.get('class') or ''} {element.get('id') or ''}"
    if (_REST_IS_QUOTED.search(marks) or _OUTLOOK_RULE.search(style)) and not page.hidden:
        page.rest_is_quoted = True
    if tag == "hr" and not page.hidden:
        page.lines.append(f"> {RULE}" if page.quoted else RULE)
    hidden = tag in _NEVER_SHOWN or _is_hidden(style, element)
    classes = {re.sub(r"^(?:x_)+", "", one.lower()) for one in marks.split()}
    quoted = tag == "blockquote" or not classes.isdisjoint(_QUOTE_CLASS)
    struck = tag in _STRUCK or "line-through" in style
    pre = tag == "pre" or "white-space:pre" in style
    if struck and not page.struck:
        page.say("[struck out: ")
    if tag == "li":
        page.say("- ")
    if tag in {"td", "th", "img"}:
        page.say(" ")
    page.hidden += hidden
    page.quoted += quoted
    page.struck += struck
    page.pre += pre
    return hidden, quoted, struck, pre


def _close(page: _Page, tag: str, opened: tuple[bool, bool, bool, bool]) -> None:
    hidden, quoted, struck, pre = opened
    page.struck -= struck
    if struck and not page.struck:
        page.say("]")
    if quoted or pre or (tag in _BLOCKS and tag != "br"):
        page.end_line()
    page.hidden -= hidden
    page.quoted -= quoted
    page.pre -= pre


def _is_hidden(style: str, element: Element) -> bool:
    if element.get("hidden") is not None:
        return True
    if str(element.get("color") or "").strip().lower() in {"white", "#fff", "#ffffff", "transparent"}:
        return True
    return bool(_HIDING.search(style))


def _flat(style: str) -> str:
    """A style without blanks, escapes and comments, so that it can be searched."""
    return re.sub(r"/\*.*?\*/|\s+|\\|!important", "", style[:20_000].lower(), flags=re.DOTALL)


def _name(element: Element) -> str:
    tag = element.tag
    return tag.lower() if isinstance(tag, str) else ""
