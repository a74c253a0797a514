"""The summary of a metric, made from what a chart reads of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wal.paging.buckets import FAN_OUT_BITS
from wal.pyramid import columns_of
from wal.reading.drawing import Parts, Whole
from wal.reading.pagereader import TooManyRecords
from wal.summary import CURVE_BUCKETS, Bucket, MetricSummary


def summary_of(whole: Whole, read: Callable[[tuple[int, int], int], Parts]) -> MetricSummary:
    """As adding the points one by one would make it; where steps go back, the first and last value of a
    bucket, and the step of an extreme that occurs more than once, are by step instead of by seq."""
    summary = MetricSummary()
    lowest, highest = whole.steps
    while (highest >> summary.shift) - (lowest >> summary.shift) >= CURVE_BUCKETS:
        summary.shift += 1
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
