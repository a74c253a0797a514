"""One chart of a run: a title, the picture, and in full a footer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from canopy_tui.chartlines import family_legend, footer_line, plot_lines, title_line, with_legend
from canopy_tui.charts.plot import AXIS_ROWS
from canopy_tui.cursorline import cursor_line
from canopy_tui.families import Family
from canopy_tui.listing import Piece
from canopy_tui.widgets.picture import Picture
from wal.source import MetricRow

if TYPE_CHECKING:
    from canopy_tui.charts.glyphs import Glyphs
    from canopy_tui.charts.parts import Plot


@dataclass(frozen=True, slots=True)
class ChartView:
    """What a chart shows: a family with the metric of each member. ``named`` is the one in the title.
    ``plot`` is None until the points have been read."""

    metrics: tuple[MetricRow, ...]
    family: Family
    named: str
    plot: Plot | None
    main: bool = False
    selected: bool = False
    footer: bool = False

    @property
    def metric(self) -> MetricRow:
        """The one in the title."""
        return next(one for one in self.metrics if one.name == self.named)


class Chart(Picture):
    """Draws a :class:`ChartView`."""

    def __init__(self, glyphs: Glyphs, *, unicode: bool = True) -> None:
        super().__init__(glyphs, unicode=unicode)
        self.view: ChartView | None = None

    @property
    def plot(self) -> Plot | None:
        return None if self.view is None else self.view.plot

    @property
    def named(self) -> str:
        return "" if self.view is None else self.view.named

    def show(self, view: ChartView) -> None:
        """Draw another view."""
        if view != self.view:
            self.view = view
            self.redraw()

    def lines(self, width: int) -> list[list[Piece]]:
        view = self.view
        if view is None:
            return []
        lines = [self._title(view, width)]
        if view.plot is not None:
            legend = family_legend(view.family, view.metrics, view.named, self._glyphs)
            lines += with_legend(plot_lines(view.plot), legend, AXIS_ROWS)
            if view.footer:
                lines.append(footer_line(view.plot, width, self._glyphs, self._unicode))
        return lines

    def _title(self, view: ChartView, width: int) -> list[Piece]:
        if view.plot is not None and view.plot.readings:
            return cursor_line(
                view.family.shared, view.plot, width,
                main=view.main, selected=view.selected, unicode=self._unicode,
            )  # fmt: skip
        return title_line(
            view.metric, view.plot, width, self._glyphs,
            tint=view.family.member(view.named).look.tint,
            main=view.main, selected=view.selected, unicode=self._unicode,
        )  # fmt: skip
