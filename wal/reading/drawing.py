"""What was read of a stream made into the series that a chart draws: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import numpy as np

from wal.paging.buckets import Batch, Buckets, concatenate, no_buckets, singles
from wal.paging.columns import column_of
from wal.pyramid import (
    STEP,
    Ask,
    Columns,
    Last,
    Series,
    XAxis,
    column_edges,
    columns_at,
    columns_of,
    value_edges,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wal.source import StreamRow

    Xs = NDArray[np.int64] | NDArray[np.float64]


class Newest(NamedTuple):
    """The newest point by seq."""

    seq: int
    step: int
    us: int
    value: float


@dataclass(frozen=True, slots=True)
class Whole:
    """A metric of a stream as a whole: how many points, between which steps and times (µs), the newest."""

    points: int
    n_nan: int
    n_pinf: int
    n_ninf: int
    steps: tuple[int, int]
    times: tuple[int, int]
    newest: Newest


@dataclass(frozen=True, slots=True)
class Parts:
    """What was read of one metric of a stream over a range of steps.

    ``items`` are buckets of any levels and single points, their ``number`` the first step that they may hold,
    in the order of their steps (points in that of step and seq), none overlapping; ``width``, of their shape,
    is how many steps each spans. ``tail`` are points of later seqs, in seq order. ``unshipped`` and
    ``tail_unshipped`` say which of both hold something that Cassandra has not acknowledged.
    """

    whole: Whole
    items: Buckets
    width: NDArray[np.int64]
    unshipped: NDArray[np.bool_]
    tail: Batch
    tail_unshipped: NDArray[np.bool_]

    @property
    def resolution(self) -> int:
        return int(self.width.max(initial=1))


def nothing_of(whole: Whole) -> Parts:
    """No buckets and no points."""
    integers, flags = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_)
    tail = Batch(integers, integers, integers, integers, np.zeros(0, dtype=np.float64))
    return Parts(whole, no_buckets(), integers, flags, tail, flags)


def until(parts: Parts, step: int) -> Parts:
    """What lies before a step; no bucket may hold both sides of it."""
    return _picked(parts, parts.items.number < step, parts.tail.step < step)


def since(parts: Parts, step: int) -> Parts:
    """What lies at a step and after; no bucket may hold both sides of it."""
    return _picked(parts, parts.items.number >= step, parts.tail.step >= step)


def _picked(parts: Parts, items: NDArray[np.bool_], tail: NDArray[np.bool_]) -> Parts:
    return Parts(
        parts.whole, parts.items.pick(items), parts.width[items], parts.unshipped[items],
        parts.tail.pick(tail), parts.tail_unshipped[tail],
    )  # fmt: skip


# -- places on the x axis ---------------------------------------------------------------------------


def in_step_order(parts: Parts) -> tuple[Buckets, NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Items and tail as one, in the order of their steps: buckets, their widths, their times (µs; 0 where
    there is none) and whether they hold something unshipped."""
    tail = parts.tail
    both = concatenate((parts.items, singles(tail, tail.step)))
    width = np.concatenate((parts.width, np.ones(len(tail), dtype=np.int64)))
    us = np.concatenate((_earliest_us(parts.items), tail.us))
    unshipped = np.concatenate((parts.unshipped, parts.tail_unshipped))
    order = np.lexsort((both.first_seq, both.number))
    return both.pick(order), width[order], us[order], unshipped[order]


def _earliest_us(items: Buckets) -> NDArray[np.int64]:
    """The earliest time that is known of each item: its first step may have been logged late."""
    known = np.stack([items.first_us, items.last_us, items.min_us, items.max_us])
    return np.where(items.finite > 0, known.min(axis=0), 0)


def times_of(us: NDArray[np.int64], first_seq: NDArray[np.int64]) -> NDArray[np.int64]:
    """The running maximum in the order of logging: a clock that was set back does not take the line back, and
    a step that was logged late does not take the steps after it along. A place without a time (0) has its
    neighbour's."""
    if not len(us):
        return us
    order = np.argsort(first_seq, kind="stable")
    running = np.maximum.accumulate(us[order])
    known = running[running > 0]
    times = np.empty_like(us)
    times[order] = np.where(running > 0, running, known[0] if len(known) else 0)
    return times


def values_at(number: NDArray[np.int64], width: NDArray[np.int64], other: Parts) -> NDArray[np.float64]:
    """Per item, which begins at ``number`` and spans ``width`` steps, the mean of the newest item of another
    metric that shares a step with it; NaN where there is none."""
    items, widths, _, _ = in_step_order(other)
    finite = items.finite > 0
    items, widths = items.pick(finite), widths[finite]
    found = np.full(len(number), np.nan)
    if not len(items):
        return found
    value = items.sum / items.finite
    at = np.searchsorted(items.number, number + (width - 1), side="right") - 1
    shared = (at >= 0) & (items.number[at] + (widths[at] - 1) >= number)
    found[shared] = value[at[shared]]
    return found


def axis_extent(whole: Whole, x: XAxis, start_us: int, xs: Xs | None) -> tuple[float, float]:
    """The lowest and the highest x of a whole metric; ``xs`` are the places on a metric's axis."""
    if x.kind == "step":
        return whole.steps
    if x.kind == "time":
        return whole.times
    if x.kind == "relative":
        return whole.times[0] - start_us, whole.times[1] - start_us
    finite = xs[np.isfinite(xs)] if xs is not None else np.zeros(0)
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)


# -- series -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Piece:
    """Parts that become one series. ``others`` are of the metric that is the x axis, if one is."""

    run_id: UUID
    row: StreamRow
    parts: Parts
    others: Parts | None = None
    restart: int | None = None
    ghost: bool = False
    as_of_ns: int = 0


def make_series(pieces: Sequence[Piece], ask: Ask, start_us: int, exponent: int) -> list[Series]:
    """The pieces on the same edges, which lie on multiples of ``8^exponent`` on the step axis."""
    if ask.x.kind == "step":
        low, high = ask.range or _union([piece.parts.whole.steps for piece in pieces])
        edges = column_edges(int(low), int(high), ask.columns, exponent)
        return [_on_steps(piece, ask, edges) for piece in pieces]
    placed = [_place(piece, ask.x, start_us) for piece in pieces]
    low, high = ask.range or _union([one.extent for one in placed])
    if ask.x.kind == "metric":
        return [_on_axis(one, ask, value_edges(low, high, ask.columns), start_us) for one in placed]
    edges = column_edges(int(low), int(high), ask.columns)
    return [_on_axis(one, ask, edges, start_us) for one in placed]


def _union(extents: Sequence[tuple[float, float]]) -> tuple[float, float]:
    if not extents:
        return 0, 0
    return min(low for low, _ in extents), max(high for _, high in extents)


def _on_steps(piece: Piece, ask: Ask, edges: NDArray[np.int64]) -> Series:
    parts = piece.parts
    columns = columns_of(parts.items, 0, parts.tail, edges)
    late = np.concatenate((parts.items.number[parts.unshipped], parts.tail.step[parts.tail_unshipped]))
    newest = parts.whole.newest
    restarts = () if piece.restart is None else (float(piece.restart),)
    last = Last(newest.step, newest.value, newest.step)
    return _series(piece, ask, columns, _marked(late, edges), parts.whole.steps, last, restarts)


class _Placed(NamedTuple):
    piece: Piece
    items: Buckets
    xs: Xs
    unshipped: NDArray[np.bool_]
    extent: tuple[float, float]


def _place(piece: Piece, x: XAxis, start_us: int) -> _Placed:
    items, width, us, unshipped = in_step_order(piece.parts)
    if x.kind == "metric":
        other = piece.others
        xs: Xs = np.full(len(items), np.nan) if other is None else values_at(items.number, width, other)
    else:
        xs = times_of(us, items.first_seq) - (start_us if x.kind == "relative" else 0)
    return _Placed(piece, items, xs, unshipped, axis_extent(piece.parts.whole, x, start_us, xs))


def _on_axis(one: _Placed, ask: Ask, edges: Xs, start_us: int) -> Series:
    piece = one.piece
    columns = columns_at(one.items, one.xs, edges)
    newest = piece.parts.whole.newest
    if ask.x.kind == "metric":
        at = _value_at(newest.step, piece.others)
    else:
        at = float(newest.us - (start_us if ask.x.kind == "relative" else 0))
    restarts: tuple[float, ...] = ()
    if piece.restart is not None:
        seen = one.xs[one.items.number >= piece.restart]
        restarts = tuple(seen[np.isfinite(seen)][:1].tolist())
    last = Last(at, newest.value, newest.step)
    return _series(piece, ask, columns, _marked(one.xs[one.unshipped], edges), one.extent, last, restarts)


def _value_at(step: int, other: Parts | None) -> float:
    """Where a step is on a metric's axis; NaN where that is not known."""
    if other is None:
        return float("nan")
    if other.whole.newest.step == step:  # what was read may be far from it
        return other.whole.newest.value
    return float(values_at(np.array([step]), np.ones(1, dtype=np.int64), other)[0])


def _marked(xs: Xs, edges: Xs) -> NDArray[np.bool_]:
    """Which columns hold one of these."""
    marked = np.zeros(len(edges) - 1, dtype=np.bool_)
    column = column_of(xs, edges)
    marked[column[column >= 0]] = True
    return marked


def _series(
    piece: Piece, ask: Ask, columns: Columns, unshipped: NDArray[np.bool_], extent: tuple[float, float],
    last: Last, restarts: tuple[float, ...],
) -> Series:  # fmt: skip
    parts, whole = piece.parts, piece.parts.whole
    return Series(
        run_id=piece.run_id, stream_id=piece.row.stream_id, rank=piece.row.rank, metric=ask.metric,
        columns=columns, unshipped=unshipped, points=whole.points, n_nan=whole.n_nan, n_pinf=whole.n_pinf,
        n_ninf=whole.n_ninf, x=ask.x, extent=extent, last=last, resolution=parts.resolution,
        approximate=ask.x != STEP and (ask.x.kind == "metric" or parts.resolution > 1),
        restarts=restarts, ghost=piece.ghost, as_of_ns=piece.as_of_ns,
    )  # fmt: skip


# -- from points ------------------------------------------------------------------------------------


def whole_of(tail: Batch) -> Whole:
    """The whole of a metric that is all there; at least one point."""
    value = tail.value
    newest = Newest(int(tail.seq[-1]), int(tail.step[-1]), int(tail.us[-1]), float(value[-1]))
    return Whole(
        len(tail), int(np.isnan(value).sum()), int((value == np.inf).sum()), int((value == -np.inf).sum()),
        (int(tail.step.min()), int(tail.step.max())), (int(tail.us.min()), int(tail.us.max())), newest,
    )  # fmt: skip
