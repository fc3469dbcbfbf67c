from __future__ import annotations

import os
from pathlib import Path

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
    watched = WatchedFile(path, clock)
    assert watched.read() == "one"
    return watched


def write(path: Path, text: str, clock: FakeClock, *, ago: float = 0) -> None:
    """Write it, so many seconds ago."""
    path.write_text(text)
    at = clock.now().timestamp() - ago
    os.utime(path, (at, at))


def test_a_change_counts_once_the_file_was_left_alone(path: Path, file: WatchedFile, clock: FakeClock) -> None:
    """Two seconds after the last write, whenever one looks; and it is told once."""
    assert file.news() is None
    write(path, "two", clock)
    assert file.news() is None
    clock.advance(seconds=1.5)
    write(path, "three", clock)
    clock.advance(seconds=1.5)
    assert file.news() is None
    clock.advance(seconds=0.5)
    assert file.news() == "three"
    assert file.news() is None
    assert file.news(again=True) == "three"
    write(path, "four", clock, ago=2)
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
    write(path, "three", clock, ago=2)
    assert file.news() == "three"


def test_a_whole_file_put_in_its_place_counts_at_once(
    path: Path, file: WatchedFile, clock: FakeClock, tmp_path: Path
) -> None:
    """It was written before it came here."""
    write(tmp_path / "new", "two", clock, ago=5)
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
    write(path, "two", clock, ago=2)
    assert file.news() == "two"
