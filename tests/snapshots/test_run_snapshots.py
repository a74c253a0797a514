"""The Run screen as pictures: the real app on a log that the real journal wrote, its clock standing still.

Look at each picture before updating it: ``pytest tests/snapshots --snapshot-update``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from helpers.onerun import RECORDS, acknowledge, grow, write_run
from helpers.pictures import NARROW, NORMAL, WIDE, Snapshot, shoot
from helpers.screenlogs import LogWriter, falling
from helpers.screens import app_on, app_over
from helpers.syncing import ship_what_is_there

from canopy_tui.app import CanopyApp
from wal.link import Target
from wal.merged import MergedSource
from wal.settings import Settings
from wal.source import Connection

pytestmark = pytest.mark.usefixtures("utc")

NAME = "cascade-7"


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    writer = LogWriter(tmp_path / "log")
    yield writer
    writer.close()


@pytest.mark.parametrize("size", [WIDE, NORMAL, NARROW], ids=["120x40", "80x24", "50x20"])
def test_running(snap_compare: Snapshot, writer: LogWriter, size: tuple[int, int]) -> None:
    """A live run: a grid, a chart above the list of metrics, one chart."""
    shoot(snap_compare, app_on(writer, open_run=write_run(writer, NAME)), size)


def test_chart_in_full(snap_compare: Snapshot, writer: LogWriter) -> None:
    """One chart has the whole screen and its footer."""
    shoot(snap_compare, app_on(writer, open_run=write_run(writer, NAME)), WIDE, "down", "tab", "f",
          says="points → ")  # fmt: skip


def test_done(snap_compare: Snapshot, writer: LogWriter) -> None:
    """An ended run: no ETA, its age."""
    run_id = writer.start("baseline", ago_s=7200)
    writer.log_curves("baseline", {"val/loss": falling(200), "val/err": falling(200, 3)}, lasting_s=3000)
    writer.end("baseline", ago_s=4200)
    shoot(snap_compare, app_on(writer, open_run=run_id), NORMAL)


def test_failed_with_nan(snap_compare: Snapshot, writer: LogWriter) -> None:
    """A run that diverged: NaN and infinities are marked in red where they happened."""
    run_id = write_run(writer, NAME, bad=(9.0, 60.0, math.inf, -math.inf, *[math.nan] * 300))
    writer.end(NAME, "failed", 1)
    shoot(snap_compare, app_on(writer, open_run=run_id), NORMAL, "j", "j", says="NaN")


def test_nan_in_the_grid(snap_compare: Snapshot, writer: LogWriter) -> None:
    """The same among the others, with a spike that the axis leaves out."""
    run_id = write_run(writer, NAME, bad=(60.0, math.inf, -math.inf, *[math.nan] * 40))
    shoot(snap_compare, app_on(writer, open_run=run_id), WIDE)


@pytest.mark.parametrize("size", [WIDE, NORMAL], ids=["120x40", "80x24"])
def test_offline_with_an_unshipped_tail(
    snap_compare: Snapshot, writer: LogWriter, size: tuple[int, int]
) -> None:
    """Cassandra has gone away: what it lacks is drawn on top in its own style."""
    run_id = write_run(writer, NAME)
    acknowledge(writer.log_dir, writer.journals[NAME].stream_id, RECORDS * 3 // 4)
    shoot(snap_compare, _offline_app(writer, run_id), size, says="offline")


def test_up(snap_compare: Snapshot, writer: LogWriter, keyspace5: Settings) -> None:
    """All of a live run is in a real Cassandra, which draws it."""
    run_id = write_run(writer, NAME)
    ship_what_is_there(writer.log_dir, keyspace5)
    app = app_over(writer, keyspace5, open_run=run_id)
    shoot(snap_compare, app, NORMAL, says="127.0.0.1:9042 up")


def test_catching_up(snap_compare: Snapshot, writer: LogWriter, keyspace5: Settings) -> None:
    """A real Cassandra lacks the newest 1,000 records: they are drawn from the log, in their own style."""
    run_id = write_run(writer, NAME, records=3000)
    ship_what_is_there(writer.log_dir, keyspace5)
    for step in range(3000, 4000):
        writer.log(NAME, {"train/loss": 0.3, "grad/norm": 1.4, "val/acc": 0.98}, step)
    app = app_over(writer, keyspace5, open_run=run_id)
    shoot(snap_compare, app, WIDE, says="catching up 1,000 records")


def _offline_app(writer: LogWriter, run_id: UUID) -> CanopyApp:
    nowhere = Target(
        Settings(), None, Connection.OFFLINE, "the connection was refused", "It is tried again by itself"
    )
    source = MergedSource(writer.log_dir, find=lambda: nowhere, clock_ns=writer.clock_ns)
    return CanopyApp(source, log_dir=writer.log_dir, clock_ns=writer.clock_ns, open_run=run_id)


def test_hostile_names(snap_compare: Snapshot, writer: LogWriter) -> None:
    """Markup, escape sequences and ten thousand characters are text."""
    names = ("[/x]", "[@click=app.quit]y[/]", "\x1b[2J\x1b]0;owned\x07loss", "訓練/損失", "x" * 10_000)
    run_id = writer.start("[bold red]" + "🏳️‍🌈" * 40 + "\x1b[2J", project="[/p]", ago_s=600)
    writer.log_curves(
        "[bold red]" + "🏳️‍🌈" * 40 + "\x1b[2J",
        {name: falling(40, place) for place, name in enumerate(names)},
        lasting_s=500,
    )
    shoot(snap_compare, app_on(writer, open_run=run_id), NORMAL)


def test_config(snap_compare: Snapshot, writer: LogWriter) -> None:
    shoot(snap_compare, app_on(writer, open_run=write_run(writer, NAME)), NORMAL, "2", says="tanh")


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["120x40", "50x20"])
def test_topology(snap_compare: Snapshot, writer: LogWriter, size: tuple[int, int]) -> None:
    """The cascade after each unit, as a ladder of shaded weights."""
    run_id = write_run(writer, NAME)
    grow(writer, NAME, 9)
    shoot(snap_compare, app_on(writer, open_run=run_id), size, "3", "j", says="8 units")


def test_ascii(snap_compare: Snapshot, writer: LogWriter) -> None:
    """A locale that is not UTF-8."""
    run_id = write_run(writer, NAME, bad=(math.nan,))
    shoot(snap_compare, app_on(writer, open_run=run_id, unicode=False), NORMAL)
