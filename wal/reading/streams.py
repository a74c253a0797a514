"""One stream of the log directory: its facts, read once and then only as far as it grew.

Standard library only: listing runs imports this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from wal.segments.liveness import Liveness
from wal.segments.meta import End, RunInfo, StreamInfo
from wal.source import RunState
from wal.summary import MetricSummary

SILENCE_NS = 60_000_000_000
"""A stream whose process cannot be seen (another host) counts as running this long after its last sign."""


class Summaries(Mapping[str, tuple[int, MetricSummary]]):
    """(position of first logging, summary) by metric, unpacked when somebody asks.

    A list of a thousand runs shows one metric of each: the bytes of the others stay packed, or in the cache,
    where ``fetch`` finds them. What it returns is shared: copy a summary before adding to it.
    """

    __slots__ = ("_fetch", "_packed", "_positions", "_unpacked")

    def __init__(
        self,
        positions: Mapping[str, int],
        packed: Mapping[str, bytes] | None = None,
        fetch: Callable[[str], bytes] | None = None,
    ) -> None:
        self._positions = positions
        self._packed = packed
        self._fetch = fetch
        self._unpacked: dict[str, MetricSummary] = {}

    def __getitem__(self, name: str) -> tuple[int, MetricSummary]:
        position = self._positions[name]
        summary = self._unpacked.get(name)
        if summary is None:
            summary = self._unpacked[name] = MetricSummary.unpack(self.packed(name))
        return position, summary

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def __contains__(self, name: object) -> bool:
        return name in self._positions

    def let_go(self) -> None:
        """Forget what was unpacked: it takes ten times the room of the bytes."""
        self._unpacked.clear()

    def position(self, name: str) -> int:
        return self._positions[name]

    def packed(self, name: str) -> bytes:
        """The summary's bytes, as :meth:`MetricSummary.pack` made them."""
        if self._packed is not None:
            return self._packed[name]
        if self._fetch is None:
            raise KeyError(name)
        return self._fetch(name)


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """What the log directory says of one stream.

    ``state`` is as of the look that made this entry. ``first_step`` and ``last_step`` are the smallest and
    the largest step seen; ``last_ts`` the ts of the newest record (ns; 0 without records); ``heartbeat_ns``
    the last time that one of its files changed, or the look itself while its process lives. ``acked`` are the
    seq ranges that the syncer had acknowledged. ``problem`` is a sentence for the user when a part of the
    stream cannot be read; it names the file.
    """

    run_id: UUID
    stream_id: UUID
    directory: Path
    run: RunInfo
    info: StreamInfo
    liveness: Liveness
    state: RunState
    exit_code: int | None
    ended_ns: int | None
    last_seq: int
    first_step: int
    last_step: int
    last_ts: int
    heartbeat_ns: int
    summaries: Summaries = field(default_factory=lambda: Summaries({}, {}))
    acked: tuple[tuple[int, int], ...] = ()
    problem: str | None = None

    @property
    def final(self) -> bool:
        """True when the stream can never grow again: it was closed, or its process is known to be dead."""
        return self.state.is_final

    @property
    def unshipped(self) -> int:
        """Committed records that are not acknowledged."""
        return self.last_seq - sum(last - first + 1 for first, last in self.acked)


def state_of(end: End | None, liveness: Liveness, silence_ns: int) -> RunState:
    """A stream's state: how it ended, else what is known of its process, else how long it is silent."""
    if end is not None:
        return RunState.DONE if end.state == "done" else RunState.FAILED
    if liveness is Liveness.DEAD:
        return RunState.CRASHED
    alive = liveness is Liveness.ALIVE or silence_ns < SILENCE_NS
    return RunState.RUNNING if alive else RunState.STALE
