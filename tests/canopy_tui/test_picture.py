"""A picture draws the lines in which it differs from the one before, and all of them where it must."""

from __future__ import annotations

from helpers.seriesof import series_of
from textual.app import App, ComposeResult

from canopy_tui.charts.glyphs import BRAILLE
from canopy_tui.charts.parts import Curve
from canopy_tui.charts.plot import plot, plot_columns
from canopy_tui.families import families
from canopy_tui.screens.themes import THEMES
from canopy_tui.widgets.chart import Chart, ChartView
from wal.source import MetricRow
from wal.summary import MetricSummary

WIDTH, HEIGHT = 60, 12


class OneChart(App[None]):
    def compose(self) -> ComposeResult:
        yield Chart(BRAILLE)

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)

    @property
    def lines(self) -> list[str]:
        strips = self.screen._compositor.render_strips()  # pyright: ignore[reportPrivateUsage]
        return [strip.text.rstrip() for strip in strips[:HEIGHT]]


def view_of(values: list[float]) -> ChartView:
    summary = MetricSummary()
    for step, value in enumerate(values):
        summary.add(step, value)
    series = series_of(range(len(values)), values, plot_columns(WIDTH))
    drawn = plot([Curve(series)], WIDTH, HEIGHT - 1, shown=(0, len(values) - 1))
    (family,) = families(["loss"])
    return ChartView((MetricRow("loss", None, summary),), family, "loss", drawn)


RISING = [float(step) for step in range(200)]


async def test_lines_that_stay_are_not_drawn_anew() -> None:
    app = OneChart()
    async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        chart = app.query_one(Chart)
        chart.show(view_of(RISING))
        await pilot.pause()
        before, known = app.lines, dict(chart._strips)  # pyright: ignore[reportPrivateUsage]
        chart.show(view_of([*RISING[:-1], 150.0]))
        await pilot.pause()
        after, drawn = app.lines, chart._strips  # pyright: ignore[reportPrivateUsage]
        assert "150" in after[0]
        assert 2 <= sum(a != b for a, b in zip(before, after, strict=True)) <= HEIGHT // 2
        assert [before[y] == after[y] for y in range(HEIGHT)] == [drawn[y] is known[y] for y in range(HEIGHT)]


async def test_a_smaller_or_a_larger_view_leaves_nothing_of_the_one_before() -> None:
    app = OneChart()
    async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        chart = app.query_one(Chart)
        whole, empty = view_of(RISING), view_of(RISING)
        empty = ChartView(empty.metrics, empty.family, empty.named, None)
        chart.show(whole)
        await pilot.pause()
        drawn = app.lines
        chart.show(empty)
        await pilot.pause()
        assert app.lines[0].startswith("loss")
        assert not any(app.lines[1:])
        chart.show(whole)
        await pilot.pause()
        assert app.lines == drawn


async def test_another_theme_gives_every_line_its_colours() -> None:
    app = OneChart()
    async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        chart = app.query_one(Chart)
        chart.show(view_of(RISING))
        await pilot.pause()
        dark = dict(chart._strips)  # pyright: ignore[reportPrivateUsage]
        app.theme = "canopy-light"
        await pilot.pause()
        light = chart._strips  # pyright: ignore[reportPrivateUsage]
        assert not any(light[y] == dark[y] for y in range(HEIGHT))
