"""A list of lines drawn one by one, with a cursor where there is something to choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from canopy_tui.listing import Piece
from canopy_tui.runlines import ascii_pieces
from canopy_tui.widgets.cells import strip_of

if TYPE_CHECKING:
    from canopy_tui.app import CanopyApp

Lines = Sequence[Sequence[Piece]]
Builder = Callable[[int], Lines]
"""Makes the lines for a width in cells."""


class LineList(ScrollView, can_focus=True):
    """Scrolls by the keys of every list here. With ``cursor`` one line is lit, and moving moves it."""

    app: CanopyApp  # pyright: ignore[reportIncompatibleMethodOverride]
    DEFAULT_CSS = "LineList { height: 1fr; scrollbar-size: 0 0; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Down", show=False, id="lines.down", tooltip="Next line"),
        Binding("k,up", "move(-1)", "Up", show=False, id="lines.up", tooltip="Previous line"),
        Binding("g,home", "move_to(0)", "Top", show=False, id="lines.top", tooltip="First line"),
        Binding("G,end", "move_to(-1)", "Bottom", show=False, id="lines.bottom", tooltip="Last line"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="lines.page_up", tooltip="Page up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="lines.page_down", tooltip="Page down"),
    ]  # fmt: skip

    @dataclass
    class Moved(Message):
        """The cursor is on another line."""

        lines: LineList
        place: int

    def __init__(self, *, cursor: bool = False, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._with_cursor = cursor
        self._builder: Builder | None = None
        self._lines: Lines = ()
        self.place = 0
        """The line under the cursor."""

    def show(self, builder: Builder) -> None:
        """Draw what ``builder`` makes of the present width; it is asked again when the width changes."""
        self._builder = builder
        self._lay_out()

    def on_resize(self) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        width = self.scrollable_content_region.width
        if self._builder is None or width <= 0:
            return
        self._lines = self._builder(width)
        self.virtual_size = Size(width, len(self._lines))
        self.place = max(min(self.place, len(self._lines) - 1), 0)
        self._keep_cursor_in_view()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        place = y + self.scroll_offset.y
        if place >= len(self._lines):
            return strip_of(self, (), width)
        line = self._lines[place] if self.app.unicode else ascii_pieces(self._lines[place])
        return strip_of(self, line, width, lit=self._with_cursor and place == self.place)

    # -- moving -------------------------------------------------------------------------------------

    def move_to(self, place: int) -> None:
        """Put the cursor on a line without saying so."""
        self.place = max(min(place, len(self._lines) - 1), 0)
        self._keep_cursor_in_view()
        self.refresh()

    def _keep_cursor_in_view(self) -> None:
        height, top = self.size.height, self.scroll_offset.y
        if self._with_cursor and height > 0:
            aim = min(max(top, self.place - height + 1), self.place)
            if aim != top:
                self.scroll_to(y=aim, animate=False, immediate=True)

    def action_move(self, by: int) -> None:
        if not self._with_cursor:
            self.scroll_relative(y=by, animate=False)
        elif self._lines:
            self._choose(self.place + by)

    def action_move_to(self, place: int) -> None:
        aim = place if place >= 0 else len(self._lines) + place
        if self._with_cursor:
            self._choose(aim)
        else:
            self.scroll_to(y=aim, animate=False)

    def action_page(self, by: int) -> None:
        self.action_move(by * max(self.size.height - 1, 1))

    def on_click(self, event: events.Click) -> None:
        if self._with_cursor and event.y + self.scroll_offset.y < len(self._lines):
            self._choose(event.y + self.scroll_offset.y)

    def _choose(self, place: int) -> None:
        before = self.place
        self.move_to(place)
        if self.place != before:
            self.post_message(self.Moved(self, self.place))
