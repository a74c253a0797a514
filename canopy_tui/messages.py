"""What background work tells the screens: one message an answer, its values frozen to cross a thread."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from wal.source import RunRow, StoreStatus


@dataclass
class RunsLoaded(Message, bubble=False):
    """The run list was read anew, newest first."""

    rows: tuple[RunRow, ...]


@dataclass
class StatusLoaded(Message, bubble=False):
    """Where the data comes from now."""

    status: StoreStatus


@dataclass
class SourceFailed(Message, bubble=False):
    """The job ``key`` failed; ``reason`` is a sentence. What is on the screen stays and is marked stale."""

    key: str
    reason: str
