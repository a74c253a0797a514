"""The pure parts of the Run screen: where charts stand, what the head says, ladders and lists."""

from __future__ import annotations

import math
from dataclasses import replace
from uuid import UUID

import pytest
from helpers.seriesof import series_of
from hypothesis import given
from hypothesis import strategies as st

from canopy_tui.chartlayout import Kind, chart_layout
from canopy_tui.chartlines import family_legend, footer_line, plot_lines, title_line, with_legend
from canopy_tui.charts.glyphs import ASCII, BRAILLE, Glyphs
from canopy_tui.charts.palette import Tint
from canopy_tui.charts.parts import Curve, Stroke
from canopy_tui.charts.plot import plot
from canopy_tui.comparelines import legend_lines
from canopy_tui.comparing import LegendRow
from canopy_tui.families import families
from canopy_tui.format import cells
from canopy_tui.ladder import ladder_lines, rungs_of, snapshot_heading, snapshot_lines
from canopy_tui.listing import Piece
from canopy_tui.runhead import flow, head_lines
from canopy_tui.runlines import config_page, metric_heading, metric_line
from wal.reading.pace import Pace
from wal.source import MetricRow, RunDetail, RunRow, RunState, StreamRow, TopologyRow
from wal.summary import MetricSummary

NOW_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000
RUN, STREAM = UUID(int=1), UUID(int=2)


def metric(name: str = "val/loss", goal: str | None = "min", *values: float) -> MetricRow:
    summary = MetricSummary()
    for step, value in enumerate(values or (3.0, 2.0, 1.0)):
        summary.add(step * 100, value)
    return MetricRow(name, goal, summary)


def detail_of(*, acked: int | None = None, state: RunState = RunState.RUNNING, **row: object) -> RunDetail:
    fields: dict[str, object] = {
        "run_id": RUN, "project": "p", "name": "train-7", "state": state, "host": "h", "ended_ns": None,
        "started_ns": NOW_NS - 60 * SECOND_NS, "last_ts_ns": NOW_NS - SECOND_NS, "step": 200, "records": 500,
        "unshipped": 500 - (acked or 0), "shipped": acked is not None, "local": True,
    }  # fmt: skip
    stream = StreamRow(
        STREAM, RUN, 0, "h", 7, None, state, None, NOW_NS - 60 * SECOND_NS, None, NOW_NS, NOW_NS - SECOND_NS,
        500, 0, 200, None if acked is None else ((1, acked),),
    )  # fmt: skip
    return RunDetail(RunRow(**(fields | row)), {}, {}, (stream,), {"val/loss": metric()})  # type: ignore[arg-type]


def text_of(lines: list[list[Piece]]) -> str:
    return "\n".join("".join(piece.text for piece in line) for line in lines)


# -- layout -----------------------------------------------------------------------------------------


@given(st.integers(1, 400), st.integers(1, 120), st.integers(0, 60), st.booleans())
def test_no_chart_leaves_the_pane_or_covers_another(width: int, height: int, count: int, full: bool) -> None:
    layout = chart_layout(width, height, count, full)
    boxes = [*layout.boxes, *([layout.rows] if layout.rows else [])]
    assert len({(box.width, box.height) for box in layout.boxes}) == 1
    taken: set[tuple[int, int]] = set()
    for box in boxes:
        assert box.x + box.width <= width
        assert box.y + box.height <= height
        area = {(x, y) for x in range(box.x, box.x + box.width) for y in range(box.y, box.y + box.height)}
        assert not taken & area
        taken |= area
    assert not full or layout.kind is Kind.ONE


@pytest.mark.parametrize(
    ("size", "kind", "charts"),
    [((118, 34), Kind.GRID, 6), ((78, 19), Kind.LIST, 1), ((48, 14), Kind.ONE, 1),
     ((238, 60), Kind.GRID, 15)],
)  # fmt: skip
def test_the_named_sizes(size: tuple[int, int], kind: Kind, charts: int) -> None:
    layout = chart_layout(*size, 20)
    assert (layout.kind, len(layout.boxes)) == (kind, charts)


def test_few_charts_share_the_whole_pane() -> None:
    assert [box.height for box in chart_layout(118, 34, 2).boxes] == [34, 34]
    assert len(chart_layout(118, 34, 3).boxes) == 4


# -- head -------------------------------------------------------------------------------------------


def test_what_the_head_says_of_shipping() -> None:
    def says(detail: RunDetail) -> str:
        return text_of(head_lines(detail, "val/loss", None, NOW_NS, 78, BRAILLE, True))

    assert "local only" in says(detail_of())
    assert "┅ 100 unshipped" in says(detail_of(acked=400))
    assert "all shipped" in says(detail_of(acked=500))
    assert "no records yet" in says(detail_of(records=0))


def test_speed_and_eta_need_a_step_that_rises() -> None:
    def says(pace: Pace | None) -> str:
        detail = detail_of(total_steps=1200)
        return text_of(head_lines(detail, None, pace, NOW_NS, 200, BRAILLE, True))

    rising = Pace(1, 0, NOW_NS - 21 * SECOND_NS, 500, 200, NOW_NS - SECOND_NS)
    assert "10 steps/s" in says(rising)
    assert "ETA 1 m 40 s" in says(rising)
    assert "250,000 steps/s" in says(Pace(1, 0, NOW_NS - 2 * SECOND_NS, 500, 500_000, NOW_NS))
    for pace in (None, Pace(1, 5, NOW_NS, 2, 5, NOW_NS + 1), Pace(1, 9, NOW_NS, 2, 5, NOW_NS + 1)):
        assert "steps/s" not in says(pace)


@given(st.lists(st.integers(1, 40), max_size=12), st.integers(1, 100), st.integers(1, 4))
def test_items_flow_without_being_broken(lengths: list[int], width: int, gap: int) -> None:
    lines = flow([(Piece("x" * length),) for length in lengths], width, gap)
    assert [len(p.text) for line in lines for p in line if p.text.strip()] == lengths
    for line in lines:
        assert sum(len(p.text) for p in line) <= width or len(line) == 1


# -- around a chart ---------------------------------------------------------------------------------


def test_a_title_drops_notes_before_values_and_cuts_the_name_last() -> None:
    values = [1.0 + i % 5 / 10 for i in range(997)] + [math.nan, math.inf, 500.0]
    drawn = plot([Curve(series_of(range(1000), values, 100))], 58, 10)
    row = metric("val/loss", "min", 2.0, 1.0)
    wide = text_of([title_line(row, drawn, 80, BRAILLE, main=True)])
    assert wide.startswith("val/loss ★  1  best 1 @ 100")
    assert wide.endswith("▲ max 500  ▲ 1 Inf  × 1 NaN")
    assert len(wide) == 80
    tight = text_of([title_line(row, drawn, 40, BRAILLE)])
    assert tight.endswith("× 1 NaN")
    assert "max" not in tight
    long = text_of([title_line(metric("n" * 90, None, 1.0), None, 40, BRAILLE, selected=True)])
    assert cells(long) == 40
    assert long.startswith("▸ nnn")


def test_a_title_says_how_far_the_last_value_is_from_the_best() -> None:
    drawn = plot([Curve(series_of(range(100), range(100), 100))], 58, 10)
    row = metric("val/loss", "min", 0.398, 0.412)
    words = "val/loss  0.412  best 0.398 @ 0  +0.014 since best"
    assert text_of([title_line(row, drawn, 60, BRAILLE)]).rstrip() == words
    assert text_of([title_line(row, drawn, len(words), BRAILLE)]) == words
    assert text_of([title_line(row, drawn, len(words) - 1, BRAILLE)]).rstrip() == words.split("  +")[0]
    for last in (0.398, math.nan):
        assert "since" not in text_of([title_line(metric("loss", "min", 0.398, last), drawn, 80, BRAILLE)])
    falling = metric("val/acc", "max", 0.9, 0.85)
    assert "-0.05 since best" in text_of([title_line(falling, drawn, 80, BRAILLE)])


def test_a_title_cuts_no_number() -> None:
    summary = MetricSummary()
    for step, value in ((0, 0.5), (4_130_340_864, 0.00493), (4_193_255_424, 0.06516)):
        summary.add(step, value)
    row = replace(metric("val/loss", "min"), summary=summary)
    words = "val/loss  0.06516  best 0.00493 @ 4,130,340,864"
    for width, shown in (
        (len(words), words),
        (len(words) - 1, "val/loss  0.06516  best 0.00493 @ 4.13G"),
        (38, "val/loss  0.06516  best 0.00493"),
        (30, "val/loss  0.06516"),
    ):
        assert text_of([title_line(row, None, width, BRAILLE)]).rstrip() == shown


def test_a_comparison_shortens_the_step_of_a_best_that_is_too_long() -> None:
    summary = MetricSummary()
    summary.add(4_130_340_864, 0.00493)
    row = LegendRow("tokens", "", Tint.MAIN, Stroke.SOLID, replace(metric("loss"), summary=summary))
    (_, line) = legend_lines([row], [], 80, BRAILLE, True)
    assert text_of([line]).split() == ["⠤⠤⠤⠤⠤", "tokens", "0.00493", "0.00493", "4.13G"]


FAMILY = families(["train/loss", "val/loss"])[0]
MEMBERS = (metric("val/loss", "min", 0.4, 0.41), metric("train/loss", "min", 0.2, 0.25))


@pytest.mark.parametrize("glyphs", [BRAILLE, ASCII], ids=["braille", "ascii"])
def test_a_legend_stands_where_nothing_is_drawn(glyphs: Glyphs) -> None:
    falling = [1 / (1 + i) for i in range(100)]
    lines = plot_lines(plot([Curve(series_of(range(100), falling, 100))], 58, 10, glyphs=glyphs))
    legend = family_legend(FAMILY, MEMBERS, "val/loss", glyphs)
    drawn = with_legend(lines, legend, 2)
    assert text_of(drawn[:1]).endswith(text_of([legend]))
    assert "val  " in text_of([legend])
    assert text_of([legend]).endswith("train 0.25")
    assert [cells(text_of([line])) for line in drawn] == [58] * 10
    assert drawn[1:] == lines[1:]
    assert text_of(drawn[:1])[:30] == text_of(lines[:1])[:30]


def test_a_legend_hides_no_curve() -> None:
    full = [float(i % 2) for i in range(1000)]
    lines = plot_lines(plot([Curve(series_of(range(1000), full, 100))], 58, 10))
    assert with_legend(lines, family_legend(FAMILY, MEMBERS, "val/loss", BRAILLE), 2) == lines
    assert with_legend(lines, family_legend(families(["lr"])[0], MEMBERS[:1], "lr", BRAILLE), 2) == lines


def test_the_footer_has_the_legend() -> None:
    drawn = plot([Curve(series_of(range(50), range(50), 100, unshipped_from=30))], 58, 10)
    assert text_of([footer_line(drawn, 80, BRAILLE)]).endswith("┅┅ not shipped yet")
    assert text_of([footer_line(drawn, 80, ASCII, unicode=False)]).isascii()
    assert {cells(text_of([line])) for line in plot_lines(drawn)} == {58}


def test_a_narrow_footer_leaves_out_how_many_points_there_are_beyond() -> None:
    part = replace(series_of(range(1000), range(1000), 100), points=50_000)
    drawn = plot([Curve(part)], 58, 10)
    wide, narrow = (text_of([footer_line(drawn, width, BRAILLE)]) for width in (80, 50))
    assert wide.startswith("1,000 of 50,000 points → ")
    assert narrow.startswith("1,000 points → ")
    assert narrow.rstrip().endswith("0 extremes hidden")


# -- lists ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [118, 78, 60, 40])
def test_metric_rows_share_their_columns(width: int) -> None:
    metrics = [metric("val/loss"), metric("grad", None), metric("n" * 60, "max", math.nan)]
    row = detail_of().row
    lines = [
        metric_line(m, row, metrics, width, BRAILLE, main=m is metrics[0], unicode=True) for m in metrics
    ]
    heading = text_of([metric_heading(metrics, width)])
    assert {cells(text_of([line])) for line in lines} == {cells(heading)}
    assert cells(heading) <= width
    assert [piece.tone for piece in lines[2] if piece.text.strip() == "NaN"] == ["bad"]


def test_notes_are_wrapped_and_searched() -> None:
    detail = detail_of(notes="one two three four " + "x" * 50, tags=("a-tag",))
    page = config_page(detail, 20, True)
    assert all(cells(text_of([line])) <= 20 for line in page)
    assert text_of(config_page(detail, 78, True, "TAG")) == "tags\na-tag"
    assert "nothing here contains 'zzz'" in text_of(config_page(detail, 78, True, "zzz"))


# -- topology ---------------------------------------------------------------------------------------

CASCADE: dict[str, object] = {
    "input_size": 2, "output_size": 1,
    "output_bias": [0.5], "output_weights": [[1.0], [-2.0], [0.0], [math.nan]],
    "hidden_units": [
        {"id": 0, "weights": [0.1, -0.4], "bias": 0.02, "activation": "tanh"},
        {"id": 1, "weights": [0.3, 0.2, -2.0], "bias": 0.1, "activation": "tanh"},
    ],
}  # fmt: skip


def test_a_unit_is_fed_by_the_inputs_and_the_units_before_it() -> None:
    found = rungs_of(CASCADE)
    assert found is not None
    rungs, inputs = found
    assert inputs == 2
    assert [(rung.name, len(rung.weights)) for rung in rungs] == [("h0", 2), ("h1", 3), ("out0", 4)]
    lines = ladder_lines(CASCADE, 80, BRAILLE)
    assert text_of(lines[:1]).split() == ["i0", "i1", "h0", "h1", "bias"]
    assert "+· -░" in text_of(lines[1:2])
    assert "-█" in text_of(lines[2:3])
    assert [piece.text.strip() for piece in lines[3] if piece.tone == "bad"] == ["×"]


def test_what_does_not_fit_is_counted() -> None:
    wide = {"input_size": 50, "hidden_units": [{"weights": [1.0] * 50, "bias": 0.0}]}
    lines = ladder_lines(wide, 60, ASCII)
    assert "more inputs of a unit: no room here" in text_of(lines)
    assert all(cells(text_of([line])) <= 60 for line in lines)
    assert text_of(lines).isascii()


@pytest.mark.parametrize(
    "topology",
    [
        {},
        {"nodes": [1, 2], "connections": [{"from": "a"}], "\x1b[2J": "[/x]"},
        {"hidden_units": [1], "input_size": 2},
        {"hidden_units": [{"weights": ["a"]}], "input_size": 2},
        {"hidden_units": [{}], "input_size": 2},
        {"hidden_units": [], "input_size": -1},
        {"hidden_units": [], "input_size": 2, "output_weights": [1, 2]},
        {"hidden_units": [], "input_size": 2, "output_weights": [[]], "output_bias": "x"},
        {"hidden_units": [{"weights": [], "bias": None, "activation": [1]}], "input_size": 0},
    ],
)
def test_any_other_topology_is_harmless(topology: dict[str, object]) -> None:
    lines = ladder_lines(topology, 50, BRAILLE)
    assert lines
    assert "\x1b" not in text_of(lines)


def test_snapshots_are_listed() -> None:
    row = TopologyRow(STREAM, 5, 1500, NOW_NS, "0" * 32, 2, 1, 4, 25)
    assert text_of(snapshot_lines([row], 32)).split() == ["1,500", "4", "25"]
    assert text_of([snapshot_heading(20)]).split() == ["step", "units"]
