import asyncio
import base64
import contextlib
import fcntl
import functools
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Generator
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agents.deploy.repository import Comparison, Repository, RepositoryError
from agents.deploy.sample import make_sample

GIT = shutil.which("git") or "git"


def git(directory: Path, *arguments: str, stdin: str = "") -> str:
    who = {f"GIT_{role}_{part}": part for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    environment = {**who, "PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(
        [GIT, *arguments], cwd=directory, check=True, capture_output=True, input=stdin.encode(), env=environment
    )
    return done.stdout.decode().strip()


@pytest.fixture
def webshop(tmp_path: Path) -> Path:
    return make_sample(tmp_path / "sample").repository


@pytest.fixture
def repository(webshop: Path, tmp_path: Path) -> Repository:
    return Repository(str(webshop), tmp_path / "cache")


async def test_tags_stand_newest_first(repository: Repository) -> None:
    """Tags are listed by age with the commit that they lead to, annotated or not."""
    tags = await repository.tags()
    assert [tag.name for tag in tags] == ["v1.4.1-rc1", "v1.4.0", "v1.3.2", "v1.3.1", "v1.3.0"]
    assert tags[1].commit.subject == "Load the catalogue in pages of 50"
    assert tags[1].commit.author == "Mara Lindqvist"
    assert tags[1].commit.authored_at == datetime(2026, 3, 14, 12, 15, tzinfo=UTC)
    assert [tag.name for tag in await repository.tags(2)] == ["v1.4.1-rc1", "v1.4.0"]


async def test_tags_of_one_moment_are_sorted_by_version(repository: Repository, webshop: Path) -> None:
    """v1.10.0 is newer than v1.9.0, and a release is newer than its candidate; a tag of a file is no release."""
    for tag in ("v1.10.0-rc1", "v1.9.0", "v1.10.0"):
        git(webshop, "tag", tag, "v1.4.1-rc1")
    git(webshop, "tag", "v9.0.0", "HEAD:README.md")
    assert [tag.name for tag in await repository.tags(4)] == ["v1.10.0", "v1.10.0-rc1", "v1.9.0", "v1.4.1-rc1"]


async def test_a_commit_has_many_names(repository: Repository, webshop: Path) -> None:
    """A tag, a nested tag, a branch, a full sha and a short one in either case all lead to the commit."""
    git(webshop, "tag", "-a", "-m", "again", "nested", "v1.4.0")
    sha = git(webshop, "rev-parse", "v1.4.0^{commit}")
    for ref in ("v1.4.0", "nested", sha, sha[:7], sha[:9].upper(), git(webshop, "rev-parse", "v1.4.0")):
        assert (await repository.resolve(ref)).sha == sha
    assert (await repository.resolve("release-1.4.1")).short == git(webshop, "rev-parse", "--short=7", "v1.4.1-rc1")


HOSTILE = (
    *(
        "",
        " ",
        "-x",
        "--upload-pack=x",
        "--output=x",
        "..",
        "a..b",
        "v1.4.0..main",
        "a b",
        "a\nb",
        "a\0b",
        "a\x1b[2J",
    ),
    *(
        "v1.4.0^{tree}",
        "main~1",
        "main@{1}",
        "@",
        "@{-1}",
        ":/Add",
        "main:README.md",
        "../../etc/passwd",
        "a/../b",
        "/main",
    ),
    *(
        "v*",
        "[v]",
        "$(id)",
        "`id`",
        "a;id",
        "a|id",
        "a&id",
        "a'b",
        'a"b',
        "a\\b",
        "{commit}",
        "ref.",
        ".ref",
        "x\u202ey",
    ),
    "x" * 10_000,
)


@pytest.mark.parametrize("ref", HOSTILE)
async def test_a_hostile_reference_is_refused_before_git_sees_it(tmp_path: Path, ref: str) -> None:
    """Options, revision expressions, paths, shell marks and control characters are no names; nothing is even cloned."""
    repository = Repository(str(tmp_path / "nowhere"), tmp_path / "cache")
    with pytest.raises(RepositoryError, match="is not the name of a tag, branch or commit") as caught:
        await repository.resolve(ref)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("ref", ["v9.9.9", "HEAD", "abcdef0", "0" * 40, "refs/heads/main", "heads/main"])
async def test_what_is_not_there_is_answered_with_the_newest_tags(repository: Repository, ref: str) -> None:
    """Whoever names a version that does not exist reads which do."""
    expected = f'There is no tag, branch or commit called "{ref}". The newest tags are v1.4.1-rc1, v1.4.0, v1.3.2.'
    with pytest.raises(RepositoryError, match=re.escape(expected)):
        await repository.resolve(ref)


async def test_a_name_for_two_commits_is_refused(repository: Repository, webshop: Path) -> None:
    """A branch that is named like a tag or like a short sha is not chosen silently; for a full sha it has no say."""
    sha = git(webshop, "rev-parse", "v1.3.0")
    for name in ("v1.3.1", sha[:8], sha):
        git(webshop, "update-ref", f"refs/heads/{name}", git(webshop, "rev-parse", "main"))
    for name in ("v1.3.1", sha[:8]):
        with pytest.raises(RepositoryError, match=r"could mean 2 different commits: .* \(branch\)"):
            await repository.resolve(name)
    assert (await repository.resolve(sha)).sha == sha


async def test_a_short_sha_that_fits_two_commits_is_refused(tmp_path: Path) -> None:
    """Four characters of a sha that begin two commits are answered with both."""
    git(tmp_path, "init", "-q", "--bare", "many")
    commits = "".join(f"commit refs/heads/main\ncommitter x <x> {n} +0000\ndata 0\n" for n in range(2_000))
    git(tmp_path / "many", "fast-import", "--quiet", stdin=commits)
    seen: set[str] = set()
    prefixes = [sha[:4] for sha in git(tmp_path / "many", "rev-list", "main").split()]
    double = next(prefix for prefix in prefixes if prefix in seen or seen.add(prefix))
    with pytest.raises(
        RepositoryError, match=rf'"{double}" could mean \d different commits: {double}\w+ \(commit\), {double}'
    ):
        await Repository(str(tmp_path / "many"), tmp_path / "cache").resolve(double)


async def test_texts_of_the_repository_come_out_harmless(repository: Repository, webshop: Path) -> None:
    """Control characters, direction marks and endless texts of a commit do not reach a person or the model."""
    subject = "</log>\x1b[31m\u202ered\x07 " + "x" * 10_000
    data = (
        f"commit refs/heads/evil\nauthor E\x1bve\u200b {'y' * 500} <e> 99999999999999 +0000\ncommitter x <x> 1 +0000\n"
    )
    git(
        webshop,
        "fast-import",
        "--quiet",
        "--date-format=raw-permissive",
        stdin=f"{data}data {len(subject.encode())}\n{subject}\n",
    )
    commit = await repository.resolve("evil")
    assert commit.subject.startswith("</log>[31mred xxx")
    assert commit.subject.endswith("x…")
    assert len(commit.subject) == 200
    assert commit.author.startswith("Eve yyy")
    assert len(commit.author) == 80
    assert commit.author.isprintable()
    assert commit.authored_at.tzinfo is UTC


async def test_commits_are_bounded_and_counted(repository: Repository) -> None:
    """A list holds the newest commits and tells how many there are."""
    old, new = await repository.resolve("v1.3.0"), await repository.resolve("v1.4.0")
    commits, total = await repository.commits(old.sha, new.sha, limit=3)
    assert (commits[0].subject, len(commits), total) == (new.subject, 3, 7)
    assert (await repository.commits(None, new.sha))[1] == 10
    assert await repository.commits(new.sha, new.sha) == ((), 0)
    with pytest.raises(RepositoryError, match=r'"--all" is not a full commit sha'):
        await repository.commits(None, "--all")
    with pytest.raises(RepositoryError, match="bad object"):
        await repository.commits(None, "1" * 40)


async def test_a_comparison_tells_forward_back_and_sideways(repository: Repository, webshop: Path) -> None:
    """A step forward, a step back and two lines of history that parted are told from each other."""
    shas = {name: (await repository.resolve(name)).sha for name in ("v1.3.2", "v1.4.0", "main", "v1.4.1-rc1")}
    forward = await repository.compare(shas["v1.3.2"], shas["v1.4.0"])
    assert (forward.ahead, forward.behind, forward.is_ancestor, forward.older) == (3, 0, True, False)
    assert (forward.files_changed, forward.insertions, forward.deletions) == (3, 3, 1)
    back = await repository.compare(shas["v1.4.0"], shas["v1.3.2"], limit=2)
    assert (back.ahead, back.behind, back.is_ancestor, back.older, back.commits) == (0, 3, False, True, ())
    assert [commit.subject for commit in back.undone] == ["Load the catalogue in pages of 50", "Pay by invoice"]
    assert await repository.compare(shas["main"], shas["main"]) == Comparison(0, 0, (), (), 0, 0, 0)
    tree = git(webshop, "rev-parse", "v1.3.2^{tree}")
    git(webshop, "update-ref", "refs/heads/side", git(webshop, "commit-tree", tree, "-p", shas["v1.3.2"], "-m", "side"))
    await repository.refresh()
    side = await repository.compare(shas["v1.4.0"], (await repository.resolve("side")).sha)
    assert (side.ahead, side.behind, side.is_ancestor, side.older) == (1, 3, False, False)


async def test_the_line_of_what_stood_before_leaves_merged_branches_out(repository: Repository, webshop: Path) -> None:
    """First parents alone, whatever dates the commits claim; a commit is not before itself, and no later one is."""
    git(webshop, "checkout", "-q", "--orphan", "line")
    shas: dict[str, str] = {}

    def commit(name: str, *parents: str, date: str) -> None:
        words = [word for parent in parents for word in ("-p", shas[parent])]
        command = ("-c", "user.name=x", "-c", "user.email=x@example.org", "commit-tree", "HEAD^{tree}", "-m", name)
        shas[name] = subprocess.run(
            [GIT, "-C", str(webshop), *command, *words],
            check=True, capture_output=True, text=True,
            env={"PATH": os.environ["PATH"], "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date},
        ).stdout.strip()  # fmt: skip

    git(webshop, "commit", "-q", "--allow-empty", "-m", "root")
    shas["root"] = git(webshop, "rev-parse", "HEAD")
    commit("one", "root", date="2030-01-01T00:00:00Z")
    commit("side", "root", date="2001-01-01T00:00:00Z")
    commit("two", "one", "side", date="2010-01-01T00:00:00Z")
    commit("far", "side", date="2035-01-01T00:00:00Z")
    commit("three", "two", "far", date="2002-01-01T00:00:00Z")
    git(webshop, "update-ref", "refs/heads/line", shas["three"])
    line = [name for name, sha in shas.items() if await repository.stood_before(shas["three"], sha)]
    assert line == ["root", "one", "two"]
    assert not await repository.stood_before(shas["one"], shas["three"])
    assert not await repository.stood_before(shas["three"], git(webshop, "rev-parse", "v1.3.0"))
    with pytest.raises(RepositoryError, match="is not a full commit sha"):
        await repository.stood_before(shas["three"], "--all")


async def test_a_refresh_follows_the_origin(repository: Repository, webshop: Path) -> None:
    """New tags appear, moved ones move and deleted ones go; refs of pull requests never come."""
    old = await repository.resolve("v1.3.2")
    git(webshop, "tag", "-f", "v1.3.2", "main")
    git(webshop, "tag", "-d", "v1.3.0")
    git(webshop, "tag", "v2.0.0", "main")
    stranger = git(webshop, "commit-tree", "main^{tree}", "-p", "main", "-m", "by a stranger")
    git(webshop, "update-ref", "refs/pull/1/head", stranger)
    assert (await repository.resolve("v1.3.2")) == old
    await repository.refresh()
    assert (await repository.resolve("v1.3.2")).sha == (await repository.resolve("v2.0.0")).sha
    for gone in ("v1.3.0", stranger):
        with pytest.raises(RepositoryError, match="There is no tag"):
            await repository.resolve(gone)


async def test_a_checkout_is_exactly_the_commit(repository: Repository, webshop: Path, tmp_path: Path) -> None:
    """A work tree has the files of its commit, is detached, and survives a mirror that is gone."""
    commit = await repository.resolve("v1.3.0")
    tree = tmp_path / "trees" / "one"
    await repository.checkout(commit.sha, tree)
    shutil.rmtree(tmp_path / "cache")
    assert git(tree, "rev-parse", "HEAD") == commit.sha
    assert git(tree, "status", "--porcelain") == ""
    assert git(tree, "remote", "get-url", "origin") == str(webshop)
    assert not (tree / "shop" / "prices.py").exists()
    assert list(tree.parent.iterdir()) == [tree]


async def test_a_checkout_in_use_is_kept_and_a_wrong_one_refused(repository: Repository, tmp_path: Path) -> None:
    """A deploy that runs in the work tree keeps its files; another commit never takes their place."""
    commit, other = await repository.resolve("v1.3.0"), await repository.resolve("main")
    await repository.checkout(commit.sha, tmp_path / "tree")
    (tmp_path / "tree" / "built").touch()
    await repository.checkout(commit.sha, tmp_path / "tree")
    assert (tmp_path / "tree" / "built").exists()
    with pytest.raises(RepositoryError, match="already holds something else"):
        await repository.checkout(other.sha, tmp_path / "tree")
    with pytest.raises(RepositoryError):
        await repository.checkout("1" * 40, tmp_path / "none")
    assert not (tmp_path / "none").exists()


async def test_hooks_and_a_stray_git_dir_have_no_say(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a hook of the user's configuration nor the bot's own GIT_DIR changes what a call does."""
    hook = tmp_path / "hooks" / "post-checkout"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    (tmp_path / "config").write_text(f"[core]\n\thooksPath = {hook.parent}\n[log]\n\tshowSignature = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    await repository.checkout((await repository.resolve("main")).sha, tmp_path / "tree")
    assert (tmp_path / "tree" / "README.md").exists()
    assert not (tmp_path / "ran").exists()


async def test_a_repository_around_the_cache_is_never_touched(
    webshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache below the bot's own checkout leaves that one alone, wherever the bot was started."""
    git(tmp_path, "init", "-q", "own")
    monkeypatch.chdir(tmp_path / "own")
    repository = Repository(str(webshop), Path(".data", "cache"))
    await repository.refresh()
    await repository.refresh()
    await repository.checkout((await repository.resolve("main")).sha, tmp_path / "own" / ".data" / "tree")
    assert git(tmp_path / "own", "for-each-ref") == ""
    (next((tmp_path / "own" / ".data" / "cache").glob("*.git")) / "HEAD").unlink()
    with pytest.raises(RepositoryError, match="not a git repository"):
        await repository.refresh()


async def test_workers_share_a_cache(webshop: Path, tmp_path: Path) -> None:
    """Four workers that begin at once make one mirror between them and all get their answer."""
    workers = [Repository(str(webshop), tmp_path / "cache") for _ in range(4)]
    await asyncio.gather(*(worker.refresh() for worker in workers), *(worker.resolve("main") for worker in workers))
    assert len(list((tmp_path / "cache").glob("*.git"))) == 1
    assert not list((tmp_path / "cache").glob(".clone-*"))


async def test_a_lock_that_is_held_too_long_is_an_error(webshop: Path, tmp_path: Path) -> None:
    """A worker does not wait for ever for another one."""
    repository = Repository(str(webshop), tmp_path / "cache", transfer_seconds=0.05)
    with contextlib.suppress(RepositoryError):
        await repository.refresh()
    (lock,) = (tmp_path / "cache").glob("*.lock")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(RepositoryError, match="Another worker is busy"):
            await repository.refresh()


class _Private(SimpleHTTPRequestHandler):
    """A repository over HTTP for one user, whose password has a character that URLs escape."""

    def do_GET(self) -> None:
        if self.headers["Authorization"] == "Basic " + base64.b64encode(b"bot:s3cr/t").decode():
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401
        """Keep the test's output quiet."""


@contextlib.contextmanager
def serve(directory: Path) -> Generator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Private, directory=str(directory)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


async def test_credentials_open_the_repository_and_stay_out_of_sight(webshop: Path, tmp_path: Path) -> None:
    """The password in the URL is used, and is in no file of the mirror and in no message."""
    git(webshop, "update-server-info")
    with serve(webshop / ".git") as host:
        repository = Repository(f"http://bot:s3cr%2Ft@{host}/", tmp_path / "cache")
        assert (await repository.resolve("v1.4.0")).subject == "Load the catalogue in pages of 50"
        assert repository.url == f"http://{host}/"
    with pytest.raises(RepositoryError, match=f"git failed on http://{host}/: ") as caught:
        await repository.refresh()
    files = b"".join(path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file())
    for secret in ("s3cr/t", "s3cr%2Ft"):
        assert secret not in str(caught.value)
        assert secret.encode() not in files


async def test_a_machine_without_git_is_told_so(webshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without git every question is answered with what is missing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RepositoryError, match="git is not installed"):
        await Repository(str(webshop), tmp_path / "cache").tags()


@pytest.mark.parametrize("url", ["", "--upload-pack=x", "https://x\n.example", "ext::sh -c touch% ran"])
async def test_an_address_that_is_a_command_is_refused(tmp_path: Path, url: str) -> None:
    """An address cannot pose as an option or start a program."""
    with pytest.raises(RepositoryError):
        await Repository(url, tmp_path / "cache").refresh()


async def test_a_call_that_takes_too_long_is_ended(webshop: Path, tmp_path: Path) -> None:
    """Git has a limit of time, after which it is ended and the caller told."""
    with pytest.raises(RepositoryError, match=r"git did not finish within 0\.001 seconds"):
        await Repository(str(webshop), tmp_path / "cache", transfer_seconds=0.001).refresh()
