"""Exponential smoothing of a drawn line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HUGE = 1e280
"""Beyond this a sum of values can overflow, so they are summed divided by 2^64."""


def smoothed(
    mean: NDArray[np.float64], count: NDArray[np.int64], x: NDArray[np.int64], factor: float
) -> NDArray[np.float64]:
    """The exponential moving average of columns, of shape (k,).

    ``mean`` and ``count`` are of the points of each column, ``x`` its dot column, ascending. A point weighs
    ``factor`` times less per dot column that lies behind, whatever the zoom, so that a line is as smooth as
    it looks. Dividing by the weights so far corrects the bias of the beginning (D. P. Kingma and J. Ba,
    "Adam", ICLR 2015, §3). A mean that is not finite adds nothing; before the first finite one it is NaN.
    """
    values: list[float] = []
    total = weight = 0.0
    before = int(x[0]) if len(x) else 0
    known = np.isfinite(mean)
    finite = np.where(known, mean, 0.0)
    shrink = 2.0**-64 if np.abs(finite).max(initial=0.0) > _HUGE else 1.0
    scaled = (finite * shrink).tolist()
    for at, value, n in zip(x.tolist(), scaled, np.where(known, count, 0).tolist(), strict=True):
        fade = factor ** (at - before)
        before = at
        total, weight = total * fade + value * n, weight * fade + n
        values.append(total / weight if weight else np.nan)
    return np.array(values, dtype=np.float64) / shrink
