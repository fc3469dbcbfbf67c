"""Runs a command at most once for a key, even if the worker that started it dies.

A detached wrapper process (`run_command`) does the work; this module starts it, follows its output and reads its
record. It never runs a command again whose wrapper once began, and never stops one: cancelling leaves it running.

`runs/<hash of the key>/` holds `command.json` (written first), `lock` (held by the living wrapper), `started` (made by
exactly one wrapper), `output.log`, `exit.json` (written last) and `wrapper.log` (the wrapper's own complaints).
"""

# The directory belongs to one machine: on another one the key is unknown, so whoever takes over a run that may have
# begun elsewhere passes `attach_only`. A service manager must leave the wrapper alone when it ends the worker (systemd:
# KillMode=process). Where it cannot, as in a container that stops, the wrapper passes its SIGTERM on and records how
# the command ended; a run that was killed outright is found to be lost.

import asyncio
import enum
import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from agents.deploy import run_command

_CHUNK_BYTES: Final = 65_536
_LINES: Final = 20
_LINE_CHARACTERS: Final = 400
_CHARACTERS: Final = 2_000
_LAUNCHES: Final = 3
_ANSI: Final = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]|\x9b[0-?]*[@-~]")


class RunError(Exception):
    """The run could not be started or followed; the message is meant for a person."""


class RunLost(RunError):  # noqa: N818  # it is a fact about the run, not about this call
    """The command was started, and neither its end nor a living wrapper is to be found: nobody knows what it did."""


class RunNotStarted(RunError):  # noqa: N818
    """Nothing was started for this key in this directory, and the caller only wanted to attach."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: words (never a shell line), directory, limit, and what to add to the small environment."""

    argv: tuple[str, ...]
    cwd: Path
    time_limit_seconds: float
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    grace_seconds: float = 10
    """Time between SIGTERM and SIGKILL when the limit is over."""

    def __post_init__(self) -> None:
        if not self.argv:
            raise ValueError("a command has at least one word")


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How the command ended: `exit_code` or, when a signal ended it, `signal`; 126 and 127 when it could not start.

    `last_lines`: at most 20 lines and 2,000 characters of the end of the output, without control characters and escape
    sequences. `output_bytes`: how much it printed, also when the log holds less.
    """

    exit_code: int | None
    signal: int | None
    timed_out: bool
    started_at: datetime
    finished_at: datetime
    seconds: float
    last_lines: tuple[str, ...]
    output_bytes: int


class _State(enum.Enum):
    NEW = enum.auto()
    RUNNING = enum.auto()
    FINISHED = enum.auto()
    LOST = enum.auto()


async def run_once(
    runs: Path,
    key: str,
    command: Command,
    *,
    on_output: Callable[[int, bytes], Awaitable[None]],
    poll_seconds: float = 0.1,
    attach_only: bool = False,
) -> CommandResult:
    """Run the command unless the key has a run, follow that run from its first byte, and return how it ended.

    `on_output(offset, chunk)` gets the bytes of the log in order, from offset 0 for each caller. The command that was
    first written down for a key counts: another one under the same key is not run. Raises `RunLost`, `RunNotStarted`
    (with `attach_only`) or `RunError`; what `on_output` raises ends the following and not the command.
    """
    directory = run_directory(runs, key)
    offset = launches = 0
    while True:
        state = await asyncio.to_thread(_state, directory)  # before the output: after the end there is no more of it
        while chunk := await asyncio.to_thread(_read, directory / "output.log", offset, _CHUNK_BYTES):
            await on_output(offset, chunk)
            offset += len(chunk)
        match state:
            case _State.FINISHED:
                return await asyncio.to_thread(_result, directory, offset)
            case _State.RUNNING:
                await asyncio.sleep(poll_seconds)
            case _State.LOST:
                raise RunLost(f"The run {key} was started, and how it ended is not known: its wrapper process is gone.")
            case _State.NEW if attach_only:
                raise RunNotStarted(f"The run {key} was never started here.")
            case _State.NEW if launches == _LAUNCHES:
                complaint = (await asyncio.to_thread(_read, directory / "wrapper.log", 0, _CHUNK_BYTES)).decode(
                    errors="replace"
                )
                raise RunError(f"The run {key} could not be started: {' '.join(readable_lines(complaint)[-1:])}")
            case _State.NEW:
                launches += 1
                # A thread, because it cannot be cancelled half-way between starting the wrapper and its claim.
                await asyncio.to_thread(_launch, directory, key, command)


def is_running(runs: Path, key: str) -> bool:
    """Whether a run of this key is under way on this machine."""
    return _state(run_directory(runs, key)) is _State.RUNNING


def has_begun(runs: Path, key: str) -> bool:
    """Whether the command of this key was ever started here: it runs, it has ended, or nobody knows how it ended."""
    return _state(run_directory(runs, key)) is not _State.NEW


def run_directory(runs: Path, key: str) -> Path:
    """Where the files of a key's run are; they are never deleted by this module."""
    return runs.absolute() / hashlib.sha256(key.encode()).hexdigest()[:32]


def readable_lines(text: str) -> tuple[str, ...]:
    """The last lines of a terminal's text, as a person saw them: at most 20, and 2,000 characters in all."""
    lines: list[str] = []
    room = _CHARACTERS
    for raw in reversed(_ANSI.sub("", text).rstrip().split("\n")[-10 * _LINES :]):
        shown = raw.rstrip().rsplit("\r", 1)[-1].expandtabs(4)  # a progress bar's last state
        line = "".join(letter for letter in shown if unicodedata.category(letter)[0] != "C").rstrip()
        line = line if len(line) <= _LINE_CHARACTERS else line[: _LINE_CHARACTERS - 1] + "…"
        room -= len(line) + 1
        if room < 0 or len(lines) == _LINES:
            break
        lines.append(line)
    return tuple(reversed(lines)) if any(lines) else ()


def _state(directory: Path) -> _State:
    # The order decides: the lock is taken before `started` is made and held until after `exit.json` is, so that a run
    # that has begun, is then found without a lock and after that without a record is lost and not just beginning.
    started = (directory / "started").exists()
    alive = _alive(directory / "lock")
    if (directory / "exit.json").exists():
        return _State.FINISHED
    if alive:
        return _State.RUNNING
    return _State.LOST if started else _State.NEW


def _alive(lock: Path) -> bool:
    """Whether a wrapper holds the lock; a shared lock, so that two who look do not take each other for one."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _launch(directory: Path, key: str, command: Command) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (directory / "command.json").exists():
        record = {
            "key": key,
            "argv": list(command.argv),
            "cwd": str(command.cwd.absolute()),
            "environment": dict(command.environment),
            "time_limit_seconds": command.time_limit_seconds,
            "grace_seconds": command.grace_seconds,
        }
        run_command.write_atomically(directory / "command.json", record)
    # By its path and isolated (-I -S): `-m` would import the whole agent and look into the working directory.
    wrapper = [sys.executable, "-I", "-S", run_command.__file__, str(directory)]
    environment = {name: os.environ[name] for name in run_command.INHERITED if name in os.environ}
    with (directory / "wrapper.log").open("ab") as log:
        subprocess.run(
            wrapper,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=directory,
            start_new_session=True,
            check=False,
        )


def _read(path: Path, offset: int, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except FileNotFoundError:
        return b""


def _result(directory: Path, size: int) -> CommandResult:
    record = json.loads((directory / "exit.json").read_text(encoding="utf-8"))
    end = _read(directory / "output.log", max(0, size - _CHUNK_BYTES // 4), _CHUNK_BYTES)
    return CommandResult(
        exit_code=record["exit_code"],
        signal=record["signal"],
        timed_out=record["timed_out"],
        started_at=datetime.fromisoformat(record["started_at"]),
        finished_at=datetime.fromisoformat(record["finished_at"]),
        seconds=record["seconds"],
        last_lines=readable_lines(end.decode(errors="replace")),
        output_bytes=record["output_bytes"],
    )
