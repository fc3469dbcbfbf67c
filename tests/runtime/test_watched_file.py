from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import pytest

from bot.runtime.watched_file import WatchedFile
from bot.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path, clock: FakeClock) -> Path:
    """A file that was written an hour ago."""
    file = tmp_path / "policy.toml"
    write(file, "one", clock, ago=3600)
    return file


@pytest.fixture
def file(path: Path, clock: FakeClock) -> WatchedFile:
    """The file, read once."""
    watched = WatchedFile(path, clock, lambda: clock.now().timestamp())
    assert watched.read() == "one"
    return watched


def write(path: Path, text: str, clock: FakeClock, *, ago: float = 0) -> None:
    """Write it, so many seconds ago."""
    path.write_text(text)
    at = clock.now().timestamp() - ago
    os.utime(path, (at, at))


def test_a_change_counts_once_the_file_was_left_alone(path: Path, file: WatchedFile, clock: FakeClock) -> None:
    """After two seconds in which it looked the same, or at once if it was written long before; and it is told once."""
    assert file.news() is None
    write(path, "two", clock)
    assert file.news() is None
    clock.advance(seconds=1.5)
    write(path, "three", clock)
    assert file.news() is None
    clock.advance(seconds=1.5)
    assert file.news() is None
    clock.advance(seconds=0.5)
    assert file.news() == "three"
    assert file.news() is None
    assert file.news(again=True) == "three"
    write(path, "four", clock, ago=10)
    assert file.news() == "four"


def test_a_sound_part_of_a_file_is_never_told(path: Path, file: WatchedFile, clock: FakeClock) -> None:
    """AP4: emptied, cut, whole, with looks in between, also ones that want the text again."""
    told = [file.news()]
    for text in ("", "[[policies]]\n", '[[policies]]\ntool = "deploy"\n'):
        write(path, text, clock)
        told += [file.news(), file.news(again=True)]
        clock.advance(seconds=0.9)
        told.append(file.news())
    clock.advance(seconds=2)
    assert [*told, file.news()] == [None] * 10 + ['[[policies]]\ntool = "deploy"\n']


def test_what_became_empty_is_a_mistake_told_once(path: Path, file: WatchedFile, clock: FakeClock) -> None:
    """A save that failed, or a full disk: the text of before counts on, until there is one again or the file goes."""
    for text in ("", " \n"):
        write(path, text, clock, ago=60)
        with pytest.raises(ValueError, match="is empty now"):
            file.news()
        assert file.news() is None
    write(path, "# nothing for now", clock, ago=60)
    assert file.news() == "# nothing for now"


def test_what_was_empty_from_the_start_may_stay_so(tmp_path: Path, clock: FakeClock) -> None:
    """Somebody made the file and has not written into it yet."""
    path = tmp_path / "policy.toml"
    file = WatchedFile(path, clock)
    assert file.read() == ""
    for text in ("", "\n"):
        write(path, text, clock, ago=60)
        assert file.news() == text


def test_a_file_that_is_gone_has_to_stay_away(path: Path, file: WatchedFile, clock: FakeClock) -> None:
    """An editor that removes the file before it writes a new one leaves no gap, however often one looks."""
    path.unlink()
    for _ in range(3):
        assert file.news() is None
        clock.advance(seconds=0.5)
    write(path, "two", clock)
    clock.advance(seconds=0.5)
    assert file.news() is None
    path.unlink()
    assert file.news() is None
    clock.advance(seconds=2)
    assert file.news() == ""
    assert file.news() is None
    write(path, "three", clock, ago=10)
    assert file.news() == "three"


def test_a_whole_file_put_in_its_place_counts_at_once(
    path: Path, file: WatchedFile, clock: FakeClock, tmp_path: Path
) -> None:
    """It was written before it came here."""
    write(tmp_path / "new", "two", clock, ago=10)
    (tmp_path / "new").replace(path)
    assert file.news() == "two"


def test_a_time_in_the_future_says_nothing(path: Path, file: WatchedFile, clock: FakeClock) -> None:
    """Another machine's clock: then it counts how long it has been seen like this."""
    write(path, "two", clock, ago=-3600)
    assert file.news() is None
    clock.advance(seconds=1)
    assert file.news() is None
    clock.advance(seconds=1)
    assert file.news() == "two"


def test_the_clock_of_a_file_server_may_be_behind(path: Path, file: WatchedFile, clock: FakeClock) -> None:
    """AP4: half a file that was written this moment, and says that this was some seconds ago."""
    for text, ago in (("ha", 5), ("half", 9)):
        write(path, text, clock, ago=ago)
        assert file.news() is None
        clock.advance(seconds=0.5)
    write(path, "half, and the rest", clock, ago=9)
    assert file.news() is None
    clock.advance(seconds=2)
    assert file.news() == "half, and the rest"


def test_a_clock_that_is_set_back_holds_no_change_off(path: Path, clock: FakeClock) -> None:
    """AP7: how long it was seen is not read from the wall clock, wherever that jumps to."""
    seconds = [0.0]
    file = WatchedFile(path, clock, lambda: seconds[0])
    file.read()
    write(path, "two", clock)
    assert file.news() is None
    clock.advance(hours=-1)
    seconds[0] += 1.9
    assert file.news() is None
    seconds[0] += 0.1
    assert file.news() == "two"
    write(path, "three", clock)
    assert file.news() is None
    clock.advance(seconds=5)  # set forward: neither is half a file taken early
    assert file.news() is None
    seconds[0] += 2
    assert file.news() == "three"


def test_what_is_written_again_and_again_counts_too(path: Path, file: WatchedFile, clock: FakeClock) -> None:
    """AP7: a tool that writes the same file every half second holds no change off, and it is told once."""
    told: list[str | None] = []
    for number in range(20):
        new = path.with_suffix(".new")
        write(new, "two", clock, ago=number % 3)
        new.replace(path)
        told += [file.news(), file.news()]
        clock.advance(seconds=0.5)
    assert told == [*[None] * 8, "two", *[None] * 31]
    assert file.news(again=True) == "two"  # whoever wants it again gets it, though the file is never at rest


def test_what_is_written_again_and_again_in_pieces_is_never_taken_in_part(
    path: Path, file: WatchedFile, clock: FakeClock
) -> None:
    """AP4: the looks fall between the writes of several versions, and only what stays is told."""
    for number in range(9):
        write(path, "half" if number % 2 else "half, and the rest", clock)
        assert file.news() is None
        clock.advance(seconds=0.9)
    write(path, "half, and the rest", clock)
    assert [file.news(), clock.advance(seconds=2), file.news()] == [None, None, "half, and the rest"]


def test_what_follows_in_the_same_tick_is_not_lost(path: Path, file: WatchedFile, clock: FakeClock) -> None:
    """A text that was taken while the file was written goes on being watched, also where times are coarse."""
    told: list[str | None] = []
    for _ in range(5):
        write(path, "two", clock)
        told.append(file.news())
        clock.advance(seconds=0.5)
    assert told == [None, None, None, None, "two"]
    write(path, "owt", clock)
    assert file.news() is None
    clock.advance(seconds=2)
    assert file.news() == "owt"


def test_a_file_is_gone_only_once_it_was_missed_twice(path: Path, file: WatchedFile, clock: FakeClock) -> None:
    """Empty and then away is not away for two seconds."""
    write(path, "", clock)
    assert file.news() is None
    clock.advance(seconds=1)
    path.unlink()
    assert file.news() is None
    clock.advance(seconds=1)
    assert file.news() is None
    clock.advance(seconds=1)
    assert file.news() == ""


class CountedLooks(type(Path())):
    """A file that counts how it is looked at."""

    looks: ClassVar[list[str]] = []

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        self.looks.append("stat")
        return super().stat(follow_symlinks=follow_symlinks)

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        self.looks.append("read")
        return super().read_text(encoding, errors)


def test_a_look_at_a_file_that_is_at_rest_costs_one_stat(path: Path, clock: FakeClock) -> None:
    """It is looked at for every message and every click."""
    file = WatchedFile(CountedLooks(path), clock)
    file.read()
    CountedLooks.looks.clear()
    assert [file.news(), file.news()] == [None, None]
    assert CountedLooks.looks == ["stat", "stat"]


def test_a_change_that_hides_its_time_and_size_is_seen(path: Path, file: WatchedFile) -> None:
    """As `touch -r` and some ways to copy do."""
    before = path.stat()
    path.write_text("two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.news() == "two"


class WrittenMeanwhile(type(Path())):
    """A file into which somebody writes while it is read."""

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        text = super().read_text(encoding, errors)
        with self.open("a") as more:
            more.write("more")
        os.utime(self, (1, 1))
        return text


def test_what_changed_while_it_was_read_is_not_told(path: Path, file: WatchedFile, clock: FakeClock) -> None:
    """Neither at a start, which fails, nor later, when the next look sees it."""
    moving = WatchedFile(WrittenMeanwhile(path), clock)
    with pytest.raises(ValueError, match="somebody is writing it at this moment"):
        moving.read()
    with pytest.raises(ValueError, match="somebody is writing it at this moment"):
        moving.news()
    assert file.news() == "onemoremore"


def test_what_cannot_be_read_is_told_once(path: Path, file: WatchedFile, clock: FakeClock) -> None:
    """A directory, bytes that are no text, a link that leads to itself."""
    path.unlink()
    path.mkdir()
    os.utime(path, (1, 1))
    with pytest.raises(IsADirectoryError):
        file.news()
    assert file.news() is None
    path.rmdir()
    path.write_bytes(b"\xff\xfe")
    os.utime(path, (1, 1))
    with pytest.raises(UnicodeDecodeError):
        file.news()
    assert file.news() is None
    path.unlink()
    path.symlink_to(path)
    assert file.news() is None
    clock.advance(seconds=2)
    with pytest.raises(OSError, match="symbolic links"):
        file.news()
    assert file.news() is None
    path.unlink()
    write(path, "two", clock, ago=10)
    assert file.news() == "two"
