"""The newest records of a stream, read once for all of its metrics.

A screen of a dozen charts asks for the same few records a dozen times a look: opening a segment costs more
than they do.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wal.reading.points import no_points
from wal.reading.streamreader import UNREADABLE
from wal.record import Kind
from wal.segments.meta import PrunedSegment
from wal.segments.segment import read_rows
from wal.source import Points

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_RECORDS = 2_048
"""Records that are kept: those beyond the pages, and as many again for a chart that comes late."""

MOST_BYTES = 8 << 20
"""Of their bodies: a thousand metrics a record, as often as that."""

VALUE_BYTES = 8


class _Row(NamedTuple):
    seq: int
    step: int
    ts: int
    places: Mapping[str, int]
    """By metric, its place in the body."""
    body: bytes


class TailRows:
    """Log records of one stream with ``first <= seq <= last``, which move on with the live edge. ``segments``
    gives the files that may hold what follows a seq, up to another. Any thread may ask."""

    def __init__(self, segments: Callable[[int, int], Iterable[Path]]) -> None:
        self._segments = segments
        self._rows: list[_Row] = []
        self._first, self._last = 1, 0
        self._places: dict[tuple[str, ...], Mapping[str, int]] = {}
        self._guard = threading.Lock()

    def points(self, metric: str, after_seq: int, through_seq: int) -> Points | None:
        """The points of a metric with ``after_seq < seq <= through_seq``; None where these records are not
        kept, or cannot all be read."""
        if through_seq - after_seq > MOST_RECORDS:
            return None
        with self._guard:
            if after_seq > self._last:
                self._rows, self._first, self._last = [], after_seq + 1, after_seq
            if after_seq + 1 < self._first or not self._has_through(through_seq):
                return None
            if after_seq + 1 < self._first:  # too large to be kept
                return None
            start, end = (bisect_right(self._rows, seq, key=_seq_of) for seq in (after_seq, through_seq))
            found = [
                (row.seq, row.step, row.ts, row.places[metric], row.body)
                for row in self._rows[start:end]
                if metric in row.places
            ]
        return _points(found) if found else no_points()

    def _has_through(self, seq: int) -> bool:
        """Whether everything up to ``seq`` is here, after having read it if need be."""
        if seq <= self._last:
            return True
        rows: list[_Row] = []
        try:
            for path in self._segments(self._last, seq):
                read = read_rows(path, self._last, seq - self._last)
                rows += [
                    _Row(row[0], row[3], row[4], self._places_of(read.keysets.get(row[2], ())), row[5])
                    for row in read.rows
                    if row[1] == Kind.LOG and row[0] <= seq
                ]
        except (*UNREADABLE, PrunedSegment):
            return False
        if any(len(row.body) < VALUE_BYTES * len(row.places) for row in rows):
            return False
        self._rows += rows
        self._last = seq
        self._let_go()
        return True

    def _places_of(self, names: tuple[str, ...]) -> Mapping[str, int]:
        places = self._places.get(names)
        if places is None:
            places = self._places[names] = {name: at for at, name in enumerate(names)}
        return places

    def _let_go(self) -> None:
        """Keep the newest within the bounds."""
        size = sum(len(row.body) for row in self._rows)
        gone = max(len(self._rows) - MOST_RECORDS, 0)
        size -= sum(len(row.body) for row in self._rows[:gone])
        while size > MOST_BYTES and gone < len(self._rows):
            size -= len(self._rows[gone].body)
            gone += 1
        if gone:
            self._first = self._rows[gone - 1].seq + 1
            del self._rows[:gone]


def _seq_of(row: _Row) -> int:
    return row.seq


def _points(found: list[tuple[int, int, int, int, bytes]]) -> Points:
    values = b"".join(body[VALUE_BYTES * at : VALUE_BYTES * (at + 1)] for _, _, _, at, body in found)
    seq, step, ts = (np.array([row[column] for row in found], dtype=np.int64) for column in range(3))
    return Points(seq, step, ts, np.frombuffer(values, dtype="<f8").astype(np.float64, copy=False))
