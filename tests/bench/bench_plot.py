"""What a repaint of charts costs: the picture from its columns, and the strips that Textual draws."""

from __future__ import annotations

import asyncio
import time

import numpy as np
from helpers.seriesof import series_of
from textual.app import App, ComposeResult

from canopy_tui.chartlines import plot_lines
from canopy_tui.charts.glyphs import BRAILLE
from canopy_tui.charts.parts import Curve
from canopy_tui.charts.plot import plot, plot_columns
from canopy_tui.widgets.cells import strip_of
from canopy_tui.widgets.chart import Chart

SIZE = (120, 40)
CHARTS, REPAINTS_A_S = 12, 4
BAR_PERCENT = 10
ROUNDS = 200


class OneChart(App[None]):
    def compose(self) -> ComposeResult:
        yield Chart(BRAILLE)


async def seconds_a_repaint(points: int) -> float:
    """CPU seconds for one chart of ``SIZE``, from columns to strips; the best of some rounds."""
    width, height = SIZE
    noise = np.random.default_rng(1).normal(0, 0.05, points)
    values = np.exp(-3 * np.arange(points) / points) + noise
    series = series_of(range(points), values.tolist(), plot_columns(width))
    app = OneChart()
    best = float("inf")
    async with app.run_test(size=(width, height + 1)):
        chart = app.query_one(Chart)
        for _ in range(ROUNDS):
            started = time.process_time()
            drawn = plot([Curve(series)], width, height, shown=(0, points - 1))
            for line in plot_lines(drawn):
                strip_of(chart, line, width)
            best = min(best, time.process_time() - started)
    return best


def run() -> list[dict[str, object]]:
    """The rows of the table that ``make bench`` prints."""
    few, many = (asyncio.run(seconds_a_repaint(points)) for points in (1_000, 1_000_000))
    percent = CHARTS * REPAINTS_A_S * many * 100
    return [
        {
            "name": f"plot: {CHARTS} charts of {SIZE[0]}×{SIZE[1]}, {REPAINTS_A_S} repaints a second",
            "value": round(percent, 1), "unit": "% of a core", "bar": f"≤ {BAR_PERCENT}",
            "ok": percent <= BAR_PERCENT,
            "detail": f"{many * 1e3:.2f} ms a chart of 1,000,000 points, {few * 1e3:.2f} ms of 1,000",
        }
    ]  # fmt: skip


if __name__ == "__main__":
    for row in run():
        print(row)
