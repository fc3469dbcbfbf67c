"""The evals beside the prompts: what an agent must choose first.

They run against the scripted stand-in always. With EVAL_MODEL=1 and ANTHROPIC_API_KEY they run against the real model,
which is how one looks whether a change of a prompt did it good: `EVAL_MODEL=1 make test`.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from logs import launched, said

from agents import AGENTS, all_agents
from agents.settings import AgentSettings
from bot.core.log import Log
from bot.core.protocols import Model
from bot.runtime.anthropic_model import DEFAULT_MODEL, AnthropicModel
from bot.runtime.scripted import ScriptedModel

ROOT = Path(__file__).parents[2]
NAMES = sorted(all_agents(AgentSettings(data_dir=Path())))


def cases(agent: str) -> list[dict[str, Any]]:
    """The cases of an agent."""
    return tomllib.loads((ROOT / "prompts" / f"{agent}.evals.toml").read_text())["case"]


def model() -> Model:
    """The scripted stand-in, or the real model where it is asked for."""
    key = os.environ.get("ANTHROPIC_API_KEY", "")
    if os.environ.get("EVAL_MODEL") and key:
        return AnthropicModel(key, model=os.environ.get("ANTHROPIC_MODEL", DEFAULT_MODEL))
    return ScriptedModel()


@pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(name, case, id=f"{name}: {case['say'][:40]}") for name in NAMES for case in cases(name)],
)
async def test_the_first_choice_is_the_expected_one(name: str, case: dict[str, Any], tmp_path: Path) -> None:
    """A tool, and the arguments that matter."""
    agent = all_agents(AgentSettings(data_dir=tmp_path))[name]
    choice = await model().choose(agent, Log.of("t1", (launched(), said(case["say"]))))
    assert choice.tool == case["call"]
    wanted = case.get("arguments", {})
    assert {key: choice.arguments.get(key) for key in wanted} == wanted


def test_every_agent_has_a_prompt_a_script_and_evals() -> None:
    """And every folder is registered: an agent that nobody starts is a mistake."""
    folders = {path.parent.name for path in (ROOT / "agents").glob("*/__init__.py")}
    assert folders == set(NAMES)
    assert len(AGENTS) == len(NAMES)
    for name in NAMES:
        assert (ROOT / "prompts" / f"{name}.md").read_text().strip()
        assert cases(name)
