"""The tabs of a screen on one line, their digit before each name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from canopy_tui import format as fmt
from canopy_tui.listing import Piece
from canopy_tui.runlines import ascii_pieces
from canopy_tui.widgets.cells import strip_of

if TYPE_CHECKING:
    from canopy_tui.app import CanopyApp


class TabLine(Widget):
    """``1 Charts  2 Config``, and on the right words about what the open one shows: as many of ``notes`` as
    there is room for, the first of them in any case, if need be up to its comma."""

    app: CanopyApp  # pyright: ignore[reportIncompatibleMethodOverride]
    DEFAULT_CSS = "TabLine { height: 1; padding: 0 1; background: $panel; }"

    active: reactive[int] = reactive(0)
    notes: reactive[tuple[str, ...]] = reactive(())

    @dataclass
    class Clicked(Message):
        """A tab was clicked."""

        place: int

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = tuple(names)

    def _labels(self) -> list[str]:
        loose = sum(len(name) + 5 for name in self._names) + fmt.cells("".join(self.notes[:1]))
        gap = "   " if loose <= self.content_size.width else " "
        return [f"{place} {name}{gap}" for place, name in enumerate(self._names, start=1)]

    def _note(self, room: int) -> str:
        shown = list(self.notes)
        while len(shown) > 1 and fmt.cells(" · ".join(shown)) > room:
            shown.pop()
        note = " · ".join(shown)
        return note if fmt.cells(note) <= room else note.partition(", ")[0]

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - one line
        width = self.content_size.width
        pieces = [
            Piece(label, "accent" if place == self.active else "muted")
            for place, label in enumerate(self._labels())
        ]
        room = max(width - sum(len(piece.text) for piece in pieces), 0)
        note = fmt.middle_ellipsis(self._note(room), room)
        pieces.append(Piece(" " * (room - fmt.cells(note)) + note, "muted"))
        if not self.app.unicode:
            pieces = ascii_pieces(pieces)
        return strip_of(self, pieces, width)

    def on_click(self, event: events.Click) -> None:
        right_edge = self.styles.padding.left
        for place, label in enumerate(self._labels()):
            right_edge += len(label)
            if event.x < right_edge:
                self.post_message(self.Clicked(place))
                return
