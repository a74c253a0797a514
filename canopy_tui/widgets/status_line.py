"""The line that always says where the data comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.reactive import var
from textual.strip import Strip
from textual.widget import Widget

from canopy_tui import format as fmt
from canopy_tui.listing import Piece
from canopy_tui.status import status_lines
from canopy_tui.widgets.cells import strip_of
from wal.source import Connection, StoreStatus

if TYPE_CHECKING:
    from canopy_tui.app import CanopyApp


class StatusLine(Widget):
    """``Cassandra 127.0.0.1:9042 up``; with what happened and the remedy when it is not.

    Follows the app's ``store_status`` by itself; a screen whose own reading fails sets ``failure``.
    """

    app: CanopyApp  # pyright: ignore[reportIncompatibleMethodOverride]
    DEFAULT_CSS = "StatusLine { height: 1; padding: 0 1; }"

    status: var[StoreStatus] = var(StoreStatus(Connection.LOCAL_ONLY))
    failure: var[str] = var("")
    """Why what is on the screen is not up to date; empty when it is."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[list[Piece]] = [[]]

    def on_mount(self) -> None:
        self._follow(self.app.store_status)
        self.app.status_changed.subscribe(self, self._follow)

    def _follow(self, status: StoreStatus) -> None:
        self.status = status

    def watch_status(self) -> None:
        self._lay_out()

    def watch_failure(self) -> None:
        self._lay_out()

    def on_resize(self) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        lines = status_lines(self.status, self.app.clock_ns(), self.content_size.width, self.failure)
        if lines == self._lines:
            return  # a line of the screen below this one would have all of this one painted anew
        self._lines = lines
        self.styles.height = len(lines)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        pieces = self._lines[y] if y < len(self._lines) else []
        if not self.app.unicode:
            pieces = [Piece(fmt.ascii_only(text), tone) for text, tone in pieces]
        width = self.content_size.width
        pieces = clip(pieces, width, "…" if self.app.unicode else "~")
        return strip_of(self, pieces, width)


def clip(pieces: list[Piece], width: int, ellipsis: str = "…") -> list[Piece]:
    """The pieces in at most ``width`` cells; what does not fit ends in the ellipsis."""
    kept: list[Piece] = []
    room = width
    for text, tone in pieces:
        taken = fmt.cells(text)
        if taken <= room:
            kept.append(Piece(text, tone))
            room -= taken
            continue
        head = ""
        for char in text:
            if fmt.cells(head + char) > room - fmt.cells(ellipsis):
                break
            head += char
        kept.append(Piece(head + ellipsis if room else "", tone))
        break
    return kept
