"""The charts of a run as they are looked at: zoomed, panned away, at a cursor, on other axes.

Look at each picture before updating it: ``pytest tests/snapshots --snapshot-update``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.onerun import LASTING_S, RECORDS, curve, write_run
from helpers.pictures import NARROW, NORMAL, WIDE, Snapshot, shoot
from helpers.screenlogs import SECOND_NS, LogWriter
from helpers.screens import app_on

NAME = "cascade-7"


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    writer = LogWriter(tmp_path / "log")
    yield writer
    writer.close()


def test_zoomed(snap_compare: Snapshot, writer: LogWriter) -> None:
    """So close that every point stands for itself; all charts share the view."""
    shoot(snap_compare, app_on(writer, open_run=write_run(writer, NAME)), WIDE, *"iiiii")


def test_cursor(snap_compare: Snapshot, writer: LogWriter) -> None:
    """Every title says the value where the cursor is."""
    app = app_on(writer, open_run=write_run(writer, NAME))
    shoot(snap_compare, app, WIDE, "i", "i", *["ctrl+left"] * 4, says="step 1,1")


@pytest.mark.parametrize("size", [NORMAL, NARROW], ids=["80x24", "50x20"])
def test_cursor_on_several_points(snap_compare: Snapshot, writer: LogWriter, size: tuple[int, int]) -> None:
    """Of several points a range, and their mean where there is room."""
    app = app_on(writer, open_run=write_run(writer, NAME))
    shoot(snap_compare, app, size, *["tab"] * 2, *["ctrl+left"] * 2, says="steps ")


def test_log_y(snap_compare: Snapshot, writer: LogWriter) -> None:
    """Decades on the axis, and smoothing: the raw band stays faint behind the line."""
    app = app_on(writer, open_run=write_run(writer, NAME))
    shoot(snap_compare, app, WIDE, "f", "y", "+", "+", "+", "+", says="smoothed 0.9")


def test_smoothed(snap_compare: Snapshot, writer: LogWriter) -> None:
    """All charts of a grid are as smooth."""
    app = app_on(writer, open_run=write_run(writer, NAME))
    shoot(snap_compare, app, WIDE, "+", "+", "+", "+", "+", says="smoothed 0.95")


def test_time_of_day(snap_compare: Snapshot, writer: LogWriter) -> None:
    """The x axis in local time, with a cursor on it."""
    app = app_on(writer, open_run=write_run(writer, NAME))
    shoot(snap_compare, app, NORMAL, "x", "x", "left", "ctrl+left", says="Sep 21 14:1")


def test_time_since_the_start(snap_compare: Snapshot, writer: LogWriter) -> None:
    """A grid on relative time."""
    app = app_on(writer, open_run=write_run(writer, NAME))
    shoot(snap_compare, app, WIDE, "x", says="2 m")


@pytest.mark.parametrize("size", [WIDE, NORMAL, NARROW], ids=["120x40", "80x24", "50x20"])
def test_panned_away(snap_compare: Snapshot, writer: LogWriter, size: tuple[int, int]) -> None:
    """The view holds, and says how much is new and how it is followed again."""
    app = app_on(writer, open_run=write_run(writer, NAME))

    def grow_on() -> None:
        for step in range(RECORDS, RECORDS + 320):
            writer.log(NAME, {"train/loss": 0.3, "grad/norm": 1.4}, step)

    shoot(snap_compare, app, size, "i", "i", "H", "H", grow_on, says="▶ 320 new")


@pytest.mark.parametrize("ghosts", [True, False], ids=["ghosts", "none"])
def test_resumed(snap_compare: Snapshot, writer: LogWriter, ghosts: bool) -> None:
    """A run that went on 200 steps before where it had failed: the restart is marked, what it superseded is
    there for whoever asks."""
    run_id = write_run(writer, NAME)
    writer.resume(NAME)
    loss = curve(600, 0.45, 0.25, 0.02, 8)
    for i, value in enumerate(loss):
        writer.now_ns += int(LASTING_S * SECOND_NS / RECORDS)
        writer.log(NAME, {"train/loss": value, "grad/norm": 1.2 + value}, RECORDS - 200 + i)
    app = app_on(writer, open_run=run_id)
    shoot(
        snap_compare, app, NORMAL, "tab", "j", "i", *("A" if ghosts else ""), says="ghosts" if ghosts else ""
    )


def test_help(snap_compare: Snapshot, writer: LogWriter) -> None:
    """The keys, and what the charts mean."""
    app = app_on(writer, open_run=write_run(writer, NAME))
    shoot(snap_compare, app, (100, 70), "question_mark", says="Keys")
