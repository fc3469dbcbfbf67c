"""Mails as real programs write them, and what the bot reads in each. The files lie in `mails/`."""

from __future__ import annotations

from pathlib import Path

import pytest

from channels.email.receive import Bounce, Mail, OwnMail, Unusable, read_mail
from channels.email.record import RawMail

MAILS = Path(__file__).parent / "mails"
OWN = OwnMail("bot@acme.example", "mx.acme.example")
TOKEN = "aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbw"
A, D = "approve", "deny"

# file: (decision, authentication, how the reply begins, comment)
MAIL: dict[str, tuple[str | None, str, str, str]] = {
    # Programs that people use, answered above the quote
    "gmail_web_approve": (A, "pass", "APPROVE", ""),
    "gmail_web_approve_comment": (A, "pass", "approved", "Please watch the error rate afterwards."),
    "gmail_android_deny": (D, "pass", "Deny", ""),
    "gmail_wrapped_attribution": (A, "pass", "yes", ""),
    "outlook_desktop_approve": (A, "pass", "Approve.", ""),
    "outlook_desktop_german": (A, "pass", "Genehmigt", ""),
    "outlook_web_deny": (D, "pass", "Denied", "The freeze starts today."),
    "outlook_web_html_only": (A, "pass", "Approved", ""),
    "apple_mail_approve": (A, "pass", "LGTM", ""),
    "ios_mail_deny_spanish": (D, "pass", "Rechazado", ""),
    "thunderbird_approve": (A, "pass", "Approved!", ""),
    "thunderbird_html_german_deny": (D, "pass", "Abgelehnt", ""),
    "samsung_deny": (D, "pass", "No", ""),
    "proton_approve": (A, "pass", "yes", ""),
    "yahoo_html_only_approve": (A, "pass", "Approve", ""),
    "japanese_iso2022jp_approve": (A, "pass", "承認", ""),
    "lf_only_mbox_line": (A, "pass", "APPROVE", ""),
    "human_answers_a_vacation": (A, "pass", "APPROVE", ""),
    # EM12: not unmistakable
    "gmail_not_today": (None, "pass", "yes but not today", ""),
    "gmail_question": (None, "pass", "yes?", ""),
    "german_but": (None, "pass", "Ja, aber erst morgen.", ""),
    "outlook_desktop_french": (None, "pass", "Oui mais seulement", ""),
    "japanese_will_not": (None, "pass", "承認しません", ""),
    # EM11, EM13: quotes, attachments, signatures and hidden text do not decide
    "gmail_bottom_posted": (None, "pass", "APPROVE", ""),
    "gmail_inline_answers": (None, "pass", "v1.4.0", ""),
    "only_the_quote_approves": (None, "pass", "", ""),
    "outlook_web_empty": (None, "pass", "", ""),
    "ios_mail_signature_only": (None, "pass", "", ""),
    "attachment_named_approve": (None, "pass", "See the attachment.", ""),
    "only_an_attachment": (None, "pass", "", ""),
    "parts_disagree": (None, "pass", "APPROVE", ""),
    "hidden_approve": (None, "pass", "Let me think about it.", ""),
    "hidden_rest": (None, "pass", "APPROVE only staging", ""),
    "struck_out": (None, "pass", "[struck out: APPROVE]", ""),
    "bidi_line": (None, "pass", "\u202eAPPROVE", ""),
    # EM13: forwarded
    "forwarded_gmail": (None, "pass", "APPROVE", ""),
    "forwarded_apple": (None, "pass", "APPROVE", ""),
    "forwarded_attached": (None, "pass", "APPROVE", ""),
    "forwarded_german": (None, "pass", "Freigeben", ""),
    # EM18: what proves the sender
    "microsoft_results": (A, "pass", "APPROVE", ""),
    "forged_results_lower": (A, "fail", "APPROVE", ""),
    "forged_results_elsewhere": (A, "none", "APPROVE", ""),
    "forged_results_below_another": (A, "none", "APPROVE", ""),
    "two_dmarc_results": (A, "none", "APPROVE", ""),
    "dmarc_of_another_domain": (A, "none", "APPROVE", ""),
    "dmarc_in_a_quoted_value": (A, "none", "APPROVE", ""),
    "results_do_not_parse": (A, "none", "APPROVE", ""),
    "no_results": (A, "none", "APPROVE", ""),
    "from_homoglyph": (A, "none", "APPROVE", ""),
    # EM4: broken, and read as well as can be
    "unknown_charset": (A, "pass", "APPROVE", "Größe prüfen"),
    "charset_that_is_none": (D, "pass", "DENY", ""),
    "windows_1252_undeclared": (D, "pass", "“deny”", ""),
    "closing_boundary_missing": (D, "pass", "DENY", ""),
    "bad_base64": (D, "pass", "DENY", ""),
    "bad_quoted_printable": (None, "pass", "maybe =ZZ later", ""),
    "null_bytes_in_body": (None, "pass", "DE\ufffdNY", ""),
    "multipart_without_boundary": (None, "pass", "--x", ""),
    "boundary_nowhere": (None, "pass", "APPROVE", ""),
    "message_id_broken": (A, "pass", "APPROVE", ""),
    "message_id_missing": (A, "pass", "APPROVE", ""),
    "message_id_twice": (A, "pass", "APPROVE", ""),
    "subject_rubbish": (None, "pass", "hello there", ""),
    "headers_only": (None, "none", "", ""),
    # not a reply at all
    "launch": (None, "pass", "Please deploy v1.5.0 to staging.", ""),
}

# file: (kind, rule)
UNUSABLE = {
    "two_from_headers": ("forged_sender", "EM18"),
    "two_mailboxes": ("forged_sender", "EM18"),
    "from_address_then_angle": ("forged_sender", "EM18"),
    "from_name_is_an_address": ("forged_sender", "EM18"),
    "from_encoded_address": ("forged_sender", "EM18"),
    "from_comment_address": ("forged_sender", "EM18"),
    "from_group": ("forged_sender", "EM18"),
    "from_with_null_byte": ("forged_sender", "EM18"),
    "from_missing": ("forged_sender", "EM18"),
    "broken_header_line": ("forged_sender", "EM18"),
    "vacation_exchange": ("automatic", "EM15"),
    "vacation_exchange_subject_only": ("automatic", "EM15"),
    "vacation_gmail": ("automatic", "EM15"),
    "vacation_sieve": ("automatic", "EM15"),
    "vacation_japanese": ("automatic", "EM15"),
    "mailing_list": ("automatic", "EM15"),
    "bulk_news": ("automatic", "EM15"),
    "no_reply_sender": ("automatic", "EM15"),
    "x_loop": ("automatic", "EM15"),
    "report_read_receipt": ("automatic", "EM15"),
    "from_ourselves": ("own", "EM15"),
    "nothing_at_all": ("unreadable", "EM4"),
    "no_headers": ("unreadable", "EM4"),
}

# file: (status, permanent, recipient)
BOUNCE = {
    "bounce_postfix": ("5.1.1", True, "gone@corp.example"),
    "bounce_exchange": ("5.1.10", True, "gone@corp.example"),
    "bounce_gmail": ("5.1.1", True, "gone@corp.example"),
    "bounce_delayed": ("4.4.1", False, "gone@corp.example"),
    "bounce_without_status": ("", False, ""),
}


def read(name: str) -> Mail | Bounce | Unusable:
    """The file, as it comes from a mailbox."""
    return read_mail(RawMail((MAILS / f"{name}.eml").read_bytes(), "imap"), OWN)


@pytest.mark.parametrize("name", sorted(MAIL))
def test_a_mail_of_a_person(name: str) -> None:
    """EM11-EM14, EM18: what it decides, what proves its sender, and what was written now."""
    mail = read(name)
    assert isinstance(mail, Mail)
    decision, authentication, begins, comment = MAIL[name]
    assert (mail.decision.verdict, mail.authentication) == (decision, authentication)
    assert mail.reply.startswith(begins)
    assert bool(mail.reply) == bool(begins)
    assert mail.decision.comment == comment
    assert mail.forwarded == name.startswith("forwarded_")


@pytest.mark.parametrize("name", sorted(UNUSABLE))
def test_a_mail_that_is_read_no_further(name: str) -> None:
    """EM4, EM15, EM18: automatic mail, our own, and a sender who cannot be told; the reason quotes nothing of it."""
    mail = read(name)
    assert isinstance(mail, Unusable)
    assert (mail.kind, mail.rule) == UNUSABLE[name]
    assert "\n" not in mail.why
    assert "example" not in mail.why
    assert (mail.sender == "") == (mail.kind in {"forged_sender", "unreadable"})


@pytest.mark.parametrize("name", sorted(BOUNCE))
def test_a_report_that_a_mail_did_not_arrive(name: str) -> None:
    """EM17: which address, whether for good, and which of our mails it was."""
    mail = read(name)
    assert isinstance(mail, Bounce)
    assert (mail.status, mail.permanent, mail.recipient) == BOUNCE[name]
    assert mail.tokens == (TOKEN,)


def test_every_file_is_in_a_table() -> None:
    """A mail without an expectation would prove nothing."""
    assert {path.stem for path in MAILS.glob("*.eml")} == MAIL.keys() | UNUSABLE.keys() | BOUNCE.keys()
