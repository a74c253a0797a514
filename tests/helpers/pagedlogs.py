"""Logs of every shape with pages beside them, and what a chart of all their points looks like."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from itertools import islice
from pathlib import Path

import numpy as np

from helpers.logs import SECOND, START_NS, log, make_run, open_journal
from wal.journal import Journal, segment_paths
from wal.paging.pagefile import PageFile
from wal.pyramid import SHIFT_RECORDS, Batch, Builder, Columns, Series, reduce, shift_of
from wal.record import Kind, packer
from wal.segments.segment import read_rows

Logged = tuple[int, float]
"""(step, value)."""


def write_metric(
    journal: Journal, points: Sequence[Logged], metric: str = "loss", every: int = 1, filler: str = "lr"
) -> None:
    """Log each point; with ``every`` above 1, that many records a point, the others of another metric."""
    for at, (step, value) in enumerate(points):
        for other in range(every - 1):
            log(journal, step, {filler: float(other)}, time_of(at))
        log(journal, step, {metric: value}, time_of(at))


def time_of(at: int) -> int:
    """The ts (ns) of the ``at``-th point: not quite even, never going back."""
    return START_NS + at * SECOND + (at % 7) * SECOND // 9


def logged(stream_dir: Path, after_seq: int = 0) -> Iterator[tuple[int, int, int, Sequence[str], bytes]]:
    """(seq, step, ts in µs, names, body) of each log(); a Record of each would take far longer."""
    for path in segment_paths(stream_dir):
        keysets, rows = read_rows(path, after_seq)
        for seq, kind, keyset, step, ts, body in rows:
            if kind == Kind.LOG:
                yield seq, step, ts // 1_000, keysets[keyset], body


def points_of(stream_dir: Path, metric: str = "loss") -> Batch:
    """Every point of a metric in the log, in seq order."""
    rows = [
        (0, seq, step, us, packer(len(names)).unpack_from(body)[names.index(metric)])
        for seq, step, us, names, body in logged(stream_dir)
        if metric in names
    ]
    return batch_of(rows)


def batch_of(rows: Sequence[tuple[int, int, int, int, float]]) -> Batch:
    """Rows of (metric, seq, step, µs, value)."""
    columns = list(zip(*rows, strict=True)) or [()] * 5
    whole = [np.array(column, dtype=np.int64) for column in columns[:4]]
    return Batch(whole[0], whole[1], whole[2], whole[3], np.array(columns[4], dtype=np.float64))


def fill_pages(stream_dir: Path, through: int) -> None:
    """Take the stream's ``pages.db`` on to a seq, as a syncer does."""
    pages = PageFile(stream_dir)
    first_steps = [step for _, step, *_ in islice(logged(stream_dir), SHIFT_RECORDS)]
    pages.begin(through, shift_of(first_steps))
    rows = [
        (pages.metric_id(name), seq, step, us, value)
        for seq, step, us, names, body in logged(stream_dir, pages.paged_seq)
        if seq <= through
        for name, value in zip(names, packer(len(names)).unpack_from(body), strict=True)
    ]
    if rows:
        assert pages.shift is not None
        Builder(pages, pages.shift).add(batch_of(sorted(rows)))
    pages.commit()
    pages.close()


def check_series(series: Series, points: Batch) -> None:
    """The series shows what all these points show, on its own edges."""
    assert series.columns.edges.dtype == np.int64
    edges = np.asarray(series.columns.edges, dtype=np.int64)
    check_columns(series.columns, reduce(points.step, points.value, edges))


def check_columns(found: Columns, exact: Columns) -> None:
    """Equal, the mean but for the order of the additions."""
    for field in fields(Columns):
        left, right = getattr(found, field.name), getattr(exact, field.name)
        if field.name != "mean":
            assert np.array_equal(left, right, equal_nan=left.dtype == np.float64), field.name
            continue
        known = np.isfinite(left) & np.isfinite(right)
        scale = np.maximum(np.abs(exact.min), np.abs(exact.max))[known]
        assert (np.abs(left[known] - right[known]) <= 1e-9 * scale + 1e-300).all()


def check_whole(series: Series, points: Batch) -> None:
    """Counts, extent and last are of all the points."""
    value = points.value
    assert series.points == len(points)
    assert series.n_nan == int(np.isnan(value).sum())
    assert (series.n_pinf, series.n_ninf) == (int((value == np.inf).sum()), int((value == -np.inf).sum()))
    assert series.extent == (int(points.step.min()), int(points.step.max()))
    assert series.last is not None
    assert series.last.step == points.step[-1]
    assert series.last.value == value[-1] or math.isnan(series.last.value) == math.isnan(value[-1])


def new_log(
    log_dir: Path, write: Callable[[Journal], None], *, close: bool = True, **options: object
) -> Journal:
    """A stream with what ``write`` logs; its journal."""
    journal = open_journal(log_dir, make_run(), **options)  # type: ignore[arg-type]
    write(journal)
    if close:
        journal.close("done", 0)
    return journal
