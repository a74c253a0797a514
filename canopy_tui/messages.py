"""What background work tells the screens: one message an answer, its values frozen to cross a thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from wal.source import RunRow, StoreStatus, TopologyRow

if TYPE_CHECKING:
    from canopy_tui.comparing import Comparison
    from canopy_tui.growth import Growth
    from canopy_tui.runreading import RunReading
    from wal.reading.storage import StorageReport


@dataclass
class RunsLoaded(Message, bubble=False):
    """The run list was read anew, newest first."""

    rows: tuple[RunRow, ...]
    problem: str = ""
    """Why this machine's log could not be read, while Cassandra's runs are shown."""


@dataclass
class StatusLoaded(Message, bubble=False):
    """Where the data comes from now."""

    status: StoreStatus


@dataclass
class SourceFailed(Message, bubble=False):
    """The job ``key`` failed; ``reason`` is a sentence. What is on the screen stays and is marked stale."""

    key: str
    reason: str


@dataclass
class RunLoaded(Message, bubble=False):
    """One run was read, and the charts that its screen had asked for were drawn."""

    reading: RunReading


@dataclass
class RunRedrawn(Message, bubble=False):
    """The charts of the reading ``of`` were drawn otherwise, from what it holds."""

    reading: RunReading
    of: RunReading


@dataclass
class ComparisonLoaded(Message, bubble=False):
    """The runs of a comparison were read, and the chart that was asked for was drawn."""

    comparison: Comparison


@dataclass
class TopologiesLoaded(Message, bubble=False):
    """The list of a run's topology snapshots, newest first, and how they say that it grew."""

    rows: tuple[TopologyRow, ...]
    growth: Growth


@dataclass
class TopologyLoaded(Message, bubble=False):
    """The body of one snapshot."""

    row: TopologyRow
    body: Mapping[str, object]


@dataclass
class StorageLoaded(Message, bubble=False):
    """Where the records of the run are now."""

    report: StorageReport


@dataclass
class LogGrew(Message, bubble=False):
    """Something was written that the screen in front follows."""

    def can_replace(self, message: Message) -> bool:
        """One word is as good as many."""
        return isinstance(message, LogGrew)
