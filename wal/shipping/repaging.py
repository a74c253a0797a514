"""The pages of a stream made anew from its rows, to be compared with those that Cassandra holds.

The same records make the same bytes, in whatever portions they are taken in, so every page can be compared
bit by bit. They are made in a temporary ``pages.db``: memory stays bounded however long the stream is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wal.cassandra.tables import PAGE_CHUNK_BITS
from wal.paging.pagefile import PAGES_FILE, PageFile
from wal.pyramid import SHIFT_RECORDS, TAIL_RECORDS, Batch, Builder, shift_of
from wal.record import Kind, Record
from wal.shipping.pagepoints import NS_PER_US

POINTS_AT_ONCE = 1 << 16
"""Points taken in together: some 10 MB while they wait."""


class Partition(NamedTuple):
    """The pages of a partition of ``metric_pages``: (newest seq, bytes) by page number."""

    metric: str
    level: int
    chunk: int
    pages: dict[int, tuple[int, bytes]]


class Repaging:
    """Makes the pages in ``directory``. Raises :class:`sqlite3.Error` and OSError where that cannot be
    written."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = PageFile(directory)
        self._builder: Builder | None = None
        self._names: dict[str, int] = {}
        self._steps: list[int] = []
        self._points: list[tuple[int, int, int, int, float]] = []
        self._seq = 0

    @property
    def metrics(self) -> int:
        """How many metrics have a point."""
        return len(self._names)

    def take(self, record: Record) -> None:
        """The next record by seq."""
        self._seq = record.seq
        if record.kind is not Kind.LOG:
            return
        if len(self._steps) < SHIFT_RECORDS and record.seq <= TAIL_RECORDS:
            self._steps.append(record.step)
        names, us = self._names, record.ts // NS_PER_US
        for name, value in record.values.items():
            self._points.append((names.setdefault(name, len(names)), record.seq, record.step, us, value))
        has_shift = len(self._steps) == SHIFT_RECORDS or record.seq >= TAIL_RECORDS
        if len(self._points) >= POINTS_AT_ONCE and has_shift:
            self._build()

    def _build(self) -> None:
        if not self._points:
            return
        shift = shift_of(self._steps)
        metric, seq, step, us, value = zip(*sorted(self._points), strict=True)
        self._points.clear()
        self._file.begin(self._seq, shift)
        for name in self._names:
            self._file.metric_id(name)
        if self._builder is None:
            self._builder = Builder(self._file, shift)
        self._builder.add(
            Batch(
                metric=np.array(metric, dtype=np.int64),
                seq=np.array(seq, dtype=np.int64),
                step=np.array(step, dtype=np.int64),
                us=np.array(us, dtype=np.int64),
                value=np.array(value, dtype=np.float64),
            )
        )
        self._file.commit()

    def partitions(self) -> Iterator[Partition]:
        """What ``metric_pages`` should hold, by metric and level. Ends the taking in."""
        self._build()
        self._file.close()
        with closing(sqlite3.connect(self._directory / PAGES_FILE)) as db:
            rows = db.execute(
                "SELECT name, level, number, newest_seq, body FROM page JOIN metric ON metric.id = metric "
                "ORDER BY name, level, number"
            )
            for (name, level, chunk), pages in groupby(
                rows, key=lambda row: (row[0], row[1], row[2] >> PAGE_CHUNK_BITS)
            ):
                yield Partition(name, level, chunk, {row[2]: (row[3], row[4]) for row in pages})
