"""The same journey by mail, in a real browser: write, read the approval mail, answer it or follow its link."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, async_playwright, expect
from support import Bench, bench

from channels.email.simulator.page import MailPage
from channels.email.simulator.serving import Ports
from channels.simulating import serve_pages

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
REQUIRED = bool(os.environ.get("REQUIRE_BROWSER"))

pytestmark = pytest.mark.skipif(
    not CHROMIUM and not REQUIRED, reason="no Chromium on the PATH; CI installs one and sets REQUIRE_BROWSER"
)

ANA, LENA = "ana@acme.example", "lena@acme.example"


@pytest.fixture
async def post(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, mail=True) as found:
        yield found


@pytest.fixture
async def page(post: Bench) -> AsyncGenerator[Page]:
    """The mailbox as Ana sees it first; the bot's own pages are reached by their links."""

    async def to_the_bot(route: Route) -> None:
        sent = route.request
        headers = {name: value for name, value in sent.headers.items() if name == "content-type"}
        answer = await post.http.request(
            sent.method, sent.url, content=sent.post_data_buffer, headers=headers, follow_redirects=True
        )
        await route.fulfill(status=answer.status_code, headers=dict(answer.headers), body=answer.content)

    ports = Ports("127.0.0.1", post.mail.listening.port, 110)
    panels = [MailPage(post.mail, ports, now=post.clock.now).panel]
    async with serve_pages(panels) as base, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(viewport={"width": 1280, "height": 900})
        await context.route("http://bot.test/**", to_the_bot)
        found = await context.new_page()
        await found.goto(base)
        yield found
        await browser.close()


async def ask(page: Page) -> None:
    """Write a mail to the bot as Ana."""
    await page.get_by_test_id("new-mail").click()
    assert await page.get_by_test_id("new-to").input_value() == "bot@acme.example"
    await page.get_by_test_id("new-subject").fill("Release")
    await page.get_by_test_id("new-text").fill("Hello,\n\ndeploy v1.4.0 to production\n\nThanks, Ana")
    await page.get_by_test_id("send-mail").click()
    await expect(page.get_by_test_id("subject")).to_have_text("Release")


async def open_as_lena(page: Page) -> None:
    """Open the mail that asks Lena."""
    await expect(page.get_by_test_id("box-lena")).to_contain_text("1")
    await page.get_by_test_id("acting-as").select_option(LENA)
    await page.get_by_test_id("letter").click()
    await expect(page.get_by_test_id("subject")).to_have_text("Approval needed: Deploy v1.4.0 to production")


async def test_ask_by_mail_and_approve_by_reply(page: Page, post: Bench, tmp_path: Path) -> None:
    """EM10, EM11, EM23: Lena answers APPROVE above the quoted mail, and Ana's conversation tells the outcome."""
    await ask(page)
    await expect(page.get_by_test_id("mail-head").last).to_contain_text("Switchboard")
    await open_as_lena(page)
    mail = page.frame_locator("[data-testid=html]")
    await expect(mail.get_by_text("Load the catalogue in pages of 50").last).to_be_visible()
    await page.get_by_test_id("reply").click()
    await expect(page.get_by_test_id("reply-text")).to_have_attribute("placeholder", re.compile("APPROVE or DENY"))
    await page.get_by_test_id("reply-text").fill("APPROVE\nGood luck!")
    await page.get_by_test_id("send-mail").click()

    await expect(page.get_by_test_id("letter")).to_contain_text("Approved by Lena Vogt")
    await page.get_by_test_id("box-ana").click()
    await expect(page.get_by_test_id("letter")).to_contain_text("Done")
    await page.get_by_test_id("letter").click()
    await expect(mail.get_by_text(re.compile(r"Done: v1\.4\.0")).last).to_be_visible()
    assert post.releases()[-1].split()[2] == "v1.4.0"
    shot = tmp_path / "mailbox.png"
    await page.screenshot(path=shot)
    assert shot.stat().st_size > 10_000


async def test_ask_by_mail_and_approve_on_the_page(page: Page, post: Bench) -> None:
    """EM20: the link in the mail opens a tab of its own; there, only the button decides."""
    await ask(page)
    await open_as_lena(page)
    async with page.context.expect_page() as opening:
        await page.frame_locator("[data-testid=html]").get_by_role("link", name="Review and decide").click()
    decide = await opening.value
    await expect(decide.get_by_role("heading")).to_have_text("Deploy v1.4.0 to production")
    assert len(post.releases()) == 1
    await decide.get_by_role("button", name="Approve").click()  # high risk: not before it was said that it was read
    await expect(decide.get_by_role("heading")).to_have_text("Deploy v1.4.0 to production")
    await decide.get_by_label("I have read above what will run.").check()
    assert len(post.releases()) == 1
    await decide.get_by_role("button", name="Approve").click()
    await expect(decide.get_by_text(re.compile("Approved by Lena Vogt"))).to_be_visible()
    await post.over()
    assert len(post.releases()) == 2


async def test_read_a_mail_in_a_narrow_window_in_the_dark_and_with_keys(page: Page, tmp_path: Path) -> None:
    """Text and source of a mail; Escape leads back to the list; what is half written is not lost to a new mail."""
    await page.set_viewport_size({"width": 380, "height": 800})
    await page.emulate_media(color_scheme="dark")
    await ask(page)
    await expect(page.get_by_test_id("mail")).to_have_count(2)
    await page.get_by_test_id("view-text").press("Enter")
    await expect(page.get_by_test_id("text")).to_contain_text("Waiting for Lena Vogt or Omar Haddad")
    await page.get_by_test_id("view-source").press("Enter")
    await expect(page.get_by_test_id("source")).to_contain_text("Auto-Submitted: auto-generated")
    await page.get_by_test_id("reply").press("Enter")
    await page.keyboard.type("DENY")
    await page.screenshot(path=tmp_path / "narrow.png")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 380
    await page.keyboard.press("Control+Enter")
    await expect(page.get_by_test_id("mail-head").filter(has_text="Me")).to_have_count(2)
    await page.keyboard.press("Escape")
    await expect(page.get_by_test_id("letter")).to_contain_text("Release")
