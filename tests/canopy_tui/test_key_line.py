"""The last line of every screen: quit and help are there at any width."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.screenlogs import LogWriter, falling
from helpers.screens import app_on, lines_of, settled, until
from hypothesis import given
from hypothesis import strategies as st

from canopy_tui.app import CanopyApp
from canopy_tui.widgets.key_line import ALWAYS, KeyLine, fitting

KEYS = st.lists(st.tuples(st.sampled_from(["open", "sort", "back", *ALWAYS]), st.integers(2, 15)))


@given(KEYS, st.integers(0, 120))
def test_the_least_needed_gives_way_and_the_way_out_never(keys: list[tuple[str, int]], width: int) -> None:
    shown = fitting(keys, width)
    assert all(kept for (action, _), kept in zip(keys, shown, strict=True) if action in ALWAYS)
    used = sum(cells for (_, cells), kept in zip(keys, shown, strict=True) if kept)
    pairs = zip(keys, shown, strict=True)
    other = [(cells, kept) for (action, cells), kept in pairs if action not in ALWAYS]
    assert used <= width or not any(kept for _, kept in other)
    assert [kept for _, kept in other] == sorted((kept for _, kept in other), reverse=True), (
        "the last go first"
    )
    lost = [cells for cells, kept in other if not kept]
    assert not lost or used + lost[0] > width, "nothing gives way without need"


@pytest.mark.parametrize("width", [30, 50, 80])
async def test_every_screen_says_how_to_leave_it(tmp_path: Path, width: int) -> None:
    writer = LogWriter(tmp_path / "log")
    for name in ("first", "second"):
        writer.start(name)
        writer.log_curves(name, {"loss": falling(30)}, lasting_s=60)
    app = app_on(writer)
    async with app.run_test(size=(120, 20)) as pilot:
        await until(pilot, lambda: app.listed)
        for key in ("", "enter", "c"):
            if key:
                await pilot.press(key)
            await settled(pilot)
            await pilot.resize_terminal(width, 20)
            await until(pilot, lambda: _says_the_way_out(app))
            await pilot.resize_terminal(120, 20)
            await until(pilot, lambda: "Compare" in lines_of(app)[-1] or "Differences" in lines_of(app)[-1])
    writer.close()


@pytest.fixture
def app(tmp_path: Path) -> Iterator[CanopyApp]:
    """The app over a log of one run."""
    writer = LogWriter(tmp_path / "log")
    writer.start("only")
    writer.log_curves("only", {"loss": falling(30)}, lasting_s=60)
    yield app_on(writer)
    writer.close()


async def test_a_key_can_be_clicked_and_says_what_it_does(app: CanopyApp) -> None:
    async with app.run_test(size=(120, 20)) as pilot:
        await until(pilot, lambda: app.listed and "Open" in lines_of(app)[-1])
        keys = app.screen.query_one(KeyLine)
        place = lines_of(app)[-1].index("Open")
        await pilot.hover(KeyLine, offset=(place, 0))
        assert keys.tooltip == "Open the run"
        await pilot.hover(KeyLine, offset=(119, 0))
        assert keys.tooltip is None
        await pilot.click(KeyLine, offset=(place, 0))
        await until(pilot, lambda: "esc Back" in lines_of(app)[-1])
        await pilot.click(KeyLine, offset=(lines_of(app)[-1].index("esc"), 0))
        await until(pilot, lambda: "Open" in lines_of(app)[-1])


async def test_the_keys_are_those_of_what_has_the_focus(app: CanopyApp) -> None:
    async with app.run_test(size=(120, 20)) as pilot:
        await until(pilot, lambda: app.listed and "Open" in lines_of(app)[-1])
        await pilot.press("slash")
        await until(pilot, lambda: "Open" not in lines_of(app)[-1])
        await pilot.press("escape")
        await until(pilot, lambda: "Open" in lines_of(app)[-1])


def _says_the_way_out(app: CanopyApp) -> bool:
    last = lines_of(app)[-1]
    return "q Quit" in last and "? Help" in last and len(last) <= app.size.width
