"""What the user chose on screen, and the palette: kept, tolerant, harmless."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.screenlogs import LogWriter, falling
from helpers.screens import app_on, runs_screen, text_of, until

from canopy_tui.lens import RELATIVE, Lens, Window
from canopy_tui.view import View
from wal.source import XAxis


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    writer = LogWriter(tmp_path / "log")
    for name in ("alpha", "beta"):
        writer.start(name)
        writer.log_curves(name, {"val/loss": falling(20)}, lasting_s=60)
    yield writer
    writer.close()


def test_choices_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "view.json"
    view = View.load(path)
    view.choose_main_metric("digits", "acc")
    view.choose_main_metric("[/x]", "\x1b[2J")
    view.choose_theme("canopy-light")
    known = View.load(path)
    assert known.main_metrics == {"digits": "acc", "[/x]": "\x1b[2J"}
    assert known.theme == "canopy-light"
    known.choose_main_metric("digits", None)
    assert View.load(path).main_metrics == {"[/x]": "\x1b[2J"}
    assert [file.name for file in path.parent.iterdir()] == ["view.json"]


def test_how_charts_are_looked_at_is_kept_but_not_where(tmp_path: Path) -> None:
    path = tmp_path / "view.json"
    view = View.load(path)
    view.choose_lens("digits", Lens(RELATIVE, True, 0.9, True, Window(5, 1), 3.0))
    view.choose_lens("spirals", Lens(XAxis("metric", "lr")))
    known = View.load(path)
    assert known.lenses == {"digits": Lens(RELATIVE, True, 0.9), "spirals": Lens(XAxis("metric", "lr"))}


def test_a_lens_of_another_version_is_looked_through_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "view.json"
    odd = {"x": "phase", "metric": 3, "log": "yes", "smoothing": 0.123}
    path.write_text(
        json.dumps({"lenses": {"a": odd, "b": [], "c": {"x": "metric"}, "d": {"smoothing": 0.5}}})
    )
    assert View.load(path).lenses == {"a": Lens(), "c": Lens(), "d": Lens(smoothing=0.5)}
    path.write_text(json.dumps({"lenses": [1]}))
    assert View.load(path).lenses == {}


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "null", '"x"', "\x00", '{"main_metrics": 3, "theme": []}',
        '{"main_metrics": {"a": 1, "b": "c"}, "new": {}}', "[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "view.json"
    path.write_text(content)
    view = View.load(path)
    assert view.theme == ""
    assert view.main_metrics in ({}, {"b": "c"})
    view.choose_theme("canopy")
    assert json.loads(path.read_text())["theme"] == "canopy"


def test_a_place_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    view = View.load(tmp_path / "file" / "view.json")
    view.choose_theme("canopy")
    assert view.theme == "canopy"


async def test_the_theme_is_kept(writer: LogWriter, tmp_path: Path) -> None:
    view = View.load(tmp_path / "view.json")
    app = app_on(writer, view=view)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.listed)
        app.theme = "canopy-light"
        await until(pilot, lambda: View.load(tmp_path / "view.json").theme == "canopy-light")


async def test_the_palette_goes_to_a_run(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 30)) as pilot:
        await until(pilot, lambda: app.listed)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: app.screen is not runs_screen(app))
        await pilot.press(*"alpha")
        await until(pilot, lambda: "Run: alpha" in text_of(app))
        await pilot.press("down", "enter")
        await until(pilot, lambda: getattr(app.screen, "run_id", None) is not None)
        assert app.screen.run_id == next(row.run_id for row in app.listed if row.name == "alpha")  # type: ignore[attr-defined]


async def test_commands_of_others_run_in_the_background(writer: LogWriter) -> None:
    done = threading.Event()

    def fail() -> None:
        raise RuntimeError("[/x] the node would not die")

    commands = (("Demo: kill Cassandra", "kill -9", done.set), ("Demo: start it again", "up", fail))
    app = app_on(writer, extra_commands=commands)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await until(pilot, lambda: app.listed)
        for typed, command, condition in (
            ("kill", "Demo: kill", done.is_set),
            ("again", "Demo: start", lambda: "[/x] the node" in text_of(app)),
        ):
            await until(pilot, lambda: app.screen is runs_screen(app))
            await pilot.press("ctrl+p")
            await until(pilot, lambda: app.screen is not runs_screen(app))
            await pilot.press(*typed)
            await until(pilot, lambda command=command: command in text_of(app))
            await pilot.press("down", "enter")
            await until(pilot, condition)
