from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from support import API_KEY, Bench, bench

from bot.core.log import Log
from bot.runtime.links import LIFE_SECONDS, Links

SECRET = b"k" * 32


@pytest.fixture
async def idle(redis_url: str, tmp_path: Path) -> AsyncGenerator[Bench]:
    """A bot whose workers have not come yet."""
    async with bench(redis_url, tmp_path, workers=0) as found:
        yield found


async def kept(on_bench: Bench, text: str, thread_id: str = "t1", name: str = "output-7") -> str:
    """The link to an output that was kept."""
    await on_bench.store.logs.write_artifact(thread_id, name, 0, text.encode())
    return on_bench.board.links.to("artifact", thread_id, name)


def changed(url: str, **values: str) -> str:
    parts = urlsplit(url)
    query = {key: found[0] for key, found in parse_qs(parts.query).items()} | values
    return parts._replace(query=str(httpx.QueryParams(query))).geturl()


async def test_a_signed_link_shows_an_output(idle: Bench) -> None:
    """Nobody has to sign in: who has the link may read, as in the channel where it stands."""
    answer = await idle.http.get(await kept(idle, "line 1\nline 2\n"))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "line 1\nline 2" in answer.text


async def test_the_page_gives_nothing_away_and_can_do_nothing(idle: Bench) -> None:
    """No script, no frame, no cache, no referrer, no search engine."""
    headers = (await idle.http.get(await kept(idle, "x"))).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Robots-Tag"] == "noindex"


async def test_the_style_is_allowed_by_a_nonce_of_its_own(idle: Bench) -> None:
    """The nonce of the policy is the one in the page, and each page has another."""
    url = await kept(idle, "x")
    seen: set[str] = set()
    for _ in range(2):
        answer = await idle.http.get(url)
        nonce = answer.headers["Content-Security-Policy"].partition("'nonce-")[2].partition("'")[0]
        assert f'nonce="{nonce}"' in answer.text
        seen.add(nonce)
    assert len(seen) == 2


async def test_html_in_an_output_is_text(idle: Bench) -> None:
    """What a tool printed is shown, never interpreted."""
    answer = await idle.http.get(
        await kept(idle, "</pre><script>alert(1)</script><img src=x onerror=alert(1)> & \x00\x1b[")
    )
    assert "<script>alert" not in answer.text
    assert "<img" not in answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text


async def test_a_secret_in_an_output_is_not_shown(idle: Bench) -> None:
    """What was kept as it came is cleaned before anybody sees it."""
    answer = await idle.http.get(await kept(idle, "token=xoxb-1234567890-abcdefghij\npassword: hunter2hunter2\n"))
    assert "xoxb-1234567890" not in answer.text
    assert "hunter2" not in answer.text
    assert "[secret]" in answer.text


async def test_output_that_is_no_utf_8_is_shown_as_far_as_it_goes(idle: Bench) -> None:
    """Broken bytes do not hide the rest."""
    await idle.store.logs.write_artifact("t1", "output-7", 0, b"before \xff\xfe after")
    answer = await idle.http.get(idle.board.links.to("artifact", "t1", "output-7"))
    assert "before" in answer.text
    assert "after" in answer.text


async def test_an_output_that_is_gone_says_nothing(idle: Bench) -> None:
    """After its 90 days there is a page without text, not an error."""
    answer = await idle.http.get(idle.board.links.to("artifact", "t1", "output-7"))
    assert (answer.status_code, "(nothing)" in answer.text) == (200, True)


async def test_a_link_that_was_changed_shows_nothing(idle: Bench, subtests: pytest.Subtests) -> None:
    """Another thread, name, subject, time or signature: 403, and the text does not say which."""
    await kept(idle, "of another thread", thread_id="t2")
    url = await kept(idle, "the output")
    later = str(int(time.time()) + 10 * LIFE_SECONDS)
    broken = {
        "thread": url.replace("/t1/", "/t2/"),
        "name": url.replace("output-7", "output-8"),
        "subject": url.replace("/view/artifact/", "/view/post/"),
        "unknown subject": url.replace("/view/artifact/", "/view/log/"),
        "time": changed(url, until=later),
        "no time": changed(url, until=""),
        "word for time": changed(url, until="later"),
        "digits of another script": changed(url, until="٣" * 10),
        "endless time": changed(url, until="9" * 5000),
        "signature": changed(url, signature="0" * 40),
        "no signature": changed(url, signature=""),
        "strange signature": changed(url, signature="é😀"),
        "no query": url.partition("?")[0],
    }
    for what, link in broken.items():
        with subtests.test(what):
            answer = await idle.http.get(link)
            assert answer.status_code == 403
            assert "the output" not in answer.text
            assert "not valid, or it has run out" in answer.json()["error"]


async def test_a_link_runs_out(idle: Bench) -> None:
    """A link with a right signature for a time that is over is refused."""
    links = idle.board.links
    over = int(time.time()) - 1
    signature = links._sign("artifact", "t1", "output-7", over)  # pyright: ignore[reportPrivateUsage] no clock is handed in
    await kept(idle, "the output")
    answer = await idle.http.get(f"/view/artifact/t1/output-7?until={over}&signature={signature}")
    assert answer.status_code == 403


def test_a_link_is_the_same_all_day_and_lives_for_a_month() -> None:
    """A card that is rendered again carries the same link; another key makes another one."""
    links = Links("https://bot.example.com", SECRET)
    url = links.to("post", "t1", "t1:4:0")
    assert url == links.to("post", "t1", "t1:4:0")
    assert url.startswith("https://bot.example.com/view/post/t1/t1%3A4%3A0?until=")
    until = int(parse_qs(urlsplit(url).query)["until"][0])
    assert LIFE_SECONDS <= until - time.time() <= LIFE_SECONDS + 86400
    assert Links("https://bot.example.com", b"another").to("post", "t1", "t1:4:0") != url


def test_without_a_public_address_there_is_no_link() -> None:
    """Nobody is shown a link that leads nowhere."""
    assert Links("", SECRET).to("post", "t1", "t1:4:0") == ""


async def test_a_post_is_shown_as_it_was_made(on_bench: Bench) -> None:
    """The whole answer of the bot is behind its link, although the log has gone on since."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot what is on production?")
    log = await on_bench.finished(asked)
    page = await _page(on_bench, log, len(log.events) - 1)
    assert "<title>Answer" in page
    assert "v1.3.2" in page


async def test_a_card_is_shown_with_its_facts_and_how_it_stands(on_bench: Bench) -> None:
    """Facts, the list of commits and the outcome."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot deploy v1.4.0 to production")
    await on_bench.slack.click("lena", await on_bench.card(asked), "approve")
    log = await on_bench.finished(asked)
    seq = next(seq for seq, event in enumerate(log.events, start=1) if event.type == "request_opened")
    page = await _page(on_bench, log, seq)
    assert "Deploy v1.4.0 to production" in page
    assert "Environment: production" in page
    assert "Approved by Lena Vogt" in page


async def test_a_post_that_is_not_there_is_404(on_bench: Bench) -> None:
    """A right signature over a post that never was."""
    asked = await on_bench.slack.say("ana", "#deploys", "@bot hello")
    log = await on_bench.finished(asked)
    for name in (f"{log.thread_id}:1:0", f"{log.thread_id}:9999:0", "nonsense", "a:b:c"):
        answer = await on_bench.http.get(on_bench.board.links.to("post", log.thread_id, name))
        assert answer.status_code == 404
        assert answer.json()["error"].startswith("There is nothing behind this link")


async def test_the_key_of_the_api_opens_no_page(idle: Bench) -> None:
    """A page is opened by its link alone."""
    await kept(idle, "the output")
    answer = await idle.http.get("/view/artifact/t1/output-7", headers={"Authorization": f"Bearer {API_KEY}"})
    assert answer.status_code == 403


async def _page(on_bench: Bench, log: Log, seq: int) -> str:
    """The page of the post that the event at this place asked for."""
    events = log.events[:seq]
    post_id = f"{log.thread_id}:{seq}:0"
    while seq and post_id not in Log.of(log.thread_id, events).state.posts:
        seq -= 1
        events, post_id = log.events[:seq], f"{log.thread_id}:{seq}:0"
    answer = await on_bench.http.get(on_bench.board.links.to("post", log.thread_id, post_id))
    assert answer.status_code == 200, answer.text
    return answer.text
