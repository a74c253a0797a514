"""Reading one run for the screen: what it is, how fast it moves, and the pictures asked for. No textual.

Runs on a background thread: asks the source, reduces, draws; what comes back is frozen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import numpy as np

from canopy_tui.charts.plot import Plot, plot, plot_columns
from wal.pace import Pace
from wal.source import RunDetail, RunState, StreamRow

if TYPE_CHECKING:
    from wal.merged import MergedSource

    from canopy_tui.charts.glyphs import Glyphs
    from wal.pyramid import Series


class ChartRequest(NamedTuple):
    """Charts to be drawn: these metrics, each in ``width`` × ``height`` cells."""

    metrics: tuple[str, ...]
    width: int
    height: int


Fingerprint = tuple[object, ...]
"""What must differ for a chart to look different; see :func:`fingerprint`."""


@dataclass(frozen=True, slots=True)
class RunReading:
    """One run as it was when it was read.

    ``plots`` holds what ``request`` asked for, or is None when nothing had changed since the reading with
    the same request and ``mark``.
    """

    detail: RunDetail
    pace: Pace | None
    request: ChartRequest
    mark: Fingerprint
    plots: Mapping[str, Plot] | None


def read_run(
    source: MergedSource, run_id: UUID, request: ChartRequest, glyphs: Glyphs, known: RunReading | None = None
) -> RunReading:
    """Read a run, and draw its charts unless ``known`` already shows what they would.

    Raises what the source raises: KeyError for a run that is not there, SourceError.
    """
    detail = source.run(run_id)
    mark = fingerprint(detail)
    newest = newest_stream(detail.streams)
    pace = source.recent(run_id, newest.stream_id) if newest is not None else None
    if known is not None and known.mark == mark and known.request == request:
        return RunReading(detail, pace, request, mark, None)
    return RunReading(detail, pace, request, mark, draw_charts(source, detail, request, glyphs))


def fingerprint(detail: RunDetail) -> Fingerprint:
    """Changes whenever a record or an acknowledgement has come since."""
    return (
        bool(detail.row.shipped),
        len(detail.metrics),
        *((s.stream_id, s.records, s.acked) for s in detail.streams),
    )


def newest_stream(streams: Sequence[StreamRow]) -> StreamRow | None:
    """The rank 0 stream that speaks for the run now: one that runs, else the one that began last."""
    return max(streams, key=lambda s: (s.rank == 0, s.state is RunState.RUNNING, s.started_ns), default=None)


def step_range(detail: RunDetail) -> tuple[int, int]:
    """First and last step of the run: the x axis that all its charts share."""
    logged = [stream for stream in detail.streams if stream.records]
    if not logged:
        return 0, 0
    return min(stream.first_step for stream in logged), max(stream.last_step for stream in logged)


def draw_charts(
    source: MergedSource, detail: RunDetail, request: ChartRequest, glyphs: Glyphs
) -> dict[str, Plot]:
    """The pictures of the metrics asked for that the run has."""
    columns = plot_columns(request.width, glyphs)
    steps = step_range(detail)
    drawn: dict[str, Plot] = {}
    for name in request.metrics:
        if name not in detail.metrics:
            continue
        series = source.series(detail.row.run_id, name, columns, steps)
        if not detail.row.shipped:
            series = [_without_style(one) for one in series]
        drawn[name] = plot(series, request.width, request.height, steps=steps, glyphs=glyphs)
    return drawn


def _without_style(series: Series) -> Series:
    """A run that Cassandra never heard of is local, not late: nothing of it is marked as on the way."""
    return replace(series, unshipped=np.zeros_like(series.unshipped))
