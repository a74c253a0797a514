"""The y scale: a robust range that one spike cannot flatten, linear or logarithmic."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from wal.pyramid import Series

LOW_QUANTILE, HIGH_QUANTILE = 0.01, 0.99
"""The range holds 98 % of the points; what lies outside is marked with its value, never dropped."""

TOLERANCE = 0.5
"""Points within this share of the robust range beyond it are taken in: mere noise reaches that far, and
clipping it would save no height."""

_HUGE = 1e300
"""Beyond this, a difference of two values can overflow, so the scale works on values divided by 2^64."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to a height: ``low`` to 0, ``high`` to 1. ``low < high``; both positive when ``log``."""

    low: float
    high: float
    log: bool = False

    def fraction(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """Height of each value, unclipped: below 0 or above 1 outside the range, NaN for NaN.

        On a log scale a value that is not positive is ``-inf``: below everything.
        """
        with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
            if self.log:
                logs = np.log10(np.where(value > 0, value, np.where(np.isnan(value), np.nan, 0.0)))
                low, high = math.log10(self.low), math.log10(self.high)
                return (logs - low) / (high - low)
            shrink = 2.0**-64 if max(abs(self.low), abs(self.high)) > _HUGE else 1.0
            low, high = self.low * shrink, self.high * shrink
            return (value * shrink - low) / (high - low)


def weighted_quantiles(
    value: NDArray[np.float64], weight: NDArray[np.float64], quantiles: Sequence[float]
) -> list[float]:
    """The smallest value with at least the given share of the weight at or below it. Not for empty input."""
    order = np.argsort(value)
    cumulated = np.cumsum(weight[order])
    positions = np.searchsorted(cumulated, np.array(quantiles) * cumulated[-1], side="left")
    return [float(value[order[min(int(p), len(order) - 1)]]) for p in positions]


def _sample(series: Sequence[Series]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and weights that stand for the points of the columns: each column's min and max count one
    point each, its mean all the others."""
    values: list[NDArray[np.float64]] = []
    weights: list[NDArray[np.float64]] = []
    for one in series:
        columns = one.columns
        held = columns.finite
        some = held > 0
        n = held[some].astype(np.float64)
        values += (columns.min[some], columns.max[some], columns.mean[some])
        weights += (np.ones(len(n)), (n > 1).astype(np.float64), np.maximum(n - 2, 0))
    value = np.concatenate(values) if values else np.zeros(0)
    weight = np.concatenate(weights) if weights else np.zeros(0)
    known = np.isfinite(value) & (weight > 0)
    return value[known], weight[known]


def all_positive(series: Sequence[Series]) -> bool:
    """Whether every finite value is above 0, and there is one: only then can a log scale show them all."""
    least = [one.columns.min[one.columns.finite > 0] for one in series]
    return any(len(values) for values in least) and all(bool((values > 0).all()) for values in least)


def robust_scale(series: Sequence[Series], log: bool = False, clip: bool = True) -> Scale | None:
    """The scale of a chart; None when no series holds a finite value.

    The range is the 1–99 % quantiles of the points, widened to the points that are near, and by a little so
    that no line runs on the frame; without ``clip`` it holds all points. ``log`` is ignored unless a positive
    value is there.
    """
    value, weight = _sample(series)
    if log:
        positive = value > 0
        if bool(positive.any()):
            value, weight = np.log10(value[positive]), weight[positive]
        else:
            log = False
    if not len(value):
        return None
    quantiles = (LOW_QUANTILE, HIGH_QUANTILE) if clip else (0.0, 1.0)
    low, high = weighted_quantiles(value, weight, quantiles)
    if low == high:  # nearly all points are one value: the others are the curve
        low, high = float(value.min()), float(value.max())
    room = TOLERANCE * (high / 2 - low / 2) * 2
    low, high = float(value[value >= low - room].min()), float(value[value <= high + room].max())
    low, high = _widen(low, high, log)
    if log:
        return Scale(_power(low), _power(high), log=True)
    return Scale(low, high)


def _power(exponent: float) -> float:
    """10^exponent, within the doubles above 0."""
    if exponent <= math.log10(math.ulp(0.0)):
        return math.ulp(0.0)
    return sys.float_info.max if exponent >= math.log10(sys.float_info.max) else 10.0**exponent


def _widen(low: float, high: float, log: bool) -> tuple[float, float]:
    flat = 0.5 if log else abs(low) / 2 or 1.0
    margin = flat if low == high else (high / 2 - low / 2) * 0.06
    margin = max(margin, math.ulp(max(abs(low), abs(high))) * 4)
    limit = sys.float_info.max  # a chart's edge must stay finite
    return max(low - margin, -limit), min(high + margin, limit)
