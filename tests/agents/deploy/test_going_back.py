"""A rollback undoes: it goes to what is older than what runs, and to nothing else, whatever it is called."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import bench

from agents.deploy import agent
from agents.deploy.sample import Sample, make_sample
from agents.settings import AgentSettings
from bot.core.tool import AnyTool, PrepareContext, Requester, ToolContext, ToolError
from bot.core.values import Prepared

LENA = PrepareContext("t1", (Requester("lena", "Lena Vogt", "person", frozenset({"engineer", "approver"})),))


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return make_sample(tmp_path / "sample", seconds=0)


@pytest.fixture
def tools(sample: Sample, tmp_path: Path) -> dict[str, AnyTool]:
    """The deploy agent's tools, on a sample of its own."""
    settings = AgentSettings(
        data_dir=tmp_path / "data", deploy_repo=str(sample.repository), deploy_file=sample.deploy_file
    )
    return {tool.name: tool for tool in agent(settings).tools}


def git(sample: Sample, *words: str) -> str:
    command = ["git", "-C", str(sample.repository), "-c", "user.name=x", "-c", "user.email=x@example.org", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def runs(sample: Sample, environment: str = "production") -> Path:
    """The file that says what runs there."""
    return sample.deploy_file.parent / "releases" / f"{environment}.current"


async def prepared(tools: dict[str, AnyTool], reference: str, tool: str = "rollback") -> Prepared:
    return await tools[tool].prepared({"environment": "production", "reference": reference}, LENA)


async def run(tools: dict[str, AnyTool], tool: str, arguments: dict[str, Any], call: str) -> str:
    """Carry out exact arguments, as after an approval."""

    async def output(_offset: int, _chunk: bytes) -> None:
        pass

    exact = tools[tool].exact
    assert exact
    return (await tools[tool].run(exact.model_validate(arguments), ToolContext("t1", call, output))).text


@pytest.mark.parametrize("reference", ["v1.4.0", "main", "7624a6f", "@staging", "v1.4.1-rc1", "release-1.4.1"])
async def test_what_is_newer_is_no_rollback(tools: dict[str, AnyTool], reference: str) -> None:
    """AP14: whatever the newer release is called; the answer names what runs, and says what to do instead."""
    with pytest.raises(ToolError) as refused:
        await prepared(tools, reference)
    assert str(refused.value).startswith(f"{reference} (")
    assert "is not older than what runs on production, v1.3.2 (a96e258)" in str(refused.value)
    assert str(refused.value).endswith("deploy it instead.")
    deploy = await prepared(tools, reference, "deploy") if reference != "@staging" else None
    assert deploy is None or deploy.preview.title == f"Deploy {reference} to production"


@pytest.mark.parametrize("reference", ["v1.3.2", "a96e258b873d1cd1ff017650fba5271ece3b79ec", "@production"])
async def test_what_runs_already_is_no_rollback(tools: dict[str, AnyTool], reference: str) -> None:
    """There is nothing to undo."""
    with pytest.raises(ToolError, match=r"\(a96e258\) is what runs on production; name an older release"):
        await prepared(tools, reference)


async def test_what_is_on_another_line_is_no_rollback(tools: dict[str, AnyTool], sample: Sample) -> None:
    """AP14: a branch off an older release undoes commits, and brings its own that nobody deployed yet."""
    git(sample, "checkout", "-q", "-b", "hotfix", "v1.3.1")
    git(sample, "commit", "-q", "--allow-empty", "-m", "Something new")
    with pytest.raises(ToolError, match=r"hotfix \(\w{7}\) is on another line than what runs on production"):
        await prepared(tools, "hotfix")


def merge_a_branch(sample: Sample) -> tuple[str, str]:
    """A commit that its own branch took back before it was merged, and the merge, which runs on production."""
    git(sample, "checkout", "-q", "-b", "side", "v1.3.2")
    git(sample, "commit", "-q", "--allow-empty", "-m", "Try something")
    tried = git(sample, "rev-parse", "HEAD")
    git(sample, "commit", "-q", "--allow-empty", "-m", "Take it back")
    git(sample, "checkout", "-q", "-b", "line", "v1.3.2")
    git(sample, "commit", "-q", "--allow-empty", "-m", "On the line meanwhile")
    git(sample, "merge", "-q", "--no-ff", "-m", "Merge side", "side")
    runs(sample).write_text(merged := git(sample, "rev-parse", "HEAD"))
    return tried, merged


async def test_what_was_merged_as_a_part_of_a_branch_is_no_rollback(tools: dict[str, AnyTool], sample: Sample) -> None:
    """AP14: it is an ancestor of what runs, and perhaps nobody ever saw it run; what the line was goes back."""
    tried, merged = merge_a_branch(sample)
    for reference in (tried, "side"):
        with pytest.raises(ToolError) as refused:
            await prepared(tools, reference)
        assert f"is part of a branch that was merged into what runs on production, {merged[:7]}" in str(refused.value)
        assert str(refused.value).endswith(
            "never released by itself, so going there is no rollback; deploy it instead."
        )
    assert (await prepared(tools, tried, "deploy")).arguments["commit"] == tried
    for reference in ("v1.3.2", "v1.3.0", git(sample, "rev-parse", "line~1")):
        assert (await prepared(tools, reference)).arguments["replaces"] == merged


async def test_the_tag_before_is_on_the_line(tools: dict[str, AnyTool], sample: Sample) -> None:
    """AP14: a newer tag inside of the merged branch is passed over."""
    tried, _ = merge_a_branch(sample)
    git(sample, "tag", "v9.0.0-try", tried)
    assert (await prepared(tools, "")).preview.title == "Roll back to v1.3.2 on production"


async def test_it_is_still_on_the_line_right_before_it_runs(tools: dict[str, AnyTool], sample: Sample) -> None:
    """AP3, AP14: what a version prepared that did not look at the line is not run."""
    tried, merged = merge_a_branch(sample)
    arguments = (await prepared(tools, tried, "deploy")).arguments
    with pytest.raises(ToolError, match=rf"Not deployed: {tried[:7]} is only part of a branch that was merged into"):
        await run(tools, "rollback", arguments, "t1:1:0")
    assert runs(sample).read_text() == merged


@pytest.mark.parametrize("reference", ["v1.3.1", ""])
async def test_where_nothing_runs_there_is_nothing_to_go_back_from(
    tools: dict[str, AnyTool], sample: Sample, reference: str
) -> None:
    """A first release is deployed."""
    runs(sample).unlink()
    with pytest.raises(ToolError, match="Nothing runs on production, so there is nothing to go back from"):
        await prepared(tools, reference)


@pytest.mark.parametrize(("reference", "found"), [("v1.3.0", "v1.3.0"), ("", "v1.3.1"), ("v1.3.2~1", "")])
async def test_what_is_older_is_prepared_and_run(
    tools: dict[str, AnyTool], sample: Sample, reference: str, found: str
) -> None:
    """Named, or the tag before; what is no plain name stays refused."""
    if not found:
        with pytest.raises(ToolError, match="is not the name"):
            await prepared(tools, reference)
        return
    call = await prepared(tools, reference)
    assert call.preview.title == f"Roll back to {found} on production"
    assert f"{found} (" in await run(tools, "rollback", call.arguments, "t1:1:0")
    assert runs(sample).read_text().strip() == git(sample, "rev-parse", found)


async def test_it_is_still_older_right_before_it_runs(tools: dict[str, AnyTool], sample: Sample) -> None:
    """AP3, AP14: neither what was prepared by a version that did not look, nor what overtook it meanwhile, is run."""
    newer = (await prepared(tools, "v1.4.0", "deploy")).arguments
    with pytest.raises(ToolError, match=r"Not deployed: 7624a6f is not older than what runs on production \(a96e258\)"):
        await run(tools, "rollback", newer, "t1:1:0")
    runs(sample).unlink()
    with pytest.raises(ToolError, match=r"is not older than what runs on production \(nothing\)"):
        await run(tools, "rollback", {**newer, "replaces": ""}, "t1:2:0")

    runs(sample).write_text(git(sample, "rev-parse", "v1.3.2"))
    older = (await prepared(tools, "v1.3.1")).arguments
    runs(sample).write_text(git(sample, "rev-parse", "v1.3.0"))
    with pytest.raises(ToolError, match="Not deployed: production now runs"):
        await run(tools, "rollback", older, "t1:3:0")
    assert len((runs(sample).parent / "production.log").read_text().splitlines()) == 1
    assert git(sample, "rev-parse", "v1.3.0") == runs(sample).read_text()


async def test_easy_terms_for_rollbacks_let_no_new_release_out(redis_url: str, tmp_path: Path) -> None:
    """AP7: Lena may approve her own rollback; by that name she gets nothing newer approved, and is told why."""
    policy = tmp_path / "policy.toml"
    await asyncio.to_thread(
        policy.write_text,
        '[[policies]]\ntool = "rollback"\nroles = ["approver"]\nfour_eyes = false\n'
        '[[policies]]\ntool = "deploy"\napprovals = 2\n',
    )
    async with bench(redis_url, tmp_path, policy_file=policy) as found:
        asked = await found.slack.say("lena", "#deploys", "@bot roll back production to v1.4.0")
        log = await found.finished(asked)
        assert log.state.requests == {}
        assert "v1.4.0 (7624a6f) is not older than what runs on production" in found.texts(asked)[-1]
        assert "deploy it instead" in found.texts(asked)[-1]
        again = await found.slack.say("lena", "#deploys", "@bot roll back production to v1.3.1")
        await found.slack.click("lena", await found.card(again), "approve")
        await found.finished(again)
        assert [line.split()[2] for line in found.releases()] == ["v1.3.2", "v1.3.1"]
