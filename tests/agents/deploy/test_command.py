import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import agents
from agents.deploy import run_command
from agents.deploy.command import (
    Command,
    CommandResult,
    RunError,
    RunLost,
    RunNotStarted,
    readable_lines,
    run_directory,
    run_once,
)

KEY = "thread-1:7:0"
STARTER = """
import asyncio, sys
from pathlib import Path
from agents.deploy.command import Command, run_once

async def ignore(offset: int, chunk: bytes) -> None: ...

command = Command(("sh", "-c", sys.argv[2]), Path(sys.argv[1]), 30)
asyncio.run(run_once(Path(sys.argv[1], "runs"), sys.argv[3], command, on_output=ignore))
"""


class Seen:
    """Puts the chunks together and holds them to their offsets."""

    def __init__(self) -> None:
        self.data = b""

    async def __call__(self, offset: int, chunk: bytes) -> None:
        assert offset == len(self.data)
        self.data += chunk


def shell(directory: Path, script: str, limit: float = 30, **more: float) -> Command:
    return Command(("sh", "-c", script), directory, limit, grace_seconds=more.get("grace", 10))


async def run(
    directory: Path, command: Command | str, *, seen: Seen | None = None, attach_only: bool = False
) -> CommandResult:
    """The run of the test's one key, followed closely."""
    command = shell(directory, command) if isinstance(command, str) else command
    seen = seen or Seen()
    return await run_once(directory / "runs", KEY, command, on_output=seen, poll_seconds=0.01, attach_only=attach_only)


async def eventually(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait until the condition holds; fail when it does not within the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


def start_worker(directory: Path, script: str) -> subprocess.Popen[bytes]:
    """A worker process of its own, in its own group, that runs the script under the test's key."""
    environment = {**os.environ, "PYTHONPATH": str(Path(agents.__file__).parents[1])}
    words = [sys.executable, "-c", STARTER, str(directory), script, KEY]
    return subprocess.Popen(words, env=environment, start_new_session=True)


async def test_a_command_runs_and_its_output_is_streamed(tmp_path: Path) -> None:
    """The caller sees the output byte by byte in order, both streams in one, and at the end how it went."""
    seen = Seen()
    result = await run(tmp_path, "echo one; echo two >&2; pwd; exit 3", seen=seen)
    assert seen.data.decode() == f"one\ntwo\n{tmp_path}\n"
    assert (result.exit_code, result.signal, result.timed_out) == (3, None, False)
    assert result.last_lines == ("one", "two", str(tmp_path))
    assert result.output_bytes == len(seen.data)
    assert 0 <= result.seconds < 5
    assert result.started_at <= result.finished_at


async def test_output_arrives_while_the_command_runs(tmp_path: Path) -> None:
    """Progress is seen before the end, not only after it."""
    seen = Seen()
    task = asyncio.create_task(run(tmp_path, "echo begun; until [ -e go ]; do sleep 0.01; done; echo done", seen=seen))
    await eventually(lambda: seen.data == b"begun\n")
    (tmp_path / "go").touch()
    assert (await task).exit_code == 0
    assert seen.data == b"begun\ndone\n"


async def test_a_finished_run_is_told_again_and_never_run_again(tmp_path: Path) -> None:
    """The second caller gets the same record and the whole output, even if it brought another command."""
    first = await run(tmp_path, "echo x >>count; cat count")
    seen = Seen()
    assert await run(tmp_path, "echo another >>count", seen=seen) == first
    assert await run(tmp_path, "", attach_only=True) == first
    assert seen.data == b"x\n"
    assert (tmp_path / "count").read_text() == "x\n"


async def test_a_run_outlives_the_death_of_its_worker(tmp_path: Path) -> None:
    """A worker that is killed mid-run is replaced by another, which follows the same run to its end."""
    script = "echo x >>count; echo begun; until [ -e go ]; do sleep 0.01; done; echo done"
    worker = start_worker(tmp_path, script)
    await eventually((tmp_path / "count").exists)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    seen = Seen()
    task = asyncio.create_task(run(tmp_path, script, seen=seen))
    await eventually(lambda: seen.data == b"begun\n")
    (tmp_path / "go").touch()
    assert (await task).exit_code == 0
    assert seen.data == b"begun\ndone\n"
    assert (tmp_path / "count").read_text() == "x\n"


async def test_cancelling_the_caller_leaves_the_command_running(tmp_path: Path) -> None:
    """A worker that shuts down in the middle of a deploy does not stop the deploy."""
    task = asyncio.create_task(run(tmp_path, "touch begun; until [ -e go ]; do sleep 0.01; done; echo done"))
    await eventually((tmp_path / "begun").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (tmp_path / "go").touch()
    assert (await run(tmp_path, "", attach_only=True)).last_lines == ("done",)


async def test_a_caller_that_fails_leaves_the_command_running(tmp_path: Path) -> None:
    """An error of whoever listens ends the listening alone."""

    async def fail(_offset: int, _chunk: bytes) -> None:
        raise ConnectionError("the channel is down")

    command = shell(tmp_path, "echo begun; until [ -e go ]; do sleep 0.01; done; echo done")
    with pytest.raises(ConnectionError):
        await run_once(tmp_path / "runs", KEY, command, on_output=fail, poll_seconds=0.01)
    (tmp_path / "go").touch()
    assert (await run(tmp_path, command)).last_lines == ("begun", "done")


async def test_many_who_start_at_once_run_it_once(tmp_path: Path) -> None:
    """Two workers and three tasks begin together: one run, and everybody sees all of its output."""
    script = "echo x >>count; echo done"
    workers = [start_worker(tmp_path, script) for _ in range(2)]
    seen = [Seen() for _ in range(3)]
    results = await asyncio.gather(*(run(tmp_path, script, seen=each) for each in seen))
    await eventually(lambda: all(worker.poll() == 0 for worker in workers))
    assert len(set(results)) == 1
    assert [each.data for each in seen] == [b"done\n"] * 3
    assert (tmp_path / "count").read_text() == "x\n"


async def test_two_wrappers_never_both_run_the_command(tmp_path: Path) -> None:
    """Eight wrappers race for one directory, and the file `started` lets one of them through."""
    (tmp_path / "run").mkdir()
    command: dict[str, object] = {"key": KEY, "argv": ["sh", "-c", "echo x >>count"], "cwd": str(tmp_path)}
    record = {**command, "environment": dict[str, str](), "time_limit_seconds": 10, "grace_seconds": 1}
    run_command.write_atomically(tmp_path / "run" / "command.json", record)
    wrapper = [sys.executable, run_command.__file__, str(tmp_path / "run")]
    done = await asyncio.gather(*(asyncio.to_thread(subprocess.run, wrapper, check=True) for _ in range(8)))
    assert len(done) == 8
    await eventually((tmp_path / "run" / "exit.json").exists)
    assert (tmp_path / "count").read_text() == "x\n"


async def test_the_death_of_the_wrapper_makes_the_run_lost(tmp_path: Path) -> None:
    """When the wrapper is killed nobody can know what the command did: that is said, and nothing is run again."""
    task = asyncio.create_task(run(tmp_path, "echo $PPID >wrapper; mv wrapper pid; echo x >>count; sleep 30"))
    await eventually((tmp_path / "count").exists)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    with pytest.raises(RunLost, match=KEY):
        await task
    for attach_only in (False, True):
        with pytest.raises(RunLost):
            await run(tmp_path, "echo x >>count", attach_only=attach_only)
    assert (tmp_path / "count").read_text() == "x\n"


@pytest.mark.parametrize("left", [(), ("lock",), ("lock", ".command.json.1.1")])
async def test_a_worker_that_died_before_the_start_is_made_good(tmp_path: Path, left: tuple[str, ...]) -> None:
    """A directory in which no wrapper ever claimed the run is safe to start in."""
    directory = run_directory(tmp_path / "runs", KEY)
    directory.mkdir(parents=True)
    for name in left:
        (directory / name).touch()
    assert (await run(tmp_path, "echo done")).last_lines == ("done",)


async def test_attaching_never_starts(tmp_path: Path) -> None:
    """Whoever only wants to attach learns that nothing was started, and nothing is."""
    with pytest.raises(RunNotStarted, match="never started"):
        await run(tmp_path, "touch ran", attach_only=True)
    assert not run_directory(tmp_path / "runs", KEY).exists()
    assert not (tmp_path / "ran").exists()


async def test_a_wrapper_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    """A damaged directory is told with the wrapper's last words, and not tried for ever."""
    directory = run_directory(tmp_path / "runs", KEY)
    directory.mkdir(parents=True)
    (directory / "command.json").write_text("{")
    with pytest.raises(RunError, match="could not be started: json"):
        await run(tmp_path, "touch ran")
    assert not (tmp_path / "ran").exists()


async def test_a_command_that_takes_too_long_is_asked_to_end(tmp_path: Path) -> None:
    """At its limit a command gets SIGTERM and may still clean up; its own exit code is kept beside `timed_out`."""
    command = shell(tmp_path, "trap 'echo cleaned; exit 5' TERM; echo begun; while :; do sleep 0.01; done", limit=0.3)
    result = await run(tmp_path, command)
    assert (result.exit_code, result.timed_out, result.last_lines[-1]) == (5, True, "cleaned")


async def test_a_command_that_ignores_that_is_killed_with_its_children(tmp_path: Path) -> None:
    """After the grace the whole group gets SIGKILL, and no child goes on writing."""
    script = "trap '' TERM; (while :; do echo x >>beat; sleep 0.01; done) & while :; do sleep 0.01; done"
    result = await run(tmp_path, shell(tmp_path, script, limit=0.3, grace=0.1))
    assert (result.exit_code, result.signal, result.timed_out) == (None, signal.SIGKILL, True)
    (tmp_path / "beat").unlink()
    with pytest.raises(AssertionError, match="did not happen"):
        await eventually((tmp_path / "beat").exists, seconds=0.2)


async def test_a_wrapper_that_is_told_to_stop_passes_it_on(tmp_path: Path) -> None:
    """A machine that shuts down ends the command too, and the record says by which signal."""
    task = asyncio.create_task(run(tmp_path, "echo $PPID >wrapper; mv wrapper pid; exec sleep 30"))
    await eventually((tmp_path / "pid").exists)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    result = await task
    assert (result.exit_code, result.signal, result.timed_out) == (None, signal.SIGTERM, False)


async def test_a_daemon_that_stays_does_not_hold_the_result(tmp_path: Path) -> None:
    """The end of the command counts, not that of a process which it left behind with its output open."""
    result = await run(tmp_path, "(until [ -e go ]; do sleep 0.01; done; touch gone) & echo done")
    assert (result.exit_code, result.last_lines) == (0, ("done",))
    (tmp_path / "go").touch()
    await eventually((tmp_path / "gone").exists)


async def test_the_bots_secrets_do_not_reach_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command gets a short list of variables, its key and what was added, and no token or key of the bot."""
    for name in ("SLACK_BOT_TOKEN", "ANTHROPIC_API_KEY", "SECRET_KEY", "REDIS_URL", "PYTHONPATH"):
        monkeypatch.setenv(name, "made-up-secret")
    monkeypatch.setenv("TZ", "UTC")
    seen = Seen()
    command = Command(("env",), tmp_path, 10, environment={"COLOUR": "blue"})
    await run(tmp_path, command, seen=seen)
    variables = dict(line.split("=", 1) for line in seen.data.decode().splitlines())
    assert b"made-up-secret" not in seen.data
    assert set(variables) <= {*run_command.INHERITED, "COLOUR", "SWITCHBOARD_RUN"}
    assert (variables["SWITCHBOARD_RUN"], variables["COLOUR"], variables["TZ"]) == (KEY, "blue", "UTC")
    assert variables["PATH"] == os.environ["PATH"]
    files = b"".join(path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file())
    assert b"made-up-secret" not in files


async def test_words_are_not_read_by_a_shell(tmp_path: Path) -> None:
    """Each word is one argument, whatever it holds."""
    seen = Seen()
    await run(tmp_path, Command(("printf", "%s|", "a b", "$(touch ran)", "; touch ran", "*"), tmp_path, 10), seen=seen)
    assert seen.data == b"a b|$(touch ran)|; touch ran|*|"
    assert not (tmp_path / "ran").exists()


async def test_endless_output_is_cut_in_the_middle(tmp_path: Path) -> None:
    """Of three MiB the first is kept, then a mark says how much is missing, and the last lines are there."""
    seen = Seen()
    result = await run(tmp_path, "echo first; head -c 3145728 /dev/zero | tr '\\0' 'x'; echo; echo last", seen=seen)
    assert result.output_bytes == 3_145_728 + len("first\n\nlast\n")
    assert seen.data.startswith(b"first\nxxx")
    head, mark = seen.data[: run_command.HEAD_BYTES], seen.data[run_command.HEAD_BYTES :]
    cut = result.output_bytes - run_command.HEAD_BYTES - run_command.TAIL_BYTES
    assert set(head[6:]) == {ord("x")}
    assert mark.startswith(f"\n[… {cut} bytes cut …]\nxxx".encode())
    assert result.last_lines[-1] == "last"


@pytest.mark.parametrize(
    ("words", "exit_code", "complaint"),
    [(("./none",), 127, "No such file"), (("./plain",), 126, "Permission denied"), (("sh", "a\0b"), 126, "null byte")],
)
async def test_a_program_that_cannot_start_is_a_result(
    tmp_path: Path, words: tuple[str, ...], exit_code: int, complaint: str
) -> None:
    """A missing program is not a lost run: the record has the shell's number and a line that says why."""
    (tmp_path / "plain").touch(mode=0o644)
    result = await run(tmp_path, Command(words, tmp_path, 10))
    assert result.exit_code == exit_code
    assert complaint in result.last_lines[-1]


def test_lines_are_shown_as_a_person_saw_them() -> None:
    """Colours, titles, progress bars and control characters are gone; tabs are spaces; blank ends are cut."""
    text = "\x1b]0;title\x07\x1b[1;31mred\x1b[0m\n10 %\r100 %\r\na\tb\x00\x08\u202e\n\n\n"
    assert readable_lines(text) == ("red", "100 %", "a   b")
    assert readable_lines("") == ()


def test_the_last_lines_are_bounded() -> None:
    """At most twenty lines, 400 characters in a line and 2,000 in all, and always the newest."""
    assert readable_lines("\n".join(map(str, range(100)))) == tuple(map(str, range(80, 100)))
    (line,) = readable_lines("x" * 10_000)
    assert (len(line), line[-1]) == (400, "…")
    lines = readable_lines("\n".join(f"{number} " + "y" * 1_000 for number in range(100)))
    assert sum(map(len, lines)) <= 2_000
    assert lines[-1].startswith("99 ")


def test_a_key_has_a_directory_of_its_own(tmp_path: Path) -> None:
    """Keys with slashes and dots stay below the runs, and two keys never share a directory."""
    one, two = run_directory(tmp_path, "../../etc"), run_directory(tmp_path, "..")
    assert one.parent == two.parent == tmp_path
    assert one != two
    with pytest.raises(ValueError, match="at least one word"):
        Command((), tmp_path, 1)


async def test_the_record_is_for_operators_too(tmp_path: Path) -> None:
    """The directory is private and says what was run under which key."""
    await run(tmp_path, "exit 0")
    directory = run_directory(tmp_path / "runs", KEY)
    command = json.loads((directory / "command.json").read_text())
    assert (command["key"], command["argv"], command["cwd"]) == (KEY, ["sh", "-c", "exit 0"], str(tmp_path))
    assert directory.stat().st_mode & 0o077 == 0
