"""Reading pages: whole levels by page number, and a metric's top without knowing how high it is."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from wal.cassandra.reads import CatalogueReader
from wal.cassandra.sound import metric_summary
from wal.cassandra.tables import PAGE_CHUNK_BITS
from wal.source import PageBody, Paged
from wal.summary import MetricSummary


class PageReader(CatalogueReader):
    """What :class:`wal.source.Source` asks of pages."""

    def paged(self, run_id: UUID, stream_id: UUID) -> Paged | None:
        """How far the stream's pages go, as its syncer said last. KeyError for an unknown run or stream."""
        return self.stream_row(run_id, stream_id).paged

    def top_pages(self, run_id: UUID, stream_id: UUID, metric: str) -> tuple[int, Sequence[PageBody]]:
        """The highest level of a metric that has pages, and these. (0, ()) when it has none.

        A level that exists has a page for the metric's lowest step: one page is asked for per level that the
        metric's summary makes possible, all at once.
        """
        from wal.paging.levels import page_range  # numpy: a syncer works long without it
        from wal.paging.pages import MAX_EXPONENT

        paged = self.paged(run_id, stream_id)
        rows = self.session.read(
            f"SELECT summary FROM {self.keyspace}.run_metrics WHERE run_id = ? AND metric = ? AND stream = ?",
            [run_id, metric, stream_id],
        )
        if paged is None or not rows or rows[0][0] is None:
            return 0, ()
        lowest, highest = _step_span(metric_summary(metric, rows[0][0]))
        levels = _possible_levels(paged, lowest, highest)
        places = [(level, page_range(lowest, lowest, paged.shift + level)[0]) for level in levels]
        answers = self.session.read_many(
            self._pages_cql(),
            [
                (run_id, stream_id, metric, level, page >> PAGE_CHUNK_BITS, page, page)
                for level, page in places
            ],
        )
        found = [(level, rows) for level, rows in zip(levels, answers, strict=True) if rows]
        if not found:
            return 0, ()
        level, pages = found[-1]
        if level == MAX_EXPONENT - paged.shift:  # only there may a top level have two: step 0 parts them
            return level, self.pages(run_id, stream_id, metric, level, -1, 0)
        return level, [(page, body) for page, body in pages]

    def pages(
        self, run_id: UUID, stream_id: UUID, metric: str, level: int, first_page: int, last_page: int
    ) -> Sequence[PageBody]:
        """The pages of one level with these numbers, ascending."""
        chunks = range(first_page >> PAGE_CHUNK_BITS, (last_page >> PAGE_CHUNK_BITS) + 1)
        arguments = [(run_id, stream_id, metric, level, chunk, first_page, last_page) for chunk in chunks]
        answers = self.session.read_many(self._pages_cql(), arguments)
        return [(page, body) for rows in answers for page, body in rows]

    def _pages_cql(self) -> str:
        return (
            f"SELECT page, body FROM {self.keyspace}.metric_pages WHERE run_id = ? AND stream = ? "
            "AND metric = ? AND level = ? AND chunk = ? AND page >= ? AND page <= ?"
        )


def _step_span(summary: MetricSummary) -> tuple[int, int]:
    """The lowest step of a metric, and one not below its highest."""
    last = max((after - 1 for _, after, _ in summary.curve()), default=summary.last_step)
    return summary.first_step, max(last, summary.first_step)


def _possible_levels(paged: Paged, lowest: int, highest: int) -> list[int]:
    """Levels up to the first that has one page for all these steps, and one more: the summary that they come
    from may be some seconds behind the pages."""
    from wal.paging.levels import BASE_LEVEL, page_range
    from wal.paging.pages import MAX_EXPONENT

    levels: list[int] = []
    for level in range(BASE_LEVEL, MAX_EXPONENT - paged.shift + 1):
        levels.append(level)
        first, last = page_range(lowest, highest, paged.shift + level)
        if first == last and level < MAX_EXPONENT - paged.shift:
            return [*levels, level + 1]
    return levels
