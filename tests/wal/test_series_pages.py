"""Series from the local pages and the records beyond them, against the columns of all points."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from helpers.logs import SECOND, START_NS, log, make_run, open_journal
from helpers.onerun import acknowledge
from helpers.pagedlogs import check_series, check_whole, fill_pages, new_log, points_of, write_metric
from helpers.pages import SHAPES, wild_steps, wild_values
from helpers.reading import merged_source

from wal.journal import Journal
from wal.paging.pagefile import PAGES_FILE
from wal.pyramid import Batch, reduce
from wal.source import Ask, XAxis

COUNT = 6_000


def wild_log(log_dir: Path, shape: str, count: int = COUNT, seed: int = 1) -> Journal:
    rng = np.random.default_rng(seed)
    points = list(zip(wild_steps(rng, count, shape).tolist(), wild_values(rng, count).tolist(), strict=True))
    return new_log(log_dir, lambda journal: write_metric(journal, points))


def ranges_of(points: Batch, rng: np.random.Generator) -> list[tuple[int, int] | None]:
    """The whole, and zooms down to a few steps."""
    low, high = int(points.step.min()), int(points.step.max())
    found: list[tuple[int, int] | None] = [None]
    span = high - low
    while span > 4:
        first = int(rng.integers(low, max(high - span, low) + 1))
        found.append((first, min(first + span, high)))
        span //= 5
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_columns_equal_those_of_all_points(tmp_path: Path, shape: str) -> None:
    journal = wild_log(tmp_path, shape)
    points = points_of(journal.directory)
    for paged in (0, 512, COUNT - COUNT % 512, COUNT):
        if paged:
            fill_pages(journal.directory, paged)
        rng = np.random.default_rng(paged)
        with merged_source(tmp_path) as source:
            for columns in (1, 40, 320):
                for shown in ranges_of(points, rng):
                    (series,) = source.series(journal.run.run_id, Ask("loss", columns, range=shown))
                    check_series(series, points)
                    check_whole(series, points)
                    assert not series.approximate
                    if shown is None:
                        assert int(series.columns.n.sum()) == COUNT


def test_the_oracle_notices_a_lost_page(tmp_path: Path) -> None:
    """The comparison above can fail: a page that is not there is missed, and so is one of too few points."""
    journal = wild_log(tmp_path, "dense")
    fill_pages(journal.directory, COUNT)
    points = points_of(journal.directory)
    with sqlite3.connect(journal.directory / PAGES_FILE) as pages:
        pages.execute("DELETE FROM page WHERE level = 1 AND number = 3")
    pages.close()
    with merged_source(tmp_path) as source:
        (series,) = source.series(journal.run.run_id, Ask("loss", 320))
        with pytest.raises(AssertionError):
            check_series(series, points)


@pytest.mark.parametrize("every", [1, 40])
def test_a_growing_run(tmp_path: Path, every: int) -> None:
    """However records, pages and late records come: every look shows all there is."""
    rng = np.random.default_rng(every)
    journal = open_journal(tmp_path, make_run())
    with merged_source(tmp_path) as source:
        step = 0
        for look in range(30):
            late = rng.random() < 0.3
            steps = [
                (int(rng.integers(0, step + 1)) if late else step + at)
                for at in range(40 if every > 1 else 400)
            ]
            step += 0 if late else len(steps)
            write_metric(journal, [(at, float(rng.normal())) for at in steps], every=every)
            if rng.random() < 0.5:
                fill_pages(journal.directory, journal.last_seq // 512 * 512)
            points = points_of(journal.directory)
            for columns, shown in ((60, None), (60, (0, step)), (7, (step // 2, step // 2 + 90))):
                (series,) = source.series(journal.run.run_id, Ask("loss", columns, range=shown))
                check_series(series, points)
                check_whole(series, points)
            row = source.metric(journal.run.run_id, "loss")
            assert row.summary.n == len(points), look
    journal.close()


def test_the_same_list_while_nothing_changed(tmp_path: Path) -> None:
    journal = wild_log(tmp_path, "dense")
    fill_pages(journal.directory, COUNT)
    with merged_source(tmp_path) as source:
        ask = Ask("loss", 100)
        assert source.series(journal.run.run_id, ask) is source.series(journal.run.run_id, ask)


@pytest.mark.parametrize("damage", ["deleted", "garbage", "torn page", "another format"])
def test_pages_that_cannot_be_read(tmp_path: Path, damage: str) -> None:
    """Damaged at any time, also while they are in use: the records are read then."""
    journal = wild_log(tmp_path, "dense", count=9_000)
    fill_pages(journal.directory, 9_000)
    points = points_of(journal.directory)
    path = journal.directory / PAGES_FILE
    with merged_source(tmp_path) as source:
        check_series(source.series(journal.run.run_id, Ask("loss", 50, range=(100, 4_000)))[0], points)
        if damage == "deleted":
            path.unlink()
        elif damage == "garbage":
            path.write_bytes(b"no database at all " * 999)
        else:
            change = "UPDATE page SET body = substr(body, 1, 40)" if damage == "torn page" else (
                "UPDATE meta SET v = 99 WHERE k = 'format'"
            )  # fmt: skip
            with sqlite3.connect(path) as pages:
                pages.execute(change)
            pages.close()
        for shown in (None, (5_000, 8_999), (70, 110)):
            (series,) = source.series(journal.run.run_id, Ask("loss", 50, range=shown))
            check_series(series, points)
            check_whole(series, points)


def test_what_is_not_shipped_is_marked(tmp_path: Path) -> None:
    journal = wild_log(tmp_path, "dense")
    fill_pages(journal.directory, COUNT)
    acknowledge(tmp_path, journal.stream.stream_id, 4_321)
    with merged_source(tmp_path) as source:
        for columns in (10, 320):
            (series,) = source.series(journal.run.run_id, Ask("loss", columns))
            edges = np.asarray(series.columns.edges)
            late = series.unshipped
            assert late[edges[:-1] >= 4_320].all()  # step 4,321 is seq 4,322
            assert not late[edges[1:] <= 4_321].any()


# -- resumes and ranks ------------------------------------------------------------------------------


def write_resumed(log_dir: Path, first: int, start: int, second: int) -> tuple[Journal, Journal]:
    """A stream of ``first`` steps, and one that resumes it at ``start`` and goes on for ``second`` steps."""
    rng = np.random.default_rng(3)
    run = make_run()
    journals: list[Journal] = []
    for begin, count, after in ((0, first, None), (start, second, 0)):
        options = {} if after is None else {"after": journals[0].stream.stream_id}
        journal = open_journal(log_dir, run, lambda at=begin: START_NS + at * SECOND, **options)
        values = rng.normal(size=count).tolist()
        for at, value in enumerate(values, start=begin):
            log(journal, at, {"loss": value, **({"only_first": value} if after is None else {})})
        journal.close("done", 0)
        fill_pages(journal.directory, count)
        journals.append(journal)
    return journals[0], journals[1]


@pytest.mark.parametrize("start", [0, 1, 3_000, 4_095, 4_096, 5_000])
def test_a_resume_supersedes_from_its_first_step(tmp_path: Path, start: int) -> None:
    old, new = write_resumed(tmp_path, 5_000, start, 4_000)
    old_points, new_points = points_of(old.directory), points_of(new.directory)
    with merged_source(tmp_path) as source:
        for columns in (20, 320):
            found = source.series(old.run.run_id, Ask("loss", columns, ghosts=True))
            kept = [one for one in found if one.stream_id == old.stream.stream_id and not one.ghost]
            ghosts = [one for one in found if one.ghost]
            (resumed,) = (one for one in found if one.stream_id == new.stream.stream_id)
            check_series(resumed, new_points)
            assert resumed.restarts == (start,)
            assert len(kept) == (start > 0)
            assert len(ghosts) == (start < 5_000)
            for one in kept:
                check_series(one, old_points.pick(old_points.step < start))
            for one in ghosts:
                check_series(one, old_points.pick(old_points.step >= start))
            without = source.series(old.run.run_id, Ask("loss", columns))
            assert [one.ghost for one in without] == [False] * (len(kept) + 1)
            (alone,) = source.series(old.run.run_id, Ask("only_first", columns, ghosts=True))
            check_series(alone, old_points)  # the newer stream does not log it


def test_ranks_are_series_of_their_own_rank_0_first(tmp_path: Path) -> None:
    run = make_run()
    points = [(at, float(at)) for at in range(600)]
    for rank in (1, 0):
        journal = open_journal(tmp_path, run, rank=rank)
        write_metric(journal, [(step, value + rank) for step, value in points])
        journal.close("done", 0)
        fill_pages(journal.directory, 600)
    with merged_source(tmp_path) as source:
        found = source.series(run.run_id, Ask("loss", 30))
        assert [one.rank for one in found] == [0, 1]
        assert [one.columns.min[0] for one in found] == [0.0, 1.0]


# -- other axes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("paged", [0, 20_000])
@pytest.mark.parametrize("kind", ["time", "relative"])
def test_time_axes(tmp_path: Path, kind: str, paged: int) -> None:
    """Counts and extremes are all there; zoomed in to single points, each is in its column."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=20_000).tolist()
    journal = new_log(tmp_path, lambda journal: write_metric(journal, list(enumerate(values))))
    if paged:
        fill_pages(journal.directory, paged)
    points = points_of(journal.directory)
    us = np.maximum.accumulate(points.us) - (START_NS // 1_000 if kind == "relative" else 0)
    axis = XAxis("time" if kind == "time" else "relative")
    with merged_source(tmp_path) as source:
        (series,) = source.series(journal.run.run_id, Ask("loss", 100, axis))
        assert series.extent == (us[0], us[-1])
        assert int(series.columns.n.sum()) == 20_000
        assert (np.nanmin(series.columns.min), np.nanmax(series.columns.max)) == (min(values), max(values))
        assert series.approximate
        for low, high in ((11_000, 11_400), (0, 30), (19_990, 19_999)):
            shown = (int(us[low]), int(us[high]))
            (series,) = source.series(journal.run.run_id, Ask("loss", 100, axis, shown))
            assert not series.approximate
            edges = np.asarray(series.columns.edges)
            inside = (us >= edges[0]) & (us < edges[-1])
            exact = reduce(us[inside], points.value[inside], edges)
            assert np.array_equal(series.columns.n, exact.n)
            assert np.array_equal(series.columns.min, exact.min, equal_nan=True)
            assert np.array_equal(series.columns.first_x, exact.first_step)
            assert np.array_equal(series.columns.max_step, np.where(exact.n > 0, points.step[
                np.searchsorted(us, exact.max_step)], 0))  # fmt: skip


@pytest.mark.parametrize("paged", [0, 20_000])
def test_a_step_that_was_logged_late_does_not_take_others_along(tmp_path: Path, paged: int) -> None:
    """An early step's value that comes an hour after the others: on a time axis these stay where they are."""
    late = [(step, 0.5) for step in range(20_000)]
    late.insert(15_000, (40, 7.0))
    journal = new_log(tmp_path, lambda journal: write_metric(journal, late))
    if paged:
        fill_pages(journal.directory, paged)
    us = points_of(journal.directory).us
    with merged_source(tmp_path) as source:
        (series,) = source.series(journal.run.run_id, Ask("loss", 100, XAxis("time")))
        assert int(series.columns.n.sum()) == 20_001
        assert np.nanmax(series.columns.max) == 7.0
        assert series.columns.n.max() < 2 * series.columns.n[:-1].min()
        for low, high in ((0, 30), (8_000, 8_400)):
            shown = (int(us[low]), int(us[high]))
            (series,) = source.series(journal.run.run_id, Ask("loss", 100, XAxis("time"), shown))
            edges = np.asarray(series.columns.edges)
            inside = int(((us >= edges[0]) & (us < edges[-1])).sum())
            assert abs(int(series.columns.n.sum()) - inside) <= series.resolution <= 8


@pytest.mark.parametrize("paged", [0, 9_000])
def test_a_metric_as_the_x_axis(tmp_path: Path, paged: int) -> None:
    def write(journal: Journal) -> None:
        for at in range(9_000):
            log(journal, at, {"loss": math.sin(at / 500), **({"epoch": at / 1_000} if at % 2 else {})})

    journal = new_log(tmp_path, write)
    if paged:
        fill_pages(journal.directory, paged)
    axis = XAxis("metric", "epoch")
    with merged_source(tmp_path) as source:
        (series,) = source.series(journal.run.run_id, Ask("loss", 60, axis))
        columns = series.columns
        assert series.approximate
        assert columns.edges.dtype == np.float64
        assert columns.edges[0] <= 0.1
        middle = (columns.edges[:-1] + columns.edges[1:]) / 2
        filled = columns.n > 0
        assert np.abs(columns.mean[filled] - np.sin(middle[filled] * 2)).max() < 0.2
        (zoomed,) = source.series(journal.run.run_id, Ask("loss", 60, axis, (4.0, 4.05)))
        assert zoomed.resolution == 1
        assert int(zoomed.columns.n.sum()) == 25  # the steps that log both
        assert zoomed.last is not None
        assert zoomed.last.x == 8.999
        assert (
            source.series(journal.run.run_id, Ask("loss", 60, XAxis("metric", "none")))[0].columns.n.sum()
            == 0
        )
