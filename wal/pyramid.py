"""Reducing points to columns: pure functions on numpy arrays.

A chart draws one column per pixel. Each column keeps the first, last, smallest and largest finite value of
its points, which makes the drawn line equal to the one drawn from all points (M4: Jugel, Jerzak, Hackenbroich
and Markl, "M4: a visualization-oriented time series data aggregation", VLDB 2014), and counts what is not
finite, so that no NaN is ever hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


LAST_EDGE = (1 << 63) - 1
"""The largest int64. As a last edge it stands for 2^63: the column before it holds that step too."""


@dataclass(frozen=True, slots=True)
class Columns:
    """``k`` columns: column ``i`` holds the points with ``edges[i] <= step < edges[i + 1]``.

    ``edges`` is int64 of shape (k + 1,); all others are of shape (k,). ``n`` counts all points of a column,
    ``n_nan``, ``n_pinf`` and ``n_ninf`` those that are not finite. ``first`` and ``last`` are by (step, seq);
    ``min_step`` and ``max_step`` are where the extreme first occurred. Values of a column without a finite
    point are NaN and its steps 0. ``mean`` is over finite points, NaN where their sum overflowed.
    """

    edges: NDArray[np.int64]
    n: NDArray[np.int64]
    n_nan: NDArray[np.int64]
    n_pinf: NDArray[np.int64]
    n_ninf: NDArray[np.int64]
    first: NDArray[np.float64]
    last: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    mean: NDArray[np.float64]
    first_step: NDArray[np.int64]
    last_step: NDArray[np.int64]
    min_step: NDArray[np.int64]
    max_step: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.n)

    @property
    def finite(self) -> NDArray[np.int64]:
        """Finite points per column."""
        return self.n - self.n_nan - self.n_pinf - self.n_ninf


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


def column_edges(first_step: int, last_step: int, columns: int) -> NDArray[np.int64]:
    """Edges of ``columns`` equal step intervals that hold ``first_step`` … ``last_step``, both included.

    Fewer columns come back when there are fewer steps than columns. Raises ValueError for ``columns < 1``.
    """
    if columns < 1:
        raise ValueError(f"a chart needs at least one column, not {columns}")
    span = max(int(last_step) - int(first_step) + 1, 1)
    count = min(columns, span)
    # Python integers: a span near 2^63 times a column number would overflow int64.
    edges = [first_step + span * i // count for i in range(count + 1)]
    edges[-1] = min(edges[-1], LAST_EDGE)
    return np.array(edges, dtype=np.int64)


def reduce(step: NDArray[np.int64], value: NDArray[np.float64], edges: NDArray[np.int64]) -> Columns:
    """Columns of the points whose step lies within the edges. Points are given in seq order."""
    k = len(edges) - 1
    if len(step) > 1 and bool((step[1:] < step[:-1]).any()):
        order = np.argsort(step, kind="stable")  # stable: (step, seq)
        step, value = step[order], value[order]
    low = np.searchsorted(step, edges[0], side="left")
    high = np.searchsorted(step, edges[-1], side="right" if edges[-1] == LAST_EDGE else "left")
    step, value = step[low:high], value[low:high]
    column = np.minimum(np.searchsorted(edges, step, side="right") - 1, k - 1)
    nan, pinf, ninf = np.isnan(value), value == np.inf, value == -np.inf
    finite = ~(nan | pinf | ninf)

    def count(mask: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        picked = column if mask is None else column[mask]
        return np.bincount(picked, minlength=k).astype(np.int64)

    fstep, fvalue, fcolumn = step[finite], value[finite], column[finite]
    n_finite = np.bincount(fcolumn, minlength=k).astype(np.int64)
    first, last, low_v, high_v, mean = (np.full(k, np.nan) for _ in range(5))
    first_step, last_step, low_step, high_step = (np.zeros(k, dtype=np.int64) for _ in range(4))
    some = np.flatnonzero(n_finite)
    if len(some):
        ends = np.cumsum(n_finite[some])
        starts = ends - n_finite[some]
        first[some], first_step[some] = fvalue[starts], fstep[starts]
        last[some], last_step[some] = fvalue[ends - 1], fstep[ends - 1]
        low_v[some] = np.minimum.reduceat(fvalue, starts)
        high_v[some] = np.maximum.reduceat(fvalue, starts)
        for extreme, where in ((low_v, low_step), (high_v, high_step)):
            hits = np.flatnonzero(fvalue == extreme[fcolumn])
            columns_hit, at = np.unique(fcolumn[hits], return_index=True)
            where[columns_hit] = fstep[hits[at]]
        with np.errstate(over="ignore", invalid="ignore"):
            total = np.bincount(fcolumn, weights=fvalue, minlength=k)[some]
            mean[some] = np.where(np.isfinite(total), total / n_finite[some], np.nan)
    return Columns(
        edges=edges, n=count(), n_nan=count(nan), n_pinf=count(pinf), n_ninf=count(ninf),
        first=first, last=last, min=low_v, max=high_v, mean=mean,
        first_step=first_step, last_step=last_step, min_step=low_step, max_step=high_step,
    )  # fmt: skip
