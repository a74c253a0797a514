"""The config keys in which runs differ, with as many runs beside the first as there is room for."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from canopy_tui.comparelines import line_tone
from canopy_tui.comparing import Comparison
from canopy_tui.differences import Column, differences, table_lines
from canopy_tui.format import plural
from canopy_tui.listing import Piece
from canopy_tui.widgets.lines import LineList, Lines

SIDE = "More runs to the left or right"
NO_CONFIG = "none of these runs has a config. In the trainer: wal.init(config={...})"


class DifferencePane(LineList):
    """The keys of every list; left and right move through the runs."""

    DEFAULT_CSS = "DifferencePane { padding: 0 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "side(-1)", show=False, id="differences.left", tooltip=SIDE),
        Binding("right,l", "side(1)", show=False, id="differences.right", tooltip=SIDE),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._first = 1
        self._shown = 0
        self._comparison: Comparison | None = None

    def show_comparison(self, comparison: Comparison) -> None:
        """Draw the table of these runs."""
        self._comparison = comparison
        self.show(self._table)

    def _table(self, width: int) -> Lines:
        comparison = self._comparison
        assert comparison is not None, "a table is of runs"
        configs = [detail.config for detail in comparison.details]
        found = differences(configs)
        if not found:
            same = f"the configs of these {plural(len(configs), 'run')} are the same"
            return [[Piece(same if any(configs) else NO_CONFIG, "muted")]]
        columns = [
            Column(name, line_tone(tint))
            for name, tint in zip(comparison.names, comparison.tints, strict=True)
        ]
        lines, self._shown = table_lines(found, columns, width, self._first, self.app.unicode)
        return lines

    @property
    def notes(self) -> tuple[str, ...]:
        """Which runs stand beside the first."""
        comparison = self._comparison
        if comparison is None or not self._shown or self._shown >= len(comparison.details):
            return ()
        last = self._first + self._shown - 1
        return (f"1 and {self._first + 1}–{last} of {len(comparison.details)} runs",)

    def action_side(self, by: int) -> None:
        runs = len(self._comparison.details) if self._comparison is not None else 0
        if by < 0 or self._first + self._shown - 1 < runs:
            self._first = max(self._first + by, 1)
            self._lay_out()
