"""The run list as cells: which columns fit, what they say, in which order runs come."""

from __future__ import annotations

import math

import pytest
from helpers.rows import NOW_NS, run_row

from canopy_tui import format as fmt
from canopy_tui.charts.glyphs import ASCII, BRAILLE
from canopy_tui.inspector import spark_cell
from canopy_tui.listing import (
    SORT_KEYS,
    Cell,
    Listing,
    Order,
    cell,
    columns_for,
    natural_order,
    run_name,
    short_count,
    sort_rows,
    state_text,
    sync_text,
    title_cell,
)
from wal.source import MetricRow, RunRow, RunState

LOSS = {"val/loss": [2.0, 1.0, 0.5]}


def keys(width: int, listing: Listing) -> list[str]:
    return [column.key for column in columns_for(width, listing)]


def text_of(one: Cell) -> str:
    return "".join(piece.text for piece in one)


def draw(unicode: bool = True):
    glyphs = BRAILLE if unicode else ASCII

    def spark(metric: MetricRow, row: RunRow, width: int) -> Cell:
        return spark_cell(metric, row, width, glyphs)

    return spark


# -- columns ----------------------------------------------------------------------------------------

ONE = Listing.of([run_row(metrics=LOSS)])
MANY = Listing.of([run_row(metrics=LOSS), run_row(metrics=LOSS, project="spirals", host="gpu-2")])


def test_eighty_columns_hold_the_eight() -> None:
    widths = {column.key: column.width for column in columns_for(79, ONE)}
    assert widths == {
        "state": 9, "name": 20, "spark": 14, "last": 7, "best": 7, "step": 6, "age": 4, "sync": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("width", "listing", "expected"),
    [
        (49, ONE, ["state", "name", "spark", "last", "age"]),
        (79, MANY, ["state", "project", "name", "spark", "last", "best", "step", "age", "sync"]),
        (95, MANY, ["state", "project", "host", "name", "spark", "last", "best", "step", "age", "sync"]),
        (110, ONE, ["state", "name", "spark", "last", "best", "step", "duration", "age", "sync", "tags"]),
    ],
)
def test_columns_that_fit(width: int, listing: Listing, expected: list[str]) -> None:
    assert keys(width, listing) == expected


@pytest.mark.parametrize("width", range(20, 240, 7))
@pytest.mark.parametrize("listing", [ONE, MANY, Listing()])
def test_columns_never_exceed_the_width(width: int, listing: Listing) -> None:
    columns = columns_for(width, listing)
    assert sum(column.width + column.gap for column in columns) <= max(width, 30)
    assert {"state", "name"} <= {column.key for column in columns}


# -- main metric ------------------------------------------------------------------------------------


def test_main_metric_is_one_per_project() -> None:
    listing = Listing.of(
        [
            run_row(metrics={"lr": [0.1]}),
            run_row(metrics={"lr": [0.1], "val/loss": [1.0]}),
            run_row(metrics={"reward": [3.0]}, project="rl"),
            run_row(project="nothing yet"),
        ]
    )
    assert listing.main_metrics == {"digits": "val/loss", "rl": "reward"}
    assert [listing.heading(width) for width in (14, 11, 10)] == ["main metric", "main metric", "metric"]
    assert listing.narrow(listing.rows[:2]).heading(8) == "val/loss"
    assert listing.main_of(listing.rows[0]) is None


def test_the_users_choice_wins() -> None:
    rows = [run_row(metrics={"val/loss": [1.0], "val/acc": [0.5]})]
    assert Listing.of(rows, {"digits": "val/acc"}).heading(14) == "val/acc"
    assert Listing.of(rows, {"digits": "not logged"}).heading(14) == "val/loss"


@pytest.mark.parametrize("name", ["", " ", "\x1b[2J", "\u200b\n"])
def test_a_run_whose_name_cannot_be_seen_shows_its_id(name: str) -> None:
    row = run_row(name)
    assert run_name(row) == row.run_id.hex[-8:]


# -- cells ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("width", [49, 79, 95, 130])
@pytest.mark.parametrize(
    "row",
    [
        run_row("plain", metrics=LOSS, tags=("a", "b")),
        run_row("日本語の名前がとても長い場合", metrics={"val/loss": [math.nan]}, tags=("タグ",) * 9),
        run_row("\x1b[2J[/x]\n" * 2000, metrics={"val/loss": [-1.234e-300]}, step=2**63 - 1,
                unshipped=10**15, shipped=True),
        run_row("", records=0, state=RunState.RUNNING, hours_ago=-5),
        run_row("old", metrics={"val/loss": [math.inf, 1e300]}, hours_ago=10**5, state=RunState.CRASHED),
    ],
)  # fmt: skip
def test_every_cell_fills_its_column(row: RunRow, width: int, unicode: bool) -> None:
    listing = Listing.of([row, run_row(project="other", host="elsewhere")])
    for column in columns_for(width, listing):
        for one in (
            cell(column, row, listing, NOW_NS, draw(unicode), unicode),
            title_cell(column, Order(column.key), unicode),
        ):
            text = text_of(one)
            assert fmt.cells(text) == column.width
            assert "\x1b" not in text
            assert unicode or text.isascii()


def test_states_are_told_by_glyph_and_word() -> None:
    said = [state_text(state, True) for state in RunState]
    assert said == ["● running", "✓ done", "✗ failed", "‡ crashed", "◌ stale"]
    assert [state_text(state, False) for state in RunState] == [
        "* running", "+ done", "x failed", "! crashed", "~ stale",
    ]  # fmt: skip


def test_colour_is_kept_for_what_is_bad() -> None:
    rows = [run_row(state=state, metrics={"val/loss": [1.0]}) for state in RunState]
    rows.append(run_row(metrics={"val/loss": [math.nan]}))
    listing = Listing.of(rows)
    for row in rows:
        bad = {
            column.key
            for column in columns_for(79, listing)
            if any(piece.tone == "bad" for piece in cell(column, row, listing, NOW_NS, draw(), True))
        }
        if row.state in (RunState.FAILED, RunState.CRASHED):
            assert bad == {"state"}
        else:
            assert bad == ({"spark", "last"} if row is rows[-1] else set())


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (run_row(shipped=True), "✓"),
        (run_row(shipped=True, unshipped=3120), "↑3.1k"),
        (run_row(shipped=True, unshipped=88), "↑88"),
        (run_row(shipped=False, unshipped=88), "local"),
        (run_row(shipped=None), "local"),
    ],
)
def test_sync(row: RunRow, text: str) -> None:
    assert sync_text(row, True) == text


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (9949, "9.9k"), (9950, "10k"), (999_499, "999k"),
     (999_500, "1.0M"), (1_234_567, "1.2M"), (10**18, "lots")],
)  # fmt: skip
def test_short_count(n: int, text: str) -> None:
    assert short_count(n) == text


# -- order ------------------------------------------------------------------------------------------


def test_best_values_come_first_and_nan_last() -> None:
    rows = [run_row(str(value), metrics={"val/loss": [value]}) for value in (0.5, math.nan, 0.1, 0.9)]
    rows.append(run_row("none"))
    listing = Listing.of(rows)
    order = natural_order("last", listing)
    names = [row.name for row in sort_rows(rows, order, listing, NOW_NS)]
    assert names == ["0.1", "0.5", "0.9", "nan", "none"]
    turned = Order(order.key, not order.descending)
    assert [row.name for row in sort_rows(rows, turned, listing, NOW_NS)] == [
        "0.9",
        "0.5",
        "0.1",
        "nan",
        "none",
    ]


def test_more_is_better_where_the_goal_says_so() -> None:
    rows = [run_row(str(value), metrics={"acc": [value]}) for value in (0.5, 0.9)]
    listing = Listing.of(rows)
    order = natural_order("best", listing)
    assert [row.name for row in sort_rows(rows, order, listing, NOW_NS)] == ["0.9", "0.5"]


@pytest.mark.parametrize("key", SORT_KEYS)
@pytest.mark.parametrize("descending", [True, False])
def test_every_key_sorts(key: str, descending: bool) -> None:
    rows = [
        run_row("b", metrics=LOSS, hours_ago=2, tags=("x",), step=5),
        run_row("a", hours_ago=1, state=RunState.RUNNING, step=7, unshipped=3),
        run_row("c", hours_ago=3, host="z", project="spirals", step=1),
    ]
    listing = Listing.of(rows)
    found = sort_rows(rows, Order(key, descending), listing, NOW_NS)
    assert sorted(row.name for row in found) == ["a", "b", "c"]


def test_equal_values_keep_the_newest_first() -> None:
    rows = [run_row("new", step=1), run_row("old", step=1)]
    for descending in (True, False):
        assert [row.name for row in sort_rows(rows, Order("step", descending), Listing.of(rows), NOW_NS)] == [
            "new",
            "old",
        ]
