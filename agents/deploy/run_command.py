"""The wrapper process that runs one command, once, and records how it ended: `python -m agents.deploy.run_command DIR`.

It outlives the worker that started it. It must never run the command when the file `started` is already there, never
hand the command more of the environment than the list below, and never import anything but the standard library: it is
started by its path, so that it is up in milliseconds and does not depend on the state of the bot.
"""

import contextlib
import fcntl
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import IO, Any, Final, cast

INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "SSH_AUTH_SOCK", "TMPDIR")
"""What a command gets of the environment; tokens and keys of the bot are not among it."""
HEAD_BYTES: Final = 1_048_576
"""How much of the output is kept from its start; what follows is counted."""
TAIL_BYTES: Final = 16_384
"""How much of its end is added after a cut, when the command has ended."""
_CLAIM_SECONDS: Final = 5
_TICK_SECONDS: Final = 0.05


class Output:
    """`output.log`: the first MiB as it comes; behind a cut, at the end, `[… n bytes cut …]` and the last 16 KiB."""

    def __init__(self, path: Path) -> None:
        self.total = 0
        self._file = path.open("ab", buffering=0)
        self._kept = 0
        self._tail = b""
        self._cut = 0

    def write(self, chunk: bytes) -> None:
        """Keep a chunk or count it. A full disk costs output and never the record of how the command ended."""
        self.total += len(chunk)
        head, rest = chunk[: HEAD_BYTES - self._kept], chunk[HEAD_BYTES - self._kept :]
        self._kept += len(head)
        self._append(head)
        tail = self._tail + rest
        self._cut += max(0, len(tail) - TAIL_BYTES)
        self._tail = tail[-TAIL_BYTES:]

    def close(self) -> None:
        """Add the mark of the cut and the tail."""
        self._append((f"\n[… {self._cut} bytes cut …]\n".encode() if self._cut else b"") + self._tail)
        self._file.close()

    def _append(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            while data:
                data = data[self._file.write(data) :]


class _Stop:
    """Whether somebody asked the wrapper to stop, as a machine does that shuts down."""

    def __init__(self) -> None:
        self.asked = False
        # Functions, not SIG_IGN: an ignored signal would stay ignored in the command.
        signal.signal(signal.SIGTERM, self._ask)
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, self._pass)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True

    def _pass(self, _number: int, _frame: FrameType | None) -> None:
        pass


def main(arguments: list[str]) -> int:
    """Claim the run in the directory and go on detached; 0 at once, also when another wrapper has the claim."""
    directory = Path(arguments[0])
    command = json.loads((directory / "command.json").read_text(encoding="utf-8"))
    if not _claim(directory):
        return 0
    if os.fork():  # the starter only waits for this half, and has no child to reap when the command ends
        return 0
    os.setsid()
    started_at, start = datetime.now(UTC), time.monotonic()
    output = Output(directory / "output.log")
    ending = _run(command, output, start)
    output.close()
    record = {
        **ending,
        "started_at": started_at.isoformat(),
        "finished_at": datetime.now(UTC).isoformat(),
        "seconds": round(time.monotonic() - start, 3),
        "output_bytes": output.total,
    }
    write_atomically(directory / "exit.json", record)
    return 0


def write_atomically(path: Path, record: dict[str, Any]) -> None:
    """Write JSON so that a reader sees all of it or nothing, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync(path.parent)


def _claim(directory: Path) -> bool:
    """Take the lock, held until this process ends, and create `started`; False when that was done before."""
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _CLAIM_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:  # another wrapper, or somebody who looks for a moment whether there is one
            if (directory / "started").exists() or time.monotonic() > deadline:
                return False
            time.sleep(0.005)
    try:
        os.close(os.open(directory / "started", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    _sync(directory)
    return True


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _run(command: dict[str, Any], output: Output, start: float) -> dict[str, Any]:
    stop = _Stop()
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    try:
        process = subprocess.Popen(
            command["argv"],
            cwd=command["cwd"],
            env={**environment, **command["environment"], "SWITCHBOARD_RUN": command["key"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL in a word
        output.write(f"cannot start the command: {error}\n".encode())
        # The shell's numbers: 127 for a program that is not there, 126 for one that cannot be run.
        return {"exit_code": 127 if isinstance(error, FileNotFoundError) else 126, "signal": None, "timed_out": False}
    with process:
        timed_out = _follow(process, output, stop, start + command["time_limit_seconds"], command["grace_seconds"])
    code = process.returncode
    return {"exit_code": code if code >= 0 else None, "signal": -code if code < 0 else None, "timed_out": timed_out}


def _follow(
    process: subprocess.Popen[bytes],
    output: Output,
    stop: _Stop,
    deadline: float,
    grace_seconds: float,
) -> bool:
    """Stream the output until the command ends, and end its group at the deadline. Says whether the time ran out."""
    pipe = cast("IO[bytes]", process.stdout)
    os.set_blocking(pipe.fileno(), False)
    selector = selectors.DefaultSelector()
    selector.register(pipe, selectors.EVENT_READ)
    timed_out, kill_at = False, float("inf")
    while process.poll() is None:
        if selector.get_map():
            if selector.select(_TICK_SECONDS) and not _read(pipe, output):
                selector.unregister(pipe)
        else:  # the command closed its output and goes on
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_TICK_SECONDS)
        now = time.monotonic()
        if kill_at == float("inf") and (stop.asked or now >= deadline):
            timed_out, kill_at = now >= deadline, now + grace_seconds
            _signal(process, signal.SIGTERM)
        elif now >= kill_at:
            _signal(process, signal.SIGKILL)
    if kill_at != float("inf"):  # whatever of the group ignored SIGTERM; after a normal end a daemon may stay
        _signal(process, signal.SIGKILL)
    # What is in the pipe by now. Its end is not waited for: a daemon that the command left may hold it for ever.
    drained_by = time.monotonic() + 1
    while selector.get_map() and time.monotonic() < drained_by and selector.select(0) and _read(pipe, output):
        pass
    selector.close()
    return timed_out


def _read(pipe: IO[bytes], output: Output) -> bool:
    """Move what there is to the log; False at the end of the pipe."""
    chunk = os.read(pipe.fileno(), 65_536)
    output.write(chunk)
    return bool(chunk)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: a group of zombies is not permitted
        os.killpg(process.pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
