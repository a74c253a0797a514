"""What the snapshots and one metric say of how a cascade grew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from uuid import UUID, uuid5

import pytest
from helpers.rows import metric, run_row
from helpers.seriesof import series_of
from hypothesis import given
from hypothesis import strategies as st

from canopy_tui.charts.parts import Mark, MarkKind
from canopy_tui.growth import (
    CANDIDATES,
    Growth,
    Stretch,
    Unit,
    candidate_phases,
    growth_of,
    step_to,
)
from canopy_tui.lens import CLOCK, RELATIVE, Lens, Window
from wal.source import STEP, MetricRow, RunDetail, RunState, StreamRow, TopologyRow, XAxis

RUN, FIRST, SECOND = (uuid5(UUID(int=7), name) for name in ("run", "first", "second"))
METRICS = {name: metric(name, [1.0]) for name in ("loss", "candidate/best")}


def stream_row(stream_id: UUID, first_step: int = 1) -> StreamRow:
    state = RunState.DONE
    return StreamRow(stream_id, RUN, 0, "node-1", 1, None, state, 0, 1, 2, 2, 2, 900, first_step, 900)


def snapshot(units: int, step: int, stream: UUID = FIRST, seq: int = 0) -> TopologyRow:
    return TopologyRow(stream, seq or step, step, (1_000_000 + step) * 1_000, "", 2, 1, units, 9)


def detail_of(*streams: StreamRow, metrics: Mapping[str, MetricRow] = METRICS) -> RunDetail:
    return RunDetail(run_row(), {}, {}, streams or (stream_row(FIRST),), metrics)


def grown(rows: Sequence[TopologyRow], *streams: StreamRow) -> list[tuple[int, int, int]]:
    growth = growth_of(rows[::-1], detail_of(*streams))
    return [(unit.first, unit.last, unit.step) for unit in growth.units]


def test_a_unit_is_added_where_a_snapshot_counts_more() -> None:
    rows = [snapshot(1, 90), snapshot(2, 180), snapshot(2, 200), snapshot(3, 270)]
    assert grown(rows) == [(1, 1, 90), (2, 2, 180), (3, 3, 270)]
    assert grown([snapshot(0, 0), *rows]) == grown(rows)
    assert grown([snapshot(64, 0)]) == [], "a network that is not a cascade"
    assert grown([snapshot(5, 0), snapshot(6, 90)]) == [(6, 6, 90)]
    assert grown([snapshot(1, 90), snapshot(4, 180)]) == [(1, 1, 90), (2, 4, 180)]
    assert grown([snapshot(0, 0), snapshot(1, 90), snapshot(2, 90, seq=91)]) == [(1, 2, 90)]
    assert grown([]) == []


def test_what_a_resume_superseded_was_not_added_and_other_ranks_say_the_same_again() -> None:
    first = stream_row(FIRST, first_step=1)
    second = replace(stream_row(SECOND, first_step=181), after=FIRST)
    rows = [snapshot(1, 90), snapshot(2, 180), snapshot(3, 260), snapshot(3, 300, SECOND)]
    assert grown(rows, first, second) == [(1, 1, 90), (2, 2, 180), (3, 3, 300)]
    rank = replace(second, after=None, rank=1)
    assert grown([snapshot(1, 90), snapshot(1, 95, SECOND)], first, rank) == [(1, 1, 90)]


@pytest.mark.parametrize(
    ("name", "is_about_candidates"),
    [
        ("candidate/best", True), ("candidate_correlation", True), ("best_Candidate", True),
        ("pool.candidates", True), ("candidateship", False), ("loss", False),
    ],
)  # fmt: skip
def test_the_metric_of_the_candidates_is_told_by_its_name(name: str, is_about_candidates: bool) -> None:
    metrics = {"loss": metric("loss", [1.0]), name: metric(name, [1.0])}
    growth = growth_of([snapshot(1, 90)], detail_of(metrics=metrics))
    assert growth.candidates == (name if is_about_candidates else None)
    assert growth_of([], detail_of(metrics=metrics)).candidates is None


CASCADE = Growth((Unit(1, 1, 90, 5_000_090), Unit(2, 4, 180, 5_000_180)), "candidate/best", 5_000_000)


def test_units_stand_on_every_axis_but_a_metrics() -> None:
    assert CASCADE.marks(STEP) == (Mark(90, MarkKind.UNIT, "unit 1"), Mark(180, MarkKind.UNIT, "units 2–4"))
    assert CASCADE.places(CLOCK) == [5_000_090, 5_000_180]
    assert CASCADE.places(RELATIVE) == [90, 180]
    assert CASCADE.marks(XAxis("metric", "lr")) == ()
    assert CASCADE.stretches(XAxis("metric", "lr"), (0.0, 1.0)) == []


def test_the_stretches_between_units() -> None:
    found = CASCADE.stretches(STEP, (1, 400))
    assert [(one.low, one.high, one.label) for one in found] == [
        (1, 90, "to unit 1"), (90, 180, "units 1–2"), (180, 400, "unit 4–"),
    ]  # fmt: skip
    assert found[-1].window.within((1, 900)) == (180, 900), "the last one grows with the run"
    assert not found[-1].window.holds
    assert found[0].window.within((1, 900)) == (1, 90)
    assert Growth().stretches(STEP, (0, 9)) == []


@given(st.lists(st.integers(-50, 1050), unique=True, max_size=12), st.integers(0, 400), st.integers(0, 600))
def test_the_stretches_tile_the_run_and_keys_go_through_all_of_them(
    steps: list[int], first: int, length: int
) -> None:
    extent = first, first + length
    units = tuple(Unit(at + 1, at + 1, step, step) for at, step in enumerate(sorted(steps)))
    stretches = Growth(units).stretches(STEP, extent)
    if stretches:
        assert (stretches[0].low, stretches[-1].high) == extent
        assert all(one.high == other.low for one, other in pairwise(stretches))
        assert all(one.window.within(extent) == (one.low, one.high) for one in stretches)
    for by, order in ((1, stretches), (-1, stretches[::-1])):
        seen: list[Stretch] = []
        shown = Window().within(extent)
        while (found := step_to(stretches, shown, None, by)) is not None:
            seen.append(found)
            shown = found.window.within(extent)
        assert seen == order


def test_from_another_view_it_goes_to_the_cursor_or_the_next_unit_in_sight() -> None:
    stretches = CASCADE.stretches(STEP, (0, 400))
    assert step_to(stretches, (0, 400), 100, 1) == step_to(stretches, (0, 400), 180, -1) == stretches[1]
    assert step_to(stretches, (20, 60), 300, 1) == stretches[1], "a cursor out of sight does not count"
    assert step_to(stretches, (200, 300), None, -1) == stretches[1]
    assert step_to(stretches, (200, 300), None, 1) is None
    assert step_to([], (0, 400), None, 1) is None


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(2, 30)), min_size=1, max_size=8), st.integers(1, 9))
def test_candidates_were_trained_where_their_metric_has_points(
    phases: list[tuple[int, int]], every: int
) -> None:
    """With a dot column a step they are exact, however seldom they are logged."""
    steps: list[int] = []
    ends: list[int] = []
    expected: list[tuple[int, int]] = []
    at = 0
    for outputs, candidates in phases:
        begin, at = at + outputs, at + outputs + candidates
        logged = sorted({*range(begin, at, every), at - 1})
        steps += logged
        ends.append(at - 1)
        expected.append((begin, at - 1))
    units = tuple(Unit(place + 1, place + 1, step, step) for place, step in enumerate(ends))
    series = series_of(steps, [0.1] * len(steps), at, span=(0, at - 1))
    found = candidate_phases(Growth(units, "candidate/best"), STEP, [series])
    assert [(one.low, one.high) for one in found] == [pair for pair in expected if pair[0] < pair[1]]
    assert {one.label for one in found} <= {CANDIDATES}
    ghost, rank = replace(series, ghost=True), replace(series, rank=1)
    assert candidate_phases(Growth(units), STEP, [ghost]) == ()
    assert candidate_phases(Growth(units), STEP, [series, rank]) == found


def test_the_phase_that_is_under_way_reaches_to_its_last_point() -> None:
    series = series_of(range(100, 121), [1.0] * 21, 100, span=(0, 150))
    (phase,) = candidate_phases(Growth((Unit(1, 1, 90, 90),)), STEP, [series])
    assert phase.low == 100
    assert 120 < phase.high < 121
    assert candidate_phases(Growth((Unit(1, 1, 90, 90),)), STEP, []) == ()


def test_since_a_unit_can_be_zoomed_and_moved_like_any_view() -> None:
    extent = (0, 400)
    lens = Lens(window=Window(None, 180))
    assert lens.window.following() == lens.window, "it does follow"
    assert lens.zoomed(extent, 0.5).window == Window(110)
    assert lens.panned(extent, -0.25).window == Window(220, 125)
    assert lens.window.at_start(extent) == Window(220, 0)
    assert Window(None, 500).within(extent) == (400, 400)
