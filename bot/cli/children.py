"""The processes that `bot dev` starts, watches and stops."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import typer
from rich.console import Console

Children = Mapping[str, subprocess.Popen[bytes]]

_START_SECONDS = 45.0
_STOP_SECONDS = 30.0
_LAST_LINES = 8


def start(name: str, words: Sequence[str], environment: Mapping[str, str], logs: Path) -> subprocess.Popen[bytes]:
    """`bot` with these words, its output in a log of this name."""
    logs.mkdir(exist_ok=True)
    with (logs / f"{name}.log").open("ab") as log:
        # Its own session: Ctrl-C reaches this process only, which then stops the others in order.
        return subprocess.Popen(
            [sys.executable, "-m", "bot", *words],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait_until_up(children: Children, addresses: Sequence[str], data_dir: Path, console: Console) -> str | None:
    """Wait until all of these answer; the first that did not, if so. Exits where a process ends meanwhile."""
    wanted = list(addresses)
    deadline = time.monotonic() + _START_SECONDS
    while wanted and time.monotonic() < deadline:
        report_dead(children, data_dir, console)
        wanted = [address for address in wanted if not _answers(address)]
        time.sleep(0.05)
    return wanted[0] if wanted else None


def watch(children: Children, data_dir: Path, console: Console) -> None:
    """Exit as soon as one of them has stopped."""
    while True:
        report_dead(children, data_dir, console)
        time.sleep(0.5)


def report_dead(children: Children, data_dir: Path, console: Console) -> None:
    """Show the last words of a process that has stopped, and exit."""
    for name, child in children.items():
        if child.poll() is not None:
            log = data_dir / "logs" / f"{name}.log"
            console.print(f"[red]{name} has stopped ({child.returncode}).[/] The end of {log}:")
            last = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
            console.print("\n".join(last), markup=False, highlight=False)
            raise typer.Exit(1)


def stop(children: Children) -> None:
    """Let each come to its end; what does not is killed."""
    for child in children.values():
        if child.poll() is None:
            child.terminate()
    for child in children.values():
        try:
            child.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()


def _answers(address: str) -> bool:
    place = urlsplit(address)
    if place.scheme == "tcp":
        try:
            socket.create_connection((str(place.hostname), place.port or 0), timeout=2).close()
        except OSError:
            return False
        return True
    try:
        return httpx.get(address, timeout=2, follow_redirects=True, trust_env=False).is_success
    except httpx.HTTPError:
        return False
