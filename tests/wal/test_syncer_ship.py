"""What is in the log arrives in a real Cassandra: every record once, bit for bit, and what is said of it."""

from __future__ import annotations

import math
import os
import sqlite3
import struct
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from helpers.logs import START_NS, log, log_special, log_topology, make_run, open_journal, write_run
from helpers.nodes import fresh_keyspace
from helpers.scan import in_cassandra, in_log, query
from helpers.syncing import connect, drain, make_syncer, step_until, target_of, write_segments
from helpers.trainer import Trainer

from wal.cassandra.server import Node
from wal.cassandra.store import Batch
from wal.journal import Journal, Limits, read_meta, segment_paths
from wal.record import Kind, digest
from wal.segments.segment import read_records
from wal.settings import Settings
from wal.source import Connection
from wal.summary import MetricSummary

NAN_WITH_PAYLOAD = struct.unpack(">d", bytes.fromhex("7ff80000deadbeef"))[0]
ODD_VALUES = (NAN_WITH_PAYLOAD, math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, 1.7976931348623157e308)
HOUR_NS, YEAR_NS = 3_600 * 10**9, 365 * 86_400 * 10**9
HOSTILE = "[/x] \x1b[31m שלום \u202e名前"


def assert_all_there(log_dir: Path, settings: Settings) -> None:
    """Every committed record is in Cassandra, once, equal in every bit, and nothing else is."""
    scan, committed = in_cassandra(settings), in_log(log_dir)
    assert scan.doubles == []
    assert scan.content == committed


def write_everything(log_dir: Path) -> Journal:
    """One run with every kind of record and every kind of value."""
    run = make_run(name=HOSTILE, config={"lr": 0.1, HOSTILE: [1, {"deep": None}]}, tags=("a", HOSTILE))
    journal = open_journal(log_dir, run)
    for step in range(1500):
        log(journal, step, {"loss": 1.0 / (step + 1), "epoch": float(step // 100), f"only/{step % 3}": 1.5})
    for at, value in enumerate(ODD_VALUES):
        log(journal, -5 if at == 2 else 2000, {"odd": value, HOSTILE: value})
    log(journal, 3000, {"big": float(2**70)}, None, big=str(2**70), note=HOSTILE)
    log(journal, 2**62, {}, START_NS, only="a text")
    log_topology(journal, 3001, {"nodes": [{"id": i, "name": HOSTILE} for i in range(40)]})
    log_topology(journal, 3002, {"blob": os.urandom(200_000).hex()})  # several pieces of 256 KiB
    log_special(journal, Kind.SUMMARY, 3003, {"best": 0.5}, verdict=HOSTILE)
    log_special(journal, Kind.ALERT, 3004, {}, title="t", text=HOSTILE, level="WARN")
    log_special(journal, Kind.GAP, 3005, {"dropped": 3.0}, reason="disk full")
    return journal


def test_every_kind_of_record_arrives_bit_for_bit(tmp_path: Path, keyspace: Settings) -> None:
    journal = write_everything(tmp_path)
    journal.close("done", 0)
    outcome = drain(tmp_path, keyspace)
    assert (outcome.waiting, outcome.rejected) == (0, 0)
    assert_all_there(tmp_path, keyspace)

    scan = in_cassandra(keyspace)
    base = START_NS // 1000
    assert scan.stamps == {key: {base + key[2]} for key in scan.content}
    ((row_base, status, records, acknowledged),) = query(
        keyspace, "SELECT base_us, status, records, acknowledged FROM {}.run_streams"
    )
    assert (row_base, status, records) == (base, "done", journal.last_seq)
    assert list(acknowledged) == [1, journal.last_seq]  # type: ignore[call-overload]
    ((stamp,),) = query(keyspace, "SELECT writetime(status) FROM {}.training_runs")
    assert stamp == base + journal.last_seq + 1
    path = segment_paths(journal.directory)[0]
    assert query(keyspace, "SELECT first_seq, last_seq, count, digest FROM {}.run_segments") == [
        (1, journal.last_seq, journal.last_seq, f"{digest(read_records(path)):032x}")
    ]
    topologies = dict(query(keyspace, "SELECT step, pieces FROM {}.network_topology"))
    assert topologies[3001] == 1
    assert topologies[3002] >= 1  # type: ignore[operator]


def test_the_catalogue_says_what_the_log_says(tmp_path: Path, keyspace5: Settings) -> None:
    run = make_run(config={"total_steps": 100})
    run_id, stream_id = write_run(
        tmp_path, [{"val/loss": 1.0 / (n + 1), "acc": n / 50} for n in range(50)], run
    )
    drain(tmp_path, keyspace5)
    store = connect(target_of(keyspace5))
    try:
        (row,) = store.runs()
        detail = store.run(run_id)
    finally:
        store.close(wait=True)
    expected = MetricSummary()
    for n in range(50):
        expected.add(n + 1, 1.0 / (n + 1))
    assert (row.state.value, row.records, row.step, row.total_steps) == ("done", 50, 50, 100)
    assert row.metrics["val/loss"].summary.pack() == expected.pack()
    assert row.metrics["acc"].best == (49 / 50, 50)
    assert detail.config == {"total_steps": 100}
    assert [stream.stream_id for stream in detail.streams] == [stream_id]
    assert detail.streams[0].acked == ((1, 50),)


def test_rank_0_speaks_for_the_run_and_every_rank_is_counted(tmp_path: Path, keyspace5: Settings) -> None:
    run = make_run()
    here, there = tmp_path / "here", tmp_path / "there"
    ranks = [open_journal(here, run, rank=rank) for rank in (0, 1)]
    for step in range(20):
        log(ranks[0], step, {"loss": 1.0})
        log(ranks[1], step + 500, {"loss": 2.0})
    ranks[0].close("done", 0)
    syncer = make_syncer(here, keyspace5)
    step_until(syncer, lambda outcome: outcome.waiting == 0)
    ranks[1].close("failed", 1)
    step_until(syncer, lambda outcome: outcome.drained and not outcome.live)
    syncer.close()
    away = open_journal(there, run, rank=2)  # the same run on another machine, where rank 0 is not
    log(away, 7, {"loss": 3.0})
    away.close("failed", 1)
    drain(there, keyspace5)
    assert query(keyspace5, "SELECT status, step, acknowledged FROM {}.training_runs") == [("done", 19, 40)]
    states = sorted(query(keyspace5, "SELECT rank, status, records FROM {}.run_streams"))
    assert states == [(0, "done", 20), (1, "failed", 20), (2, "failed", 1)]


def test_a_lost_state_db_means_a_resend_and_no_doubles(tmp_path: Path, keyspace5: Settings) -> None:
    write_segments(tmp_path, [40, 40, 30])
    drain(tmp_path, keyspace5)
    before = in_cassandra(keyspace5)
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    syncer = make_syncer(tmp_path, keyspace5)
    step_until(syncer, lambda outcome: outcome.drained)
    assert syncer.stored == 110
    syncer.close()
    after = in_cassandra(keyspace5)
    assert after == before  # the timestamps too: the base was read from Cassandra
    assert after.doubles == []


def test_segments_that_cannot_be_read_do_not_hold_up_the_others(tmp_path: Path, keyspace5: Settings) -> None:
    newer, corrupt = write_segments(tmp_path, [30, 30, 10]), write_segments(tmp_path, [30, 30, 10])
    with sqlite3.connect(newer / "000002.db") as db:
        db.execute("UPDATE meta SET v = '99' WHERE k = 'format'")
    db.close()
    (corrupt / "000002.db").write_bytes(b"\xff" * 4096)
    syncer = make_syncer(tmp_path, keyspace5)
    step_until(syncer, lambda outcome: outcome.drained)
    problems = syncer.backlog.problems
    syncer.close()
    assert sorted(str(path) for path in (newer / "000002.db", corrupt / "000002.db")) == sorted(
        next(word for word in problem.split() if word.endswith(".db")) for problem in problems
    )
    arrived = {(stream, seq) for _, stream, seq in in_cassandra(keyspace5).content}
    good = set(range(1, 31)) | set(range(61, 71))
    assert arrived == {(UUID(path.name), seq) for path in (newer, corrupt) for seq in good}


def test_a_record_that_the_server_refuses_is_set_aside(tmp_path: Path, keyspace5: Settings) -> None:
    journal = Journal(tmp_path, make_run(), clock_ns=lambda: START_NS, limits=Limits(wal_bytes=1 << 30))
    for step in range(150):
        log(journal, step, {"x": float(step)})
    log(journal, 150, {"x": 1.0}, None, essay="x" * (17 << 20))  # beyond a mutation's 16 MiB
    for step in range(151, 300):
        log(journal, step, {"x": float(step)})
    journal.close("done", 0)
    syncer = make_syncer(tmp_path, keyspace5)
    outcome = step_until(syncer, lambda outcome: outcome.drained)
    assert outcome.rejected == 1
    syncer.close()  # state.db is committed four times a second, and here
    with sqlite3.connect(tmp_path / "state.db") as db:
        ((seq, reason),) = db.execute("SELECT seq, reason FROM rejected").fetchall()
    db.close()
    assert seq == 151
    assert reason
    assert sorted(key[2] for key in in_cassandra(keyspace5).content) == [
        seq for seq in range(1, 301) if seq != 151
    ]


def test_the_curves_of_runs_that_are_told_are_not_kept(tmp_path: Path, keyspace5: Settings) -> None:
    for _ in range(5):
        write_run(tmp_path, [{"x": 1.0}] * 20)
    syncer = make_syncer(tmp_path, keyspace5)
    step_until(syncer, lambda outcome: outcome.drained)
    assert syncer.announcer._follower._runs == {}
    syncer.close()


def test_a_killed_trainer_is_shown_as_crashed(tmp_path: Path, keyspace5: Settings) -> None:
    trainer = Trainer(tmp_path, records_per_segment=8_000)
    trainer.kill_after(1, most_seconds=0.05)
    trainer.wait()
    (path, *_) = sorted(trainer.log_dir.glob("*/*/000001.db"))
    before = {
        name: (path.parent / name).read_bytes() for name in os.listdir(path.parent) if "shm" not in name
    }
    drain(trainer.log_dir, keyspace5)
    assert_all_there(trainer.log_dir, keyspace5)
    records = read_records(path)
    assert query(keyspace5, "SELECT status, records FROM {}.run_streams") == [("crashed", len(records))]
    assert query(keyspace5, "SELECT status FROM {}.training_runs") == [("crashed",)]
    assert query(
        keyspace5, "SELECT count, digest FROM {}.run_segments WHERE segment = 1 ALLOW FILTERING"
    ) == [(len(records), f"{digest(records):032x}")]
    for name, content in before.items():  # the dead writer's files are as it left them
        assert (path.parent / name).read_bytes() == content
    meta = read_meta(path)
    assert meta is not None
    assert meta.seal is None


def test_a_live_record_does_not_wait_behind_a_backlog(tmp_path: Path, keyspace5: Settings) -> None:
    """By order of delivery, not by time: batches of the backlog that leave after the record was committed are
    fewer than a window."""
    write_run(tmp_path, [{"x": 1.0}] * 20_000)
    sent: list[Batch] = []
    syncer = make_syncer(tmp_path, keyspace5)
    step_until(syncer, lambda _: syncer.link.store is not None)
    store = syncer.link.store
    assert store is not None
    send = store.send

    def recorded(batch: Batch, done: object) -> None:
        sent.append(batch)
        send(batch, done)  # type: ignore[arg-type]

    store.send = recorded  # type: ignore[method-assign]
    step_until(syncer, lambda _: syncer.stored > 0)
    journal = open_journal(tmp_path)
    log(journal, 1, {"x": 2.0})
    before = len(sent)
    syncer._look_at = 0.0  # the look that is due within half a second
    step_until(syncer, lambda _: any(batch.stream_id == journal.stream.stream_id for batch in sent))
    behind = [batch for batch in sent[before:] if batch.stream_id != journal.stream.stream_id]
    assert len(behind) <= 2 * syncer.shipper.window.size
    assert syncer.backlog.waiting > 5_000
    journal.close("done", 0)
    syncer.close()


def test_what_another_cassandra_lacks_is_sent_to_it(tmp_path: Path, cassandra5: Node) -> None:
    write_run(tmp_path, [{"x": float(n)} for n in range(120)])
    with fresh_keyspace(cassandra5) as first, fresh_keyspace(cassandra5) as second:
        drain(tmp_path, first)
        drain(tmp_path, second)
        assert in_cassandra(second) == in_cassandra(first)
        assert len(in_cassandra(second).content) == 120


def test_a_schema_that_is_missing_parks_and_heals(tmp_path: Path, cassandra5: Node) -> None:
    from wal.cassandra import schema
    from wal.cassandra.session import connect as open_session
    from wal.settings import resolve

    write_run(tmp_path, [{"x": 1.0}] * 10)
    with fresh_keyspace(cassandra5) as other:
        settings = replace(other, keyspace=f"{other.keyspace}_late")
        syncer = make_syncer(tmp_path, settings)
        outcome = step_until(syncer, lambda outcome: outcome.connection is Connection.TROUBLE)
        assert outcome.waiting == 10
        assert syncer.link.trouble is not None
        assert "canopy cassandra schema" in syncer.link.trouble.remedy
        endpoint = resolve(settings, {})
        assert endpoint is not None
        session = open_session(endpoint, settings)
        schema.create(session, settings)
        syncer.nudge()
        step_until(syncer, lambda outcome: outcome.drained)
        syncer.close()
        assert len(in_cassandra(settings).content) == 10
        schema.drop(session, settings.keyspace)
        session.close()


@pytest.mark.parametrize("missing", ["fails at once", "is not configured"])
def test_without_cassandra_nothing_is_lost_and_the_status_says_so(tmp_path: Path, missing: str) -> None:
    from wal.reading.acks import Acks

    write_run(tmp_path, [{"x": 1.0}] * 10)
    gone = missing == "fails at once"
    settings = Settings(contact_points=("127.0.0.1",), port=1, explicit=gone, enabled=None if gone else False)
    wanted = Connection.OFFLINE if gone else Connection.LOCAL_ONLY
    syncer = make_syncer(tmp_path, settings)
    outcome = step_until(syncer, lambda outcome: outcome.connection is wanted)
    syncer.close()
    assert outcome.waiting == 10
    acks = Acks(tmp_path)
    acks.poll()
    assert (acks.status["connection"], acks.status["waiting"]) == (wanted.value, 10)


def test_ranks_that_go_on_after_rank_0_are_counted_in_the_runs_rows(
    tmp_path: Path, keyspace5: Settings
) -> None:
    run = make_run()
    ranks = [open_journal(tmp_path, run, rank=rank) for rank in (0, 1)]
    for rank in ranks:
        log(rank, 0, {"loss": 1.0})
    ranks[0].close("done", 0)
    syncer = make_syncer(tmp_path, keyspace5)
    step_until(syncer, lambda outcome: outcome.drained)
    assert told(keyspace5) == ("done", 2, 2, 0)
    for step in range(1, 30):
        log(ranks[1], step, {"loss": 1.0})
    ranks[1].close("failed", 1)
    step_until(syncer, lambda outcome: outcome.drained)
    syncer.close()
    assert told(keyspace5) == ("done", 31, 31, 0)


@pytest.mark.parametrize(("first_ns", "then_ns"), [(2 * YEAR_NS, 0), (0, -HOUR_NS)])
def test_a_run_that_is_resumed_on_another_clock_is_told_by_the_stream_that_goes_on(
    tmp_path: Path, keyspace5: Settings, first_ns: int, then_ns: int
) -> None:
    run = make_run()
    first = open_journal(tmp_path, run, clock_ns=lambda: START_NS + first_ns)
    for step in range(20):
        log(first, step, {"loss": 1.0})
    first.close("failed", 1)
    syncer = make_syncer(tmp_path, keyspace5)
    step_until(syncer, lambda outcome: outcome.drained)
    then = open_journal(tmp_path, run, clock_ns=lambda: START_NS + then_ns, after=first.stream_id)
    for step in range(20, 50):
        log(then, step, {"loss": 0.5})
    step_until(syncer, lambda outcome: outcome.waiting == 0 and told(keyspace5)[0] == "running")
    then.close("done", 0)
    step_until(syncer, lambda outcome: outcome.drained)
    syncer.close()
    assert told(keyspace5) == ("done", 50, 50, 49)


def told(settings: Settings) -> tuple[str, int, int, int]:
    """Status, records, acknowledged ones and newest step of the only run, the same in both tables."""
    columns = "status, records, acknowledged, step"
    (run,), (listed,) = (
        query(settings, f"SELECT {columns} FROM {{}}.{table}") for table in ("training_runs", "runs_by_week")
    )
    assert run == listed
    return run
