"""Levels: which one a chart reads, and which pages of it. Numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from wal.paging.buckets import FAN_OUT_BITS
from wal.paging.pages import MAX_EXPONENT, PAGE_BITS

SHIFT_RECORDS = 64
"""A stream's shift is settled by its first records, so many of them."""

BASE_LEVEL = 1
"""The lowest level that is stored. Level 0 would hold one point per bucket: that is the records themselves,
which are kept anyway; storing them twice would double the pages' bytes for no extreme more."""


def shift_of(steps: Sequence[int]) -> int:
    """The largest shift with ``8^shift`` ≤ the smallest gap between different steps of a stream's first
    :data:`SHIFT_RECORDS` records, so that a step counted in tokens makes no levels of empty places."""
    known = sorted(set(steps[:SHIFT_RECORDS]))
    gap = min((b - a for a, b in pairwise(known)), default=1)
    return min((gap.bit_length() - 1) // FAN_OUT_BITS, MAX_EXPONENT - BASE_LEVEL)


def exponent_for(first_step: int, last_step: int, columns: int) -> int:
    """The largest e with at least two buckets of ``8^e`` steps per column, 0 when single steps are not more
    than that: the same for every stream of a chart, so that all have the same edges."""
    span = max(int(last_step) - int(first_step) + 1, 1)
    exponent = 0
    while exponent < MAX_EXPONENT and 2 * (8 << FAN_OUT_BITS * exponent) * columns <= span:
        exponent += 1
    return exponent


def level_of(exponent: int, shift: int) -> int:
    """The level of a stream whose buckets have ``8^exponent`` steps; 0 when its records are to be read."""
    level = exponent - shift
    return level if level >= BASE_LEVEL else 0


def page_range(first_step: int, last_step: int, exponent: int) -> tuple[int, int]:
    """(first, last) page number that the steps ``first_step`` … ``last_step`` touch, both included."""
    bits = FAN_OUT_BITS * exponent + PAGE_BITS
    return first_step >> bits, last_step >> bits
