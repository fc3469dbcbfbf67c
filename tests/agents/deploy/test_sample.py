import asyncio
import shutil
import subprocess
from pathlib import Path

from agents.deploy.deploy_file import load
from agents.deploy.repository import Repository
from agents.deploy.sample import Sample, make_sample


def git(directory: Path, *arguments: str) -> str:
    return subprocess.run(
        [shutil.which("git") or "git", *arguments], cwd=directory, check=True, capture_output=True, text=True
    ).stdout.strip()


async def deploy(sample: Sample, environment: str, reference: str) -> subprocess.CompletedProcess[str]:
    """Deploy as the bot does: a work tree of exactly the commit, the words of the deploy file, no shell."""
    root = sample.deploy_file.parent
    repository = Repository(str(sample.repository), root / "cache")
    commit = await repository.resolve(reference)
    tree = root / "trees" / commit.short
    await repository.checkout(commit.sha, tree)
    words = load(sample.deploy_file).environment(environment)
    command = words.deploy_command(commit=commit.sha, reference=reference, run="run-1")
    return await asyncio.to_thread(subprocess.run, command, cwd=tree, check=False, capture_output=True, text=True)


def current(sample: Sample, environment: str) -> str:
    file = load(sample.deploy_file)
    words = file.environment(environment).current_command()
    return subprocess.run(words, cwd=file.directory, check=True, capture_output=True, text=True).stdout.strip()


def test_the_same_sample_comes_out_each_time(tmp_path: Path) -> None:
    """The shas are the same everywhere, whatever the machine's git is set to."""
    first = make_sample(tmp_path / "one")
    second = make_sample(tmp_path / "two")
    refs = git(first.repository, "show-ref")
    assert refs == git(second.repository, "show-ref")
    assert git(first.repository, "rev-parse", "main") == "73afed0cacfb594a5efea529793d54773153b92a"


def test_a_sample_in_use_is_left_alone(tmp_path: Path) -> None:
    """Making the sample again changes nothing of what somebody did to it, and mends what is missing."""
    sample = make_sample(tmp_path, seconds=0)
    sample.deploy_file.write_text(sample.deploy_file.read_text() + "# mine\n")
    (tmp_path / "releases" / "staging.current").write_text("mine\n")
    (tmp_path / "current.sh").unlink()
    assert make_sample(tmp_path, seconds=9) == sample
    assert sample.deploy_file.read_text().endswith("# mine\n")
    assert '"--seconds", "0"]' in sample.deploy_file.read_text()
    assert current(sample, "staging") == "mine"
    assert git(sample.repository, "status", "--porcelain") == ""


def test_the_history_has_authors_tags_and_one_broken_candidate(tmp_path: Path) -> None:
    """Twelve commits by three people; only v1.4.0 is annotated; only the candidate is broken, and main is not."""
    repository = make_sample(tmp_path).repository
    assert len(git(repository, "log", "--all", "--format=%H").splitlines()) == 12
    assert len(set(git(repository, "log", "--all", "--format=%an").splitlines())) == 3
    assert git(repository, "tag").split() == ["v1.3.0", "v1.3.1", "v1.3.2", "v1.4.0", "v1.4.1-rc1"]
    assert git(repository, "for-each-ref", "--format=%(objecttype)", "refs/tags").split().count("tag") == 1
    assert git(repository, "cat-file", "-t", "v1.4.0") == "tag"
    assert "BROKEN" in git(repository, "ls-tree", "--name-only", "v1.4.1-rc1")
    assert "BROKEN" not in git(repository, "ls-tree", "--name-only", "main")


async def test_a_deploy_shows_its_progress_and_is_recorded(tmp_path: Path) -> None:
    """Production runs v1.3.2 at first; after a deploy it runs the new commit, and the log says so."""
    sample = make_sample(tmp_path, seconds=0)
    assert current(sample, "production") == git(sample.repository, "rev-parse", "v1.3.2")
    assert current(sample, "staging") == git(sample.repository, "rev-parse", "v1.4.0^{commit}")
    done = await deploy(sample, "production", "v1.4.0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("switching traffic over\ndone: production runs v1.4.0\n")
    assert current(sample, "production") == git(sample.repository, "rev-parse", "v1.4.0^{commit}")
    assert len((tmp_path / "releases" / "production.log").read_text().splitlines()) == 2


async def test_the_candidate_fails_halfway(tmp_path: Path) -> None:
    """The broken tag prints some progress, fails with exit code 3 and its error, and nothing was switched over."""
    sample = make_sample(tmp_path, seconds=0)
    before = current(sample, "staging")
    done = await deploy(sample, "staging", "v1.4.1-rc1")
    assert done.returncode == 3
    assert 'error: migration 0042 failed: column "email" already exists\n' in done.stderr
    assert "migrating the database" in done.stdout
    assert current(sample, "staging") == before


def test_the_script_refuses_another_commit_than_the_work_tree(tmp_path: Path) -> None:
    """A work tree that is not at the commit that was approved is not deployed."""
    sample = make_sample(tmp_path, seconds=0)
    words = load(sample.deploy_file).environment("staging")
    command = words.deploy_command(
        commit=git(sample.repository, "rev-parse", "v1.3.0"), reference="v1.3.0", run="run-1"
    )
    done = subprocess.run(command, cwd=sample.repository, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "and not at" in done.stderr


def test_an_environment_that_never_had_a_deploy_prints_nothing(tmp_path: Path) -> None:
    """Nothing deployed yet is an empty answer and no error."""
    sample = make_sample(tmp_path)
    (tmp_path / "releases" / "staging.current").unlink()
    assert current(sample, "staging") == ""
