"""What of a mail's text its writer wrote now: without quotes, without a signature (EM11, EM13, EM14). Pure.

Two readings, on purpose. A decision is read from what stands above the first thing that might be a quote, because a
quoted "Reply APPROVE" must never count. A message or a free-text answer is what is left without quotes, wherever they
stand, because people also answer between and below the lines.
"""

from __future__ import annotations

import re

import quotequail
from mailparser_reply import EmailReplyParser  # pyright: ignore[reportMissingTypeStubs]

MAX_LINE = 2000
MAX_HEAD = 5000
"""So many lines may stand above a quote in a mail that decides."""
_WRAPPED = 4
"""An attribution may be wrapped over so many lines."""
_LIBRARY_LINES, _LIBRARY_LINE = 400, 300
_LANGUAGES = ["en", "de", "fr", "es", "it", "ja", "nl", "sv", "da", "pl", "cs", "ko", "zh"]

_SAID = re.compile(
    r"\b(?:wrote|writes|schrieb|schreibt|a écrit|escribi[oó]|ha scritto|scrisse|escreveu|schreef|geschreven"
    r"|skrev|napisał(?:\(a\))?|napsal(?:\(a\))?|kirjoitti|написал(?:\(а\))?|пишет|пише|yazdı|írta|a scris)\b"
    r"|écrit|のメール|のメッセージ|書きました|さんは|写道|寫道|작성",
    re.IGNORECASE,
)
_OPENING_WORD = re.compile(r"(?:on|am|le|el|il|em|op|den|dne|dnia|w dniu|på|pe)\s.*\d", re.IGNORECASE)
_OPENER = re.compile(
    r"(?:on|am|le|el|il|em|op|den|dne|dnia|w dniu|a|på|vào|pe)\s|[在於]|\d{1,4}\s*[年./-]|\d{1,2}\s"
    r"|(?:mon|tue|wed|thu|fri|sat|sun)\w*,",
    re.IGNORECASE,
)
_DATED_ADDRESS = re.compile(r"(?=.*\d).*<[^<>\s][^<>\s@]*@[^<>\s]+>\s*(?:[)）]\s*)?[:：]?$")
_NAMES = (
    ("from", "von|from|de|da|van|från|fra|od|от|lähettäjä|kimden|差出人|发件人|寄件者|寄件人|보낸 사람|送信者"),
    (
        "sent",
        "sent|date|gesendet|datum|envoyé|enviado el|enviado|inviato|data|verzonden|skickat|sendt|dato|wysłano|fecha",
    ),
    ("sent", "日付|送信日時|日時|发送时间|日期|보낸 날짜|дата|lähetetty"),
    ("to", "to|an|à|para|a|aan|till|til|do|кому|宛先|收件人|받는 사람|cc|copie à|kopie|kopia|vastaanottaja"),
    ("subject", "subject|betreff|objet|asunto|oggetto|assunto|onderwerp|ämne|emne|temat|тема|件名|主题|主旨|제목|aihe"),
)
_FIELDS = tuple((kind, re.compile(rf"[*_\s|]*(?:{names})[*_\s]*[:：]", re.IGNORECASE)) for kind, names in _NAMES)
_DASHES, _STARRED_DASHES = "-_=–—―", "-_=–—―*"
_LONGEST_TITLE = 201
"""Of what a separator says between its dashes."""
_FORWARDED = re.compile(
    r"[-_=–—\s]*(?:begin(?:ning of)? forwarded message|forwarded (?:message|by|mail)"
    r"|weitergeleitete (?:nachricht|e-?mail|mail)|anfang der weitergeleiteten|message transf[ée]r[ée]|début du message"
    r"|(?:inicio del )?mensaje reenviado|mensagem (?:encaminhada|reencaminhada)|início da mensagem"
    r"|(?:inizio )?messaggio inoltrato|inizio messaggio|(?:begin )?doorgestuurd bericht|vidarebefordrat|videresendt"
    r"|wiadomość przekazana|пересылаемое|転送メッセージ"
    r"|転送されたメッセージ|转发的?邮件|轉寄的?郵件|전달된 메[시세]지|przekazana|iletilen)",
    re.IGNORECASE,
)
_SENT_FROM = re.compile(
    r"(?:sent from (?:my|the|outlook|mail|proton|yahoo)|get outlook for|sent with|gesendet von"
    r"|von meinem .{1,40} gesendet|diese nachricht wurde von meinem|envoyé (?:de|depuis|à partir)"
    r"|enviado desde|enviado do|inviato da|verzonden vanaf|skickat från|iphoneから送信|.{0,20}から送信)",
    re.IGNORECASE,
)


def deciding_text(lines: list[str]) -> str:
    """What may decide: the writer's lines above the first quote, without the signature.

    Nothing where there are so many that they are not all read: the last of them may say "but not today".
    """
    head = own_head(lines[: MAX_HEAD + 1])
    return unsigned("\n".join(head)) if len(head) <= MAX_HEAD else ""


def own_head(lines: list[str]) -> list[str]:
    """The lines above the first that is quoted, or that may begin a quote."""
    for number in range(len(lines)):
        if _quote_at(lines, number):
            return lines[:number]
    return lines


def is_forward(lines: list[str]) -> bool:
    """Whether what stands below the writer's own lines is a forwarded mail rather than the one answered."""
    below = [line.strip(" >\t*") for line in lines[len(own_head(lines)) :]]
    said = [line for line in below if line and set(line) - set("-_=–—")]
    return any(_FORWARDED.match(line) for line in said[:1])


def reply_of(lines: list[str]) -> str:
    """Everything that the writer wrote now, without quotes and without the signature."""
    kept: list[str] = []
    number = 0
    while number < len(lines):
        kind, length = _quote_at(lines, number) or ("", 1)
        if kind == "rest":
            break
        if kind == "attribution" and not _is_quoted(_next_said(lines, number + length)):
            break  # some programs quote without a mark: what follows is not theirs
        if not kind:
            kept.append(lines[number])
        number += length
    return unsigned(_above_quote("\n".join(kept).strip("\n")))


def _quote_at(lines: list[str], number: int) -> tuple[str, int] | None:
    """What kind of quote begins here and how many lines announce it; None where the writer speaks."""
    line = lines[number].strip()
    if not line:
        return None
    if _is_quoted(line):
        return "line", 1
    short = line[:MAX_LINE]
    if _FORWARDED.match(short.strip("* ")):
        return "rest", 1
    if _begins_headers(lines, number):
        return "rest", 1
    if len(short) < _LIBRARY_LINE and _is_separator(short):
        bare = not re.search(r"\w", short.replace("_", ""))
        return ("line", 1) if bare and not _headers_follow(lines, number) else ("rest", 1)
    length = _attribution(lines, number)
    return ("attribution", length) if length else None


def _is_separator(line: str) -> bool:
    """A line of dashes, or a few words between dashes."""
    if len(line) >= 8 and not line.strip(_DASHES):  # noqa: PLR2004 a shorter one may be a list or a dash
        return True
    rest = line.removesuffix(":").rstrip()
    title = rest.rstrip(_STARRED_DASHES)
    words = title.lstrip(_STARRED_DASHES)
    inner = words.lstrip()
    return (
        len(rest) - len(title) >= 2 <= len(title) - len(words)  # noqa: PLR2004 dashes on either side
        and 0 < len(inner) <= _LONGEST_TITLE
        and inner[0] not in _STARRED_DASHES
    )


def _attribution(lines: list[str], number: int) -> int:
    """How many lines from here say "On …, … wrote:"; 0 where none does."""
    first = lines[number].strip()
    joined = ""
    for length in range(1, _WRAPPED + 1):
        line = lines[number + length - 1].strip() if number + length <= len(lines) else ""
        if not line or _is_quoted(line) or (length > 1 and _OPENING_WORD.match(line)):
            return 0  # the announcement begins further down, if at all
        joined = f"{joined} {line}".strip()
        if len(joined) > 2 * _LIBRARY_LINE:
            return 0
        ends = joined.endswith((":", "：")) or (length == 1 and joined.endswith(">"))
        if ends and _announces(joined):
            return length
        if not _OPENER.match(first):
            return 0
    return 0


def _announces(line: str) -> bool:
    """Whether a line ending in a colon says who wrote what follows, and when or from where."""
    if _SAID.search(line):
        return bool(re.search(r"[\d@]", line))
    return bool(_DATED_ADDRESS.match(line) and (_OPENER.match(line) or re.search(r"\d:\d\d", line)))


def _begins_headers(lines: list[str], number: int) -> bool:
    """Whether Outlook's block of header lines begins here: two different ones within a few lines."""
    first = _field(lines[number])
    if not first:
        return False
    following = [line for line in lines[number + 1 : number + 7] if line.strip()][:3]
    kinds = {first, *(_field(line) for line in following)} - {""}
    return len(kinds) > 1 and bool(kinds & {"from", "subject"})


def _headers_follow(lines: list[str], number: int) -> bool:
    return any(_begins_headers(lines, at) for at in range(number + 1, min(number + 4, len(lines))))


def _field(line: str) -> str:
    short = line.strip()[:100]
    if ":" not in short and "：" not in short:
        return ""
    return next((kind for kind, pattern in _FIELDS if pattern.match(short)), "")


def _is_quoted(line: str) -> bool:
    return line.lstrip().startswith((">", "＞", "&gt;"))


def _next_said(lines: list[str], number: int) -> str:
    return next((line for line in lines[number : number + 10] if line.strip()), "")


def _above_quote(text: str) -> str:
    """The library's opinion on where a quote begins, for the languages that are not listed here."""
    head = text.split("\n")[:_LIBRARY_LINES]
    if any(len(line) > _LIBRARY_LINE for line in head):
        return text
    parts = quotequail.quote("\n".join(head), limit=_LIBRARY_LINES + 1, quote_intro_line=True)
    return parts[0][1] if len(parts) > 1 else text


def unsigned(text: str) -> str:
    """Without what follows `-- `, a "Sent from my …", or a closing formula that stands alone near the end."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line.rstrip() == "--" or (len(line) < _LIBRARY_LINE and _SENT_FROM.match(line.strip())):
            lines = lines[:number]
            break
    text = "\n".join(lines).strip()
    return _without_formula(text)


def _without_formula(text: str) -> str:
    """The library knows closing formulas in many languages, but it takes "Thanks, and use v2" for one.

    So it may only take a line that says nothing else, near the end. Its patterns are slow on long lines: it sees none.
    """
    lines = text.split("\n")
    tail = max(len(lines) - 12, 0)
    if len(lines) < 2 or any(len(line) > 100 for line in lines[tail:]):  # noqa: PLR2004
        return text
    body = EmailReplyParser(languages=list(_LANGUAGES)).read("\n".join(["·", *lines[tail:]])).replies[0]
    signature = (body.signatures or "").strip()
    formula = signature.split("\n")[0].strip()
    if not formula or len(formula.split()) > 4 or formula.startswith("-"):  # noqa: PLR2004 a sentence, or a list
        return text
    at = next((n for n in range(len(lines) - 1, 0, -1) if lines[n].strip() == formula), None)
    return text if at is None else "\n".join(lines[:at]).strip()
