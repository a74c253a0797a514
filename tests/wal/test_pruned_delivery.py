"""Segments that are pruned while their run goes on, with a real Cassandra: the run stays whole for all."""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from helpers.logs import log, make_run, open_journal
from helpers.nodes import fresh_keyspace
from helpers.pagedlogs import check_series, check_whole, points_of
from helpers.pruned import PRUNABLE, RECORDS, SEGMENT, age, log_stream, plain, receipts
from helpers.reading import merged_source, wait_for_answers
from helpers.scan import in_cassandra, query
from helpers.streampages import in_file, recomputed
from helpers.syncing import connect, drain, make_syncer, step_until, target_of
from helpers.waiting import stream_records, wait_until

from wal.cassandra.server import Node
from wal.catalog import Catalog
from wal.journal import read_meta, read_records, segment_paths
from wal.paging.pagefile import delete_pages
from wal.record import Record
from wal.settings import Settings
from wal.shipping import inbox
from wal.shipping.clearing import Shortened, clear_segments
from wal.shipping.delivery import Delivery, exit_code
from wal.shipping.proof import RunProof
from wal.source import Ask, Connection
from wal.syncer import Outcome, Syncer

QUIET_S = 100.0
"""More than the minute after which an acknowledgement is certain."""


class Quiet:
    """A monotonic clock that can be set on."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.passed_s


def settle(syncer: Syncer, clock: Quiet, paged_seq: int) -> None:
    """Have everything that is paged shipped, and certain."""

    def is_settled(outcome: Outcome) -> bool:
        known = list(syncer.state.paging().values())
        settled = [min(one.fine_settled, one.coarse_settled) for one in known]
        clock.passed_s += QUIET_S if not outcome.waiting else 0.0
        return not outcome.waiting and not syncer.doubts.held and settled == [paged_seq]

    step_until(syncer, is_settled)


@contextmanager
def delivery(log_dir: Path, settings: Settings, **options: object) -> Generator[Delivery]:
    store = connect(target_of(settings))
    try:
        yield Delivery(log_dir, store, **options)  # type: ignore[arg-type]
    finally:
        store.close(wait=True)


def prove(log_dir: Path, settings: Settings, run_id: UUID) -> RunProof:
    with delivery(log_dir, settings) as here:
        return here.prove(run_id)


def code(proof: RunProof) -> int:
    return exit_code(proof.faults, proof.open, proof.rejected)


def deliver(log_dir: Path, settings: Settings, paged_seq: int) -> None:
    clock = Quiet()
    syncer = make_syncer(log_dir, settings, monotonic=clock)
    settle(syncer, clock, paged_seq)
    syncer.close()


def clear(log_dir: Path, settings: Settings) -> list[Shortened]:
    with delivery(log_dir, settings) as here:
        return clear_segments(here, time.time_ns(), 0.0)


@pytest.fixture
def pruned(tmp_path: Path, keyspace5: Settings) -> tuple[Path, Path]:
    """A stream that ended, its first segments pruned; and a copy of its directory as it was before."""
    journal = open_journal(tmp_path / "log", make_run(), records_per_segment=SEGMENT)
    log_stream(journal)
    journal.close("done", 0)
    deliver(tmp_path / "log", keyspace5, RECORDS)
    before = Path(shutil.copytree(journal.directory, tmp_path / "before"))
    age(journal.directory)
    (shortened,) = clear(tmp_path / "log", keyspace5)
    assert (shortened.segments, shortened.records) == (len(PRUNABLE), len(PRUNABLE) * SEGMENT)
    assert receipts(journal.directory) == list(PRUNABLE)
    return journal.directory, before


def records_of(path: Path) -> list[Record]:
    """Those of a segment; none of one that is made ahead."""
    return read_records(path) if read_meta(path) is not None else []


def ids(directory: Path) -> tuple[UUID, UUID]:
    return UUID(directory.parent.name), UUID(directory.name)


# -- while it runs -------------------------------------------------------------------------------------


def test_a_run_is_pruned_while_it_goes_on(tmp_path: Path, keyspace5: Settings) -> None:
    log_dir = tmp_path / "log"
    run = make_run()
    journal = open_journal(log_dir, run, records_per_segment=SEGMENT)
    log_stream(journal)
    wait_until(lambda: plain(journal, 5))
    clock = Quiet()
    syncer = make_syncer(log_dir, keyspace5, monotonic=clock)
    settle(syncer, clock, 1024)
    age(journal.directory)
    truth = stream_records(journal.directory)
    with delivery(log_dir, keyspace5, tell=inbox.post) as here:
        clear_segments(here, time.time_ns(), 0.0)
    step_until(syncer, lambda _: receipts(journal.directory) == [1, 2, 3])

    log_stream(journal, 1_500)
    step_until(syncer, lambda outcome: outcome.waiting == 0 and not syncer.state.dirty)
    proof = prove(log_dir, keyspace5, run.run_id)
    assert (code(proof), proof.streams[0].complete.pairs) == (0, ((1, 1_500),))
    for path in segment_paths(journal.directory)[5:]:
        truth += [record for record in records_of(path) if record.seq > RECORDS]
    assert [record.seq for record in truth] == list(range(1, 1_501))
    with merged_source(log_dir, keyspace5) as source:
        wait_for_answers(source)
        assert list(source.records(run.run_id, journal.stream_id)) == truth
        assert list(source.records(run.run_id, journal.stream_id, 590, 30)) == truth[590:620]
        (row,) = source.runs()
        assert (row.records, row.unshipped, row.problem) == (1_500, 0, "")
    journal.close("done", 0)
    resumed = open_journal(log_dir, run, after=journal.stream_id)
    log(resumed, 1_501, {"loss": 0.25})
    resumed.close("done", 0)
    step_until(syncer, lambda outcome: outcome.drained)
    syncer.close()
    proof = prove(log_dir, keyspace5, run.run_id)
    assert (code(proof), proof.rows, [one.pages for one in proof.streams]) == (0, 1_501, [[], []])


def test_curves_and_points_are_cassandras_where_the_log_has_none(
    pruned: tuple[Path, Path], keyspace5: Settings
) -> None:
    directory, before = pruned
    points = points_of(before)
    with merged_source(directory.parent.parent, keyspace5) as source:
        wait_for_answers(source)
        run_id, stream_id = ids(directory)
        (series,) = source.series(run_id, Ask("loss", 60))
        check_series(series, points)
        check_whole(series, points)
        for low, high in ((90, 130), (780, 840), (1, RECORDS)):
            (series,) = source.series(run_id, Ask("loss", 2_000, range=(low, high)))
            assert series.resolution == 1, "every point by itself"
            check_series(series, points)
            assert not series.unshipped.any()
        found = source.points(run_id, stream_id, "loss")
        assert np.array_equal(found.seq, points.seq)
        assert np.array_equal(found.value, points.value)
        assert source.status().connection is Connection.UP


# -- what may get lost -----------------------------------------------------------------------------------


def test_without_its_store_a_syncer_knows_by_the_receipts(
    pruned: tuple[Path, Path], keyspace5: Settings
) -> None:
    directory, before = pruned
    log_dir, run_id = directory.parent.parent, ids(directory)[0]
    for path in log_dir.glob("state.db*"):
        path.unlink()
    outcome = drain(log_dir, keyspace5)
    assert (outcome.waiting, outcome.damaged) == (0, 0)
    catalog = Catalog(log_dir)
    (entry,) = catalog.streams()
    catalog.close()
    assert (entry.acked, entry.unshipped) == (((1, RECORDS),), 0)
    assert acknowledged(keyspace5) == [1, RECORDS]
    proof = prove(log_dir, keyspace5, run_id)
    assert (code(proof), proof.complete) == (0, RECORDS)
    content = in_cassandra(keyspace5).content
    assert len(content) == len(stream_records(before))


def test_lost_pages_are_made_of_cassandras_rows(pruned: tuple[Path, Path], keyspace5: Settings) -> None:
    directory, before = pruned
    expected = recomputed(before)
    assert in_file(directory) == expected
    delete_pages(directory)
    drain(directory.parent.parent, keyspace5)
    assert in_file(directory) == expected
    assert code(prove(directory.parent.parent, keyspace5, ids(directory)[0])) == 0


def test_lost_pages_wait_for_every_row(pruned: tuple[Path, Path], keyspace5: Settings) -> None:
    directory, before = pruned
    delete_pages(directory)
    delete_row(keyspace5, directory, 500)
    syncer = make_syncer(directory.parent.parent, keyspace5)
    step_until(syncer, lambda _: any("lacks some" in text for text in syncer.pager.problems))
    syncer.close()
    assert in_file(directory) == recomputed(before, 2 * SEGMENT), "up to there, and nothing of what follows"


def key_of(directory: Path, seq: int) -> str:
    """The primary key of a record, as CQL."""
    run_id, stream_id = ids(directory)
    return f"run_id = {run_id} AND stream = {stream_id} AND chunk = {seq >> 10} AND seq = {seq}"


def delete_row(settings: Settings, directory: Path, seq: int) -> None:
    query(settings, f"DELETE FROM {{}}.training_metrics WHERE {key_of(directory, seq)}")


def change_row(settings: Settings, directory: Path, seq: int) -> None:
    change = "UPDATE {}.training_metrics SET values = {{'loss': 9.0}} WHERE "
    query(settings, change + key_of(directory, seq))


def test_what_was_pruned_is_proven_by_its_receipt_and_never_removed(
    pruned: tuple[Path, Path], keyspace5: Settings
) -> None:
    directory, _ = pruned
    log_dir, run_id = directory.parent.parent, ids(directory)[0]
    change_row(keyspace5, directory, RECORDS - 3)
    with delivery(log_dir, keyspace5) as here:
        proof = here.mend(run_id, lambda: drain(log_dir, keyspace5))
        assert (code(proof), proof.complete) == (0, RECORDS), "with a newer base, but for what was pruned"
        change_row(keyspace5, directory, 300)
        proof = here.mend(run_id, lambda: drain(log_dir, keyspace5), remove=True)
    (stream,) = proof.streams
    assert (code(proof), stream.rows) == (1, RECORDS)
    assert 300 in stream.differing
    assert any("cannot send them again" in problem for problem in stream.expected.problems)
    delete_row(keyspace5, directory, 300)
    (stream,) = prove(log_dir, keyspace5, run_id).streams
    assert stream.missing.pairs == ((300, 300),)


def test_another_cassandra_is_not_told_that_it_has_what_was_pruned(
    pruned: tuple[Path, Path], keyspace5: Settings, cassandra5: Node
) -> None:
    directory, _ = pruned
    log_dir, gone = directory.parent.parent, len(PRUNABLE) * SEGMENT
    with fresh_keyspace(cassandra5) as other:
        syncer = make_syncer(log_dir, other)
        step_until(syncer, lambda outcome: outcome.waiting == outcome.damaged == gone)
        assert any("in Cassandra alone" in problem for problem in syncer.backlog.problems)
        step_until(syncer, lambda _: acknowledged(other) == [gone + 1, RECORDS])
        syncer.close()
        with merged_source(log_dir, other) as source:
            wait_for_answers(source)
            (series,) = source.series(ids(directory)[0], Ask("loss", 40))
            assert series.points == RECORDS - 2
    drain(log_dir, keyspace5)
    assert code(prove(log_dir, keyspace5, ids(directory)[0])) == 0


def acknowledged(settings: Settings) -> list[int]:
    """First and last of each range that Cassandra is told to have."""
    ((ranges,),) = query(settings, "SELECT acknowledged FROM {}.run_streams")
    return list(ranges or ())  # type: ignore[call-overload]
