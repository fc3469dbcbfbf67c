"""The agent's markdown as HTML for mail programs: inline styles, no raw HTML, no images, links to web and mail only.

What the link's text hides is shown: the host it leads to stands behind it. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

_SCHEMES = frozenset(("http", "https", "mailto"))
_LINE = "#8a94a6"
"""A grey that is seen on white as on black, also where a client inverts colours by itself."""
_CODE = "font-family:Consolas,Menlo,monospace;font-size:13px"
_STYLES = {
    "table": "border-collapse:collapse;margin:12px 0",
    "th": f"border:1px solid {_LINE};padding:6px 10px;text-align:left",
    "td": f"border:1px solid {_LINE};padding:6px 10px;vertical-align:top",
    "blockquote": f"margin:12px 0;padding:0 0 0 12px;border-left:3px solid {_LINE}",
    "h1": "font-size:20px;line-height:1.3;margin:18px 0 8px",
    "h2": "font-size:18px;line-height:1.3;margin:18px 0 8px",
    "h3": "font-size:16px;line-height:1.3;margin:18px 0 8px",
    "p": "margin:0 0 12px",
    "ul": "margin:0 0 12px;padding-left:24px",
    "ol": "margin:0 0 12px;padding-left:24px",
    "code": f"{_CODE};word-break:break-word",
    "hr": f"border:0;border-top:1px solid {_LINE};margin:16px 0",
}
_OWN_DIRECTION = frozenset(("p", "li", "td", "th", "h1", "h2", "h3", "h4", "h5", "h6"))


def html_from_markdown(text: str) -> str:
    """The text as HTML. Whatever is not markdown is shown as it was written."""
    tokens = _MARKDOWN.parse(text)
    for token in _all(tokens):
        _dress(token)
    return str(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))


def is_web_link(url: str) -> bool:
    """Whether a link may be followed from a mail."""
    try:
        return urlsplit(url.strip()).scheme.lower() in _SCHEMES
    except ValueError:
        return False


def _all(tokens: Sequence[Token]) -> list[Token]:
    return [one for token in tokens for one in (token, *(token.children or ()))]


def _dress(token: Token) -> None:
    if token.nesting < 0 or not token.tag:
        return
    if style := _STYLES.get(token.tag):
        given = token.attrGet("style")  # the alignment of a column
        token.attrSet("style", f"{style};{given}" if given else style)
    if token.tag in _OWN_DIRECTION:
        token.attrSet("dir", "auto")
    if token.tag == "a":
        token.attrSet("rel", "noreferrer noopener")


def _block_of_code(_: RendererHTML, tokens: Sequence[Token], at: int, __: OptionsDict, ___: dict[str, Any]) -> str:
    style = (
        f"{_CODE};white-space:pre-wrap;word-break:break-word;margin:12px 0;padding:10px 12px;border:1px solid {_LINE}"
    )
    return f'<pre dir="ltr" style="{style};border-radius:6px">{escape(tokens[at].content)}</pre>\n'


def _image(_: RendererHTML, tokens: Sequence[Token], at: int, __: OptionsDict, ___: dict[str, Any]) -> str:
    """EM23: complete without images, and none is ever loaded: a picture is a link to it."""
    token = tokens[at]
    url = str(token.attrGet("src") or "")
    label = f"image: {token.content or url}"
    depth = sum(one.nesting for one in tokens[:at] if one.tag == "a")
    if depth or not is_web_link(url):
        return f"[{escape(label)}]"
    return f'<a href="{escape(url)}" rel="noreferrer noopener">[{escape(label)}]</a>'


def _link_close(_: RendererHTML, tokens: Sequence[Token], at: int, __: OptionsDict, ___: dict[str, Any]) -> str:
    start = max(n for n in range(at) if tokens[n].type == "link_open")
    url = str(tokens[start].attrGet("href") or "")
    shown = "".join(one.content for one in tokens[start + 1 : at])
    host = urlsplit(url).netloc.rpartition("@")[2] or urlsplit(url).path
    if shown.strip() in {url, host, url.partition(":")[2]}:
        return "</a>"
    return f'</a> <span style="font-size:12px;opacity:0.75">({escape(host)})</span>'


def _made() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    markdown.validateLink = is_web_link  # pyright: ignore[reportAttributeAccessIssue] the documented way to replace it
    markdown.add_render_rule("image", _image)
    markdown.add_render_rule("link_close", _link_close)
    markdown.add_render_rule("fence", _block_of_code)
    markdown.add_render_rule("code_block", _block_of_code)
    return markdown


_MARKDOWN = _made()
