"""The reading protocol: what a screen may ask, answered alike by the local log and by Cassandra.

Every class here is frozen and made of plain values, so that it can cross a thread as a message.
numpy is imported by whoever makes :class:`Points`; listing runs must work without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from wal.paging.axes import STEP, Ask, XAxis
from wal.record import Record
from wal.summary import MetricSummary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


__all__ = [
    "STEP", "Ask", "Connection", "MetricRow", "PageBody", "Paged", "Points", "RunDetail", "RunRow",
    "RunState", "Source", "SourceError", "StoreStatus", "StreamRow", "TopologyRow", "XAxis",
]  # fmt: skip


class SourceError(Exception):
    """A source could not answer. The message is one sentence that says what and what to do."""


class Pruned(SourceError):
    """Records were asked for that were pruned from this machine: Cassandra alone has them."""


class RunState(StrEnum):
    """``stale``: no sign of life, and nobody who could know says that it is dead."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CRASHED = "crashed"
    STALE = "stale"

    @property
    def is_final(self) -> bool:
        """Whether it stays: the run or stream ended, or its process is known to be dead."""
        return self in (RunState.DONE, RunState.FAILED, RunState.CRASHED)


PageBody = tuple[int, bytes]
"""(page number, bytes)."""


class Connection(StrEnum):
    """What a status line says of Cassandra."""

    LOCAL_ONLY = "local only"
    STARTING = "starting"
    UP = "up"
    CATCHING_UP = "catching up"
    OFFLINE = "offline"
    TROUBLE = "trouble"


@dataclass(frozen=True, slots=True)
class Paged:
    """How far a stream's pages go, where they are asked for.

    Every point up to ``fine_seq`` is in the pages of all levels, up to ``coarse_seq`` in those from
    :data:`wal.paging.pagefile.COARSE_LEVEL` on and in a metric's top one; pages may hold later points too.
    ``late_seq`` grows when a page changed that was not the last of its level: one that was kept from before
    may be old.
    """

    shift: int
    fine_seq: int
    coarse_seq: int
    late_seq: int


@dataclass(frozen=True, slots=True)
class StreamRow:
    """One writer process' lifetime in a run.

    ``records`` counts what is committed as far as this source knows; ``acked`` are the seq ranges (first and
    last, inclusive, ascending, apart) that Cassandra acknowledged, None when this source cannot know.
    Times are nanoseconds since the epoch.
    ``heartbeat_ns`` is the last sign of life; ``last_ts_ns`` the ts of the newest record.
    """

    stream_id: UUID
    run_id: UUID
    rank: int
    host: str
    pid: int
    after: UUID | None
    state: RunState
    exit_code: int | None
    started_ns: int
    ended_ns: int | None
    heartbeat_ns: int
    last_ts_ns: int
    records: int
    first_step: int
    last_step: int
    acked: tuple[tuple[int, int], ...] | None = None
    problem: str = ""
    """A sentence for the user when a part of the stream cannot be read here (corrupt, newer format)."""
    paged: Paged | None = None
    """Cassandra's pages of the stream; None where there are none, and in a row of the local log."""


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of one run, its streams merged. ``goal`` is ``"min"``, ``"max"`` or None (no best)."""

    name: str
    goal: str | None
    summary: MetricSummary
    order: int = 0
    """Position by first logging in the run: 0 is the metric logged first."""

    @property
    def best(self) -> tuple[float, int] | None:
        """(value, step) of the best finite value, or None when there is no goal or no finite value."""
        s = self.summary
        if self.goal is None or s.n == s.non_finite:
            return None
        return (s.min, s.min_step) if self.goal == "min" else (s.max, s.max_step)


@dataclass(frozen=True, slots=True)
class RunRow:
    """What the run list shows of a run. ``metrics`` may hold fewer than the run has, never a wrong one.

    ``unshipped`` counts committed records that Cassandra has not acknowledged; ``shipped`` says whether
    Cassandra knows the run at all (None: this source cannot say). ``total_steps`` comes from the config.
    """

    run_id: UUID
    project: str
    name: str
    state: RunState
    host: str
    started_ns: int
    ended_ns: int | None
    last_ts_ns: int
    step: int
    records: int
    metrics: Mapping[str, MetricRow] = field(default_factory=dict[str, MetricRow])
    tags: tuple[str, ...] = ()
    notes: str = ""
    group: str = ""
    job_type: str = ""
    total_steps: int | None = None
    streams: int = 1
    unshipped: int = 0
    shipped: bool | None = None
    local: bool = False
    """True when this machine's log directory holds at least one stream of the run."""
    problem: str = ""
    """A sentence for the user when a part of the run cannot be read here; what is shown is the rest."""


@dataclass(frozen=True, slots=True)
class RunDetail:
    """What the Run screen shows beside its charts. ``config`` and ``summary`` are JSON-like."""

    row: RunRow
    config: Mapping[str, object]
    summary: Mapping[str, object]
    streams: tuple[StreamRow, ...]
    metrics: Mapping[str, MetricRow]


@dataclass(frozen=True, slots=True)
class Points:
    """All points of one metric in one stream with ``seq > after_seq``, in seq order.

    ``seq`` and ``step`` are int64, ``ts`` int64 nanoseconds, ``value`` float64; all of one length.
    """

    seq: NDArray[np.int64]
    step: NDArray[np.int64]
    ts: NDArray[np.int64]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.seq)


@dataclass(frozen=True, slots=True)
class TopologyRow:
    """A topology snapshot's metadata; the body is asked for by :meth:`Source.topology`."""

    stream_id: UUID
    seq: int
    step: int
    ts: int
    digest: str
    input_size: int
    output_size: int
    hidden_units: int
    parameters: int


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """Where the data comes from, in a line. ``since_ns`` dates the present ``connection``."""

    connection: Connection
    detail: str = ""
    remedy: str = ""
    endpoint: str = ""
    since_ns: int = 0
    unshipped: int = 0
    as_of_ns: int = 0
    """Cassandra is away: other machines' runs are shown as they were then. 0 while it answers."""
    warning: str = ""
    """What the user should know whatever the connection does: that the log takes too much disk."""


class Source(Protocol):
    """Reads runs. Every method may be called from any thread, answers within its timeout (2 s for a
    network) and raises :class:`SourceError` when it cannot; an unknown run raises KeyError."""

    def runs(self, limit: int | None = None) -> Sequence[RunRow]:
        """Runs newest first by start."""
        ...

    def run(self, run_id: UUID) -> RunDetail:
        """One run with its config, streams and the catalogue of its metrics."""
        ...

    def points(
        self, run_id: UUID, stream_id: UUID, metric: str, after_seq: int = 0, through_seq: int | None = None
    ) -> Points:
        """The points of a metric in a stream after a seq, and up to one. Empty for a metric that is not
        there."""
        ...

    def points_within(
        self, run_id: UUID, stream_id: UUID, metric: str, ranges: Sequence[tuple[int, int]]
    ) -> Points:
        """The points of a metric in ranges of seqs, first and last included, ascending and apart."""
        ...

    def paged(self, run_id: UUID, stream_id: UUID) -> Paged | None:
        """How far the stream's pages go; None while it has none that this version reads. Asked before the
        pages: those then go at least as far."""
        ...

    def top_pages(self, run_id: UUID, stream_id: UUID, metric: str) -> tuple[int, Sequence[PageBody]]:
        """The highest level of a metric that has pages, and these: one, or two at the largest exponent.
        (0, ()) when it has none."""
        ...

    def pages(
        self, run_id: UUID, stream_id: UUID, metric: str, level: int, first_page: int, last_page: int
    ) -> Sequence[PageBody]:
        """The pages of one level with these numbers, both included, ascending."""
        ...

    def records(
        self, run_id: UUID, stream_id: UUID, after_seq: int = 0, limit: int | None = None
    ) -> Sequence[Record]:
        """Whole records after a seq, in seq order."""
        ...

    def topologies(self, run_id: UUID) -> Sequence[TopologyRow]:
        """Topology snapshots, newest first."""
        ...

    def topology(self, run_id: UUID, stream_id: UUID, seq: int) -> dict[str, object]:
        """The body of one snapshot."""
        ...
