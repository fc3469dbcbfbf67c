"""Reads the texts that agents are made of: prompts from `prompts/`, scripts from beside the agent."""

from __future__ import annotations

from importlib.resources import files


def prompt(name: str) -> str:
    """The system prompt of an agent: `prompts/<name>.md`."""
    return (files("prompts") / f"{name}.md").read_text(encoding="utf-8")


def script(agent: str) -> str:
    """The rules of the scripted stand-in: `agents/<agent>/script.toml`."""
    return (files("agents") / agent / "script.toml").read_text(encoding="utf-8")
