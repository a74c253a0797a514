"""Glyph sets: what charts are drawn with where there is braille, only block elements, or only ASCII."""

from __future__ import annotations

from dataclasses import dataclass

_BRAILLE_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of each dot in a braille character, by row and column (Unicode, block "Braille Patterns")."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One glyph set.

    A cell has ``columns`` × ``rows`` dots; ``cells[code]`` is the character whose dot at (row, column) is
    lit when bit ``row * columns + column`` of ``code`` is set. ``spark`` are the levels of a sparkline,
    lowest first. The other fields name what they draw; ``off_axis`` draws the part of the step axis whose
    records Cassandra has not acknowledged, ``phase_axis`` that of a phase.
    """

    name: str
    columns: int
    rows: int
    cells: str
    spark: str
    vertical: str
    tick_y: str
    corner: str
    horizontal: str
    off_axis: str
    phase_axis: str
    tick_x: str
    guide: str
    guide_x: str
    nan: str
    plus_inf: str
    minus_inf: str
    several_bad: str
    above: str
    below: str
    cursor: str
    cursor_x: str
    restart: str
    unit: str
    event: str
    weights: str
    """Shades of a weight, faintest first."""


def _braille_cells() -> str:
    def character(code: int) -> str:
        bits = sum(_BRAILLE_DOTS[i // 2][i % 2] for i in range(8) if code >> i & 1)
        return chr(0x2800 + bits) if code else " "

    return "".join(character(code) for code in range(256))


BRAILLE = Glyphs(
    name="braille", columns=2, rows=4, cells=_braille_cells(), spark="▁▂▃▄▅▆▇█",
    vertical="│", tick_y="┤", corner="└", horizontal="─", off_axis="┅", phase_axis="━", tick_x="┬",
    guide="┈", guide_x="┊", nan="×", plus_inf="▲", minus_inf="▼", several_bad="✱", above="▲", below="▼",
    cursor="│", cursor_x="┴", restart="↺", unit="•", event="◆", weights="·░▒▓█",
)  # fmt: skip
"""The default: eight dots a cell."""

BLOCKS = Glyphs(
    name="blocks", columns=2, rows=2, cells=" ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█", spark="▁▂▃▄▅▆▇█",
    vertical="│", tick_y="┤", corner="└", horizontal="─", off_axis="┅", phase_axis="━", tick_x="┬",
    guide="┈", guide_x="┊", nan="×", plus_inf="▲", minus_inf="▼", several_bad="✱", above="▲", below="▼",
    cursor="│", cursor_x="┴", restart="↺", unit="•", event="◆", weights="·░▒▓█",
)  # fmt: skip
"""For fonts without braille: four dots a cell, characters that nearly every font has."""

ASCII = Glyphs(
    name="ascii", columns=1, rows=2, cells=" '.:", spark="_.-~=+*#",
    vertical="|", tick_y="+", corner="+", horizontal="-", off_axis="~", phase_axis="=", tick_x="+",
    guide=" ", guide_x=" ", nan="x", plus_inf="^", minus_inf="v", several_bad="!", above="^", below="v",
    cursor="|", cursor_x="|", restart="@", unit="o", event="*", weights=".:-+#",
)  # fmt: skip
"""For a locale that is not UTF-8: two dots a cell."""

GLYPH_SETS = {glyphs.name: glyphs for glyphs in (BRAILLE, BLOCKS, ASCII)}


def choose(encoding: str | None) -> Glyphs:
    """Braille where the terminal's encoding can say it, ASCII where it cannot."""
    name = (encoding or "").lower().replace("-", "").replace("_", "")
    return BRAILLE if name.startswith("utf") else ASCII
