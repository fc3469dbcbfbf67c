"""What an agent is: a prompt, a few tools, and limits. A literal, not a class hierarchy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot.core.tool import AnyTool


@dataclass(frozen=True)
class Agent:
    """A small focused agent."""

    name: str
    purpose: str
    """One line: what it is for. The first agent reads it to decide whom to hand a thread to."""
    prompt: str
    """The system prompt, from `prompts/<name>.md`."""
    tools: tuple[AnyTool, ...] = ()
    hand_offs: tuple[str, ...] = ()
    """Names of the agents it may hand a thread to."""
    max_steps: int = 20
    """Choices of the model in one run, before a person is asked whether it should go on."""
    max_failures: int = 3
    """Failures in a row of one tool, or of the model, before a person is asked."""
    prefetch: Callable[[], Awaitable[str]] | None = None
    """Fetches what the model would ask for first anyway; once a run, before the model is asked."""
    script: str = ""
    """Rules for the scripted model (TOML), used where no model is set up."""

    def tool(self, name: str) -> AnyTool | None:
        """The tool with this name, or None. Built-in tools are not among them."""
        return next((tool for tool in self.tools if tool.name == name), None)
