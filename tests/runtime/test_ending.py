"""Tasks that are ended, however they take it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from bot.runtime.ending import end, is_cancelled


async def stubborn(times: int) -> None:
    """As a library that turns a cancellation into an error of its own, which somebody then gets over."""
    while times:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            times -= 1


async def test_a_task_that_takes_a_cancellation_for_something_else_is_ended_all_the_same() -> None:
    """It is cancelled until it is over."""
    task = asyncio.create_task(stubborn(3))
    await asyncio.sleep(0)
    await end([task])
    assert task.done()


async def test_who_ends_others_and_is_cancelled_itself_leaves_nothing_behind() -> None:
    """A worker that is told to stop again and again does not leave a heartbeat running: the process could never end."""
    inner = asyncio.create_task(stubborn(4))
    await asyncio.sleep(0)
    outer = asyncio.create_task(end([inner]))
    for _ in range(3):
        await asyncio.sleep(0)
        outer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outer
    assert inner.done()


async def test_a_loop_can_tell_that_it_was_cancelled_though_it_never_saw_it() -> None:
    """What swallows the cancellation, at any depth, does not make the loop go on."""
    rounds = 0

    async def beat() -> None:
        nonlocal rounds
        while not is_cancelled():
            rounds += 1
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    task = asyncio.create_task(beat())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait_for(task, 1)
    assert rounds == 1
