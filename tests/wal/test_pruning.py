"""Pruning: only what is delivered, verified, paged and old goes, and a kill -9 in between harms nothing.

No Cassandra is needed for that: what it said is in ``state.db``, written here as a syncer would.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from helpers.logs import log, make_run, open_journal
from helpers.pruned import put_proven
from helpers.trainer import environment
from helpers.victims import Victims, fork_for_orders
from helpers.waiting import stream_records, streams_in, wait_until

from wal.catalog import Catalog
from wal.journal import Journal, segment_paths
from wal.segments.segment import stream_dirs
from wal.shipping import inbox
from wal.shipping.cursors import Doubt, PagingState, SegmentState, State, StreamState, VerifiedSegment
from wal.shipping.errands import PRUNE, Errands, deliver
from wal.shipping.pruning import TRASH, plan

PLACE = "cascor 1"
HOUR_S = 3600.0
DAY_NS = 86_400 * 1_000_000_000
RECORDS = 25


def write_old_run(log_dir: Path, ranks: int = 2) -> UUID:
    """A run of several streams of three segments, shipped and verified, as old as two hours."""
    run = make_run()
    for rank in range(ranks):
        journal = open_journal(log_dir, run, records_per_segment=10, rank=rank)
        log_segments(journal)
        journal.close("done", 0)
        (journal.directory / "pages.db").write_bytes(b"pages")
        for path in journal.directory.iterdir():
            aged(path)
    deliver_all(log_dir, run.run_id)
    return run.run_id


def log_segments(journal: Journal) -> None:
    for step in range(RECORDS):
        if step % 10 == 9:  # it rotates only into a segment that was made ahead
            wait_until(lambda: journal._next is not None)
        log(journal, step, {"loss": 1.0})


def deliver_all(log_dir: Path, run_id: UUID) -> None:
    state = State(log_dir)
    state.put_destination(PLACE)
    for of_run, stream_id, directory in stream_dirs(log_dir):
        if of_run != run_id:
            continue
        state.put_stream(StreamState(stream_id, run_id, 1, registered=True, end_shipped=True, announced=99))
        put_proven(state, directory)
        state.put_paging(PagingState(stream_id, 0, built_seq=RECORDS, built_ns=1, shipped=True))
    state.commit()
    state.close()


def prune(log_dir: Path, *runs: UUID, destination: str = PLACE, age_s: float = 0.0) -> None:
    content = {"destination": destination, "age_s": age_s, "runs": [str(run) for run in runs]}
    assert deliver(log_dir, PRUNE, content)


def listed(log_dir: Path) -> set[UUID]:
    catalog = Catalog(log_dir)
    try:
        return {row.run_id for row in catalog.run_rows()}
    finally:
        catalog.close()


def test_a_run_that_is_delivered_verified_and_old_goes_as_a_whole(tmp_path: Path) -> None:
    old, other = write_old_run(tmp_path), write_old_run(tmp_path)
    ((first, is_verified), _) = plan(tmp_path, time.time_ns(), 0)
    assert (first.kept, is_verified, first.records) == ("", True, 2 * RECORDS)
    prune(tmp_path, old)
    assert listed(tmp_path) == {other}
    assert not (tmp_path / TRASH).exists()
    state = State(tmp_path)
    assert {(row.run_id, row.name, row.records) for row in state.pruned()} == {(old, "train-1", RECORDS)}
    state.close()


def change(what: Callable[[State, UUID], object]) -> Callable[[Path, UUID], None]:
    """A change of ``state.db``."""

    def apply(log_dir: Path, stream_id: UUID) -> None:
        state = State(log_dir)
        what(state, stream_id)
        state.commit()
        state.close()

    return apply


def of(log_dir: Path, stream_id: UUID) -> Path:
    return next(directory for directory in streams_in(log_dir) if directory.name == str(stream_id))


def aged(path: Path) -> None:
    then = time.time() - 2 * HOUR_S
    os.utime(path, (then, then))


def unseal(log_dir: Path, stream_id: UUID) -> None:
    path = segment_paths(of(log_dir, stream_id))[1]
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM meta WHERE k = 'seal'")
    aged(path)


def damage(log_dir: Path, stream_id: UUID) -> None:
    path = segment_paths(of(log_dir, stream_id))[0]
    path.write_bytes(b"\xff" * 4096)
    aged(path)


NOW = time.time_ns
SPOILT: dict[str, Callable[[Path, UUID], object]] = {
    "not acknowledged": change(lambda s, i: s.put_segment(SegmentState(i, 2, 11, 19, stated=True))),
    "not stated": change(lambda s, i: s.put_segment(SegmentState(i, 2, 11, 20))),
    "verified in part": change(lambda s, i: s.put_verified(VerifiedSegment(i, 2, 11, 19, NOW()))),
    "verified long ago": change(
        lambda s, i: s.put_verified(VerifiedSegment(i, 2, 11, 20, NOW() - 2 * DAY_NS))
    ),
    "doubtful": change(lambda s, i: s.put_doubt(Doubt(i, 1, 5, 1, 2))),
    "refused": change(lambda s, i: s.put_rejected(i, 3, "too large", 1)),
    "pages not shipped": change(lambda s, i: s.put_paging(PagingState(i, 0, RECORDS, 1))),
    "pages behind": change(lambda s, i: s.put_paging(PagingState(i, 0, RECORDS - 1, 1, shipped=True))),
    "to be sent again": change(lambda s, i: s.send_again({i: 0})),
    "another's file": lambda log_dir, stream_id: (of(log_dir, stream_id) / "notes.txt").write_text("mine"),
    "young": lambda log_dir, stream_id: os.utime(segment_paths(of(log_dir, stream_id))[0]),
    "not sealed": unseal,
    "damaged": lambda log_dir, stream_id: segment_paths(of(log_dir, stream_id))[0].write_bytes(
        b"\xff" * 4096
    ),
}


@pytest.mark.parametrize("reason", SPOILT)
def test_what_is_not_wholly_delivered_is_kept_with_its_whole_run(tmp_path: Path, reason: str) -> None:
    run_id = write_old_run(tmp_path)
    before = {path for path in tmp_path.rglob("*") if path.parent.parent.name == str(run_id)}
    SPOILT[reason](tmp_path, UUID(streams_in(tmp_path)[1].name))
    prune(tmp_path, run_id)
    assert before <= set(tmp_path.rglob("*"))


def test_nothing_goes_for_another_cassandra_or_below_the_age(tmp_path: Path) -> None:
    run_id = write_old_run(tmp_path)
    prune(tmp_path, run_id, destination="another")
    prune(tmp_path, run_id, age_s=3 * HOUR_S)
    assert listed(tmp_path) == {run_id}
    prune(tmp_path, run_id, age_s=HOUR_S)
    assert listed(tmp_path) == set()


def test_a_stream_that_is_being_written_is_kept_though_it_is_quiet(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    log(journal, 0, {"loss": 1.0})
    wait_until(lambda: journal._next is not None)
    for path in journal.directory.iterdir():
        os.utime(path, (1.0, 1.0))
    state = State(tmp_path)
    state.put_destination(PLACE)
    state.put_stream(StreamState(journal.stream_id, journal.run_id, 1, registered=True, end_shipped=True))
    state.put_segment(SegmentState(journal.stream_id, 1, 1, 1, stated=True))
    state.put_paging(PagingState(journal.stream_id, 0, 1, 1, shipped=True))
    state.commit()
    state.close()
    ((found, _),) = plan(tmp_path, time.time_ns(), 0)
    assert "not sealed" in found.kept
    prune(tmp_path, journal.run_id)
    assert journal.directory.exists()
    journal.close("done", 0)


def test_without_a_syncers_store_nothing_may_go(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    log(journal, 0, {"loss": 1.0})
    journal.close("done", 0)
    assert plan(tmp_path, time.time_ns(), 0) == []
    assert not (tmp_path / "state.db").exists()


# -- kill -9 at every step -----------------------------------------------------------------------------


def run_errands(log_dir: str, fatal: int) -> None:
    """The victim: carries out what it is asked for and kills itself at a step; else prints how many."""
    steps: list[str] = []

    def on_step(step: str) -> None:
        steps.append(step)
        if len(steps) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    state = State(Path(log_dir))
    Errands(Path(log_dir), state, on_step).run()
    state.close()
    print(len(steps))


@pytest.fixture
def victims() -> Iterator[Victims]:
    with closing(Victims((__file__,), environment())) as victims:
        yield victims


@pytest.mark.kill
def test_a_kill_between_any_two_steps_loses_nothing(tmp_path: Path, victims: Victims) -> None:
    fatal, steps = 0, 1
    before = tmp_path / "before"
    doomed, kept = write_old_run(before), write_old_run(before)
    inbox.post(before, PRUNE, {"destination": PLACE, "age_s": 0, "runs": [str(doomed)]})
    while fatal <= steps:
        log_dir = tmp_path / str(fatal)
        shutil.copytree(before, log_dir)
        done = victims.steps(tmp_path / "said", str(log_dir), fatal)
        assert (done is None) is (fatal > 0)
        steps = done or steps
        # Whatever a reader finds is whole, and what is gone was noted before.
        for directory in streams_in(log_dir):
            assert len(stream_records(directory)) == RECORDS
        assert kept in listed(log_dir)
        state = State(log_dir, read_only=True)
        noted = {pruned.run_id for pruned in state.pruned()}
        state.close()
        assert noted == {doomed}
        state = State(log_dir)
        Errands(log_dir, state).run()
        state.close()
        assert listed(log_dir) == {kept}
        assert not (log_dir / TRASH).exists()
        assert not inbox.waiting(log_dir)
        fatal += 1
    assert steps > 10


if __name__ == "__main__":
    fork_for_orders(run_errands)
