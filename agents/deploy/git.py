"""Runs git as a child process: argument lists, a small environment, a time limit, and no credentials in what it says.

It never pushes, never runs a hook, and never lets the credentials of a URL into a message, an argument list or a file.
"""

import asyncio
import contextlib
import os
import re
import signal
import unicodedata
from pathlib import Path
from typing import Final
from urllib.parse import unquote

# The user's own git configuration stays in force, because credential helpers, proxies and certificate bundles live
# there: GIT_CONFIG_GLOBAL=/dev/null would lock private repositories out. What of it could change a result or start
# something unexpected is overruled setting by setting. `ext::` URLs are command lines; v2.0.0-rc1 precedes v2.0.0.
_CONFIG: Final = (
    "protocol.ext.allow=never",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.abbrev=7",
    "core.autocrlf=false",
    "gc.autoDetach=false",
    "maintenance.autoDetach=false",
    "i18n.logOutputEncoding=UTF-8",
    "versionsort.suffix=-",
)
# What transports and credential helpers need. The bot's tokens are not here, nor is GIT_DIR and its kin, which would
# point every call at another repository when the bot is started from a git hook.
_INHERITED: Final = re.compile(
    r"PATH|HOME|USER|LOGNAME|TMPDIR|TZ|XDG_\w+|DBUS_SESSION_BUS_ADDRESS|SSH_AUTH_SOCK|(https?|all|no)_proxy|SSL_CERT_\w+"
    r"|GH_TOKEN|GITHUB_TOKEN|GIT_SSH\w*|GIT_ASKPASS|GIT_SSL_\w+|GIT_CONFIG_(GLOBAL|SYSTEM|NOSYSTEM)",
    re.IGNORECASE,
)
_TOKEN: Final = 8  # characters from which on a user name may be a token


class RepositoryError(Exception):
    """Something that the repository cannot do or does not have, worded for a person and for the model."""


class Git:
    """Git for one address. Runs in `home`, where mirrors lie."""

    def __init__(self, url: str, home: Path, *, limit_seconds: float) -> None:
        if not url.isprintable() or not url or url.startswith("-"):
            raise RepositoryError("The repository's address is empty, starts with a dash or has control characters.")
        local = Path(url).expanduser()
        self._secret_url = str(local.resolve()) if local.exists() else url
        web = re.fullmatch(r"(?i)(https?://)([^/]*)@(.*)", self._secret_url)
        self.url = web[1] + web[3] if web else self._secret_url
        """The address without its credentials."""
        user, _, password = web[2].partition(":") if web else ("", "", "")
        # A user name may be a token too, but "git" or "bot" is none and stands in many messages.
        words = {self._secret_url, web[2], password, user if len(user) >= _TOKEN else ""} - {""} if web else set[str]()
        self._secrets = sorted(words | {unquote(word) for word in words}, key=len, reverse=True)
        self._home = home.resolve()
        self._limit_seconds = limit_seconds

    async def run(self, *arguments: str, stdin: str = "", seconds: float | None = None) -> str:
        """Run git and return what it prints; a failure, or more than `seconds`, is a `RepositoryError`."""
        command = ["git", *(word for setting in _CONFIG for word in ("-c", setting)), *arguments]
        pipe, seconds = asyncio.subprocess.PIPE, seconds or self._limit_seconds
        where, environment = self._home, self._environment()
        try:
            # A session of its own: no terminal that ssh could ask, and one group to end with all its helpers.
            process = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=where, env=environment, start_new_session=True
            )
        except FileNotFoundError:
            raise RepositoryError("git is not installed on this machine.") from None
        try:
            output, errors = await asyncio.wait_for(process.communicate(stdin.encode()), seconds)
        except TimeoutError:
            raise RepositoryError(f"git did not finish within {seconds:g} seconds.") from None
        finally:
            if process.returncode is None:
                await _end(process)
        if process.returncode:
            reason = self._redact(errors.decode(errors="replace"))
            raise RepositoryError(f"git failed on {self._redact(self.url)}: {reason}")
        return output.decode(errors="replace")

    def _environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name)}
        if self._secrets:
            # git itself puts the credentials back: they stay out of its argument list and of the mirror's config file.
            rule = {"GIT_CONFIG_KEY_0": f"url.{self._secret_url}.insteadOf", "GIT_CONFIG_VALUE_0": self.url}
            environment |= {"GIT_CONFIG_COUNT": "1", **rule}
        # The ceiling: a call never finds a repository that the cache happens to lie in, such as the bot's own.
        ceiling = str(self._home.parent)
        return environment | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_CEILING_DIRECTORIES": ceiling}

    def _redact(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return clean(re.sub(r"://[^/\s]*@", "://…@", text), 300)


def clean(text: str, limit: int) -> str:
    """One line without control, format (direction marks) and unassigned characters, at most `limit` characters long."""
    spaced = "".join(" " if letter.isspace() else letter for letter in text[: limit * 20])
    line = " ".join("".join(letter for letter in spaced if unicodedata.category(letter)[0] != "C").split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process group; SIGTERM first, because git then removes its lock files."""
    try:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 2)
    finally:  # also where whoever waits is cancelled again meanwhile
        _signal(process, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), 2)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
