"""The deploy agent: says what runs where and what changed, and deploys releases that people approved."""

from __future__ import annotations

from agents import texts
from agents.deploy.deploying import writing_tools
from agents.deploy.reading import reading_tools, running
from agents.deploy.repository import Repository
from agents.deploy.world import World
from agents.settings import AgentSettings
from bot.core.agent import Agent


def agent(settings: AgentSettings) -> Agent:
    """The agent, on the repository and the deploy file of this installation."""
    source = Repository(settings.deploy_repo, settings.data_dir / "repositories") if settings.deploy_repo else None
    world = World(source, settings.deploy_file.absolute(), settings.data_dir.absolute())

    async def what_runs() -> str:
        return await running(world)

    return Agent(
        name="deploy",
        purpose="Everything about releases: deploying, rolling back, what runs where, tags, commits, what changed.",
        prompt=texts.prompt("deploy"),
        tools=(*reading_tools(world), *writing_tools(world)),
        hand_offs=("triage",),
        prefetch=what_runs,
        script=texts.script("deploy"),
    )
