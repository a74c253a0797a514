"""Draws the braille and block characters of a Textual SVG as shapes.

An SVG shown as an image loads no web font, and few fonts have braille of one cell's width: as text, the
curves would fall apart on most machines.
"""

from __future__ import annotations

import html
import re

CELL_WIDTH, CELL_HEIGHT = 12.2, 24.4
"""Pixels of a terminal cell in the SVGs that Textual exports."""

BASELINE = 18.5
"""Pixels from the top of a cell to the y of its text."""

DOT_RADIUS = 1.9
FONTS = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"

_TEXT = re.compile(r'<text class="([^"]*)" x="([\d.]+)" y="([\d.]+)"([^>]*)>([^<]*)</text>')
_DOTS = (
    (0x01, 0, 0),
    (0x02, 0, 1),
    (0x04, 0, 2),
    (0x40, 0, 3),
    (0x08, 1, 0),
    (0x10, 1, 1),
    (0x20, 1, 2),
    (0x80, 1, 3),
)
"""Bit, column and row of each dot of a braille character."""


def with_shapes(svg: str) -> str:
    """The SVG with curves as shapes and with fonts that are everywhere."""
    svg = re.sub(r"@font-face \{[^}]*\}", "", svg)
    svg = re.sub(r"font-family: [^;]*;", f"font-family: {FONTS};", svg)
    return _TEXT.sub(_replace, svg)


def _replace(match: re.Match[str]) -> str:
    style, x, y, rest, escaped = match.groups()
    text = html.unescape(escaped)
    if not any(_is_drawn(char) for char in text):
        return match.group(0)
    shapes: list[str] = []
    left = ""
    for place, char in enumerate(text):
        if _is_drawn(char):
            shapes.append(_shape(char, float(x) + place * CELL_WIDTH, float(y) - BASELINE))
        left += "\u00a0" if _is_drawn(char) else char
    drawn = f'<g class="{style}">{"".join(shapes)}</g>'
    if not left.strip():
        return drawn
    return f'<text class="{style}" x="{x}" y="{y}"{rest}>{html.escape(left)}</text>{drawn}'


def _is_drawn(char: str) -> bool:
    return "\u2801" <= char <= "\u28ff" or "\u2581" <= char <= "\u2588"


def _shape(char: str, x: float, y: float) -> str:
    code = ord(char)
    if code < 0x2800:
        height = CELL_HEIGHT * (code - 0x2580) / 8
        top = y + CELL_HEIGHT - height
        return f'<rect x="{x:.1f}" y="{top:.1f}" width="{CELL_WIDTH + 0.1:.1f}" height="{height:.1f}"/>'
    return "".join(
        f'<circle cx="{x + CELL_WIDTH * (1 + 2 * column) / 4:.1f}" '
        f'cy="{y + CELL_HEIGHT * (1 + 2 * row) / 8:.1f}" r="{DOT_RADIUS}"/>'
        for bit, column, row in _DOTS
        if (code - 0x2800) & bit
    )
