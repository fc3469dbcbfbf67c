"""The mailbox page's endpoints: what they show, whom they serve, and how a mail of anybody's is kept in its place."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest

import channels.email.simulator.page as page_module
from channels.email.simulator import Mailbox, SimulatedMail, serve
from channels.email.simulator.page import MailPage
from channels.simulating import serve_pages
from channels.simulating.files import SHARED

FILES = Path(page_module.__file__).with_name("page")
ANA, LENA, BOT = "ana@acme.example", "lena@acme.example", "bot@acme.example"
BOXES = [Mailbox(ANA, "Ana Ruiz"), Mailbox(LENA, "Lena Vogt")]


class Desk:
    """A mail server and its page, served."""

    def __init__(self, office: SimulatedMail, http: httpx.AsyncClient) -> None:
        self.office, self.http = office, http

    async def post(self, body: object, **headers: str) -> httpx.Response:
        """A POST as the page itself sends it, unless `headers` say otherwise."""
        own = {"Origin": str(self.http.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin", **headers}
        return await self.http.post("/mail/send", json=body, headers=own)

    async def state(self) -> dict[str, list[dict[str, str]]]:
        """What the page reads."""
        return (await self.http.get("/mail/state")).json()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncGenerator[Desk]:
    office = SimulatedMail(BOXES, bot_address=BOT)
    async with serve(office) as ports:
        page = MailPage(office, ports, notice="scripted rules", sent_to=tmp_path / "sent")
        async with serve_pages([page.panel]) as base, httpx.AsyncClient(base_url=base) as http:
            yield Desk(office, http)


async def test_the_page_and_its_files_are_served_with_a_strict_policy(desk: Desk) -> None:
    """Only its own scripts and styles run; a file of the program is none of the page's."""
    for path in ("/mail", "/mail/files/main.js", "/mail/files/base.css", "/mail/files/mail.css", "/mail/state"):
        answer = await desk.http.get(path)
        assert answer.status_code == 200
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
    for path in ("/mail/files/..%2Fpage.py", "/mail/files/page.py", "/mail/mails/i999", "/mail/mails/i999/html"):
        assert (await desk.http.get(path)).status_code == 404
    assert (await desk.http.get("/")).headers["Location"] == "/mail"


@pytest.mark.parametrize("folder", [FILES, SHARED])
def test_data_never_becomes_markup(folder: Path) -> None:
    """No script writes HTML, and no page carries inline code."""
    for script in folder.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|\beval\(", script.read_text()
        )
    for html in folder.glob("*.html"):
        assert not re.search(r"\son\w+=|style=|<script>|https?://", html.read_text())


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
        {"Content-Type": "text/plain"},
    ],
)
async def test_a_foreign_web_page_cannot_write_mail(desk: Desk, headers: dict[str, str]) -> None:
    """Wrong host, origin, fetch site, or a content type that needs no preflight: 403, and nothing is sent."""
    answer = await desk.post({"from": ANA, "to": LENA, "subject": "hi", "text": "hi"}, **headers)
    assert answer.status_code == 403
    assert desk.office.inbox(LENA) == []


async def test_a_foreign_web_page_cannot_read_mail(desk: Desk) -> None:
    """Neither by a rebound name nor across sites, and a mail's HTML no more than the rest."""
    await desk.office.write(ANA, LENA, "secret", "hi")
    for path in ("/mail", "/mail/state", "/mail/changes", "/mail/mails/i1", "/mail/mails/i1/html", "/panels"):
        assert (await desk.http.get(path, headers={"Host": "rebound.example"})).status_code == 403
        if path != "/mail":
            assert (await desk.http.get(path, headers={"Sec-Fetch-Site": "cross-site"})).status_code == 403


async def test_a_mails_html_runs_nothing_and_reaches_nothing(desk: Desk) -> None:
    """It is served in a sandbox with a policy of its own; its links open elsewhere, whatever base it brings."""
    hostile = '<head><base target="_top" href="https://evil.example"></head><script>alert(1)</script><a href="/x">x</a>'
    await desk.office.write(ANA, LENA, "hi", "plain", html=hostile)
    (mail,) = (await desk.state())["mails"]
    answer = await desk.http.get(f"/mail/mails/{mail['key']}/html")
    directives = [one.strip() for one in answer.headers["Content-Security-Policy"].split(";")]
    assert "default-src 'none'" in directives
    assert "base-uri 'none'" in directives
    assert "sandbox allow-popups allow-popups-to-escape-sandbox" in directives
    assert not any(one.startswith(("script-src", "connect-src")) for one in directives)
    assert answer.text.index('<base target="_blank">') < answer.text.index('<base target="_top"')


async def test_a_person_writes_and_answers(desk: Desk) -> None:
    """Over SMTP, quoted below the answer; what was sent stays to be seen, also by the page of a later start."""
    assert (await desk.post({"from": ANA, "to": LENA, "subject": "Lunch", "text": "At one?"})).json() == {"ok": True}
    (mail,) = desk.office.inbox(LENA)
    assert (mail.subject, mail.text.strip()) == ("Lunch", "At one?")
    assert "dmarc=pass" in str(mail.headers["Authentication-Results"])

    assert (await desk.post({"from": LENA, "text": "Yes!", "answers": f"i{mail.number}"})).json() == {"ok": True}
    (answer,) = desk.office.inbox(ANA)
    assert answer.text.startswith("Yes!")
    assert "> At one?" in answer.text
    assert str(answer.headers["In-Reply-To"]) == mail.message_id

    hers = [one for one in (await desk.state())["mails"] if one["owner"] == LENA]
    assert [(one["sent"], one["subject"]) for one in hers] == [(False, "Lunch"), (True, "Re: Lunch")]
    assert [one["preview"] for one in hers] == ["At one?", "Yes!"]
    assert hers[1]["parents"][0] == hers[0]["id"]
    shown = (await desk.http.get(f"/mail/mails/i{answer.number}")).json()
    assert shown["html"] is True
    assert "Authentication-Results: mx.acme.example" in shown["source"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"from": "bot@acme.example"}, "nobody here has this address"),
        ({"from": "eve@evil.example"}, "nobody here has this address"),
        ({"to": "who@elsewhere.example"}, "User unknown"),
        ({"to": ""}, "a mail needs a recipient"),
        ({"to": "nobody"}, "is no mail address"),
        ({"subject": "x\r\nBcc: lena@acme.example"}, ""),
        ({"text": "x" * 100_001}, "too long"),
        ({"answers": "i77"}, "is gone"),
    ],
)
async def test_what_cannot_be_sent_is_told(desk: Desk, change: dict[str, str], words: str) -> None:
    """As a line for the page; nothing is sent, and nobody is the bot."""
    answer = await desk.post({"from": ANA, "to": LENA, "subject": "hi", "text": "hi", **change})
    assert answer.status_code == 200
    assert answer.json()["ok"] is False
    assert words in answer.json()["error"]
    assert desk.office.inbox(LENA) == []


@pytest.mark.parametrize("body", [[], "x", 7, {"text": "no sender"}])
async def test_a_body_of_another_shape_is_told(desk: Desk, body: object) -> None:
    """Never an error of the server."""
    assert (await desk.post(body)).json()["ok"] is False


async def test_a_broken_mail_is_shown_as_far_as_it_goes(desk: Desk) -> None:
    """A charset that there is not, and a header that is none: the list and the source are there."""
    raw = b"From: =?nonsense?q?x?= <a\r\nSubject: s\r\nContent-Type: text/plain; charset=klingon\r\n\r\nhi\r\n"
    await desk.office.submit(raw, mail_from=ANA, rcpt_to=[LENA])
    (mail,) = (await desk.state())["mails"]
    assert mail["subject"] == "s"
    assert "klingon" in (await desk.http.get(f"/mail/mails/{mail['key']}")).json()["source"]


async def test_changes_are_streamed_and_resumed(desk: Desk) -> None:
    """A stream goes on after the last event that the browser saw; one that cannot is told to start anew."""
    start = int(str((await desk.state())["number"]))
    for subject in ("one", "two"):
        await desk.office.write(ANA, LENA, subject, "hi")
    seen: list[str] = []
    async with desk.http.stream("GET", "/mail/changes", headers={"Last-Event-ID": str(start + 1)}) as stream:
        async for line in stream.aiter_lines():
            seen.append(line)
            if line.startswith("data: "):
                break
    assert seen[-2] == f"id: {start + 2}"
    assert json.loads(seen[-1].removeprefix("data: ")) == {"kind": "arrived", "owner": LENA}
    async with desk.http.stream("GET", "/mail/changes?after=7") as stream:
        assert (await stream.aread()).startswith(b"event: reset\n")


async def test_a_mail_on_its_way_is_told_and_kept_over_a_restart(tmp_path: Path) -> None:
    """EM1: what the bot has not taken yet waits; the next start has it, and what was sent."""
    for start in (1, 2):
        office = SimulatedMail(BOXES, bot_address=BOT, save_to=tmp_path / "mail")
        async with serve(office) as ports:
            page = MailPage(office, ports, sent_to=tmp_path / "sent")
            async with serve_pages([page.panel]) as base, httpx.AsyncClient(base_url=base) as http:
                desk = Desk(office, http)
                if start == 1:
                    assert (await desk.post({"from": ANA, "to": BOT, "subject": "s", "text": "hi"})).json()["ok"]
                state = await desk.state()
                assert [mail["id"] for mail in state["mails"]] == state["waiting"]
                assert len(state["waiting"]) == 1


async def test_open_streams_do_not_keep_the_server_from_stopping(tmp_path: Path) -> None:
    """Leaving the block ends them, at once."""
    office = SimulatedMail(BOXES, bot_address=BOT)
    async with serve(office) as ports, httpx.AsyncClient() as http:
        async with serve_pages([MailPage(office, ports).panel]) as base:
            request = http.build_request("GET", f"{base}/mail/changes")
            stream = await http.send(request, stream=True)
            begun = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - begun < 1.5
        await stream.aclose()
