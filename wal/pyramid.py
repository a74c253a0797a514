"""The pyramid: buckets, pages and columns, so that a chart costs as many reads as it is wide.

Pure functions on numpy arrays. Records become buckets (:mod:`wal.paging.buckets`), 64 bucket places become a
page (:mod:`wal.paging.pages`), a stream's pages are kept level by level (:mod:`wal.paging.building`), a chart
picks a level by its range and width (:mod:`wal.paging.levels`) and draws columns (:mod:`wal.paging.columns`).

Each column keeps the first, last, smallest and largest finite value of its points, which makes the drawn line
equal to the one drawn from all points (M4: Jugel, Jerzak, Hackenbroich and Markl, "M4: a
visualization-oriented time series data aggregation", VLDB 2014), and counts what is not finite, so that no
NaN is ever hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from wal.paging.axes import STEP, Ask, XAxis
from wal.paging.buckets import Batch, Buckets, from_points
from wal.paging.building import Builder, PageStore
from wal.paging.columns import (
    LAST_EDGE,
    Columns,
    column_edges,
    columns_at,
    columns_of,
    reduce,
    value_edges,
)
from wal.paging.levels import BASE_LEVEL, SHIFT_RECORDS, exponent_for, level_of, page_range, shift_of
from wal.paging.pages import CorruptPage, Page, decode, encode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "BASE_LEVEL", "LAST_EDGE", "SHIFT_RECORDS", "STEP", "TAIL_RECORDS", "Ask", "Batch", "Buckets", "Builder",
    "Columns", "CorruptPage", "Last", "Page", "PageStore", "Series", "XAxis", "column_edges", "columns_at",
    "columns_of", "decode", "encode", "exponent_for", "from_points", "level_of", "page_range", "reduce",
    "shift_of", "value_edges",
]  # fmt: skip

TAIL_RECORDS = 512
"""Pages are written at every so many records of a stream, and at its end: this many complete any chart."""


class Last(NamedTuple):
    """The newest point of a series by seq, finite or not. ``x`` is in the axis' units; NaN where the axis is
    a metric that has no value there."""

    x: float
    value: float
    step: int


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one stream, reduced to columns.

    ``unshipped`` is bool of shape (k,): the column holds at least one record that Cassandra has not
    acknowledged. ``points``, ``n_nan``, ``n_pinf`` and ``n_ninf`` count the whole series, however little of
    it the columns show; ``extent`` is the lowest and the highest x of all of it. ``resolution`` is how many
    steps the largest bucket read spans (1: every point for itself); ``approximate`` that buckets stand as
    wholes at one x, as on every axis but the step's. ``restarts`` are the x at which a resume begins.
    ``ghost``: what a resume superseded, from the resume's first step on. ``as_of_ns`` dates what is shown
    when its source cannot be asked now; 0 while it can.
    """

    run_id: UUID
    stream_id: UUID
    rank: int
    metric: str
    columns: Columns
    unshipped: NDArray[np.bool_]
    points: int
    n_nan: int = 0
    n_pinf: int = 0
    n_ninf: int = 0
    x: XAxis = STEP
    extent: tuple[float, float] = (0, 0)
    last: Last | None = None
    resolution: int = 1
    approximate: bool = False
    restarts: tuple[float, ...] = ()
    ghost: bool = False
    as_of_ns: int = 0
