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

from canopy_tui.charts.plot import Plot, plot, plot_columns
from wal.reading.pace import Pace
from wal.source import MetricRow, RunDetail, RunState, SourceError, StreamRow

if TYPE_CHECKING:
    from canopy_tui.charts.glyphs import Glyphs
    from wal.merged import MergedSource
    from wal.pyramid import Series


WAIT_S = 1.5
"""How long all charts of a reading together wait for Cassandra: what is not there by then is drawn from the
log, and anew at the next reading."""


class ChartRequest(NamedTuple):
    """Charts to be drawn: these metrics, each in ``width`` × ``height`` cells."""

    metrics: tuple[str, ...]
    width: int
    height: int


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

    ``problem`` is why some of them could not be drawn anew, as a sentence; those are the ones drawn before.
    """

    detail: RunDetail
    pace: Pace | None
    request: ChartRequest
    drawn: Mapping[str, DrawnMetric] = field(default_factory=dict[str, DrawnMetric])
    problem: str = ""


def read_run(
    source: MergedSource, run_id: UUID, request: ChartRequest, glyphs: Glyphs, known: RunReading | None = None
) -> RunReading:
    """Read a run and draw its charts; a picture of ``known`` whose points are the same is taken over.

    Raises what the source raises: KeyError for a run that is not there, SourceError.
    """
    detail = source.run(run_id)
    newest = newest_stream(detail.streams)
    pace = source.recent(run_id, newest.stream_id) if newest is not None else None
    deadline = time.monotonic() + WAIT_S
    drawn: dict[str, DrawnMetric] = {}
    problem = ""
    for name in request.metrics:
        before = known.drawn.get(name) if known is not None else None
        if name not in detail.metrics:
            continue
        try:
            drawn[name] = _draw(source, detail, name, request, glyphs, before, deadline)
        except SourceError as error:
            problem = str(error)
            if before is not None:
                drawn[name] = before
    metrics = {**detail.metrics, **{name: one.metric for name, one in drawn.items()}}
    return RunReading(replace(detail, metrics=metrics), pace, request, drawn, problem)


def _draw(
    source: MergedSource,
    detail: RunDetail,
    name: str,
    request: ChartRequest,
    glyphs: Glyphs,
    before: DrawnMetric | None,
    deadline: float,
) -> DrawnMetric:
    run_id, steps, size = detail.row.run_id, step_range(detail), (request.width, request.height)
    wait_s = max(deadline - time.monotonic(), 0.0)
    series = source.series(run_id, name, plot_columns(request.width, glyphs), steps, wait_s=wait_s)
    try:
        metric = source.metric(run_id, name, wait_s=0.0)  # the very points that were just waited for
    except KeyError:
        metric = detail.metrics[name]
    if before is not None and before.series is series and (before.steps, before.size) == (steps, size):
        return before if before.metric is metric else replace(before, metric=metric)
    shown = series if detail.row.shipped else [_without_style(one) for one in series]
    return DrawnMetric(metric, series, steps, size, plot(shown, *size, steps=steps, glyphs=glyphs))


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
