"""The store on real nodes: what is written how, and what a reader makes of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid5

import pytest
from faults.proxy import Mode, proxied
from helpers.nodes import fresh_keyspace
from helpers.syncing import connect, target_of

from wal.cassandra import schema
from wal.cassandra.rows import Batch
from wal.cassandra.server import Node
from wal.cassandra.store import CassandraStore, RunWrite, SegmentWrite
from wal.cassandra.trouble import StoreError, classify
from wal.cassandra.writes import CURVES_IN_LIST, from_milliseconds
from wal.record import RUN_NAMESPACE, decode, digest, packer, uuid7
from wal.segments.segment import Rows
from wal.settings import Settings
from wal.source import MetricRow, RunRow, RunState, StreamRow
from wal.summary import MetricSummary

DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def store(cassandra: Any) -> Iterator[CassandraStore]:
    """A store on each server in turn. Its keyspace is shared: every test makes runs of its own."""
    with fresh_keyspace(cassandra) as settings:
        store = connect(target_of(settings))
        yield store
        store.close(wait=True)


def test_a_link_that_goes_before_a_statement_is_prepared_is_a_sentence(
    keyspace5: Settings, cassandra5: Node
) -> None:
    ids = uuid7(), uuid7()
    with proxied(cassandra5.endpoint, seed=1) as proxy:
        store = connect(target_of(replace(keyspace5, port=proxy.port)))
        try:
            proxy.switch(Mode.RESET)
            with pytest.raises(StoreError):
                store.write_paged(*ids, 1, shift=0, paged_seq=1, coarse_seq=1, late_seq=0)
            with pytest.raises(StoreError):
                store.write_metrics(*ids, [MetricRow("loss", "min", MetricSummary(), 0)], 1)
        finally:
            store.close(wait=True)


def rows_of(count: int, first_seq: int = 1) -> Rows:
    pack = packer(2).pack
    rows = [(seq, 1, 1, seq, seq * 10, pack(0.5, 1.0 / seq)) for seq in range(first_seq, first_seq + count)]
    return Rows({1: ("acc", "loss")}, rows)


def send(store: CassandraStore, batches: list[Batch]) -> list[Exception | None]:
    """Send all and wait for all replies."""
    replies: list[Exception | None] = []
    arrived = threading.Semaphore(0)

    def done(_: Batch, error: Exception | None) -> None:
        replies.append(error)
        arrived.release()

    for batch in batches:
        store.send(batch, done)
    for _ in batches:
        assert arrived.acquire(timeout=DEADLINE_S)
    return replies


def ship(store: CassandraStore, stream: StreamRow, base_us: int, rows: Rows) -> None:
    batches = store.record_batches(stream.run_id, stream.stream_id, base_us, rows, 100, 32_768)
    assert set(send(store, list(batches))) == {None}


def a_stream(run_id: UUID | None = None, **fields: Any) -> StreamRow:
    known: dict[str, Any] = {
        "stream_id": uuid7(), "run_id": run_id or uuid7(), "rank": 0, "host": "here", "pid": 1, "after": None,
        "state": RunState.RUNNING, "exit_code": None, "started_ns": time.time_ns(), "ended_ns": None,
        "heartbeat_ns": 0, "last_ts_ns": 5, "records": 10, "first_step": 1, "last_step": 10,
    }  # fmt: skip
    return StreamRow(**(known | fields))


def summary_of(*values: float) -> MetricSummary:
    summary = MetricSummary()
    for step, value in enumerate(values):
        summary.add(step, value)
    return summary


def a_run(stream: StreamRow, **fields: Any) -> RunRow:
    known: dict[str, Any] = {
        "run_id": stream.run_id, "project": "p", "name": "train-1", "state": stream.state, "host": "here",
        "started_ns": stream.started_ns, "ended_ns": stream.ended_ns, "last_ts_ns": 5, "step": 10,
        "records": 10,
    }  # fmt: skip
    return RunRow(**(known | fields))


def forget_streams(store: CassandraStore) -> None:
    store._streams_seen.clear()  # pyright: ignore[reportPrivateUsage]


def select(store: CassandraStore, run_id: UUID, columns: str, table: str) -> list[tuple[Any, ...]]:
    """Some columns of all rows of a run."""
    return store.session.read(
        f"SELECT {columns} FROM {store.keyspace}.{table} WHERE run_id = ? ALLOW FILTERING", [run_id]
    )


def listed(store: CassandraStore, *run_ids: UUID) -> list[RunRow]:
    """What the list shows of these runs."""
    return [row for row in store.runs() if row.run_id in run_ids]


# -- records ----------------------------------------------------------------------------------------


def test_a_replay_changes_nothing_and_every_cell_is_stamped_base_plus_seq(store: CassandraStore) -> None:
    stream, base_us = a_stream(), 1_000_000
    store.register_stream(stream, base_us)
    ship(store, stream, base_us, rows_of(300))
    columns = "seq, writetime(step), writetime(values), writetime(ts), ttl(values)"
    before = sorted(select(store, stream.run_id, columns, "training_metrics"))
    assert [row[1:] for row in before] == [(base_us + seq,) * 3 + (None,) for seq in range(1, 301)]
    ship(store, stream, base_us, rows_of(300))
    assert sorted(select(store, stream.run_id, columns, "training_metrics")) == before


def test_nothing_is_ever_a_null_or_a_tombstone(store: CassandraStore) -> None:
    """A row whose every optional cell was left unset has no write time for them; a null would delete."""
    stream = a_stream()
    store.register_stream(stream, 1)
    ship(store, stream, 1, rows_of(1))
    columns = "epoch, writetime(epoch), texts, writetime(texts)"
    assert select(store, stream.run_id, columns, "training_metrics") == [(None, None, None, None)]
    # What somebody else wrote earlier into an unset cell survives: a null would have hidden it.
    where = f"WHERE run_id = {stream.run_id} AND stream = {stream.stream_id} AND chunk = 0 AND seq = 1"
    store.session.write(f"UPDATE {store.keyspace}.training_metrics USING TIMESTAMP 0 SET epoch = 4 {where}")
    ship(store, stream, 1, rows_of(1))
    assert select(store, stream.run_id, "epoch", "training_metrics") == [(4,)]


def test_a_live_tail_is_read_past_what_is_known_to_be_acknowledged(store: CassandraStore) -> None:
    stream = a_stream()
    store.register_stream(stream, 1)
    ship(store, stream, 1, rows_of(2_100))
    assert len(store.points(stream.run_id, stream.stream_id, "loss")) == 2_100  # no sign of life yet
    store.beat_stream(stream.run_id, stream.stream_id, [(1, 500)], store.clock_us())
    forget_streams(store)
    assert len(store.records(stream.run_id, stream.stream_id)) == 2_100
    assert store.points(stream.run_id, stream.stream_id, "loss", 2_095).seq.tolist() == [*range(2_096, 2_101)]
    assert len(store.points(stream.run_id, stream.stream_id, "loss", 2_100)) == 0
    assert len(store.points(stream.run_id, stream.stream_id, "loss", 5_000)) == 0


def test_only_chunks_that_can_exist_are_asked_for(
    store: CassandraStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = a_stream()
    store.register_stream(stream, 1)
    million = 1_000_000
    ship(store, stream, 1, rows_of(10))
    ship(store, stream, 1, rows_of(10, first_seq=million))
    store.beat_stream(stream.run_id, stream.stream_id, [(1, 10), (million, million + 9)], store.clock_us())
    asked: list[Any] = []
    read_many = store.session.read_many

    def counted(cql: str, parameters: Any) -> Any:
        listed = list(parameters)
        asked.extend(listed)
        return read_many(cql, listed)

    monkeypatch.setattr(store.session, "read_many", counted)
    points = store.points(stream.run_id, stream.stream_id, "loss")
    assert points.seq.tolist() == [*range(1, 11), *range(million, million + 10)]
    assert len(asked) == 2


def test_a_value_changed_by_cql_is_what_a_reader_sees(store: CassandraStore) -> None:
    stream = a_stream()
    store.register_stream(stream, 1)
    ship(store, stream, 1, rows_of(20))
    where = f"WHERE run_id = {stream.run_id} AND stream = {stream.stream_id} AND chunk = 0 AND seq = 7"
    changed = {"acc": 0.5, "loss": 42.0}
    store.session.write(f"UPDATE {store.keyspace}.training_metrics SET values = ? {where}", [changed])
    points = store.points(stream.run_id, stream.stream_id, "loss")
    assert points.value[6] == 42.0
    local = [decode(*row[:2], ("acc", "loss"), *row[3:]) for row in rows_of(20).rows]
    assert digest(store.records(stream.run_id, stream.stream_id)) != digest(local)


def test_a_bad_row_is_found_by_splitting_and_the_others_arrive(store: CassandraStore) -> None:
    """A lone surrogate is no UTF-8: the server refuses its batch, then the half it is in, then it."""
    stream = a_stream()
    store.register_stream(stream, 1)
    good = rows_of(9)
    rows = Rows({**good.keysets, 2: ("\ud800",)}, [*good.rows, (10, 1, 2, 10, 10, packer(1).pack(1.0))])
    todo = list(store.record_batches(stream.run_id, stream.stream_id, 1, rows, 100, 32_768))
    parked: list[int] = []
    while todo:
        batch = todo.pop()
        [error] = send(store, [batch])
        if error is None:
            continue
        trouble = classify(error, store.endpoint, store.settings, rows=len(batch.rows))
        assert trouble.kind == "row"
        if len(batch.rows) == 1:
            parked.append(batch.first_seq)
        else:
            todo += store.split(batch)
    assert parked == [10]
    assert [record.seq for record in store.records(stream.run_id, stream.stream_id)] == list(range(1, 10))


def test_a_send_that_cannot_be_sent_reports_to_its_callback(store: CassandraStore) -> None:
    closed = connect(target_of(store.settings))
    [batch] = closed.record_batches(uuid7(), uuid7(), 1, rows_of(3), 100, 32_768)
    closed.close(wait=True)
    [error] = send(closed, [batch])
    assert error is not None
    assert classify(error, store.endpoint, store.settings).sentence.endswith(".")


def test_a_batch_may_be_sent_by_a_later_connection(store: CassandraStore) -> None:
    stream = a_stream()
    store.register_stream(stream, 1)
    batches = list(store.record_batches(stream.run_id, stream.stream_id, 1, rows_of(3), 100, 32_768))
    later = connect(target_of(store.settings))
    assert send(later, batches) == [None]
    assert len(later.records(stream.run_id, stream.stream_id)) == 3
    later.close(wait=True)


# -- the catalogue ----------------------------------------------------------------------------------


def test_the_base_of_a_stream_is_found_again(store: CassandraStore) -> None:
    stream = a_stream()
    assert store.stream_base(stream.run_id, stream.stream_id) is None
    store.register_stream(stream, 77)
    assert store.stream_base(stream.run_id, stream.stream_id) == 77


def test_the_servers_clock(store: CassandraStore) -> None:
    assert abs(store.clock_us() / 1e6 - time.time()) < 60


def test_a_stream_is_running_while_its_syncer_shows_signs_of_life(store: CassandraStore) -> None:
    stream = a_stream()
    store.register_stream(stream, 1)
    store.write_stream_state(stream, 2)
    store.write_run(RunWrite(a_run(stream), 2))

    def states() -> set[RunState]:
        forget_streams(store)
        detail = store.run(stream.run_id)
        return {detail.row.state, detail.streams[0].state, listed(store, stream.run_id)[0].state}

    assert states() == {RunState.STALE}
    store.beat_stream(stream.run_id, stream.stream_id, [(1, 10)], store.clock_us())
    store.beat_run(stream.run_id, stream.started_ns, 10, store.clock_us())
    assert states() == {RunState.RUNNING}
    minute_ago = from_milliseconds(store.clock_us() // 1000 - 61_000)
    for table, where in (
        ("run_streams", f"run_id = {stream.run_id} AND stream = {stream.stream_id}"),
        ("training_runs", f"run_id = {stream.run_id}"),
    ):
        store.session.write(f"UPDATE {store.keyspace}.{table} SET heartbeat = ? WHERE {where}", [minute_ago])
    [key] = select(store, stream.run_id, "week, start_time, run_id", "runs_by_week")
    where = "week = ? AND start_time = ? AND run_id = ?"
    store.session.write(
        f"UPDATE {store.keyspace}.runs_by_week SET heartbeat = ? WHERE {where}", [minute_ago, *key]
    )
    assert states() == {RunState.STALE}
    ended = replace(stream, state=RunState.DONE, exit_code=0, ended_ns=9)
    store.write_stream_state(ended, 3)
    store.write_run(RunWrite(a_run(ended), 3))
    assert states() == {RunState.DONE}


def test_an_older_state_that_comes_late_does_not_win(store: CassandraStore) -> None:
    stream = a_stream(state=RunState.DONE, exit_code=0, ended_ns=9, records=20)
    store.register_stream(stream, 1)
    for row, stamp_us in ((stream, 21), (replace(stream, state=RunState.RUNNING, records=10), 11)):
        store.write_stream_state(row, stamp_us)
        store.write_run(RunWrite(a_run(row, records=row.records, ended_ns=row.ended_ns), stamp_us))
    detail = store.run(stream.run_id)
    assert (detail.row.state, detail.row.records) == (RunState.DONE, 20)
    assert detail.streams[0].state is RunState.DONE


def test_unshipped_records_are_counted(store: CassandraStore) -> None:
    stream = a_stream()
    store.write_run(RunWrite(a_run(stream, records=10), 1))
    assert listed(store, stream.run_id)[0].unshipped == 10
    store.beat_run(stream.run_id, stream.started_ns, 7, store.clock_us())
    assert listed(store, stream.run_id)[0].unshipped == 3


def test_a_deleted_run_is_not_shown(store: CassandraStore) -> None:
    stream = a_stream()
    store.register_stream(stream, 1)
    store.write_run(RunWrite(a_run(stream), 1))
    assert store.deleted_at_us(stream.run_id) is None
    [key] = select(store, stream.run_id, "week, start_time, run_id", "runs_by_week")
    now = "SET deleted_at = toTimestamp(now())"
    where = "week = ? AND start_time = ? AND run_id = ?"
    store.session.write(f"UPDATE {store.keyspace}.runs_by_week {now} WHERE {where}", key)
    store.session.write(f"UPDATE {store.keyspace}.training_runs {now} WHERE run_id = ?", [stream.run_id])
    assert listed(store, stream.run_id) == []
    assert store.deleted_at_us(stream.run_id) is not None
    with pytest.raises(KeyError):
        store.run(stream.run_id)


def test_a_sign_of_life_before_its_row_shows_nothing(store: CassandraStore) -> None:
    stream = a_stream()
    store.beat_stream(stream.run_id, stream.stream_id, [(1, 1)], store.clock_us())
    store.beat_run(stream.run_id, stream.started_ns, 1, store.clock_us())
    assert listed(store, stream.run_id) == []
    with pytest.raises(KeyError):
        store.run(stream.run_id)
    with pytest.raises(KeyError):
        store.points(stream.run_id, stream.stream_id, "loss")


def test_weeks_are_walked_from_the_newest_and_a_limit_stops(store: CassandraStore) -> None:
    week_ns = 7 * 24 * 3600 * 10**9
    newest_ns = time.time_ns() + 10 * week_ns  # newer than any other test's
    starts = [newest_ns - age * week_ns for age in range(5)]
    streams = [a_stream(uuid7(start_ns), started_ns=start_ns) for start_ns in starts]
    for stream in reversed(streams):
        store.write_run(RunWrite(a_run(stream), 1))
    assert [row.run_id for row in store.runs()][:5] == [stream.run_id for stream in streams]
    assert [row.run_id for row in store.runs(2)] == [stream.run_id for stream in streams[:2]]
    assert store.runs(0) == []


def test_a_users_own_id_has_one_row_however_many_streams_it_has(store: CassandraStore) -> None:
    """Its start cannot be read from the id: the first machine's is kept, and read by the others."""
    run_id = uuid5(RUN_NAMESPACE, "p\0mine")
    first = a_stream(run_id, started_ns=time.time_ns() - 10**12)
    second = a_stream(run_id)
    store.write_run(RunWrite(a_run(first), 1))
    other = connect(target_of(store.settings))
    other.write_run(RunWrite(a_run(second, name="again"), 2))
    assert len(select(store, run_id, "run_id", "runs_by_week")) == 1
    [row] = listed(store, run_id)
    assert row.name == "again"
    # Two machines that registered it at the same moment: still one row.
    other._starts_ms[run_id] = second.started_ns // 1_000_000  # pyright: ignore[reportPrivateUsage]
    other.write_run(RunWrite(a_run(second, name="again"), 3))
    assert len(select(store, run_id, "run_id", "runs_by_week")) == 2
    assert [row.name for row in listed(store, run_id)] == ["again"]
    other.close(wait=True)


def test_curves_in_the_list_are_read_again_only_when_they_changed(
    store: CassandraStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = a_stream()
    metrics = {
        name: MetricRow(name, "min" if "loss" in name else None, summary_of(3.0, float(order)), order)
        for order, name in enumerate(["lr", "a", "b", "c", "d", "val/loss"])
    }
    store.write_run(RunWrite(a_run(stream, metrics=metrics), 1, main="val/loss"))
    [row] = listed(store, stream.run_id)
    assert len(row.metrics) == CURVES_IN_LIST
    assert list(row.metrics) == ["lr", "a", "b", "val/loss"]
    assert [metric.order for metric in row.metrics.values()] == [0, 1, 2, 5]
    assert row.metrics["val/loss"].goal == "min"
    assert row.metrics["val/loss"].best == (3.0, 0)
    asked: list[int] = []
    read_many = store.session.read_many

    def counted(cql: str, parameters: Any) -> Any:
        listed = list(parameters)
        if "curves" in cql:
            asked.append(len(listed))
        return read_many(cql, listed)

    monkeypatch.setattr(store.session, "read_many", counted)
    store.runs()
    changed = metrics | {"lr": replace(metrics["lr"], summary=summary_of(9.0))}
    store.write_run(RunWrite(a_run(stream, metrics=changed), 2, main="val/loss"))
    [row] = listed(store, stream.run_id)
    assert row.metrics["lr"].summary.last == 9.0
    assert asked == [0, 1]


def test_the_columns_that_any_cql_client_reads(store: CassandraStore) -> None:
    stream = a_stream()
    metrics = {
        "val/loss": MetricRow("val/loss", "min", summary_of(3.0, 1.0, 2.0), 0),
        "val/acc": MetricRow("val/acc", "max", summary_of(0.1, float("nan")), 1),
    }
    run = RunWrite(a_run(stream, metrics=metrics), 5, {"dataset": "spirals", "lr": 0.1}, main="val/loss")
    store.write_run(run)
    store.write_metrics(stream.run_id, stream.stream_id, list(metrics.values()), 5)
    store.write_segment(SegmentWrite(stream.run_id, stream.stream_id, 1, 1, 10, 10, 1, 10, "ab" * 16), 5)
    [row] = select(
        store, stream.run_id, "status, dataset_name, config_json, final_loss, best", "training_runs"
    )
    assert row[:4] == ("running", "spirals", '{"dataset":"spirals","lr":0.1}', 2.0)
    assert dict(row[4]) == {"val/loss": 1.0, "val/acc": 0.1}
    columns = "metric, goal, points, last, min, min_step, best, best_step"
    assert ("val/loss", "min", 3, 2.0, 1.0, 1, 1.0, 1) in select(store, stream.run_id, columns, "run_metrics")
    columns = "segment, first_seq, last_seq, count, digest"
    assert select(store, stream.run_id, columns, "run_segments") == [(1, 1, 10, 10, "ab" * 16)]


def test_config_that_is_not_json_is_shown_as_none(store: CassandraStore) -> None:
    stream = a_stream()
    store.register_stream(stream, 1)
    store.write_run(RunWrite(a_run(stream), 1))
    store.session.write(
        f"UPDATE {store.keyspace}.training_runs SET config_json = ?, summary_json = ? WHERE run_id = ?",
        ["{broken", "[1, 2]", stream.run_id],
    )
    detail = store.run(stream.run_id)
    assert (detail.config, detail.summary) == ({}, {})


def test_a_dropped_keyspace_is_a_sentence(keyspace5: Settings) -> None:
    store = connect(target_of(keyspace5))
    schema.drop(store.session, store.keyspace)
    with pytest.raises(StoreError, match=r"Keyspace 't_\w+' does not exist|has not the tables") as caught:
        store.runs()
    assert "canopy cassandra schema" in str(caught.value)
    [batch] = store.record_batches(uuid7(), uuid7(), 1, rows_of(3), 100, 32_768)
    [error] = send(store, [batch])
    assert error is not None
    assert "canopy cassandra schema" in str(classify(error, store.endpoint, store.settings))
    schema.create(store.session, keyspace5)  # the fixture drops it
    store.close(wait=True)
