"""Text of a user is shown, never obeyed: not as markup, not as an escape sequence, not as an action."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.rows import NOW_NS, run_row
from helpers.screenlogs import LogWriter, falling
from helpers.screens import app_on, runs_screen, settled, text_of, until

from canopy_tui import format as fmt
from canopy_tui.charts.glyphs import BRAILLE
from canopy_tui.cli import canopy
from canopy_tui.inspector import config_lines, fact_lines, metric_lines

HOSTILE = {
    "closing tag": "[/x]",
    "link": "[@click=app.quit]y[/]",
    "style": "[bold red on white]x",
    "clear screen": "\x1b[2J\x1b[H",
    "title": "\x1b]0;owned\x07",
    "8-bit CSI": "\x9b2J",
    "line breaks": "a\nb\r\nc\td",
    "right to left": "\u202eevil\u202c \u05d0\u05d1\u05d2",
    "zero width": "a\u200b\u200d\ufeffb",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 run",
    "combining": "z" + "\u0301" * 500,
    "wide": "訓練" * 40,
    "long": "x" * 10_000,
    "null": "a\x00b",
    "variable": "$name ${name} {0} %s",
}

SIZES = ((80, 24), (130, 40), (50, 20))


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    """A run for each hostile text, which is its name, project, metric, tag, note, config key and value."""
    writer = LogWriter(tmp_path / "log")
    for place, text in enumerate(HOSTILE.values()):
        writer.start(
            text, project=text, tags=(text,), notes=text, group=text, ago_s=600 + place, host=text[:200],
            config={text: text, "nested": {text: [text]}},
        )  # fmt: skip
        writer.log_curves(text, {text: falling(20), "val/loss": falling(20)}, lasting_s=300)
    yield writer
    writer.close()


def assert_harmless(text: str) -> None:
    """No character of the screen moves a cursor, changes a mode or hides what stands behind it."""
    for char in text:
        assert char == "\n" or fmt.clean(char) == char, repr(char)


@pytest.mark.parametrize("size", SIZES)
async def test_on_the_run_list(writer: LogWriter, size: tuple[int, int]) -> None:
    app = app_on(writer)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.listed)
        assert len(app.listed) == len(HOSTILE)
        for _ in range(len(HOSTILE) if size[0] > 120 else 1):  # the preview shows each of them
            await settled(pilot)
            assert_harmless(text_of(app))
            await pilot.press("j")
        assert app.is_running


async def test_a_name_is_not_a_link(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 40)) as pilot:
        await until(pilot, lambda: app.listed)
        place = next(i for i, row in enumerate(app.listed) if row.name == HOSTILE["link"])
        for x in (12, 20, 30):
            await pilot.click(runs_screen(app).table, offset=(x, place))
        await pilot.pause()
        assert app.is_running
        assert "[@click" in text_of(app)


@pytest.mark.parametrize("size", SIZES)
async def test_on_every_other_screen(tmp_path: Path, size: tuple[int, int]) -> None:
    """The metric chooser and the run's own screen with its tabs, for one run made of all of it."""
    writer = LogWriter(tmp_path / "log")
    texts = list(HOSTILE.values())
    name = "".join(text[:12] for text in texts)
    config = {text: {text: [text]} for text in texts}
    writer.start(name, project=name, tags=texts, notes=name, group=name, ago_s=600, host=name, config=config)
    writer.log_curves(name, dict.fromkeys(texts, falling(20)), lasting_s=300)
    app = app_on(writer)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.listed)
        await pilot.press("m")
        await pilot.pause()
        assert_harmless(text_of(app))
        await pilot.press("escape", "enter")
        await until(pilot, lambda: app.screen is not runs_screen(app))
        for tab in "1234":
            await pilot.press(tab)
            await settled(pilot)
            assert_harmless(text_of(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is runs_screen(app))
    writer.close()


async def test_in_the_palette(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 40)) as pilot:
        await until(pilot, lambda: app.listed)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: app.screen is not runs_screen(app))
        for typed in ("run", "[", "x"):
            for char in typed:
                await pilot.press("left_square_bracket" if char == "[" else char)
            await pilot.pause(0.2)
            assert_harmless(text_of(app).replace("\u200b", ""))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is runs_screen(app))


async def test_in_the_filter(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.listed)
        for text in HOSTILE.values():
            await pilot.press("slash")
            runs_screen(app).filter_bar.set_text(text[:500] + " " + text[:20] + ":x")
            await pilot.pause()
            assert_harmless(text_of(app))
            await pilot.press("escape")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_in_the_lines_of_a_run(text: str) -> None:
    row = run_row(text, project=text, notes=text, tags=(text,), host=text, metrics={text: [1.0]})
    metrics = list(row.metrics.values())
    for lines in (
        fact_lines(row, NOW_NS, 60, True),
        metric_lines(row, metrics, 60, BRAILLE, True),
        config_lines({text: text, "a": {text: [text]}}, 60, True),
    ):
        for line in lines:
            drawn = "".join(piece.text for piece in line)
            assert_harmless(drawn)
            assert fmt.cells(drawn) <= 60


@pytest.mark.parametrize(
    "arguments", [["ls"], ["ls", "--plain"], ["show", "@last"], ["show", "--plain", "@last"]]
)
def test_on_the_command_line(
    writer: LogWriter, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANOPY_DIR", str(writer.log_dir))
    monkeypatch.setenv("CANOPY_NODE", "none")
    result = CliRunner().invoke(canopy, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert_harmless(result.output)


def test_json_carries_the_text_as_it_was(writer: LogWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANOPY_DIR", str(writer.log_dir))
    monkeypatch.setenv("CANOPY_NODE", "none")
    result = CliRunner().invoke(canopy, ["ls", "--json"], catch_exceptions=False)
    names = {run["name"] for run in json.loads(result.stdout)}
    assert HOSTILE["closing tag"] in names
    assert HOSTILE["clear screen"] in names
    assert "\x1b" not in result.output


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_as_an_argument(text: str, writer: LogWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANOPY_DIR", str(writer.log_dir))
    monkeypatch.setenv("CANOPY_NODE", "none")
    result = CliRunner().invoke(canopy, ["show", "no such " + text])
    assert result.exit_code == 1
    assert_harmless(str(result.exception))
