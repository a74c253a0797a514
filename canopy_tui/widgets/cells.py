"""From pure cells to what Textual draws: tones become the component styles of a widget."""

from __future__ import annotations

from collections.abc import Iterable

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.strip import Strip
from textual.widget import Widget

from canopy_tui.chartlines import SHADED
from canopy_tui.charts.palette import Tint, colour
from canopy_tui.listing import TONES, Piece

TONE_CLASSES = {f"cell--{tone}" for tone in TONES}

TONE_CSS = """
    & > .cell--strong { text-style: bold; }
    & > .cell--muted { color: $text-muted; }
    & > .cell--faint { color: $foreground 25%; }
    & > .cell--guide { color: $foreground 12%; }
    & > .cell--bad { color: $text-error; }
    & > .cell--curve { color: $primary 85%; }
    & > .cell--band { color: $primary 45%; }
    & > .cell--waiting { color: $warning; }
    & > .cell--waiting-band { color: $warning 45%; }
    & > .cell--accent { color: $primary; text-style: bold; }
"""
"""One look for every widget with cells; goes into its DEFAULT_CSS."""


def tone_styles(widget: Widget) -> dict[str, Style]:
    """The style of each tone in ``widget``, without a background: a line brings its own."""
    styles = _TintStyles(widget)
    styles.update((tone, foreground(widget, f"cell--{tone}")) for tone in TONES)
    styles[""] = Style.null()
    return styles


SHARES = {"band": 0.45, "unshipped-band": 0.35, "unshipped-line": 0.75, "axis": 0.55}
"""How much of its colour a part of a curve has against the background: the band lies behind the line."""


SHADE = 0.14
"""Of a phase's colour behind everything: seen at a glance, and no curve is harder to see."""

GHOST_SHARE = 0.6
"""What a resume superseded is there for whoever looks for it."""


class _TintStyles(dict[str, Style]):
    """Adds the styles of the tones ``role:tint``, and of those in a phase, when they are first asked for."""

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self._widget = widget

    def __missing__(self, tone: str) -> Style:
        if tone.endswith(SHADED):
            shade = Style(bgcolor=self._blended(Tint.PHASE, SHADE))
            self[tone] = self[tone.removesuffix(SHADED)] + shade
            return self[tone]
        role, _, tint = tone.partition(":")
        share = SHARES.get(role, 1.0) * (GHOST_SHARE if tint == Tint.GHOST else 1.0)
        self[tone] = Style(color=self._blended(Tint(tint), share))
        return self[tone]

    def _blended(self, tint: Tint, share: float) -> RichColor:
        """So much of a colour on the widget's background."""
        own = colour(tint, self._widget.app.current_theme.dark)
        assert own is not None, f"{tint}: the theme's own colour has tones of its own"
        return self._widget.background_colors[1].blend(Color.parse(own), share).rich_color


def foreground(widget: Widget, component: str) -> Style:
    """The colour and weight of a component, blended with the widget's background where it is translucent."""
    whole = widget.get_component_rich_style(component)
    return Style(color=whole.color, bold=whole.bold)


def strip_of(pieces: Iterable[Piece], styles: dict[str, Style], base: Style, width: int) -> Strip:
    """A line of exactly ``width`` cells. The texts are drawn as they are: nothing in them is markup."""
    segments = [Segment(piece.text, base + styles[piece.tone]) for piece in pieces if piece.text]
    return Strip(segments).adjust_cell_length(width, base)
