"""What the screens show comes from Cassandra: the real app and commands against a real node."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from helpers.screenlogs import LogWriter, falling
from helpers.screens import lines_of, settled, text_of, until
from helpers.syncing import connect, drain, make_syncer, target_of
from textual.pilot import Pilot

from canopy_tui.app import CanopyApp
from canopy_tui.cli import canopy
from canopy_tui.screens.run import RunScreen
from canopy_tui.widgets.chart import Chart
from wal.link import Target
from wal.merged import MergedSource
from wal.settings import Settings

NAME = "cascade-7"
NORMAL, WIDE = (80, 24), (120, 40)
METRICS = ["val/loss", "train/loss", "lr"]
CONFIG = {"lr": 0.1, "units": {"kind": "tanh"}}


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    """A live run of 40 records, a step of ten apart; its clock stands still at the real time."""
    writer = LogWriter(tmp_path / "log", now_ns=time.time_ns())
    writer.start(NAME, ago_s=60, config=CONFIG, tags=("paper",))
    curves = {
        "val/loss": falling(40, 1),
        "lr": [0.1 - 0.002 * at for at in range(40)],
        "train/loss": falling(40, 2),
    }
    writer.log_curves(NAME, curves, lasting_s=59)
    yield writer
    writer.close()


@contextmanager
def syncing(log_dir: Path, settings: Settings) -> Iterator[None]:
    """Ship what is in the log and what comes, on a thread."""
    over = threading.Event()

    def work() -> None:
        syncer = make_syncer(log_dir, settings)
        while not over.is_set():
            syncer.wait(min(syncer.step().wake_in_s, 0.05))
        syncer.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def app_over(log_dir: Path, settings: Settings | None, writer: LogWriter, **options: Any) -> CanopyApp:
    """The app on a log directory, with this Cassandra or with none."""
    target = target_of(settings) if settings is not None else Target(Settings(), None)
    source = MergedSource(log_dir, find=lambda: target, clock_ns=writer.clock_ns)
    return CanopyApp(source, log_dir=log_dir, clock_ns=writer.clock_ns, **options)


async def on_screen(
    app: CanopyApp, size: tuple[int, int], look: Callable[[Pilot[Any]], Awaitable[None]]
) -> None:
    async with app.run_test(size=size) as pilot:
        await look(pilot)
    app.source.close()


def charts_on(app: CanopyApp) -> list[str]:
    """The metrics whose pictures are drawn on the screen."""
    if not isinstance(app.screen, RunScreen):
        return []
    return [
        metric.name
        for chart in app.screen.query(Chart)
        if chart.display and chart.visible and chart.view is not None and chart.view.plot is not None
        for metric in chart.view.metrics
    ]


def row_of(app: CanopyApp, metric: str) -> str:
    """The line of a metric that no chart draws."""
    return next((line for line in lines_of(app) if line.strip().startswith(f"{metric} ")), "")


def spark_in(line: str) -> str:
    return "".join(char for char in line if char in "▁▂▃▄▅▆▇█")


# -- a value that somebody changed ------------------------------------------------------------------


@pytest.fixture
def changed(writer: LogWriter, keyspace: Settings) -> Settings:
    """The run, ended and shipped; two of its records then changed by CQL."""
    journal = writer.journals[NAME]
    run_id, stream_id = journal.run.run_id, journal.stream.stream_id
    writer.end(NAME)
    drain(writer.log_dir, keyspace)
    store = connect(target_of(keyspace))
    for seq, values in (
        (7, {"val/loss": -777.0, "train/loss": -555.0, "lr": 0.09}),
        (40, {"val/loss": 0.4321, "train/loss": 0.1234, "lr": 0.25}),
    ):
        store.session.write(
            f"UPDATE {keyspace.keyspace}.training_metrics USING TIMESTAMP {2**62} SET values = ? "
            "WHERE run_id = ? AND stream = ? AND chunk = 0 AND seq = ?",
            [values, run_id, stream_id, seq],
        )
    store.close(wait=True)
    return keyspace


def the_run(writer: LogWriter) -> UUID:
    return UUID(next(path.name for path in writer.log_dir.iterdir() if path.is_dir()))


async def test_a_changed_value_is_on_run(writer: LogWriter, changed: Settings) -> None:
    """In the chart's title, in the rows that no chart draws, in their sparklines, and in the head."""

    async def look(pilot: Pilot[Any]) -> None:
        app = pilot.app
        assert isinstance(app, CanopyApp)
        await until(pilot, lambda: "val/loss ★  0.4321  best -777 @ 60" in text_of(app))
        await until(pilot, lambda: "best val/loss -777 @ 60" in text_of(app))
        await until(pilot, lambda: row_of(app, "train/loss").split()[-3:] == ["0.1234", "-555", "60"])
        await until(pilot, lambda: row_of(app, "lr").split()[-2] == "0.25")
        lowest = spark_in(row_of(app, "train/loss"))
        assert lowest.index("▁") == pytest.approx(len(lowest) * 6 / 39, abs=1)
        assert spark_in(row_of(app, "lr"))[-1] == "█"

    await on_screen(app_over(writer.log_dir, changed, writer, open_run=the_run(writer)), NORMAL, look)


async def test_a_changed_value_is_in_the_preview(writer: LogWriter, changed: Settings) -> None:
    async def look(pilot: Pilot[Any]) -> None:
        app = pilot.app
        assert isinstance(app, CanopyApp)
        await until(pilot, lambda: "-555" in text_of(app))
        shown = "\n".join(lines_of(app)[-15:])
        assert "-777" in shown
        assert "0.25" in shown
        assert "-500" in shown  # the curve's axis reaches down to it

    await on_screen(app_over(writer.log_dir, changed, writer), WIDE, look)


def test_a_changed_value_is_in_canopy_show(
    writer: LogWriter, changed: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    look_at(monkeypatch, tmp_path, writer.log_dir, changed)
    run = json.loads(show("--json", NAME))
    metrics = {metric["name"]: metric for metric in run["metrics"]}
    assert (run["main_metric"], run["last"], run["best"], run["best_step"]) == ("val/loss", 0.4321, -777, 60)
    assert (metrics["val/loss"]["min"], metrics["val/loss"]["last"]) == (-777, 0.4321)
    assert (metrics["train/loss"]["best"], metrics["train/loss"]["best_step"]) == (-555, 60)
    assert (metrics["lr"]["max"], metrics["lr"]["max_step"]) == (0.25, 390)
    page = show("--plain", NAME)
    assert "val/loss: last 0.4321 at step 390; best -777 at step 60" in page
    (row,) = (line for line in page.splitlines() if line.startswith("train/loss "))
    assert row.split()[-2:] == ["0.1234", "-555"]


def look_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log_dir: Path, settings: Settings) -> None:
    """Have commands read this log directory and this Cassandra."""
    monkeypatch.chdir(tmp_path)
    for name, value in (
        ("CANOPY_DIR", log_dir),
        ("CASCOR_CASSANDRA_CONTACT_POINTS", settings.contact_points[0]),
        ("CASCOR_CASSANDRA_PORT", settings.port),
        ("CASCOR_CASSANDRA_KEYSPACE", settings.keyspace),
    ):
        monkeypatch.setenv(name, str(value))


def show(*arguments: str) -> str:
    result = CliRunner().invoke(canopy, ["show", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


# -- another machine --------------------------------------------------------------------------------


async def test_another_machine_sees_it_whole(writer: LogWriter, keyspace5: Settings, tmp_path: Path) -> None:
    """An empty log directory: the list, every chart, the config, and what is logged meanwhile."""
    at_home: list[str] = []

    async def home(pilot: Pilot[Any]) -> None:
        app = pilot.app
        assert isinstance(app, CanopyApp)
        await until(pilot, lambda: charts_on(app) == METRICS)
        await settled(pilot)
        at_home.extend(pictures(app))

    async def elsewhere(pilot: Pilot[Any]) -> None:
        app = pilot.app
        assert isinstance(app, CanopyApp)
        await until(pilot, lambda: lines_of(app)[2].split()[-2:] == ["✓", "paper"])
        row = lines_of(app)[2]
        assert f"● running {NAME}" in row
        assert spark_in(row)
        await pilot.press("enter")
        await until(pilot, lambda: charts_on(app) == METRICS)
        await until(pilot, lambda: pictures(app) == at_home)
        await until(pilot, lambda: "all shipped" in text_of(app))
        writer.log(NAME, {"val/loss": 0.0123, "lr": math.nan}, 400)
        await until(pilot, lambda: "val/loss ★  0.0123  best 0.0123 @ 400" in text_of(app))
        await until(pilot, lambda: "1 NaN" in text_of(app))
        await pilot.press("2")
        await until(pilot, lambda: "units.kind tanh" in text_of(app))
        assert "paper" in text_of(app)
        await pilot.press("4")
        await until(pilot, lambda: "not on this machine" in text_of(app))

    run_id = writer.journals[NAME].run.run_id
    await on_screen(app_over(writer.log_dir, None, writer, open_run=run_id), WIDE, home)
    with syncing(writer.log_dir, keyspace5):
        await on_screen(app_over(tmp_path / "empty", keyspace5, writer), WIDE, elsewhere)


def pictures(app: CanopyApp) -> list[str]:
    """The charts as text, titles and axes included."""
    return [line for line in lines_of(app) if any(0x2800 < ord(char) < 0x2900 for char in line)]


# -- an unreadable log ------------------------------------------------------------------------------


async def test_a_shipped_run_opens_while_its_log_cannot_be_read(
    writer: LogWriter, keyspace5: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.end(NAME)
    drain(writer.log_dir, keyspace5)
    log_dir = tmp_path / "unreadable"
    log_dir.symlink_to(log_dir)  # to everybody, root included: it leads nowhere but to itself

    async def look(pilot: Pilot[Any]) -> None:
        app = pilot.app
        assert isinstance(app, CanopyApp)
        await until(pilot, lambda: len(app.listed) == 1)
        await until(pilot, lambda: "cannot be read" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: charts_on(app) == METRICS)
        assert "✓ done" in text_of(app)
        await pilot.press("2")
        await until(pilot, lambda: "units.kind tanh" in text_of(app))

    await on_screen(app_over(log_dir, keyspace5, writer), WIDE, look)
    look_at(monkeypatch, tmp_path, log_dir, keyspace5)
    assert f"{NAME}\n" in show("--plain", NAME)
