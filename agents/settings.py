"""What agents may know of the installation, handed to them by the composition root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AgentSettings:
    """Where the agents' things are."""

    data_dir: Path
    deploy_repo: str = ""
    """Any path or URL that git takes; empty: the deploy agent says that it has none."""
    deploy_file: Path = Path("deploy.toml")
