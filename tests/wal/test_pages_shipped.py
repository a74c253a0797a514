"""Pages arrive in a real Cassandra byte for byte, and what is said of them there is true at every moment."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from helpers.hardlogs import log_hard
from helpers.logs import Ticking, log, make_run, open_journal, write_run
from helpers.scan import in_cassandra, in_log, query
from helpers.streampages import Pages, in_file, recomputed
from helpers.syncing import connect, drain, make_syncer, step_until, target_of, write_segments

from wal.cassandra.store import Batch, CassandraStore
from wal.journal import Journal
from wal.paging.pagefile import delete_pages, read_state
from wal.settings import Settings
from wal.shipping import pager
from wal.shipping.doubts import QUIET_S
from wal.syncer import Syncer


def shipped(settings: Settings, stream_id: UUID) -> Pages:
    """The pages of a stream in Cassandra."""
    rows = query(settings, "SELECT stream, metric, level, page, newest, body FROM {}.metric_pages")
    return {
        (metric, level, page): (newest, bytes(body))  # type: ignore[misc]
        for stream, metric, level, page, newest, body in rows
        if stream == stream_id
    }


def said(settings: Settings, stream_id: UUID) -> tuple[object, ...]:
    """(shift, paged_seq, coarse_seq, late_seq) as announced."""
    rows = query(settings, "SELECT stream, paged_shift, paged_seq, coarse_seq, late_seq FROM {}.run_streams")
    (found,) = [tuple(row[1:]) for row in rows if row[0] == stream_id]
    return found


def forget_pages(settings: Settings) -> None:
    """What a node does that loses its last seconds."""
    query(settings, "TRUNCATE {}.metric_pages")


def assert_equal(settings: Settings, journal: Journal) -> None:
    """Log, local pages and Cassandra's are one."""
    expected = recomputed(journal.directory)
    assert in_file(journal.directory) == expected
    assert shipped(settings, journal.stream_id) == expected


# -- arriving ------------------------------------------------------------------------------------------


def test_they_are_byte_equal_and_stamped_by_their_newest_point(tmp_path: Path, keyspace: Settings) -> None:
    run = make_run()
    first = open_journal(tmp_path, run)
    log_hard(first, 3_000)
    first.close("failed", 1)
    second = open_journal(tmp_path, run, after=first.stream_id)
    other = open_journal(tmp_path, run, rank=1)
    for journal, seed in ((second, 2), (other, 3)):
        log_hard(journal, 1_500, seed)
        journal.close("done", 0)
    outcome = drain(tmp_path, keyspace)
    assert (outcome.waiting, outcome.unpaged, outcome.rejected) == (0, 0, 0)
    for journal in (first, second, other):
        assert_equal(keyspace, journal)
        state = read_state(journal.directory)
        assert state is not None
        newest = journal.last_seq
        assert said(keyspace, journal.stream_id) == (state.shift, newest, newest, state.late_seq)
    bases = dict(query(keyspace, "SELECT stream, base_us FROM {}.run_streams"))
    stamps = query(keyspace, "SELECT stream, newest, writetime(newest), writetime(body) FROM {}.metric_pages")
    assert all(row[2] == row[3] == bases[row[0]] + row[1] for row in stamps)  # type: ignore[operator]
    assert in_cassandra(keyspace).content == in_log(tmp_path)


def test_what_is_said_is_there_while_a_run_goes_on(tmp_path: Path, keyspace5: Settings) -> None:
    journal = open_journal(tmp_path, clock_ns=time.time_ns)
    syncer = make_syncer(tmp_path, keyspace5)
    for seed in range(5):
        log_hard(journal, 900, seed)
        through = journal.last_seq // 512 * 512
        step_until(
            syncer,
            lambda _, through=through: said_of(keyspace5, journal)[1] == through,  # type: ignore[misc]
        )
        assert shipped(keyspace5, journal.stream_id) == recomputed(journal.directory, through)
    assert said(keyspace5, journal.stream_id)[3] != 0  # some steps went back
    journal.close("done", 0)
    step_until(syncer, lambda outcome: outcome.drained and not outcome.live)
    syncer.close()
    assert_equal(keyspace5, journal)


def said_of(settings: Settings, journal: Journal) -> tuple[object, ...]:
    """The same, before the stream is known there too."""
    rows = query(settings, "SELECT stream FROM {}.run_streams")
    return said(settings, journal.stream_id) if rows else (None,) * 4


def test_pages_of_offline_runs_stay_here_until_they_are_asked_for(
    tmp_path: Path, keyspace5: Settings
) -> None:
    journal = open_journal(tmp_path, mode="offline")
    log_hard(journal, 700)
    journal.close("done", 0)
    assert drain(tmp_path, keyspace5, include_offline=False).drained
    assert in_file(journal.directory) == recomputed(journal.directory)
    assert shipped(keyspace5, journal.stream_id) == {}
    drain(tmp_path, keyspace5)
    assert_equal(keyspace5, journal)


def test_a_log_that_was_shipped_before_there_were_pages(tmp_path: Path, keyspace5: Settings) -> None:
    run_id, stream_id = write_run(tmp_path, ({"x": float(n)} for n in range(2_000)))
    drain(tmp_path, keyspace5)
    directory = tmp_path / str(run_id) / str(stream_id)
    delete_pages(directory)
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("DELETE FROM paging")
    db.close()
    forget_pages(keyspace5)
    drain(tmp_path, keyspace5)
    assert in_file(directory) == recomputed(directory) == shipped(keyspace5, stream_id)


def test_another_cassandra_gets_all_of_them(tmp_path: Path, keyspace5: Settings, cassandra41: object) -> None:
    from helpers.nodes import fresh_keyspace

    run_id, stream_id = write_run(tmp_path, ({"x": float(n)} for n in range(2_000)))
    drain(tmp_path, keyspace5)
    with fresh_keyspace(cassandra41) as other:  # type: ignore[arg-type]
        drain(tmp_path, other)
        directory = tmp_path / str(run_id) / str(stream_id)
        assert shipped(other, stream_id) == recomputed(directory)
        assert said(other, stream_id) == (0, 2_000, 2_000, 0)


# -- the two lanes -------------------------------------------------------------------------------------


def sent_by(syncer: Syncer, settings: Settings) -> list[tuple[str, int]]:
    """What a syncer sends, as (table, level or 0), in order; from now on."""
    sent: list[tuple[str, int]] = []
    link_connect = syncer.link._connect

    def recording(target: object) -> CassandraStore:
        store = link_connect(target)  # type: ignore[arg-type]
        send = store.send

        def watched(batch: Batch, done: Callable[[Batch, Exception | None], None]) -> None:
            row = batch.rows[0]
            pages = "metric_pages" in row.statement
            sent.append(("pages", int.from_bytes(row.values[3], "big")) if pages else ("records", 0))
            send(batch, done)

        store.send = watched  # type: ignore[method-assign]
        return store

    syncer.link._connect = recording
    assert settings.keyspace
    return sent


def test_the_whole_curve_goes_first_and_the_fine_pages_last(tmp_path: Path, keyspace5: Settings) -> None:
    run_id, stream_id = write_run(tmp_path, ({"x": float(n), "y": -float(n)} for n in range(24_000)))
    syncer = make_syncer(tmp_path, keyspace5)
    sent = sent_by(syncer, keyspace5)
    step_until(syncer, lambda outcome: outcome.drained)
    syncer.close()
    records = [at for at, (table, _) in enumerate(sent) if table == "records"]
    coarse = [at for at, (table, level) in enumerate(sent) if table == "pages" and level >= 3]
    fine = [at for at, (table, level) in enumerate(sent) if table == "pages" and level < 3]
    assert coarse[0] < records[len(records) // 2]
    assert fine[0] > records[-1]
    directory = tmp_path / str(run_id) / str(stream_id)
    assert shipped(keyspace5, stream_id) == recomputed(directory)


def test_topmost_pages_that_each_slice_writes_are_not_sent_for_each(
    tmp_path: Path, keyspace5: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that stands still, once while they are built and once when they are done."""
    monkeypatch.setattr(pager, "WORK_S", 0.0)  # one slice a step
    run_id, stream_id = write_run(tmp_path, ({"x": float(n)} for n in range(64_000)))
    still = time.monotonic()
    syncer = make_syncer(tmp_path, keyspace5, monotonic=lambda: still)
    sent = sent_by(syncer, keyspace5)
    slices: list[int] = []
    built, syncer.pager._on_built = syncer.pager._on_built, lambda paging: (slices.append(1), built(paging))
    while syncer.pager.busy or not slices:
        syncer.step()
    assert len(slices) >= 8
    directory = tmp_path / str(run_id) / str(stream_id)
    step_until(syncer, lambda _: shipped(keyspace5, stream_id) == recomputed(directory))
    syncer.close()
    assert 1 <= sent.count(("pages", 3)) <= 2


# -- doubts --------------------------------------------------------------------------------------------


class Later:
    """A monotonic clock that can be put forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


def test_what_a_lost_node_acknowledged_last_is_sent_again(tmp_path: Path, keyspace5: Settings) -> None:
    journal = open_journal(tmp_path, clock_ns=Ticking())
    log_hard(journal, 3_000)
    syncer = make_syncer(tmp_path, keyspace5)
    step_until(syncer, lambda _: said_of(keyspace5, journal)[1] == 2_560)
    forget_pages(keyspace5)
    syncer._on_lost()
    log_hard(journal, 300, seed=2)
    journal.close("done", 0)
    step_until(syncer, lambda outcome: outcome.drained and not outcome.live)
    syncer.close()
    assert_equal(keyspace5, journal)


def test_a_syncer_begins_with_what_was_not_certain(tmp_path: Path, keyspace5: Settings) -> None:
    directory = write_segments(tmp_path, [1_500, 300])
    drain(tmp_path, keyspace5)
    forget_pages(keyspace5)
    drain(tmp_path, keyspace5)
    assert shipped(keyspace5, UUID(directory.name)) == recomputed(directory)


def test_what_was_quiet_long_enough_is_not_sent_again(tmp_path: Path, keyspace5: Settings) -> None:
    write_segments(tmp_path, [1_500, 300])
    clock = Later()
    syncer = make_syncer(tmp_path, keyspace5, monotonic=clock)
    step_until(syncer, lambda outcome: outcome.drained)
    for _ in range(3):
        clock.ahead_s += QUIET_S + 1
        syncer.nudge()
        syncer.step()
    step_until(syncer, lambda _: not syncer.backlog.streams)
    syncer.close()
    forget_pages(keyspace5)
    again = make_syncer(tmp_path, keyspace5)
    step_until(again, lambda outcome: outcome.drained)
    assert not again.backlog.streams
    again.close()
    assert query(keyspace5, "SELECT page FROM {}.metric_pages") == []


# -- what is not there ---------------------------------------------------------------------------------


def test_pages_with_holes_are_not_shipped_until_they_are_whole(tmp_path: Path, keyspace5: Settings) -> None:
    directory = write_segments(tmp_path, [600, 600, 600])
    whole = (directory / "000002.db").read_bytes()
    (directory / "000002.db").write_bytes(b"\xff" * len(whole))
    stream_id = UUID(directory.name)
    syncer = make_syncer(tmp_path, keyspace5)
    step_until(syncer, lambda outcome: outcome.drained)
    assert shipped(keyspace5, stream_id) == {}
    assert said(keyspace5, stream_id) == (None, None, None, None)
    (directory / "000002.db").write_bytes(whole)
    syncer._damaged_at = 0.0
    # Between two looks all is drained and the pages that became whole are not taken up yet.
    step_until(syncer, lambda outcome: outcome.drained and said(keyspace5, stream_id)[1] == 1_800)
    assert not syncer.pager.problems
    syncer.close()
    assert shipped(keyspace5, stream_id) == recomputed(directory)


@pytest.mark.parametrize("damage", [delete_pages, lambda d: (d / "pages.db").write_bytes(b"\xff" * 9_000)])
def test_a_page_file_that_is_lost_while_it_is_shipped(
    tmp_path: Path, keyspace5: Settings, damage: Callable[[Path], object]
) -> None:
    journal = open_journal(tmp_path, clock_ns=Ticking())
    log_hard(journal, 2_000)
    syncer = make_syncer(tmp_path, keyspace5)
    step_until(syncer, lambda _: bool(syncer.pages.unread or syncer.pages.waiting))
    damage(journal.directory)
    log(journal, 1, {"loss": 1.0})
    journal.close("done", 0)
    step_until(syncer, lambda outcome: outcome.drained and not outcome.live)
    syncer.close()
    assert_equal(keyspace5, journal)


def test_two_machines_write_one_run(tmp_path: Path, keyspace5: Settings) -> None:
    run = make_run()
    places = [tmp_path / "here", tmp_path / "there"]
    journals = [open_journal(place, run, rank=rank) for rank, place in enumerate(places)]
    for seed, journal in enumerate(journals):
        log_hard(journal, 1_200, seed)
        journal.close("done", 0)
    for place in places:
        drain(place, keyspace5)
    for journal in journals:
        assert_equal(keyspace5, journal)
    store = connect(target_of(keyspace5))
    try:
        assert len(store.run(run.run_id).streams) == 2
    finally:
        store.close(wait=True)


def test_the_shift_is_known_from_the_pages_when_state_db_is_lost(tmp_path: Path, keyspace5: Settings) -> None:
    journal = open_journal(tmp_path)
    for at in range(700):
        log(journal, at * 1_048_576, {"loss": 1.0 / (at + 1)})
    journal.close("done", 0)
    drain(tmp_path, keyspace5)
    for path in tmp_path.glob("state.db*"):
        path.unlink()
    query(keyspace5, "TRUNCATE {}.run_streams")
    drain(tmp_path, keyspace5)
    assert said(keyspace5, journal.stream_id)[:3] == (6, 700, 700)
