"""The journey of a newcomer, in a real browser: write, see the card, approve with a click, see the outcome."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect
from support import Bench

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
REQUIRED = bool(os.environ.get("REQUIRE_BROWSER"))

pytestmark = pytest.mark.skipif(
    not CHROMIUM and not REQUIRED, reason="no Chromium on the PATH; CI installs one and sets REQUIRE_BROWSER"
)


@pytest.fixture
async def page(on_bench: Bench) -> AsyncGenerator[Page]:
    """The simulator's page, as Ana sees it first."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        found = await browser.new_page(viewport={"width": 1280, "height": 900})
        await found.goto(on_bench.slack.base_url)
        await found.get_by_test_id("channel-deploys").click()
        yield found
        await browser.close()


async def ask(page: Page, text: str) -> None:
    """Write in the channel."""
    await page.get_by_test_id("composer").fill(text)
    await page.get_by_test_id("send").click()


async def test_ask_approve_and_see_the_outcome(page: Page, on_bench: Bench, tmp_path: Path) -> None:
    """Ana asks, Lena approves with a click and a confirmation, and the thread says what really happened."""
    await ask(page, "@bot deploy v1.4.0 to production")
    thread = page.get_by_test_id("thread-panel")
    await expect(thread.get_by_text("Deploy v1.4.0 to production", exact=True)).to_be_visible()
    await expect(thread.get_by_text("Load the catalogue in pages of 50").first).to_be_visible()

    await page.get_by_test_id("acting-as").select_option("U0LENA")
    await page.get_by_test_id("button-approve").click()
    await page.get_by_test_id("confirm-ok").click()

    await expect(thread.get_by_text(re.compile("Approved by Lena Vogt.*runs on production"))).to_be_visible()
    await expect(thread.get_by_text(re.compile("^Done: v1.4.0"))).to_be_visible()
    await expect(page.get_by_test_id("button-approve")).to_have_count(0)
    assert on_bench.releases()[-1].split()[2] == "v1.4.0"
    shot = tmp_path / "deployed.png"
    await page.screenshot(path=shot)
    assert shot.stat().st_size > 10_000


async def test_deny_with_a_reason_and_the_agent_answers_to_it(page: Page, on_bench: Bench) -> None:
    """AP12: the reason is typed into a dialog; here it names another release, and a new card asks for that."""
    await ask(page, "@bot deploy v1.4.0 to production")
    await page.get_by_test_id("acting-as").select_option("U0OMAR")
    await page.get_by_test_id("button-deny").click()
    await page.get_by_test_id("modal").get_by_role("textbox").fill("1.4.0 pages the catalogue twice, use v1.3.1")
    await page.get_by_test_id("modal-submit").click()

    thread = page.get_by_test_id("thread-panel")
    await expect(thread.get_by_text(re.compile("Denied by Omar Haddad.*use v1.3.1"))).to_be_visible()
    await expect(thread.get_by_text("Deploy v1.3.1 to production", exact=True)).to_be_visible()
    await expect(thread.get_by_text(re.compile("older than what runs"))).to_be_visible()
    assert len(on_bench.releases()) == 1


async def test_whoever_asked_cannot_approve_and_is_told_why(page: Page, on_bench: Bench) -> None:
    """AP7: four eyes, told to the one who clicked and to nobody else."""
    await ask(page, "@bot deploy v1.4.0 to production")
    await page.get_by_test_id("button-approve").click()
    await page.get_by_test_id("confirm-ok").click()
    await expect(page.get_by_text(re.compile("You cannot approve this, only take it back"))).to_be_visible()
    assert len(on_bench.releases()) == 1


async def test_ask_what_runs_in_a_narrow_window_and_in_the_dark(page: Page, tmp_path: Path) -> None:
    """A question needs no approval, and the page can be used on a phone."""
    await page.set_viewport_size({"width": 380, "height": 800})
    await page.emulate_media(color_scheme="dark")
    await ask(page, "@bot what is on production?")
    await page.get_by_test_id("replies").click()
    await expect(page.get_by_text(re.compile("production runs v1.3.2"))).to_be_visible()
    width = await page.evaluate("document.documentElement.scrollWidth")
    assert width <= 380
    await page.screenshot(path=tmp_path / "narrow.png")
