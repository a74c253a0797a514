"""Curves with a title above, and how the mouse moves in them. Drawn from finished lines, strip by strip."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from canopy_tui.charts.plot import GUTTER
from canopy_tui.listing import Piece
from canopy_tui.runlines import ascii_pieces
from canopy_tui.widgets.cells import strip_of

if TYPE_CHECKING:
    from canopy_tui.charts.glyphs import Glyphs
    from canopy_tui.charts.parts import Plot

TITLE_ROWS = 1


class Picture(Widget):
    """Draws what a subclass says, by :meth:`lines`. A line that stays as it is costs nothing: of a curve that
    grows, most do from one repaint to the next."""

    @dataclass
    class Clicked(Message):
        """A chart was clicked; ``metric`` is the one in its title, ``x`` where on its axis, or None."""

        metric: str
        x: float | None
        twice: bool

    @dataclass
    class Wheeled(Message):
        """The wheel was turned over ``x``: away from the user is ``closer``."""

        x: float
        closer: bool

    @dataclass
    class Dragged(Message):
        """The picture was pulled to the right by this share of what it shows."""

        share: float

    def __init__(self, glyphs: Glyphs, *, unicode: bool = True) -> None:
        super().__init__()
        self._glyphs = glyphs
        self._unicode = unicode
        self._lines: list[list[Piece]] = []
        self._strips: dict[int, Strip] = {}
        """Of the lines that have been drawn."""
        self._drawn_width = -1
        self._grip: int | None = None
        """Where on the screen the mouse holds the picture; None while its button is up."""
        self._pulled = False
        """Whether the mouse has moved since its button went down."""

    # -- what a subclass says -----------------------------------------------------------------------

    @property
    def plot(self) -> Plot | None:
        """What is drawn; None before there is something."""
        raise NotImplementedError

    @property
    def named(self) -> str:
        """The metric in the title."""
        raise NotImplementedError

    def lines(self, width: int) -> list[list[Piece]]:
        """The title, the plot's rows and what follows them."""
        raise NotImplementedError

    # -- drawing ------------------------------------------------------------------------------------

    def redraw(self) -> None:
        """Draw the lines in which another view differs."""
        width = self.content_size.width
        if width != self._drawn_width:
            self._drawn_width = -1
            self.refresh()
            return
        changed = self._take_lines(width)
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()

    def render_line(self, y: int) -> Strip:
        width = self.content_size.width
        if width != self._drawn_width:
            self._strips.clear()
            self._take_lines(width)
        strip = self._strips.get(y)
        if strip is None:
            line = self._lines[y] if y < len(self._lines) else ()
            strip = self._strips[y] = strip_of(self, line, width)
        return strip

    def _take_lines(self, width: int) -> list[int]:
        """Have the lines of the view; the places of those that have changed come back."""
        before, self._lines, self._drawn_width = self._lines, self.lines(width), width
        if not self._unicode:
            self._lines = [ascii_pieces(line) for line in self._lines]
        pairs = enumerate(zip_longest(before, self._lines))
        changed = [y for y, (known, line) in pairs if known != line]
        for y in changed:
            self._strips.pop(y, None)
        return changed

    # -- the mouse ----------------------------------------------------------------------------------

    def _x_at(self, cell: int) -> float | None:
        """The x in the middle of a column of cells; None before there is a picture, and left of it."""
        if self.plot is None or cell < GUTTER:
            return None
        return self.plot.axis.x_at((cell - GUTTER) * self._glyphs.columns)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        if event.button == 1:
            self._grip, self._pulled = event.screen_x, False
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._grip is None or self._grip == event.screen_x or self.plot is None:
            return
        cells, self._grip, self._pulled = event.screen_x - self._grip, event.screen_x, True
        self.post_message(self.Dragged(cells * self._glyphs.columns / self.plot.axis.width))

    def on_mouse_up(self) -> None:
        self._grip = None
        self.release_mouse()

    def on_click(self, event: events.Click) -> None:
        """Comes after the button went up over the chart, at the end of a pull too."""
        if not self._pulled and self.named:
            x = self._x_at(event.x) if event.y >= TITLE_ROWS else None
            self.post_message(self.Clicked(self.named, x, twice=event.chain == 2))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheeled(event, closer=True)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheeled(event, closer=False)

    def _wheeled(self, event: events.MouseEvent, *, closer: bool) -> None:
        event.stop()
        x = self._x_at(event.x)
        if x is not None:
            self.post_message(self.Wheeled(x, closer))
