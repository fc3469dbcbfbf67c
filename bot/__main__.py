"""`python -m bot`, and the command `bot`."""

from __future__ import annotations

from bot.app import Switchboard
from bot.cli import run


def main() -> None:
    """Run a command with the real composition root."""
    run(Switchboard.assemble)


if __name__ == "__main__":
    main()
