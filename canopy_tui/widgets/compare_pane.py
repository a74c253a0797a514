"""One metric of several runs on one axis, and below it whose curve is whose and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from canopy_tui.chartlines import footer_line, plot_lines
from canopy_tui.comparelines import compare_title, legend_lines
from canopy_tui.comparing import Comparison
from canopy_tui.cursorline import cursor_line
from canopy_tui.lens import lens_notes
from canopy_tui.listing import Piece
from canopy_tui.widgets.lens_pane import LensPane
from canopy_tui.widgets.lines import LineList
from canopy_tui.widgets.picture import TITLE_ROWS, Picture

if TYPE_CHECKING:
    from canopy_tui.charts.axis import Axis
    from canopy_tui.charts.glyphs import Glyphs
    from canopy_tui.charts.parts import Curve, Plot

FOOTER_ROWS = 1
WHEEL_ZOOM = 0.8
LEGEND_SHARE = 0.4
"""Of the height, at most, for the legend: it scrolls, the chart does not."""

NO_METRIC = "none of these runs has logged a metric"


class ComparedChart(Picture):
    """Draws the chart of a comparison."""

    def __init__(self, glyphs: Glyphs, *, unicode: bool = True) -> None:
        super().__init__(glyphs, unicode=unicode)
        self.comparison: Comparison | None = None

    @property
    def plot(self) -> Plot | None:
        return None if self.comparison is None else self.comparison.plot

    @property
    def named(self) -> str:
        family = None if self.comparison is None else self.comparison.family
        return "" if family is None else family.lead

    def on_resize(self) -> None:
        self.post_message(LensPane.Wanted())

    def show(self, comparison: Comparison) -> None:
        """Draw another comparison, unless its picture is the one that is drawn."""
        drawn = self.plot is not None and comparison.plot is self.plot
        self.comparison = comparison
        if not drawn:
            self.redraw()

    def lines(self, width: int) -> list[list[Piece]]:
        comparison, plot = self.comparison, self.plot
        if comparison is None:
            return []
        if plot is None:
            return [[Piece(NO_METRIC, "muted")]]
        if plot.readings:
            name = comparison.family.shared if comparison.family is not None else self.named
            title = cursor_line(name, plot, width, unicode=self._unicode)
        else:
            title = compare_title(self.named, len(comparison.details), width, self._unicode)
        return [title, *plot_lines(plot), footer_line(plot, width, self._glyphs, self._unicode)]


class ComparePane(LensPane):
    """The keys of every chart; up and down go through the metrics."""

    DEFAULT_CSS = """
    ComparePane { height: 1fr; padding: 0 1; }
    ComparePane ComparedChart { height: 1fr; }
    ComparePane #compare-legend { height: 0; }
    ComparePane.-stale ComparedChart { text-opacity: 60%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down,tab", "step(1)", "Down", show=False, id="compare.down", tooltip="Next metric"),
        Binding("k,up,shift+tab", "step(-1)", "Up", show=False, id="compare.up", tooltip="Previous metric"),
        Binding("g", "to(0)", "First", show=False, id="compare.first", tooltip="First metric"),
        Binding("G", "to(-1)", "Last", show=False, id="compare.last", tooltip="Last metric"),
        Binding("pageup", "legend(-1)", show=False, id="compare.page_up", tooltip="Legend up or down"),
        Binding("pagedown", "legend(1)", show=False, id="compare.page_down", tooltip="Legend up or down"),
    ]  # fmt: skip

    def __init__(self, glyphs: Glyphs, *, unicode: bool = True) -> None:
        super().__init__()
        self._glyphs = glyphs
        self._unicode = unicode
        self._comparison: Comparison | None = None
        self.selected: str | None = None
        """A metric of the chosen chart; None for the main one."""

    def compose(self) -> ComposeResult:
        yield ComparedChart(self._glyphs, unicode=self._unicode)
        legend = LineList(id="compare-legend")
        legend.can_focus = False
        yield legend

    @property
    def plot_size(self) -> tuple[int, int]:
        """Cells for the curves and their axes; (0, 0) before there is room."""
        chart = self.query_one(ComparedChart)
        width, height = chart.content_size
        return (width, max(height - TITLE_ROWS - FOOTER_ROWS, 1)) if width and height else (0, 0)

    @property
    def notes(self) -> tuple[str, ...]:
        """How the chart is looked at, and which one it is."""
        notes, comparison = lens_notes(self.lens, self.new_records), self._comparison
        if comparison is None or len(comparison.families) < 2:
            return notes
        return (*notes, f"{self._place + 1} of {len(comparison.families)}")

    def show(self, comparison: Comparison) -> None:
        """Draw what was read: with it come the metrics that can be chosen."""
        self._comparison = comparison
        self.records = sum(detail.row.records for detail in comparison.details)
        if comparison.request.lens.x == self.lens.x:
            self.extent = comparison.extent
        self.query_one(ComparedChart).show(comparison)
        legend = self.query_one("#compare-legend", LineList)
        most = max(int(self.content_size.height * LEGEND_SHARE), 3)
        legend.styles.height = min(len(comparison.legend) + 1, most) if comparison.legend else 0
        rows, glyphs, unicode = comparison.legend, self._glyphs, self._unicode
        readings = comparison.plot.readings if comparison.plot is not None else ()
        legend.show(lambda width: legend_lines(rows, readings, width, glyphs, unicode))

    def in_hand(self) -> tuple[Sequence[Curve], Axis] | None:
        one = self._comparison
        if one is None or one.plot is None or one.request.lens.x != self.lens.x:
            return None
        return one.curves, one.plot.axis

    # -- moving -------------------------------------------------------------------------------------

    @property
    def _place(self) -> int:
        comparison = self._comparison
        if comparison is None:
            return 0
        return next((at for at, family in enumerate(comparison.families) if self.selected in family.names), 0)

    def action_step(self, by: int) -> None:
        self._select(self._place + by)

    def action_to(self, place: int) -> None:
        if self._comparison is not None:
            self._select(place if place >= 0 else len(self._comparison.families) + place)

    def _select(self, place: int) -> None:
        comparison = self._comparison
        if comparison is not None and 0 <= place < len(comparison.families):
            self.selected = comparison.families[place].lead
            self.post_message(self.Wanted())

    def action_legend(self, by: int) -> None:
        self.query_one("#compare-legend", LineList).action_page(by)

    @on(Picture.Clicked)
    def _clicked(self, event: Picture.Clicked) -> None:
        event.stop()
        self.put_cursor(event.x)

    @on(Picture.Wheeled)
    def _wheeled(self, event: Picture.Wheeled) -> None:
        event.stop()
        self.zoom(WHEEL_ZOOM if event.closer else 1 / WHEEL_ZOOM, event.x)

    @on(Picture.Dragged)
    def _dragged(self, event: Picture.Dragged) -> None:
        event.stop()
        self.pan(-event.share)
