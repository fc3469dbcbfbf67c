"""The agents that ship with Switchboard, a folder for each. To add one: its folder, and its line in `AGENTS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from agents import deploy, triage
from agents.settings import AgentSettings
from bot.core.agent import Agent

AGENTS: tuple[Callable[[AgentSettings], Agent], ...] = (triage.agent, deploy.agent)
FIRST_AGENT = "triage"
"""Gets the messages that no other agent has."""


def all_agents(settings: AgentSettings) -> dict[str, Agent]:
    """Every agent by name. The first one can hand over to each of the others, and its prompt says what they are for."""
    agents = {one.name: one for one in (make(settings) for make in AGENTS)}
    others = [one for one in agents.values() if one.name != FIRST_AGENT]
    lines = "\n".join(f"  - `{one.name}`: {one.purpose}" for one in others)
    first = agents[FIRST_AGENT]
    prompt = first.prompt.replace("{agents}", lines)
    return {**agents, FIRST_AGENT: replace(first, prompt=prompt, hand_offs=tuple(one.name for one in others))}
