"""Looking at a run's charts: zoom, pan, follow, cursor, axes, scale, smoothing; on real logs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from helpers.screenlogs import SECOND_NS, LogWriter, falling
from helpers.screens import app_on, lines_of, settled, text_of, until
from textual.events import Click, MouseScrollDown, MouseScrollUp, MouseUp
from textual.pilot import Pilot

from canopy_tui.app import CanopyApp
from canopy_tui.charts.parts import Plot
from canopy_tui.lens import CLOCK, LEAST_SPAN, RELATIVE
from canopy_tui.screens.run import RunScreen
from canopy_tui.view import View
from canopy_tui.widgets.chart import Chart
from canopy_tui.widgets.charts_pane import ChartsPane
from wal.source import STEP, XAxis

NAME = "long"
RECORDS = 3000
EVERY = 10
"""Steps from one record to the next."""

LAST = (RECORDS - 1) * EVERY
NORMAL, WIDE = (80, 24), (120, 40)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    writer = LogWriter(tmp_path / "log")
    yield writer
    writer.close()


@pytest.fixture
def run_id(writer: LogWriter) -> UUID:
    """A live run, long enough for its charts to come from pages."""
    run_id = writer.start(NAME, ago_s=3600)
    curves = {"loss": falling(RECORDS, 1), "lr": [1.0 - i / RECORDS for i in range(RECORDS)]}
    curves["delta"] = [value - 1.0 for value in curves["loss"]]
    writer.log_curves(NAME, curves, every=EVERY, lasting_s=3000)
    return run_id


def more(writer: LogWriter, count: int, start: int = RECORDS) -> None:
    for place in range(start, start + count):
        writer.now_ns += SECOND_NS
        writer.log(NAME, {"loss": 0.2, "lr": 0.001, "delta": -0.8}, place * EVERY)


def pane_of(app: CanopyApp) -> ChartsPane:
    assert isinstance(app.screen, RunScreen)
    return app.screen.charts


def charts_on(app: CanopyApp) -> list[Chart]:
    return [chart for chart in app.screen.query(Chart) if chart.display and chart.visible]


def plots_on(app: CanopyApp) -> list[Plot]:
    if not isinstance(app.screen, RunScreen):
        return []
    views = [chart.view for chart in charts_on(app)]
    return [view.plot for view in views if view is not None and view.plot is not None]


def shown(app: CanopyApp) -> tuple[float, float]:
    axis = plots_on(app)[0].axis
    return axis.low, axis.high


async def opened(pilot: Pilot[Any]) -> None:
    await until(pilot, lambda: plots_on(pilot.app))  # type: ignore[arg-type]
    await settled(pilot)


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settled(pilot)


async def test_a_zoom_is_read_anew_down_to_single_points(writer: LogWriter, run_id: UUID) -> None:
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=NORMAL) as pilot:
        await opened(pilot)
        whole = plots_on(app)[0]
        assert (shown(app), whole.points) == ((0, LAST), RECORDS)
        before = RECORDS
        for _ in range(5):
            await press(pilot, "i")
            assert plots_on(app)[0].points < before, "a closer look, not a stretched sample"
            before = plots_on(app)[0].points
        low, high = shown(app)
        assert high == LAST
        assert plots_on(app)[0].points == LAST // EVERY - -(-low // EVERY) + 1
        assert "points → " in text_of(app)
        await press(pilot, *"iiiiiiii")
        assert shown(app) == (LAST - LEAST_SPAN["step"], LAST)
        assert plots_on(app)[0].points == plots_on(app)[0].columns == 1
        await press(pilot, "o")
        assert shown(app) == (LAST - 2 * LEAST_SPAN["step"], LAST)
        await press(pilot, "z")
        assert plots_on(app)[0].rows == whole.rows


async def test_at_the_right_edge_it_follows_and_panned_away_it_holds(writer: LogWriter, run_id: UUID) -> None:
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=NORMAL) as pilot:
        await opened(pilot)
        await press(pilot, "i", "i")
        span = shown(app)[1] - shown(app)[0]
        more(writer, 20)
        await until(pilot, lambda: shown(app)[1] == LAST + 20 * EVERY)
        assert shown(app)[1] - shown(app)[0] == span
        assert "new" not in lines_of(app)[3]
        await press(pilot, "shift+left")
        held = shown(app)
        assert held[1] < LAST
        more(writer, 320, RECORDS + 20)
        await until(pilot, lambda: "▶ 320 new, End follows" in text_of(app))
        await settled(pilot)
        assert shown(app) == held
        await press(pilot, "end")
        assert shown(app) == (LAST + 340 * EVERY - span, LAST + 340 * EVERY)
        assert "End follows" not in text_of(app)
        await press(pilot, "home")
        assert shown(app) == (0, span)
        await press(pilot, *["L"] * 40)
        assert not pane_of(app).lens.window.holds


async def test_all_charts_of_a_grid_share_the_view_and_each_says_its_value(
    writer: LogWriter, run_id: UUID
) -> None:
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: len(plots_on(app)) == 3)
        await settled(pilot)
        await press(pilot, *"iiiiiii", "left", "left", "left")
        assert len({(plot.axis.low, plot.axis.high) for plot in plots_on(app)}) == 1
        text = text_of(app)
        at = LAST - 3 * EVERY if f"step {LAST - 3 * EVERY:,}" in text else LAST - 2 * EVERY
        place = at // EVERY
        for name, value in (("lr", 1.0 - place / RECORDS), ("loss", falling(RECORDS, 1)[place])):
            said = re.search(rf"step {at:,}  {name}(?: ★)? (\S+)", text)
            assert said is not None
            assert float(said[1]) == pytest.approx(value, rel=1e-3)
        await press(pilot, "ctrl+left")
        assert f"step {at - 10 * EVERY:,}  " in text_of(app)
        await press(pilot, "escape")
        assert "best" in text_of(app)
        assert pane_of(app).lens.cursor is None


async def test_at_the_edge_of_what_is_shown_the_cursor_takes_the_view_along(
    writer: LogWriter, run_id: UUID
) -> None:
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=NORMAL) as pilot:
        await opened(pilot)
        await press(pilot, *"iiiiiiiii", "left")
        right = shown(app)[1]
        await press(pilot, *["left"] * 8)
        assert shown(app)[1] < right
        lens = pane_of(app).lens
        assert lens.cursor is not None
        assert shown(app)[0] <= lens.cursor <= shown(app)[1]
        await press(pilot, "i")
        assert shown(app)[0] <= lens.cursor <= shown(app)[1], "a zoom closes in on the cursor"


async def test_axes_scale_and_smoothing_are_the_projects_and_are_kept(
    writer: LogWriter, run_id: UUID, tmp_path: Path
) -> None:
    path = tmp_path / "view.json"
    app = app_on(writer, open_run=run_id, view=View.load(path))
    async with app.run_test(size=NORMAL) as pilot:
        await opened(pilot)
        await press(pilot, "y", "plus", "plus", "x")
        plot = plots_on(app)[0]
        assert plot.scale is not None
        assert plot.scale.log
        assert plot.axis.x == RELATIVE
        assert shown(app) == (0, 3_000_000_000)
        assert "smoothed 0.7" in text_of(app)
        await press(pilot, "x")
        started_us = writer.journals[NAME].stream.started_ns // 1_000
        assert plots_on(app)[0].axis.x == CLOCK
        assert shown(app) == (started_us, started_us + 3_000_000_000)
        assert plots_on(app)[0].points == RECORDS
        await press(pilot, "minus", "0", "A")
        assert "smoothed" not in text_of(app)
    kept = View.load(path).lenses["digits"]
    assert (kept.x, kept.log, kept.smoothing, kept.ghosts) == (CLOCK, True, 0.0, False)
    again = app_on(writer, open_run=run_id, view=View.load(path))
    async with again.run_test(size=NORMAL) as pilot:
        await until(pilot, lambda: plots_on(again) and plots_on(again)[0].axis.x == CLOCK)
        await settled(pilot)
        await press(pilot, "x")
        assert plots_on(again)[0].axis.x == STEP


async def test_any_metric_can_be_the_x_axis(writer: LogWriter, run_id: UUID) -> None:
    app = app_on(writer, open_run=run_id, view=View())
    async with app.run_test(size=NORMAL) as pilot:
        await opened(pilot)
        await press(pilot, "X")
        await until(pilot, lambda: "time of day" in text_of(app))
        await press(pilot, "j", "j", "j")
        chosen = next(line for line in lines_of(app) if "step" in line)
        assert chosen
        await press(pilot, "slash", *"lr", "enter", "enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await settled(pilot)
        assert plots_on(app)[0].axis.x == XAxis("metric", "lr")
        assert shown(app) == pytest.approx((1 / RECORDS, 1.0))
        assert plots_on(app)[0].points == RECORDS
        await press(pilot, "i", "left")
        assert "lr 0." in text_of(app)


async def test_a_log_scale_that_cannot_be_is_said_to_be_linear(writer: LogWriter, run_id: UUID) -> None:
    app = app_on(writer, open_run=run_id, view=View())
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        while plots_on(app) and pane_of(app).selected != "delta":
            await press(pilot, "tab")
        await press(pilot, "f", "y")
        assert "linear: not all > 0" in text_of(app)


async def test_the_mouse_zooms_pans_and_puts_the_cursor(writer: LogWriter, run_id: UUID) -> None:
    app = app_on(writer, open_run=run_id, view=View())
    async with app.run_test(size=NORMAL) as pilot:
        await opened(pilot)
        chart = charts_on(app)[0]
        at = (44, 5)
        x = plots_on(app)[0].axis.x_at((44 - 8) * 2)
        for _ in range(4):
            await pilot._post_mouse_events([MouseScrollUp], chart, offset=at, button=0)
            await settled(pilot)
        low, high = shown(app)
        assert high - low == pytest.approx(LAST * 0.8**4, rel=0.01)
        assert plots_on(app)[0].axis.x_at((44 - 8) * 2) == pytest.approx(x, abs=(high - low) / 50)
        await pilot.mouse_down(chart, offset=at)
        await pilot.hover(chart, offset=(54, 5))
        await pilot._post_mouse_events([MouseUp, Click], chart, offset=(54, 5), button=1)
        await settled(pilot)
        assert shown(app)[0] == pytest.approx(low - (high - low) * 10 / 70, abs=(high - low) / 50)
        assert pane_of(app).lens.cursor is None, "a pull is no click"
        await pilot.click(chart, offset=at)
        await settled(pilot)
        cursor = pane_of(app).lens.cursor
        assert cursor is not None
        assert cursor == pytest.approx(plots_on(app)[0].axis.x_at((44 - 8) * 2), abs=(high - low) / 50)
        assert "steps " in lines_of(app)[3]
        await pilot._post_mouse_events([MouseScrollDown], chart, offset=at, button=0)
        await settled(pilot)
        assert shown(app)[1] - shown(app)[0] > high - low


async def test_the_help_names_all_of_it(writer: LogWriter, run_id: UUID) -> None:
    app = app_on(writer, open_run=run_id, view=View())
    async with app.run_test(size=(120, 80)) as pilot:
        await opened(pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: "Zoom in at the cursor, and out" in text_of(app))
        text = text_of(app)
        for words in (
            "L shift+→",
            "Pan to the right",
            "Follow what is logged",
            "Logarithmic y",
            "+ = - 0",
            "The wheel zooms",
        ):
            assert words in text


async def test_an_attempt_that_was_resumed_has_no_exit_code_to_show(writer: LogWriter, run_id: UUID) -> None:
    writer.resume(NAME)
    more(writer, 5)
    app = app_on(writer, open_run=run_id, view=View())
    async with app.run_test(size=NORMAL) as pilot:
        await opened(pilot)
        assert "running" in lines_of(app)[0]
        assert "exit code" not in text_of(app)
        writer.end(NAME, "failed", 3)
        await until(pilot, lambda: "exit code 3" in text_of(app))
