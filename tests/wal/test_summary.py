"""The summary of a metric, against a brute force that keeps every point."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wal.summary import CURVE_BUCKETS, HEAD_BYTES, MetricSummary, add_values

Call = tuple[int, float]

calls_strategy = st.lists(
    st.tuples(
        st.integers(0, 300) | st.integers(-(2**62), 2**62),
        st.floats(width=64) | st.sampled_from([1.0, -1.0, math.nan, math.inf, -math.inf]),
    ),
    min_size=1,
    max_size=150,
)


def summary_of(calls: list[Call]) -> MetricSummary:
    summary = MetricSummary()
    for step, value in calls:
        summary.add(step, value)
    return summary


def check(summary: MetricSummary, calls: list[Call]) -> None:
    """``summary`` says what ``calls`` say, its curve included."""
    values = [value for _, value in calls]
    steps = [step for step, _ in calls]
    finite = [(step, value) for step, value in calls if math.isfinite(value)]
    assert summary.n == len(calls)
    assert summary.n_nan == sum(map(math.isnan, values))
    assert (summary.n_pinf, summary.n_ninf) == (values.count(math.inf), values.count(-math.inf))
    assert summary.non_finite == len(calls) - len(finite)
    assert (summary.first_step, summary.last_step) == (min(steps), steps[-1])
    assert repr(summary.last) == repr(values[-1])
    if finite:
        low, high = min(value for _, value in finite), max(value for _, value in finite)
        assert (summary.min, summary.max) == (low, high)
        assert summary.min_step == next(step for step, value in finite if value == low)
        assert summary.max_step == next(step for step, value in finite if value == high)
    else:
        assert math.isnan(summary.min)
        assert math.isnan(summary.max)
    check_curve(summary, calls)


def check_curve(summary: MetricSummary, calls: list[Call]) -> None:
    curve = list(summary.curve())
    assert 1 <= len(curve) <= CURVE_BUCKETS
    assert sum(bucket.n for _, _, bucket in curve) == len(calls)
    width = 1 << summary.shift
    for start, end, bucket in curve:
        inside = [value for step, value in calls if start <= step < end]
        finite = [value for value in inside if math.isfinite(value)]
        assert (end - start, start % width) == (width, 0)
        assert (bucket.n, bucket.non_finite) == (len(inside), len(inside) - len(finite))
        assert bucket.n_nan == sum(map(math.isnan, inside))
        if finite:
            assert (bucket.min, bucket.max) == (min(finite), max(finite))
        else:
            assert math.isnan(bucket.first)
            assert math.isnan(bucket.max)


@settings(max_examples=300, deadline=None)
@given(calls_strategy)
def test_a_summary_equals_a_brute_force(calls: list[Call]) -> None:
    check(summary_of(calls), calls)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(width=64), min_size=1, max_size=500), st.integers(1, 1000))
def test_first_and_last_of_a_bucket_when_steps_rise(values: list[float], stride: int) -> None:
    calls = [(stride * at, value) for at, value in enumerate(values)]
    for start, end, bucket in summary_of(calls).curve():
        finite = [value for step, value in calls if start <= step < end and math.isfinite(value)]
        if finite:
            assert (bucket.first, bucket.last) == (finite[0], finite[-1])


@settings(max_examples=200, deadline=None)
@given(calls_strategy)
def test_packing_keeps_everything(calls: list[Call]) -> None:
    packed = summary_of(calls).pack()
    again = MetricSummary.unpack(packed)
    check(again, calls)
    assert again.pack() == packed
    assert again.copy().pack() == packed
    assert MetricSummary.packed_steps(packed) == (
        again.first_step, again.last_step, again.min_step, again.max_step,
    )  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(calls_strategy, st.lists(st.integers(0, 149), max_size=3))
def test_going_on_from_packed_bytes_changes_nothing(calls: list[Call], cuts: list[int]) -> None:
    """A stream's summary does not depend on how its records were split into segments."""
    summary = MetricSummary()
    for at, (step, value) in enumerate(calls):
        if at in cuts:
            summary = MetricSummary.unpack(summary.pack())
        summary.add(step, value)
    assert summary.pack() == summary_of(calls).pack()


@settings(max_examples=300, deadline=None)
@given(calls_strategy, calls_strategy)
def test_merging_equals_summarising_all(first: list[Call], later: list[Call]) -> None:
    merged, other = summary_of(first), summary_of(later)
    before = other.pack()
    merged.merge(other)
    check(merged, first + later)
    assert other.pack() == before
    merged.merge(MetricSummary())
    check(merged, first + later)
    empty = MetricSummary()
    empty.merge(other)
    check(empty, later)


def test_add_values_makes_a_summary_per_metric() -> None:
    summaries: dict[str, MetricSummary] = {}
    add_values(summaries, 1, {"a": 1.0})
    add_values(summaries, 2, {"a": 2.0, "b": 3.0})
    assert {name: summary.n for name, summary in summaries.items()} == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: b"",
        lambda packed: packed[:-1],
        lambda packed: packed + b"\0",
        lambda packed: b"\x09" + packed[1:],
        lambda packed: packed[:1] + b"\x41" + packed[2:],
    ],
)
def test_bytes_that_are_no_summary(damage) -> None:
    with pytest.raises(ValueError, match="metric summary"):
        MetricSummary.unpack(damage(summary_of([(1, 1.0), (900, 2.0)]).pack()))


def test_a_curve_is_asked_for_when_it_is_needed() -> None:
    summary = MetricSummary()
    for step in range(100):
        summary.add(step, math.sin(step))
    packed, asked = summary.pack(), 0

    def whole() -> bytes:
        nonlocal asked
        asked += 1
        return packed

    head = MetricSummary.unpack_head(packed[:HEAD_BYTES], whole)
    assert (head.n, head.last, head.min, head.max_step) == (100, summary.last, summary.min, summary.max_step)
    assert asked == 0
    assert [bucket.n for _, _, bucket in head.curve()] == [bucket.n for _, _, bucket in summary.curve()]
    assert head.pack() == packed
    assert asked == 1
    assert not list(MetricSummary.unpack_head(packed[:HEAD_BYTES], bytes).curve())
