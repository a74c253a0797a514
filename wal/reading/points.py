"""Points of one metric, read from segments as arrays, and summarised as arrays.

The values leave SQLite as one blob per segment: a Python object per value would cost more than the reading.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wal.pyramid import reduce
from wal.record import Kind
from wal.segments.meta import CorruptSegment
from wal.segments.segment import metric_names, reading_segment
from wal.source import Points
from wal.summary import CURVE_BUCKETS, Bucket, MetricSummary

if TYPE_CHECKING:
    from numpy.typing import NDArray

# group_concat over a scan of the primary key yields its parts in seq order, all three alike. A blob's bytes
# pass through it unchanged in a UTF-8 database, as the CAST turns the text back into the same bytes.
_VALUES = """
SELECT count(*), min(seq), max(seq), min(step - seq), max(step - seq), group_concat(ts),
       CAST(group_concat(substr(body, {offset}, 8), '') AS BLOB)
FROM record WHERE seq > ? AND seq <= ? AND kind = ? AND keyset IN ({keysets})
"""
_PLACES = """
SELECT group_concat(seq), group_concat(step)
FROM record WHERE seq > ? AND seq <= ? AND kind = ? AND keyset IN ({keysets})
"""

NEWEST_SEQ = (1 << 63) - 1


def no_points() -> Points:
    integers = np.zeros(0, dtype=np.int64)
    return Points(integers, integers, integers, np.zeros(0, dtype=np.float64))


def join(parts: Sequence[Points]) -> Points:
    """Points one after the other."""
    parts = [part for part in parts if len(part)]
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return no_points()
    return Points(
        np.concatenate([part.seq for part in parts]),
        np.concatenate([part.step for part in parts]),
        np.concatenate([part.ts for part in parts]),
        np.concatenate([part.value for part in parts]),
    )


def pick(points: Points, mask: NDArray[np.bool_] | NDArray[np.intp]) -> Points:
    """The points where ``mask`` is true, or at these places."""
    return Points(points.seq[mask], points.step[mask], points.ts[mask], points.value[mask])


def segment_points(path: Path, metric: str, after_seq: int = 0, through_seq: int | None = None) -> Points:
    """The points of ``metric`` in one segment file with ``after_seq < seq <= through_seq``, in seq order.

    Raises what :func:`wal.segments.segment.read_rows` raises; CorruptSegment also when a body is too short.
    """
    with reading_segment(path) as connection:
        offsets = _value_offsets(path, connection, metric)
        if not offsets:
            return no_points()
        between = (after_seq, NEWEST_SEQ if through_seq is None else through_seq)
        return _read(path, connection, offsets, between)


def _value_offsets(path: Path, connection: sqlite3.Connection, metric: str) -> dict[int, int]:
    """Where the metric's 8 bytes begin in a body, 1-based as substr counts, by key set id."""
    offsets: dict[int, int] = {}
    for keyset, names in connection.execute("SELECT id, names FROM keyset"):
        try:
            offsets[keyset] = 8 * metric_names(path, names).index(metric) + 1
        except ValueError:  # this key set does not hold the metric
            continue
    return offsets


def _read(
    path: Path, connection: sqlite3.Connection, offsets: dict[int, int], between: tuple[int, int]
) -> Points:
    keysets = ",".join(map(str, offsets))
    cases = " ".join(f"WHEN {keyset} THEN {offset}" for keyset, offset in offsets.items())
    count, first, last, low, high, times, body = connection.execute(
        _VALUES.format(offset=f"CASE keyset {cases} END", keysets=keysets), (*between, Kind.LOG)
    ).fetchone()
    if not count:
        return no_points()
    if len(body or b"") != 8 * count:  # SQLite joins nothing to NULL
        raise CorruptSegment(f"{path}: a record from {first} to {last} is too short for its key set")
    values = np.frombuffer(body, dtype="<f8").astype(np.float64, copy=False)
    if last - first + 1 == count and isinstance(low, int) and isinstance(high, int) and low == high:
        # The usual case, a step per call: both follow from the first without being read. (A difference that
        # overflows becomes a float in SQLite; those are read.)
        seq = np.arange(first, last + 1, dtype=np.int64)
        step = np.arange(first + low, last + low + 1, dtype=np.int64)
    else:
        seqs, steps = connection.execute(_PLACES.format(keysets=keysets), (*between, Kind.LOG)).fetchone()
        seq, step = _integers(path, seqs, count), _integers(path, steps, count)
    return Points(seq, step, _integers(path, times, count), values)


def _integers(path: Path, text: str, count: int) -> NDArray[np.int64]:
    try:
        numbers = np.fromstring(text, dtype=np.int64, sep=",")
    except (TypeError, ValueError):
        numbers = np.zeros(0, dtype=np.int64)
    if len(numbers) != count:
        raise CorruptSegment(f"{path} holds a row that Canopy does not write")
    return numbers


def summarise(points: Points) -> MetricSummary:
    """The summary of all these points, equal to adding them one by one; where steps go back, the first and
    last value of a bucket are by seq, which adding one by one cannot know after its buckets doubled."""
    summary = MetricSummary()
    total = len(points)
    if not total:
        return summary
    lowest, highest = int(points.step.min()), int(points.step.max())
    while (highest >> summary.shift) - (lowest >> summary.shift) >= CURVE_BUCKETS:
        summary.shift += 1
    first = lowest >> summary.shift
    buckets = (highest >> summary.shift) - first + 1
    index = (points.step >> np.int64(min(summary.shift, 63))) - first
    # reduce() keeps points in the order given within a "step", so bucket numbers as steps give seq order.
    columns = reduce(index, points.value, np.arange(buckets + 1, dtype=np.int64))
    for at in np.flatnonzero(columns.n):
        summary.buckets[first + int(at)] = Bucket(
            n=int(columns.n[at]), n_nan=int(columns.n_nan[at]), n_pinf=int(columns.n_pinf[at]),
            n_ninf=int(columns.n_ninf[at]), min=float(columns.min[at]), max=float(columns.max[at]),
            first=float(columns.first[at]), last=float(columns.last[at]),
        )  # fmt: skip
    summary.n, summary.first_step = total, lowest
    summary.n_nan, summary.n_pinf = int(columns.n_nan.sum()), int(columns.n_pinf.sum())
    summary.n_ninf = int(columns.n_ninf.sum())
    summary.last, summary.last_step = float(points.value[-1]), int(points.step[-1])
    finite = np.flatnonzero(np.isfinite(points.value))
    if len(finite):
        value, step = points.value[finite], points.step[finite]
        low, high = int(value.argmin()), int(value.argmax())
        summary.min, summary.min_step = float(value[low]), int(step[low])
        summary.max, summary.max_step = float(value[high]), int(step[high])
    return summary
