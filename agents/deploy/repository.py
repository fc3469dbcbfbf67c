"""A local mirror of the repository that is deployed from, and the questions that the deploy agent asks of it.

A reference that came from a person or a model is checked before git sees it, and texts of the repository leave here
cleaned and cut. It never pushes.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
import tempfile
import unicodedata
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agents.deploy.git import Git, RepositoryError, clean

_LOG: Final = ("log", "-z", "--format=%H%x00%h%x00%an%x00%at%x00%s", "--no-show-signature", "--no-color", "--no-notes")
_FULL_SHA: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MAXIMUM: Final = 200  # entries in a list, and characters in a text
_REMEMBERED: Final = 1_000  # commits
# What git itself refuses in a name, and the marks that a shell gives a meaning, because references end up in scripts.
_FORBIDDEN: Final = re.compile(r"""[\s~^:?*\[\\$`;&|<>()'"!{}]|\.\.|@\{|//|/\.|\A[-./]|[./]\Z|\A@?\Z""")


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit: full and short sha, author's name (<= 80 characters), UTC author date, subject (<= 200 characters)."""

    sha: str
    short: str
    author: str
    authored_at: datetime
    subject: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag's name and the commit that it leads to, annotated or not."""

    name: str
    commit: Commit


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changes when `head` takes the place of `base`.

    `ahead` counts the commits that only `head` has, `behind` those that only `base` has and that would be undone;
    `commits` and `undone` are the newest of each, newest first.
    """

    ahead: int
    behind: int
    commits: tuple[Commit, ...]
    undone: tuple[Commit, ...]
    files_changed: int
    insertions: int
    deletions: int

    @property
    def is_ancestor(self) -> bool:
        """Whether `base` is `head` or an ancestor of it: nothing would be undone."""
        return self.behind == 0

    @property
    def older(self) -> bool:
        """Whether `head` is a true ancestor of `base`: a step back."""
        return self.ahead == 0 < self.behind


class Repository:
    """A bare mirror of the branches and tags at `url` (any path or URL that git takes), kept below `cache`.

    Any number of tasks and workers of one host may share the cache. Pull-request refs are not mirrored: they hold what
    strangers pushed, and a commit that was never fetched cannot be deployed by its sha.
    Every method raises `RepositoryError`, and clones first when there is no mirror yet.
    """

    def __init__(self, url: str, cache: Path, *, transfer_seconds: float = 600, read_seconds: float = 30) -> None:
        self._git = Git(url, cache, limit_seconds=read_seconds)
        self.url = self._git.url
        """The address without its credentials."""
        self._mirror = cache.resolve() / (hashlib.sha256(self.url.encode()).hexdigest()[:16] + ".git")
        self._known: dict[str, Commit] = {}  # by sha: a commit never changes
        self._lock = asyncio.Lock()
        self._transfer_seconds = transfer_seconds

    async def refresh(self) -> None:
        """Fetch branches and tags; those that are gone or were moved upstream are gone or moved here too."""
        async with self._exclusive():
            if not await self._clone():
                flags = ("--prune", "--force", "--quiet", "--no-tags", "--no-write-fetch-head")
                refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
                fetch = (f"--git-dir={self._mirror}", "fetch", *flags, "--", self.url, *refs)
                await self._git.run(*fetch, seconds=self._transfer_seconds)

    async def tags(self, limit: int = 20) -> tuple[Tag, ...]:
        """The newest tags first, by creation date, then by version. Tags that `resolve` would refuse are left out."""
        limit = _bounded(limit)
        order = ("--sort=-version:refname", "--sort=-creatordate")
        command = ("for-each-ref", *order, f"--count={limit + 20}", "--format=%(refname)", "refs/tags")
        refs = [ref for ref in (await self._read(*command)).split("\n") if _is_name(ref.removeprefix("refs/tags/"))]
        found = [(ref, sha) for ref, sha in zip(refs, await self._peel(refs), strict=True) if sha][:limit]
        commits = await self._described([sha for _, sha in found])
        return tuple(
            Tag(ref.removeprefix("refs/tags/"), commit) for (ref, _), commit in zip(found, commits, strict=True)
        )

    async def resolve(self, ref: str) -> Commit:
        """The one commit that a tag, a branch, or a full or short sha means; what could mean two is refused."""
        if not _is_name(ref):
            rule = "give a plain name or a sha, without spaces, a leading dash or special characters"
            raise RepositoryError(f'"{clean(ref, 60)}" is not the name of a tag, branch or commit: {rule}.')
        if _FULL_SHA.fullmatch(ref.lower()):  # a branch may be named like a sha; a full sha means the commit itself
            names = {"commit": ref.lower()}
        else:
            names = {"tag": f"refs/tags/{ref}", "branch": f"refs/heads/{ref}"}
            if re.fullmatch(r"[0-9a-fA-F]{4,63}", ref):
                objects = await self._read("rev-parse", f"--disambiguate={ref.lower()}")
                names |= {f"commit {number}": sha for number, sha in enumerate(objects.split())}
        found = {kind: sha for kind, sha in zip(names, await self._peel(names.values()), strict=True) if sha}
        if len(shas := set(found.values())) > 1:
            choices = ", ".join(f"{sha[:12]} ({kind.split()[0]})" for kind, sha in list(found.items())[:5])
            raise RepositoryError(
                f'"{ref}" could mean {len(shas)} different commits: {choices}. Give one of these shas.'
            )
        if not shas:
            newest = ", ".join(tag.name for tag in await self.tags(3))
            hint = f"The newest tags are {newest}." if newest else "The repository has no tags."
            raise RepositoryError(f'There is no tag, branch or commit called "{ref}". {hint}')
        return (await self._described(list(shas)))[0]

    async def commits(self, since: str | None, until: str, limit: int = 20) -> tuple[tuple[Commit, ...], int]:
        """The newest commits first that `until` has and `since` lacks (full shas), and how many there are in all."""
        span = [_full(until), *([f"^{_full(since)}"] if since else [])]
        total = int(await self._read("rev-list", "--count", *span, "--"))
        return await self._commits(f"--max-count={_bounded(limit)}", *span), total

    async def compare(self, base: str, head: str, limit: int = 20) -> Comparison:
        """Compare two commits (full shas): the histories commit by commit, the files directly with each other."""
        counted = await self._read("rev-list", "--left-right", "--count", f"{_full(base)}...{_full(head)}", "--")
        behind, ahead = (int(number) for number in counted.split())
        newest = f"--max-count={_bounded(limit)}"
        commits = await self._commits(newest, head, f"^{base}") if ahead else ()
        undone = await self._commits(newest, base, f"^{head}") if behind else ()
        stat = await self._read("diff-tree", "-r", "-M", "--shortstat", base, head, "--")
        numbers = {what: int(number) for number, what in re.findall(r"(\d+) (file|insertion|deletion)", stat)}
        files, insertions, deletions = (numbers.get(what, 0) for what in ("file", "insertion", "deletion"))
        return Comparison(ahead, behind, commits, undone, files, insertions, deletions)

    async def stood_before(self, base: str, head: str) -> bool:
        """Whether `head` is older than `base` and on its line of first parents (full shas).

        That line is what the branch itself was, one merge after another. Inside of a branch that was merged there may
        be commits that nobody ever released, and that are in no later tree.
        """
        # How far the line goes until it comes to something that `head` has; that must be `head` itself.
        newer = int(await self._read("rev-list", "--first-parent", "--count", _full(base), f"^{_full(head)}", "--"))
        return newer > 0 and await self._peel([f"{base}~{newer}"]) == [head]

    async def checkout(self, sha: str, into: Path) -> None:
        """Make `into` a work tree of exactly this commit (full sha), with its history and without submodules.

        It appears in one step, complete and verified. A work tree that already stands there at this commit is left as
        it is, because a deploy may be running in it; anything else there is an error.
        """
        _full(sha)
        async with self._exclusive():  # or git could drop packs while they are being linked
            await self._clone()
            if await asyncio.to_thread(_occupied, into):
                if await self._head(into) != sha:
                    raise RepositoryError(f"{into.name} already holds something else than commit {sha[:12]}.")
                return
            with tempfile.TemporaryDirectory(prefix=f".{into.name}.", dir=into.parent) as temporary:
                tree = f"{temporary}/tree"
                # Linked, not shared: a mirror that drops commits later must not pull the files from under a deploy.
                flags = ("--local", "--no-checkout", "--quiet", "--template=")
                await self._git.run("clone", *flags, "--", str(self._mirror), tree, seconds=self._transfer_seconds)
                await self._git.run("-C", tree, "remote", "set-url", "origin", self.url)
                flags = ("--detach", "--force", "--quiet")
                await self._git.run("-C", tree, "checkout", *flags, sha, "--", seconds=self._transfer_seconds)
                if await self._head(Path(tree)) != sha:
                    raise RepositoryError(f"The work tree is not at commit {sha[:12]} after its checkout.")
                await asyncio.to_thread(os.replace, tree, into)

    async def _head(self, tree: Path) -> str:
        return (await self._git.run(f"--git-dir={tree / '.git'}", "rev-parse", "--verify", "HEAD")).strip()

    async def _clone(self) -> bool:
        """Clone when there is no mirror yet, and say whether that was so. The caller holds the lock."""
        if await asyncio.to_thread(self._mirror.exists):
            return False
        with tempfile.TemporaryDirectory(prefix=".clone-", dir=self._mirror.parent) as temporary:
            flags = ("--bare", "--no-local", "--quiet", "--template=")
            await self._git.run("clone", *flags, "--", self.url, f"{temporary}/git", seconds=self._transfer_seconds)
            await asyncio.to_thread(os.replace, f"{temporary}/git", self._mirror)
        return True

    @contextlib.asynccontextmanager
    async def _exclusive(self) -> AsyncGenerator[None]:
        async with self._lock:
            with contextlib.ExitStack() as stack:
                stack.callback(os.close, file := await asyncio.to_thread(_lock_file, self._mirror.with_suffix(".lock")))
                deadline = asyncio.get_running_loop().time() + self._transfer_seconds
                while not _locked(file):  # polled: a thread that is blocked in flock() cannot be cancelled
                    if asyncio.get_running_loop().time() > deadline:
                        raise RepositoryError("Another worker is busy with the repository; try again later.")
                    await asyncio.sleep(0.02)
                yield

    async def _peel(self, names: Iterable[str]) -> list[str | None]:
        """The full sha of the commit that each name leads to, None for what is not there or is no commit."""
        asked = "".join(f"{name}^{{commit}}\n" for name in names)
        answers = await self._read("cat-file", "--batch-check=%(objectname)", stdin=asked)
        return [line if _FULL_SHA.fullmatch(line) else None for line in answers.splitlines()]

    async def _described(self, shas: list[str]) -> list[Commit]:
        """The commits with these full shas, which are in the mirror; git is asked for those that it was never asked."""
        known = {sha: self._known[sha] for sha in shas if sha in self._known}
        if new := [sha for sha in dict.fromkeys(shas) if sha not in known]:  # no argument would mean HEAD
            known |= {commit.sha: commit for commit in await self._commits("--no-walk", *new)}
            if len(self._known) > _REMEMBERED:
                self._known.clear()
            self._known |= known
        return [known[sha] for sha in shas]

    async def _commits(self, *arguments: str) -> tuple[Commit, ...]:
        fields = (await self._read(*_LOG, *arguments, "--")).split("\0")
        return tuple(_commit(*fields[n : n + 5]) for n in range(0, len(fields) - 4, 5))

    async def _read(self, *arguments: str, stdin: str = "") -> str:
        if not await asyncio.to_thread(self._mirror.exists):
            async with self._exclusive():
                await self._clone()
        return await self._git.run(f"--git-dir={self._mirror}", *arguments, stdin=stdin)


def _is_name(ref: str) -> bool:
    """Whether git may see this reference: `refs/heads/<ref>` is then one plain name and nothing else."""
    printable = not any(unicodedata.category(letter)[0] in "CZ" for letter in ref)
    return printable and len(ref) <= _MAXIMUM and not _FORBIDDEN.search(ref)


def _full(sha: str) -> str:
    if not _FULL_SHA.fullmatch(sha):
        raise RepositoryError(f'"{clean(sha, 60)}" is not a full commit sha; resolve it first.')
    return sha


def _bounded(limit: int) -> int:
    return max(1, min(limit, _MAXIMUM))


def _commit(sha: str, short: str, author: str, seconds: str, subject: str) -> Commit:
    try:
        authored_at = datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):  # a commit may claim any date
        authored_at = datetime.fromtimestamp(0, UTC)
    return Commit(sha, short, clean(author, 80), authored_at, clean(subject, _MAXIMUM))


def _occupied(path: Path) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.exists() and any(path.iterdir())


def _lock_file(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
