"""Building pages: records in, in seq order and in any batches; pages out, the same for the same records.

A base page is extended by the points that fall into it. A page above is made of the level below: each of its
buckets anew from its children, all of which lie in one page. A level exists only where the level below has
more than one page, so a short metric has one page in all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from wal.paging.buckets import (
    Batch,
    Buckets,
    concatenate,
    extended,
    from_points,
    parents,
    replaced,
    starts_of,
)
from wal.paging.levels import BASE_LEVEL
from wal.paging.pages import MAX_EXPONENT, PAGE_BITS, Page, decode, encode

if TYPE_CHECKING:
    from numpy.typing import NDArray


class PageStore(Protocol):
    """Where the pages of one stream are kept. ``metric`` is the index of a name that the caller keeps."""

    def extents(self) -> Iterable[tuple[int, int, int, int]]:
        """(metric, level, number of pages, largest page number) of every level that has a page."""
        ...

    def read(self, level: int, keys: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int, bytes]]:
        """(metric, page number, bytes) of those of the pages (metric, page number) that exist."""
        ...

    def read_all(self, level: int, metric: int) -> Sequence[tuple[int, int, bytes]]:
        """Every page of a level of a metric."""
        ...

    def write(self, pages: Sequence[Page]) -> None:
        """Keep pages in place of those of the same (metric, level, number)."""
        ...


@dataclass(slots=True)
class _Extent:
    pages: int = 0
    largest: int = -(1 << 62)


@dataclass(slots=True)
class Builder:
    """Keeps the pages of one stream in ``store``; ``shift`` as by :func:`wal.paging.levels.shift_of`."""

    store: PageStore
    shift: int
    _extents: dict[tuple[int, int], _Extent] = field(default_factory=dict[tuple[int, int], _Extent])

    def __post_init__(self) -> None:
        for metric, level, pages, largest in self.store.extents():
            self._extents[metric, level] = _Extent(pages, largest)

    def add(self, batch: Batch) -> int:
        """Take in points of seqs later than all before. Returns how many pages were written."""
        if not len(batch):
            return 0
        written = 0
        level = BASE_LEVEL
        exponent = self.shift + level
        fresh = from_points(batch, exponent)
        changed = extended(self._touched(level, fresh, exponent), fresh, batch, exponent)
        while True:
            written += self._write(changed, exponent, level)
            exponent += 1
            if exponent > MAX_EXPONENT:
                return written
            children = self._children(changed, level, exponent - 1)
            if not len(children):
                return written
            level += 1
            above = parents(children)
            changed = replaced(self._touched(level, above, exponent), above)

    def _touched(self, level: int, buckets: Buckets, exponent: int) -> Buckets:
        """The stored buckets of every page that these lie in."""
        number = buckets.number >> PAGE_BITS
        starts = starts_of(buckets.metric, number)
        keys = self._perhaps(
            level, zip(buckets.metric[starts].tolist(), number[starts].tolist(), strict=True)
        )
        return decode(sorted(self.store.read(level, keys)), exponent) if keys else decode((), exponent)

    def _perhaps(self, level: int, keys: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those of the pages that may exist: beyond a metric's largest page there is none to look up."""
        extents = self._extents
        return [
            (metric, page)
            for metric, page in keys
            if (extent := extents.get((metric, level))) is not None and page <= extent.largest
        ]

    def _write(self, changed: Buckets, exponent: int, level: int) -> int:
        pages = encode(changed, exponent, level)
        behind = [
            (page.metric, page.number)
            for page in pages
            if (extent := self._extents.get((page.metric, level))) is not None
            and page.number <= extent.largest
        ]
        known = {key[:2] for key in self.store.read(level, behind)} if behind else set[tuple[int, int]]()
        for page in pages:
            extent = self._extents.setdefault((page.metric, level), _Extent())
            extent.pages += (page.metric, page.number) not in known
            extent.largest = max(extent.largest, page.number)
        self.store.write(pages)
        return len(pages)

    def _children(self, changed: Buckets, level: int, exponent: int) -> Buckets:
        """The changed buckets of metrics that have a level above, all of a level where that is new."""
        metrics = np.unique(changed.metric).tolist()
        rising = [metric for metric in metrics if self._extents[metric, level].pages > 1]
        if not rising:
            return changed.pick(slice(0, 0))
        parts = [changed if len(rising) == len(metrics) else changed.pick(np.isin(changed.metric, rising))]
        for metric in rising:
            if (metric, level + 1) not in self._extents:
                whole = decode(sorted(self.store.read_all(level, metric)), exponent)
                parts = [part.pick(part.metric != metric) for part in parts]
                parts.append(whole)
        joined = concatenate(parts)
        return joined if len(parts) == 1 else joined.pick(_order(joined))


def _order(buckets: Buckets) -> NDArray[np.intp]:
    return np.lexsort((buckets.number, buckets.metric))
