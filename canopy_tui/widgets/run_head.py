"""The head of the Run screen, as high as its width makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from canopy_tui.runhead import Line
from canopy_tui.runlines import ascii_pieces
from canopy_tui.widgets.cells import strip_of

if TYPE_CHECKING:
    from canopy_tui.app import CanopyApp


class RunHead(Widget):
    """Shows lines that it is given; asks for the height of these lines."""

    app: CanopyApp  # pyright: ignore[reportIncompatibleMethodOverride]
    DEFAULT_CSS = "RunHead { height: auto; padding: 0 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[Line] = [[], []]

    def show(self, lines: list[Line]) -> None:
        """Draw these lines. The height never shrinks while the width stays: charts below must not jump."""
        grown = len(lines) > len(self._lines)
        self._lines = [*lines, *([] for _ in range(len(self._lines) - len(lines)))]
        self.refresh(layout=grown)

    def on_resize(self) -> None:
        while len(self._lines) > 2 and not self._lines[-1]:
            self._lines.pop()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        return len(self._lines)

    def render_line(self, y: int) -> Strip:
        line = self._lines[y] if y < len(self._lines) else []
        if not self.app.unicode:
            line = ascii_pieces(line)
        return strip_of(self, line, self.content_size.width)
