"""Buckets and pages against a brute force over all points, and against themselves in other batches."""

from __future__ import annotations

import dataclasses
import math
import struct

import numpy as np
import pytest
from helpers.pages import SHAPES, MemoryPages, batch_of, built, until, wild_points
from hypothesis import given, settings
from hypothesis import strategies as st

from wal.pyramid import (
    LAST_EDGE,
    Batch,
    Buckets,
    Columns,
    column_edges,
    columns_of,
    decode,
    encode,
    exponent_for,
    from_points,
    level_of,
    page_range,
    shift_of,
)

Point = tuple[int, int, float]

values = st.floats(width=64) | st.sampled_from([1.0, -0.0, 0.0, math.nan, math.inf, -math.inf, 1e308, -1e308])
steps = st.integers(-40, 40) | st.integers(0, 5000) | st.integers(-(2**63), 2**63 - 1)
points_strategy = st.lists(st.tuples(st.integers(0, 2), steps, values), min_size=1, max_size=150)


# -- the oracle -------------------------------------------------------------------------------------


def plain_bucket(points: list[tuple[int, int, int, float]], base: bool) -> dict[str, float]:
    """One bucket's fields from its (step, seq, us, value) in seq order, the slow way."""
    finite = [point for point in points if math.isfinite(point[3])]
    fields: dict[str, float] = {
        "n": len(points),
        "n_nan": sum(math.isnan(point[3]) for point in points),
        "n_pinf": sum(point[3] == math.inf for point in points),
        "n_ninf": sum(point[3] == -math.inf for point in points),
        "first_seq": min(point[1] for point in points),
        "last_seq": max(point[1] for point in points),
    }
    ordered = sorted(finite)
    low = min((point[3] for point in finite), default=math.nan)
    high = max((point[3] for point in finite), default=math.nan)
    chosen = {
        "first": ordered[:1],
        "last": ordered[-1:],
        "min": [point for point in ordered if point[3] == low][:1],
        "max": [point for point in ordered if point[3] == high][:1],
    }
    for name, found in chosen.items():
        step, _, us, value = found[0] if found else (0, 0, 0, math.nan)
        fields |= {name: value, f"{name}_step": step, f"{name}_us": us}
    if base:
        total = 0.0
        for *_, value in finite:
            total += value
        fields["sum"] = total if math.isfinite(total) else math.nan
    return fields


def same_bits(left: float, right: float) -> bool:
    both_nan = math.isnan(left) and math.isnan(right)
    return both_nan or (left == right and math.copysign(1, left) == math.copysign(1, right))


def check_buckets(buckets: Buckets, batch: Batch, exponent: int, base: bool) -> None:
    """Every bucket says what its points say, and every point is in one."""
    rows = zip(
        batch.metric.tolist(), (batch.step >> 3 * exponent).tolist(), batch.step.tolist(), batch.seq.tolist(),
        batch.us.tolist(), batch.value.tolist(), strict=True,
    )  # fmt: skip
    groups: dict[tuple[int, int], list[tuple[int, int, int, float]]] = {}
    for metric, number, *point in rows:
        groups.setdefault((metric, number), []).append(tuple(point))  # type: ignore[arg-type]
    keys = list(zip(buckets.metric.tolist(), buckets.number.tolist(), strict=True))
    assert keys == sorted(groups)
    for at, key in enumerate(keys):
        for name, expected in plain_bucket(groups[key], base).items():
            assert same_bits(float(getattr(buckets, name)[at]), float(expected)), (key, name)


def equal(left: Buckets, right: Buckets) -> bool:
    return all(
        np.array_equal(getattr(left, field.name), getattr(right, field.name), equal_nan=field.name in FLOATS)
        for field in dataclasses.fields(Buckets)
    )


FLOATS = {"first", "last", "min", "max", "sum"}


# -- buckets and their bytes ------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(points_strategy, st.integers(0, 20))
def test_buckets_of_points_equal_a_brute_force(points: list[Point], exponent: int) -> None:
    batch = batch_of(points)
    check_buckets(from_points(batch, exponent), batch, exponent, base=True)


def test_the_brute_force_notices_a_wrong_bucket() -> None:
    batch = batch_of([(0, step, float(step)) for step in range(20)])
    buckets = from_points(batch, 1)
    for name in ("n", "min", "max", "last", "sum", "min_step", "first_us", "last_seq"):
        wrong = getattr(buckets, name).copy()
        wrong[1] += 1
        with pytest.raises(AssertionError):
            check_buckets(dataclasses.replace(buckets, **{name: wrong}), batch, 1, base=True)


@settings(max_examples=300, deadline=None)
@given(points_strategy, st.integers(0, 19), st.lists(st.integers(1, 150), max_size=6))
def test_every_level_equals_a_brute_force_whatever_the_batches(
    points: list[Point], shift: int, cuts: list[int]
) -> None:
    batch = batch_of(points)
    store = built(batch, shift, cuts)
    assert store.bodies == built(batch, shift).bodies
    for metric in set(batch.metric.tolist()):
        mine = batch.pick(batch.metric == metric)
        levels = sorted(level for found, level, _ in store.pages if found == metric)
        assert set(levels) == set(range(1, levels[-1] + 1))
        for level in range(1, levels[-1] + 1):
            buckets = decode(store.of(metric, level), shift + level)
            check_buckets(buckets, mine, shift + level, base=level == 1)
            assert (levels.count(level) > 1 and shift + level < 20) == (level + 1 in levels)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [1, 700, 20_000])
def test_pages_of_long_series_do_not_depend_on_their_batches(shape: str, count: int) -> None:
    rng = np.random.default_rng(count)
    batch = wild_points(rng, count, shape, metrics=2)
    shift = shift_of(batch.step.tolist())
    whole = built(batch, shift)
    assert built(batch, shift, rng.integers(1, count + 1, 7).tolist()).bodies == whole.bodies
    assert built(batch, shift, range(512, count, 512)).bodies == whole.bodies
    for metric, level, number in whole.pages:
        check_page_sums(whole, metric, level, number, shift)


def check_page_sums(store: MemoryPages, metric: int, level: int, number: int, shift: int) -> None:
    """A bucket above the base is the sum of its children, left to right."""
    if level == 1:
        return
    body = store.pages[metric, level, number].body
    buckets = decode([(metric, number, body)], shift + level)
    below = decode(store.of(metric, level - 1), shift + level - 1)
    for at, bucket in enumerate(buckets.number.tolist()):
        total = 0.0
        low, high = np.searchsorted(below.number, [bucket << 3, (bucket + 1) << 3])
        for child in below.sum[low:high].tolist():
            total += child
        assert same_bits(float(buckets.sum[at]), total if math.isfinite(total) else math.nan)


@settings(max_examples=200, deadline=None)
@given(points_strategy, st.integers(1, 20))
def test_a_page_read_back_is_the_page_written(points: list[Point], exponent: int) -> None:
    buckets = from_points(batch_of(points), exponent)
    pages = encode(buckets, exponent, 1)
    found = decode([(page.metric, page.number, page.body) for page in pages], exponent)
    assert equal(found, buckets)
    assert [page.body for page in encode(found, exponent, 1)] == [page.body for page in pages]
    newest = {(page.metric, page.number): page.newest_seq for page in pages}
    for metric, number, seq in zip(
        *(a.tolist() for a in (buckets.metric, buckets.number >> 6, buckets.last_seq)), strict=True
    ):
        assert newest[metric, number] >= seq


# -- columns ----------------------------------------------------------------------------------------


def columns_from_pages(
    store: MemoryPages, batch: Batch, paged: int, shown: tuple[int, int], width: int, shift: int
) -> tuple[Columns, Columns, int]:
    """The columns as a reader makes them, those of all points with the same edges, and the pages read."""
    exponent = exponent_for(*shown, width)
    edges = column_edges(*shown, width, exponent)
    level = min(level_of(exponent, shift), max((key[1] for key in store.pages), default=0))
    exact = columns_of(None, 0, batch, edges)
    if not level:
        return exact, exact, 0
    first, last = page_range(int(edges[0]), int(edges[-1]) - 1, shift + level)
    pages = [page for page in store.of(0, level) if first <= page[1] <= last]
    tail = batch.pick(batch.seq > paged)
    return columns_of(decode(pages, shift + level), shift + level, tail, edges), exact, len(pages)


def check_columns(found: Columns, exact: Columns) -> None:
    for field in dataclasses.fields(Columns):
        left, right = getattr(found, field.name), getattr(exact, field.name)
        if field.name == "mean":
            known = np.isfinite(left) & np.isfinite(right)
            scale = np.maximum(np.abs(exact.min), np.abs(exact.max))[known]
            assert (np.abs(left[known] - right[known]) <= 1e-9 * scale + 1e-300).all()
        else:
            assert np.array_equal(left, right, equal_nan=left.dtype == np.float64), field.name


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [1, 63, 5_000, 200_000])
def test_columns_from_pages_and_the_tail_equal_those_of_all_points(shape: str, count: int) -> None:
    rng = np.random.default_rng(count)
    batch = wild_points(rng, count, shape)
    shift = shift_of(batch.step.tolist())
    paged = count - count % 512
    store = built(until(batch, 0, paged), shift) if paged else MemoryPages()
    low, high = int(batch.step.min()), int(batch.step.max())
    for width in (1, 40, 320):
        for _ in range(6):
            shown = sorted(rng.integers(low, high + 1, 2).tolist())
            found, exact, pages = columns_from_pages(store, batch, paged, (shown[0], shown[1]), width, shift)
            check_columns(found, exact)
            assert pages <= width / 4 + 2
        found, exact, pages = columns_from_pages(store, batch, paged, (low, high), width, shift)
        check_columns(found, exact)
        assert int(found.n.sum()) == count
        assert pages <= width / 4 + 2


def test_comparing_columns_notices_a_lost_point_and_a_lost_nan() -> None:
    batch = batch_of([(0, step, math.nan if step == 7000 else math.sin(step)) for step in range(10_000)])
    store = built(batch, 0)
    found, exact, _ = columns_from_pages(store, batch, 10_000, (0, 9_999), 40, 0)
    check_columns(found, exact)
    level = level_of(exponent_for(0, 9_999, 40), 0)
    for lost in (5000, 7000):
        poorer = built(batch.pick(batch.step != lost), 0)
        store.pages |= {key: page for key, page in poorer.pages.items() if key[1] == level}
        with pytest.raises(AssertionError):
            check_columns(columns_from_pages(store, batch, 10_000, (0, 9_999), 40, 0)[0], exact)


@settings(max_examples=300, deadline=None)
@given(st.integers(-(2**62), 2**62), st.integers(0, 2**62 - 2), st.integers(1, 500))
def test_an_edge_moves_by_a_quarter_of_a_column_at_most(first: int, span: int, count: int) -> None:
    exponent = exponent_for(first, first + span, count)
    plain = column_edges(first, first + span, count).tolist()
    moved = column_edges(first, first + span, count, exponent).tolist()
    assert moved[0] <= first
    assert moved[-1] > first + span or moved[-1] == LAST_EDGE
    assert all(edge % 8**exponent == 0 for edge in moved if edge != LAST_EDGE)
    if exponent:
        assert len(moved) == len(plain)
        width = (span + 1) / count
        assert all(abs(a - b) <= width / 4 + 1 for a, b in zip(plain[1:-1], moved[1:-1], strict=True))


def test_the_shift_follows_the_smallest_gap_of_the_first_records() -> None:
    assert shift_of([]) == shift_of([5]) == shift_of([1, 2, 3]) == shift_of([7, 7, 7]) == 0
    assert shift_of([0, 8, 16]) == 1
    assert shift_of([0, 1_048_576, 3_000_000]) == 6
    assert shift_of([*range(0, 64 * 600, 600), 601]) == 3
    assert shift_of([0, 2**62]) == 19


def test_a_signalling_nan_is_a_nan_and_no_warning() -> None:
    signalling = np.frombuffer(struct.pack("<Q", 0x7FF0_0000_0000_0001), dtype=np.float64)
    batch = batch_of([(0, 1, 0.0)])
    (found,) = from_points(dataclasses.replace(batch, value=signalling), 0).n_nan
    assert found == 1
