"""Series for chart tests, reduced from points as a source does."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import numpy as np

from wal.pyramid import Series, column_edges, reduce

RUN, STREAM = UUID(int=1), UUID(int=2)


def series_of(
    steps: Sequence[int],
    values: Sequence[float],
    columns: int,
    *,
    span: tuple[int, int] | None = None,
    unshipped_from: int | None = None,
) -> Series:
    """One stream's points in ``columns`` columns over ``span`` (by default their own first and last step)."""
    step = np.array(steps, dtype=np.int64)
    value = np.array(values, dtype=np.float64)
    first, last = span or ((int(step.min()), int(step.max())) if len(step) else (0, 0))
    reduced = reduce(step, value, column_edges(first, last, columns))
    waiting = np.zeros(len(reduced), dtype=np.bool_)
    if unshipped_from is not None:
        waiting = (reduced.edges[1:] > unshipped_from) & (reduced.n > 0)
    return Series(RUN, STREAM, 0, "loss", reduced, waiting, len(step))
