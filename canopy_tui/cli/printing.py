"""Cells and numbers for a terminal that is not taken over, a pipe, or a machine."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence

import click

from canopy_tui.listing import Piece

PIPE_WIDTH = 120
"""Columns where nobody says how wide the reader is."""

_STYLES: dict[str, dict[str, object]] = {
    "muted": {"dim": True},
    "faint": {"dim": True},
    "bad": {"fg": "red"},
    "curve": {"fg": "green"},
    "band": {"fg": "green", "dim": True},
    "waiting": {"fg": "yellow"},
    "waiting-band": {"fg": "yellow", "dim": True},
    "accent": {"bold": True},
}


def width() -> int:
    """Columns to print in: the terminal's, else ``$COLUMNS``, else :data:`PIPE_WIDTH`."""
    return shutil.get_terminal_size((PIPE_WIDTH, 24)).columns


def in_colour(plain: bool) -> bool:
    """Whether colours are wanted: a terminal that has them, and nobody said no."""
    return (
        not plain
        and sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "") not in ("", "dumb")
    )


def print_lines(lines: Iterable[Sequence[Piece]], colour: bool) -> None:
    """Print lines of pieces; those without colour have no trailing blanks."""
    if colour:
        texts = ["".join(_styled(piece) for piece in line) for line in lines]
    else:
        texts = ["".join(piece.text for piece in line).rstrip() for line in lines]
    click.echo("\n".join(texts))  # at once: a call a line costs more than the line


def _styled(piece: Piece) -> str:
    style = _STYLES.get(piece.tone)
    return click.style(piece.text, **style) if style and piece.text.strip() else piece.text  # pyright: ignore[reportArgumentType]


def json_number(value: float | None) -> float | int | str | None:
    """A number as JSON has it; one that JSON has not as ``"NaN"``, ``"Infinity"`` or ``"-Infinity"``."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def json_value(value: object) -> object:
    """A config or summary as JSON has it, by the rule of :func:`json_number`."""
    if isinstance(value, float):
        return json_number(value)
    if isinstance(value, Mapping):
        return {str(key): json_value(one) for key, one in value.items()}  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, (list, tuple)):
        return [json_value(one) for one in value]  # pyright: ignore[reportUnknownArgumentType]
    return value if isinstance(value, (str, int, type(None))) else str(value)
