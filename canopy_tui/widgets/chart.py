"""One chart: a title, the picture, and in full a footer. Drawn from finished lines, strip by strip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from canopy_tui.chartlines import footer_line, plot_lines, title_line
from canopy_tui.listing import Piece
from canopy_tui.runlines import ascii_pieces
from canopy_tui.widgets.cells import TONE_CLASSES, TONE_CSS, strip_of, tone_styles
from wal.source import MetricRow

if TYPE_CHECKING:
    from canopy_tui.charts.glyphs import Glyphs
    from canopy_tui.charts.parts import Plot

TITLE_ROWS = 1


@dataclass(frozen=True, slots=True)
class ChartView:
    """What a chart shows. ``plot`` is None until the points have been read."""

    metric: MetricRow
    plot: Plot | None
    main: bool = False
    selected: bool = False
    footer: bool = False


class Chart(Widget):
    """Draws a :class:`ChartView`. Its strips are kept until the view or the size changes, so that scrolling
    or an overlay costs nothing."""

    COMPONENT_CLASSES: ClassVar[set[str]] = TONE_CLASSES
    DEFAULT_CSS = f"""
    Chart {{
        {TONE_CSS}
        & > .cell--accent {{ color: $primary; text-style: bold; }}
    }}
    """

    @dataclass
    class Clicked(Message):
        """The chart of a metric was clicked."""

        metric: str
        twice: bool

    def __init__(self, glyphs: Glyphs, *, unicode: bool = True) -> None:
        super().__init__()
        self._glyphs = glyphs
        self._unicode = unicode
        self._strips: list[Strip] = []
        self._drawn_width = -1
        self.view: ChartView | None = None

    def show(self, view: ChartView) -> None:
        """Draw another view."""
        if view != self.view:
            self.view = view
            self.forget()

    def forget(self) -> None:
        """Draw anew: the view, the size or the theme has changed."""
        self._strips = []
        self.refresh()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips = []

    def render_line(self, y: int) -> Strip:
        width = self.content_size.width
        if not self._strips or self._drawn_width != width:
            self._strips, self._drawn_width = self._draw(width), width
        return self._strips[y] if y < len(self._strips) else Strip.blank(width, self.rich_style)

    def _draw(self, width: int) -> list[Strip]:
        view = self.view
        if view is None:
            return []
        lines: list[list[Piece]] = [
            title_line(
                view.metric, view.plot, width, self._glyphs,
                main=view.main, selected=view.selected, unicode=self._unicode,
            )
        ]  # fmt: skip
        if view.plot is not None:
            lines += plot_lines(view.plot)
            if view.footer:
                lines.append(footer_line(view.plot, width, self._glyphs, self._unicode))
        if not self._unicode:
            lines = [ascii_pieces(line) for line in lines]
        styles, base = tone_styles(self), self.rich_style  # asked once: it is put together at each asking
        return [strip_of(line, styles, base, width) for line in lines]

    def on_click(self, event: object) -> None:
        if self.view is not None:
            self.post_message(self.Clicked(self.view.metric.name, twice=getattr(event, "chain", 1) == 2))
