"""The deploy agent's reading tools: they look, and change nothing."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from agents.deploy.repository import RepositoryError
from agents.deploy.world import World, day, listed, named
from bot.core.tool import AnyTool, Tool, ToolContext, ToolError, ToolResult
from bot.core.wording import plural

_REFERENCE = "A tag, a branch or a commit; or @ENVIRONMENT for what runs there, such as @production."


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ListTags(_Arguments):
    """List the newest tags (releases) of the repository, newest first, with their commits."""

    limit: int = Field(default=10, ge=1, le=50, description="How many.")


class ListCommits(_Arguments):
    """List commits, newest first: those that `until` has and `since` lacks."""

    since: str = Field(default="", max_length=200, description=f"Leave out for no lower bound. {_REFERENCE}")
    until: str = Field(default="", max_length=200, description=f"Leave out for the default branch. {_REFERENCE}")
    limit: int = Field(default=20, ge=1, le=50, description="How many.")


class Compare(_Arguments):
    """Compare two states of the code: commits on either side, and how much changed."""

    base: str = Field(max_length=200, description=_REFERENCE)
    head: str = Field(max_length=200, description=_REFERENCE)


class CurrentRelease(_Arguments):
    """Say what runs on one environment, or on all of them. Asks the environment itself."""

    environment: str = Field(default="", max_length=31, description="Leave out for all.")


def reading_tools(world: World) -> tuple[AnyTool, ...]:
    """The tools, on this world."""

    async def list_tags(chosen: ListTags, _: ToolContext) -> ToolResult:
        try:
            await world.source().refresh()
            tags = await world.source().tags(chosen.limit)
        except RepositoryError as error:
            raise ToolError(str(error)) from error
        lines = [
            f"{tag.name}  {tag.commit.short}  {tag.commit.subject}  — {day(tag.commit.authored_at)}" for tag in tags
        ]
        return ToolResult("\n".join(lines) or "The repository has no tags.")

    async def list_commits(chosen: ListCommits, _: ToolContext) -> ToolResult:
        try:
            await world.source().refresh()
            until = await world.resolve(chosen.until) if chosen.until else await world.newest()
            since = await world.resolve(chosen.since) if chosen.since else None
            commits, total = await world.source().commits(since.sha if since else None, until.sha, chosen.limit)
        except RepositoryError as error:
            raise ToolError(str(error)) from error
        where = f"what {chosen.since[1:]} runs ({since.short})" if since and chosen.since[0] == "@" else chosen.since
        bounds = f" since {where}" if since else ""
        return ToolResult(f"{plural(total, 'commit')}{bounds}, up to {until.short}:\n{listed(commits, total)}")

    async def compare(chosen: Compare, _: ToolContext) -> ToolResult:
        try:
            await world.source().refresh()
            base, head = await world.resolve(chosen.base), await world.resolve(chosen.head)
            found = await world.source().compare(base.sha, head.sha, 20)
        except RepositoryError as error:
            raise ToolError(str(error)) from error
        text = (
            f"{chosen.head} ({head.short}) has {plural(found.ahead, 'commit')} that {chosen.base} ({base.short}) "
            f"lacks, and lacks {found.behind} of its own. "
            f"{plural(found.files_changed, 'file')} changed, +{found.insertions} −{found.deletions}."
        )
        if found.ahead:
            text += f"\n\nNew in {chosen.head}:\n{listed(found.commits, found.ahead)}"
        if found.behind:
            text += f"\n\nMissing in {chosen.head}:\n{listed(found.undone, found.behind)}"
        return ToolResult(text)

    async def current_release(chosen: CurrentRelease, _: ToolContext) -> ToolResult:
        return ToolResult(await running(world, chosen.environment))

    return (
        Tool("list_tags", ListTags, list_tags),
        Tool("list_commits", ListCommits, list_commits),
        Tool("compare", Compare, compare),
        Tool("current_release", CurrentRelease, current_release),
    )


async def running(world: World, environment: str = "") -> str:
    """What runs on one environment or on all, one line each. Raises ToolError."""
    try:
        await world.source().refresh()
        tags = await world.tag_names()
    except RepositoryError as error:
        raise ToolError(str(error)) from error
    chosen = [await world.environment(environment)] if environment else (await world.file()).environments.values()
    lines: list[str] = []
    for one in chosen:
        commit = await world.current(one)
        if commit is None:
            lines.append(f"{one.name}: nothing was deployed yet")
            continue
        lines.append(
            f"{one.name} runs {named(commit, tags)}: {commit.subject} — {commit.author}, {day(commit.authored_at)}"
        )
    return "\n".join(lines)
