"""Sealing: count, digest and summaries of a segment that takes no more records. Standard library only.

The work is done beside a training loop, so it comes in short slices of interpreter time with sleeps
between them: a thread that keeps the interpreter for longer holds up a ``log()`` call until CPython
takes it away, which is after 5 ms.
"""

from __future__ import annotations

import sqlite3
import struct
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from hashlib import blake2b
from typing import Any, NamedTuple

from wal.record import DIGEST_BYTES, DIGEST_MODULUS, Kind, decode, digest, packer
from wal.segments.meta import End, Seal
from wal.segments.segment import Row
from wal.segments.spill import GAP_NAMES
from wal.segments.writing import OpenSegment
from wal.summary import MetricSummary


class Pace(NamedTuple):
    """How long the interpreter is held at a time, and how long it is left alone in between."""

    slice_ns: int
    pause_seconds: float


PATIENT = Pace(15_000, 1e-3)
"""One or two records in a millisecond: hardly a call meets the sealing, and none waits for long."""

HASTY = Pace(60_000, 50e-6)
"""For a program that does little but log, whose segments fill faster than they can be sealed patiently. A
call that meets the sealing waits for a slice; longer ones seal no faster."""

ROWS_PER_READ = 64


class _Progress:
    """What has been read of the segment that is being sealed."""

    __slots__ = ("after_seq", "count", "dropped", "max_step", "min_step", "total")

    def __init__(self, after_seq: int = 0) -> None:
        self.after_seq = after_seq
        self.count = self.total = self.min_step = self.max_step = self.dropped = 0


class _PlainRecords:
    """The canonical bytes (:func:`wal.record.canonical_bytes`) of ``log()`` records of one key set that hold
    nothing but numbers, three times as fast: all but the values is packed from a template."""

    def __init__(self, names: tuple[str, ...]) -> None:
        form = ">QBqqI"
        self._template: list[Any] = [0, int(Kind.LOG), 0, 0, len(names)]
        for name in names:
            encoded = name.encode("utf-8", "surrogatepass")
            form += f"{4 + len(encoded)}sd"
            self._template += (len(encoded).to_bytes(4, "big") + encoded, 0.0)
        self._pack = struct.Struct(form + "I").pack
        self._template.append(0)  # no texts
        self.values = packer(len(names))

    def canonical_bytes(self, seq: int, step: int, ts: int, values: tuple[float, ...]) -> bytes:
        fields = self._template
        fields[0], fields[2], fields[3] = seq, step, ts
        fields[6:-1:2] = values
        return self._pack(*fields)


class Sealer:
    """Seals the segments of one stream in their order, keeping the stream's summaries so far. ``lock`` is
    held around each use of a segment's connection."""

    def __init__(
        self, lock: AbstractContextManager[None], clock_ns: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        self.summaries: dict[str, MetricSummary] = {}
        self.pace = PATIENT
        self._progress = _Progress()
        self._plain: dict[tuple[str, ...], _PlainRecords] = {}
        self._lock = lock
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
        with self._lock:
            segment.write_seal(segment.seal, metrics, end)

    def skip(self) -> None:
        """Forget the segment that was being sealed: it is damaged, or deleted."""
        self._progress = _Progress(after_seq=self._progress.after_seq)

    def _digest(self, segment: OpenSegment, pause: Callable[[], None] | None) -> Seal:
        progress = self._progress
        names: dict[int, tuple[str, ...]] = {}
        self._plain.clear()
        while True:
            with self._lock:
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
        keys = names[keyset]
        plain = self._plain.get(keys)
        if plain is None:
            plain = self._plain[keys] = _PlainRecords(keys)
        if kind == Kind.LOG and len(body) == plain.values.size:
            values = plain.values.unpack(body)
            hashed = blake2b(plain.canonical_bytes(seq, step, ts, values), digest_size=DIGEST_BYTES)
            progress.total = (progress.total + int.from_bytes(hashed.digest(), "big")) % DIGEST_MODULUS
            self._summarise(step, keys, values)
        else:
            record = decode(seq, kind, keys, step, ts, body)
            progress.total = digest((record,), progress.total)
            if kind == Kind.LOG:
                self._summarise(step, keys, tuple(record.values.values()))
            elif kind == Kind.GAP:
                progress.dropped += int(record.values[GAP_NAMES[0]])
        if progress.count == 0:
            progress.min_step = progress.max_step = step
        elif step < progress.min_step:
            progress.min_step = step
        elif step > progress.max_step:
            progress.max_step = step
        progress.count += 1
        progress.after_seq = seq

    def _summarise(self, step: int, names: tuple[str, ...], values: tuple[float, ...]) -> None:
        for name, value in zip(names, values, strict=True):
            summary = self.summaries.get(name)
            if summary is None:
                summary = self.summaries[name] = MetricSummary()
            summary.add(step, value)

    def _breathe(self, pause: Callable[[], None] | None) -> None:
        if pause is not None and self._clock_ns() >= self._slice_end:
            pause()
            self._slice_end = self._clock_ns() + self.pace.slice_ns


def is_broken(error: Exception) -> bool:
    """Whether trying again cannot help: the file's content is damaged, not the disk full."""
    return not isinstance(error, sqlite3.OperationalError | OSError)
