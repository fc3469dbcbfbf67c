"""What a rollback may go back to: a release that is truly older than what runs, and nothing else.

People allow a rollback on easier terms than a deploy, because it undoes. What brings any commit there that does not run
there yet is a deploy, whatever it is called. That is also so of what lies inside of a branch that was merged: a commit
that was taken back there before the merge is an ancestor of what runs, and no release ever had it.
"""

from __future__ import annotations

from agents.deploy.repository import Commit, Comparison, RepositoryError
from agents.deploy.world import World, named
from bot.core.tool import ToolError


async def tag_before(world: World, name: str) -> str:
    """The newest tag that a rollback of an environment may go to. Raises ToolError."""
    current = await world.current(await world.environment(name))
    if current is None:
        raise ToolError(f"Nothing runs on {name}, so there is nothing to go back from.")
    try:
        for tag in await world.source().tags(100):
            if await world.source().stood_before(current.sha, tag.commit.sha):
                return tag.name
    except RepositoryError as error:
        raise ToolError(str(error)) from error
    raise ToolError(
        f"There is no tag older than what runs on {name} ({current.short}). Name the release to go back to."
    )


async def must_be_older(
    world: World,
    name: str,
    reference: str,
    commit: Commit,
    current: Commit | None,
    *,
    found: Comparison | None,
    tags: dict[str, str],
) -> None:
    """Raise ToolError, which says what to do instead, unless this release stood there before what runs there.

    `found` compares what runs (`current`) with the release. One on another line would bring commits of its own.
    """
    if current is None or found is None:
        raise ToolError(f"Nothing runs on {name}, so there is nothing to go back from; deploy {reference} instead.")
    if commit.sha == current.sha:
        raise ToolError(f"{reference} ({commit.short}) is what runs on {name}; name an older release to go back to.")
    if not found.older:
        how = "on another line than" if found.behind else "not older than"
        raise ToolError(
            f"{reference} ({commit.short}) is {how} what runs on {name}, {named(current, tags)}, so going there is no "
            "rollback; deploy it instead."
        )
    try:
        stood_before = await world.source().stood_before(current.sha, commit.sha)
    except RepositoryError as error:
        raise ToolError(str(error)) from error
    if not stood_before:
        raise ToolError(
            f"{reference} ({commit.short}) is part of a branch that was merged into what runs on {name}, "
            f"{named(current, tags)}, and was perhaps never released by itself, so going there is no rollback; deploy "
            "it instead."
        )


async def must_still_be_older(world: World, name: str, commit: str, replaces: str) -> None:
    """The same of two full shas, right before it is carried out. Raises ToolError."""
    try:
        older = bool(replaces) and (await world.source().compare(replaces, commit, 1)).older
        stood_before = older and await world.source().stood_before(replaces, commit)
    except RepositoryError as error:
        raise ToolError(str(error), summary="what changes could not be found out") from error
    if not stood_before:
        how = "only part of a branch that was merged into" if older else "not older than"
        message = (
            f"Not deployed: {commit[:7]} is {how} what runs on {name} ({replaces[:7] or 'nothing'}), so this is no "
            "rollback. Deploy it instead."
        )
        raise ToolError(message, summary="it is not older than what runs")
