"""One run on the screen: the real app on a log that the real journal wrote."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from helpers.onerun import RECORDS, acknowledge, grow, write_run
from helpers.screenlogs import SECOND_NS, LogWriter, falling
from helpers.screens import app_on, lines_of, settled, text_of, until
from textual._compositor import Compositor, LayoutUpdate

from canopy_tui.app import CanopyApp
from canopy_tui.chartlayout import Kind
from canopy_tui.screens.run import RunScreen
from canopy_tui.view import View
from canopy_tui.widgets.chart import Chart
from canopy_tui.widgets.run_tabs import CONFIG, TOPOLOGY

NAME = "cascade-7"
METRICS = ["val/loss", "train/loss", "grad/norm", "lr", "candidate/correlation", "val/acc"]
CHARTS = ["val/loss", "grad/norm", "lr", "candidate/correlation", "val/acc"]
"""By the leading metrics: train/loss shares the chart of val/loss."""

WIDE, NORMAL, NARROW = (120, 40), (80, 24), (50, 20)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    writer = LogWriter(tmp_path / "log")
    yield writer
    writer.close()


@pytest.fixture
def run_id(writer: LogWriter) -> UUID:
    return write_run(writer, NAME, bad=(math.nan, math.inf))


def run_screen(app: CanopyApp) -> RunScreen:
    assert isinstance(app.screen, RunScreen)
    return app.screen


def charts_on(app: CanopyApp) -> list[str]:
    """The metrics whose pictures are drawn on the screen."""
    return [
        chart.view.family.lead
        for chart in run_screen(app).query(Chart)
        if chart.display and chart.visible and chart.view is not None and chart.view.plot is not None
    ]


def head_of(app: CanopyApp) -> str:
    return " ".join(" ".join(lines_of(app)[:3]).split())


async def test_the_head_says_always_where_the_run_stands(writer: LogWriter, run_id: UUID) -> None:
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=NORMAL) as pilot:
        await until(pilot, lambda: charts_on(app))
        head = head_of(app)
        for words in ("● running", NAME, "step 1,199/4,000", "3 m 12 s", "6.263 steps/s", "ETA 7 m 27 s",
                      "best val/loss 0.3", "last record 0.4 s ago", "local only"):  # fmt: skip
            assert words in head


async def test_the_layout_follows_the_room(writer: LogWriter, run_id: UUID) -> None:
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: charts_on(app) == CHARTS)
        pane = run_screen(app).charts
        assert pane._layout.kind is Kind.GRID
        await pilot.resize_terminal(*NORMAL)
        await until(pilot, lambda: charts_on(app) == ["val/loss"])
        assert pane._layout.kind is Kind.LIST
        rows = [line.split()[0] for line in lines_of(app)[-8:-2]]
        assert [name.strip("★") or "val/loss" for name in rows] == METRICS
        await pilot.resize_terminal(*NARROW)
        await until(pilot, lambda: pane._layout.kind is Kind.ONE)
        await settled(pilot)
        assert "1 of 5" in text_of(app)
        assert charts_on(app) == ["val/loss"]


async def test_the_tail_is_followed_without_a_key(writer: LogWriter, run_id: UUID) -> None:
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=NORMAL) as pilot:
        await until(pilot, lambda: charts_on(app))
        writer.now_ns += SECOND_NS
        writer.log(NAME, {"val/loss": 0.1234}, 1500)
        await until(pilot, lambda: "val/loss ★  0.1234" in text_of(app))
        await until(pilot, lambda: "step 1,500/4,000" in head_of(app))
        assert "best val/loss 0.1234 @ 1,500" in head_of(app)
        writer.end(NAME, "failed", 3)
        await until(pilot, lambda: "✗ failed" in head_of(app))
        assert "exit code 3" in head_of(app)


async def test_a_run_that_has_fallen_silent_is_amber(writer: LogWriter, run_id: UUID) -> None:
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=NORMAL) as pilot:
        await until(pilot, lambda: charts_on(app))

        def tone_of(text: str) -> str:
            return next(
                piece.tone for line in run_screen(app).head._lines for piece in line if piece.text == text
            )

        assert tone_of("0.4 s ago") == ""
        writer.now_ns += 30 * SECOND_NS
        await until(pilot, lambda: "last record 30 s ago" in head_of(app))
        assert tone_of("30 s ago") == "waiting"


async def test_keys_move_through_the_metrics(writer: LogWriter, run_id: UUID) -> None:
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=NORMAL) as pilot:
        await until(pilot, lambda: charts_on(app) == ["val/loss"])
        for key, name in (("j", METRICS[1]), ("down", METRICS[2]), ("k", METRICS[1]), ("G", METRICS[5]),
                          ("j", METRICS[5]), ("g", METRICS[0]), ("up", METRICS[0]),
                          ("pagedown", METRICS[5])):  # fmt: skip
            await pilot.press(key)
            chart = CHARTS[0] if name == METRICS[1] else name
            await until(pilot, lambda chart=chart: charts_on(app) == [chart])
            assert run_screen(app).charts.selected == name
        await pilot.press("f")
        await until(pilot, lambda: run_screen(app).charts._layout.kind is Kind.ONE)
        await pilot.press("k")
        await until(pilot, lambda: charts_on(app) == [CHARTS[3]])
        await pilot.press("escape")
        await until(pilot, lambda: run_screen(app).charts._layout.kind is Kind.LIST)


async def test_keys_move_through_the_grid(writer: LogWriter, run_id: UUID) -> None:
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: charts_on(app) == CHARTS)
        pane = run_screen(app).charts
        for key, place in (
            ("tab", 1),
            ("j", 3),
            ("shift+tab", 2),
            ("down", 4),
            ("down", 4),
            ("k", 2),
            ("G", 4),
        ):
            await pilot.press(key)
            assert pane.selected == CHARTS[place]
        await pilot.press("enter")
        await until(pilot, lambda: charts_on(app) == [CHARTS[4]])
        assert "points → " in text_of(app)
        await pilot.press("f")
        await until(pilot, lambda: charts_on(app) == CHARTS)


async def test_more_charts_than_fit_come_in_pages(writer: LogWriter) -> None:
    run_id = writer.start("many", ago_s=60)
    names = [f"metric/{place:02}" for place in range(15)]
    writer.log_curves("many", {name: falling(20, place) for place, name in enumerate(names)}, lasting_s=50)
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: charts_on(app) == names[:6])
        assert "1–6 of 15" in text_of(app)
        await pilot.press("pagedown")
        await until(pilot, lambda: charts_on(app) == names[6:12])
        await pilot.press("G")
        await until(pilot, lambda: charts_on(app) == names[12:])
        assert "13–15 of 15" in text_of(app)
        await pilot.press("pageup")
        await until(pilot, lambda: charts_on(app) == names[6:12])


async def test_the_main_metric_is_the_projects_and_is_kept(
    writer: LogWriter, run_id: UUID, tmp_path: Path
) -> None:
    app = app_on(writer, open_run=run_id, view=View.load(tmp_path / "view.json"))
    async with app.run_test(size=NORMAL) as pilot:
        await until(pilot, lambda: charts_on(app))
        await pilot.press("G", "m")
        await until(pilot, lambda: "best val/acc" in head_of(app))
        assert View.load(tmp_path / "view.json").main_metrics == {"digits": "val/acc"}


async def test_tabs_and_the_way_back(writer: LogWriter, run_id: UUID) -> None:
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=NORMAL) as pilot:
        await until(pilot, lambda: charts_on(app))
        await pilot.press("2")
        await until(pilot, lambda: "model.activation tanh" in text_of(app))
        assert "The threshold is 0.1." in text_of(app)
        await pilot.press("slash", *"depth")
        await until(pilot, lambda: "model.activation" not in text_of(app))
        assert "model.depth" in text_of(app)
        await pilot.press("escape")
        await until(pilot, lambda: "model.activation" in text_of(app))
        await pilot.press("4")
        await until(pilot, lambda: str(writer.log_dir)[:20] in text_of(app))
        assert f"{RECORDS:,}" in text_of(app)
        assert "node-1" in text_of(app)
        await pilot.press("1")
        await until(pilot, lambda: "points → " in text_of(app))
        await pilot.press("h")
        await until(pilot, lambda: not isinstance(app.screen, RunScreen))


async def test_a_pane_comes_with_its_tab_even_if_that_is_opened_twice_at_once(
    writer: LogWriter, run_id: UUID
) -> None:
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=NORMAL) as pilot:
        await until(pilot, lambda: charts_on(app))
        tabs = run_screen(app).body
        assert list(tabs.children) == [tabs.charts]
        await asyncio.gather(tabs.open(CONFIG), tabs.open(TOPOLOGY), tabs.open(CONFIG))
        assert list(tabs.children) == [tabs.charts, tabs.config, tabs.topology]
        assert [one.display for one in tabs.children] == [False, True, False]
        assert tabs.config.has_focus_within


async def test_the_cascade_is_a_ladder(writer: LogWriter, run_id: UUID) -> None:
    grow(writer, NAME, 3)
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: charts_on(app))
        await pilot.press("3")
        await until(pilot, lambda: "2 inputs, 3 units, 1 output" in text_of(app))
        assert "i0 i1 h0 h1 h2" in text_of(app)
        await pilot.press("j")
        await until(pilot, lambda: "2 inputs, 2 units, 1 output" in text_of(app))
        grow(writer, NAME, 1)  # a newer snapshot moves the line, not the choice
        await until(pilot, lambda: len(run_screen(app).body.topology._rows) == 4)
        await settled(pilot)
        assert "2 inputs, 2 units, 1 output" in text_of(app)


async def test_a_run_without_topology_or_records_says_so(writer: LogWriter) -> None:
    run_id = writer.start("empty", ago_s=5)
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=NORMAL) as pilot:
        await until(pilot, lambda: "no records yet" in head_of(app))
        await until(pilot, lambda: "In the trainer: run.log({...})" in text_of(app))
        assert not {"f", "m"} & set(app.screen.active_bindings)
        await pilot.press("3")
        await until(pilot, lambda: "run.log_topology" in text_of(app))
        await pilot.press("2")
        await until(pilot, lambda: "wal.init(config=" in text_of(app))
        writer.log("empty", {"loss": 1.0}, 0)
        await pilot.press("1")
        await until(pilot, lambda: charts_on(app) == ["loss"])
        assert {"f", "m"} <= set(app.screen.active_bindings)


async def test_opened_from_the_list_the_first_reading_draws(writer: LogWriter, run_id: UUID) -> None:
    """What the list knows says which charts there will be; no reading is spent on finding out."""
    app = app_on(writer)
    async with app.run_test(size=NORMAL) as pilot:
        await until(pilot, lambda: app.listed)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and run_screen(app)._reading)
        reading = run_screen(app)._reading
        assert reading is not None
        assert list(reading.drawn) == ["val/loss"]
        assert list(reading.rows) == METRICS
        assert len(run_screen(app).query(Chart)) == 1


async def test_neighbours_without_leaving(writer: LogWriter, run_id: UUID) -> None:
    writer.start("older", ago_s=500)
    writer.log_curves("older", {"val/loss": falling(20)}, lasting_s=100)
    app = app_on(writer)
    async with app.run_test(size=NORMAL) as pilot:
        await until(pilot, lambda: len(app.listed) == 2)
        app.open_run(run_id)
        await until(pilot, lambda: NAME in head_of(app) and charts_on(app))
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and "older" in head_of(app))
        await pilot.press("right_square_bracket")  # the last one: stays
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and NAME in head_of(app))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, RunScreen))


async def test_what_is_not_shipped_has_its_own_style(writer: LogWriter, run_id: UUID) -> None:
    acknowledge(writer.log_dir, writer.journals[NAME].stream_id, 900)
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=NORMAL) as pilot:
        await until(pilot, lambda: "300 unshipped" in head_of(app))
        await until(pilot, lambda: "┅┅ not shipped yet" in text_of(app))
        axis = next(line for line in lines_of(app) if "└" in line)
        assert "─" in axis.split("┅")[0]
        assert set(axis[axis.index("┅") : -1]) == {"┅", "┬"}
        await pilot.press("4")
        await until(pilot, lambda: "local only, 300 records safe on disk" in text_of(app))


async def test_a_failed_reading_keeps_the_picture_and_says_so(writer: LogWriter, run_id: UUID) -> None:
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=NORMAL) as pilot:
        await until(pilot, lambda: charts_on(app))
        writer.end(NAME)
        shutil.rmtree(writer.log_dir)
        await until(pilot, lambda: run_screen(app).charts.has_class("-stale"))
        assert charts_on(app) == ["val/loss"]
        assert "not up to date" in text_of(app)


async def test_every_key_says_what_it_does(writer: LogWriter, run_id: UUID) -> None:
    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=NORMAL) as pilot:
        await until(pilot, lambda: charts_on(app))
        for tab in "1234":
            await pilot.press(tab)
            assert all(
                binding.binding.tooltip
                for key, binding in app.screen.active_bindings.items()
                if len(key) == 1 and not binding.binding.system
            )


async def test_a_poor_terminal_gets_ascii_only(writer: LogWriter) -> None:
    run_id = writer.start("訓練-é", ago_s=60, notes="a – b … 訓練", tags=("→",))
    writer.log_curves("訓練-é", {"損失": falling(20), "val/loss": falling(20)}, lasting_s=50)
    app = app_on(writer, open_run=run_id, unicode=False)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: len(charts_on(app)) == 2)
        for tab in "1234":
            await pilot.press(tab)
            await settled(pilot)
            assert text_of(app).isascii()


async def test_growth_paints_the_screen_in_parts(
    writer: LogWriter, run_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the whole of it, although the records to ship change all the time, here and on the list below."""
    whole = 0
    paint = Compositor.render_full_update

    def counting(self: Compositor, simplify: bool = False) -> LayoutUpdate:
        nonlocal whole
        whole += 1
        return paint(self, simplify)

    app = app_on(writer, open_run=run_id)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: charts_on(app) == CHARTS)
        await settled(pilot)
        writer.log(NAME, {"val/loss": 0.4}, 1400)  # what is left of the first paint goes with this one
        await until(pilot, lambda: "1,400" in head_of(app))
        await settled(pilot)
        monkeypatch.setattr(Compositor, "render_full_update", counting)
        before = app.store_status.unshipped
        writer.log(NAME, {"val/loss": 0.3}, 1500)
        await until(pilot, lambda: "1,500" in head_of(app) and app.store_status.unshipped != before)
        await pilot.pause()
        assert whole == 0
