"""How a cascade-correlation run grew: its hidden units, when candidates were trained, and the stretches
between two units. Pure.

Nothing of it needs a look at every record. A unit was added where a topology snapshot counts more hidden
units than the one before. Candidates are trained from the first point of a metric with ``candidate`` in its
name (``candidate/best``, ``candidate_correlation``) to the last before the next unit: read like a curve.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from canopy_tui.charts.parts import Mark, MarkKind, Phase
from canopy_tui.lens import Extent, Window
from wal.reading.lineage import superseded_from
from wal.source import MetricRow, RunDetail, TopologyRow, XAxis

if TYPE_CHECKING:
    from wal.pyramid import Series

CANDIDATE = re.compile(r"(?<![^\W_])candidates?(?![^\W_])", re.IGNORECASE)
"""As a part of a metric's name: ``candidate/best``, ``best_candidate``, not ``candidateship``."""

CANDIDATES = "candidates"
"""What the phase is called in which they are trained."""


class Unit(NamedTuple):
    """Hidden units that were added at once, the ``first``-th to the ``last``-th; ``us`` since the epoch."""

    first: int
    last: int
    step: int
    us: int


class Stretch(NamedTuple):
    """From one unit, or the run's first x, to the next, or to the newest x there is. Labels are short enough
    for a tab line of 50 columns: ``to unit 1``, ``units 4–5``, ``unit 12–``."""

    low: float
    high: float
    label: str
    window: Window


@dataclass(frozen=True, slots=True)
class Growth:
    """The units in their order, and the metric that is logged only while candidates are trained, if there is
    one. ``started_us`` is when the run began."""

    units: tuple[Unit, ...] = ()
    candidates: str | None = None
    started_us: int = 0

    def places(self, x: XAxis) -> list[float]:
        """Where the units are on an axis; nowhere on a metric's."""
        if x.kind == "metric":
            return []
        if x.kind == "step":
            return [unit.step for unit in self.units]
        start_us = self.started_us if x.kind == "relative" else 0
        return [unit.us - start_us for unit in self.units]

    def marks(self, x: XAxis) -> tuple[Mark, ...]:
        """One a unit, or several that were added at once."""
        return tuple(
            Mark(place, MarkKind.UNIT, _name(unit))
            for place, unit in zip(self.places(x), self.units, strict=False)
        )

    def stretches(self, x: XAxis, extent: Extent) -> list[Stretch]:
        """What lies between the units within ``extent``; none where no unit does."""
        pairs = sorted(zip(self.places(x), self.units, strict=False))  # a clock may have been set back
        inside = [(place, unit) for place, unit in pairs if extent[0] < place < extent[1]]
        found: list[Stretch] = []
        low, before = extent[0], None
        for place, unit in inside:
            label = f"to unit {unit.first}"
            if before is not None:
                label = f"units {before.last}–{unit.first}"
            if place > low:
                found.append(Stretch(low, place, label, Window(place - low, low)))
            low, before = place, unit
        if before is not None:
            found.append(Stretch(low, extent[1], f"unit {before.last}–", Window(None, low)))
        return found


def _name(unit: Unit) -> str:
    return f"unit {unit.last}" if unit.first == unit.last else f"units {unit.first}–{unit.last}"


def growth_of(topologies: Iterable[TopologyRow], detail: RunDetail) -> Growth:
    """What a run's snapshots of the first rank say, without those that a resume superseded.

    A first snapshot of several units says what the network began with, one of a single unit that it was
    added.
    """
    streams = detail.streams
    cuts = superseded_from(streams)
    first_rank = min((stream.rank for stream in streams), default=0)
    speakers = {stream.stream_id for stream in streams if stream.rank == first_rank}
    units: list[Unit] = []
    known: int | None = None
    for row in sorted(topologies, key=lambda row: (row.step, row.ts, row.seq)):
        cut = cuts.get(row.stream_id)
        if row.stream_id not in speakers or (cut is not None and row.step >= cut):
            continue
        count, us = row.hidden_units, row.ts // 1_000
        if known is None:
            known = 0 if count == 1 else count
        if count > known:
            if units and units[-1].step == row.step:
                units[-1] = units[-1]._replace(last=count)
            else:
                units.append(Unit(known + 1, count, row.step, us))
            known = count
    candidates = _candidates(detail.metrics) if units else None
    return Growth(tuple(units), candidates, detail.row.started_ns // 1_000)


def _candidates(metrics: Mapping[str, MetricRow]) -> str | None:
    """The metric logged first of those about candidates."""
    found = [metric for metric in metrics.values() if CANDIDATE.search(metric.name)]
    return min(found, key=lambda metric: (metric.order, metric.name)).name if found else None


def candidate_phases(growth: Growth, x: XAxis, series: Sequence[Series]) -> tuple[Phase, ...]:
    """Where candidates were trained, of those on the axis: from their first to their last point between two
    units, without the place of a unit itself: with it the outputs' training begins. ``series`` are those of
    :attr:`Growth.candidates`; the ends are as exact as their columns."""
    first_rank = min((one.rank for one in series), default=0)
    columns = [one.columns for one in series if one.rank == first_rank and not one.ghost]
    seen = [at for one in columns for at in (one.first_x[one.finite > 0], one.last_x[one.finite > 0])]
    if not seen:
        return ()
    at = np.unique(np.concatenate(seen))
    places = np.sort(growth.places(x))
    stretch = np.searchsorted(places, at, side="left")  # a unit ends its own stretch
    _, begins = np.unique(stretch, return_index=True)
    low, last = at[begins], at[np.append(begins[1:], len(at)) - 1]
    high = np.where(np.isin(last, places), last, np.nextafter(last.astype(np.float64), np.inf))
    spans = zip(low.tolist(), high.tolist(), strict=True)
    return tuple(Phase(begin, end, CANDIDATES) for begin, end in spans if begin < end)


@dataclass(frozen=True, slots=True)
class Overlay:
    """What lies over every chart of a run."""

    marks: tuple[Mark, ...] = ()
    phases: tuple[Phase, ...] = ()


def step_to(stretches: Sequence[Stretch], shown: Extent, cursor: float | None, by: int) -> Stretch | None:
    """The next stretch (``by`` 1) or the previous one (-1). From a view that is none of them: the one with
    the cursor, else the first that begins in view, or the last that ends there; None at either end."""
    at = next((i for i, one in enumerate(stretches) if (one.low, one.high) == shown), None)
    if at is not None:
        return stretches[at + by] if 0 <= at + by < len(stretches) else None
    if cursor is not None and shown[0] <= cursor <= shown[1]:
        return next((one for one in stretches if cursor <= one.high), None)
    if by > 0:
        return next((one for one in stretches if one.low >= shown[0]), None)
    return next((one for one in reversed(stretches) if one.high <= shown[1]), None)
