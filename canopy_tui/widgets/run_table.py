"""The table of runs, drawn line by line: its work depends on the lines on screen, not on the runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from canopy_tui.listing import (
    Cell,
    Column,
    Listing,
    Order,
    Piece,
    Sparkline,
    cell,
    columns_for,
    row_of,
    title_cell,
)
from canopy_tui.widgets.cells import strip_of
from wal.source import MetricRow, RunRow
from wal.summary import MetricSummary

GUTTER = 1
"""Cells on the left for the mark."""

TIGHT = 80
"""Columns up to which every cell is needed; a wider table keeps one free at its right."""

MOVE = Binding.Group("Move", compact=True)


class RunHeader(Widget):
    """The columns' names. A click sorts."""

    DEFAULT_CSS = "RunHeader { height: 1; }"

    @dataclass
    class Clicked(Message):
        """A column's name was clicked."""

        key: str

    def __init__(self) -> None:
        super().__init__()
        self._columns: tuple[Column, ...] = ()
        self._order = Order()
        self._unicode = True

    def show(self, columns: tuple[Column, ...], order: Order, unicode: bool) -> None:
        if (columns, order, unicode) != (self._columns, self._order, self._unicode):
            self._columns, self._order, self._unicode = columns, order, unicode
            self.refresh()

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - one line
        titles = [title_cell(column, self._order, self._unicode) for column in self._columns]
        pieces = [Piece(" " * GUTTER), *row_of(self._columns, titles)]
        return strip_of(self, pieces, self.size.width)

    def on_click(self, event: events.Click) -> None:
        right_edge = GUTTER
        for column in self._columns:
            right_edge += column.gap + column.width
            if event.x < right_edge:
                self.post_message(self.Clicked(column.key))
                return


class RunTable(ScrollView, can_focus=True, inherit_bindings=False):
    """One line a run. The cursor stays on its run, wherever that moves."""

    DEFAULT_CSS = """
    RunTable {
        height: 1fr;
        scrollbar-size: 0 0;
        &.-empty { height: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,l", "open", "Open", id="runs.open", key_display="enter", tooltip="Open the run"),
        Binding(
            "j,down",
            "move(1)",
            "Down",
            show=False,
            id="runs.down",
            tooltip="Next or previous run",
            group=MOVE,
        ),
        Binding(
            "k,up", "move(-1)", "Up", show=False, id="runs.up", tooltip="Next or previous run", group=MOVE
        ),
        Binding("g,home", "move_to(0)", "Top", show=False, id="runs.top", tooltip="First or last run"),
        Binding("G,end", "move_to(-1)", "Bottom", show=False, id="runs.bottom", tooltip="First or last run"),
        Binding(
            "pageup", "page(-1)", "Page up", show=False, id="runs.page_up", tooltip="A screen up or down"
        ),
        Binding(
            "pagedown", "page(1)", "Page down", show=False, id="runs.page_down", tooltip="A screen up or down"
        ),
        Binding(
            "space", "mark", "Mark", id="runs.mark", key_display="space", tooltip="Mark the run, or unmark it"
        ),
    ]

    @dataclass
    class Highlighted(Message):
        """The cursor is on another run, or on none."""

        row: RunRow | None

    @dataclass
    class Opened(Message):
        """The user wants to see this run."""

        row: RunRow

    @dataclass
    class LaidOut(Message):
        """The columns changed because the table's width did."""

    @dataclass
    class Marked(Message):
        """The set of marked runs changed."""

        marked: frozenset[UUID]

    def __init__(self, sparkline: Sparkline, *, unicode: bool = True) -> None:
        super().__init__()
        self._sparkline = _Memo(sparkline)
        self._unicode = unicode
        self._rows: Sequence[RunRow] = ()
        self.set_class(True, "-empty")
        self._listing = Listing()
        self._now_ns = 0
        self._cursor = 0
        self.columns: tuple[Column, ...] = ()
        self.marked: frozenset[UUID] = frozenset()

    @property
    def row(self) -> RunRow | None:
        """The run under the cursor."""
        return self._rows[self._cursor] if self._cursor < len(self._rows) else None

    def show(self, rows: Sequence[RunRow], listing: Listing, now_ns: int) -> None:
        """Draw these rows in this order. The cursor stays on its run, and its line where rows above change;
        only at the very top new rows are let in above it, so that they are seen."""
        held = self.row
        if bool(rows) != bool(self._rows):
            self.set_class(not rows, "-empty")  # and not hidden: hidden, it would lose the focus
            self.call_later(self.refresh_bindings)
        self._rows, self._listing, self._now_ns = rows, listing, now_ns
        self._lay_out()
        place = self._place_of(held.run_id) if held is not None else 0
        if place is None:
            place = self._cursor
        place = max(min(place, len(rows) - 1), 0)
        shifted = place - self._cursor
        at_top = self.scroll_offset.y == 0
        self._cursor = place
        self.virtual_size = Size(self.size.width, len(rows))
        if shifted and not at_top:
            self.scroll_to(y=self.scroll_offset.y + shifted, animate=False, immediate=True)
        self._keep_cursor_in_view()
        if (held and held.run_id) != (self.row and self.row.run_id):
            self.post_message(self.Highlighted(self.row))
        self.refresh()

    def _place_of(self, run_id: UUID) -> int | None:
        if self._cursor < len(self._rows) and self._rows[self._cursor].run_id == run_id:
            return self._cursor
        return next((i for i, row in enumerate(self._rows) if row.run_id == run_id), None)

    def _lay_out(self) -> None:
        width = self.size.width
        self.columns = columns_for(width - GUTTER - (width > TIGHT), self._listing)

    def on_resize(self) -> None:
        self._lay_out()
        self.virtual_size = Size(self.size.width, len(self._rows))
        self._keep_cursor_in_view()
        self.post_message(self.LaidOut())

    # -- drawing ------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        place = y + self.scroll_offset.y
        if place >= len(self._rows):
            return strip_of(self, (), self.size.width)
        row = self._rows[place]
        cells: list[Cell] = [
            cell(column, row, self._listing, self._now_ns, self._sparkline, self._unicode)
            for column in self.columns
        ]
        mark = ("▌" if self._unicode else ">") if row.run_id in self.marked else " "
        pieces = [Piece(mark, "accent"), *row_of(self.columns, cells)]
        return strip_of(self, pieces, self.size.width, lit=place == self._cursor)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Without a run there is nothing to move to, open or mark."""
        return bool(self._rows)

    # -- moving -------------------------------------------------------------------------------------

    def move_to_run(self, run_id: UUID) -> bool:
        """Put the cursor on a run; False when it is not listed."""
        place = self._place_of(run_id)
        if place is not None:
            self._move_to(place)
        return place is not None

    def _move_to(self, place: int) -> None:
        place = max(min(place, len(self._rows) - 1), 0)
        if place == self._cursor or not self._rows:
            return
        self._cursor = place
        self._keep_cursor_in_view()
        self.refresh()
        self.post_message(self.Highlighted(self.row))

    def _keep_cursor_in_view(self) -> None:
        height, top = self.size.height, self.scroll_offset.y
        if height <= 0:
            return
        aim = min(max(top, self._cursor - height + 1), self._cursor)
        if aim != top:
            self.scroll_to(y=aim, animate=False, immediate=True)

    def action_move(self, by: int) -> None:
        self._move_to(self._cursor + by)

    def action_move_to(self, place: int) -> None:
        self._move_to(place if place >= 0 else len(self._rows) + place)

    def action_page(self, by: int) -> None:
        self._move_to(self._cursor + by * max(self.size.height - 1, 1))

    def action_open(self) -> None:
        if self.row is not None:
            self.post_message(self.Opened(self.row))

    def action_mark(self) -> None:
        if self.row is not None:
            self.marked = self.marked ^ {self.row.run_id}
            self.refresh()
            self.post_message(self.Marked(self.marked))

    def on_click(self, event: events.Click) -> None:
        place = event.y + self.scroll_offset.y
        if place < len(self._rows):
            self._move_to(place)
            if event.chain == 2:
                self.action_open()


class _Memo:
    """Sparklines by run, drawn anew only when what they show has changed."""

    LIMIT = 512
    """Several screens of runs; dropped all at once, since drawing one again costs little."""

    def __init__(self, sparkline: Sparkline) -> None:
        self._sparkline = sparkline
        self._drawn: dict[UUID, tuple[tuple[object, ...], MetricSummary, Cell]] = {}

    def __call__(self, metric: MetricRow, row: RunRow, width: int) -> Cell:
        summary = metric.summary
        # The summary itself is compared by identity: a source that read it anew may hold other values.
        shown = (summary.n, metric.name, width, row.state, row.step, row.total_steps)
        known = self._drawn.get(row.run_id)
        if known is not None and known[0] == shown and known[1] is summary:
            return known[2]
        if len(self._drawn) >= self.LIMIT:
            self._drawn.clear()
        drawn = self._sparkline(metric, row, width)
        self._drawn[row.run_id] = (shown, summary, drawn)
        return drawn
