"""The agents that ship with Switchboard, a folder for each. To add one: its folder, and its line in `AGENTS`."""

from __future__ import annotations

from collections.abc import Callable

from agents import deploy, triage
from agents.settings import AgentSettings
from bot.core.agent import Agent

AGENTS: tuple[Callable[[AgentSettings], Agent], ...] = (triage.agent, deploy.agent)
FIRST_AGENT = "triage"
"""Gets the messages that no other agent has."""


def all_agents(settings: AgentSettings) -> dict[str, Agent]:
    """Every agent by name."""
    return {one.name: one for one in (make(settings) for make in AGENTS)}
