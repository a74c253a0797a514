"""The first line of a screen: what is shown, and on the right how."""

from __future__ import annotations

from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from canopy_tui import format as fmt
from canopy_tui.listing import Piece
from canopy_tui.widgets.cells import strip_of
from canopy_tui.widgets.status_line import clip


class TitleBar(Widget):
    """Pieces on the left and on the right of one line; the left ones go first when there is no room."""

    DEFAULT_CSS = "TitleBar { height: 1; padding: 0 1; background: $panel; }"

    left: reactive[tuple[Piece, ...]] = reactive(())
    right: reactive[tuple[Piece, ...]] = reactive(())

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - one line
        width = self.size.width
        right = clip(list(self.right), width)
        room = width - sum(fmt.cells(piece.text) for piece in right)
        left = clip(list(self.left), max(room - 2, 0)) if room > 2 else []
        gap = room - sum(fmt.cells(piece.text) for piece in left)
        return strip_of(self, [*left, Piece(" " * gap), *right], width)
