"""The pure parts of reading the log and Cassandra as one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from helpers.logs import START_NS, log, make_run, open_journal, write_run
from hypothesis import given, settings
from hypothesis import strategies as st

from wal.catalog import Catalog
from wal.local import LocalSource
from wal.reading.backlogage import LATE_S, MANY_RECORDS, BacklogAge
from wal.reading.mergerows import extend_stream, merge_details, merge_rows, merge_runs, merge_streams
from wal.reading.pointcache import PointCache, StreamPoints, is_within, whole_prefix
from wal.reading.points import pick
from wal.reading.reach import Workers
from wal.record import Kind, Record
from wal.shipping.ranges import Ranges
from wal.source import Points, RunDetail, RunState


def points_of(seqs: list[int], value: float) -> Points:
    seq = np.array(seqs, dtype=np.int64)
    return Points(seq, seq * 10, seq * 100, np.full(len(seqs), value))


# -- rows ------------------------------------------------------------------------------------------


def details(tmp_path: Path) -> tuple[RunDetail, RunDetail]:
    """One run as the log has it, and as Cassandra would have it."""
    run_id, _ = write_run(tmp_path, ({"loss": 1 / step} for step in range(1, 11)), make_run(config={"lr": 1}))
    local = LocalSource(tmp_path).run(run_id)
    return local, replace(local, row=replace(local.row, local=False, unshipped=0, shipped=True))


def test_the_log_is_ahead_of_what_was_shipped(tmp_path: Path) -> None:
    local, shipped = details(tmp_path)
    old = replace(shipped.row, records=4, step=4, state=RunState.RUNNING)
    row = merge_rows(local.row, old)
    assert (row.records, row.step, row.state, row.unshipped) == (10, 10, RunState.DONE, 10)
    assert (row.local, row.shipped) == (True, True)


def test_a_run_that_went_on_elsewhere(tmp_path: Path) -> None:
    local, shipped = details(tmp_path)
    later = replace(
        shipped.row, streams=2, records=30, step=25, host="other", state=RunState.RUNNING,
        last_ts_ns=local.row.last_ts_ns + 1,
    )  # fmt: skip
    row = merge_rows(local.row, later)
    assert (row.records, row.step, row.host, row.state, row.streams) == (30, 25, "other", RunState.RUNNING, 2)
    assert row.local


def test_a_damaged_log_knows_less(tmp_path: Path) -> None:
    local, shipped = details(tmp_path)
    damaged = replace(
        local,
        row=replace(local.row, records=0, name="4f2ac1", project="", problem="000001.db cannot be read"),
        streams=(replace(local.streams[0], records=0, problem="000001.db cannot be read"),),
        config={}, metrics={},
    )  # fmt: skip
    merged = merge_details(damaged, shipped)
    assert (merged.row.name, merged.row.records) == (shipped.row.name, 10)
    assert merged.row.problem == merged.streams[0].problem == "000001.db cannot be read"
    assert (merged.streams[0].records, merged.config, list(merged.metrics)) == (10, {"lr": 1}, ["loss"])


def test_all_runs_newest_first(tmp_path: Path) -> None:
    local, shipped = details(tmp_path)
    newer = replace(shipped.row, run_id=make_run(at_ns=START_NS * 2).run_id, started_ns=START_NS * 2)
    rows = merge_runs([local.row], {newer.run_id: newer, local.row.run_id: shipped.row})
    assert [row.run_id for row in rows] == [newer.run_id, local.row.run_id]
    assert [row.local for row in rows] == [False, True]


def test_each_stream_once(tmp_path: Path) -> None:
    local, shipped = details(tmp_path)
    other = replace(shipped.streams[0], stream_id=make_run().run_id, started_ns=START_NS * 2, host="other")
    behind = replace(shipped.streams[0], records=3)
    merged = merge_streams(local.streams, [other, behind])
    assert [(row.host, row.records) for row in merged] == [(local.row.host, 10), ("other", 10)]


def test_a_tail_extends_a_stream_as_far_as_it_is_whole(tmp_path: Path) -> None:
    local, _ = details(tmp_path)
    row = replace(local.streams[0], records=10, acked=((1, 8),), last_step=10)
    tail = [Record(seq, Kind.LOG, seq + 5, 7 * seq) for seq in (9, 10, 11, 13)]
    extended = extend_stream(row, tail)
    assert (extended.records, extended.acked, extended.last_step) == (11, ((1, 11),), 16)
    assert extend_stream(row, tail[1:]) == row


# -- points ----------------------------------------------------------------------------------------

seqs = st.sets(st.integers(1, 60))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=5), seqs)
def test_is_within(pairs: list[tuple[int, int]], asked: set[int]) -> None:
    ranges = Ranges((first, first + length) for first, length in pairs)
    found = is_within(np.array(sorted(asked), dtype=np.int64), ranges.pairs)
    assert found.tolist() == [number in ranges for number in sorted(asked)]
    assert whole_prefix(ranges.pairs) == (ranges.end_of(1) or 0)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(seqs, seqs), min_size=1, max_size=5), st.data())
def test_what_is_merged_is_everything_once(
    looks: list[tuple[set[int], set[int]]], data: st.DataObject
) -> None:
    """However the log grows and its records arrive: each once, in order, Cassandra's value if it has one."""
    kept, logged, shipped = StreamPoints(), set[int](), set[int]()
    through = 0
    for grown, arrived in looks:
        logged |= {seq + through for seq in grown}
        after, through = through, max([through, *logged])
        shipped |= arrived & logged
        prefix = max(
            (n for n in range(through + 1) if all(s in shipped for s in logged if s <= n)), default=0
        )
        asked = data.draw(st.booleans())
        if asked:
            new = [seq for seq in sorted(shipped) if seq > kept.prefix]
            kept.take_shipped(points_of(new, 2.0), max(prefix, kept.prefix), object())
        kept.take_local(points_of([s for s in sorted(logged) if after < s <= through], 1.0), after, through)
        if data.draw(st.booleans()):
            kept.drop_settled_local()
        seen = shipped if asked else set(kept.settled.seq.tolist()) | set(kept.loose.seq.tolist())
        points, unshipped = kept.merged([(seq, seq) for seq in sorted(shipped)])
        assert points.seq.tolist() == sorted(logged)
        assert points.step.tolist() == [10 * seq for seq in sorted(logged)]
        assert points.value.tolist() == [2.0 if seq in seen else 1.0 for seq in sorted(logged)]
        assert unshipped.tolist() == [seq not in shipped for seq in sorted(logged)]


def test_the_cache_is_bounded_and_forgets_the_oldest(tmp_path: Path) -> None:
    cache = PointCache(limit_bytes=32 * 250)
    stream = make_run().run_id
    for name in ("a", "b", "c"):
        cache.get((stream, name)).take_local(points_of(list(range(1, 101)), 1.0), 0, 100)
        cache.get((stream, "a"))
        cache.trim()
    assert [name for _, name in cache.entries()] == ["c", "a"]
    cache.get((stream, "huge")).take_local(points_of(list(range(1, 1001)), 1.0), 0, 1000)
    cache.trim()
    assert [name for _, name in cache.entries()] == ["huge"]


def test_picking_by_mask_and_by_place() -> None:
    points = points_of([1, 2, 3], 1.0)
    assert pick(points, points.seq > 1).seq.tolist() == [2, 3]
    assert pick(points, np.array([2, 0])).seq.tolist() == [3, 1]


# -- waiting ---------------------------------------------------------------------------------------


def test_a_live_runs_newest_second_is_no_backlog(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for step in range(1, 11):
        log(journal, step, {"loss": 1.0})
    (entry,) = Catalog(tmp_path).streams()
    age = BacklogAge()
    assert age.late([entry], 0.0) == (10, 0)
    assert age.late([replace(entry, last_seq=20, acked=((1, 10),))], LATE_S + 1) == (10, 0)
    assert age.late([replace(entry, last_seq=30, acked=((1, 15),))], 2 * LATE_S + 2) == (15, 5)
    assert age.late([replace(entry, last_seq=30, acked=((1, 30),))], 3 * LATE_S + 3) == (0, 0)
    assert BacklogAge().late([replace(entry, last_seq=MANY_RECORDS)], 0.0) == (MANY_RECORDS, MANY_RECORDS)
    offline = replace(entry, info=entry.info._replace(mode="offline"))
    assert age.late([offline], 99.0) == (0, 0)
    journal.close()


def test_a_question_under_way_is_asked_once() -> None:
    import threading

    workers, go, asked = Workers(), threading.Event(), list[int]()

    def work() -> str:
        asked.append(1)
        go.wait(30)
        return "answer"

    first, second = workers.ask("key", work), workers.ask("key", work)
    assert first is second
    go.set()
    assert first.done.wait(30)
    assert (first.answer, first.error, len(asked)) == ("answer", None, 1)
    failed = workers.ask("other", lambda: 1 // 0)
    assert failed.done.wait(30)
    assert isinstance(failed.error, ZeroDivisionError)
    workers.close()
