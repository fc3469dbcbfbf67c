"""The same journey by text message, in a real browser: text, answer with the code, read what happened."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect
from support import PHONES, Bench, bench

from channels.simulating import serve_pages
from channels.sms.simulator.page import PhonePage

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
REQUIRED = bool(os.environ.get("REQUIRE_BROWSER"))

pytestmark = pytest.mark.skipif(
    not CHROMIUM and not REQUIRED, reason="no Chromium on the PATH; CI installs one and sets REQUIRE_BROWSER"
)

NAMES = {
    PHONES["ana"]: "Ana Ruiz",
    PHONES["lena"]: "Lena Vogt",
    PHONES["omar"]: "Omar Haddad",
    PHONES["eve"]: "Eve Stranger",
}


@pytest.fixture
async def phones(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    async with bench(redis_url, tmp_path, sms=True) as found:
        yield found


@pytest.fixture
async def page(phones: Bench) -> AsyncGenerator[Page]:
    """Ana's phone; beside it the chat, so that there is a rail."""
    panels = [phones.slack.panel, PhonePage(phones.twilio, NAMES).panel]
    async with serve_pages(panels) as base, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        found = await browser.new_page(viewport={"width": 1280, "height": 900})
        await found.goto(f"{base}/phone")
        yield found
        await browser.close()


async def text(page: Page, words: str) -> None:
    """Text the bot."""
    await page.get_by_test_id("composer").fill(words)
    await page.get_by_test_id("send").click()


async def test_ask_by_text_and_approve_with_the_code(page: Page, phones: Bench, tmp_path: Path) -> None:
    """SM5, SM6: Lena's phone has the question and a code; YES and the code, and Ana reads what really happened."""
    await text(page, "deploy v1.4.0 to production")
    await expect(page.get_by_test_id("mine")).to_contain_text("deploy v1.4.0 to production")
    await expect(page.get_by_test_id("theirs")).to_contain_text("Waiting for Lena Vogt or Omar Haddad")
    await expect(page.get_by_test_id("phone-lena")).to_contain_text("1")

    await page.get_by_test_id("acting-as").select_option(PHONES["lena"])
    asked = page.get_by_test_id("theirs").filter(has_text="Deploy v1.4.0 to production")
    await expect(asked.get_by_test_id("state")).to_have_text("delivered")
    await expect(asked.get_by_role("link")).to_have_attribute("href", re.compile(r"^http://bot\.test/decide/\w+$"))
    code = re.search(r"YES \d{6}", await asked.inner_text())
    assert code
    await text(page, code[0])
    await expect(page.get_by_test_id("theirs").last).to_contain_text("Approved by Lena Vogt")

    await page.get_by_test_id("phone-ana").click()
    await expect(page.get_by_test_id("theirs").last).to_contain_text("Done: v1.4.0")
    assert phones.releases()[-1].split()[2] == "v1.4.0"
    shot = tmp_path / "phone.png"
    await page.screenshot(path=shot)
    assert shot.stat().st_size > 10_000


async def test_stop_in_a_narrow_window_and_in_the_dark(page: Page, phones: Bench) -> None:
    """SM7: STOP is answered by the network; the page says that nothing arrives any more, until START."""
    await page.set_viewport_size({"width": 380, "height": 800})
    await page.emulate_media(color_scheme="dark")
    await text(page, "what is on production?")
    await expect(page.get_by_test_id("theirs").last).to_contain_text("production runs v1.3.2")
    await text(page, "STOP")
    await expect(page.get_by_test_id("theirs").last).to_contain_text("You are unsubscribed")
    await expect(page.get_by_test_id("opted-out")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 380
    await text(page, "START")
    await expect(page.get_by_test_id("opted-out")).to_be_hidden()


async def test_the_rail_tells_what_is_new_on_the_phones(page: Page, phones: Bench) -> None:
    """What arrives while one is in the chat is counted beside the phone, until one looks."""
    await expect(page.get_by_test_id("panel-phone")).to_have_attribute("aria-current", "page")
    await page.get_by_test_id("panel-chat").click()
    await expect(page.get_by_test_id("panel-chat")).to_have_attribute("aria-current", "page")
    await phones.twilio.text(PHONES["eve"], "HELP")
    await expect(page.get_by_test_id("panel-phone-unread")).to_be_visible(timeout=8000)
    await page.get_by_test_id("panel-phone").click()
    await page.get_by_test_id("acting-as").select_option(PHONES["eve"])
    await expect(page.get_by_test_id("theirs").first).to_contain_text("Reply STOP to unsubscribe")
    await expect(page.get_by_test_id("panel-phone-unread")).to_have_count(0)
