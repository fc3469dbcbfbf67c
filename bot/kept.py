"""A random value that is made once and kept in the data directory. Any number of processes may ask at once."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def kept_token(path: Path, *, random_bytes: int = 32) -> str:
    """The value in this file (hex), made if it is not there; readable by its owner only."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with open(draft, "x", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(secrets.token_hex(random_bytes))
        with suppress(FileExistsError):
            os.link(draft, path)  # appears whole, and only if nobody was faster
        draft.unlink()
    return path.read_text(encoding="ascii").strip()
