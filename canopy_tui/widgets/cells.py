"""From pure cells to what Textual draws: each tone a style, by the theme and by what is behind it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.strip import Strip
from textual.widget import Widget

from canopy_tui.chartlines import SHADED
from canopy_tui.charts.palette import Tint, colour
from canopy_tui.listing import Piece


class Look(NamedTuple):
    """So much of a colour of the theme, by its variable's name; without one the line's own colour."""

    variable: str = ""
    share: float = 1.0
    bold: bool | None = None


LOOKS = {
    "": Look(),
    "strong": Look(bold=True),
    "muted": Look("text-muted"),
    "faint": Look("foreground", 0.25),
    "guide": Look("foreground", 0.12),
    "bad": Look("text-error"),
    "curve": Look("primary", 0.85),
    "band": Look("primary", 0.45),
    "waiting": Look("warning"),
    "waiting-band": Look("warning", 0.45),
    "accent": Look("primary", bold=True),
}
"""Of each tone: the same in every widget with cells. They are no component classes, which are matched with
the whole style sheet for every widget that is made."""

VARIABLES = sorted({look.variable for look in LOOKS.values() if look.variable})
"""What they take of a theme."""

LIT_SHARE = 0.2
"""Of the primary colour behind the line with the cursor."""

SHARES = {"band": 0.45, "unshipped-band": 0.35, "unshipped-line": 0.75, "axis": 0.55}
"""How much of its colour a part of a curve has against the background: the band lies behind the line."""

SHADE = 0.14
"""Of a phase's colour behind everything: seen at a glance, and no curve is harder to see."""

GHOST_SHARE = 0.6
"""What a resume superseded is there for whoever looks for it."""


class Tones(dict[str, Style]):
    """The style of each tone on a background, made when it is first asked for: those of :data:`LOOKS`, the
    tones ``role:tint``, and any of them in a phase. Only a phase brings a background: a line has its own."""

    def __init__(self, background: Color, dark: bool, colours: tuple[str, ...]) -> None:
        """``colours`` are those of :data:`VARIABLES`, as the theme says them."""
        super().__init__()
        self._background = background
        self._dark = dark
        self._colours = dict(zip(VARIABLES, colours, strict=True))
        self.lit = Style(bgcolor=self._ink("primary", LIT_SHARE))
        """What the line with the cursor has over its own style."""

    def __missing__(self, tone: str) -> Style:
        self[tone] = made = self._made(tone)
        return made

    def _made(self, tone: str) -> Style:
        if tone in LOOKS:
            variable, share, bold = LOOKS[tone]
            return Style(color=self._ink(variable, share) if variable else None, bold=bold)
        if tone.endswith(SHADED):
            return self[tone.removesuffix(SHADED)] + Style(bgcolor=self._tinted(Tint.PHASE, SHADE))
        role, _, tint = tone.partition(":")
        share = SHARES.get(role, 1.0) * (GHOST_SHARE if tint == Tint.GHOST else 1.0)
        return Style(color=self._tinted(Tint(tint), share))

    def _ink(self, variable: str, share: float) -> RichColor:
        """So much of a theme's colour on the background. A theme says ``#6fbf73``, ``ansi_blue``,
        ``auto 60%``: light or dark, by the background."""
        name, _, percent = self._colours[variable].partition(" ")
        share *= float(percent.rstrip("%")) / 100 if percent else 1.0
        ink = Color.automatic(100 * share) if name == "auto" else Color.parse(name).multiply_alpha(share)
        return (self._background + ink).rich_color

    def _tinted(self, tint: Tint, share: float) -> RichColor:
        """So much of a tint on the background."""
        own = colour(tint, self._dark)
        assert own is not None, f"{tint}: the theme's own colour has tones of its own"
        return self._background.blend(Color.parse(own), share).rich_color


_tones_on = lru_cache(maxsize=32)(Tones)
"""A theme has three backgrounds; whoever tries themes out comes back to them."""


def tones_of(widget: Widget) -> Tones:
    """The style of each tone in a widget."""
    app, background = widget.app, widget.visual_style.background
    assert background is not None, "a screen has one"
    colours = tuple(app.theme_variables[name] for name in VARIABLES)
    return _tones_on(background, app.current_theme.dark, colours)


def strip_of(widget: Widget, pieces: Iterable[Piece], width: int, *, lit: bool = False) -> Strip:
    """A line of exactly ``width`` cells. The texts are drawn as they are: nothing in them is markup."""
    tones, base = tones_of(widget), widget.visual_style.rich_style
    if lit:
        base += tones.lit
    segments = [Segment(piece.text, base + tones[piece.tone]) for piece in pieces if piece.text]
    return Strip(segments).adjust_cell_length(width, base)
