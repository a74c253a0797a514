"""The summary of a metric, made from what a chart reads of it, and added to while the metric grows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable

import numpy as np

from wal.paging.buckets import FAN_OUT_BITS
from wal.pyramid import columns_of
from wal.reading.drawing import Parts, Whole
from wal.reading.spans import TooManyRecords
from wal.summary import CURVE_BUCKETS, Bucket, MetricSummary

SUMMARIES_KEPT = 1_024
"""Each is some kilobytes; a screen shows at most a hundred metrics."""

StepValue = tuple[int, float]


class GrowingSummaries:
    """Summaries of metrics by key, the least recently used let go of. Any thread may ask."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[int, MetricSummary]] = OrderedDict()
        self._guard = threading.Lock()

    def clear(self) -> None:
        with self._guard:
            self._kept.clear()

    def of(
        self,
        key: Hashable,
        whole: Whole,
        since: Callable[[int], Iterable[StepValue] | None],
        read: Callable[[tuple[int, int], int], Parts],
    ) -> MetricSummary:
        """The summary of the metric, not to be changed. ``since`` gives its points after a seq, in seq order,
        or None where it does not know them all; ``read`` is as for :func:`summary_of`."""
        with self._guard:
            known = self._kept.get(key)
        points = since(known[0]) if known is not None else None
        summary = None
        if known is not None and points is not None:
            summary = _added(known[1], points, whole)
        if summary is None:
            summary = summary_of(whole, read)
        with self._guard:
            self._kept[key] = (whole.newest.seq, summary)
            self._kept.move_to_end(key)
            while len(self._kept) > SUMMARIES_KEPT:
                self._kept.popitem(last=False)
        return summary


def _added(known: MetricSummary, points: Iterable[StepValue], whole: Whole) -> MetricSummary | None:
    """``known`` with these points; None when that does not make the whole."""
    summary = known.copy()
    for step, value in points:
        summary.add(step, value)
    counts = summary.n, summary.n_nan, summary.n_pinf, summary.n_ninf
    is_whole = counts == (whole.points, whole.n_nan, whole.n_pinf, whole.n_ninf)
    return summary if is_whole and summary.shift == _shift_of(whole) else None


def _shift_of(whole: Whole) -> int:
    """The finest buckets of which few enough hold all steps."""
    lowest, highest = whole.steps
    shift = 0
    while (highest >> shift) - (lowest >> shift) >= CURVE_BUCKETS:
        shift += 1
    return shift


def summary_of(whole: Whole, read: Callable[[tuple[int, int], int], Parts]) -> MetricSummary:
    """As adding the points one by one would make it; where steps go back, the first and last value of a
    bucket, and the step of an extreme that occurs more than once, are by step instead of by seq."""
    summary = MetricSummary()
    lowest, highest = whole.steps
    summary.shift = _shift_of(whole)
    exponent = summary.shift // FAN_OUT_BITS
    while True:
        try:
            parts = read(whole.steps, exponent)
            break
        except TooManyRecords:
            exponent += 1
    while parts.resolution > 1 << summary.shift:  # only larger buckets are there yet
        summary.shift += 1
    first = lowest >> summary.shift
    buckets = (highest >> summary.shift) - first + 1
    edges = [(first + at) << summary.shift for at in range(buckets + 1)]
    limit = (1 << 63) - 1
    columns = columns_of(
        parts.items, 0, parts.tail, np.array([min(edge, limit) for edge in edges], dtype=np.int64)
    )
    for at in np.flatnonzero(columns.n):
        summary.buckets[first + int(at)] = Bucket(
            n=int(columns.n[at]), n_nan=int(columns.n_nan[at]), n_pinf=int(columns.n_pinf[at]),
            n_ninf=int(columns.n_ninf[at]), min=float(columns.min[at]), max=float(columns.max[at]),
            first=float(columns.first[at]), last=float(columns.last[at]),
        )  # fmt: skip
    summary.n, summary.n_nan, summary.n_pinf = whole.points, whole.n_nan, whole.n_pinf
    summary.n_ninf, summary.first_step = whole.n_ninf, lowest
    summary.last, summary.last_step = whole.newest.value, whole.newest.step
    finite = np.flatnonzero(columns.finite > 0)
    if len(finite):
        low, high = finite[columns.min[finite].argmin()], finite[columns.max[finite].argmax()]
        summary.min, summary.min_step = float(columns.min[low]), int(columns.min_step[low])
        summary.max, summary.max_step = float(columns.max[high]), int(columns.max_step[high])
    return summary
