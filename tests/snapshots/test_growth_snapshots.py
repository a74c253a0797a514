"""A cascade-correlation run: its units, where their candidates were trained, what lies between two units.

Look at each picture before updating it: ``pytest tests/snapshots --snapshot-update``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.cascade import write_cascade
from helpers.pictures import NARROW, NORMAL, WIDE, Snapshot, shoot
from helpers.screenlogs import LogWriter
from helpers.screens import app_on

LEGEND = "• unit, ━ candidates"


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    writer = LogWriter(tmp_path / "log")
    yield writer
    writer.close()


@pytest.mark.parametrize("size", [WIDE, NORMAL], ids=["120x40", "80x24"])
def test_growing(snap_compare: Snapshot, writer: LogWriter, size: tuple[int, int]) -> None:
    """A mark a unit, and shading where candidates were trained, on every chart."""
    shoot(snap_compare, app_on(writer, open_run=write_cascade(writer, "pool-8", 12)), size, says=LEGEND)


def test_between_two_units(snap_compare: Snapshot, writer: LogWriter) -> None:
    """From one unit to the next: the outputs learn, then the candidates; the curve of few points is whole."""
    app = app_on(writer, open_run=write_cascade(writer, "pool-8", 12))
    shoot(snap_compare, app, WIDE, "f", *"uuuuu", says="units 4–5")


def test_in_a_narrow_terminal(snap_compare: Snapshot, writer: LogWriter) -> None:
    app = app_on(writer, open_run=write_cascade(writer, "pool-8", 12))
    shoot(snap_compare, app, NARROW, "U", says="unit 12–")


def test_light_theme(snap_compare: Snapshot, writer: LogWriter) -> None:
    app = app_on(writer, open_run=write_cascade(writer, "pool-8", 6))
    shoot(snap_compare, app, NORMAL, lambda: setattr(app, "theme", "canopy-light"), says=LEGEND)
