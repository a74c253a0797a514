"""A run that is looked at while it grows: little is read anew, and says the same as reading it all."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path
from uuid import UUID

import pytest
from helpers.logs import log, open_journal
from helpers.pagedlogs import fill_pages
from hypothesis import given, settings
from hypothesis import strategies as st

from wal.link import Target
from wal.merged import MergedSource
from wal.reading.points import join, pick, segment_points, summarise
from wal.reading.segmentindex import SegmentIndex
from wal.reading.tailrows import MOST_RECORDS, TailRows
from wal.segments.segment import segment_paths
from wal.settings import Settings
from wal.source import Points

VALUES = [0.5, -3.0, math.nan, math.inf, 1e300, 0.0]


def whole(directory: Path, metric: str) -> Points:
    return join([segment_points(path, metric) for path in SegmentIndex(directory).after(0)])


def same(found: Points, expected: Points) -> bool:
    names = ("seq", "step", "ts", "value")
    return all(getattr(found, name).tobytes() == getattr(expected, name).tobytes() for name in names)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 60)), min_size=1, max_size=6))
def test_tail_rows_are_the_records(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[tuple[int, int]]
) -> None:
    directory = tmp_path_factory.mktemp("log")
    journal = open_journal(directory, records_per_segment=25)
    rows = TailRows(SegmentIndex(journal.directory).after)
    logged = 0
    for more, back in rounds:
        for _ in range(more):
            logged += 1
            also = {"sparse": float(logged)} if logged % 3 == 0 else {}
            log(journal, 7 * logged % 11, {"loss": VALUES[logged % len(VALUES)], **also})
        for metric in ("loss", "sparse", "none"):
            found = rows.points(metric, max(logged - back, 0), logged)
            if found is not None:
                points = whole(journal.directory, metric)
                assert same(found, pick(points, points.seq > logged - back))
    journal.close()


def test_older_records_than_are_kept_are_not_answered(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for step in range(1, 101):
        log(journal, step, {"loss": 1.0})
    rows = TailRows(SegmentIndex(journal.directory).after)
    assert rows.points("loss", 90, 100) is not None
    assert rows.points("loss", 80, 100) is None
    assert rows.points("loss", 0, MOST_RECORDS + 1) is None
    journal.close()


def test_what_lies_far_behind_the_newest_is_found_too(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for step in range(1, 2 * MOST_RECORDS):
        log(journal, step, {"loss": float(step)})
    rows = TailRows(SegmentIndex(journal.directory).after)
    for after, through in ((2, 3), (100, 180), (2 * MOST_RECORDS - 20, 2 * MOST_RECORDS - 1)):
        found = rows.points("loss", after, through)
        assert found is not None
        assert found.value.tolist() == list(range(after + 1, through + 1))
    assert rows.points("loss", 2, 3) is None
    journal.close()


def test_a_damaged_segment_is_left_to_others(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    log(journal, 1, {"loss": 1.0})
    journal.close()
    with sqlite3.connect(segment_paths(journal.directory)[0]) as connection:
        connection.execute("UPDATE record SET body = x'00'")
    connection.close()
    assert TailRows(SegmentIndex(journal.directory).after).points("loss", 0, 1) is None


@pytest.mark.parametrize("begin", [10, 700])
def test_what_grows_is_summarised_as_if_read_whole(tmp_path: Path, begin: int) -> None:
    """Without pages and beyond them, where buckets double and values are not finite."""
    journal = open_journal(tmp_path)
    source = MergedSource(tmp_path, find=lambda: Target(Settings(), None))
    step = 0

    def grow(records: int) -> None:
        nonlocal step
        for _ in range(records):
            step += 1
            log(journal, step, {"loss": VALUES[step % len(VALUES)] * step})

    def check(run_id: UUID) -> None:
        look = source.look(run_id)
        found = look.metric("loss", wait_s=0.0).summary
        assert found.pack() == summarise(whole(journal.directory, "loss")).pack()
        assert look.metric("loss", wait_s=0.0).summary is found

    grow(begin)
    if begin > 512:
        fill_pages(journal.directory, 512)
    for records in (0, 1, 5, 64, 3, 200):
        grow(records)
        check(journal.run_id)
    if begin > 512:
        fill_pages(journal.directory, step // 512 * 512)
        grow(2)
        check(journal.run_id)
    source.close()
    journal.close()
