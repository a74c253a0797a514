"""Pictures of the Run screen, taken when everything that was asked for has been drawn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from textual.pilot import Pilot

from canopy_tui.app import CanopyApp
from canopy_tui.screens.run import RunScreen
from canopy_tui.widgets.chart import Chart
from helpers.screens import settled, text_of, until

WIDE, NORMAL, NARROW = (120, 40), (80, 24), (50, 20)

Snapshot = Callable[..., bool]
Step = str | Callable[[], object]
"""A key to be pressed, or something that happens meanwhile."""


def shoot(snapshot: Snapshot, app: CanopyApp, size: tuple[int, int], *steps: Step, says: str = "") -> None:
    """Compare the screen with its snapshot, once the steps are done and it says what it should."""
    assert snapshot(app, terminal_size=size, run_before=_after(*steps, says=says))


def _after(*steps: Step, says: str = "") -> Callable[[Pilot[Any]], Awaitable[None]]:
    """Wait for the charts, take the steps, wait for what they show."""

    async def run_before(pilot: Pilot[Any]) -> None:
        app = pilot.app
        assert isinstance(app, CanopyApp)
        await until(pilot, lambda: _drawn(app))
        for step in steps:
            if isinstance(step, str):
                await pilot.press(step)
            else:
                step()
            await settled(pilot)
        await until(pilot, lambda: says in text_of(app))
        await settled(pilot)

    return run_before


def _drawn(app: CanopyApp) -> bool:
    if not isinstance(app.screen, RunScreen):
        return False
    charts = [chart for chart in app.screen.query(Chart) if chart.display and chart.visible]
    return all(chart.view is not None and chart.view.plot is not None for chart in charts) and bool(charts)
