"""What the tabs of the Run screen show, one pane each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Container

from canopy_tui.widgets.charts_pane import ChartsPane
from canopy_tui.widgets.config_pane import ConfigPane
from canopy_tui.widgets.lines import LineList
from canopy_tui.widgets.topology_pane import TopologyPane

if TYPE_CHECKING:
    from canopy_tui.charts.glyphs import Glyphs

TABS = ("Charts", "Config", "Topology", "Storage")
CHARTS, CONFIG, TOPOLOGY, STORAGE = range(len(TABS))


class RunTabs(Container):
    """One pane at a time. The charts are there at once; another pane enters the screen when its tab is opened
    first: most runs are left before that, and every widget on a screen makes it open later."""

    DEFAULT_CSS = "RunTabs { height: 1fr; } RunTabs > LineList { padding: 0 1; }"

    def __init__(self, glyphs: Glyphs, *, unicode: bool) -> None:
        super().__init__()
        self.charts = ChartsPane(glyphs, unicode=unicode)
        self.config = ConfigPane(unicode=unicode)
        self.topology = TopologyPane(glyphs)
        self.storage = LineList()
        self._panes = (self.charts, self.config, self.topology, self.storage)

    def compose(self) -> ComposeResult:
        yield self.charts

    async def open(self, place: int) -> None:
        """Show the pane of a tab, and let its list have the keys."""
        pane = self._panes[place]
        async with self.lock:  # a key and a click at once are two tasks
            if not pane.is_attached:
                await self.mount(pane)
        for other in self._panes:
            other.display = other is pane
        if isinstance(pane, ConfigPane | TopologyPane):
            pane.focus_list()
        else:
            pane.focus()
