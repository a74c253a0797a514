"""Runs beside each other as pictures: the real app on logs of the real journal, its clock standing still.

Look at each picture before updating it: ``pytest tests/snapshots --snapshot-update``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.screenlogs import LogWriter, falling, rising
from helpers.screens import app_on, settled, text_of, until
from textual.pilot import Pilot

from canopy_tui.app import CanopyApp

pytestmark = pytest.mark.usefixtures("utc")

WIDE, NORMAL, NARROW = (120, 40), (80, 24), (50, 20)
RUNS = 3


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    writer = LogWriter(tmp_path / "log")
    for number in range(RUNS):
        name = f"spiral-{number}"
        config = {"seed": number, "lr": 0.1 * 2**-number, "model": {"units": 8 + number, "kind": "cascor"}}
        writer.start(name, ago_s=900 - 200 * number, config=config)
        curves = {
            "train/loss": falling(300, number, floor=0.05),
            "val/loss": falling(300, number + 7, floor=0.1 + 0.2 * number),
            "val/acc": rising(300, number),
        }
        writer.log_curves(name, curves, lasting_s=300)
        writer.end(name)
    yield writer
    writer.close()


def shoot(
    snapshot: Callable[..., bool], app: CanopyApp, size: tuple[int, int], *keys: str, says: str
) -> None:
    async def run_before(pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: len(app.listed) == RUNS)
        for key in (*["space", "j"] * RUNS, *keys):
            await pilot.press(key)
            await settled(pilot)
        await until(pilot, lambda: says in text_of(app))
        await settled(pilot)

    run: Callable[[Pilot[Any]], Awaitable[None]] = run_before
    assert snapshot(app, terminal_size=size, run_before=run)


@pytest.mark.parametrize("size", [WIDE, NORMAL, NARROW], ids=["120x40", "80x24", "50x20"])
def test_overlay(snap_compare: Callable[..., bool], writer: LogWriter, size: tuple[int, int]) -> None:
    """Three runs on one axis: a colour each, train dashed, and what each says."""
    shoot(snap_compare, app_on(writer), size, "c", says="1,800 points")


def test_cursor(snap_compare: Callable[..., bool], writer: LogWriter) -> None:
    """What each run says at the cursor."""
    shoot(snap_compare, app_on(writer), WIDE, "c", "left", *["ctrl+left"] * 5, says="cursor")


@pytest.mark.parametrize("size", [WIDE, NORMAL], ids=["120x40", "80x24"])
def test_differences(snap_compare: Callable[..., bool], writer: LogWriter, size: tuple[int, int]) -> None:
    """The config keys that differ."""
    shoot(snap_compare, app_on(writer), size, "d", says="model.units")


def test_ascii(snap_compare: Callable[..., bool], writer: LogWriter) -> None:
    """A locale that is not UTF-8."""
    shoot(snap_compare, app_on(writer, unicode=False), NORMAL, "c", says="1,800 points")
