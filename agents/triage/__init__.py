"""The triage agent: reads what somebody wants and hands it to the agent that fits."""

from __future__ import annotations

from agents import texts
from agents.settings import AgentSettings
from bot.core.agent import Agent


def agent(settings: AgentSettings) -> Agent:
    """The agent. It needs nothing of the installation."""
    del settings
    return Agent(
        name="triage",
        purpose="Reads a new message and hands it to the agent that fits, or says what the bot can do.",
        prompt=texts.prompt("triage"),
        script=texts.script("triage"),
    )
