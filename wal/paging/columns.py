"""Columns: what a chart draws, one per pixel column, from points, from buckets, or from both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from wal.paging.buckets import FAN_OUT_BITS, Batch, Buckets, by_number, combined, merged, no_buckets

if TYPE_CHECKING:
    from numpy.typing import NDArray

LAST_EDGE = (1 << 63) - 1
"""The largest int64. As a last edge it stands for 2^63: the column before it holds that step too."""

FIRST_EDGE = -(1 << 63)


@dataclass(frozen=True, slots=True)
class Columns:
    """``k`` columns: column ``i`` holds the points with ``edges[i] <= x < edges[i + 1]``.

    ``edges`` is of shape (k + 1,), int64 for steps and times and float64 for a metric as x; all others are of
    shape (k,). ``n`` counts all points of a column, ``n_nan``, ``n_pinf`` and ``n_ninf`` those that are not
    finite. ``first`` and ``last`` are by (x, step, seq); ``min_step`` and ``max_step`` are where the extreme
    first occurred, ``first_x`` … ``max_x`` the x of the same points (on the step axis the steps themselves).
    Values of a column without a finite point are NaN, its steps and x 0. ``mean`` is over finite points,
    NaN where their sum overflowed; of single points the sum is left to right by seq.
    """

    edges: NDArray[np.int64] | NDArray[np.float64]
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
    first_x: NDArray[np.int64] | NDArray[np.float64]
    last_x: NDArray[np.int64] | NDArray[np.float64]
    min_x: NDArray[np.int64] | NDArray[np.float64]
    max_x: NDArray[np.int64] | NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.n)

    @property
    def finite(self) -> NDArray[np.int64]:
        """Finite points per column."""
        return self.n - self.n_nan - self.n_pinf - self.n_ninf


def column_edges(first_step: int, last_step: int, columns: int, exponent: int = 0) -> NDArray[np.int64]:
    """Edges of ``columns`` equal step intervals that hold ``first_step`` … ``last_step``, both included, each
    edge moved to the nearest multiple of ``8^exponent``, the first down and the last up.

    Fewer columns come back when there are fewer steps, or multiples, than columns. With an exponent of
    :func:`wal.paging.levels.exponent_for` an inner edge moves by a quarter of a column at most. Raises
    ValueError for ``columns < 1``.
    """
    if columns < 1:
        raise ValueError(f"a chart needs at least one column, not {columns}")
    return _column_edges(int(first_step), int(last_step), columns, exponent)


@lru_cache(maxsize=16)
def _column_edges(first: int, last: int, columns: int, exponent: int) -> NDArray[np.int64]:
    """All charts of a run at one look share theirs, and nobody can write to them."""
    span = max(last - first + 1, 1)
    count = min(columns, span)
    # Python integers: a span near 2^63 times a column number would overflow int64.
    edges = [first + span * i // count for i in range(count + 1)]
    if exponent:
        bits = FAN_OUT_BITS * exponent
        inner = ((edge + (1 << (bits - 1))) >> bits << bits for edge in edges[1:-1])
        edges = sorted({first >> bits << bits, *inner, -(-edges[-1] >> bits << bits)})
    made = np.array([min(max(edge, FIRST_EDGE), LAST_EDGE) for edge in edges], dtype=np.int64)
    made.flags.writeable = False
    return made


def value_edges(lowest: float, highest: float, columns: int) -> NDArray[np.float64]:
    """Edges of at most ``columns`` equal intervals of a metric's values that hold both. Raises ValueError for
    ``columns < 1``."""
    if columns < 1:
        raise ValueError(f"a chart needs at least one column, not {columns}")
    part = np.linspace(0.0, 1.0, columns + 1)
    edges = lowest * (1.0 - part) + highest * part  # a difference of two huge values would overflow
    edges[0], edges[-1] = lowest, np.nextafter(highest, np.inf)
    return np.unique(edges)


def column_of(
    x: NDArray[np.int64] | NDArray[np.float64], edges: NDArray[np.int64] | NDArray[np.float64]
) -> NDArray[np.int64]:
    """The column of each x, -1 for those that lie in none."""
    last = len(edges) - 2
    column = np.searchsorted(edges, x, side="right") - 1
    inside = (column >= 0) & ((column <= last) | (x == LAST_EDGE) & (edges[-1] == LAST_EDGE))
    return np.where(inside, np.minimum(column, last), -1)


def reduce(step: NDArray[np.int64], value: NDArray[np.float64], edges: NDArray[np.int64]) -> Columns:
    """Columns of the points whose step lies within the edges. Points are given in seq order."""
    none = np.zeros(len(step), dtype=np.int64)
    return columns_of(None, 0, Batch(none, none, step, none, value), edges)


def columns_of(
    buckets: Buckets | None, exponent: int, tail: Batch | None, edges: NDArray[np.int64]
) -> Columns:
    """Columns of one metric's buckets and of points of later seqs that are not in them (in seq order).

    The edges lie on bucket edges (see :func:`column_edges`): then first, last, min and max are those of all
    the points, and joining columns draws what joining all points in (step, seq) order would (M4).
    """
    found = no_buckets()
    if buckets is not None and len(buckets):
        column = column_of(buckets.number << np.int64(FAN_OUT_BITS * exponent), edges)
        inside = column >= 0
        found = merged(buckets.pick(inside).renumbered(column[inside]))
    if tail is not None and len(tail):
        column = column_of(tail.step, edges)
        inside = column >= 0
        found = combined(found, by_number(tail.pick(inside), column[inside]))
    return _spread(found, edges, "step")


def columns_at(
    items: Buckets,
    x: NDArray[np.int64] | NDArray[np.float64],
    edges: NDArray[np.int64] | NDArray[np.float64],
) -> Columns:
    """Columns of one metric's buckets and points as wholes, each at its ``x``; ``items`` are in the order of
    their steps, those of equal x stay in it."""
    column = column_of(x, edges)
    inside = np.flatnonzero(column >= 0)
    inside = inside[np.argsort(x[inside], kind="stable")]
    placed = replace(items, **{f"{name}_us": x for name in ("first", "last", "min", "max")})
    return _spread(merged(placed.pick(inside).renumbered(column[inside])), edges, "us")


def _spread(
    found: Buckets, edges: NDArray[np.int64] | NDArray[np.float64], x: Literal["step", "us"]
) -> Columns:
    """Columns of buckets whose numbers are columns; their ``x`` is in the fields of this ending."""
    count = len(edges) - 1

    def place(values: NDArray[Any], empty: float = 0) -> NDArray[Any]:
        spread = np.full(count, empty, dtype=values.dtype)
        spread[found.number] = values
        return spread

    finite = found.finite
    mean = np.where(finite > 0, found.sum / np.maximum(finite, 1), np.nan)
    mean = np.clip(mean, found.min, found.max)  # the sum of equal numbers is rounded: a flat line would jump
    others = ("n", "n_nan", "n_pinf", "n_ninf", "first_step", "last_step", "min_step", "max_step")
    made: dict[str, Any] = {name: place(getattr(found, name)) for name in others}
    made |= {name: place(getattr(found, name), np.nan) for name in ("first", "last", "min", "max")}
    made |= {f"{name}_x": place(getattr(found, f"{name}_{x}")) for name in ("first", "last", "min", "max")}
    return Columns(edges=edges, mean=place(mean, np.nan), **made)
