"""From packed rows of a segment to a batch of points for the pages, without a Python object per value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from wal.pyramid import SHIFT_RECORDS, Batch
from wal.record import Kind
from wal.segments.segment import Row, Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

NS_PER_US = 1_000

_LOG = int(Kind.LOG)  # an enumeration is slow to compare with

_NO_INTEGERS, _NO_FLOATS = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float64)


def log_rows(rows: Iterable[Row]) -> list[Row]:
    """The rows of plain log calls: only those are points."""
    return [row for row in rows if row[1] == _LOG]


def first_steps(rows: Iterable[Row]) -> list[int]:
    """The steps that a stream's shift is settled by: those of its first log calls."""
    return [row[3] for row in log_rows(rows)[:SHIFT_RECORDS]]


def points_of(rows: Rows, metric_id: Callable[[str], int]) -> Batch:
    """The points of these rows by metric, in seq order within each. ``metric_id`` numbers a name.

    A record that is too short for its key set, or whose key set the segment lacks, has none: it is set aside
    when it is shipped, with the reason.
    """
    found = log_rows(rows.rows)
    parts = list(_parts(rows.keysets, found, metric_id)) if found else []
    if len(parts) == 1:
        return parts[0]
    metric = np.concatenate([_NO_INTEGERS, *(part.metric for part in parts)])
    seq = np.concatenate([_NO_INTEGERS, *(part.seq for part in parts)])
    order = np.lexsort((seq, metric))
    return Batch(
        metric=metric[order],
        seq=seq[order],
        step=np.concatenate([_NO_INTEGERS, *(part.step for part in parts)])[order],
        us=np.concatenate([_NO_INTEGERS, *(part.us for part in parts)])[order],
        value=np.concatenate([_NO_FLOATS, *(part.value for part in parts)])[order],
    )


def _parts(
    keysets: dict[int, tuple[str, ...]], rows: list[Row], metric_id: Callable[[str], int]
) -> Iterator[Batch]:
    """The points of each key set, by metric and seq."""
    seq, _, keyset, step, ts, body = zip(*rows, strict=True)
    seqs, steps = np.array(seq, dtype=np.int64), np.array(step, dtype=np.int64)
    times = np.array(ts, dtype=np.int64) // NS_PER_US
    kinds = set(keyset)
    owner = np.array(keyset, dtype=np.int64) if len(kinds) > 1 else None
    for kind in sorted(kinds):
        names = keysets.get(kind, ())
        columns = sorted((metric_id(name), at) for at, name in enumerate(names) if _is_text(name))
        if not columns:
            continue
        places = np.flatnonzero(owner == kind) if owner is not None else None
        bodies = list(body) if places is None else [body[at] for at in places.tolist()]
        size = 8 * len(names)
        lengths = set(map(len, bodies))
        if lengths != {size}:  # texts behind the values, or too short
            long_enough = np.flatnonzero([len(one) >= size for one in bodies])
            bodies = [bodies[at][:size] for at in long_enough.tolist()]
            places = long_enough if places is None else places[long_enough]
        yield _columns(seqs, steps, times, places, b"".join(bodies), len(names), columns)


def _columns(
    seqs: NDArray[np.int64], steps: NDArray[np.int64], times: NDArray[np.int64],
    places: NDArray[np.intp] | None, joined: bytes, width: int, columns: list[tuple[int, int]],
) -> Batch:  # fmt: skip
    values = np.frombuffer(joined, dtype="<f8").reshape(-1, width)
    ids, order = zip(*columns, strict=True)
    if places is not None:
        seqs, steps, times = seqs[places], steps[places], times[places]
    return Batch(
        metric=np.repeat(np.array(ids, dtype=np.int64), len(values)),
        seq=np.tile(seqs, len(ids)),
        step=np.tile(steps, len(ids)),
        us=np.tile(times, len(ids)),
        value=values.T[list(order)].astype(np.float64, copy=False).reshape(-1),
    )


def _is_text(name: str) -> bool:
    """False for what is no valid Unicode, and so can be no name in SQLite or Cassandra: our own log makes
    none such, and its records are set aside when they are shipped."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
