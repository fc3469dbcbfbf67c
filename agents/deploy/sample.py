"""A sample to deploy without a repository of one's own: "webshop", its history, its environments and their scripts.

The same commits, with the same shas, come out on every machine and every time. What is already there is never
overwritten, so that a sample that somebody tries things out with stays as it is; delete the directory to start afresh.
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

_MARA: Final = "Mara Lindqvist <mara@webshop.example>"
_TOMAS: Final = "Tomás Okafor <tomas@webshop.example>"
_PRIYA: Final = "Priya Raman <priya@webshop.example>"
_FIRST: Final = datetime(2026, 3, 2, 9, 15, tzinfo=UTC)
_FAILURE: Final = 'error: migration 0042 failed: column "email" already exists\n'


@dataclass(frozen=True, slots=True)
class Sample:
    """Where a sample is: what DEPLOY_REPO and DEPLOY_FILE are set to."""

    repository: Path
    deploy_file: Path


@dataclass(frozen=True, slots=True)
class _Step:
    """A commit: hours after the first one, author, message, files (path and text), tag, whether it is a candidate."""

    hours: int
    author: str
    message: str
    files: tuple[tuple[str, str], ...]
    tag: str = ""
    candidate: bool = False


_HISTORY: Final = (
    _Step(0, _MARA, "Start the webshop", (("README.md", "# Webshop\n"), ("shop/app.py", "ROUTES = ['/']\n"))),
    _Step(26, _TOMAS, "Add the product catalogue", (("shop/catalogue.py", "PAGE_SIZE = 20\n"),)),
    _Step(51, _PRIYA, "Add the basket", (("shop/basket.py", "LIFE_HOURS = 24\n"),), "v1.3.0"),
    _Step(75, _TOMAS, "Fix rounding of prices with tax", (("shop/prices.py", "ROUND = 'half-even'\n"),)),
    _Step(98, _MARA, "Show delivery dates in the local time zone", (("shop/dates.py", "ZONE = 'local'\n"),), "v1.3.1"),
    _Step(170, _PRIYA, "Keep the basket for 14 days", (("shop/basket.py", "LIFE_HOURS = 336\n"),)),
    _Step(194, _MARA, "Limit sign-in attempts to 5 a minute", (("shop/signin.py", "ATTEMPTS = 5\n"),), "v1.3.2"),
    _Step(240, _TOMAS, "Search by brand", (("shop/search.py", "FIELDS = ['name', 'brand']\n"),)),
    _Step(266, _PRIYA, "Pay by invoice", (("shop/payment.py", "METHODS = ['card', 'invoice']\n"),)),
    _Step(291, _MARA, "Load the catalogue in pages of 50", (("shop/catalogue.py", "PAGE_SIZE = 50\n"),), "v1.4.0"),
    _Step(338, _TOMAS, "Retry a payment that timed out, once", (("shop/payment.py", "RETRIES = 1\n"),)),
    _Step(
        363,
        _PRIYA,
        "Move customers' addresses to a table of their own",
        (("BROKEN", _FAILURE), ("migrations/0042.sql", "ALTER TABLE customer ADD COLUMN email text;\n")),
        "v1.4.1-rc1",
        candidate=True,
    ),
)

_DEPLOY_TOML: Final = """\
# What may be deployed where. Words that start with a dash are options of the scripts beside this file.

[service]
name = "webshop"

[environments.staging]
deploy = ["./deploy.sh", "{environment}", "{commit}", "{reference}", "--seconds", "@SECONDS@"]
current = ["./current.sh", "{environment}"]
risk = "low"
requesters = ["engineer", "approver"]
approvals = 0
time_limit_seconds = 120

[environments.production]
deploy = ["./deploy.sh", "{environment}", "{commit}", "{reference}", "--seconds", "@SECONDS@"]
current = ["./current.sh", "{environment}"]
risk = "high"
approvers = ["approver"]
requesters = ["engineer", "approver"]
approvals = 1
four_eyes = true
# A text message may approve nothing of high risk unless it is named here: a sender's number can be forged.
channels = ["slack", "email", "sms", "api"]
approval_life_seconds = 3600
time_limit_seconds = 300
"""

_DEPLOY_SH: Final = """\
#!/bin/sh
# deploy.sh ENVIRONMENT COMMIT REFERENCE [--seconds N]: "deploys" the work tree that it is started in.
set -eu
LC_ALL=C
export LC_ALL
environment=$1 commit=$2 reference=$3 seconds=2
if [ "${4-}" = --seconds ]; then seconds=$5; fi
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
pause=$(awk -v seconds="$seconds" 'BEGIN { print seconds / 6 }')

case $environment in
"" | *[!a-z0-9-]*) echo "error: not an environment: $environment" >&2; exit 2 ;;
esac
head=$(git rev-parse --verify HEAD)
if [ "$head" != "$commit" ]; then
    echo "error: the work tree is at $head and not at $commit" >&2
    exit 2
fi

step() {
    printf '%s\\n' "$*"
    # A sleep that knows whole seconds only is still a pause.
    sleep "$pause" 2>/dev/null || sleep 1
}

step "deploying $reference ($commit) to $environment"
step "building: $(git ls-files | wc -l | tr -d ' ') files"
step "running the tests of the build: 128 passed"
step "migrating the database"
if [ -f BROKEN ]; then
    cat BROKEN >&2
    echo "nothing was switched over; $environment runs what it ran before" >&2
    exit 3
fi
step "starting 3 new instances: healthy"
step "switching traffic over"

mkdir -p "$here/releases"
printf '%s %s %s %s\\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$commit" "$reference" "${SWITCHBOARD_RUN:--}" \\
    >>"$here/releases/$environment.log"
new="$here/releases/.$environment.$$"
printf '%s\\n' "$commit" >"$new"
mv -f "$new" "$here/releases/$environment.current"
echo "done: $environment runs $reference"
"""

_CURRENT_SH: Final = """\
#!/bin/sh
# current.sh ENVIRONMENT: prints the commit that runs there, or nothing.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
case $1 in
"" | *[!a-z0-9-]*) echo "error: not an environment: $1" >&2; exit 2 ;;
esac
if [ -f "$here/releases/$1.current" ]; then cat "$here/releases/$1.current"; fi
"""


def make_sample(directory: Path, *, seconds: float = 2) -> Sample:
    """Make what is missing of the sample below `directory`; a deploy takes about `seconds`.

    `webshop/` is the repository; beside it stand `deploy.toml`, its two scripts and `releases/`, which says what runs
    where (at first v1.3.2 on production and v1.4.0 on staging) and what was deployed when.
    """
    directory = directory.absolute()
    (directory / "releases").mkdir(parents=True, exist_ok=True)
    repository = directory / "webshop"
    if not repository.exists():
        _make_repository(repository)
    _write(directory / "deploy.sh", _DEPLOY_SH, 0o755)
    _write(directory / "current.sh", _CURRENT_SH, 0o755)
    for environment, tag, date in (
        ("production", "v1.3.2", "2026-03-11T08:30:00Z"),
        ("staging", "v1.4.0", "2026-03-15T13:05:00Z"),
    ):
        if not (directory / "releases" / f"{environment}.current").exists():
            commit = _git(repository, "rev-parse", f"{tag}^{{commit}}").strip()
            _write(directory / "releases" / f"{environment}.log", f"{date} {commit} {tag} -\n")
            _write(directory / "releases" / f"{environment}.current", f"{commit}\n")
    # Last, so that a sample that was interrupted is not taken for a whole one.
    _write(directory / "deploy.toml", _DEPLOY_TOML.replace("@SECONDS@", f"{seconds:g}"))
    return Sample(repository, directory / "deploy.toml")


def _make_repository(repository: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".webshop.", dir=repository.parent) as temporary:
        new = Path(temporary, "webshop")
        _git(repository.parent, "init", "--quiet", "--template=", "--initial-branch=main", str(new))
        _git(new, "fast-import", "--quiet", stdin=_stream())
        _git(new, "checkout", "--quiet", "--force", "main")
        try:
            new.rename(repository)
        except OSError:
            if not repository.exists():  # another process made the same one meanwhile
                raise


def _stream() -> bytes:
    """The history for `git fast-import`; the candidate stands on a branch of its own, so that main can be deployed."""
    lines: list[str] = []
    for step in _HISTORY:
        when = f"{int((_FIRST + timedelta(hours=step.hours)).timestamp())} +0000"
        branch = "refs/heads/release-1.4.1" if step.candidate else "refs/heads/main"
        lines += [f"commit {branch}", f"author {step.author} {when}", f"committer {step.author} {when}"]
        lines += [_data(step.message + "\n")]
        if step.candidate:
            lines += ["from refs/heads/main"]
        for path, text in step.files:
            lines += [f"M 100644 inline {path}", _data(text)]
        if step.tag == "v1.4.0":  # annotated, as releases often are; the others are plain
            lines += [f"tag {step.tag}", f"from {branch}", f"tagger {step.author} {when}", _data("Release 1.4.0\n")]
        elif step.tag:
            lines += [f"reset refs/tags/{step.tag}", f"from {branch}", ""]
    return "\n".join([*lines, "done", ""]).encode()


def _data(text: str) -> str:
    return f"data {len(text.encode())}\n{text}"


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    if path.exists():
        return
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(text, encoding="utf-8")
    new.chmod(mode)
    new.replace(path)


def _git(directory: Path, *arguments: str, stdin: bytes = b"") -> str:
    # Nothing of the user's configuration may change the shas; nor may a GIT_DIR that the bot was started with.
    plain = {"PATH": os.environ.get("PATH", os.defpath), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    git = shutil.which("git") or "git"
    done = subprocess.run([git, *arguments], cwd=directory, env=plain, input=stdin, capture_output=True, check=True)
    return done.stdout.decode()
