"""Where Canopy keeps things. Standard library only: the training path imports this."""

from __future__ import annotations

import os
from pathlib import Path


def state_dir() -> Path:
    """The user's state directory: ``$XDG_STATE_HOME/canopy``, else ``~/.local/state/canopy``.

    Records of managed nodes and what the user chose on screen lie here, whatever ``CANOPY_DIR`` says.
    """
    base = os.environ.get("XDG_STATE_HOME")
    root = Path(base) if base else Path.home() / ".local" / "state"
    return root / "canopy"


def log_dir(explicit: str | os.PathLike[str] | None = None) -> Path:
    """The log directory: ``explicit``, else ``$CANOPY_DIR``, else :func:`state_dir`. Absolute."""
    chosen = explicit or os.environ.get("CANOPY_DIR")
    return Path(chosen).expanduser().absolute() if chosen else state_dir().absolute()
