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
from typing import TYPE_CHECKING
from uuid import UUID

from wal.paging.buckets import Batch, Buckets, from_points
from wal.paging.building import Builder, PageStore
from wal.paging.columns import LAST_EDGE, Columns, column_edges, columns_of, reduce
from wal.paging.levels import BASE_LEVEL, SHIFT_RECORDS, exponent_for, level_of, page_range, shift_of
from wal.paging.pages import CorruptPage, Page, decode, encode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "BASE_LEVEL", "LAST_EDGE", "SHIFT_RECORDS", "TAIL_RECORDS", "Batch", "Buckets", "Builder", "Columns",
    "CorruptPage", "Page", "PageStore", "Series", "column_edges", "columns_of", "decode", "encode",
    "exponent_for", "from_points", "level_of", "page_range", "reduce", "shift_of",
]  # fmt: skip

TAIL_RECORDS = 512
"""Pages are written at every so many records of a stream, and at its end: this many complete any chart."""


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one stream, reduced to columns. ``unshipped`` is bool of shape (k,): the column holds at
    least one record that Cassandra has not acknowledged. ``points`` counts what the columns were made of."""

    run_id: UUID
    stream_id: UUID
    rank: int
    metric: str
    columns: Columns
    unshipped: NDArray[np.bool_]
    points: int
