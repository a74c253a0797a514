"""Sealing: count, digest and summaries of a segment that takes no more records. Standard library only.

The work is done beside a training loop, so it comes in slices of about 0.1 ms of interpreter time with a
sleep between them: a thread that keeps the interpreter for longer holds up a ``log()`` call until CPython
takes it away, which is 5 ms.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

from wal.locks import MAINTENANCE
from wal.meta import End, Seal
from wal.record import DIGEST_BYTES, Kind, decode, digest
from wal.segment import Row
from wal.spill import GAP_NAMES
from wal.summary import MetricSummary, add_values
from wal.writing import OpenSegment

SLICE_NS = 100_000
SLICE_PAUSE_SECONDS = 50e-6
"""With the timer's slack this sleeps 0.1 ms: sealing keeps up with a loop that does nothing but log."""

ROWS_PER_READ = 64


@dataclass(slots=True)
class _Progress:
    """What has been read of the segment that is being sealed."""

    after_seq: int = 0
    count: int = 0
    total: int = 0
    min_step: int = 0
    max_step: int = 0
    dropped: int = 0


class Sealer:
    """Seals the segments of one stream in their order, keeping the stream's summaries so far."""

    def __init__(self, clock_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        self.summaries: dict[str, MetricSummary] = {}
        self._progress = _Progress()
        self._clock_ns = clock_ns
        self._slice_end = 0

    def seal(self, segment: OpenSegment, pause: Callable[[], None] | None, end: End | None = None) -> None:
        """Digest ``segment`` and write its seal. ``pause`` is called between slices, None for in one go.

        Raises sqlite3.Error; a second attempt goes on where the first one failed.
        """
        if segment.seal is None:
            segment.seal = self._digest(segment, pause)
            self._progress = _Progress(after_seq=segment.seal.last_seq)
        metrics: list[tuple[str, int, bytes]] = []
        for position, (name, summary) in enumerate(self.summaries.items()):
            metrics.append((name, position, summary.pack()))
            self._breathe(pause)
        with MAINTENANCE:
            segment.write_seal(segment.seal, metrics, end)

    def skip(self) -> None:
        """Forget the segment that was being sealed: it is damaged, or deleted."""
        self._progress = _Progress(after_seq=self._progress.after_seq)

    def _digest(self, segment: OpenSegment, pause: Callable[[], None] | None) -> Seal:
        progress = self._progress
        names: dict[int, tuple[str, ...]] = {}
        while True:
            with MAINTENANCE:
                rows: list[Row] = segment.execute(
                    "SELECT seq, kind, keyset, step, ts, body FROM record WHERE seq > ? ORDER BY seq LIMIT ?",
                    (progress.after_seq, ROWS_PER_READ),
                ).fetchall()
            if not rows:
                break
            if not names:
                names = {identity: keys for keys, identity in segment.keysets.items()}
            for row in rows:
                self._take(progress, row, names)
                self._breathe(pause)
        return Seal(
            last_seq=max(progress.after_seq, segment.first_seq - 1),
            count=progress.count,
            digest=progress.total.to_bytes(DIGEST_BYTES, "big").hex(),
            min_step=progress.min_step,
            max_step=progress.max_step,
            dropped=progress.dropped,
        )

    def _take(self, progress: _Progress, row: Row, names: dict[int, tuple[str, ...]]) -> None:
        seq, kind, keyset, step, ts, body = row
        record = decode(seq, kind, names[keyset], step, ts, body)
        progress.total = digest((record,), progress.total)
        if progress.count == 0:
            progress.min_step = progress.max_step = step
        elif step < progress.min_step:
            progress.min_step = step
        elif step > progress.max_step:
            progress.max_step = step
        progress.count += 1
        progress.after_seq = seq
        if kind == Kind.LOG:
            add_values(self.summaries, step, record.values)
        elif kind == Kind.GAP:
            progress.dropped += int(record.values[GAP_NAMES[0]])

    def _breathe(self, pause: Callable[[], None] | None) -> None:
        if pause is not None and self._clock_ns() >= self._slice_end:
            pause()
            self._slice_end = self._clock_ns() + SLICE_NS


def is_broken(error: Exception) -> bool:
    """Whether trying again cannot help: the file's content is damaged, not the disk full."""
    return not isinstance(error, sqlite3.OperationalError | OSError)
