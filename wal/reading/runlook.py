"""One run as it was at one look: what it is, and every metric that a screen draws of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wal.source import Ask, MetricRow, RunDetail

if TYPE_CHECKING:
    from wal.pyramid import Series
    from wal.reading.seriesreader import Looked, Metric, SeriesReader, StreamView


@dataclass(frozen=True, slots=True)
class RunLook:
    """A screen asks for a dozen metrics of the same run: the log directory is looked through once for all of
    them, and they are of one moment."""

    detail: RunDetail
    views: Sequence[StreamView]
    reader: SeriesReader
    _looked: Looked = field(default_factory=dict[str, "list[Metric]"])

    def series(self, ask: Ask, *, wait_s: float) -> list[Series]:
        """As :meth:`wal.merged.MergedSource.series`."""
        return self.reader.series(self.views, ask, self.detail.row.started_ns // 1_000, wait_s, self._looked)

    def metric(self, name: str, *, wait_s: float) -> MetricRow:
        """The metric's row made from the very points that :meth:`series` draws. KeyError when there is none.

        :attr:`detail`'s metrics come from summaries, which cost nothing; this one shows what the points say.
        """
        known = self.detail.metrics.get(name)
        summary = self.reader.summary(self.views, name, wait_s, self._looked)
        if known is None or summary is None:
            raise KeyError(name)
        return MetricRow(name, known.goal, summary, known.order)
