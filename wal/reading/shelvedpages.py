"""Pages of Cassandra that were read for a chart, kept in ``index.db`` beside the points beyond them."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wal.reading.indexfile import IndexFile
from wal.reading.ownpages import LAG_RECORDS
from wal.reading.points import no_points
from wal.reading.spans import Pages, TooManyRecords
from wal.source import PageBody, Paged, Points

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHELF_BYTES = 64 << 20
"""Of pages in the index: the charts of some hundred runs. The least recently read curves go first."""

TRIM_EVERY = 64
"""Curves written between two looks at the bound."""

TAIL_EVERY_S = 10.0
"""A live curve's newest points are written this often."""

Place = tuple[str, str, str, str]
"""Origin, run, stream, metric."""


@dataclass(slots=True)
class _Kept:
    """What the shelf has of a curve: the state that its pages are of, and which of them were asked for."""

    paged: Paged | None
    top: int = 0
    spans: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])

    def dumps(self) -> str:
        return json.dumps({"paged": self.paged and asdict(self.paged), "top": self.top, "spans": self.spans})

    @staticmethod
    def loads(text: str) -> _Kept:
        body = json.loads(text)
        spans = {int(level): (first, last) for level, (first, last) in body["spans"].items()}
        return _Kept(body["paged"] and Paged(**body["paged"]), body["top"], spans)


class ShelvedPages:
    """Passes Cassandra's answers on and keeps them. Implements :class:`wal.reading.spans.Pages`."""

    writes = 0

    def __init__(self, inner: Pages, index: IndexFile, place: Place) -> None:
        self.inner = inner
        self._index = index
        self._key = json.dumps(place)
        self._kept: _Kept | None = None
        self._tail: Points = no_points()
        self._tail_at = 0.0

    @property
    def nbytes(self) -> int:
        return 0

    def paged(self) -> Paged | None:
        paged = self.inner.paged()
        if self._kept is None or self._kept.paged != paged:
            self._kept = _Kept(paged)  # pages of two states do not fit together
        return paged

    def top(self) -> tuple[int, Sequence[PageBody]]:
        level, pages = self.inner.top()
        if self._kept is not None and level:
            numbers = [number for number, _ in pages]
            self._kept.top = level
            self._keep(level, min(numbers), max(numbers), pages)
        return level, pages

    def pages(self, level: int, first_page: int, last_page: int) -> Sequence[PageBody]:
        pages = self.inner.pages(level, first_page, last_page)
        if self._kept is not None:
            self._keep(level, first_page, last_page, pages)
        return pages

    def points(self, ranges: Sequence[tuple[int, int]]) -> Points:
        return self.inner.points(ranges)

    def tail(self, after_seq: int, through_seq: int | None) -> Points:
        points = self.inner.tail(after_seq, through_seq)
        self._tail = points
        is_due = time.monotonic() - self._tail_at > TAIL_EVERY_S and len(points) <= LAG_RECORDS
        if self._kept is not None and is_due:
            self._tail_at = time.monotonic()
            self._write(None, ())
        return points

    def _keep(self, level: int, first: int, last: int, pages: Sequence[PageBody]) -> None:
        assert self._kept is not None, "asked by the callers"
        known = self._kept.spans.get(level)
        if known is not None and first <= known[1] + 1 and last >= known[0] - 1:
            self._kept.spans[level] = (min(first, known[0]), max(last, known[1]))
        else:
            self._kept.spans[level] = (first, last)
        self._write(level, pages)

    def _write(self, level: int | None, pages: Sequence[PageBody]) -> None:
        kept, tail = self._kept, self._tail
        assert kept is not None, "asked by the callers"
        columns: list[NDArray[Any]] = [tail.seq, tail.step, tail.ts, tail.value]
        packed = b"".join(column.tobytes() for column in columns)

        def change(writer: sqlite3.Connection) -> None:
            from sqlite_utils import Database

            index = Database(writer)
            before = writer.execute("SELECT body FROM paged WHERE place = ?", (self._key,)).fetchone()
            if before is not None and _Kept.loads(before[0]).paged != kept.paged:
                writer.execute("DELETE FROM page WHERE place = ?", (self._key,))
            row = {"place": self._key, "at_ns": time.time_ns(), "body": kept.dumps(), "tail": packed}
            index.table("paged").insert(row, replace=True)
            key = {"place": self._key, "level": level}
            rows = ({**key, "number": number, "body": body} for number, body in pages)
            index.table("page").insert_all(rows, replace=True)
            ShelvedPages.writes += 1
            if ShelvedPages.writes % TRIM_EVERY == 0:
                _trim(writer)

        self._index.write(change)


def _trim(writer: sqlite3.Connection) -> None:
    """Let go of the curves read least recently, beyond the bound."""
    total = writer.execute("SELECT coalesce(sum(length(body)), 0) FROM page").fetchone()[0]
    oldest = writer.execute("SELECT place FROM paged ORDER BY at_ns").fetchall()
    for (place,) in oldest[:-1]:
        if total <= SHELF_BYTES:
            return
        total -= writer.execute(
            "SELECT coalesce(sum(length(body)), 0) FROM page WHERE place = ?", (place,)
        ).fetchone()[0]
        writer.execute("DELETE FROM page WHERE place = ?", (place,))
        writer.execute("DELETE FROM paged WHERE place = ?", (place,))


class KeptPages:
    """A curve as it was read last, from the index alone. What was not read then counts as too dear: the chart
    takes coarser buckets, of which the top ones are always there."""

    def __init__(self, index: IndexFile, place: Place) -> None:
        self._index = index
        self._key = json.dumps(place)
        self.at_ns = 0
        """When that was; 0 when it never was."""
        self._kept: _Kept | None = None
        self._tail = no_points()
        for at_ns, body, tail in index.query(
            "SELECT at_ns, body, tail FROM paged WHERE place = ?", (self._key,)
        ):
            try:
                self._kept, self._tail = _Kept.loads(body), _points(tail)
            except (ValueError, KeyError, TypeError):
                continue  # of another version
            self.at_ns = at_ns

    @property
    def nbytes(self) -> int:
        return 0

    def paged(self) -> Paged | None:
        return self._kept.paged if self._kept is not None else None

    def top(self) -> tuple[int, Sequence[PageBody]]:
        level = self._kept.top if self._kept is not None else 0
        return (level, self.pages(level, *self._span(level))) if level else (0, ())

    def _span(self, level: int) -> tuple[int, int]:
        return self._kept.spans.get(level, (0, -1)) if self._kept is not None else (0, -1)

    def pages(self, level: int, first_page: int, last_page: int) -> Sequence[PageBody]:
        first, last = self._span(level)
        if first_page < first or last_page > last:
            raise TooManyRecords
        return self._index.query(
            "SELECT number, body FROM page WHERE place = ? AND level = ? AND number BETWEEN ? AND ?"
            " ORDER BY number",
            (self._key, level, first_page, last_page),
        )  # pyright: ignore[reportReturnType]  # rows of (int, bytes)

    def points(self, ranges: Sequence[tuple[int, int]]) -> Points:
        if not ranges:
            return no_points()
        raise TooManyRecords

    def tail(self, after_seq: int, through_seq: int | None) -> Points:  # noqa: ARG002
        return self._tail


def _points(packed: bytes) -> Points:
    count = len(packed) // 32
    integers = np.frombuffer(packed, dtype=np.int64, count=3 * count).reshape(3, count)
    values = np.frombuffer(packed, dtype=np.float64, offset=24 * count)
    return Points(integers[0], integers[1], integers[2], values)
