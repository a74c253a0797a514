"""A run of several streams on the Run screen: resumes and what they superseded, ranks; titles and order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from helpers.screenlogs import HOST, QUIET, SECOND_NS, LogWriter
from helpers.screens import app_on, lines_of, settled, text_of, until
from textual.pilot import Pilot

from canopy_tui.app import CanopyApp
from canopy_tui.charts.palette import Tint
from canopy_tui.charts.parts import MarkKind, Plot
from canopy_tui.screens.run import RunScreen
from canopy_tui.widgets.chart import Chart
from wal.journal import Journal

NAME = "preempted"
FULL, WIDE = (100, 30), (120, 40)
FIRST, AGAIN, LAST = 1000, 800, 1400
"""Records of the first stream; the step that the second begins with, and one past its last."""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    writer = LogWriter(tmp_path / "log")
    yield writer
    writer.close()


def log(writer: LogWriter, name: str, first: int, last: int, **values: float) -> None:
    for step in range(first, last):
        writer.now_ns += SECOND_NS // 10
        writer.log(name, values, step)


@pytest.fixture
def run_id(writer: LogWriter) -> UUID:
    """Failed at step 1,000 and went on from 800; ``lr`` was logged by the first attempt only."""
    run_id = writer.start(NAME, ago_s=600)
    log(writer, NAME, 0, FIRST, loss=2.0, lr=0.1)
    writer.resume(NAME)
    log(writer, NAME, AGAIN, LAST, loss=1.0)
    return run_id


def charts_on(app: CanopyApp) -> list[Chart]:
    if not isinstance(app.screen, RunScreen):
        return []
    return [chart for chart in app.screen.query(Chart) if chart.display and chart.visible and chart.plot]


def plot_of(app: CanopyApp, name: str) -> Plot:
    plot = next(chart.plot for chart in charts_on(app) if chart.named == name)
    assert plot is not None
    return plot


def tints(drawn: Plot) -> set[Tint]:
    return {part.tint for row in drawn.rows for part in row}


def restarts(drawn: Plot) -> int:
    return "".join(part.text for part in drawn.rows[-2]).count("↺")


async def opened(pilot: Pilot[Any], app: CanopyApp, charts: int) -> None:
    await until(pilot, lambda: len(charts_on(app)) == charts)
    await settled(pilot)


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settled(pilot)


async def test_a_resume_is_marked_and_what_it_superseded_is_a_ghost(writer: LogWriter, run_id: UUID) -> None:
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, app, 2)
        loss = plot_of(app, "loss")
        assert (loss.points, Tint.GHOST in tints(loss)) == (AGAIN + LAST - AGAIN, False)
        assert MarkKind.RESTART in loss.marks
        assert restarts(loss) == 1
        assert plot_of(app, "lr").points == FIRST, "the resume says nothing of what it does not log"
        await press(pilot, "A")
        loss = plot_of(app, "loss")
        assert (loss.points, Tint.GHOST in tints(loss)) == (FIRST + LAST - AGAIN, True)
        assert "ghosts" in lines_of(app)[2]
        assert Tint.GHOST not in tints(plot_of(app, "lr"))
        await press(pilot, "x")
        assert restarts(plot_of(app, "loss")) == 1, "on any axis"
        await press(pilot, "A")
        assert Tint.GHOST not in tints(plot_of(app, "loss"))
        assert "ghosts" not in text_of(app)


async def test_a_run_that_went_on_twice_has_both_restarts(writer: LogWriter, run_id: UUID) -> None:
    writer.resume(NAME)
    log(writer, NAME, 1200, 1600, loss=0.5, lr=0.01)
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, app, 2)
        loss = plot_of(app, "loss")
        assert (loss.points, restarts(loss)) == (1600, 2)
        assert "loss ★  0.5" in text_of(app)
        await press(pilot, "A")
        assert plot_of(app, "loss").points == 1600 + (FIRST - AGAIN) + (LAST - 1200)


async def test_ranks_are_separate_and_the_first_comes_first(writer: LogWriter) -> None:
    run_id = writer.start("ddp", ago_s=600)
    run = writer.journals["ddp"].run
    rank = Journal(writer.log_dir, run, rank=1, clock_ns=writer.clock_ns, host=HOST, limits=QUIET)
    writer.journals["ddp/1"] = rank
    log(writer, "ddp", 0, 300, loss=1.0)
    log(writer, "ddp/1", 0, 300, loss=3.0)
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=FULL) as pilot:
        await opened(pilot, app, 1)
        drawn = plot_of(app, "loss")
        assert (drawn.points, restarts(drawn)) == (600, 0)
        await press(pilot, "left")
        drawn = plot_of(app, "loss")
        assert [reading.label for reading in drawn.readings] == ["rank 1", "rank 0"], "the later lies on top"
        assert "loss ★  rank 0 1  rank 1 3" in text_of(app)


async def test_titles_say_last_best_and_how_far_and_charts_have_their_order(writer: LogWriter) -> None:
    run_id = writer.start("titles", ago_s=600)
    for step in range(0, 1000):
        values = {"zeta": 1.0, "alpha": 1.0}
        if step % 10 == 0:
            values |= {"seldom": 2.0, "val/loss": 0.4123 if step > 820 else 1.2 - step / 820 * 0.802}
        writer.log("titles", values, step * 10)
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, app, 4)
        assert [chart.named for chart in charts_on(app)] == ["val/loss", "alpha", "zeta", "seldom"]
        assert "val/loss ★  0.4123  best 0.3980 @ 8,200" in text_of(app)
        await press(pilot, "f")
        assert "val/loss ★  0.4123  best 0.3980 @ 8,200  +0.0143 since best" in text_of(app)
        await press(pilot, "f", "tab", "m")
        assert [chart.named for chart in charts_on(app)] == ["alpha", "zeta", "seldom", "val/loss"]
