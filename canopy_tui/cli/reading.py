"""What the commands without a screen read from."""

from __future__ import annotations

from wal.local import LocalSource
from wal.paths import log_dir
from wal.source import RunRow


def listed_runs() -> list[RunRow]:
    """Every run, newest first."""
    source = LocalSource(log_dir())
    return list(source.runs())
