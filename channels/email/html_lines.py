"""An HTML mail as the lines that a person sees; quoted ones begin with `> ` (EM11). Pure, and it never raises.

What is not seen must not decide: hidden text is left out, and where a style sheet hides something, or there is more
than is looked at, the whole is unclear.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, cast

from lxml import etree as _etree  # pyright: ignore[reportMissingTypeStubs, reportAttributeAccessIssue, reportUnknownVariableType]

etree = cast("Any", _etree)

RULE = "_" * 32
"""What a horizontal line becomes; Outlook draws one above what it quotes."""
MAX_LINES, MAX_CHARACTERS, MAX_ELEMENTS = 20_000, 100_000, 30_000
"""Where the reader stops. What follows a quote decides nothing anyway; otherwise it makes the mail unclear."""
MAX_NESTED = 1_000
MAX_ATTRIBUTE = 2_000
MAX_STYLES = 100_000
"""Characters of style sheets, and as many of different attributes. Programs repeat theirs: equal ones count once."""
_NEVER_SHOWN = frozenset(
    (
        *("head", "style", "script", "title", "template", "noscript", "object", "embed", "applet", "iframe", "frame"),
        *("noembed", "noframes", "svg", "math", "select", "option", "datalist", "textarea", "input", "button"),
        *("audio", "video", "canvas", "meta", "link", "base", "map", "dialog", "details", "rp", "marquee", "bdo"),
        "xml",
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
_APART = frozenset({"td", "th", "img"})
"""What stands beside its neighbour, never in one word with it."""
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
        *("moz-forward-container", "protonmail_quote", "tutanota_quote", "zmail_extra"),
        *("ms-outlook-mobile-reference-message", "outlookmessageheader", "wordsection1-quote", "front-blockquote"),
        *("quoted_message", "mail_quote", "js-quoted-text"),
    )
)
_REST_IS_QUOTED = re.compile(
    r"divRplyFwdMsg|appendonsend|mail-editor-reference-message-container|OLK_SRC_BODY_SECTION|reply-intro"
    r"|reference-message|yahoo_quoted_\d+|isReplyContent|isForwardContent|ymail_android_signature_quote",
    re.IGNORECASE,
)
_WHITE = frozenset({"white", "#fff", "#ffffff", "transparent"})
_OUTLOOK_RULE = re.compile(r"border:none;border-top:solid#(?:b5c4df|e1e1e1)1(?:\.0)?pt")
_BLANKS = re.compile(r"[ \t\n\r\f]+")
_NO_MATTER = re.compile(r"/\*.*?(?:\*/|\Z)|\s+|\\|!important", re.DOTALL)


@dataclass(frozen=True)
class _Style:
    """What a `style` attribute does to the text in it."""

    hides: bool = False
    strikes: bool = False
    preformatted: bool = False
    outlook_rule: bool = False


@dataclass(frozen=True)
class _Marks:
    """What the `class` and `id` of an element say about a quote."""

    quoted: bool = False
    rest_is_quoted: bool = False


_PLAIN, _UNMARKED = _Style(), _Marks()
_Undo = tuple[bool, bool, bool, bool]
"""What the end of an element takes back: hidden, quoted, struck, preformatted."""
_NOTHING: _Undo = (False, False, False, False)


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
    has_quote: bool = False
    """Quoted text was seen: nothing from there on can decide."""
    unclear: bool = False
    characters: int = 0
    looked_at: int = 0
    styles: dict[str, _Style] = field(default_factory=dict[str, _Style])
    marks: dict[str, _Marks] = field(default_factory=dict[str, _Marks])

    @property
    def full(self) -> bool:
        """No more of it is read."""
        return self.characters >= MAX_CHARACTERS or len(self.lines) >= MAX_LINES

    def say(self, text: str | None) -> None:
        """Text at this place; dropped where it is hidden."""
        if not text or self.hidden:
            return
        text = text[: MAX_CHARACTERS - self.characters] if self.pre else _BLANKS.sub(" ", text)
        self.characters += len(text)
        self.has_quote = self.has_quote or bool((self.quoted or self.rest_is_quoted) and text.strip())
        if not self.pre:
            self.current.append(text)
            return
        for number, line in enumerate(text.split("\n")):
            if number:
                self.end_line()
            self.current.append(line)

    def end_line(self, *, blank_too: bool = False) -> None:
        """A line break; an empty line only counts where it was meant."""
        if not self.current and not blank_too:
            return
        line = "".join(self.current).replace("\xa0", " ")
        line = line.rstrip() if self.pre else line.strip()
        self.current.clear()
        if line.strip() or (blank_too and not self.hidden):
            quoted = self.quoted or self.rest_is_quoted
            self.lines.append(f"> {line}" if quoted else line)

    def not_looked_at(self) -> None:
        """Something here was too much to read."""
        self.unclear = self.unclear or not self.has_quote

    def style(self, said: str) -> _Style:
        """What this attribute means."""
        if said not in self.styles:
            self.styles[said] = _style(said) if self._worth_a_look(said) else _Style()
        return self.styles[said]

    def mark(self, said: str) -> _Marks:
        """What these classes and this id mean."""
        if said not in self.marks:
            self.marks[said] = _marks(said) if self._worth_a_look(said) else _Marks()
        return self.marks[said]

    def _worth_a_look(self, said: str) -> bool:
        self.looked_at += len(said)
        if len(said) <= MAX_ATTRIBUTE and self.looked_at <= MAX_STYLES:
            return True
        self.not_looked_at()
        return False


class _Reader:
    """What lxml's parser tells of the page, one event after another.

    No tree is built: libxml2 takes quadratic time for a tree whose elements have many attributes, and it stops building
    one, without a word, where elements are nested too deeply.
    """

    def __init__(self) -> None:
        self.page = _Page()
        self._opened: list[_Undo] = []
        self._text: list[str] = []
        self._elements = 0
        self._sheet = 0
        """Style elements around this place."""
        self._sheets = 0
        """Characters of style sheets so far."""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        self._flush()
        self._sheet += tag == "style"
        self._elements += 1
        self._opened.append(_open(self.page, tag, attributes) if self._go_on() else _NOTHING)

    def end(self, tag: str) -> None:
        """An element ends."""
        self._flush()
        self._sheet -= tag == "style"
        opened = self._opened.pop()
        if self._go_on():
            _close(self.page, tag, opened)

    def data(self, text: str) -> None:
        """Text, or a piece of it."""
        self._text.append(text)

    def close(self) -> None:
        """The page ends."""
        self._flush()
        self.page.end_line()
        self.page.unclear = self.page.unclear or not self._elements

    def _flush(self) -> None:
        text = "".join(self._text)
        self._text.clear()
        if self._sheet:  # sheets are looked at wherever they stand: they change what stood above, too
            self._sheets += len(text)
            if self._sheets > MAX_STYLES or _HIDING.search(_flat(text)):
                self.page.unclear = True
        elif text and self._go_on():
            self.page.say(text)

    def _go_on(self) -> bool:
        if not self.page.full and self._elements <= MAX_ELEMENTS and len(self._opened) <= MAX_NESTED:
            return True
        self.page.not_looked_at()
        return False


def html_lines(html: str) -> tuple[list[str], bool]:
    """The visible lines, and whether a person may see something else.

    They may where a style sheet hides something, and where there is more than is read.
    """
    reader = _Reader()
    parser: Any = etree.HTMLParser(target=reader, no_network=True, recover=True, encoding="utf-8")
    try:
        etree.fromstring(html.encode("utf-8", "replace"), parser)
    except (etree.LxmlError, ValueError):
        return reader.page.lines, True
    return reader.page.lines, reader.page.unclear


def _open(page: _Page, tag: str, said: dict[str, str]) -> _Undo:
    """Enter an element with these attributes. Returns what `_close` has to take back."""
    style = page.style(said["style"]) if "style" in said else _PLAIN
    marks = page.mark(f"{said.get('class', '')} {said.get('id', '')}") if "class" in said or "id" in said else _UNMARKED
    if tag in _BLOCKS:
        page.end_line(blank_too=tag == "br")
    if (marks.rest_is_quoted or style.outlook_rule) and not page.hidden:
        page.rest_is_quoted = True
    if tag == "hr" and not page.hidden:
        page.lines.append(f"> {RULE}" if page.quoted else RULE)
    hidden = tag in _NEVER_SHOWN or style.hides or "hidden" in said or said.get("color", "").strip().lower() in _WHITE
    quoted = tag == "blockquote" or marks.quoted
    struck = tag in _STRUCK or style.strikes
    pre = tag == "pre" or style.preformatted
    if struck and not page.struck:
        page.say("[struck out: ")
    if tag == "li":
        page.say("- ")
    if tag in _APART:
        page.say(" ")
    page.hidden += hidden
    page.quoted += quoted
    page.struck += struck
    page.pre += pre
    return hidden, quoted, struck, pre


def _close(page: _Page, tag: str, opened: _Undo) -> None:
    hidden, quoted, struck, pre = opened
    page.struck -= struck
    if struck and not page.struck:
        page.say("]")
    if quoted or pre or (tag in _BLOCKS and tag != "br"):
        page.end_line()
    page.hidden -= hidden
    page.quoted -= quoted
    page.pre -= pre


def _style(said: str) -> _Style:
    flat = _flat(said)
    return _Style(
        hides=bool(_HIDING.search(flat)),
        strikes="line-through" in flat,
        preformatted="white-space:pre" in flat,
        outlook_rule=bool(_OUTLOOK_RULE.search(flat)),
    )


def _marks(said: str) -> _Marks:
    classes = {re.sub(r"^(?:x_)+", "", one.lower()) for one in said.split()}
    return _Marks(quoted=not classes.isdisjoint(_QUOTE_CLASS), rest_is_quoted=bool(_REST_IS_QUOTED.search(said)))


def _flat(style: str) -> str:
    """A style without blanks, escapes and comments, so that it can be searched. A comment left open has no end."""
    return _NO_MATTER.sub("", style.lower())
