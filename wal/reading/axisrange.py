"""Which steps of a metric lie in a range of another axis: looked for in coarse buckets, then finer ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from wal.pyramid import Ask, exponent_for
from wal.reading.drawing import Parts, Whole, in_step_order, times_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wal.paging.buckets import Buckets

LOOK_COLUMNS = 16
"""Each look reads 32 to 256 buckets, 4 pages and one more at each end, and narrows the range to a few."""

MOST_LOOKS = 20
"""There are no more exponents."""

Steps = tuple[int, int]
Reading = Callable[[Steps, int], Parts]


def steps_within(whole: Whole, read: Reading, read_other: Reading | None, ask: Ask, start_us: int) -> Steps:
    """The first and the last step of what may lie in the asked range: all of it and little more."""
    assert ask.range is not None
    low, high = ask.range
    if ask.x.kind == "relative":
        low, high = low + start_us, high + start_us
    steps = whole.steps
    reading = read if ask.x.kind != "metric" else read_other
    for _ in range(MOST_LOOKS if reading is not None else 0):
        assert reading is not None
        exponent = exponent_for(*steps, LOOK_COLUMNS)
        parts = reading(steps, exponent)
        found = _matching(parts, low, high, is_time=ask.x.kind != "metric")
        if found is None:
            return steps[0], steps[0]
        found = max(found[0], steps[0]), min(found[1], steps[1])
        if exponent == 0 or found == steps:
            return found
        steps = found
    return steps


def _matching(parts: Parts, low: float, high: float, *, is_time: bool) -> Steps | None:
    items, width, us, _ = in_step_order(parts)
    if not len(items):
        return None
    begin: NDArray[np.int64] | NDArray[np.float64]
    end: NDArray[np.int64] | NDArray[np.float64]
    if is_time:
        begin = times_of(us, items.first_seq)
        end = _ends(items, begin)
    else:
        begin, end = items.min, items.max
    hits = np.flatnonzero((begin <= high) & (end >= low))
    if not len(hits):
        return None
    return int(items.number[hits[0]]), int((items.number[hits] + (width[hits] - 1)).max())


def _ends(items: Buckets, begin: NDArray[np.int64]) -> NDArray[np.int64]:
    """When the last point of each item was logged, at the latest: when the next item began that is newer than
    all of its points."""
    order = np.argsort(items.first_seq, kind="stable")
    latest = max(int(us.max()) for us in (begin, items.last_us, items.min_us, items.max_us))
    begins = np.append(begin[order], latest)
    return begins[np.searchsorted(items.first_seq[order], items.last_seq, side="right")]
