"""A cascade-correlation run on the Run screen and in ``canopy show``: logs of the demo's trainer."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from helpers.cascade import write_cascade
from helpers.onerun import grow
from helpers.screenlogs import SECOND_NS, LogWriter
from helpers.screens import app_on, app_over, lines_of, settled, text_of, until
from helpers.syncing import drain
from textual.pilot import Pilot

from canopy_tui.app import CanopyApp
from canopy_tui.charts.parts import MarkKind, Plot
from canopy_tui.cli import canopy
from canopy_tui.lens import CLOCK
from canopy_tui.screens.run import RunScreen
from canopy_tui.widgets.chart import Chart
from wal.settings import Settings
from wal.source import XAxis

OUTPUTS, CANDIDATES, UNITS = 30, 20, 4
"""Epochs of each phase, and hidden units."""

ADDED = [(OUTPUTS + CANDIDATES) * (unit + 1) for unit in range(UNITS)]
"""The step of each unit, the last epoch of its candidates."""

LAST = ADDED[-1] + OUTPUTS
NARROW, NORMAL, WIDE = (50, 20), (80, 24), (120, 40)


def train(log_dir: Path, *arguments: str) -> None:
    """The trainer as a user runs it."""
    growth = ("--output-epochs", OUTPUTS, "--candidate-epochs", CANDIDATES, "--units", UNITS)
    environment = {**os.environ, "CANOPY_DIR": str(log_dir), "CANOPY_SYNC": "0", "CANOPY_SILENT": "1"}
    command = [sys.executable, "-m", "canopy_tui.demo.train", *map(str, growth), *arguments]
    subprocess.run(command, check=True, capture_output=True, env=environment)


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cascade") / "log"
    train(path, "--name", "cascade")
    return path


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    writer = LogWriter(tmp_path / "log")
    yield writer
    writer.close()


def app_of(log_dir: Path, **options: Any) -> CanopyApp:
    return app_on(LogWriter(log_dir, now_ns=time.time_ns()), **options)


def plots_on(app: CanopyApp) -> list[Plot]:
    charts = app.screen.query(Chart) if isinstance(app.screen, RunScreen) else ()
    views = [chart.view for chart in charts if chart.display and chart.visible]
    return [view.plot for view in views if view is not None and view.plot is not None]


def shown(app: CanopyApp) -> tuple[float, float]:
    axis = plots_on(app)[0].axis
    return axis.low, axis.high


async def opened(pilot: Pilot[Any], app: CanopyApp) -> None:
    """From the list to the run, until its charts say how it grew."""
    await until(pilot, lambda: app.listed)
    await pilot.press("enter")
    await until(pilot, lambda: plots_on(app) and all(MarkKind.UNIT in one.marks for one in plots_on(app)))
    await settled(pilot)


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settled(pilot)


def axis_of(drawn: Plot) -> str:
    return "".join(part.text for part in drawn.rows[-2])


@pytest.mark.parametrize("size", [NARROW, NORMAL, WIDE], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("full", [True, False], ids=["full", "first"])
async def test_units_and_candidates_are_on_every_chart(
    log_dir: Path, size: tuple[int, int], full: bool
) -> None:
    app = app_of(log_dir)
    async with app.run_test(size=size) as pilot:
        await opened(pilot, app)
        await press(pilot, *("f" if full else ""))
        for drawn in plots_on(app):
            assert axis_of(drawn).count("•") == UNITS
            runs = [part for part in axis_of(drawn).replace("┬", "━").split("─") if "━━" in part]
            assert len(runs) >= UNITS, "a stretch of the axis for the candidates of each unit"
            shaded = [part.shaded for part in drawn.rows[0] for _ in part.text]
            share = sum(shaded) / (len(shaded) - 8)
            assert abs(share - UNITS * CANDIDATES / LAST) < 0.1
        if size != NARROW:
            assert "• unit, ━ candidates" in text_of(app)


async def test_keys_go_from_one_unit_to_the_next(log_dir: Path) -> None:
    app = app_of(log_dir)
    async with app.run_test(size=NORMAL) as pilot:
        await opened(pilot, app)
        whole = shown(app)
        ends = [1, *ADDED, LAST]
        said = ["to unit 1", *(f"units {k}–{k + 1}" for k in range(1, UNITS)), "unit 4–"]
        stretches = list(zip(pairwise(ends), said, strict=True))
        for expected, words in [*stretches, stretches[-1]]:
            await press(pilot, "u")
            assert shown(app) == expected
            assert words in text_of(app)
            assert plots_on(app)[0].points == 2 * (expected[1] - expected[0] + 1), "train and val, read anew"
        for expected, words in stretches[-2::-1]:
            await press(pilot, "U")
            assert shown(app) == expected
            assert words in text_of(app)
        await press(pilot, "o")
        assert "unit 1" not in lines_of(app)[3]
        await press(pilot, "z", "U")
        assert shown(app) == (ADDED[-1], LAST)
        await press(pilot, "z", *["ctrl+left"] * 5, "u")
        assert shown(app)[0] in ends[:-2], "the stretch that the cursor is in"
        await press(pilot, "escape", "z")
        assert shown(app) == whole


async def test_the_cursor_names_the_unit_and_the_candidates(log_dir: Path) -> None:
    app = app_of(log_dir)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, app)
        await press(pilot, "f", "u", "u", "left")
        assert plots_on(app)[0].cursor_labels == ("unit 2",)
        await press(pilot, "left")
        assert plots_on(app)[0].cursor_labels == ("candidates",)
        await press(pilot, *["left"] * CANDIDATES)
        assert plots_on(app)[0].cursor_labels == ()


async def test_on_a_clock_they_are_where_they_happened_and_on_a_metric_nowhere(log_dir: Path) -> None:
    app = app_of(log_dir)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, app)
        await press(pilot, "x", "x")
        screen = app.screen
        assert isinstance(screen, RunScreen)
        assert screen.charts.lens.x == CLOCK
        assert axis_of(plots_on(app)[0]).count("•") == UNITS
        assert plots_on(app)[0].phases
        await press(pilot, "u", "u")
        assert "units 1–2" in text_of(app)
        screen.charts.choose(screen.charts.lens.on(XAxis("metric", "train/loss")))
        await until(pilot, lambda: plots_on(app)[0].axis.x.kind == "metric")
        await settled(pilot)
        before = shown(app)
        await press(pilot, "u")
        assert shown(app) == before
        assert "•" not in axis_of(plots_on(app)[0])


async def test_a_poor_terminal_has_its_own_signs(log_dir: Path) -> None:
    app = app_of(log_dir, unicode=False)
    async with app.run_test(size=NORMAL) as pilot:
        await until(pilot, lambda: app.listed)
        await pilot.press("enter")
        await until(pilot, lambda: "o unit, = candidates" in text_of(app))
        assert text_of(app).isascii()


async def test_a_resumed_cascade_has_each_unit_once(tmp_path: Path) -> None:
    log_dir, checkpoint = tmp_path / "log", ("--id", "7", "--checkpoint", str(tmp_path / "checkpoint"))
    train(log_dir, *checkpoint, "--stop-after-units", "2")
    train(log_dir, *checkpoint, "--resume")
    app = app_of(log_dir)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, app)
        axis = axis_of(plots_on(app)[0])
        assert (axis.count("•"), axis.count("↺")) in {(UNITS, 1), (UNITS - 1, 1)}, (
            "one may lie under the other"
        )
        await press(pilot, *"uuuuu")
        assert shown(app) == (ADDED[-1], LAST)


async def test_a_cascade_is_followed_while_it_grows(writer: LogWriter) -> None:
    writer.start("live", ago_s=100)
    for step in range(400):
        writer.log("live", {"loss": 1 / (step + 1)}, step)
    grow(writer, "live", 1)
    app = app_on(writer)
    async with app.run_test(size=NORMAL) as pilot:
        await opened(pilot, app)
        assert plots_on(app)[0].phases is False, "no metric of candidates: units alone"
        await press(pilot, "U")
        assert shown(app) == (150, 399)
        for step in range(400, 700):
            writer.now_ns += SECOND_NS
            writer.log("live", {"loss": 0.1}, step)
        await until(pilot, lambda: shown(app) == (150, 699))
        assert "unit 1–" in text_of(app)
        assert "new" not in lines_of(app)[3]
        grow(writer, "live", 3)
        writer.log("live", {"loss": 0.1}, 700)
        await until(pilot, lambda: axis_of(plots_on(app)[0]).count("•") == 3)
        for expected in ((150, 300), (300, 450), (450, 700)):
            await press(pilot, "u")
            assert shown(app) == expected


async def test_without_a_cascade_the_keys_are_nobodys(writer: LogWriter) -> None:
    writer.start("plain", ago_s=100)
    for step in range(40):
        writer.log("plain", {"loss": 1.0}, step)
    app = app_on(writer)
    async with app.run_test(size=NORMAL) as pilot:
        await until(pilot, lambda: app.listed)
        await pilot.press("enter")
        await until(pilot, lambda: plots_on(app))
        await press(pilot, "u", "U")
        assert shown(app) == (0, 39)
        assert "unit" not in text_of(app)
        await press(pilot, "question_mark")
        assert "hidden unit to the next" not in text_of(app)


async def test_another_machine_sees_the_same(writer: LogWriter, keyspace5: Settings, tmp_path: Path) -> None:
    """An empty log directory: marks and shading come from Cassandra's snapshots and pages."""
    write_cascade(writer, "pool-8", 6)
    writer.end("pool-8")
    seen: list[tuple[str, list[list[bool]]]] = []
    drain(writer.log_dir, keyspace5)
    elsewhere = LogWriter(tmp_path / "empty", writer.now_ns)
    for app in (app_on(writer), app_over(elsewhere, keyspace5)):
        async with app.run_test(size=NORMAL) as pilot:
            await opened(pilot, app)
            await until(pilot, lambda app=app: plots_on(app)[0].phases)
            await press(pilot, "u", "u")
            (drawn,) = plots_on(app)
            shaded = [[part.shaded for part in row for _ in part.text] for row in drawn.rows]
            seen.append((axis_of(drawn), shaded))
        app.source.close()
    assert seen[0] == seen[1]


def test_show_draws_and_says_it(log_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANOPY_DIR", str(log_dir))
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(canopy, ["show", "cascade", "--plain"]).output
    assert f"hidden unit {UNITS} added at step {ADDED[-1]}" in shown
    assert "\no unit, = candidates\n" in shown
    axis = next(line for line in shown.splitlines() if line.startswith("       +--"))
    assert axis.count("o") == UNITS
    assert axis.count("==") >= UNITS
