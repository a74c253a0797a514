"""The run list, key by key: the real app on a log that the real journal wrote."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.screenlogs import LogWriter, falling, rising
from helpers.screens import app_on, lines_of, runs_screen, settled, text_of, until

from canopy_tui.app import CanopyApp
from canopy_tui.screens.choose import ChooseScreen
from canopy_tui.screens.help import HelpScreen
from canopy_tui.view import View

pytestmark = pytest.mark.usefixtures("utc")


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    """Four runs in one project; from the newest: live, good, diverged, poor."""
    writer = LogWriter(tmp_path / "log")
    for name, ago_s, loss in (
        ("poor", 9000, falling(40, 1, floor=0.9)),
        ("diverged", 7200, [*falling(30, 2), *[math.nan] * 10]),
        ("good", 5400, falling(40, 3, floor=0.1)),
    ):
        writer.start(name, ago_s=ago_s, tags=("sweep",) if name == "good" else ())
        writer.log_curves(name, {"train/loss": loss, "val/loss": loss, "acc": rising(40)}, lasting_s=600)
        writer.end(name, ago_s=ago_s - 600)
    writer.start("live", ago_s=120)
    writer.log_curves("live", {"train/loss": falling(20, 4), "val/loss": falling(20, 5)}, lasting_s=118)
    yield writer
    writer.close()


def names_on(app: CanopyApp) -> list[str]:
    """The names on the screen, from the top."""
    known = ("live", "good", "diverged", "poor", "new", "crowd")
    words = [line.replace("▌", " ").split() for line in lines_of(app)]
    return [line[2] for line in words if len(line) > 2 and line[2].startswith(known)]


def cursor_on(app: CanopyApp) -> str:
    row = runs_screen(app).table.row
    return row.name if row is not None else ""


async def test_rows_say_what_is(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        assert names_on(app) == ["live", "good", "diverged", "poor"]
        header, live, _, diverged = lines_of(app)[1:5]
        assert header.split() == ["state", "name", "val/loss", "last", "best", "step", "age", "sync"]
        assert live.split()[:3] == ["●", "running", "live"]
        assert "NaN" in diverged
        assert "×" in diverged
        assert live.endswith("local")
        assert "local only" in text_of(app)


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ("j", "good"), ("down", "good"), ("j j k", "good"), ("down down up", "good"), ("G", "poor"),
        ("end", "poor"), ("G g", "live"), ("end home", "live"), ("pagedown", "poor"), ("G pageup", "live"),
        ("k", "live"),
    ],
)  # fmt: skip
async def test_moving(writer: LogWriter, keys: str, name: str) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        await pilot.press(*keys.split())
        await pilot.pause()
        assert cursor_on(app) == name


@pytest.mark.parametrize("key", ["enter", "l"])
async def test_opens_the_run(writer: LogWriter, key: str) -> None:
    from canopy_tui.screens.run import RunScreen

    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        await pilot.press("j", key)
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        assert isinstance(app.screen, RunScreen)
        assert app.screen.run_id == app.listed[1].run_id
        assert app.neighbour(app.screen.run_id, -1) == app.listed[0].run_id
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is runs_screen(app))


async def test_filters_as_one_types(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        await pilot.press("slash", *"go")
        await pilot.pause()
        assert names_on(app) == ["good"]
        assert "1 of 4" in text_of(app)
        await pilot.press("enter", "j")  # the letters belong to the list again
        assert cursor_on(app) == "good"
        await pilot.press("escape")
        await pilot.pause()
        assert names_on(app) == ["live", "good", "diverged", "poor"]


async def test_letters_typed_into_the_filter_do_nothing_else(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        await pilot.press("slash", *"qsm")
        await pilot.pause()
        assert app.screen is runs_screen(app)
        assert runs_screen(app).filter_bar.text == "qsm"
        assert "No run matches" in text_of(app)
        assert "esc clears the filter" in text_of(app)
        await pilot.press("escape")
        await until(pilot, lambda: app.focused is runs_screen(app).table)
        await pilot.press("j")
        assert "No run matches" not in text_of(app)
        assert cursor_on(app) == "good"


async def test_a_bad_term_says_why_and_the_others_hold(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        await pilot.press("slash", *"state:done")
        await pilot.press("space", *"loss<")
        await pilot.pause()
        assert "loss< needs a number" in text_of(app)
        assert names_on(app) == ["good", "diverged", "poor"]
        await pilot.press("1")
        await pilot.pause()
        assert names_on(app) == ["good", "poor"]


async def test_a_metric_that_no_run_logs_is_named(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        await pilot.press("slash", *"los<1")
        await pilot.pause()
        assert "no run logs a metric 'los'" in text_of(app)


async def test_sorts_by_any_column(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, ChooseScreen))
        await pilot.press("j", "j", "j", "enter")  # start, state, name, last value
        await until(pilot, lambda: app.screen is runs_screen(app))
        await pilot.pause()
        assert names_on(app) == ["good", "live", "poor", "diverged"]  # NaN is never the best
        assert "last ▴" in lines_of(app)[1]
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, ChooseScreen))
        await pilot.press("s")  # the same key again: the other way round
        await until(pilot, lambda: app.screen is runs_screen(app))
        await pilot.pause()
        assert names_on(app) == ["poor", "live", "good", "diverged"]
        assert "last ▾" in lines_of(app)[1]


async def test_moves_the_sort_column(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        await pilot.press("full_stop", "full_stop")
        await pilot.pause()
        assert "name ▴" in lines_of(app)[1]
        assert names_on(app) == ["diverged", "good", "live", "poor"]
        await pilot.press("comma", "comma")
        await pilot.pause()
        assert names_on(app) == ["live", "good", "diverged", "poor"]
        assert "newest first" in lines_of(app)[0]


async def test_the_cursor_stays_on_its_run(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        await pilot.press("j", "j")
        assert cursor_on(app) == "diverged"
        writer.start("new", ago_s=10)
        await until(pilot, lambda: "new" in names_on(app))
        assert names_on(app)[0] == "new"
        assert cursor_on(app) == "diverged"
        await pilot.press("full_stop")
        await pilot.pause()
        assert cursor_on(app) == "diverged"


async def test_a_scrolled_list_stands_still_when_runs_appear(writer: LogWriter) -> None:
    for number in range(30):
        writer.start(f"crowd-{number}", ago_s=20_000 + number)
        writer.end(f"crowd-{number}", ago_s=19_000)
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        await pilot.press("G", "k", "k")
        await pilot.pause()
        before = names_on(app)
        writer.start("new", ago_s=10)
        await until(pilot, lambda: len(app.listed) == 35)
        await settled(pilot)
        assert names_on(app) == before


async def test_live_values_move(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        writer.log("live", {"val/loss": 0.0123}, step=4321)
        await until(pilot, lambda: "0.0123" in text_of(app))
        assert "4,321" in text_of(app)
        writer.end("live", "failed", 1)
        await until(pilot, lambda: "✗ failed" in text_of(app))


async def test_marks(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        await pilot.press("space", "j", "space")
        await pilot.pause()
        assert "2 marked" in lines_of(app)[0]
        assert [line[0] for line in lines_of(app)[2:5]] == ["▌", "▌", " "]
        await pilot.press("space")
        await pilot.pause()
        assert "1 marked" in lines_of(app)[0]


async def test_the_main_metric_is_chosen_and_kept(writer: LogWriter, tmp_path: Path) -> None:
    path = tmp_path / "view.json"
    app = app_on(writer, view=View.load(path))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, ChooseScreen))
        await pilot.press("slash", *"acc", "enter", "enter")
        await until(pilot, lambda: app.screen is runs_screen(app))
        await pilot.pause()
        assert "acc" in lines_of(app)[1].split()
    assert View.load(path).main_metrics == {"digits": "acc"}
    app = app_on(writer, view=View.load(path))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        assert "acc" in lines_of(app)[1].split()


async def test_refresh_reads_at_once(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        await settled(pilot)
        await pilot.press("r")
        await settled(pilot)
        assert names_on(app) == ["live", "good", "diverged", "poor"]


async def test_help_names_every_key_of_the_screen(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 60)) as pilot:
        await until(pilot, lambda: names_on(app))
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.pause()
        text = text_of(app)
        for _, binding, _, tooltip in runs_screen(app).active_bindings.values():
            if not binding.system:
                assert (tooltip or binding.tooltip) in text
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is runs_screen(app))


async def test_the_preview_shows_the_highlighted_run(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(130, 40)) as pilot:
        await until(pilot, lambda: names_on(app))
        await pilot.press("j")
        await until(pilot, lambda: any(0x2800 < ord(char) < 0x2900 for char in text_of(app)))
        text = text_of(app)
        assert "step" in text
        assert "this machine only" in text
        assert "sweep" in text
        await pilot.resize_terminal(100, 40)
        await pilot.pause()
        assert not runs_screen(app).preview.display


async def test_the_mouse_does_what_the_keys_do(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        table = runs_screen(app).table
        await pilot.click(table, offset=(5, 2))
        await pilot.pause()
        assert cursor_on(app) == "diverged"
        await pilot.click(runs_screen(app).header, offset=(13, 0))
        await pilot.pause()
        assert "name ▴" in lines_of(app)[1]


@pytest.mark.parametrize("key", ["y", "x", "plus", "minus", "0", "A"])
async def test_the_keys_of_a_chart_mean_nothing_in_the_list(writer: LogWriter, key: str) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        assert key not in app.screen.active_bindings


async def test_no_runs_yet(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "log")
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "No runs yet" in text_of(app))
        text = text_of(app)
        for words in ("import wal", "canopy demo", "canopy cassandra up", "log directory"):
            assert words in text
        writer.start("new", ago_s=1)
        await until(pilot, lambda: names_on(app) == ["new"])
        await until(pilot, lambda: app.focused is runs_screen(app).table)
    writer.close()


async def test_a_log_that_cannot_be_read_keeps_the_last_picture(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: names_on(app))
        moved = writer.log_dir.with_name("moved")
        writer.log_dir.rename(moved)
        writer.log_dir.write_text("not a directory")
        await until(pilot, lambda: "not up to date" in text_of(app))
        assert names_on(app) == ["live", "good", "diverged", "poor"]
        writer.log_dir.unlink()
        moved.rename(writer.log_dir)
        await until(pilot, lambda: "not up to date" not in text_of(app))
