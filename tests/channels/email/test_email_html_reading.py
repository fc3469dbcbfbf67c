"""HTML mails: what a person sees of them, and where a quote begins (EM11, EM13)."""

from __future__ import annotations

import pytest

from channels.email.receive import Mail, OwnMail, read_mail
from channels.email.record import RawMail

OWN = OwnMail("bot@acme.example", "")


def read(body: str, *, kind: str = "text/html") -> Mail:
    """A mail with nothing but this body."""
    raw = f"From: lena@corp.example\r\nContent-Type: {kind}; charset=utf-8\r\n\r\n{body}"
    mail = read_mail(RawMail(raw.encode(), "smtp"), OWN)
    assert isinstance(mail, Mail)
    return mail


@pytest.mark.parametrize(
    "html",
    [
        "APPROVE",
        "<p>APPROVE</p>",
        "<div><br></div><div>&nbsp;</div><div><b>Approve</b>.</div>",
        "<p>AP<b>PRO</b>VE</p><p>thanks</p>",
        "<pre>approve\nthanks</pre>",
        "<table><tr><td>approve</td></tr></table>",
        "<div style='font-size:12.0pt;line-height:0;border-width:0;text-transform:none'>approve</div>",
        "<div style='font-size:0.875rem;background-color:#ffffff;margin-left:-4px'>approve</div>",
        "<div style='font:12px/1.5 Arial;opacity:1;text-indent:-18.0pt'>approve</div>",
        "<div style='display:none'>no</div><p>approve</p>",
        "<title>no</title><!-- no --><style>p{margin:0}</style><script>no</script><p>approve</p>",
        "<p>approve</p><div class='gmail_quote'>no</div>",
        "<P>approve<BLOCKQUOTE>no</BLOCKQUOTE>",
    ],
)
def test_what_is_seen_decides(html: str) -> None:
    """EM11: markup, harmless styles and hidden texts change nothing."""
    assert read(html).decision.verdict == "approve"


@pytest.mark.parametrize(
    "html",
    [
        "",
        "<p>",
        "<title>APPROVE</title>",
        "<!-- APPROVE -->",
        "<style>APPROVE</style>",
        "<script>APPROVE</script>",
        "<template>APPROVE</template>",
        "<noscript>APPROVE</noscript>",
        "<textarea>APPROVE</textarea>",
        "<select><option>APPROVE</option></select>",
        "<img alt='APPROVE'>",
        "<p hidden>APPROVE</p>",
        "<font color='white'>APPROVE</font>",
        "<bdo dir='rtl'>APPROVE</bdo>",
        "<p>not <span>yet</span>:</p><p>APPROVE</p>",
        "<p>APPROVE <i>staging only</i></p>",
        "<table><tr><td>APPROVE</td><td>after noon</td></tr></table>",
        "<ul><li>APPROVE</li></ul>",
        "<s>APPROVE</s>",
        "<del>APPROVE</del>",
        "<p style='text-decoration: line-through'>APPROVE</p>",
        "<p>APP&#8203;ROVE</p>",
        "<p>&#8238;APPROVE</p>",
        "<blockquote>APPROVE</blockquote>",
        "<blockquote type='cite'>APPROVE</blockquote><p>APPROVE</p>",
        "<div class='gmail_quote'>APPROVE</div>APPROVE",
        "<div class='x_x_gmail_quote'>APPROVE</div>",
        "<div class='moz-cite-prefix'>Am Freitag:</div><p>APPROVE</p>",
        "<div class='yahoo_quoted'>APPROVE</div>",
        "<div id='divRplyFwdMsg'>From: x</div><p>APPROVE</p>",
        "<div id='x_appendonsend'></div><p>APPROVE</p>",
        "<hr><p>APPROVE</p>",
        "<div style='border:none;border-top:solid #B5C4DF 1.0pt;padding:3.0pt 0in'>From: x</div><p>APPROVE</p>",
        "<p>&gt; APPROVE</p>",
        "<style>.h{visibility: hidden}</style><p>APPROVE <b class=h>not</b></p>",
        "<style>p::after{content:' not'}</style><p>APPROVE</p>",
    ],
)
def test_what_is_not_seen_quoted_or_not_alone_decides_nothing(html: str) -> None:
    """EM11, EM12, EM13: hidden, struck out, quoted, in a list, beside other words, or under a style that hides."""
    assert read(html).decision.verdict is None


@pytest.mark.parametrize(
    "style",
    [
        "display:none",
        "DISPLAY : NONE !important",
        "dis/**/play:none",
        "visibility:hidden",
        "opacity:0",
        "opacity:.01",
        "font-size:0",
        "font-size:0px",
        "font-size: 1px",
        "font-size:0.1em",
        "font:0/0 a",
        "max-height:0;overflow:hidden",
        "mso-hide:all",
        "color:#fff",
        "color: #FFFFFF",
        "color:white",
        "color:transparent",
        "color:rgb(255, 255, 255)",
        "color:rgba(0,0,0,0)",
        "position:absolute;left:-9999px",
        "text-indent:-9999px",
        "clip:rect(0,0,0,0)",
        "transform:scale(0)",
        "unicode-bidi:bidi-override;direction:rtl",
    ],
)
def test_hidden_text_is_no_text(style: str) -> None:
    """EM11: what a style hides neither decides nor is shown to anybody."""
    mail = read(f'<div style="{style}">APPROVE</div><p>Let me see.</p>')
    assert mail.decision.verdict is None
    assert mail.text == "Let me see."


QUOTED = (
    "> APPROVE",
    "  > APPROVE",
    "On Fri, Jul 3, 2026 at 10:12 AM Ana <ana@acme.example> wrote:\nAPPROVE",
    "On Fri, Jul 3, 2026 at 10:12 AM\nAna <ana@acme.example>\nwrote:\nAPPROVE",
    "Am 03.07.26 um 10:12 schrieb Ana:\nAPPROVE",
    "Am Fr., 3. Juli 2026 um 10:12 Uhr schrieb Ana <ana@acme.example>:\nAPPROVE",
    "Ana <ana@acme.example> schrieb am Fr., 3. Juli 2026, 10:12:\nAPPROVE",
    "Le ven. 3 juil. 2026 à 10:12, Ana <ana@acme.example> a écrit :\nAPPROVE",
    "El vie, 3 jul 2026 a las 10:12, Ana (<ana@acme.example>) escribió:\nAPPROVE",
    "Il giorno ven 3 lug 2026 alle ore 10:12 Ana <ana@acme.example> ha scritto:\nAPPROVE",
    "Em sex., 3 de jul. de 2026 às 10:12, Ana <ana@acme.example> escreveu:\nAPPROVE",
    "Op vr 3 jul 2026 om 10:12 schreef Ana <ana@acme.example>:\nAPPROVE",
    "Den fre 3 juli 2026 kl 10:12 skrev Ana <ana@acme.example>:\nAPPROVE",
    "pt., 3 lip 2026 o 10:12 Ana <ana@acme.example> napisał(a):\nAPPROVE",
    "пт, 3 июл. 2026 г. в 10:12, Ana <ana@acme.example>:\nAPPROVE",
    "2026年7月3日(金) 10:12 Ana <ana@acme.example>:\nAPPROVE",
    "2026/07/03 10:12、Ana <ana@acme.example>のメール:\nAPPROVE",
    "2026/7/3 Ana <ana@acme.example>\nAPPROVE",
    "Ana <ana@acme.example> 于2026年7月3日周五 10:12写道：\nAPPROVE",
    "-----Original Message-----\nAPPROVE",
    "-----Ursprüngliche Nachricht-----\nAPPROVE",
    "-------- Message d'origine --------\nAPPROVE",
    "---- On Fri, 03 Jul 2026 10:12:00 +0200 Ana wrote ----\nAPPROVE",
    "________________________________\nAPPROVE",
    "From: Ana\nSent: Friday\nTo: Lena\nSubject: x\n\nAPPROVE",
    "*From:* Ana\n*Date:* Friday\n*Subject:* x\n\nAPPROVE",
    "Von: Ana\nGesendet: Freitag\nAn: Lena\nBetreff: x\n\nAPPROVE",
    "De : Ana\nEnvoyé : vendredi\nÀ : Lena\nObjet : x\n\nAPPROVE",
    "De: Ana\nEnviado el: viernes\nPara: Lena\nAsunto: x\n\nAPPROVE",
    "Da: Ana\nInviato: venerdì\nA: Lena\nOggetto: x\n\nAPPROVE",
    "Van: Ana\nVerzonden: vrijdag\nAan: Lena\nOnderwerp: x\n\nAPPROVE",
    "差出人: Ana\n送信日時: 金曜日\n宛先: Lena\n件名: x\n\nAPPROVE",
    "Begin forwarded message:\n\nAPPROVE",
    "-- \nAPPROVE",
    "Sent from my iPhone\nAPPROVE",
)


@pytest.mark.parametrize("text", QUOTED)
def test_what_stands_in_a_quote_or_below_it_decides_nothing(text: str) -> None:
    """EM13: in the forms in which mail programs of several languages announce a quote."""
    assert read(text, kind="text/plain").decision.verdict is None


@pytest.mark.parametrize("text", [text for text in QUOTED if "forwarded" not in text])
def test_a_decision_above_a_quote_counts_and_its_comment_ends_there(text: str) -> None:
    """EM11: the line above is the decision; what is quoted is no comment."""
    decision = read(f"Deny\nNot today.\n\n{text}", kind="text/plain").decision
    assert (decision.verdict, decision.comment) == ("deny", "Not today.")


@pytest.mark.parametrize("word", ["APPROVE", "Approved.", "aprobado"])
@pytest.mark.parametrize(
    "quote",
    [
        "On Fri, Jul 3, 2026 at 10:12 AM Ana <ana@acme.example> wrote:",
        "Am 03.07.26 um 10:12 schrieb Ana:",
        "On Fri, Jul 3, 2026 at 10:12 AM\nAna <ana@acme.example> wrote:",
    ],
)
def test_an_announcement_right_below_takes_nothing_away(word: str, quote: str) -> None:
    """EM11: without a blank line between them the first line is still the decision."""
    assert read(f"{word}\n{quote}\n> no", kind="text/plain").decision.verdict == "approve"


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("Use v2.\n\nOn Fri, Jul 3, 2026 Ana wrote:\n> Which version?\n", "Use v2."),
        ("On Fri, Jul 3, 2026 Ana wrote:\n> Which version?\n\nUse v2.\n", "Use v2."),
        ("On Monday, v2\nOn Fri, Jul 3, 2026 at 9:00 Ana wrote:\n> Which?", "On Monday, v2"),
        ("Use v2.\n\n-- \nLena\nCorp\n", "Use v2."),
        ("Use v2.\n\nSent from my iPhone\n", "Use v2."),
        ("Use v2.\n\nBest regards,\nLena\n", "Use v2."),
        ("Use v2.\n\nMit freundlichen Grüßen\nLena Fischer\n", "Use v2."),
        (
            "Hello\nThanks, and use v2, not v3, whatever Ana says.\nBye",
            "Hello\nThanks, and use v2, not v3, whatever Ana says.\nBye",
        ),
        ("Steps:\n- stop\n- start\n- check", "Steps:\n- stop\n- start\n- check"),
        ("From: staging\nis what I meant", "From: staging\nis what I meant"),
        ("On Friday we freeze.\nSo no deploys", "On Friday we freeze.\nSo no deploys"),
        ("He wrote the fix himself", "He wrote the fix himself"),
        ("Ana wrote this:\ndeploy it", "Ana wrote this:\ndeploy it"),
        ("Give 2 rights to <ana@acme.example>:\nread, write", "Give 2 rights to <ana@acme.example>:\nread, write"),
        ("Use v2.\n\n________________________________\nFrom: Ana\nSent: Friday\nSubject: x\n\nWhich?", "Use v2."),
    ],
)
def test_an_answer_is_what_was_written_now(text: str, reply: str) -> None:
    """EM14: above, between or below the quotes, without the signature, and nothing else is lost."""
    assert read(text, kind="text/plain").reply == reply


def test_html_quotes_leave_the_answer_below_them() -> None:
    """EM14: an answer below a quote is an answer, though never a decision."""
    mail = read("<blockquote type='cite'>Which version?</blockquote><p>Use v2.</p>")
    assert (mail.reply, mail.decision.verdict) == ("Use v2.", None)
    assert mail.text == "> Which version?\nUse v2."


def test_a_part_that_shows_nothing_outweighs_a_plain_one() -> None:
    """EM12: where the HTML part shows nothing, it is not known what the sender saw."""
    body = (
        "--b\r\nContent-Type: text/plain\r\n\r\nAPPROVE\r\n"
        "--b\r\nContent-Type: text/html\r\n\r\n<p style='display:none'>x</p>\r\n--b--"
    )
    assert read(body, kind="multipart/alternative; boundary=b").decision.verdict is None
