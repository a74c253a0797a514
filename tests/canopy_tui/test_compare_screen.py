"""Runs beside each other: the real app on logs that the real journal wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from helpers.screenlogs import LogWriter, falling, rising
from helpers.screens import app_on, lines_of, settled, text_of, until
from textual.pilot import Pilot

from canopy_tui.app import CanopyApp
from canopy_tui.charts.palette import run_tints
from canopy_tui.charts.parts import Stroke
from canopy_tui.comparing import runs_to_compare
from canopy_tui.format import signed
from canopy_tui.screens.compare import CompareScreen
from canopy_tui.screens.run import RunScreen
from canopy_tui.screens.runs import RunsScreen

WIDE, NORMAL, NARROW = (120, 40), (80, 24), (50, 20)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    writer = LogWriter(tmp_path / "log")
    yield writer
    writer.close()


def write(
    writer: LogWriter, name: str, ago_s: float, seed: int, *, project: str = "digits", **config: object
) -> UUID:
    curves = {
        "train/loss": falling(200, seed),
        "val/loss": falling(200, seed, floor=0.1 * seed),
        "val/acc": rising(200, seed),
    }
    run_id = writer.start(name, ago_s=ago_s, project=project, config={"seed": seed, "lr": 0.1, **config})
    writer.log_curves(name, curves, lasting_s=ago_s / 2)
    return run_id


@pytest.fixture
def run_ids(writer: LogWriter) -> list[UUID]:
    """Newest first: c and a are of one project, b of another."""
    oldest = write(writer, "run-a", 900, 3, depth=2)
    other = write(writer, "run-b", 600, 2, project="other")
    newest = write(writer, "run-c", 300, 1, depth=4)
    return [newest, other, oldest]


def compared(app: CanopyApp) -> CompareScreen:
    assert isinstance(app.screen, CompareScreen)
    return app.screen


async def opened(pilot: Pilot[Any], app: CanopyApp, runs: int) -> CompareScreen:
    await until(pilot, lambda: isinstance(app.screen, CompareScreen))
    await until(pilot, lambda: len(getattr(compared(app)._comparison, "details", ())) == runs)
    await settled(pilot)
    return compared(app)


async def listed(pilot: Pilot[Any], app: CanopyApp, runs: int) -> None:
    await until(pilot, lambda: len(app.listed) == runs)


def test_which_runs_are_compared(writer: LogWriter, run_ids: list[UUID]) -> None:
    newest, other, oldest = run_ids
    app = app_on(writer)
    rows = app.source.runs()
    here = rows[0]
    assert runs_to_compare(rows, (), here) == [newest, oldest]
    assert runs_to_compare(rows, (newest,), here) == [newest, oldest]
    assert runs_to_compare(rows, (other,), here) == [newest, other]
    assert runs_to_compare(rows, (oldest, other), here) == [other, oldest]
    assert runs_to_compare(rows, (), rows[-1]) == [oldest]
    app.source.close()


async def test_a_run_and_the_previous_one_of_its_project(writer: LogWriter, run_ids: list[UUID]) -> None:
    app = app_on(writer, open_run=run_ids[0])
    async with app.run_test(size=NORMAL) as pilot:
        await listed(pilot, app, 3)
        await pilot.press("c")
        screen = await opened(pilot, app, 2)
        assert screen.run_ids == (run_ids[0], run_ids[2])
        await until(pilot, lambda: "val/loss  2 runs" in text_of(app))
        legend = [line.split() for line in lines_of(app) if "run-" in line]
        assert [" ".join(w for w in words if w.startswith(("run-", "val", "train"))) for words in legend] == [
            "run-c val",
            "run-c train",
            "run-a val",
            "run-a train",
        ]
        assert screen._comparison is not None
        bests = [row.metric.best[0] for row in screen._comparison.legend if row.metric and row.metric.best]
        assert legend[2][-1] == signed(bests[2] - bests[0])
        assert legend[3][-1] == signed(bests[3] - bests[1])
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))


async def test_colour_is_the_run_and_stroke_the_split(writer: LogWriter, run_ids: list[UUID]) -> None:
    app = app_on(writer, open_run=run_ids[0])
    async with app.run_test(size=WIDE) as pilot:
        await listed(pilot, app, 3)
        await pilot.press("c")
        screen = await opened(pilot, app, 2)
        await until(pilot, lambda: screen._comparison and screen._comparison.curves)
        comparison = screen._comparison
        assert comparison is not None
        tints = run_tints(screen.run_ids)
        looks = {curve.label: (curve.tint, curve.stroke) for curve in comparison.curves}
        assert looks == {
            "run-c val": (tints[run_ids[0]], Stroke.SOLID),
            "run-c train": (tints[run_ids[0]], Stroke.DASHED),
            "run-a val": (tints[run_ids[2]], Stroke.SOLID),
            "run-a train": (tints[run_ids[2]], Stroke.DASHED),
        }
        assert comparison.curves[-1].label == "run-c val", "the first run lies on top"
        assert len({tuple(curve.series.columns.edges) for curve in comparison.curves}) == 1


async def test_the_marked_runs_are_laid_over_each_other(writer: LogWriter, run_ids: list[UUID]) -> None:
    app = app_on(writer)
    async with app.run_test(size=NORMAL) as pilot:
        await listed(pilot, app, 3)
        await until(pilot, lambda: "Compare" in lines_of(app)[-1])
        await pilot.press("space", "j", "space", "j", "space")
        await until(pilot, lambda: len(app.marked) == 3)
        await pilot.press("c")
        await opened(pilot, app, 3)
        await until(pilot, lambda: "val/loss  3 runs" in text_of(app))
        await pilot.press("j")
        await until(pilot, lambda: "val/acc  3 runs" in text_of(app))
        assert "2 of 2" in text_of(app)
        await pilot.press("k", "left")
        await until(pilot, lambda: "steps 1,980–1,990" in text_of(app))
        await until(pilot, lambda: "cursor" in text_of(app) and "final" not in text_of(app))
        await pilot.press("escape")
        await until(pilot, lambda: "val/loss  3 runs" in text_of(app))
        await pilot.press("i")
        await until(pilot, lambda: "of 1,200 points" in text_of(app))


async def test_only_what_differs_is_listed(writer: LogWriter, run_ids: list[UUID]) -> None:
    app = app_on(writer)
    async with app.run_test(size=NORMAL) as pilot:
        await listed(pilot, app, 3)
        await pilot.press("d")
        await opened(pilot, app, 2)
        await until(pilot, lambda: "depth" in text_of(app))
        table = [line.split() for line in lines_of(app)[1:4]]
        assert table == [["run-c", "run-a"], ["depth", "4", "2"], ["seed", "1", "3"]]
        assert "lr" not in text_of(app)
        await pilot.press("c")
        await until(pilot, lambda: "val/loss  2 runs" in text_of(app))
        await pilot.press("d", "h")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))


async def test_any_number_of_runs(writer: LogWriter) -> None:
    for number in range(12):
        write(writer, f"run-{number:02}", 600 - number, number)
    app = app_on(writer)
    async with app.run_test(size=NORMAL) as pilot:
        await listed(pilot, app, 12)
        for _ in range(12):
            await pilot.press("space", "j")
        await until(pilot, lambda: len(app.marked) == 12)
        await pilot.press("d")
        await opened(pilot, app, 12)
        await until(pilot, lambda: "of 12 runs" in text_of(app))
        for _ in range(12):
            await pilot.press("right")
        await until(pilot, lambda: "run-00" in lines_of(app)[1])
        assert lines_of(app)[1].split()[0] == "run-11"
        await pilot.press("c")
        await until(pilot, lambda: "val/loss  12 runs" in text_of(app))


async def test_without_an_earlier_run_it_says_so(writer: LogWriter, run_ids: list[UUID]) -> None:
    app = app_on(writer, open_run=run_ids[1])
    async with app.run_test(size=NORMAL) as pilot:
        await listed(pilot, app, 3)
        await pilot.press("c")
        await until(pilot, lambda: any("no earlier run" in note.message for note in app._notifications))
        assert isinstance(app.screen, RunScreen)


async def test_runs_without_metric_or_config(writer: LogWriter) -> None:
    for name in ("a", "b"):
        writer.start(name, ago_s=60)
    app = app_on(writer)
    async with app.run_test(size=NARROW) as pilot:
        await listed(pilot, app, 2)
        await pilot.press("c")
        await until(pilot, lambda: "none of these runs has logged a metric" in text_of(app))
        await pilot.press("d")
        await until(pilot, lambda: "none of these runs has a config" in text_of(app))
        writer.log("a", {"loss": 1.0}, 1)
        await pilot.press("c")
        await until(pilot, lambda: "loss  2 runs" in text_of(app))
        assert "not logged" in text_of(app)


async def test_a_live_run_grows(writer: LogWriter, run_ids: list[UUID]) -> None:
    app = app_on(writer, open_run=run_ids[0])
    async with app.run_test(size=NORMAL) as pilot:
        await listed(pilot, app, 3)
        await pilot.press("c")
        await opened(pilot, app, 2)
        await until(pilot, lambda: "800 points" in text_of(app))
        writer.log("run-c", {"val/loss": 0.0123, "train/loss": 0.5}, 2500)
        await until(pilot, lambda: "802 points" in text_of(app))
        assert "0.0123" in text_of(app)


async def test_ascii_and_hostile_names(writer: LogWriter) -> None:
    for number, name in enumerate(("[/x]", "訓練-é")):
        write(writer, name, 600 - number, number)
    app = app_on(writer, unicode=False)
    async with app.run_test(size=NORMAL) as pilot:
        await listed(pilot, app, 2)
        await pilot.press("c")
        await until(pilot, lambda: "val/loss  2 runs" in text_of(app))
        assert "[/x]" in text_of(app)
        assert text_of(app).isascii()
        await pilot.press("d")
        await until(pilot, lambda: "seed" in text_of(app))
        assert text_of(app).isascii()
