"""The mailboxes of the simulated server and the mails in them, in memory and, where wanted, in a folder."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from channels.email.simulator.records import StoredMail
from channels.simulating import Watched


@dataclass(frozen=True, slots=True)
class Incoming:
    """A mail that was accepted for one recipient."""

    owner: str
    raw: bytes
    mail_from: str
    rcpt_to: str


class Store(Watched):
    """Mails by number. With `save_to` each is a file with its envelope beside it, and a restart finds them again."""

    def __init__(self, now: Callable[[], datetime], save_to: Path | None) -> None:
        super().__init__(now().timestamp())
        self._now = now
        self._folder = save_to
        self._mails: dict[int, StoredMail] = {}
        if save_to:
            save_to.mkdir(parents=True, exist_ok=True)
            self._mails = {mail.number: mail for mail in map(_read, sorted(save_to.glob("*.json")))}
        self._last = max(self._mails, default=0)

    def next_number(self) -> int:
        """A number for a mail that is about to be added."""
        self._last += 1
        return self._last

    def add(self, number: int, incoming: Incoming, kind: str) -> StoredMail:
        """Keep a mail, and tell watchers about it as `kind`."""
        mail = StoredMail(
            number, incoming.owner, incoming.raw, self._now(), mail_from=incoming.mail_from, rcpt_to=incoming.rcpt_to
        )
        if self._folder:
            _write(self._folder, mail)
        self._mails[number] = mail
        self.about(mail, kind)
        return mail

    def remove(self, mail: StoredMail, kind: str) -> None:
        """Forget a mail, and tell watchers about it as `kind`."""
        if self._mails.pop(mail.number, None) is None:
            return
        if self._folder:
            for suffix in ("json", "eml"):
                (self._folder / f"{mail.number:08d}.{suffix}").unlink(missing_ok=True)
        self.about(mail, kind)

    def about(self, mail: StoredMail, kind: str) -> None:
        """Tell watchers what became of a mail: `arrived`, `queued`, `delayed`, `handed_on`, `bounced`, `deleted`."""
        self.notice(kind, {"mail": mail.number, "owner": mail.owner})

    def of(self, owner: str) -> list[StoredMail]:
        """The mails of one mailbox, oldest first."""
        return [mail for mail in self._mails.values() if mail.owner == owner.lower()]


def _write(folder: Path, mail: StoredMail) -> None:
    (folder / f"{mail.number:08d}.eml").write_bytes(mail.raw)
    head = {
        "number": mail.number,
        "owner": mail.owner,
        "received_at": mail.received_at.isoformat(),
        "mail_from": mail.mail_from,
        "rcpt_to": mail.rcpt_to,
    }
    # Last and in one step: a mail without its envelope is none.
    scratch = folder / f"{mail.number:08d}.tmp"
    scratch.write_text(json.dumps(head), encoding="utf-8")
    scratch.replace(folder / f"{mail.number:08d}.json")


def _read(path: Path) -> StoredMail:
    head = json.loads(path.read_text(encoding="utf-8"))
    return StoredMail(
        head["number"],
        head["owner"],
        path.with_suffix(".eml").read_bytes(),
        datetime.fromisoformat(head["received_at"]),
        mail_from=head["mail_from"],
        rcpt_to=head["rcpt_to"],
    )
