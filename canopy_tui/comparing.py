"""Several runs side by side: which ones, and one metric of all of them on one axis. No textual.

Reading happens on a background thread: asks the source, reduces, draws; what comes back is frozen.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from canopy_tui import format as fmt
from canopy_tui.charts.palette import Tint, run_tints
from canopy_tui.charts.parts import Curve, Plot, Stroke
from canopy_tui.charts.plot import plot, plot_columns
from canopy_tui.curves import local, rank_look, same_series
from canopy_tui.families import Family, chart_order
from canopy_tui.inspector import in_order
from canopy_tui.lens import Extent, Lens, extent_of
from canopy_tui.listing import run_name
from canopy_tui.runreading import WAIT_S
from wal.reading.goals import main_metric
from wal.source import Ask, MetricRow, RunDetail, RunRow, SourceError

if TYPE_CHECKING:
    from canopy_tui.charts.glyphs import Glyphs
    from wal.merged import MergedSource
    from wal.pyramid import Series
    from wal.reading.runlook import RunLook


def runs_to_compare(known: Sequence[RunRow], marked: Collection[UUID], here: RunRow) -> list[UUID]:
    """The marked runs in the order of ``known``; one marked run with this one; without any this one and the
    previous one of its project. Fewer than two: there is nothing to compare with."""
    chosen = [row.run_id for row in known if row.run_id in marked]
    if len(chosen) > 1:
        return chosen
    others = [run_id for run_id in chosen if run_id != here.run_id]
    return [here.run_id, *(others or _previous(known, here))]


def _previous(known: Sequence[RunRow], here: RunRow) -> list[UUID]:
    before = [
        row for row in known
        if row.project == here.project and (row.started_ns, row.run_id) < (here.started_ns, here.run_id)
    ]  # fmt: skip
    return [max(before, key=lambda row: (row.started_ns, row.run_id)).run_id] if before else []


class CompareRequest(NamedTuple):
    """Runs to be compared, and the chart of the family that ``metric`` is in (the main one's by default), in
    ``width`` × ``height`` cells through ``lens``; without a size no chart. ``main_metrics`` are the user's
    choices by project."""

    run_ids: tuple[UUID, ...]
    metric: str | None = None
    width: int = 0
    height: int = 0
    lens: Lens = Lens()
    main_metrics: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class LegendRow:
    """One curve of the chart: whose, how it looks, and what it says. ``metric`` is None where the run has
    not logged it."""

    name: str
    label: str
    tint: Tint
    stroke: Stroke
    metric: MetricRow | None

    @property
    def curve(self) -> str:
        """What its curve is called in the chart."""
        return f"{self.name} {self.label}".strip()


@dataclass(frozen=True, slots=True)
class Comparison:
    """The runs as they were when they were read. ``legend`` has the first run's curves first; ``plot`` is
    None where no run has a metric, or none was asked for. ``problem`` is a sentence when a run is missing."""

    request: CompareRequest
    details: tuple[RunDetail, ...]
    names: tuple[str, ...]
    tints: tuple[Tint, ...]
    families: tuple[Family, ...]
    family: Family | None = None
    legend: tuple[LegendRow, ...] = ()
    extent: Extent | None = None
    asks: tuple[Ask, ...] = ()
    series: tuple[Sequence[Series], ...] = ()
    curves: tuple[Curve, ...] = ()
    plot: Plot | None = None
    problem: str = ""


def read_comparison(
    source: MergedSource, request: CompareRequest, glyphs: Glyphs, known: Comparison | None = None
) -> Comparison:
    """Read the runs and draw the chart; a picture of ``known`` whose points are the same is taken over.

    A run that is not known any more, or does not answer, is left out and named in ``problem``. Raises
    SourceError when not one of them can be read.
    """
    looks: list[RunLook] = []
    problem = ""
    for run_id in request.run_ids:
        try:
            looks.append(source.look(run_id))
        except KeyError:
            problem = f"run {run_id.hex[-8:]} is not known any more"
        except SourceError as error:
            problem = str(error)
    if not looks:
        raise SourceError(problem or "no run to compare")
    given = run_tints(request.run_ids)
    details = tuple(look.detail for look in looks)
    comparison = Comparison(
        request, details, _names(details), tuple(given[one.row.run_id] for one in details),
        _families(details, request.main_metrics), problem=problem,
    )  # fmt: skip
    return _drawn(comparison, looks, glyphs, known) if request.width else comparison


def _names(details: Sequence[RunDetail]) -> tuple[str, ...]:
    """What each run is called; with the end of its id where another is called the same."""
    names = [fmt.clean(run_name(detail.row)) for detail in details]
    return tuple(
        f"{name} {detail.row.run_id.hex[-4:]}" if names.count(name) > 1 else name
        for name, detail in zip(names, details, strict=True)
    )


def _families(details: Sequence[RunDetail], chosen: Mapping[str, str]) -> tuple[Family, ...]:
    """Of the metrics that any run has, in the order of the charts of the first."""
    metrics: dict[str, MetricRow] = {}
    for detail in details:
        for name, metric in detail.metrics.items():
            if name not in metrics or metrics[name].summary.n < metric.summary.n:
                metrics[name] = metric
    names = (metric.name for metric in in_order(details[0].metrics or metrics, None))
    main = main_metric(names, chosen.get(details[0].row.project))
    records = max(detail.row.records for detail in details)
    return tuple(chart_order(metrics, records, main))


def _drawn(
    comparison: Comparison, looks: Sequence[RunLook], glyphs: Glyphs, known: Comparison | None
) -> Comparison:
    request, lens, families = comparison.request, comparison.request.lens, comparison.families
    if not families:
        return comparison
    family = next((one for one in families if request.metric in one.names), families[0])
    deadline = time.monotonic() + WAIT_S
    extent = _union([extent_of(look.detail, lens.x) for look in looks])
    comparison = _read(replace(comparison, family=family, extent=extent), looks, glyphs, deadline)
    whole = _union([extent, *(one.extent for group in comparison.series for one in group)])
    if whole != extent:  # a point lies outside what the runs say of themselves: show that too
        comparison = _read(replace(comparison, extent=whole), looks, glyphs, deadline)
    comparison = replace(comparison, legend=_legend(comparison, looks))
    if known is not None and _same(known, comparison):
        return replace(comparison, curves=known.curves, plot=known.plot)
    curves = _curves(comparison)
    picture = plot(
        curves, request.width, request.height, shown=comparison.asks[0].range, x=lens.x, log=lens.log,
        smoothing=lens.smoothing, cursor=lens.cursor, glyphs=glyphs,
    )  # fmt: skip
    return replace(comparison, curves=curves, plot=picture)


def _read(comparison: Comparison, looks: Sequence[RunLook], glyphs: Glyphs, deadline: float) -> Comparison:
    """The series of each run's members, run by run, on the edges of one axis."""
    family, lens, extent = comparison.family, comparison.request.lens, comparison.extent
    assert family is not None, "series are read of a family"
    shown = lens.window.within(extent) if extent is not None else None
    columns = plot_columns(comparison.request.width, glyphs)
    asks = [Ask(name, columns, lens.x, shown, lens.ghosts) for name in family.names]
    series: list[Sequence[Series]] = []
    problem = comparison.problem
    for look in looks:
        for ask in asks:
            found: Sequence[Series] = ()
            try:
                if ask.metric in look.detail.metrics:
                    found = look.series(ask, wait_s=max(deadline - time.monotonic(), 0.0))
            except SourceError as error:
                problem = str(error)
            series.append(found)
    return replace(comparison, asks=tuple(asks), series=tuple(series), problem=problem)


def _legend(comparison: Comparison, looks: Sequence[RunLook]) -> tuple[LegendRow, ...]:
    family = comparison.family
    assert family is not None, "a legend is of a family"
    return tuple(
        LegendRow(
            name, member.label if len(family.members) > 1 else "", tint, member.look.stroke,
            _metric(look, member.name) if member.name in look.detail.metrics else None,
        )
        for look, name, tint in zip(looks, comparison.names, comparison.tints, strict=True)
        for member in family.members
    )  # fmt: skip


def _same(known: Comparison, found: Comparison) -> bool:
    """Whether the picture would be the same one."""
    return known.plot is not None and same_series(known.series, found.series) and (
        (known.asks, known.request.lens, known.request.width, known.request.height, known.legend)
        == (found.asks, found.request.lens, found.request.width, found.request.height, found.legend)
    )  # fmt: skip


def _metric(look: RunLook, name: str) -> MetricRow:
    try:
        return look.metric(name, wait_s=0.0)  # the very points that were just waited for
    except (KeyError, SourceError):
        return look.detail.metrics[name]


def _curves(comparison: Comparison) -> tuple[Curve, ...]:
    """The leading metrics on top of the others, of each the first run's on top; ghosts at the bottom."""
    family = comparison.family
    assert family is not None, "a chart has a family"
    placed: list[tuple[tuple[bool, int, int, int], Curve]] = []
    size = len(family.members)
    for at, (row, group) in enumerate(zip(comparison.legend, comparison.series, strict=True)):
        run, member = divmod(at, size)
        for one in group:
            stroke = rank_look(family.members[member].look, one.rank).stroke
            tint = Tint.GHOST if one.ghost else row.tint
            shown = one if comparison.details[run].row.shipped else local(one)
            placed.append(((not one.ghost, -member, -run, -one.rank), Curve(shown, tint, stroke, row.curve)))
    return tuple(curve for _, curve in sorted(placed, key=lambda pair: pair[0]))


def _union(extents: Sequence[Extent | None]) -> Extent | None:
    found = [one for one in extents if one is not None]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None
