"""Reducing to columns, against a brute force that looks at every point."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wal.pyramid import Columns, column_edges, reduce

Point = tuple[int, float]

points_strategy = st.lists(
    st.tuples(
        st.integers(-40, 40) | st.integers(-(2**62), 2**62),
        st.floats(width=64) | st.sampled_from([1.0, -1.0, 0.0, math.nan, math.inf, -math.inf]),
    ),
    max_size=120,
)


def columns_of(points: list[Point], edges: np.ndarray) -> Columns:
    step = np.array([step for step, _ in points], dtype=np.int64)
    return reduce(step, np.array([value for _, value in points], dtype=np.float64), edges)


def same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right))


def check_column(columns: Columns, at: int, by_seq: list[Point]) -> None:
    """Column ``at`` says what the points, given by seq, say."""
    points = sorted(by_seq, key=lambda point: point[0])  # stable: by (step, seq)
    values = [value for _, value in points]
    finite = [(step, value) for step, value in points if math.isfinite(value)]
    assert columns.n[at] == len(points)
    assert columns.n_nan[at] == sum(map(math.isnan, values))
    assert (columns.n_pinf[at], columns.n_ninf[at]) == (values.count(math.inf), values.count(-math.inf))
    assert columns.finite[at] == len(finite)
    if not finite:
        for field in (columns.first, columns.last, columns.min, columns.max, columns.mean):
            assert math.isnan(field[at])
        return
    assert (columns.first_step[at], columns.first[at]) == finite[0]
    assert (columns.last_step[at], columns.last[at]) == finite[-1]
    low, high = min(value for _, value in finite), max(value for _, value in finite)
    assert (columns.min[at], columns.max[at]) == (low, high)
    assert columns.min_step[at] == next(step for step, value in finite if value == low)
    assert columns.max_step[at] == next(step for step, value in finite if value == high)
    total = 0.0
    for _, value in by_seq:
        total += value if math.isfinite(value) else 0.0
    expected = min(max(total / len(finite), low), high) if math.isfinite(total) else math.nan
    assert same(float(columns.mean[at]), expected)


@settings(max_examples=300, deadline=None)
@given(points_strategy, st.integers(1, 30), st.none() | st.tuples(st.integers(-50, 0), st.integers(0, 50)))
def test_every_column_equals_a_brute_force(
    points: list[Point], count: int, steps: tuple[int, int] | None
) -> None:
    seen = [step for step, _ in points] or [0]
    first, last = steps or (min(seen), max(seen))
    edges = column_edges(first, last, count)
    columns = columns_of(points, edges)
    assert len(columns) == len(edges) - 1
    for at in range(len(columns)):
        check_column(columns, at, [p for p in points if edges[at] <= p[0] < edges[at + 1]])


@settings(max_examples=300, deadline=None)
@given(st.integers(-(2**62), 2**62), st.integers(0, 2**62 - 2), st.integers(1, 500))
def test_edges_are_even_and_hold_both_ends(first: int, span: int, count: int) -> None:
    last = first + span
    edges = column_edges(first, last, count).tolist()
    assert (edges[0], edges[-1]) == (first, last + 1)
    widths = [high - low for low, high in itertools.pairwise(edges)]
    assert len(widths) == min(count, span + 1)
    assert min(widths) >= 1
    assert max(widths) - min(widths) <= 1


def test_the_last_of_all_steps_is_in_the_last_column() -> None:
    last = 2**63 - 1
    columns = columns_of([(last - 5, 1.0), (last, 9.0)], column_edges(-(2**63), last, 3))
    assert columns.max.tolist()[2] == 9.0
    assert columns.n.tolist() == [0, 0, 2]


def test_no_columns_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one column"):
        column_edges(0, 10, 0)


def test_no_points_are_empty_columns() -> None:
    columns = columns_of([], column_edges(0, 9, 5))
    assert columns.n.tolist() == [0] * 5
    assert np.isnan(columns.min).all()


def test_a_spike_among_a_million_points_is_not_hidden() -> None:
    value = np.full(1_000_000, 0.5)
    value[654_321] = 99.0
    value[123_456] = np.nan
    columns = reduce(np.arange(1_000_000), value, column_edges(0, 999_999, 80))
    assert columns.max.max() == 99.0
    assert columns.max_step[columns.max == 99.0].tolist() == [654_321]
    assert columns.n_nan.sum() == 1
    assert columns.n.sum() == 1_000_000


def test_the_mean_of_equal_values_is_that_value() -> None:
    """Rounded sums would draw a step into a constant, on an axis that shows nothing else."""
    count = 11_000
    steps = np.arange(count, dtype=np.int64)
    columns = reduce(steps, np.full(count, 0.1), column_edges(0, count - 1, 80))
    assert (columns.mean == 0.1).all()
