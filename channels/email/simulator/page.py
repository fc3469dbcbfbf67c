"""The mailbox in the browser: whose mail there is, one mail as its reader sees it, and writing one.

It acts for the people of the simulated mail server only, never for the bot, and hands in what they write over SMTP, as
any mail program does. A mail's own HTML is served in a sandbox with a policy of its own: no script, nothing from afar.
"""

import re
import smtplib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import make_msgid
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from channels.email.simulator.office import SimulatedMail
from channels.email.simulator.reading import body_of, summary_of
from channels.email.simulator.records import StoredMail
from channels.email.simulator.serving import Ports
from channels.email.simulator.store import Incoming, Store
from channels.email.simulator.writing import Draft, written
from channels.simulating import HEADERS, Change, Files, Json, Panel, Streams, acting, guarded, reading

FILES = Path(__file__).with_name("page")
SHOWN_MAILS = 500
"""Of each mailbox, the newest; a mail program at the POP3 port shows all."""
MAX_TEXT, MAX_LINE = 100_000, 500
_MAIL_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'self'; sandbox allow-same-origin allow-popups allow-popups-to-escape-sandbox"
    ),
}
_HEAD = re.compile(r"<head[^>]*>", re.IGNORECASE)
# A link in a mail opens in a tab of its own. The first `base` counts, so that none in the mail undoes it.
_BASE = '<base target="_blank">'
_FONT = "<style>body { margin: 16px; font: 15px/1.5 system-ui, sans-serif; }</style>"
_WHITE = "<style>:root { color-scheme: light; background: #fff; color: #000; }</style>"
_EITHER = "<style>:root { color-scheme: light dark; }</style>"


def _utc_now() -> datetime:
    return datetime.now(UTC)


class MailPage:
    """The page's endpoints over one `SimulatedMail` that is served at `ports`.

    `notice` and `links` (label, address) appear on the page; `sent_to` is a folder that keeps what people sent.
    """

    def __init__(
        self,
        office: SimulatedMail,
        ports: Ports,
        *,
        notice: str = "",
        links: Iterable[tuple[str, str]] = (),
        now: Callable[[], datetime] = _utc_now,
        sent_to: Path | None = None,
    ) -> None:
        self._office, self._ports, self._now = office, ports, now
        self._notice, self._links = notice, list(links)
        self._sent = Store(now, sent_to)
        self._streams = Streams(office.store, _shown)
        self.panel = Panel("mail", "Mail", "/mail", self._routes(), self._arrived, self._streams.close)

    def _routes(self) -> list[Route]:
        return [
            *Files(FILES).routes("/mail", "/mail/files"),
            Route("/mail/state", reading(self._state)),
            Route("/mail/changes", guarded(self._streams.endpoint)),
            Route("/mail/mails/{key}", guarded(self._mail)),
            Route("/mail/mails/{key}/html", guarded(self._html)),
            Route("/mail/send", acting(self._send), methods=["POST"]),
        ]

    def _arrived(self) -> int:
        return sum(len(self._office.inbox(address)) for address in self._office.mailboxes)

    def _state(self) -> Json:
        office = self._office
        mails = [
            summary_of(mail, f"{kind}{mail.number}", sent=kind == "s")
            for address in office.mailboxes
            for kind, found in (("i", office.inbox(address)), ("s", self._sent.of(address)))
            for mail in found[-SHOWN_MAILS:]
        ]
        return {
            "number": office.store.change_number,
            "notice": self._notice,
            "links": [{"label": label, "url": url} for label, url in self._links],
            "bot": office.bot_address,
            "people": [{"id": box.address.lower(), "name": box.name} for box in office.mailboxes.values()],
            "ports": {"host": self._ports.host, "smtp": self._ports.smtp, "pop3": self._ports.pop3},
            "mails": mails,
            "waiting": [mail.message_id for mail in office.waiting()],
        }

    async def _mail(self, request: Request) -> Response:
        mail = self._found(request.path_params["key"])
        if mail is None:
            return PlainTextResponse("no such mail", 404, headers=HEADERS)
        source = mail.raw.decode("utf-8", "replace").replace("\r\n", "\n")
        body = {"text": body_of(mail, "plain"), "html": bool(body_of(mail, "html")), "source": source}
        return JSONResponse(body, headers=HEADERS)

    async def _html(self, request: Request) -> Response:
        mail = self._found(request.path_params["key"])
        if mail is None:
            return PlainTextResponse("no such mail", 404, headers=HEADERS)
        return HTMLResponse(_document(body_of(mail, "html")), headers=_MAIL_HEADERS)

    async def _send(self, body: Json) -> None:
        office, author = self._office, self._office.mailboxes.get(str(body["from"]).lower())
        if author is None:
            raise ValueError("nobody here has this address")
        text, to, subject = str(body["text"]), str(body.get("to") or ""), str(body.get("subject") or "")
        if len(text) > MAX_TEXT or max(len(to), len(subject)) > MAX_LINE:
            raise ValueError("this is too long for a mail")
        answered = self._answered(author.address, body.get("answers"))
        draft = Draft(author, text, to=to, subject=subject, in_reply_to=answered)
        message = written(draft, message_id=make_msgid(domain=office.authserv_id), at=self._now())
        recipients = [one.addr_spec for one in message["To"].addresses if one.addr_spec.count("@") == 1]
        if not recipients:
            raise ValueError(f"{to} is no mail address")
        raw = message.as_bytes()
        number = office.store.next_number()  # before that of any answer
        try:
            await office.submit(raw, mail_from=author.address, rcpt_to=recipients)
        except smtplib.SMTPRecipientsRefused as refused:
            raise ValueError("; ".join(_words(answer) for answer in refused.recipients.values())) from refused
        except (smtplib.SMTPException, OSError) as error:
            raise ValueError(f"the mail server does not take it: {error}") from error
        incoming = Incoming(author.address.lower(), raw, author.address, ", ".join(recipients))
        self._sent.add(number, incoming, "sent")

    def _answered(self, address: str, key: object) -> StoredMail | None:
        if key is None:
            return None
        mail = self._found(str(key))
        if mail is None or mail.owner != address.lower():
            raise ValueError("the mail that this answers is gone")
        return mail

    def _found(self, key: str) -> StoredMail | None:
        office = self._office
        for address in office.mailboxes:
            for kind, mails in (("i", office.inbox(address)), ("s", self._sent.of(address))):
                if found := next((mail for mail in mails if key == f"{kind}{mail.number}"), None):
                    return found
        return None


def _shown(change: Change) -> Json:
    return {"kind": change.kind, "owner": change.data["owner"]}


def _document(html: str) -> str:
    """What mail programs add: a font and, for a mail with colours that says nothing of dark and light, white paper."""
    head = _HEAD.search(html)
    # A quote may say something of it, for a part of the mail only; the head speaks for the whole.
    says = head and "color-scheme" in html[head.end() :].partition("</head>")[0]
    first = _BASE if says else _BASE + _FONT + (_WHITE if "color" in html.lower() else _EITHER)
    return f"{html[: head.end()]}{first}{html[head.end() :]}" if head else f"<!doctype html>{first}{html}"


def _words(answer: tuple[int, bytes]) -> str:
    return f"{answer[0]} {answer[1].decode('ascii', 'replace')}"
