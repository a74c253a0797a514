"""One run: its charts, its config, its topology, and where its records are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.getters import query_one
from textual.message import Message

from canopy_tui.families import chart_order
from canopy_tui.growth import Growth, growth_of
from canopy_tui.inspector import in_order
from canopy_tui.lens import PLAIN_AXES, Lens, axis_name
from canopy_tui.messages import (
    RunLoaded,
    RunRedrawn,
    SourceFailed,
    StorageLoaded,
    TopologiesLoaded,
    TopologyLoaded,
)
from canopy_tui.runhead import head_lines
from canopy_tui.runreading import RunReading, read_run, redrawn
from canopy_tui.screens.comparable import COMPARING, ComparableScreen
from canopy_tui.storagelines import run_facts, storage_page
from canopy_tui.widgets.charts_pane import ChartsPane
from canopy_tui.widgets.key_line import KeyLine
from canopy_tui.widgets.run_head import RunHead
from canopy_tui.widgets.run_tabs import CHARTS, CONFIG, STORAGE, TABS, TOPOLOGY, RunTabs
from canopy_tui.widgets.status_line import StatusLine
from canopy_tui.widgets.tab_line import TabLine
from canopy_tui.widgets.topology_pane import TopologyPane
from wal.reading.goals import main_metric
from wal.reading.storage import StorageReport
from wal.source import STEP, MetricRow, RunDetail, RunRow, SourceError, XAxis

if TYPE_CHECKING:
    from wal.reading.runlook import RunLook

RUN_GONE = "this run is not known any more; Esc goes back to the list"


class RunScreen(ComparableScreen):
    """Everything about one run. Reads in the background; the last picture stays when a reading fails."""

    HELP = """
Charts   The strong line is the mean of a column; the faint band reaches
         from its smallest to its largest value. Red on the step axis,
         where they happened: × NaN, ▲ ▼ Inf. Above and below the curve,
         ▲ ▼ are values beyond the axis, which shows 98 % of the points.
         ┅ on the axis: not shipped yet; ↺ a resume began; faint grey is
         what it superseded. • a hidden unit was added; ━ and shaded: its
         candidates were trained.
Looking  Every look is read anew: a zoom goes down to single points. All
         charts share the x axis. At its right edge the view follows what
         is logged; panned away it holds until End.
Mouse    The wheel zooms where it points, pulling pans, a click puts the
         cursor, two clicks show the chart in full.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,h", "back", "Back", id="run.back", key_display="esc", tooltip="Back"),
        Binding("f", "full", "Full", id="run.full", tooltip="One chart in full, or all of them"),
        *COMPARING,
        Binding("left_square_bracket", "neighbour(-1)", "Previous", id="run.previous", key_display="[",
                tooltip="The run above in the list"),
        Binding("right_square_bracket", "neighbour(1)", "Next", id="run.next", key_display="]",
                tooltip="The run below in the list"),
        Binding("m", "main", "Main", id="run.main", tooltip="Make this metric the project's main one"),
        Binding("X", "axis_menu", "X axis", show=False, id="run.axis", tooltip="X axis: any metric"),
        Binding("r", "refresh", "Refresh", show=False, id="run.refresh", tooltip="Read the run anew"),
        *(
            Binding(str(place), f"tab({place - 1})", name, show=False, id=f"run.tab{place}",
                    tooltip=f"Tab: {name}")
            for place, name in enumerate(TABS, start=1)
        ),
    ]  # fmt: skip

    head = query_one(RunHead)
    tabs = query_one(TabLine)
    body = query_one(RunTabs)
    status_line = query_one(StatusLine)

    def __init__(self, run_id: UUID, row: RunRow | None = None) -> None:
        """``row`` is what the list knows of the run: it is shown at once, and the first reading draws."""
        super().__init__()
        self.run_id = run_id
        self._listed = row
        self._reading: RunReading | None = None
        self._storage: StorageReport | None = None

    def compose(self) -> ComposeResult:
        yield RunHead()
        yield TabLine(TABS)
        yield RunTabs(self.app.glyphs, unicode=self.app.unicode)
        yield StatusLine()
        yield KeyLine()

    @property
    def charts(self) -> ChartsPane:
        return self.body.charts

    def on_mount(self) -> None:
        self.charts.focus()
        if self._listed is not None:
            self._take_up_lens(self._listed, self._listed.metrics)
            self._show_metrics(self._listed, self._listed.metrics)
            self._show_head()

    # -- reading ------------------------------------------------------------------------------------

    def poll(self) -> None:
        if self._reading is None and not self.charts.size:
            return  # the first reading is asked for by the charts, when they know how large they are
        if not self.app.background.busy(self._key("run")):
            self._read()
        if not self.app.background.busy(self._key("storage")):
            self._read_storage()
        self._show_head()

    def read(self) -> None:
        self._read()

    def follow(self) -> None:
        self.app.watcher.follow([self.run_id], new_runs=False)

    def action_refresh(self) -> None:
        """Forget what is kept, read anew, and draw even what seems unchanged."""
        self.app.source.refresh()
        self._read(anew=True)
        self._read_topologies()

    def _read(self, *, anew: bool = False) -> None:
        known = None if anew else self._reading
        source, run_id, glyphs, request = self.app.source, self.run_id, self.app.glyphs, self.charts.request()

        def work() -> Message:
            try:
                return RunLoaded(read_run(source, run_id, request, glyphs, known))
            except KeyError:
                return SourceFailed("run", RUN_GONE)

        self.app.background.submit(self._key("run"), work, self)

    def _key(self, job: str) -> str:
        """Jobs of another run's screen never wait for this one's."""
        return f"{job} {self.run_id}"

    def on_run_loaded(self, message: RunLoaded) -> None:
        reading = message.reading
        grown = self._reading is None or self._reading.detail.row.records != reading.detail.row.records
        if grown:
            self.grown(reading.spent_s)
        if self._reading is None:
            self._take_up_lens(reading.detail.row, reading.detail.metrics)
        self._reading = reading
        self.status_line.failure = reading.problem
        self.charts.set_class(bool(reading.problem), "-stale")
        detail = reading.detail
        with self.app.batch_update():
            self._show_metrics(detail.row, detail.metrics, None if self._redraws() else reading)
            self._show_head()
            self._show_tab()
        if grown:
            self._read_topologies(reading.look)
        self._draw_what_is_wanted()  # the first reading says which metrics there are; the next draws them

    def _redraws(self) -> bool:
        """Whether what is at hand only has to be drawn otherwise."""
        reading, request = self._reading, self.charts.request()
        if reading is None or reading.request == request:
            return False
        return reading.answers(request, self.app.glyphs)

    def _draw_what_is_wanted(self) -> None:
        """Have drawn what the charts ask for: from the reading at hand where that has it, else read."""
        reading, request, glyphs = self._reading, self.charts.request(), self.app.glyphs
        if (reading is None and not self.charts.size) or (reading is not None and reading.request == request):
            return
        if reading is None or not reading.answers(request, glyphs):
            self._read()
            return
        self.app.background.submit(
            self._key("drawing"), lambda: RunRedrawn(redrawn(reading, request, glyphs), reading), self
        )

    def on_run_redrawn(self, message: RunRedrawn) -> None:
        if message.of is self._reading:
            self._reading = message.reading
            self.charts.show_drawn(message.reading)
        self._draw_what_is_wanted()

    def on_source_failed(self, message: SourceFailed) -> None:
        """Keep what is on the screen, and say that it is old."""
        self.status_line.failure = message.reason
        self.charts.add_class("-stale")

    @on(ChartsPane.Chosen)
    def _lens_chosen(self, event: ChartsPane.Chosen) -> None:
        event.stop()
        if self._reading is not None:
            self.app.view.choose_lens(self._reading.detail.row.project, event.lens)

    def _take_up_lens(self, row: RunRow, metrics: Mapping[str, MetricRow]) -> None:
        """Look at the run as at the project's others, but not along a metric that it does not have."""
        lens = self.app.view.lenses.get(row.project)
        if lens is not None and self.charts.lens in (Lens(), lens.on(STEP)):
            known = lens.x.kind != "metric" or lens.x.metric in metrics
            self.charts.look(lens if known else lens.on(STEP))

    @on(ChartsPane.Wanted)
    def _charts_wanted(self, event: ChartsPane.Wanted) -> None:
        event.stop()
        self._show_notes()
        self._draw_what_is_wanted()

    def _read_topologies(self, look: RunLook | None = None) -> None:
        """For the list of them, and for the marks on the charts, which do without where that fails; by the
        ``look`` that has just been made, if there is one."""
        if self.tabs.active not in (CHARTS, TOPOLOGY):
            return
        source, run_id, reading = self.app.source, self.run_id, self._reading
        for_charts = self.tabs.active == CHARTS

        def work() -> Message | None:
            try:
                rows = tuple(source.topologies(run_id, look))
            except (KeyError, SourceError):
                if for_charts:
                    return None
                raise
            return TopologiesLoaded(rows, Growth() if reading is None else growth_of(rows, reading.detail))

        self.app.background.submit(self._key("topologies"), work, self)

    def _read_storage(self) -> None:
        if self.tabs.active != STORAGE:
            return
        source, run_id, now_ns = self.app.source, self.run_id, self.app.clock_ns()

        def work() -> Message:
            try:
                return StorageLoaded(source.storage(now_ns, run_id))
            except KeyError:
                return SourceFailed("storage", RUN_GONE)

        self.app.background.submit(self._key("storage"), work, self)

    def on_storage_loaded(self, message: StorageLoaded) -> None:
        self._storage = message.report
        self._show_tab()

    def on_topologies_loaded(self, message: TopologiesLoaded) -> None:
        if self.tabs.active == TOPOLOGY:
            self.body.topology.show(message.rows)
        self.charts.grew(message.growth)

    @on(TopologyPane.Wanted)
    def _topology_wanted(self, event: TopologyPane.Wanted) -> None:
        event.stop()
        source, row, run_id = self.app.source, event.row, self.run_id
        self.app.background.submit(
            self._key("topology"),
            lambda: TopologyLoaded(row, source.topology(run_id, row.stream_id, row.seq)),
            self,
        )

    def on_topology_loaded(self, message: TopologyLoaded) -> None:
        self.body.topology.show_body(message.row, message.body)

    # -- showing ------------------------------------------------------------------------------------

    def _main_metric(self, row: RunRow, metrics: Mapping[str, MetricRow]) -> str | None:
        chosen = self.app.view.main_metrics.get(row.project)
        return main_metric((metric.name for metric in in_order(metrics, None)), chosen)

    def _show_metrics(
        self, row: RunRow, metrics: Mapping[str, MetricRow], drawn: RunReading | None = None
    ) -> None:
        main, selected = self._main_metric(row, metrics), self.charts.selected
        self.charts.show(row, metrics, chart_order(metrics, row.records, main), main, drawn)
        if (selected is None) != (self.charts.selected is None):
            self.refresh_bindings()

    def _show_head(self) -> None:
        reading, listed, app = self._reading, self._listed, self.app
        if reading is not None:
            detail = reading.detail
        elif listed is not None:
            detail = RunDetail(listed, {}, {}, (), listed.metrics)
        else:
            return
        main = self._main_metric(detail.row, detail.metrics)
        width = self.head.content_size.width or self.size.width - 2
        pace = reading.pace if reading is not None else None
        self.head.show(head_lines(detail, main, pace, app.clock_ns(), width, app.glyphs, app.unicode))
        self._show_notes()

    def _show_notes(self) -> None:
        self.tabs.notes = self.charts.notes if self.tabs.active == CHARTS else ()

    def _show_tab(self) -> None:
        """Draw the open tab's list anew, if it is made of the reading."""
        if self._reading is None:
            return
        app, detail, report = self.app, self._reading.detail, self._storage
        if self.tabs.active == CONFIG:
            self.body.config.show(detail)
        elif self.tabs.active == STORAGE and report is not None:
            facts = run_facts(detail.row, report)
            self.body.storage.show(
                lambda width: storage_page(report, width, app.unicode, one_run=True, facts=facts)
            )

    def on_resize(self) -> None:
        self._show_head()

    @property
    def here(self) -> RunRow | None:
        if self._reading is not None:
            return self._reading.detail.row
        return self._listed or next((row for row in self.app.known if row.run_id == self.run_id), None)

    # -- keys ---------------------------------------------------------------------------------------

    @on(TabLine.Clicked)
    async def _tab_clicked(self, event: TabLine.Clicked) -> None:
        event.stop()
        await self.action_tab(event.place)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """The keys of charts are shown where there are charts."""
        if action in ("full", "main", "axis_menu"):
            return self.tabs.active == CHARTS and self.charts.selected is not None
        return True

    async def action_tab(self, place: int) -> None:
        """Open a tab, and let its list have the keys."""
        await self.body.open(place)
        self.tabs.active = place
        self._read_topologies()
        self._read_storage()
        self._show_tab()
        self._show_notes()
        self.refresh_bindings()

    def action_back(self) -> None:
        """From a search, a cursor or a chart in full to what was there before; else to the list."""
        if self.tabs.active == CONFIG and self.body.config.leave_search():
            return
        if self.tabs.active == CHARTS and self.charts.take_cursor_away():
            return
        if self.charts.full:
            self.charts.set_full(False)
            return
        self.app.pop_screen()

    def action_full(self) -> None:
        self.charts.set_full(not self.charts.full)

    def action_axis_menu(self) -> None:
        """Choose what runs from left to right: the step, a time, or a metric of the run."""
        if self._reading is None:
            return
        from canopy_tui.screens.choose import ChooseScreen

        axes = [*PLAIN_AXES, *(XAxis("metric", name) for name in self._reading.detail.metrics)]
        current = self.charts.lens.x
        place = str(axes.index(current)) if current in axes else ""

        def chosen(key: str | None) -> None:
            if key is not None:
                self.charts.choose(self.charts.lens.on(axes[int(key)]))

        options = [(str(place), axis_name(axis)) for place, axis in enumerate(axes)]
        self.app.push_screen(ChooseScreen("X axis", options, place, again="X"), chosen)

    def action_neighbour(self, offset: int) -> None:
        run_id = self.app.neighbour(self.run_id, offset)
        if run_id is None:
            self.app.bell()
            return
        self.app.open_run(run_id)

    def action_main(self) -> None:
        """Make the chosen metric the main one of the project, on every screen and from now on."""
        name = self.charts.selected
        if self._reading is None or name is None:
            return
        detail = self._reading.detail
        self.app.view.choose_main_metric(detail.row.project, name)
        self._show_metrics(detail.row, detail.metrics)
        self._show_head()
