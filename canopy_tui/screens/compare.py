"""Several runs beside each other: one metric of all on one axis, or the config keys in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.getters import query_one
from textual.widgets import ContentSwitcher

from canopy_tui.comparing import CompareRequest, Comparison, read_comparison
from canopy_tui.format import plural
from canopy_tui.listing import Piece
from canopy_tui.messages import ComparisonLoaded, SourceFailed
from canopy_tui.runlines import ascii_pieces
from canopy_tui.screens.live import LiveScreen
from canopy_tui.widgets.compare_pane import ComparePane
from canopy_tui.widgets.difference_pane import DifferencePane
from canopy_tui.widgets.key_line import KeyLine
from canopy_tui.widgets.status_line import StatusLine
from canopy_tui.widgets.title_bar import TitleBar
from wal.source import RunState

VIEWS = ("chart", "table")


class CompareScreen(LiveScreen):
    """Reads its runs while they grow; the last picture stays when a reading fails."""

    DEFAULT_CSS = "CompareScreen ContentSwitcher { height: 1fr; }"
    HELP = """
Chart    Colour is the run, the stroke says train, val or test.
         Δ is the difference to the first run.
Table    Only the config keys that differ; – is not set. What is the same
         as the first run's is muted.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,h", "back", "Back", id="compare.back", key_display="esc", tooltip="Back"),
        Binding("c", "view('chart')", "Chart", id="compare.to_chart", tooltip="One metric of all runs"),
        Binding("d", "view('table')", "Differences", id="compare.to_table",
                tooltip="The config keys in which they differ"),
        Binding("r", "refresh", show=False, id="compare.refresh", tooltip="Read the runs anew"),
    ]  # fmt: skip

    title_bar = query_one(TitleBar)
    chart = query_one(ComparePane)
    table = query_one(DifferencePane)
    status_line = query_one(StatusLine)

    def __init__(self, run_ids: Sequence[UUID], view: str = "chart") -> None:
        """``view`` is one of :data:`VIEWS`."""
        super().__init__()
        self.run_ids = tuple(run_ids)
        self._view = view
        self._comparison: Comparison | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar()
        with ContentSwitcher(initial=f"compare-{self._view}"):
            chart, table = ComparePane(self.app.glyphs, unicode=self.app.unicode), DifferencePane()
            chart.id, table.id = (f"compare-{view}" for view in VIEWS)
            yield chart
            yield table
        yield StatusLine()
        yield KeyLine()

    def on_mount(self) -> None:
        self._focus()
        if self._view == "table":
            self.read()

    def _focus(self) -> None:
        (self.chart if self._view == "chart" else self.table).focus()

    # -- reading ------------------------------------------------------------------------------------

    def poll(self) -> None:
        if self._comparison is not None and not self.app.background.busy(self._key):
            self.read()

    def follow(self) -> None:
        self.app.watcher.follow(self.run_ids, new_runs=False)

    @property
    def _key(self) -> str:
        return f"compare {id(self)}"

    def _request(self) -> CompareRequest:
        chart = self.chart
        size = chart.plot_size if self._view == "chart" else (0, 0)
        return CompareRequest(
            self.run_ids, chart.selected, *size, chart.lens, dict(self.app.view.main_metrics)
        )

    def read(self) -> None:
        request, known = self._request(), self._comparison
        source, glyphs = self.app.source, self.app.glyphs
        if self._view == "chart" and not request.width:
            return  # asked for again when the chart knows how large it is
        self.app.background.submit(
            self._key, lambda: ComparisonLoaded(read_comparison(source, request, glyphs, known)), self
        )

    def action_refresh(self) -> None:
        """Forget what is kept, and read anew."""
        self.app.source.refresh()
        self._comparison = None
        self.read()

    def on_comparison_loaded(self, message: ComparisonLoaded) -> None:
        before, self._comparison = self._comparison, message.comparison
        if before is None or _records(before) != _records(message.comparison):
            self.grown()
        self.status_line.failure = message.comparison.problem
        self.chart.set_class(bool(message.comparison.problem), "-stale")
        self._show()

    def on_source_failed(self, message: SourceFailed) -> None:
        """Keep what is on the screen, and say that it is old."""
        self.status_line.failure = message.reason
        self.chart.add_class("-stale")

    @on(ComparePane.Wanted)
    def _chart_wanted(self, event: ComparePane.Wanted) -> None:
        event.stop()
        self._show_title()
        self.read()

    # -- showing ------------------------------------------------------------------------------------

    def _show(self) -> None:
        comparison = self._comparison
        if comparison is None:
            return
        if self._view == "table":
            self.table.show_comparison(comparison)
        elif comparison.request.width:
            self.chart.show(comparison)
        self._show_title()

    def _show_title(self) -> None:
        comparison = self._comparison
        details = comparison.details if comparison is not None else ()
        running = sum(detail.row.state is RunState.RUNNING for detail in details)
        words = "one chart" if self._view == "chart" else "config keys that differ"
        left = [Piece("canopy", "accent"), Piece(f"  {plural(len(self.run_ids), 'run')}: {words}")]
        if running:
            left.append(Piece(f" · {running} running", "muted"))
        notes = self.chart.notes if self._view == "chart" else self.table.notes
        right = [Piece(" · ".join(notes), "muted")]
        if not self.app.unicode:
            left, right = ascii_pieces(left), ascii_pieces(right)
        self.title_bar.left, self.title_bar.right = tuple(left), tuple(right)

    # -- keys ---------------------------------------------------------------------------------------

    def action_view(self, view: str) -> None:
        """The chart, or the table."""
        self._view = view
        self.query_one(ContentSwitcher).current = f"compare-{view}"
        self._focus()
        self._show()
        self.call_after_refresh(self.read)

    def action_back(self) -> None:
        if self._view == "chart" and self.chart.take_cursor_away():
            return
        self.app.pop_screen()


def _records(comparison: Comparison) -> list[int]:
    return [detail.row.records for detail in comparison.details]
