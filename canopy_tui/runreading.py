"""Reading one run for the screen: what it is, how fast it moves, and the pictures asked for. No textual.

Runs on a background thread: asks the source, reduces, draws; what comes back is frozen.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from canopy_tui.charts.parts import Curve, Plot
from canopy_tui.charts.plot import plot, plot_columns
from canopy_tui.curves import curves_of, same_series
from canopy_tui.families import Family
from canopy_tui.growth import Growth, Overlay, candidate_phases
from canopy_tui.lens import Extent, Lens, extent_of
from canopy_tui.pointrows import point_rows, with_rows
from wal.reading.pace import Pace
from wal.segments.meta import starts_of
from wal.source import Ask, MetricRow, RunDetail, RunState, SourceError, StreamRow

if TYPE_CHECKING:
    from canopy_tui.charts.glyphs import Glyphs
    from wal.merged import MergedSource
    from wal.pyramid import Series
    from wal.reading.runlook import RunLook


WAIT_S = 1.5
"""How long all charts and rows of a reading together wait for Cassandra: what is not there by then is drawn
from the log, and anew at the next reading."""


class ChartRequest(NamedTuple):
    """Charts to be drawn: one a family, through ``lens``, each in ``width`` × ``height`` cells, over them how
    the run grew; and ``rows``, the metrics of which only values and a sparkline are on the screen, the most
    wanted first."""

    charts: tuple[Family, ...]
    width: int
    height: int
    rows: tuple[str, ...] = ()
    lens: Lens = Lens()
    growth: Growth = Growth()

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height


@dataclass(frozen=True, slots=True)
class DrawnChart:
    """A picture and what it was made of: per member of the family the series that answered ``ask``, which
    names the leading one, seen through ``lens``. ``metrics`` say what the drawn points say."""

    metrics: Sequence[MetricRow]
    ask: Ask
    series: Sequence[Sequence[Series]]
    curves: Sequence[Curve]
    size: tuple[int, int]
    lens: Lens
    over: Overlay
    plot: Plot


@dataclass(frozen=True, slots=True)
class RunReading:
    """One run as it was at the ``look`` when it was read, with the charts that ``request`` asked for.

    ``extent`` is from where to where the run reaches on the x axis. ``rows`` are the metrics on the screen,
    drawn or not, made from their points; they stand in ``detail``. ``problem`` is why some charts could not
    be drawn anew, as a sentence; those are the ones drawn before. ``spent_s`` is the processor time it took.
    """

    look: RunLook
    detail: RunDetail
    pace: Pace | None
    request: ChartRequest
    extent: Extent = (0, 0)
    drawn: Mapping[str, DrawnChart] = field(default_factory=dict[str, DrawnChart])
    rows: Mapping[str, MetricRow] = field(default_factory=dict[str, MetricRow])
    problem: str = ""
    spent_s: float = 0.0

    def answers(self, request: ChartRequest, glyphs: Glyphs) -> bool:
        """Whether the series at hand are those of ``request``: only the drawing of them may differ."""
        if request._replace(lens=self.request.lens) != self.request:
            return False
        asks = [_ask(name, request, self.extent, glyphs) for name in self.drawn]
        return bool(asks) and asks == [one.ask for one in self.drawn.values()]


def read_run(
    source: MergedSource, run_id: UUID, request: ChartRequest, glyphs: Glyphs, known: RunReading | None = None
) -> RunReading:
    """Read a run and draw its charts; a picture of ``known`` whose points are the same is taken over.

    Raises what the source raises: KeyError for a run that is not there, SourceError.
    """
    began = time.thread_time()
    look = source.look(run_id, whole=False)
    newest = newest_stream(look.detail.streams)
    pace = source.recent(run_id, newest.stream_id) if newest is not None else None
    deadline = time.monotonic() + WAIT_S
    before = known.drawn if known is not None else {}
    drawn, extent, problem = _draw_all(look, request, glyphs, before, deadline)
    rows = {metric.name: metric for one in drawn.values() for metric in one.metrics}
    undrawn = [name for name in request.rows if name not in rows]
    rows |= point_rows(look, undrawn, deadline, known.rows if known is not None else {})
    detail, spent_s = with_rows(look.detail, rows), time.thread_time() - began
    return RunReading(look, detail, pace, request, extent, drawn, rows, problem, spent_s)


def redrawn(reading: RunReading, request: ChartRequest, glyphs: Glyphs) -> RunReading:
    """The charts of a request that the reading :meth:`~RunReading.answers`, from the series it holds."""
    drawn = {
        name: replace(one, lens=request.lens, plot=_picture(one.curves, one.ask, one.over, request, glyphs))
        for name, one in reading.drawn.items()
    }
    return replace(reading, request=request, drawn=drawn)


def _draw_all(
    look: RunLook,
    request: ChartRequest,
    glyphs: Glyphs,
    before: Mapping[str, DrawnChart],
    deadline: float,
) -> tuple[dict[str, DrawnChart], Extent, str]:
    """The charts, what their common axis reaches over, and why some of them are the old ones."""
    known = extent = extent_of(look.detail, request.lens.x)
    while True:
        drawn: dict[str, DrawnChart] = {}
        problem = ""
        over = _overlay(look, request, extent, glyphs, deadline)
        for family in request.charts:
            name = family.lead
            if not all(one in look.detail.metrics for one in family.names):
                continue
            try:
                drawn[name] = _draw(look, family, request, extent, over, glyphs, before.get(name), deadline)
            except SourceError as error:
                problem = str(error)
                if name in before:
                    drawn[name] = before[name]
        charts = [chart for chart in drawn.values() if chart.ask.x == request.lens.x]
        seen = [one.extent for chart in charts for group in chart.series for one in group]
        whole = _union([known, *seen])
        if whole == extent or extent != known:
            return drawn, extent or (0, 0), problem
        before, extent = drawn, whole  # a point lies outside what the run says of itself: show that too


def _union(extents: Sequence[Extent | None]) -> Extent | None:
    found = [one for one in extents if one is not None]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def _ask(name: str, request: ChartRequest, extent: Extent | None, glyphs: Glyphs) -> Ask:
    lens = request.lens
    shown = lens.window.within(extent) if extent is not None else None
    return Ask(name, plot_columns(request.width, glyphs), lens.x, shown, lens.ghosts)


def _overlay(
    look: RunLook, request: ChartRequest, extent: Extent | None, glyphs: Glyphs, deadline: float
) -> Overlay:
    """The units, and the phases as far as their metric can be read now: as much as one chart more."""
    growth, x = request.growth, request.lens.x
    name = growth.candidates
    if name is None or name not in look.detail.metrics or not growth.places(x):
        return Overlay(growth.marks(x))
    ask = _ask(name, request, extent, glyphs)
    try:
        series = look.series(ask, wait_s=max(deadline - time.monotonic(), 0.0))
    except SourceError:
        return Overlay(growth.marks(x))
    return Overlay(growth.marks(x), candidate_phases(growth, x, series))


def _draw(
    look: RunLook,
    family: Family,
    request: ChartRequest,
    extent: Extent | None,
    over: Overlay,
    glyphs: Glyphs,
    before: DrawnChart | None,
    deadline: float,
) -> DrawnChart:
    ask = _ask(family.lead, request, extent, glyphs)
    series = [
        look.series(replace(ask, metric=name), wait_s=max(deadline - time.monotonic(), 0.0))
        for name in family.names
    ]
    metrics = [_metric(look, name) for name in family.names]
    same = before is not None and before.ask == ask and same_series(before.series, series)
    looks = request.size, request.lens, over
    if same and before is not None and (before.size, before.lens, before.over) == looks:
        return before if before.metrics == metrics else replace(before, metrics=metrics)
    curves = curves_of(family, series, shipped=bool(look.detail.row.shipped))
    picture = _picture(curves, ask, over, request, glyphs)
    return DrawnChart(metrics, ask, series, curves, *looks, picture)


def _metric(look: RunLook, name: str) -> MetricRow:
    try:
        return look.metric(name, wait_s=0.0)  # the very points that were just waited for
    except KeyError:
        return look.detail.metrics[name]


def _picture(curves: Sequence[Curve], ask: Ask, over: Overlay, request: ChartRequest, glyphs: Glyphs) -> Plot:
    lens = request.lens
    return plot(
        curves, *request.size, shown=ask.range, x=ask.x, log=lens.log, smoothing=lens.smoothing,
        cursor=lens.cursor, marks=over.marks, phases=over.phases, glyphs=glyphs,
    )  # fmt: skip


def newest_stream(streams: Sequence[StreamRow]) -> StreamRow | None:
    """The rank 0 stream that speaks for the run now: one that runs, else the one that began last."""
    starts = starts_of(streams)

    def place(stream: StreamRow) -> tuple[bool, bool, int]:
        return stream.rank == 0, stream.state is RunState.RUNNING, starts[stream.stream_id]

    return max(streams, key=place, default=None)
