"""Screens from which runs can be compared: the same two keys on each."""

from __future__ import annotations

from textual.binding import Binding

from canopy_tui.screens.live import LiveScreen
from wal.source import RunRow

NOTHING_TO_COMPARE = "there is no earlier run of this project; space in the list marks runs to compare"

COMPARING = (
    Binding("c", "compare('chart')", "Compare", id="compare.chart",
            tooltip="Compare the marked runs, else this and the previous one"),
    Binding("d", "compare('table')", "Differences", show=False, id="compare.table",
            tooltip="In which config keys they differ"),
)  # fmt: skip
"""The keys; each screen has them where its footer wants them."""


class ComparableScreen(LiveScreen):
    """Knows which run it is about; the marks are the list's."""

    @property
    def here(self) -> RunRow | None:
        """The run under the cursor, or the one that is shown."""
        raise NotImplementedError

    def action_compare(self, view: str) -> None:
        """Lay the marked runs over each other, or list how their configs differ."""
        here = self.here
        if here is None:
            return
        from canopy_tui.comparing import runs_to_compare
        from canopy_tui.screens.compare import CompareScreen

        run_ids = runs_to_compare(self.app.known, self.app.marked, here)
        if len(run_ids) < 2:
            self.notify(NOTHING_TO_COMPARE, markup=False)
            return
        self.app.push_screen(CompareScreen(run_ids, view))
