"""Mail that no person wrote (EM15): it never decides, never launches, and is never answered. Pure."""

from __future__ import annotations

import re

from channels.email.mime import Headers, media_type
from channels.email.record import RawMail
from channels.email.sender import claimed_addresses
from channels.email.words import ascii_lower, decode_header

_MACHINE = re.compile(
    r"(mailer-?daemon|post-?master|mail-?delivery(-sub)?system)([-+._].*)?"
    r"|(.*[-+._])?(no|do-?not|do_not|dont)[-_.]?reply([-+._].*)?"
)
_PRECEDENCE = frozenset({"bulk", "list", "junk", "auto_reply", "auto-reply"})
_AUTOREPLY = ("x-autoreply", "x-auto-reply", "x-autorespond", "x-autoresponder")
_AWAY = (
    *("automatic reply", "auto reply", "auto-reply", "autoreply", "auto response", "autoresponse"),
    *("out of office", "out of the office", "out-of-office", "out of office autoreply", "i am out of the office"),
    *("away from the office", "away from my mail", "on vacation", "vacation reply"),
    *("automatische antwort", "abwesenheitsnotiz", "abwesenheit", "abwesend", "abwesenheitsnachricht"),
    *("automatische abwesenheitsnotiz", "nicht im büro", "ich bin nicht im büro"),
    *("réponse automatique", "absence du bureau", "absent du bureau", "message d'absence", "je suis absent"),
    *("respuesta automática", "respuesta automatica", "fuera de la oficina", "ausente de la oficina"),
    *("fuera de oficina", "resposta automática", "resposta automatica", "fora do escritório", "ausência temporária"),
    *("risposta automatica", "fuori sede", "fuori ufficio", "assente dall'ufficio"),
    *("automatisch antwoord", "automatisch antwoordbericht", "afwezig", "afwezigheidsbericht", "niet op kantoor"),
    *("autosvar", "automatiskt svar", "automatisk svar", "frånvaro", "fravær", "ikke på kontoret"),
    *("automaattinen vastaus", "poissaoloviesti", "lomavastaus"),
    *("autoodpowiedź", "automatyczna odpowiedź", "odpowiedź automatyczna", "nieobecność", "poza biurem"),
    *("automatická odpověď", "mimo kancelář", "automatikus válasz", "răspuns automat", "otomatik yanıt"),
    *("автоматический ответ", "автоответ", "автоматична відповідь", "αυτόματη απάντηση"),
    *("自動応答", "自動返信", "不在通知", "不在のお知らせ", "自动答复", "自动回复", "自動回覆", "자동 응답", "부재중"),
)
_AWAY_SUBJECT = re.compile(
    rf"(?:\[[^\]]{{0,30}}\]\s*)?(?:{'|'.join(re.escape(one) for one in sorted(_AWAY, key=len, reverse=True))})"
    r"(?:\s*$|\s*[:：!(\[]|\s[-–—]\s|\s(?:re|aw):)",
    re.IGNORECASE,
)


def is_own(record: RawMail, headers: Headers, own_address: str) -> bool:
    """Whether it claims to come from our own address, with any +tag. Answering it would be a loop."""
    senders = (*claimed_addresses(headers), *_return_paths(record, headers))
    return any(_without_tag(one) == _without_tag(own_address) for one in senders if one)


def why_automatic(record: RawMail, headers: Headers) -> str:
    """The sign that no person wrote it, in a few words; empty where there is none."""
    signs = {
        "Auto-Submitted": any(_auto_submitted(value) for value in headers.all("auto-submitted")),
        "X-Autoreply": any(value.lower() != "no" for name in _AUTOREPLY for value in headers.all(name)),
        "X-Loop": bool(headers.all("x-loop")),
        "Precedence": any(value.lower().strip() in _PRECEDENCE for value in headers.all("precedence")),
        "a List- header": any(name.startswith("list-") for name, _ in headers.fields),
        "the null sender": has_null_sender(record, headers),
        "the address of a machine": any(
            _MACHINE.fullmatch(one.partition("@")[0]) for one in claimed_addresses(headers)
        ),
        "multipart/report": media_type(headers.first("content-type"))[0] == "multipart/report",
        "an out-of-office subject": any(_AWAY_SUBJECT.match(decode_header(one)) for one in headers.all("subject")),
    }
    return next((sign for sign, holds in signs.items() if holds), "")


def has_null_sender(record: RawMail, headers: Headers) -> bool:
    """`MAIL FROM:<>`: nobody wants an answer."""
    return record.envelope_from == "" or any(value.replace(" ", "") == "<>" for value in headers.all("return-path"))


def _return_paths(record: RawMail, headers: Headers) -> list[str]:
    said = [record.envelope_from or "", *headers.all("return-path")[:5]]
    return [ascii_lower(one.strip().strip("<>"))[:320] for one in said]


def _without_tag(address: str) -> str:
    local, _, domain = ascii_lower(address).rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


def _auto_submitted(value: str) -> bool:
    """RFC 3834: anything but `no`, whatever parameters follow."""
    return re.split(r"[;(\s]", value.lower(), maxsplit=1)[0] != "no"
