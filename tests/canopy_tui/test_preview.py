"""The preview of the highlighted run: where it stands and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.rows import NOW_NS, run_row
from helpers.screenlogs import SECOND_NS, LogWriter, falling
from helpers.screens import app_on, lines_of, runs_screen, text_of, until
from hypothesis import given
from hypothesis import strategies as st

from canopy_tui import format as fmt
from canopy_tui.charts.glyphs import BRAILLE
from canopy_tui.listing import Listing, Piece, columns_for
from canopy_tui.previewlines import Place, PreviewContent, chart_size, preview_box, preview_lines
from wal.source import RunState


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    writer = LogWriter(tmp_path / "log")
    for name, ago_s in (("older", 900), ("newer", 300)):
        writer.start(name, ago_s=ago_s, tags=("sweep",), config={"lr": 0.1}, notes="a note")
        curves = {"val/loss": falling(40, ago_s), "lr": [0.1] * 40}
        writer.log_curves(name, curves, lasting_s=200)
    writer.end("older", "failed", 3)
    yield writer
    writer.close()


def text(lines: list[list[Piece]]) -> list[str]:
    return ["".join(piece.text for piece in line) for line in lines]


# -- where ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "place"),
    [((80, 24), Place.NONE), ((119, 60), Place.NONE), ((120, 40), Place.BELOW), ((120, 24), Place.BELOW),
     ((120, 19), Place.NONE), ((165, 50), Place.BELOW), ((166, 19), Place.BESIDE), ((220, 60), Place.BESIDE)],
)  # fmt: skip
def test_the_named_sizes(size: tuple[int, int], place: Place) -> None:
    assert preview_box(*size).place is place


@given(st.integers(1, 500), st.integers(1, 150))
def test_it_takes_no_column_from_the_list(width: int, height: int) -> None:
    box = preview_box(width, height)
    list_width = width - box.size if box.place is Place.BESIDE else width
    listing = Listing.of([run_row(metrics={"loss": [1.0]})])
    alone = {column.key for column in columns_for(min(width, 110) - 2, listing)}
    assert alone <= {column.key for column in columns_for(list_width - 2, listing)}
    if box.place is Place.BELOW:
        assert height - box.size >= height / 2


def test_a_terminal_of_110_columns_shows_duration_and_tags() -> None:
    listing = Listing.of([run_row(metrics={"loss": [1.0]})])
    assert {"duration", "tags"} <= {column.key for column in columns_for(110 - 2, listing)}
    assert not {"duration", "tags"} & {column.key for column in columns_for(109 - 2, listing)}


# -- what -------------------------------------------------------------------------------------------


@given(
    st.one_of(
        st.tuples(st.just(Place.BELOW), st.integers(118, 163)),
        st.tuples(st.just(Place.BESIDE), st.integers(54, 200)),
    ),
    st.integers(4, 60), st.text(max_size=60), st.integers(0, 40), st.booleans(),
)  # fmt: skip
def test_no_line_is_wider_or_more_than_there_is_room(
    where: tuple[Place, int], height: int, name: str, metrics: int, unicode: bool
) -> None:
    place, width = where
    row = run_row(
        name, project=name, notes=name * 9, tags=(name,), group=name, problem=name, state=RunState.FAILED,
        metrics={f"{name}{number}": [1.0, 2.0] for number in range(metrics)},
    )  # fmt: skip
    chart_width, chart_height = chart_size(place, width, height)
    main = f"{name}0"
    content = PreviewContent(
        row, main, list(row.metrics.values()), {name: name, "a": {"b": name}}, 3,
        [[Piece("x" * chart_width)]] * chart_height, problem=name,
    )  # fmt: skip
    lines = text(preview_lines(content, place, width, height, NOW_NS, BRAILLE, unicode))
    assert len(lines) <= height
    assert all(fmt.cells(line.rstrip()) <= width for line in lines)


@pytest.mark.parametrize("width", [118, 130, 163])
def test_the_id_can_be_copied_whole(width: int) -> None:
    row = run_row(notes="a note")
    lines = text(
        preview_lines(PreviewContent(row, "loss", ()), Place.BELOW, width, 15, NOW_NS, BRAILLE, True)
    )
    found = "".join(line.rstrip().rpartition(" ")[2] for line in lines)
    assert str(row.run_id) in found
    low = text(preview_lines(PreviewContent(row, "loss", ()), Place.BELOW, width, 3, NOW_NS, BRAILLE, True))
    assert any("…" in line and str(row.run_id)[:6] in line for line in low)


def test_below_the_list_its_columns_are_aligned() -> None:
    row = run_row(metrics={"val/loss": [3.0, 1.0], "lr": [0.1, 0.1]}, notes="a note")
    metrics = list(row.metrics.values())
    content = PreviewContent(row, "val/loss", metrics, {"lr": 0.1, "units": {"max": 40}})
    head, _, title, *rest = text(preview_lines(content, Place.BELOW, 118, 15, NOW_NS, BRAILLE, True))
    assert head.startswith("run-1   ✓ done   records 11 · on this machine only   started 2026-09-21")
    assert title.split() == ["val/loss", "metric", "last", "best", "config"]
    assert rest[0].index("val/loss") == rest[1].index("lr") == title.index("metric")
    assert rest[0].index("lr", title.index("config")) == title.index("config")
    assert "notes    a note" in rest[3]


def test_what_could_not_be_read_says_why() -> None:
    row = run_row(metrics={"loss": [1.0]})
    content = PreviewContent(row, "loss", list(row.metrics.values()), problem="Cassandra is silent.")
    for place in (Place.BELOW, Place.BESIDE):
        assert "Cassandra is silent." in "".join(
            text(preview_lines(content, place, 100, 20, NOW_NS, BRAILLE, True))
        )


# -- on the screen ----------------------------------------------------------------------------------


async def test_list_and_preview_are_whole_at_120x40(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(120, 40)) as pilot:
        preview = runs_screen(app).preview
        await until(pilot, lambda: preview.loaded is not None and preview.loaded.chart)
        titles = lines_of(app)[1].split()
        assert titles[:6] == ["state", "name", "val/loss", "last", "best", "step"]
        assert titles[6:] == ["duration", "age", "sync", "tags"]
        assert sum(0x2800 < ord(char) < 0x2900 for char in text_of(app)) > 40
        await pilot.press("j")
        await until(pilot, lambda: "✗ failed · exit code 3" in text_of(app))
        assert "a note" in text_of(app)
        await pilot.resize_terminal(180, 40)
        await until(pilot, lambda: preview.place is Place.BESIDE and "duration 15 m 00 s" in text_of(app))
        assert "tags" in lines_of(app)[1]


async def test_it_follows_a_run_that_grows(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(120, 40)) as pilot:
        preview = runs_screen(app).preview
        await until(pilot, lambda: preview.loaded is not None)
        writer.now_ns += SECOND_NS
        writer.log("newer", {"val/loss": 0.1234, "lr": 0.05}, 400)
        await until(pilot, lambda: sum("0.1234" in line for line in lines_of(app)) == 2)
