"""Which points a set of pages holds: each is in the page of its step, unless it is newer than all in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wal.paging.buckets import FAN_OUT_BITS, Batch, Buckets, starts_of
from wal.paging.pages import PAGE_BITS

if TYPE_CHECKING:
    from numpy.typing import NDArray


class KnownPages(NamedTuple):
    """Which pages some buckets came from: the steps that they stand for, and the newest seq in each."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    newest: NDArray[np.int64]


def is_in(batch: Batch, known: KnownPages) -> NDArray[np.bool_]:
    """Which points the pages hold: each is in the page of its step, unless it is newer than all there."""
    if not len(known.first):
        return np.zeros(len(batch), dtype=np.bool_)
    at = np.searchsorted(known.first, batch.step, side="right") - 1
    return (at >= 0) & (batch.step <= known.last[at]) & (batch.seq <= known.newest[at])


def known_of(buckets: Buckets, exponent: int) -> KnownPages:
    """The pages of whole pages' buckets."""
    if not len(buckets):
        return KnownPages(*[np.zeros(0, dtype=np.int64)] * 3)
    page = buckets.number >> PAGE_BITS
    starts = starts_of(page)
    bits = np.int64(FAN_OUT_BITS * exponent + PAGE_BITS)
    if bits > 62:  # 64 buckets of 8^20 steps are more than all steps there are
        lowest, highest = -(1 << 63), (1 << 63) - 1
        first = np.where(page[starts] < 0, lowest, 0)
        last = np.where(page[starts] < 0, -1, highest)
    else:
        first = page[starts] << bits
        last = first + ((1 << int(bits)) - 1)
    return KnownPages(first, last, np.maximum.reduceat(buckets.last_seq, starts))


def replaced(known: KnownPages, inner: KnownPages, start: int, end: int) -> KnownPages:
    """``known`` with the steps ``start`` … ``end`` as ``inner`` knows them."""
    rows = list(zip(*(column.tolist() for column in known), strict=True))
    made: list[tuple[int, int, int]] = []
    for first, last, newest in rows:
        if last < start or first > end:
            made.append((first, last, newest))
            continue
        if first < start:
            made.append((first, start - 1, newest))
        if last > end:
            made.append((end + 1, last, newest))
    for first, last, newest in zip(*(column.tolist() for column in inner), strict=True):
        if last >= start and first <= end:
            made.append((max(first, start), min(last, end), newest))
    made.sort()
    columns = np.array(made, dtype=np.int64).reshape(-1, 3)
    return KnownPages(columns[:, 0], columns[:, 1], columns[:, 2])
