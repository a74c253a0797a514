"""The list of runs: live, filtered, sorted, with a preview where there is room."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.getters import query_one

from canopy_tui import format as fmt
from canopy_tui.filtering import Context, Filter, last_sign_ns, parse_typing
from canopy_tui.inspector import spark_cell
from canopy_tui.listing import SORT_KEYS, Cell, Listing, Order, Piece, natural_order, sort_rows
from canopy_tui.messages import RunsLoaded, SourceFailed
from canopy_tui.previewlines import Place, preview_box
from canopy_tui.screens.comparable import COMPARING, ComparableScreen
from canopy_tui.widgets.empty import EmptyState
from canopy_tui.widgets.filter_bar import FilterBar
from canopy_tui.widgets.key_line import KeyLine
from canopy_tui.widgets.plain_input import PlainInput
from canopy_tui.widgets.preview import Preview
from canopy_tui.widgets.run_table import RunHeader, RunTable
from canopy_tui.widgets.status_line import StatusLine
from canopy_tui.widgets.title_bar import TitleBar
from wal.source import MetricRow, RunRow, RunState

MOST_FOLLOWED = 64
"""Live runs whose records wake the list; those beyond are seen at the next poll."""

YOUNG_NS = 120 * 10**9
"""A run that was heard of within this shows its age in seconds."""

AGES_S, YOUNG_AGES_S = 10.0, 1.0
"""How often the ages of a list that does not change are redrawn."""

SORT_ASIDE = "Sort by the column to the left or right"


class RunsScreen(ComparableScreen):
    """Every run that the source knows."""

    CSS_PATH = "runs.tcss"
    AUTO_FOCUS = "RunTable"  # or the hidden filter line would have the first frame's keys
    HELP = """
Filter  words of the name, project, host or tags
        state: project: host: tag: group: id: sync: and a text
        loss<0.1  step>10k  age<2h  duration>1d  last<1  best<1
        -word or not word turns a term round
        "quotes" keep a text together

State   ● running  ✓ done  ✗ failed  ‡ crashed: its process is gone
        ◌ stale: no sign of life, and nobody here who could know more

Sync    ✓ in Cassandra  ↑88 records on their way
        local: on this machine only, which is fine
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", id="runs.filter", key_display="/", tooltip="Filter as you type"),
        Binding("escape", "clear_filter", show=False, id="runs.clear", tooltip="Drop the filter"),
        Binding("s", "sort_menu", "Sort", id="runs.sort", tooltip="Sort by …; twice turns the order round"),
        Binding("comma", "sort_by(-1)", show=False, id="runs.sort_left", tooltip=SORT_ASIDE),
        Binding("full_stop", "sort_by(1)", show=False, id="runs.sort_right", tooltip=SORT_ASIDE),
        *COMPARING,
        Binding("m", "metric", "Metric", id="runs.metric", tooltip="Choose the main metric of the project"),
        Binding("r", "refresh", show=False, id="runs.refresh", tooltip="Read the runs anew"),
    ]

    table = query_one(RunTable)
    header = query_one(RunHeader)
    title_bar = query_one(TitleBar)
    filter_bar = query_one(FilterBar)
    empty = query_one(EmptyState)
    preview = query_one(Preview)
    status_line = query_one(StatusLine)

    def __init__(self) -> None:
        super().__init__()
        self._listing = Listing()
        self._loaded = False
        self._filter = Filter()
        self._problem = ""
        self._order = Order()
        self._shown_at = 0.0

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield FilterBar()
        with Container(id="runs-body"):
            with Vertical(id="runs-list"):
                yield RunHeader()
                yield RunTable(self._spark_cell, unicode=self.app.unicode)
                yield EmptyState()
            yield Preview()
        yield StatusLine()
        yield KeyLine()

    def on_mount(self) -> None:
        self.table.focus()
        self.poll()

    def on_screen_resume(self) -> None:
        self._shown_at = 0.0  # another screen may have chosen another main metric

    # -- reading ------------------------------------------------------------------------------------

    def poll(self) -> None:
        if not self.app.background.busy("runs"):
            self.read()

    def read(self) -> None:
        self._read(anew=False)

    def follow(self) -> None:
        """New runs, and those of this machine that go on, the newest first."""
        live = [row.run_id for row in self._listing.rows if row.local and row.state is RunState.RUNNING]
        self.app.watcher.follow(live[:MOST_FOLLOWED], new_runs=True)

    def action_refresh(self) -> None:
        """Read now, and forget what is remembered of Cassandra."""
        self.preview.forget()
        self._shown_at = 0.0
        self._read(anew=True)

    def _read(self, anew: bool) -> None:
        source = self.app.source

        def work() -> RunsLoaded:
            if anew:
                source.refresh()
            return RunsLoaded(tuple(source.runs()), source.local_problem)

        self.app.background.submit("runs", work, self)

    def on_runs_loaded(self, message: RunsLoaded) -> None:
        if not self._loaded:
            self._loaded = True
            self.call_after_refresh(self.app.started)
        self.status_line.failure = message.problem
        had_rows = bool(self._listing.rows)
        if message.rows != self._listing.rows:
            self.grown()
        elif had_rows and not self._ages_are_due():
            return
        self._listing = Listing.of(message.rows, self.app.view.main_metrics)
        if bool(message.rows) != had_rows:
            self.refresh_bindings()
        if self.is_current:
            self.follow()
        self._show()

    def on_source_failed(self, message: SourceFailed) -> None:
        """Keep what is on the screen, and say that it is old."""
        self.status_line.failure = message.reason

    def _ages_are_due(self) -> bool:
        """Whether time alone makes what is shown old."""
        now_ns, pause_s = self.app.clock_ns(), time.monotonic() - self._shown_at
        is_young = any(
            row.state is RunState.RUNNING or now_ns - last_sign_ns(row) < YOUNG_NS
            for row in self._listing.rows
        )
        return pause_s >= (YOUNG_AGES_S if is_young else AGES_S)

    # -- showing ------------------------------------------------------------------------------------

    def _show(self) -> None:
        """Filter, sort and draw what was read last."""
        if not self._loaded:
            return
        self._shown_at = time.monotonic()
        now_ns = self.app.clock_ns()
        everything = self._listing
        found = self._filter.apply(everything.rows, Context(now_ns, everything.main_metrics))
        listing = everything.narrow(found)
        rows = sort_rows(found, self._order, listing, now_ns)
        self.app.listed, self.app.known, self.app.marked = tuple(rows), everything.rows, self.table.marked
        self._show_list(rows, listing, now_ns)
        self._show_title(listing, len(rows))
        if self._filter or self._problem:
            unknown = self._filter.unknown_metrics(everything.rows)
            hint = f"no run logs a metric '{fmt.clean(unknown[0], 40)}'" if unknown else ""
            self.filter_bar.report(f"{len(rows)} of {len(everything.rows)}", self._problem or hint)
        else:
            self.filter_bar.report("", "")

    def _show_list(self, rows: list[RunRow], listing: Listing, now_ns: int) -> None:
        self.header.display = bool(rows)
        self.empty.display = not rows
        if not rows and self._filter:
            self.empty.say_no_match(self._filter.text, len(self._listing.rows))
        elif not rows:
            self.empty.say_no_runs(self.app.log_dir)
        self.table.show(rows, listing, now_ns)
        self._show_header()
        self.preview.show(self.table.row if rows else None, listing, now_ns)

    @on(RunTable.LaidOut)
    def _show_header(self) -> None:
        self.header.show(self.table.columns, self._order, self.app.unicode)

    def _show_title(self, listing: Listing, shown: int) -> None:
        states = [row.state for row in listing.rows]
        left = [Piece("canopy", "accent")]
        if self._listing.rows:
            left.append(Piece(f"  {fmt.plural(shown, 'run')}"))
        for state in (RunState.RUNNING, RunState.FAILED, RunState.CRASHED):
            number = states.count(state)
            if number:
                left.append(Piece(f" · {fmt.count(number)} {state.value}", "muted"))
        marked = len(self.table.marked)
        if marked:
            left.append(Piece(f" · {marked} marked", "accent"))
        self.title_bar.left = tuple(left)
        arrow = ("▾" if self._order.descending else "▴") if self.app.unicode else ""
        by = "newest first" if self._order == Order() else f"by {SORT_KEYS[self._order.key]} {arrow}".strip()
        self.title_bar.right = (Piece(by, "muted"),) if shown else ()

    def _spark_cell(self, metric: MetricRow, row: RunRow, width: int) -> Cell:
        return spark_cell(metric, row, width, self.app.glyphs)

    @on(RunTable.Highlighted)
    def _highlighted(self, event: RunTable.Highlighted) -> None:
        self.preview.show(event.row, self._listing, self.app.clock_ns())

    @on(RunTable.Opened)
    def _opened(self, event: RunTable.Opened) -> None:
        self.app.open_run(event.row.run_id)

    @on(RunTable.Marked)
    def _marked(self) -> None:
        self._show()

    def on_resize(self) -> None:
        box = preview_box(*self.size)
        self.preview.put(box)
        self.query_one("#runs-body").set_class(box.place is Place.BELOW, "-below")
        self.call_after_refresh(self._show)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Keys that would do nothing now are not shown."""
        if action in ("filter", "sort_menu", "metric", "compare"):
            return bool(self._listing.rows) and not isinstance(self.focused, PlainInput)
        return True

    @property
    def here(self) -> RunRow | None:
        return self.table.row

    # -- filter -------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        self.filter_bar.begin()

    def action_clear_filter(self) -> None:
        self.filter_bar.action_clear()

    @on(FilterBar.Left)
    def _filter_left(self) -> None:
        self.table.focus()

    @on(FilterBar.Changed)
    def _filter_changed(self, event: FilterBar.Changed) -> None:
        self._filter, self._problem = parse_typing(event.text)
        self._show()

    # -- order --------------------------------------------------------------------------------------

    def action_sort_menu(self) -> None:
        from canopy_tui.screens.choose import ChooseScreen

        choices = [(key, words) for key, words in SORT_KEYS.items() if self._can_sort(key)]
        self.app.push_screen(ChooseScreen("Sort by", choices, self._order.key, again="s"), self._sort_chosen)

    def _can_sort(self, key: str) -> bool:
        if key == "project":
            return self._listing.several_projects
        return key != "host" or self._listing.several_hosts

    def _sort_chosen(self, key: str | None) -> None:
        if key is not None:
            self.sort(key)

    def sort(self, key: str) -> None:
        """Sort by ``key``; by the present key again: the other way round."""
        if key == self._order.key:
            self._order = Order(key, not self._order.descending)
        else:
            self._order = natural_order(key, self._listing)
        self._show()

    def action_sort_by(self, step: int) -> None:
        keys = ["start", *(column.key for column in self.table.columns if column.key in SORT_KEYS)]
        place = keys.index(self._order.key) if self._order.key in keys else 0
        self._order = natural_order(keys[(place + step) % len(keys)], self._listing)
        self._show()

    @on(RunHeader.Clicked)
    def _header_clicked(self, event: RunHeader.Clicked) -> None:
        if event.key in SORT_KEYS:
            self.sort(event.key)

    def action_copy_ids(self) -> None:
        """Copy the ids of the marked runs, else of the one under the cursor, one a line."""
        row = self.table.row
        ids = [str(one.run_id) for one in self.app.listed if one.run_id in self.table.marked]
        if not ids and row is not None:
            ids = [str(row.run_id)]
        self.app.copy_to_clipboard("\n".join(ids))
        self.notify(f"copied {fmt.plural(len(ids), 'id')}", markup=False)

    # -- main metric --------------------------------------------------------------------------------

    def action_metric(self) -> None:
        row = self.table.row
        if row is None:
            return
        from canopy_tui.screens.choose import ChooseScreen

        project = row.project
        names = self._listing.metric_names(project)
        if not names:
            self.notify("this project's runs have logged no metric yet", markup=False)
            return
        options = [(name, name) for name in names]
        current = self._listing.main_metrics.get(project, "")
        title = f"Main metric of {fmt.middle_ellipsis(fmt.clean(project), 30)}"

        def chosen(name: str | None) -> None:
            if name is not None:
                self.app.view.choose_main_metric(project, name)
                self._listing = Listing.of(self._listing.rows, self.app.view.main_metrics)
                self._show()

        self.app.push_screen(ChooseScreen(title, options, current, again="m"), chosen)
