"""How the charts of a run are looked at: which part of which x axis, on what y scale, how smooth. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from canopy_tui.format import clean, count
from wal.source import STEP, MetricRow, RunDetail, XAxis

LEAST_SPAN = {"step": 4, "time": 1_000, "relative": 1_000}
"""The closest zoom, in the units of the axis (steps, µs): a handful of records stand far apart in it."""

LEAST_SHARE = 1e-9
"""The closest zoom on a metric's axis, as a share of its extent: floats still tell neighbours apart."""

LEVELS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
"""Of smoothing, by ``+`` and ``-``: 0 is as logged; 0.98 averages over some 50 dot columns."""

RELATIVE = XAxis("relative")
CLOCK = XAxis("time")
PLAIN_AXES = (STEP, RELATIVE, CLOCK)
"""What ``x`` goes through; any metric can be chosen from a list."""

NAME_IN_NOTE = 24
"""Characters of a metric's name that a note shows."""

Extent = tuple[float, float]
"""The lowest and the highest x, both included: whole numbers but on a metric's axis."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of an x axis that all charts of a run share, ``span`` wide from ``low`` on.

    Without ``low`` its right edge is the newest x there is, and moves with it: the view follows. With both it
    holds. With ``low`` alone it is everything since there, with neither all there is.
    """

    span: float | None = None
    low: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it stays where it is when more is logged."""
        return self.low is not None and self.span is not None

    def within(self, extent: Extent) -> Extent:
        """The lowest and the highest x shown of a run that reaches from ``extent[0]`` to ``extent[1]``."""
        first, last = extent
        if self.span is None:
            return extent if self.low is None else (min(max(self.low, first), last), last)
        low = max(last - self.span, first) if self.low is None else self.low
        return low, low + self.span

    def zoomed(self, extent: Extent, factor: float, at: float | None, least: float) -> Window:
        """``factor`` times as wide, but not below ``least``, and what is at ``at`` stays where it is on the
        screen. By default that is the right edge of a window that follows, the middle of one that holds."""
        low, high = self.within(extent)
        if at is None:
            at = low + (high - low) / 2 if self.holds else high
        span = max((high - low) * factor, least)
        share = (at - low) / (high - low) if high > low else 1.0
        return _placed(extent, at - share * span, span)

    def panned(self, extent: Extent, by: float) -> Window:
        """Moved by so much, to the ends of the run at most. There is nothing beside the whole of it."""
        if self == Window():
            return self
        low, high = self.within(extent)
        return _placed(extent, low + by, high - low)

    def at_start(self, extent: Extent) -> Window:
        """The same zoom at the run's first x."""
        low, high = self.within(extent)
        return self if self == Window() else _placed(extent, extent[0], high - low)

    def following(self) -> Window:
        """The same zoom at the newest x, and with it from now on."""
        return replace(self, low=None) if self.holds else self


def _placed(extent: Extent, low: float, span: float) -> Window:
    """A window inside the extent, in whole numbers where that has them; at the right edge it follows."""
    first, last = extent
    if isinstance(first, int):
        low, span = round(low), round(span)
    if span >= last - first:
        return Window()
    if low + span >= last:
        return Window(span)
    return Window(span, max(low, first))


@dataclass(frozen=True, slots=True)
class Lens:
    """All of it. ``smoothing`` is one of :data:`LEVELS`; ``cursor`` an x whose values are wanted; ``ghosts``
    shows what resumes have superseded."""

    x: XAxis = STEP
    log: bool = False
    smoothing: float = 0.0
    ghosts: bool = False
    window: Window = Window()
    cursor: float | None = None

    def on(self, x: XAxis) -> Lens:
        """The whole of another axis: places on one mean nothing on the other."""
        return replace(self, x=x, window=Window(), cursor=None)

    def next_axis(self) -> Lens:
        """Step, time since the start, time of day; from a metric's axis the step."""
        place = PLAIN_AXES.index(self.x) + 1 if self.x in PLAIN_AXES else 0
        return self.on(PLAIN_AXES[place % len(PLAIN_AXES)])

    def smoother(self, by: int) -> Lens:
        """So many levels smoother; 0 is as logged again."""
        place = LEVELS.index(self.smoothing) + by if by else 0
        return replace(self, smoothing=LEVELS[min(max(place, 0), len(LEVELS) - 1)])

    def zoomed(self, extent: Extent, factor: float, at: float | None = None) -> Lens:
        """Closer (below 1) or farther, at ``at``, else at the cursor where it is to be seen."""
        low, high = self.window.within(extent)
        if at is None and self.cursor is not None and low <= self.cursor <= high:
            at = self.cursor
        least = LEAST_SPAN.get(self.x.kind, (extent[1] - extent[0]) * LEAST_SHARE)
        return replace(self, window=self.window.zoomed(extent, factor, at, least))

    def panned(self, extent: Extent, share: float) -> Lens:
        """Moved by a share of what is shown."""
        low, high = self.window.within(extent)
        return replace(self, window=self.window.panned(extent, (high - low) * share))


def extent_of(detail: RunDetail, x: XAxis) -> Extent | None:
    """From where to where a run reaches on an axis, so that all its charts share it; None where only the
    curves themselves can say."""
    logged = [stream for stream in detail.streams if stream.records]
    if x.kind == "metric":
        return _values_of(detail.metrics.get(x.metric))
    if not logged:
        return 0, 0
    if x.kind == "step":
        return min(stream.first_step for stream in logged), max(stream.last_step for stream in logged)
    first = detail.row.started_ns // 1_000
    last = max(first, *(stream.last_ts_ns // 1_000 for stream in logged))
    return (first, last) if x.kind == "time" else (0, last - first)


def _values_of(metric: MetricRow | None) -> Extent | None:
    if metric is None or metric.summary.n == metric.summary.non_finite:
        return None
    return float(metric.summary.min), float(metric.summary.max)


def axis_name(x: XAxis) -> str:
    """What an axis is called in a list and in a note."""
    return {"step": "step", "relative": "time since the start", "time": "time of day"}.get(x.kind, x.metric)


def lens_notes(lens: Lens, new_records: int) -> tuple[str, ...]:
    """What the charts do not say of themselves, the most important first."""
    notes: list[str] = []
    if new_records > 0:
        notes.append(f"▶ {count(new_records)} new, End follows")
    if lens.smoothing:
        notes.append(f"smoothed {lens.smoothing:g}")
    if lens.x != STEP:
        notes.append(f"x: {clean(axis_name(lens.x), NAME_IN_NOTE)}")
    if lens.ghosts:
        notes.append("ghosts")
    return tuple(notes)
