"""Records of a segment by column: what pages are made of, read without a Python object per value.

SQLite joins the columns itself, in one step of a query, during which the interpreter lock is free for whoever
sends or waits for answers. Row by row, the same took three times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wal.pyramid import SHIFT_RECORDS
from wal.record import Kind
from wal.segments.meta import CorruptSegment
from wal.segments.segment import Row, Rows, metric_names, reading_segment

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOG = int(Kind.LOG)  # an enumeration is slow to compare with

_FLOAT_BYTES = 8

_QUERY = f"""
SELECT kind, keyset, CASE kind WHEN {_LOG} THEN length(body) ELSE 0 END AS size,
  group_concat(seq), group_concat(step), group_concat(ts),
  group_concat(CASE kind WHEN {_LOG} THEN body END, ''),
  total(typeof(step) <> 'integer' OR typeof(ts) <> 'integer' OR typeof(body) <> 'blob')
FROM record WHERE seq BETWEEN ? AND ? GROUP BY kind, keyset, size
"""
"""The last column counts the rows that Canopy does not write: SQLite checks types when a row is written, by
whatever the table said then."""


@dataclass(frozen=True, slots=True)
class Group:
    """Log calls of one key set, in seq order; shapes (r,) and, of ``values``, (r, names). ``ts`` in ns.

    Without ``names`` they hold no points: a call that is too short for its key set, or whose key set the
    segment lacks, is set aside when it is shipped, with the reason.
    """

    names: tuple[str, ...]
    seq: NDArray[np.int64]
    step: NDArray[np.int64]
    ts: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Columns:
    """The ``seqs`` (r,) of all records, ascending, and the ``groups`` of log calls, whose bodies take
    ``body_bytes``."""

    seqs: NDArray[np.int64]
    groups: tuple[Group, ...]
    body_bytes: int

    def first_steps(self) -> list[int]:
        """Those that a stream's shift is settled by: of its first log calls."""
        seq = joined([group.seq for group in self.groups])
        step = joined([group.step for group in self.groups])
        return step[np.argsort(seq)][:SHIFT_RECORDS].tolist()


def joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Parts one after the other; shape (0,) of none."""
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


def read_columns(path: Path, first: int, last: int) -> Columns:
    """The records ``first`` … ``last`` of a segment, as far as it has them. Raises like
    :func:`wal.segments.segment.read_rows`."""
    with reading_segment(path) as connection:
        keysets = dict(connection.execute("SELECT id, names FROM keyset").fetchall())
        connection.execute("PRAGMA temp_store = MEMORY")  # else large records are sorted by way of the disk
        connection.text_factory = bytes  # bodies joined are a text to SQLite, and are left as they are
        found = connection.execute(_QUERY, (first, last)).fetchall()
    seqs: list[NDArray[np.int64]] = []
    groups: list[Group] = []
    for kind, keyset, size, seq, step, ts, bodies, strange in found:
        if strange or not isinstance(kind, int) or not isinstance(keyset, int):
            raise CorruptSegment(f"{path} holds a row that Canopy does not write")
        seqs.append(_integers(seq))
        if kind == _LOG:
            names = metric_names(path, keysets[keyset]) if keyset in keysets else ()
            groups.append(_group(names, seqs[-1], _integers(step), _integers(ts), bodies or b"", size))
    return Columns(np.sort(joined(seqs)), tuple(groups), sum(len(row[6] or b"") for row in found))


def columns_of(rows: Rows) -> Columns:
    """The same of rows that lie in no segment any more."""
    alike: dict[tuple[int, int], list[Row]] = {}
    for row in rows.rows:
        if row[1] == _LOG:
            alike.setdefault((row[2], len(row[5])), []).append(row)
    groups: list[Group] = []
    for (keyset, size), found in alike.items():
        seq, _, _, step, ts, bodies = zip(*found, strict=True)
        seqs, steps, times = (np.array(column, dtype=np.int64) for column in (seq, step, ts))
        groups.append(_group(rows.keysets.get(keyset, ()), seqs, steps, times, b"".join(bodies), size))
    body_bytes = sum(size * len(found) for (_, size), found in alike.items())
    return Columns(np.array([row[0] for row in rows.rows], dtype=np.int64), tuple(groups), body_bytes)


def _group(
    names: tuple[str, ...], seq: NDArray[np.int64], step: NDArray[np.int64], ts: NDArray[np.int64],
    bodies: bytes, size: int,
) -> Group:  # fmt: skip
    """Of bodies of ``size`` bytes each, end to end, the floats that come first."""
    if size < _FLOAT_BYTES * len(names):
        names = ()
    table = np.frombuffer(bodies, dtype=np.uint8).reshape(len(seq), size)
    floats = np.ascontiguousarray(table[:, : _FLOAT_BYTES * len(names)])
    values = floats.view("<f8").astype(np.float64, copy=False) if names else np.zeros((len(seq), 0))
    if bool((seq[1:] > seq[:-1]).all()):
        return Group(names, seq, step, ts, values)
    order = np.argsort(seq)  # SQLite does not say in which order it joins
    return Group(names, seq[order], step[order], ts[order], values[order])


def _integers(text: bytes) -> NDArray[np.int64]:
    """Decimal numbers between commas."""
    return np.fromstring(text, dtype=np.int64, sep=",")
