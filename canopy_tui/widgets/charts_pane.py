"""The charts of a run: which are on the screen, which one is chosen, and how to move between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from canopy_tui.chartlayout import Box, Kind, chart_layout
from canopy_tui.chartlines import overlay_legend
from canopy_tui.families import Family
from canopy_tui.growth import Growth, Stretch, step_to
from canopy_tui.lens import lens_notes
from canopy_tui.listing import Piece
from canopy_tui.runlines import metric_heading, metric_line
from canopy_tui.runreading import ChartRequest, DrawnChart, RunReading
from canopy_tui.widgets.chart import Chart, ChartView
from canopy_tui.widgets.lens_pane import LensPane
from canopy_tui.widgets.lines import LineList
from canopy_tui.widgets.picture import TITLE_ROWS
from wal.source import MetricRow, RunRow

if TYPE_CHECKING:
    from textual.widget import Widget

    from canopy_tui.charts.axis import Axis
    from canopy_tui.charts.glyphs import Glyphs
    from canopy_tui.charts.parts import Curve

NONE_YET = "no metric yet. In the trainer: run.log({...})"

WHEEL_ZOOM = 0.8
"""What one notch of the wheel leaves of what was shown: notches come in bursts."""

BETWEEN = "From one hidden unit to the next, and back"

MOST_CHARTS = 24
"""Charts on one page: more than a screen of 4K cells shows at a readable size."""


class ChartsPane(LensPane):
    """One chart, one above a list of all metrics, or a grid with pages: whatever the room allows."""

    DEFAULT_CSS = """
    ChartsPane { height: 1fr; padding: 0 1; overflow: hidden; }
    ChartsPane Chart, ChartsPane LineList { position: absolute; display: none; }
    ChartsPane.-stale Chart { text-opacity: 60%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "row(1)", "Down", show=False, id="charts.down", tooltip="Next chart below"),
        Binding("k,up", "row(-1)", "Up", show=False, id="charts.up", tooltip="Chart above"),
        Binding("tab", "step(1)", "Next", show=False, id="charts.next", tooltip="Next metric"),
        Binding("shift+tab", "step(-1)", "Previous", show=False, id="charts.previous",
                tooltip="Previous metric"),
        Binding("g", "to(0)", "First", show=False, id="charts.first", tooltip="First metric"),
        Binding("G", "to(-1)", "Last", show=False, id="charts.last", tooltip="Last metric"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="charts.page_up", tooltip="Page before"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="charts.page_down", tooltip="Page after"),
        Binding("enter,l", "open", "Open", show=False, id="charts.open", tooltip="This chart in full"),
        Binding("u", "between(1)", show=False, id="charts.next_unit", tooltip=BETWEEN),
        Binding("U", "between(-1)", show=False, id="charts.previous_unit", tooltip=BETWEEN),
    ]  # fmt: skip

    def __init__(self, glyphs: Glyphs, *, unicode: bool = True) -> None:
        super().__init__()
        self._glyphs = glyphs
        self._unicode = unicode
        self._metrics: Mapping[str, MetricRow] = {}
        self._families: Sequence[Family] = ()
        self._row: RunRow | None = None
        self._main: str | None = None
        self._drawn: Mapping[str, DrawnChart] = {}
        self._layout = chart_layout(1, 1, 0)
        self._growth = Growth()
        self.selected: str | None = None
        """Name of the chosen metric."""
        self.full = False
        """Whether the chosen chart has the whole pane."""

    def compose(self) -> ComposeResult:
        yield Chart(self._glyphs, unicode=self._unicode)
        heading = LineList(id="metric-heading")
        heading.can_focus = False
        yield heading
        rows = LineList(cursor=True, id="metric-rows")
        rows.can_focus = False
        self.watch(rows, "scroll_y", self._scrolled, init=False)
        yield rows

    # -- what is shown ------------------------------------------------------------------------------

    def show(
        self,
        row: RunRow,
        metrics: Mapping[str, MetricRow],
        families: Sequence[Family],
        main: str | None,
        drawn: RunReading | None = None,
    ) -> None:
        """The metrics of a run, and their families in the order of the charts; ``drawn`` as of
        :meth:`show_drawn`."""
        if drawn is not None:
            self._take_up(drawn)
        changed = self._row is None or families != self._families
        self._row, self._main = row, main
        self._families = families
        self._metrics = {name: metrics[name] for family in families for name in family.names}
        self.records = row.records
        if self.selected not in self._metrics:
            self.selected = next(iter(self._metrics), None)
        if changed:
            self._arrange()
        self._draw()

    def grew(self, growth: Growth) -> None:
        """Have drawn over the charts how the run grew."""
        if growth != self._growth:
            self._growth = growth
            self.post_message(self.Wanted())

    def show_drawn(self, reading: RunReading) -> None:
        """Pictures as they were asked for; those of other metrics are kept until they are drawn anew."""
        self._take_up(reading)
        self._draw()

    def _take_up(self, reading: RunReading) -> None:
        self._drawn = {**self._drawn, **reading.drawn}
        if reading.request.lens.x == self.lens.x:
            self.extent = reading.extent

    def in_hand(self) -> tuple[Sequence[Curve], Axis] | None:
        one = self._drawn.get(self._families[self._chart_of(self.selected)].lead) if self._families else None
        return None if one is None or one.ask.x != self.lens.x else (one.curves, one.plot.axis)

    def request(self) -> ChartRequest:
        """What is to be drawn now."""
        box = self._layout.boxes[0]
        height = box.height - TITLE_ROWS - (1 if self._layout.footer else 0)
        size = max(box.width, 1), max(height, 1)
        return ChartRequest(tuple(self._page()), *size, self._rows_on_screen(), self.lens, self._growth)

    def _rows_on_screen(self) -> tuple[str, ...]:
        """The main metric, whose best stands in the head, and the metrics whose rows can be seen."""
        names = [name for name in self._metrics if name == self._main]
        box = self._layout.rows
        if box is not None:
            top = self.query_one("#metric-rows", LineList).scroll_offset.y
            names += list(self._metrics)[top : top + box.height - 1]
        return tuple(dict.fromkeys(names))

    @property
    def notes(self) -> tuple[str, ...]:
        """How the charts are looked at, which of them are on the screen, and what lies over them."""
        notes = list(lens_notes(self.lens, self.new_records))
        notes += [one.label for one in self._stretches() if one.window == self.lens.window]
        if self._layout.kind is not Kind.LIST and len(self._families) > 1:
            page = self._page()
            first = self._chart_of(page[0].lead) + 1
            shown = f"{first}" if len(page) == 1 else f"{first}–{first + len(page) - 1}"
            notes.append(f"{shown} of {len(self._families)}")
        plots = [one.plot for one in self._drawn.values()]
        return (*notes, *overlay_legend(plots, self._glyphs))

    def _stretches(self) -> list[Stretch]:
        return self._growth.stretches(self.lens.x, self.extent) if self.extent is not None else []

    def set_full(self, full: bool) -> None:
        """Give the chosen chart the whole pane, or give it back."""
        if full != self.full:
            self.full = full
            self._rearrange()

    # -- layout -------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        self._rearrange()

    def _scrolled(self) -> None:
        self.post_message(self.Wanted())

    def _rearrange(self) -> None:
        self._arrange()
        self._draw()
        self.post_message(self.Wanted())

    def _arrange(self) -> None:
        """Put each widget where the layout wants it."""
        width, height = self.content_size
        self._layout = chart_layout(width, height, len(self._families), self.full, metrics=len(self._metrics))
        boxes = self._layout.boxes[:MOST_CHARTS]
        for place, chart in enumerate(self._charts(len(boxes))):
            chart.display = place < len(boxes)
            if chart.display:
                _put(chart, boxes[place])
        rows, heading = self.query_one("#metric-rows", LineList), self.query_one("#metric-heading", LineList)
        box = self._layout.rows
        rows.display = box is not None
        heading.display = box is not None or self._has_nothing
        if box is not None:
            _put(heading, Box(box.x, box.y, box.width, 1))
            _put(rows, Box(box.x, box.y + 1, box.width, box.height - 1))
        elif self._has_nothing:
            _put(heading, Box(0, 0, max(width, 1), 1))

    @property
    def _has_nothing(self) -> bool:
        """The run is known, and has logged no metric."""
        return self._row is not None and not self._metrics

    def _charts(self, wanted: int) -> list[Chart]:
        """All charts there are, at least so many: each costs time to style, so they are made when needed."""
        charts = list(self.query(Chart))
        missing = [Chart(self._glyphs, unicode=self._unicode) for _ in range(wanted - len(charts))]
        if missing:
            self.mount(*missing, after=charts[-1])
        return charts + missing

    def _page(self) -> Sequence[Family]:
        """The charts on the screen: the page that holds the chosen one."""
        size = min(len(self._layout.boxes), MOST_CHARTS)
        start = self._chart_of(self.selected) // size * size
        return self._families[start : start + size]

    def _chart_of(self, name: str | None) -> int:
        """The place of the chart that a metric is in."""
        return next((i for i, family in enumerate(self._families) if name in family.names), 0)

    @property
    def _stops(self) -> Sequence[str]:
        """What the keys move through: the list of metrics where there is one, else the charts."""
        if self._layout.kind is Kind.LIST:
            return list(self._metrics)
        return [family.lead for family in self._families]

    @property
    def _place(self) -> int:
        """The chosen one's place among the stops."""
        if self._layout.kind is Kind.LIST:
            return next((i for i, name in enumerate(self._metrics) if name == self.selected), 0)
        return self._chart_of(self.selected)

    # -- drawing ------------------------------------------------------------------------------------

    def _draw(self) -> None:
        if not self.is_mounted or self._row is None:
            return
        page = self._page()
        for place, chart in enumerate(list(self.query(Chart))[: len(self._layout.boxes)]):
            chart.visible = place < len(page)
            if place < len(page):
                chart.show(self._view(page[place]))
        if self._layout.kind is Kind.LIST:
            self._draw_list()
        elif self._has_nothing:
            heading = self.query_one("#metric-heading", LineList)
            heading.show(lambda _: [[Piece(NONE_YET, "muted")]])

    def _view(self, family: Family) -> ChartView:
        drawn = self._drawn.get(family.lead)
        chosen = self.selected in family.names
        named = self.selected if chosen and self.selected is not None else family.lead
        return ChartView(
            tuple(self._metrics[name] for name in family.names),
            family,
            named,
            drawn.plot if drawn is not None else None,
            main=named == self._main,
            selected=chosen and self._layout.kind is Kind.GRID,
            footer=self._layout.footer,
        )

    def _draw_list(self) -> None:
        row, metrics, main = self._row, list(self._metrics.values()), self._main
        assert row is not None
        rows = self.query_one("#metric-rows", LineList)
        rows.place = self._place
        rows.show(
            lambda width: [
                metric_line(
                    metric, row, metrics, width, self._glyphs,
                    main=metric.name == main, unicode=self._unicode,
                )
                for metric in metrics
            ]
        )  # fmt: skip
        self.query_one("#metric-heading", LineList).show(lambda width: [metric_heading(metrics, width)])

    # -- moving -------------------------------------------------------------------------------------

    def _select(self, place: int) -> None:
        stops = self._stops
        if not stops:
            return
        name = stops[max(min(place, len(stops) - 1), 0)]
        if name == self.selected:
            return
        self.selected = name
        self._draw()
        self.post_message(self.Wanted())

    def action_row(self, by: int) -> None:
        columns, last = self._layout.columns, len(self._stops) - 1
        aim = self._place + by * columns
        if columns == 1 or 0 <= aim <= last:
            self._select(aim)
        elif aim > last and aim // columns == last // columns:
            self._select(last)  # the last row is shorter

    def action_step(self, by: int) -> None:
        self._select(self._place + by)

    def action_to(self, place: int) -> None:
        self._select(place if place >= 0 else len(self._stops) + place)

    def action_page(self, by: int) -> None:
        rows = self._layout.rows
        size = rows.height - 1 if rows is not None else len(self._layout.boxes)
        self._select(self._place + by * size)

    def action_open(self) -> None:
        self.set_full(True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """A run that does not grow has nothing between its units."""
        return action != "between" or bool(self._stretches())

    def action_between(self, by: int) -> None:
        """Look at what lies between two hidden units: the next two, or the previous ones."""
        if self.extent is None:
            return
        shown = self.lens.window.within(self.extent)
        stretch = step_to(self._stretches(), shown, self.lens.cursor, by)
        if stretch is None:
            self.app.bell()
        else:
            self.look(replace(self.lens, window=stretch.window))

    @on(LineList.Moved)
    def _row_clicked(self, event: LineList.Moved) -> None:
        event.stop()
        self._select(event.place)

    @on(Chart.Clicked)
    def _chart_clicked(self, event: Chart.Clicked) -> None:
        event.stop()
        stops = self._stops
        self._select(stops.index(event.metric) if event.metric in stops else self._chart_of(event.metric))
        self.put_cursor(event.x)
        if event.twice:
            self.set_full(not self.full)

    @on(Chart.Wheeled)
    def _chart_wheeled(self, event: Chart.Wheeled) -> None:
        event.stop()
        self.zoom(WHEEL_ZOOM if event.closer else 1 / WHEEL_ZOOM, event.x)

    @on(Chart.Dragged)
    def _chart_dragged(self, event: Chart.Dragged) -> None:
        event.stop()
        self.pan(-event.share)


def _put(widget: Widget, box: Box) -> None:
    widget.styles.offset = (box.x, box.y)
    widget.styles.width = box.width
    widget.styles.height = box.height
