"""Reading one run for the screen: what it is, how fast it moves, and the pictures asked for. No textual.

Runs on a background thread: asks the source, reduces, draws; what comes back is frozen.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import numpy as np

from canopy_tui.charts.parts import Curve, Plot
from canopy_tui.charts.plot import plot, plot_columns
from canopy_tui.pointrows import point_rows, with_rows
from wal.reading.pace import Pace
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
    """Charts to be drawn: these metrics, each in ``width`` × ``height`` cells; and ``rows``, the metrics of
    which only values and a sparkline are on the screen, the most wanted first."""

    metrics: tuple[str, ...]
    width: int
    height: int
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DrawnMetric:
    """A picture and what it was made of. ``metric`` says what the drawn points say."""

    metric: MetricRow
    series: Sequence[Series]
    steps: tuple[int, int]
    size: tuple[int, int]
    plot: Plot


@dataclass(frozen=True, slots=True)
class RunReading:
    """One run as it was when it was read, with the charts that ``request`` asked for.

    ``rows`` are the metrics on the screen, drawn or not, made from their points; they stand in ``detail``.
    ``problem`` is why some charts could not be drawn anew, as a sentence; those are the ones drawn before.
    """

    detail: RunDetail
    pace: Pace | None
    request: ChartRequest
    drawn: Mapping[str, DrawnMetric] = field(default_factory=dict[str, DrawnMetric])
    rows: Mapping[str, MetricRow] = field(default_factory=dict[str, MetricRow])
    problem: str = ""


def read_run(
    source: MergedSource, run_id: UUID, request: ChartRequest, glyphs: Glyphs, known: RunReading | None = None
) -> RunReading:
    """Read a run and draw its charts; a picture of ``known`` whose points are the same is taken over.

    Raises what the source raises: KeyError for a run that is not there, SourceError.
    """
    look = source.look(run_id)
    newest = newest_stream(look.detail.streams)
    pace = source.recent(run_id, newest.stream_id) if newest is not None else None
    deadline = time.monotonic() + WAIT_S
    drawn: dict[str, DrawnMetric] = {}
    problem = ""
    for name in request.metrics:
        before = known.drawn.get(name) if known is not None else None
        if name not in look.detail.metrics:
            continue
        try:
            drawn[name] = _draw(look, name, request, glyphs, before, deadline)
        except SourceError as error:
            problem = str(error)
            if before is not None:
                drawn[name] = before
    rows = {name: one.metric for name, one in drawn.items()}
    undrawn = [name for name in request.rows if name not in drawn]
    rows |= point_rows(look, undrawn, deadline, known.rows if known is not None else {})
    return RunReading(with_rows(look.detail, rows), pace, request, drawn, rows, problem)


def _draw(
    look: RunLook,
    name: str,
    request: ChartRequest,
    glyphs: Glyphs,
    before: DrawnMetric | None,
    deadline: float,
) -> DrawnMetric:
    steps, size = step_range(look.detail), (request.width, request.height)
    wait_s = max(deadline - time.monotonic(), 0.0)
    series = look.series(Ask(name, plot_columns(request.width, glyphs), range=steps), wait_s=wait_s)
    try:
        metric = look.metric(name, wait_s=0.0)  # the very points that were just waited for
    except KeyError:
        metric = look.detail.metrics[name]
    if before is not None and before.series is series and (before.steps, before.size) == (steps, size):
        return before if before.metric == metric else replace(before, metric=metric)
    shown = series if look.detail.row.shipped else [_without_style(one) for one in series]
    picture = plot([Curve(one) for one in shown], *size, shown=steps, glyphs=glyphs)
    return DrawnMetric(metric, series, steps, size, picture)


def newest_stream(streams: Sequence[StreamRow]) -> StreamRow | None:
    """The rank 0 stream that speaks for the run now: one that runs, else the one that began last."""
    return max(streams, key=lambda s: (s.rank == 0, s.state is RunState.RUNNING, s.started_ns), default=None)


def step_range(detail: RunDetail) -> tuple[int, int]:
    """First and last step of the run: the x axis that all its charts share."""
    logged = [stream for stream in detail.streams if stream.records]
    if not logged:
        return 0, 0
    return min(stream.first_step for stream in logged), max(stream.last_step for stream in logged)


def _without_style(series: Series) -> Series:
    """A run that Cassandra never heard of is local, not late: nothing of it is marked as on the way."""
    return replace(series, unshipped=np.zeros_like(series.unshipped))
