"""Pictures of the run list: the real app on a log that the real journal wrote, at a fixed time.

A picture is updated (``--snapshot-update``) only after a person has looked at it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.screenlogs import START_NS, LogWriter, crash, falling, on_host, rising
from helpers.screens import app_on, app_over, runs_screen, settled, text_of, until
from helpers.syncing import ship_what_is_there
from textual.pilot import Pilot
from textual.widgets import Input

from canopy_tui.app import CanopyApp
from wal.settings import Settings
from wal.source import Connection

SnapCompare = Callable[..., bool]

NAMES = (
    "[/x]",
    "[@click=app.quit]y[/]",
    "\x1b[2Jgone?",
    "\u202eleft",
    "訓練ラン-七",
    "🌲 canopy 🌲",
    "x" * 10_000,
    "a\nb\tc",
)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    """One project, every state."""
    writer = LogWriter(tmp_path / "log")
    hours = 3600.0
    crash(writer, "cascor-stale-6", host="gpu-2", ago_s=30 * hours, lasting_s=hours)
    crash(writer, "cascor-killed-5", ago_s=9 * hours, lasting_s=hours)
    for name, ago_h, curve, end in (
        ("baseline-with-a-long-name-seed-0007", 5, falling(120, 1, floor=0.31), ("done", 0)),
        ("cascor-oom-3", 4, falling(50, 2, floor=0.4), ("failed", 1)),
        ("diverged-lr-3e-1", 3, [*falling(70, 3), *[math.nan] * 30], ("done", 0)),
        ("cascor-sigmoid", 2, falling(900, 4, floor=0.021, noise=0.15), ("done", 0)),
    ):
        write(writer, name, ago_h * hours, curve)
        writer.end(name, *end, ago_s=(ago_h - 0.6) * hours)
    write(
        writer,
        "cascor-tanh-2",
        0.5 * hours,
        falling(300, 5, floor=0.08, noise=0.2),
        lasting_s=0.5 * hours - 2,
        config={"lr": 0.05, "units": {"max": 40, "kind": "tanh"}, "max_steps": 5000, "seed": 7},
        tags=("paper", "tanh"),
    )
    write(writer, "cascor-gauss-1", 90, falling(40, 6, floor=0.9), lasting_s=89)
    with on_host():
        yield writer
    writer.close()


def write(
    writer: LogWriter, name: str, ago_s: float, curve: list[float], lasting_s: float = 1800, **fields: Any
) -> None:
    """A run with a loss, an accuracy and a learning rate."""
    writer.start(name, ago_s=ago_s, **fields)
    count = len(curve)
    curves = {
        "train/loss": [value * 0.9 for value in curve],
        "val/loss": curve,
        "val/acc": rising(count),
        "lr": [0.05] * count,
    }
    writer.log_curves(name, curves, lasting_s=lasting_s)


def shows(
    *keys: str, text: str = "", also: Callable[[CanopyApp], object] | None = None
) -> Callable[[Pilot[Any]], Any]:
    """Wait for the list, press the keys, wait until all has been drawn (and ``text`` is there)."""

    async def run_before(pilot: Pilot[Any]) -> None:
        app = pilot.app
        assert isinstance(app, CanopyApp)
        await until(pilot, lambda: app.listed or "No runs yet" in text_of(app))
        if app.size.width < 120:
            await settled(pilot)
        else:
            await until(pilot, lambda: any(0x2800 < ord(char) < 0x2900 for char in text_of(app)))
        for one in app.screen.query(Input):
            one.cursor_blink = False
        await pilot.press(*keys)
        await settled(pilot)
        await until(pilot, lambda: text in text_of(app))
        if also is not None:
            await until(pilot, lambda: also(app))
        await settled(pilot)

    return run_before


def previewed(name: str) -> Callable[[CanopyApp], object]:
    """The preview holds the curve and the config of that run."""

    def holds(app: CanopyApp) -> object:
        preview = runs_screen(app).preview
        return preview.loaded is not None and preview.loaded.detail.row.name == name

    return holds


def test_every_state(writer: LogWriter, snap_compare: SnapCompare) -> None:
    assert snap_compare(app_on(writer), terminal_size=(80, 24), run_before=shows())


def test_narrow(writer: LogWriter, snap_compare: SnapCompare) -> None:
    assert snap_compare(app_on(writer), terminal_size=(50, 20), run_before=shows("j"))


def test_duration_and_tags(writer: LogWriter, snap_compare: SnapCompare) -> None:
    assert snap_compare(app_on(writer), terminal_size=(112, 24), run_before=shows("space", "j", "space"))


def test_preview_of_a_live_run(writer: LogWriter, snap_compare: SnapCompare) -> None:
    run_before = shows("j", also=previewed("cascor-tanh-2"))
    assert snap_compare(app_on(writer), terminal_size=(120, 40), run_before=run_before)


def test_preview_of_a_diverged_run(writer: LogWriter, snap_compare: SnapCompare) -> None:
    run_before = shows("j", "j", "j", also=previewed("diverged-lr-3e-1"))
    assert snap_compare(app_on(writer), terminal_size=(160, 45), run_before=run_before)


def test_filtered(writer: LogWriter, snap_compare: SnapCompare) -> None:
    run_before = shows("slash", *"cascor", "space", *"loss<0.3", text="4 of 8")
    assert snap_compare(app_on(writer), terminal_size=(80, 24), run_before=run_before)


def test_filter_without_a_match(writer: LogWriter, snap_compare: SnapCompare) -> None:
    run_before = shows("slash", *"tag:nothing", text="No run matches")
    assert snap_compare(app_on(writer), terminal_size=(80, 24), run_before=run_before)


def test_filter_that_means_nothing(writer: LogWriter, snap_compare: SnapCompare) -> None:
    run_before = shows("slash", *"stat:failed", text="did you mean")
    assert snap_compare(app_on(writer), terminal_size=(80, 24), run_before=run_before)


def test_sort_menu(writer: LogWriter, snap_compare: SnapCompare) -> None:
    run_before = shows("full_stop", "full_stop", "full_stop", "s", text="Sort by")
    assert snap_compare(app_on(writer), terminal_size=(80, 24), run_before=run_before)


def test_main_metric_chooser(writer: LogWriter, snap_compare: SnapCompare) -> None:
    run_before = shows("m", text="Main metric of")
    assert snap_compare(app_on(writer), terminal_size=(80, 24), run_before=run_before)


def test_help(writer: LogWriter, snap_compare: SnapCompare) -> None:
    assert snap_compare(
        app_on(writer), terminal_size=(80, 24), run_before=shows("question_mark", text="Keys")
    )


def test_nothing_yet(tmp_path: Path, snap_compare: SnapCompare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    writer = LogWriter(tmp_path / ".local" / "state" / "canopy")
    run_before = shows(text="No runs yet", also=lambda app: "Open" not in text_of(app))
    assert snap_compare(app_on(writer), terminal_size=(80, 24), run_before=run_before)


def test_offline(writer: LogWriter, snap_compare: SnapCompare) -> None:
    app = app_on(
        writer,
        target=(Connection.OFFLINE, "the managed node is stopped", "Start it with: canopy cassandra up"),
    )
    assert snap_compare(app, terminal_size=(120, 24), run_before=shows(text="offline"))


def test_up(writer: LogWriter, snap_compare: SnapCompare, keyspace5: Settings) -> None:
    """All is in a real Cassandra, that of the runs which go on too."""
    ship_what_is_there(writer.log_dir, keyspace5)
    run_before = shows(text="127.0.0.1:9042 up", also=lambda app: text_of(app).count("✓") == 11)
    assert snap_compare(app_over(writer, keyspace5), terminal_size=(80, 24), run_before=run_before)


def test_catching_up(writer: LogWriter, snap_compare: SnapCompare, keyspace5: Settings) -> None:
    """The same, and then 1,200 records that nobody ships."""
    ship_what_is_there(writer.log_dir, keyspace5)
    for step in range(400, 1600):
        writer.log("cascor-gauss-1", {"val/loss": 360 / step}, step)
    run_before = shows(text="catching up 1,200 records")
    assert snap_compare(app_over(writer, keyspace5), terminal_size=(80, 24), run_before=run_before)


def test_the_node_starts(writer: LogWriter, snap_compare: SnapCompare) -> None:
    app = app_on(writer, target=(Connection.STARTING, "41/66 MB", ""))
    assert snap_compare(app, terminal_size=(80, 24), run_before=shows(text="41/66 MB"))


def test_only_ascii(writer: LogWriter, snap_compare: SnapCompare) -> None:
    assert snap_compare(app_on(writer, unicode=False), terminal_size=(80, 24), run_before=shows("j", "space"))


def test_hostile_names(tmp_path: Path, snap_compare: SnapCompare) -> None:
    writer = LogWriter(tmp_path / "log")
    for place, name in enumerate(NAMES):
        writer.start(name, ago_s=600 + 60 * place, tags=(name,), notes=name, config={name: name})
        writer.log_curves(name, {"val/loss": falling(40, place)}, lasting_s=500)
    run_before = shows("j", also=previewed(NAMES[1]))
    assert snap_compare(app_on(writer), terminal_size=(130, 36), run_before=run_before)
    writer.close()


def test_many_projects_and_hosts(tmp_path: Path, snap_compare: SnapCompare) -> None:
    writer = LogWriter(tmp_path / "log")
    projects = (("spirals", "val/loss"), ("resnet-cifar10", "train/loss"), ("walker", "reward"))
    for place in range(24):
        project, metric = projects[place % 3]
        name = f"{project}-{place}"
        writer.start(name, project=project, host=("node-1", "gpu-box-02")[place % 2], ago_s=400 * (place + 1))
        curve = falling(60, place) if metric != "reward" else rising(60, place)
        writer.log_curves(name, {metric: curve}, lasting_s=300)
        writer.end(name, ago_s=400 * (place + 1) - 300)
    assert snap_compare(app_on(writer), terminal_size=(100, 24), run_before=shows("pagedown"))


def test_light_theme(writer: LogWriter, snap_compare: SnapCompare) -> None:
    from canopy_tui.view import View

    run_before = shows("j", also=previewed("cascor-tanh-2"))
    app = app_on(writer, view=View(theme="canopy-light"))
    assert snap_compare(app, terminal_size=(120, 36), run_before=run_before)


def test_the_clock_is_fixed(writer: LogWriter) -> None:
    assert writer.clock_ns() == START_NS
