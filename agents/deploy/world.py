"""What the deploy agent works on: the repository, the deploy file, and what runs where. It decides nothing.

References are resolved to commits here, `@production` to what runs on production; texts for people are made here too,
so that every tool says the same thing in the same words.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agents.deploy.command import readable_lines
from agents.deploy.deploy_file import ConfigurationError, DeployFile, UnknownEnvironmentError, load
from agents.deploy.environments import Environment
from agents.deploy.repository import Commit, Repository, RepositoryError
from agents.deploy.run_command import INHERITED
from bot.core.tool import ToolError

_CURRENT_SECONDS = 30.0
_DEFAULT_BRANCHES = ("main", "master", "trunk")


@dataclass(frozen=True)
class World:
    """Where the deploy agent's things are."""

    repository: Repository | None
    """None where DEPLOY_REPO is not set."""
    deploy_file: Path
    data_dir: Path

    @property
    def runs(self) -> Path:
        """Records of deploy commands, one directory a run."""
        return self.data_dir / "runs"

    @property
    def checkouts(self) -> Path:
        """Work trees of commits that are being deployed."""
        return self.data_dir / "checkouts"

    def source(self) -> Repository:
        """The repository. Raises ToolError where none is set."""
        if self.repository is None:
            raise ToolError("No repository is configured: DEPLOY_REPO is not set. Whoever runs the bot has to set it.")
        return self.repository

    async def file(self) -> DeployFile:
        """The deploy file as it is now. Raises ToolError."""
        try:
            return await asyncio.to_thread(load, self.deploy_file)
        except ConfigurationError as error:
            raise ToolError(f"The deploy file cannot be used. {error}") from error

    async def environment(self, name: str) -> Environment:
        """One environment. Raises ToolError that lists those that there are."""
        try:
            return (await self.file()).environment(name)
        except UnknownEnvironmentError as error:
            raise ToolError(str(error)) from error

    async def resolve(self, reference: str) -> Commit:
        """The commit of a tag, branch, sha, or of what runs somewhere (`@production`). Raises ToolError."""
        if reference.startswith("@"):
            running = await self.current(await self.environment(reference[1:]))
            if running is None:
                raise ToolError(f"Nothing is known to run on {reference[1:]}.")
            return running
        try:
            return await self.source().resolve(reference)
        except RepositoryError as error:
            raise ToolError(str(error)) from error

    async def newest(self) -> Commit:
        """The tip of the default branch. Raises ToolError."""
        for branch in _DEFAULT_BRANCHES:
            try:
                return await self.source().resolve(branch)
            except RepositoryError:
                continue
        raise ToolError(f"The repository has none of the branches {', '.join(_DEFAULT_BRANCHES)}; name one.")

    async def current(self, environment: Environment) -> Commit | None:
        """What runs there: asked of the environment itself. None: nothing yet. Raises ToolError."""
        words = environment.current_command()
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                cwd=self.deploy_file.parent,
                env=inherited,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise ToolError(f"What runs on {environment.name} cannot be asked: {error.strerror}.") from error
        try:
            async with asyncio.timeout(_CURRENT_SECONDS):
                output, complaint = await process.communicate()
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise ToolError(f"Asking what runs on {environment.name} took too long.") from error
        if process.returncode:
            last = " ".join(readable_lines(complaint.decode(errors="replace"))[-3:])
            raise ToolError(f"Asking what runs on {environment.name} failed ({process.returncode}): {last}")
        reference = output.decode(errors="replace").strip()
        if not reference:
            return None
        try:
            return await self.source().resolve(reference)
        except RepositoryError as error:
            raise ToolError(f"{environment.name} runs something that the repository does not know: {error}") from error

    async def tag_names(self) -> dict[str, str]:
        """Commit to the newest tag that names it."""
        names: dict[str, str] = {}
        for tag in await self.source().tags(100):
            names.setdefault(tag.commit.sha, tag.name)
        return names


def day(at: datetime) -> str:
    """A date and time for people."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def named(commit: Commit, tags: dict[str, str]) -> str:
    """`v1.4.0 (abc1234)`, or only the short sha."""
    tag = tags.get(commit.sha)
    return f"{tag} ({commit.short})" if tag else commit.short


def listed(commits: Sequence[Commit], total: int) -> str:
    """One line a commit, newest first, and how many more there are."""
    lines = [
        f"{commit.short}  {commit.subject}  — {commit.author}, {commit.authored_at:%Y-%m-%d}" for commit in commits
    ]
    if total > len(commits):
        lines.append(f"… and {total - len(commits)} more")
    return "\n".join(lines)
