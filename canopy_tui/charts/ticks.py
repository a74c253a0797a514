"""Ticks at 1, 2 or 5 times a power of ten, and their labels."""

from __future__ import annotations

import math
from itertools import pairwise

from canopy_tui.format import count, number

MOST_Y_LABELS = 5
"""More labels than this read as noise beside a curve of a dozen lines."""


def nice_step(span: float, most: int) -> float:
    """The smallest of 1, 2, 5 × 10^k that cuts ``span`` into at most ``most`` parts; 0.0 if there is none."""
    if not 0 < span < math.inf:
        return 0.0
    rough = span / max(most, 1)
    exponent = math.floor(math.log10(rough)) if rough > 0 else -400
    for power in (exponent, exponent + 1):
        for factor in (1, 2, 5):
            try:
                step = factor * 10.0**power
            except OverflowError:
                return 0.0
            if step >= rough * (1 - 1e-9) and step > 0:
                return step
    return 0.0


def ticks(low: float, high: float, most: int = MOST_Y_LABELS) -> list[float]:
    """At most ``most`` multiples of a nice step within ``low`` … ``high``, ascending.

    Falls back to the two ends where floats are too coarse for a nice step.
    """
    half = high / 2 - low / 2  # the whole span of two huge values would overflow
    step = nice_step(half, most) * 2 if half > 1e300 else nice_step(2 * half, most + 1)
    while step and math.isfinite(step):
        found = _multiples(low, high, step)
        if len(found) <= most:
            # Where only one is left, the outermost of the next finer ones tell more than it does.
            few = found if len(found) >= 2 else _multiples(low, high, nice_step(step * 0.4, 1))
            few = few if len(few) <= most else [few[0], few[-1]]
            return few if len(set(few)) >= 2 else [low, high]
        step = nice_step(step * 1.5, 1)
    return [low, high]


def _multiples(low: float, high: float, step: float) -> list[float]:
    """The multiples of ``step`` within ``low`` … ``high``; none where there would be a great many."""
    if not step:
        return []
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if last - first >= 64:
        return []
    return [
        min(max(i * step, low), high) for i in range(first, last + 1)
    ]  # rounding must not leave the range


def log_ticks(low: float, high: float, most: int = MOST_Y_LABELS) -> list[float]:
    """Powers of ten within ``low`` … ``high``, thinned to ``most``; 1, 2, 5 within fewer than two decades."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first >= 1:
        stride = -(-(last - first + 1) // most)
        return [10.0**power for power in range(first, last + 1, stride)]
    found = [
        factor * 10.0**power
        for power in range(first - 1, last + 2)
        if -307 <= power <= 307
        for factor in (1, 2, 5)
        if low <= factor * 10.0**power <= high
    ]
    return found[:most] if len(found) >= 2 else ticks(low, high, most)


def labels(values: list[float], width: int) -> list[str]:
    """Labels of linear ticks, all with the same decimals, each at most ``width`` cells and no two alike.

    Ticks that differ too late for the width (1,000,000.01 and .02) read as the first one and what is
    added to it (``+0.01``).
    """
    if not values:
        return []
    step = min((b - a for a, b in pairwise(values)), default=0.0)
    texts = [_common(value, step, width) for value in values]
    if len(set(texts)) < len(texts):
        base = values[0]
        texts = [texts[0], *("+" + _common(value - base, step, width - 1) for value in values[1:])]
    return texts


def _common(value: float, step: float, width: int) -> str:
    if 0 < step < math.inf and 1e-4 <= max(abs(value), step) < 1e7:
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        text = f"{value + 0.0:.{decimals}f}"
        if abs(value) < step / 1e6:
            text = f"{0.0:.{decimals}f}"
        if len(text) <= width:
            return text
    return number(0.0 if abs(value) < step / 1e6 else value, width)


def step_ticks(first: int, last: int, most: int) -> list[int]:
    """At most ``most`` nice whole steps within ``first`` … ``last``, ascending; ``[first]`` if none is."""
    span = last - first
    if span <= 0 or most < 1:
        return [first]
    step = 1
    while True:
        for factor in (1, 2, 5):
            stride = step * factor
            start, end = -(-first // stride), last // stride
            if end - start + 1 <= most:
                return [i * stride for i in range(start, end + 1)] or [first]
        step *= 10


def step_label(step: int) -> str:
    """``8,200``, ``250k``, ``1.05M``: a step as short as its tick can be told apart."""
    if abs(step) < 100_000:
        return count(step)
    for power, unit in ((18, "E"), (15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if abs(step) >= 10**power:
            whole, rest = divmod(abs(step), 10**power)
            decimals = f"{rest:0{power}d}".rstrip("0")
            if len(decimals) <= 3:
                sign = "-" if step < 0 else ""
                return f"{sign}{whole}{'.' + decimals if decimals else ''}{unit}"
            return count(step)
    return count(step)
