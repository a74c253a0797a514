"""Waiting for a condition with a deadline, and reading a stream whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from wal.journal import read_meta, read_records, segment_paths, stream_dirs
from wal.record import Record

T = TypeVar("T")

DEADLINE_S = 60.0


def wait_until(condition: Callable[[], object], deadline_s: float = DEADLINE_S, what: str = "") -> None:
    """Poll until ``condition`` holds; fails after the deadline."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {deadline_s} s: {what or condition}"
        time.sleep(0.005)


def eventually(ask: Callable[[], T], holds: Callable[[T], bool] = bool, deadline_s: float = DEADLINE_S) -> T:
    """The first answer of which ``holds`` is true; fails after the deadline, with the last answer."""
    deadline = time.monotonic() + deadline_s
    while not holds(answer := ask()):
        assert time.monotonic() < deadline, f"still {answer}"
        time.sleep(0.01)
    return answer


def stream_records(stream_dir: Path) -> list[Record]:
    """Every record of a stream, over its segments."""
    records: list[Record] = []
    for path in segment_paths(stream_dir):
        if read_meta(path) is not None:
            records += read_records(path)
    return records


def streams_in(log_dir: Path) -> list[Path]:
    """The stream directories of a log directory, oldest first."""
    return sorted((directory for _, _, directory in stream_dirs(log_dir)), key=lambda path: path.name)
