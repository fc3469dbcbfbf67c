"""Mail as people's own programs write it: a new one, an answer above the quoted original, and what a server sends back.

Pure. Answers look like those of Gmail's web page: the reply on top, a line that says who wrote when, then the quote.
"""

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr, getaddresses
from html import escape

from channels.email.simulator.records import Mailbox, StoredMail

_BODY = re.compile(r"<body[^>]*>(.*)</body>", re.DOTALL | re.IGNORECASE)
"""What of an original is quoted: its head, with its styles, is not."""
# Wide, because Python's folding would turn a message id that does not fit a line into encoded words.
_POLICY = SMTP.clone(cte_type="7bit", max_line_length=900)


@dataclass(frozen=True)
class Draft:
    """What somebody wrote."""

    author: Mailbox
    text: str
    to: str = ""
    """Empty: to whom the answered mail asks to answer."""
    subject: str = ""
    """Empty: that of the answered mail, with `Re: `."""
    html: str | None = None
    """None: the text."""
    headers: Mapping[str, str] | None = None
    """These replace what would stand there, for mail that is forged or odd."""
    in_reply_to: StoredMail | None = None


def written(draft: Draft, *, message_id: str, at: datetime) -> EmailMessage:
    """The mail. Raises ValueError where nobody says to whom it goes."""
    answered = draft.in_reply_to
    message = EmailMessage(policy=_POLICY)
    message["MIME-Version"] = "1.0"
    message["Date"] = format_datetime(at)
    message["Message-ID"] = message_id
    message["From"] = formataddr((draft.author.name, draft.author.address))
    message["To"] = draft.to or (_answers_to(answered) if answered else "")
    if not message["To"]:
        raise ValueError("a mail needs a recipient")
    message["Subject"] = draft.subject or (_answering(answered.subject) if answered else "")
    text, html = draft.text, draft.html if draft.html is not None else _as_html(draft.text)
    if answered:
        message["In-Reply-To"] = answered.message_id
        chain = [*str(answered.headers["References"] or "").split(), answered.message_id]
        message["References"] = " ".join(chain)
        text, html = _quoting(text, html, answered)
    message.set_content(text, charset="utf-8", cte="quoted-printable")
    message.add_alternative(html, subtype="html", charset="utf-8", cte="quoted-printable")
    for name, value in (draft.headers or {}).items():
        del message[name]
        message[name] = value
    return message


def bounce(original: StoredMail, *, authserv_id: str, status: str, why: str, message_id: str, at: datetime) -> bytes:
    """What a server writes to the envelope sender of a mail that it could not deliver (RFC 3464)."""
    domain = authserv_id.partition(".")[2] or authserv_id
    top = EmailMessage(policy=_POLICY)
    top["From"] = f"Mail Delivery System <MAILER-DAEMON@{domain}>"
    top["To"] = original.mail_from
    top["Subject"] = "Undelivered Mail Returned to Sender"
    top["Date"] = format_datetime(at)
    top["Message-ID"] = message_id
    top["Auto-Submitted"] = "auto-replied"
    top["MIME-Version"] = "1.0"
    edge = f"report-{original.number:08d}"
    action = "delayed" if status.startswith("4") else "failed"
    head = original.raw.partition(b"\r\n\r\n")[0].decode("ascii", "replace")
    parts = (
        ("text/plain; charset=us-ascii", f"Your mail to {original.rcpt_to} could not be delivered.\r\n\r\n{why}\r\n"),
        (
            "message/delivery-status",
            "\r\n".join(
                (
                    *(f"Reporting-MTA: dns; {authserv_id}", "", f"Final-Recipient: rfc822; {original.rcpt_to}"),
                    *(f"Action: {action}", f"Status: {status}", f"Diagnostic-Code: smtp; {why}", ""),
                )
            ),
        ),
        ("text/rfc822-headers", f"{head}\r\n"),
    )
    body = "".join(f"--{edge}\r\nContent-Type: {kind}\r\n\r\n{text}\r\n" for kind, text in parts)
    kind = f'Content-Type: multipart/report; report-type=delivery-status; boundary="{edge}"\r\n\r\n'
    return top.as_bytes().partition(b"\r\n\r\n")[0] + b"\r\n" + f"{kind}{body}--{edge}--\r\n".encode("ascii", "replace")


def _answers_to(mail: StoredMail) -> str:
    return str(mail.headers["Reply-To"] or mail.headers["From"] or "")


def _answering(subject: str) -> str:
    return subject if subject.lower().startswith("re:") else f"Re: {subject}"


def _quoting(text: str, html: str, mail: StoredMail) -> tuple[str, str]:
    name, address = next(iter(getaddresses([str(mail.headers["From"] or "")])), ("", ""))
    when = f"On {mail.received_at:%a, %b %d, %Y at %I:%M %p}"
    # Gmail breaks the line that says who wrote at 78 characters, also in the middle of it.
    said = textwrap.fill(f"{when} {name} <{address}> wrote:", 78, break_long_words=False)
    quoted = "\n".join(f"> {line}".rstrip() for line in mail.text.splitlines())
    found = _BODY.search(mail.html)
    original = found[1] if found else mail.html or _as_html(mail.text)
    quote = (
        f'<br><div class="gmail_quote gmail_quote_container"><div dir="ltr" class="gmail_attr">{when} {escape(name)} '
        f'&lt;<a href="mailto:{escape(address)}">{escape(address)}</a>&gt; wrote:<br></div>'
        '<blockquote class="gmail_quote" style="margin:0px 0px 0px 0.8ex;border-left:1px solid rgb(204,204,204);'
        f'padding-left:1ex">{original}</blockquote></div>\n'
    )
    return f"{text}\n\n{said}\n\n{quoted}\n", f"{html}{quote}"


def _as_html(text: str) -> str:
    return f'<div dir="ltr">{escape(text).replace(chr(10), "<br>")}</div>\n'
