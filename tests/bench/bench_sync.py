"""Shipping: how fast a backlog reaches Cassandra against a bare driver loop, and how soon a new record does.

Both sides write the same rows in unlogged batches of one partition each, with the same window, to the same
node, in turn, several times. The bare loop has its rows in memory and binds them through the driver; the
syncer reads them from the log, keeps cursors and writes the catalogue beside.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(root.parent), str(root)]

from cassandra.query import BatchStatement, BatchType
from helpers.logs import log, make_run, open_journal, write_run
from helpers.nodes import fresh_keyspace, running_node
from helpers.syncing import connect, make_syncer, target_of

from wal.cassandra.session import Session
from wal.cassandra.tables import CHUNK_BITS
from wal.segments.segment import read_records, segment_paths
from wal.settings import Settings
from wal.shipping.sending import WINDOW_MAX
from wal.syncer import Syncer

ROUNDS = 6
WARMING_ROUNDS = 2
SETTLE_S = 1.0
"""For the node to digest the round before."""

BACKLOG_RECORDS = 60_000
METRICS = 8
OLD_RECORDS = 1_000_000
LIVE_RECORDS = 40
BATCH_ROWS = 100


def values(step: int) -> dict[str, float]:
    return {f"metric/{i}": step * 0.001 + i for i in range(METRICS)}


def write_backlog(log_dir: Path, records: int) -> tuple[UUID, UUID]:
    """A finished run of ``records`` records of 8 floats."""
    return write_run(log_dir, (values(step) for step in range(records)))


# -- the two sides -----------------------------------------------------------------------------------


def bare_loop(session: Session, keyspace: str, rows: list[tuple[object, ...]]) -> float:
    """Bind and write the rows in unlogged one-partition batches, a full window in flight; seconds."""
    insert = session.driver.prepare(
        f"INSERT INTO {keyspace}.training_metrics (run_id, stream, chunk, seq, kind, step, ts, values) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
    )
    free = threading.Semaphore(WINDOW_MAX)
    errors: list[Exception] = []

    def done(_: object) -> None:
        free.release()

    def failed(error: Exception) -> None:
        errors.append(error)
        free.release()

    began = time.perf_counter()
    batch, chunk = BatchStatement(BatchType.UNLOGGED), rows[0][2]
    for row in rows:
        if len(batch) == BATCH_ROWS or row[2] != chunk:
            free.acquire()
            session.driver.execute_async(batch, execution_profile="write").add_callbacks(done, failed)
            batch, chunk = BatchStatement(BatchType.UNLOGGED), row[2]
        batch.add(insert, row)
    free.acquire()
    session.driver.execute_async(batch, execution_profile="write").add_callbacks(done, failed)
    for _ in range(WINDOW_MAX):
        free.acquire()
    elapsed = time.perf_counter() - began
    assert not errors, errors[0]
    return elapsed


def rows_in_memory(stream_dir: Path) -> list[tuple[object, ...]]:
    """What the bare loop binds and writes: the stream's rows under new ids."""
    run_id, stream_id = uuid4(), uuid4()
    found: list[tuple[object, ...]] = []
    for path in segment_paths(stream_dir):
        for record in read_records(path):
            chunk = record.seq >> CHUNK_BITS
            found.append((
                run_id, stream_id, chunk, record.seq, int(record.kind), record.step, record.ts,
                dict(record.values), 1_790_000_000_000_000 + record.seq,
            ))  # fmt: skip
    return found


def ship(log_dir: Path, settings: Settings) -> float:
    """Ship a log with a new syncer; seconds from its first look until everything is acknowledged."""
    syncer = make_syncer(log_dir, settings)
    try:
        syncer.link.tick()  # connected, as the bare loop is
        began = time.perf_counter()
        outcome = syncer.step()
        while outcome.waiting or not syncer.stored:
            syncer.wait(min(max(outcome.wake_in_s, 0.0), 0.05))
            outcome = syncer.step()
        return time.perf_counter() - began
    finally:
        syncer.close()


def throughput(settings: Settings) -> list[dict[str, object]]:
    """Both sides in turn, :data:`ROUNDS` times, each round with new ids. Either goes first every other time:
    the node is still flushing and compacting what the first one wrote while the second one writes."""
    session = connect(target_of(settings)).session
    bare: list[float] = []
    shipped: list[float] = []
    for number in range(-WARMING_ROUNDS, ROUNDS):
        with tempfile.TemporaryDirectory() as place:
            log_dir = Path(place)
            run_id, stream_id = write_backlog(log_dir, BACKLOG_RECORDS)
            rows = rows_in_memory(log_dir / str(run_id) / str(stream_id))
            time.sleep(SETTLE_S)
            if number % 2:
                seconds, bare_seconds = ship(log_dir, settings), bare_loop(session, settings.keyspace, rows)
            else:
                bare_seconds, seconds = bare_loop(session, settings.keyspace, rows), ship(log_dir, settings)
            if number >= 0:
                bare.append(BACKLOG_RECORDS / bare_seconds)
                shipped.append(BACKLOG_RECORDS / seconds)
    session.close()
    ratio = statistics.median(ours / theirs for ours, theirs in zip(shipped, bare, strict=True))
    rate = statistics.median(shipped)
    return [
        {
            "name": "sync: backlog, against a bare driver loop", "value": round(ratio, 3), "unit": "x",
            "bar": "≥ 0.8", "ok": ratio >= 0.8,
            "detail": f"{rate:,.0f} records/s ({rate * METRICS:,.0f} points/s) against "
            f"{statistics.median(bare):,.0f} records/s, medians of {ROUNDS} rounds of {BACKLOG_RECORDS:,} "
            f"records of {METRICS} metrics",
        },
    ]  # fmt: skip


# -- a new record behind a million old ones ----------------------------------------------------------


@contextmanager
def stepping(make: Callable[[], Syncer]) -> Iterator[list[int]]:
    """A syncer's loop on a thread of its own; how many records it has stored is in the list's last place."""
    stop, stored = threading.Event(), [0]

    def loop() -> None:
        syncer = make()  # here: its connection to state.db belongs to one thread
        while not stop.is_set():
            outcome = syncer.step()
            stored[-1] = syncer.stored
            syncer.wait(min(max(outcome.wake_in_s, 0.0), 0.5))
        syncer.close()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield stored
    finally:
        stop.set()
        thread.join()


def live_latency(settings: Settings) -> list[dict[str, object]]:
    """From ``log()`` returning to the row being there for a CQL reader, while the old ones are shipped."""
    store = connect(target_of(settings))
    delays: list[float] = []
    with tempfile.TemporaryDirectory() as place:
        log_dir = Path(place)
        write_backlog(log_dir, OLD_RECORDS)
        target = target_of(settings)  # flush_interval as a user has it
        journal = open_journal(log_dir, make_run(name="live"), clock_ns=time.time_ns)
        query = (
            f"SELECT seq FROM {settings.keyspace}.training_metrics WHERE run_id = ? AND stream = ? "
            "AND chunk = ? AND seq = ?"
        )
        with stepping(lambda: Syncer(log_dir, connect, lambda: target)) as stored:
            while stored[-1] < 5 * BATCH_ROWS:
                time.sleep(0.05)
            left = OLD_RECORDS
            for step in range(LIVE_RECORDS):
                seq = log(journal, step, values(step), time.time_ns())
                began = time.perf_counter()
                key = [journal.run.run_id, journal.stream.stream_id, seq >> CHUNK_BITS, seq]
                while not store.session.read(query, key):
                    time.sleep(0.01)
                delays.append(time.perf_counter() - began)
                left = OLD_RECORDS + LIVE_RECORDS - stored[-1]
                time.sleep(0.1)
        journal.close("done", 0)
    store.close()
    worst = max(delays)
    return [
        {
            "name": "sync: a new record behind 10^6 old ones", "value": round(worst, 3), "unit": "s",
            "bar": "≤ 2", "ok": worst <= 2.0,
            "detail": f"worst of {LIVE_RECORDS} (median {statistics.median(delays):.2f} s), "
            f"{left:,} old records still waiting at the last one",
        },
    ]  # fmt: skip


def run() -> list[dict[str, object]]:
    """The rows of the table that ``make bench`` prints."""
    with (
        tempfile.TemporaryDirectory() as place,
        running_node(Path(place), java_options=()) as node,
        fresh_keyspace(node) as settings,
    ):
        return throughput(settings) + live_latency(settings)


if __name__ == "__main__":
    for row in run():
        print(row)
