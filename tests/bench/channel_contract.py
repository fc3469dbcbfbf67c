"""What every way in of every channel promises. A channel's test file makes a `Driver` and inherits the tests.

A delivery comes in as the vendor sends it, through the public entry point; what is looked at is the log, and what lies
on the phones, in the mailboxes and in the workspace.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, cast
from urllib.parse import urlsplit

import redis.asyncio as redis_client
from support import Bench, bench

from bot.core.events import MessageReceived
from bot.testing import wait_until

Outcome = Literal["taken", "refused", "again"]
"""What the sender is told: it has arrived; it will never be taken; send it again later."""

ODD_TEXT = "Größe 東京 👩‍👩‍👧 🚀 שלום مرحبا \u202eesrever\u202c e\u0301 nul\x00nul <b>&amp;</b> {{x}} %s"
ODD_WORDS = ("Größe", "東京", "👩‍👩‍👧", "🚀", "שלום", "مرحبا", "e\u0301", "<b>&amp;</b> {{x}} %s")
"""What of it has to arrive, character for character."""
LONG, HUGE = 50_000, 12_000_000
"""Characters: more than a message may have, and more than any body may."""


@dataclass(frozen=True)
class Parcel:
    """What the vendor delivers, before it is signed."""

    content: bytes
    place: str
    """Where it was written: what the bot says about it has to arrive there."""
    to: str = ""
    """To whom it is addressed, where that differs from parcel to parcel."""


@dataclass(frozen=True)
class Sealed:
    """A parcel as it goes over the wire. The same one again is a replay; a parcel sealed anew is the vendor's retry."""

    content: bytes
    headers: Mapping[str, str]
    to: str = ""


class Driver(Protocol):
    """One way in, from the vendor's side."""

    needs: ClassVar[Mapping[str, Any]]
    """What the bench is to have."""
    forgeries: ClassVar[tuple[str, ...]]
    """How a delivery can lack its proof: names that `seal` knows."""
    forged: ClassVar[Outcome]
    """What the sender of a forged one is told."""
    timed: ClassVar[bool]
    """The proof holds for a while. Where it has no time, a replay is told from the delivery's id."""
    stale_after_hours: ClassVar[int] = 1

    def parcel(self, on_bench: Bench, text: str) -> Parcel:
        """Ana writes to the bot for the first time. Nothing is sent yet."""
        ...

    def echo(self, on_bench: Bench) -> Parcel:
        """The bot's own words, as they come back to it."""
        ...

    def reply(self, on_bench: Bench, parcel: Parcel, text: str) -> Parcel:
        """Ana replies to the newest thing that the bot said about the parcel."""
        ...

    def seal(self, on_bench: Bench, parcel: Parcel, *, forgery: str = "", secret: str = "") -> Sealed:
        """Add the vendor's proof, as of now; or a forged one; or the one of another secret."""
        ...

    async def post(self, on_bench: Bench, sealed: Sealed) -> Outcome:
        """Send it, once."""
        ...

    def heard(self, on_bench: Bench, parcel: Parcel) -> list[str]:
        """What the bot has said where the parcel was written, oldest first."""
        ...

    def strays(self, on_bench: Bench, parcel: Parcel) -> list[str]:
        """What it has said anywhere else."""
        ...


class SecretDriver(Driver, Protocol):
    """One whose proof comes from a secret of ours."""

    secret_setting: ClassVar[str]
    secrets: ClassVar[tuple[str, str]]
    """An old one and a new one, well formed."""


class ChannelContract:
    """The promises. Without a worker where only what comes in is looked at."""

    driver: ClassVar[Driver]

    async def test_without_its_proof_it_starts_nothing(self, redis_url: str, tmp_path: Path) -> None:
        """SL1, SM1, EM2, EM18: forged in any way it is not taken; the very same delivery with its proof is."""
        driver = self.driver
        async with self._bench(redis_url, tmp_path) as on_bench:
            parcel = driver.parcel(on_bench, "what is on production?")
            told: dict[str, Outcome] = {}
            for forgery in driver.forgeries:
                told[forgery] = await driver.post(on_bench, driver.seal(on_bench, parcel, forgery=forgery))
            assert told == dict.fromkeys(driver.forgeries, driver.forged)
            assert await on_bench.threads() == []
            if driver.forged == "refused":
                assert await keys_in(redis_url) == set()
            parcel = driver.parcel(on_bench, "what is on production?")
            assert await self._delivered(on_bench, parcel) == "taken"
            assert await messages(on_bench) == [1]

    async def test_what_was_recorded_cannot_be_played_again(self, redis_url: str, tmp_path: Path) -> None:
        """SL1, SM3, EM3: later it is stale where the proof has a time, and known by its id elsewhere."""
        driver = self.driver
        async with self._bench(redis_url, tmp_path) as on_bench:
            recorded = driver.seal(on_bench, driver.parcel(on_bench, "what is on production?"))
            assert await driver.post(on_bench, recorded) == "taken"
            on_bench.clock.advance(hours=driver.stale_after_hours)
            assert await driver.post(on_bench, recorded) == ("refused" if driver.timed else "taken")
            assert await messages(on_bench) == [1]

    async def test_delivered_more_than_once_it_is_one_message(self, redis_url: str, tmp_path: Path) -> None:
        """SL6, SM3, EM3: the vendor's retries, and ten at the same time, make one thread with one message."""
        driver = self.driver
        async with self._bench(redis_url, tmp_path) as on_bench:
            parcel = driver.parcel(on_bench, "what is on production?")
            at_once = await asyncio.gather(*(self._delivered(on_bench, parcel) for _ in range(10)))
            assert "taken" in at_once
            assert "again" not in at_once
            on_bench.clock.advance(minutes=1)
            await self._delivered(on_bench, parcel)
            assert await messages(on_bench) == [1]

    async def test_any_character_arrives(self, redis_url: str, tmp_path: Path) -> None:
        """EM4: emoji, right-to-left script, CJK and what looks like markup arrive as they were; a NUL does not."""
        async with self._bench(redis_url, tmp_path) as on_bench:
            assert await self._delivered(on_bench, self.driver.parcel(on_bench, ODD_TEXT)) == "taken"
            (text,) = [event.text for event in await received(on_bench)]
            assert [word for word in ODD_WORDS if word not in text] == [], ascii(text)
            assert re.search("nul\ufffd?nul", text)

    async def test_too_much_is_refused_or_cut_so_that_it_shows(self, redis_url: str, tmp_path: Path) -> None:
        """EM5, SM9: nothing is stored whole that is larger than a message may be, and nothing of it breaks anything."""
        async with self._bench(redis_url, tmp_path) as on_bench:
            for characters in (LONG, HUGE):
                parcel = self.driver.parcel(on_bench, "x" * 70 + (" y" * 35 + "\n") * (characters // 71))
                assert await self._delivered(on_bench, parcel) in {"taken", "refused"}
            for event in await received(on_bench):
                assert len(event.text) <= 40_000
                assert event.cut_characters or event.text.rstrip().endswith(("[cut]", "…", "...]"))
            assert all(len(key) < 1_000 for key in await keys_in(redis_url))
            assert await stored_bytes(redis_url) < 4 * LONG

    async def test_its_own_words_start_nothing(self, redis_url: str, tmp_path: Path) -> None:
        """SL9, SM7, EM15: what the bot said comes back to it, and it stays silent."""
        driver = self.driver
        async with self._bench(redis_url, tmp_path, workers=1) as on_bench:
            echo = driver.echo(on_bench)
            before = [*driver.heard(on_bench, echo), *driver.strays(on_bench, echo)]
            assert await self._delivered(on_bench, echo) == "taken"
            assert await on_bench.threads() == []
            # A genuine one, so that there was time to say something wrong.
            asked = driver.parcel(on_bench, "what is on production?")
            await self._delivered(on_bench, asked)
            await on_bench.over()
            await wait_until(lambda: driver.heard(on_bench, asked))
            after = [*driver.heard(on_bench, echo), *driver.strays(on_bench, echo)]
            assert sorted(after) == sorted([*before, *driver.heard(on_bench, asked)])
            assert (await messages(on_bench), len(after) - len(before)) == ([1], 1)

    async def test_what_cannot_be_stored_is_to_be_sent_again(self, redis_url: str, tmp_path: Path) -> None:
        """SL4, SL6, SM2, EM1: while the store is away the sender is told so, and the retry is taken, once."""
        driver, outage = self.driver, Outage(redis_url, tmp_path / "redis")
        async with self._bench(outage.url, tmp_path) as on_bench:
            parcel = driver.parcel(on_bench, "what is on production?")
            await outage.begin()
            assert await self._delivered(on_bench, parcel) == "again"
            outage.end()
            assert await on_bench.threads() == []
            assert await self._delivered(on_bench, parcel) == "taken"
            await self._delivered(on_bench, parcel)
            assert await messages(on_bench) == [1]

    async def test_an_answer_lands_where_the_question_came_from_and_a_reply_to_it_comes_back(
        self, redis_url: str, tmp_path: Path
    ) -> None:
        """SL11, EM7, EM10, SM6: a conversation's reference survives the way out and the way back in."""
        driver = self.driver
        async with self._bench(redis_url, tmp_path, workers=1) as on_bench:
            first = driver.parcel(on_bench, "what is on production?")
            await self._delivered(on_bench, first)
            thread = (await on_bench.over()).thread_id
            await wait_until(lambda: driver.heard(on_bench, first))
            assert "v1.3.2" in driver.heard(on_bench, first)[-1]

            second = driver.reply(on_bench, first, "what is on staging?")
            assert await self._delivered(on_bench, second) == "taken"
            await wait_until(lambda: len(driver.heard(on_bench, first)) > 1)
            log = await on_bench.over()
            assert (log.thread_id, await messages(on_bench)) == (thread, [2])
            assert "v1.4.0" in driver.heard(on_bench, first)[-1]
            assert driver.strays(on_bench, first) == []

    def _bench(self, url: str, tmp_path: Path, *, workers: int = 0) -> AbstractAsyncContextManager[Bench]:
        return bench(url, tmp_path, workers=workers, **self.driver.needs)

    async def _delivered(self, on_bench: Bench, parcel: Parcel) -> Outcome:
        return await self.driver.post(on_bench, self.driver.seal(on_bench, parcel))


class SecretContract(ChannelContract):
    """The promises of a way in whose proof comes from a secret of ours."""

    driver: ClassVar[SecretDriver]  # pyright: ignore[reportIncompatibleVariableOverride] a driver with a secret is one

    async def test_a_secret_is_exchanged_without_a_gap(self, redis_url: str, tmp_path: Path) -> None:
        """SM1, SL1, EM2: while both are configured both are taken; afterwards the old one is refused."""
        driver = self.driver
        old, new = driver.secrets
        told: list[Outcome] = []
        for name, configured in (("both", f"{new},{old}"), ("after", new)):
            more: dict[str, Any] = {**driver.needs, driver.secret_setting: configured}
            async with bench(redis_url, tmp_path / name, workers=0, **more) as on_bench:
                for secret in (old, new):
                    parcel = driver.parcel(on_bench, "what is on production?")
                    told.append(await driver.post(on_bench, driver.seal(on_bench, parcel, secret=secret)))
        assert told == ["taken", "taken", "refused", "taken"]


@dataclass(frozen=True)
class Outage:
    """A real one: the server's socket is out of reach, and every connection to it breaks."""

    redis_url: str
    link: Path

    @property
    def url(self) -> str:
        """The store, as long as there is no outage."""
        self.end()
        return f"unix://{self.link}"

    async def begin(self) -> None:
        """From now on nothing reaches the store."""
        self.link.unlink()
        async with connected(self.redis_url) as client:
            for kind in ("normal", "pubsub"):
                await client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    def end(self) -> None:
        """It can be reached again."""
        if not self.link.is_symlink():
            self.link.symlink_to(urlsplit(self.redis_url).path)


async def received(on_bench: Bench) -> list[MessageReceived]:
    """Every message of every thread."""
    return [event for log in await on_bench.threads() for event in log.events if isinstance(event, MessageReceived)]


async def messages(on_bench: Bench) -> list[int]:
    """How many messages each thread has."""
    return [sum(event.type == "message_received" for event in log.events) for log in await on_bench.threads()]


async def keys_in(redis_url: str) -> set[str]:
    """Every key that the store holds, but for the wake streams that a worker makes when it starts."""
    async with connected(redis_url) as client:
        found = {key.decode() for key in await client.keys("*")}
    return {key for key in found if not key.endswith(":wake")}


async def stored_bytes(redis_url: str) -> int:
    """How much memory the largest key takes."""
    async with connected(redis_url) as client:
        return max([0, *[await client.memory_usage(key, samples=0) or 0 for key in await client.keys("*")]])


@asynccontextmanager
async def connected(redis_url: str) -> AsyncGenerator[Any]:
    """A connection of the test's own."""
    client: Any = cast("Any", redis_client.Redis).from_url(redis_url)
    yield client
    await client.aclose()
