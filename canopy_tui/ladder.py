"""A cascade as a ladder: one rung a unit, its weights shaded. Pure.

The weights form of a topology (what a cascade-correlation trainer logs): ``input_size``, ``output_size``,
``hidden_units`` = [{``weights``, ``bias``, ``activation``}], unit k fed by the inputs and the k units before
it; ``output_weights`` of (inputs + units) × outputs and ``output_bias``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from canopy_tui import format as fmt
from canopy_tui.charts.glyphs import Glyphs
from canopy_tui.listing import Piece
from wal.source import TopologyRow

Line = list[Piece]

CELL = 3
"""Cells of one weight: its sign, its shade, a gap."""

HEAD = 6
"""Cells of a rung's name."""

MOST_RUNGS = 2000
"""A hostile topology must not take the screen's time."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One unit: its incoming weights in the order inputs, then earlier units."""

    name: str
    weights: tuple[float, ...]
    bias: float | None
    activation: str = ""


def snapshot_lines(rows: Sequence[TopologyRow], width: int) -> list[Line]:
    """One line a snapshot, newest first: step, units, parameters."""
    wide = width >= 30
    return [
        [
            Piece(fmt.right(fmt.count(row.step, 9), 9)),
            Piece(fmt.right(fmt.count(row.hidden_units, 6), 7)),
            Piece(fmt.right(fmt.count(row.parameters, 10), 12) if wide else "", "muted"),
        ]
        for row in rows
    ]


def snapshot_heading(width: int) -> Line:
    return [Piece(f"{'step':>9}{'units':>7}" + (f"{'parameters':>12}" if width >= 30 else ""), "muted")]


def rungs_of(topology: Mapping[str, object]) -> tuple[list[Rung], int] | None:
    """The rungs, outputs last, and the number of inputs; None for a topology of another form."""
    units = topology.get("hidden_units")
    inputs = topology.get("input_size")
    if not isinstance(units, list) or not isinstance(inputs, int) or not 0 <= inputs <= MOST_RUNGS:
        return None
    rungs: list[Rung] = []
    for place, unit in enumerate(cast("list[object]", units)[:MOST_RUNGS]):
        if not isinstance(unit, Mapping):
            return None
        fields = cast("Mapping[str, object]", unit)
        weights = _numbers(fields.get("weights"))
        if weights is None:
            return None
        bias = fields.get("bias")
        rungs.append(
            Rung(
                f"h{place}",
                weights,
                float(bias) if isinstance(bias, int | float) else None,
                fmt.clean(str(fields.get("activation", "")), 12),
            )
        )
    return rungs + _outputs(topology), inputs


def _outputs(topology: Mapping[str, object]) -> list[Rung]:
    """``output_weights`` are (inputs + units) × outputs: one rung an output, read down the columns."""
    rows = topology.get("output_weights")
    if not isinstance(rows, list):
        return []
    table = [_numbers(row) for row in cast("list[object]", rows)[: 2 * MOST_RUNGS]]
    biases = _numbers(topology.get("output_bias")) or ()
    full = [row for row in table if row is not None]
    if len(full) != len(table) or not full:
        return []
    outputs = min(min(len(row) for row in full), 64)
    return [
        Rung(f"out{i}", tuple(row[i] for row in full), biases[i] if i < len(biases) else None)
        for i in range(outputs)
    ]


def _numbers(values: object) -> tuple[float, ...] | None:
    if not isinstance(values, list):
        return None
    numbers = cast("list[object]", values)[: 2 * MOST_RUNGS]
    if not all(isinstance(value, int | float) for value in numbers):
        return None
    return tuple(float(cast("float", value)) for value in numbers)


def ladder_lines(topology: Mapping[str, object], width: int, glyphs: Glyphs) -> list[Line]:
    """Heading, one rung a unit and an output, and the legend. What does not fit on the right is counted."""
    found = rungs_of(topology)
    if found is None:
        return _other_form(topology, width)
    rungs, inputs = found
    if not rungs:
        return [[Piece("no units and no output weights yet", "muted")]]
    sources = max(len(rung.weights) for rung in rungs)
    tail = 9 + (12 if width >= 60 else 0)
    shown = max(min(sources, (width - HEAD - tail) // CELL), 1)
    largest = max((abs(w) for rung in rungs for w in rung.weights if math.isfinite(w)), default=0.0)
    names = [f"i{i}" if i < inputs else f"h{i - inputs}" for i in range(shown)]
    heading = " " * HEAD + "".join(name[:CELL].ljust(CELL) for name in names) + fmt.right("bias", 8)
    lines: list[Line] = [[Piece(heading, "muted")]]
    lines += [_rung_line(rung, shown, largest, glyphs, wide=width >= 60) for rung in rungs]
    lines += [[], _legend(largest, glyphs)]
    if sources > shown:
        lines.append([Piece(f"{fmt.plural(sources - shown, 'more input')} of a unit: no room here", "muted")])
    return lines


def _rung_line(rung: Rung, shown: int, largest: float, glyphs: Glyphs, wide: bool) -> Line:
    line: Line = [Piece(fmt.left(rung.name, HEAD), "strong")]
    for place in range(shown):
        if place < len(rung.weights):
            line += _weight(rung.weights[place], largest, glyphs)
        else:
            line.append(Piece(" " * CELL))
    line.append(Piece(fmt.right(fmt.number(rung.bias), 8)))
    if wide:
        line.append(Piece(f"  {fmt.left(rung.activation, 10)}", "muted"))
    return line


def _weight(value: float, largest: float, glyphs: Glyphs) -> Line:
    if not math.isfinite(value):
        return [Piece(f"{glyphs.nan}  ", "bad")]
    shades = glyphs.weights
    share = abs(value) / largest if largest else 0.0
    shade = shades[min(int(share * len(shades)), len(shades) - 1)]
    sign = "-" if value < 0 else "+"
    return [Piece(sign, "muted"), Piece(f"{shade} ", "curve" if value >= 0 else "")]


def _legend(largest: float, glyphs: Glyphs) -> Line:
    return [
        Piece(f"{glyphs.weights} ", "curve"),
        Piece(f"0 to {fmt.number(largest)} in size, the sign before it", "muted"),
    ]


def _other_form(topology: Mapping[str, object], width: int) -> list[Line]:
    """A topology that is no cascade of weights: its parts and their sizes."""
    lines: list[Line] = [[Piece("not in the weights form: its parts", "muted")]]
    for key, value in list(topology.items())[:100]:
        size = f"{fmt.count(len(value))} entries" if isinstance(value, list | dict) else str(value)
        text = f"{fmt.clean(str(key), 40)}  {fmt.clean(size, 80)}"
        lines.append([Piece(fmt.middle_ellipsis(text, width))])
    return lines
