"""The topology snapshots of a run, and the cascade of the chosen one as a ladder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message

from canopy_tui import format as fmt
from canopy_tui.ladder import ladder_lines, snapshot_heading, snapshot_lines
from canopy_tui.listing import Piece
from canopy_tui.widgets.lines import LineList
from wal.source import TopologyRow

if TYPE_CHECKING:
    from canopy_tui.charts.glyphs import Glyphs

NONE_YET = "no topology snapshot. In the trainer: run.log_topology({...})"


class TopologyPane(Container):
    """Snapshots on the left, or on top where it is narrow; the ladder beside or below."""

    DEFAULT_CSS = """
    TopologyPane { height: 1fr; padding: 0 1; layout: horizontal; }
    TopologyPane #snapshots-side { width: 32; height: 1fr; margin-right: 2; }
    TopologyPane #snapshots-heading { height: 1; }
    TopologyPane #ladder-side { width: 1fr; height: 1fr; }
    TopologyPane #ladder-title { height: 2; }
    TopologyPane.-none #snapshots-side { display: none; }
    TopologyPane.-small { layout: vertical; }
    TopologyPane.-small #snapshots-side { width: 1fr; height: 4; margin: 0 0 1 0; }
    TopologyPane.-small #ladder-title { height: 1; }
    """
    SMALL_BELOW = 76
    """Columns under which a ladder beside the list would have no room."""

    class Wanted(Message):
        """The body of another snapshot is to be read."""

        def __init__(self, row: TopologyRow) -> None:
            super().__init__()
            self.row = row

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self._glyphs = glyphs
        self._rows: Sequence[TopologyRow] = ()
        self._shown: TopologyRow | None = None

    def compose(self) -> ComposeResult:
        with Container(id="snapshots-side"):
            heading = LineList(id="snapshots-heading")
            heading.can_focus = False
            yield heading
            yield LineList(cursor=True, id="snapshots")
        with Container(id="ladder-side"):
            title = LineList(id="ladder-title")
            title.can_focus = False
            yield title
            yield LineList(id="ladder")

    def on_mount(self) -> None:
        self.show((), loaded=False)

    def on_resize(self) -> None:
        self.set_class(self.size.width < self.SMALL_BELOW, "-small")

    def focus_list(self) -> None:
        self.query_one("#snapshots", LineList).focus()

    def show(self, rows: Sequence[TopologyRow], *, loaded: bool = True) -> None:
        """The snapshots, newest first. The cursor stays on its snapshot; on the newest it follows."""
        chosen = self.chosen
        follows = not self._rows or chosen == self._rows[0]
        self._rows = rows
        self.set_class(not rows, "-none")
        listing = self.query_one("#snapshots", LineList)
        listing.show(lambda width: snapshot_lines(rows, width))
        self.query_one("#snapshots-heading", LineList).show(lambda width: [snapshot_heading(width)])
        if chosen is not None and not follows and chosen in rows:
            listing.move_to(list(rows).index(chosen))
        else:
            listing.move_to(0)
        if not rows:
            words = NONE_YET if loaded else "reading the snapshots"
            self.query_one("#ladder", LineList).show(lambda _: [[Piece(words, "muted")]])
        self._want()

    @property
    def chosen(self) -> TopologyRow | None:
        """The snapshot under the cursor."""
        if not self._rows:
            return None
        return self._rows[min(self.query_one("#snapshots", LineList).place, len(self._rows) - 1)]

    def show_body(self, row: TopologyRow, body: Mapping[str, object]) -> None:
        """The body of a snapshot, unless the cursor went on meanwhile."""
        if row != self.chosen:
            self._want()
            return
        self._shown = row
        title = [
            Piece("step ", "muted"), Piece(fmt.count(row.step), "strong"),
            Piece(f"   {fmt.plural(row.input_size, 'input')}, {fmt.plural(row.hidden_units, 'unit')}, "
                  f"{fmt.plural(row.output_size, 'output')}", "muted"),
        ]  # fmt: skip
        self.query_one("#ladder-title", LineList).show(lambda _: [title, []])
        glyphs = self._glyphs
        self.query_one("#ladder", LineList).show(lambda width: ladder_lines(body, width, glyphs))

    def _want(self) -> None:
        chosen = self.chosen
        if chosen is not None and chosen != self._shown:
            self.post_message(self.Wanted(chosen))

    @on(LineList.Moved)
    def _moved(self, event: LineList.Moved) -> None:
        event.stop()
        self._want()
