"""The proof of delivery on a real Cassandra: what was damaged on purpose is named, and mended."""

from __future__ import annotations

import math
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from helpers.logs import START_NS, log, log_topology, make_run, open_journal
from helpers.nodes import fresh_keyspace
from helpers.scan import in_cassandra, in_log, query
from helpers.syncing import connect, drain, ship_what_is_there, target_of, write_segments
from helpers.trainer import Trainer
from helpers.waiting import eventually

from wal.cassandra import schema
from wal.cassandra.server import Node
from wal.cassandra.tables import RUN_STREAMS, TRAINING_METRICS
from wal.journal import Journal, Limits
from wal.reading.acks import Acks
from wal.settings import Settings
from wal.shipping.delivery import CannotResend, Delivery, exit_code
from wal.shipping.proof import RunProof

SIZES = (100, 100, 50)
LAST = sum(SIZES)


@contextmanager
def delivery(log_dir: Path, settings: Settings) -> Generator[Delivery]:
    log_dir.mkdir(exist_ok=True)
    store = connect(target_of(settings))
    try:
        yield Delivery(log_dir, store)
    finally:
        store.close(wait=True)


def prove(log_dir: Path, settings: Settings, run_id: UUID) -> RunProof:
    with delivery(log_dir, settings) as here:
        return here.prove(run_id)


def mend(log_dir: Path, settings: Settings, run_id: UUID, *, remove: bool = False) -> RunProof:
    with delivery(log_dir, settings) as here:
        return here.mend(run_id, lambda: drain(log_dir, settings), remove=remove)


def code(proof: RunProof) -> int:
    return exit_code(proof.faults, proof.open, proof.rejected)


def verified(log_dir: Path, stream_id: UUID) -> int:
    acks = Acks(log_dir)
    acks.poll()
    found = acks.verified(stream_id)
    return found.seq if found is not None else 0


@pytest.fixture
def shipped(tmp_path: Path, keyspace5: Settings) -> tuple[Path, UUID, UUID]:
    """A log directory, its run and its stream: three segments, all shipped."""
    log_dir = tmp_path / "log"
    directory = write_segments(log_dir, SIZES)
    drain(log_dir, keyspace5)
    return log_dir, UUID(directory.parent.name), UUID(directory.name)


def of(run_id: UUID, stream_id: UUID, seq: int) -> str:
    return f"run_id = {run_id} AND stream = {stream_id} AND chunk = {seq >> 10} AND seq = {seq}"


def test_what_was_shipped_is_verified_here_and_elsewhere(
    tmp_path: Path, shipped: tuple[Path, UUID, UUID], keyspace5: Settings
) -> None:
    log_dir, run_id, stream_id = shipped
    assert verified(log_dir, stream_id) == 0
    for where in (log_dir, tmp_path / "elsewhere"):
        proof = prove(where, keyspace5, run_id)
        (stream,) = proof.streams
        assert (code(proof), stream.complete.pairs, stream.rows) == (0, ((1, LAST),), LAST)
        assert (stream.expected.paged_seq, stream.pages_checked, stream.pages) == (LAST, 2, [])
    assert verified(log_dir, stream_id) == LAST


def test_a_deleted_row_is_missing_and_is_mended(
    tmp_path: Path, shipped: tuple[Path, UUID, UUID], keyspace5: Settings
) -> None:
    log_dir, run_id, stream_id = shipped
    query(keyspace5, f"DELETE FROM {{}}.training_metrics WHERE {of(run_id, stream_id, 120)}")
    for where in (log_dir, tmp_path / "elsewhere"):
        proof = prove(where, keyspace5, run_id)
        assert (code(proof), proof.streams[0].missing.pairs) == (1, ((120, 120),))
    assert prove(log_dir, keyspace5, run_id).streams[0].complete.pairs == ((1, 119), (121, LAST))
    assert verified(log_dir, stream_id) == 119
    assert code(mend(log_dir, keyspace5, run_id)) == 0
    assert in_cassandra(keyspace5).content == in_log(log_dir)
    assert code(prove(tmp_path / "elsewhere", keyspace5, run_id)) == 0
    assert verified(log_dir, stream_id) == LAST


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE {{}}.training_metrics SET values = {{'loss': 0.5}} WHERE {}",
        "UPDATE {{}}.training_metrics SET step = 7 WHERE {}",
        "UPDATE {{}}.training_metrics SET texts = {{'note': 'mine'}} WHERE {}",
        "UPDATE {{}}.training_metrics SET kind = 99 WHERE {}",
        "DELETE ts FROM {{}}.training_metrics WHERE {}",
    ],
)
def test_a_changed_row_is_named_and_mended(
    tmp_path: Path, shipped: tuple[Path, UUID, UUID], keyspace5: Settings, change: str
) -> None:
    log_dir, run_id, stream_id = shipped
    cql = change.format(of(run_id, stream_id, 33)).replace("{}", keyspace5.keyspace)
    query(keyspace5, cql.replace("{", "{{").replace("}", "}}"))
    for where in (log_dir, tmp_path / "elsewhere"):
        proof = prove(where, keyspace5, run_id)
        assert (code(proof), proof.streams[0].differing.pairs) == (1, ((33, 33),))
    # A cell that the log does not have is taken away by nothing that is sent.
    remove = "SET texts" in change
    assert code(mend(log_dir, keyspace5, run_id)) == remove
    assert code(mend(log_dir, keyspace5, run_id, remove=remove)) == 0
    assert in_cassandra(keyspace5).content == in_log(log_dir)


def test_one_bit_of_a_value_is_enough(
    tmp_path: Path, shipped: tuple[Path, UUID, UUID], keyspace5: Settings
) -> None:
    log_dir, run_id, stream_id = shipped
    with delivery(log_dir, keyspace5) as here:
        here.store.session.write(
            f"UPDATE {keyspace5.keyspace}.training_metrics SET values = ? WHERE {of(run_id, stream_id, 33)}",
            [{"loss": math.nextafter(1.0 / 33, 1.0), "nan": math.nan}],
        )
    for where in (log_dir, tmp_path / "elsewhere"):
        proof = prove(where, keyspace5, run_id)
        assert (code(proof), proof.streams[0].differing.pairs) == (1, ((33, 33),))
    assert code(mend(log_dir, keyspace5, run_id)) == 0


def test_a_foreign_timestamp_is_named_and_mended(
    tmp_path: Path, shipped: tuple[Path, UUID, UUID], keyspace5: Settings
) -> None:
    log_dir, run_id, stream_id = shipped
    query(
        keyspace5,
        f"UPDATE {{}}.training_metrics SET step = 32 WHERE {of(run_id, stream_id, 33)}",
    )
    for where in (log_dir, tmp_path / "elsewhere"):
        (stream,) = (proof := prove(where, keyspace5, run_id)).streams
        assert (code(proof), stream.restamped.pairs) == (1, ((33, 33),))
        assert stream.complete.pairs == ((1, 32), (34, LAST))
    assert verified(log_dir, stream_id) == 32
    assert code(mend(log_dir, keyspace5, run_id)) == 0
    assert in_cassandra(keyspace5).content == in_log(log_dir)


def spoilt_pages(keyspace: str, row: tuple[object, ...]) -> Iterator[str]:
    """One bit of the newest value's place in a page; another newest seq; the same by somebody else; none."""
    run_id, stream_id, metric, level, chunk, page, newest, body = row
    where = (
        f"WHERE run_id = {run_id} AND stream = {stream_id} AND metric = '{metric}' AND level = {level} "
        f"AND chunk = {chunk} AND page = {page}"
    )
    assert isinstance(body, bytes)
    bit = body[:-9] + bytes([body[-9] ^ 1]) + body[-8:]
    yield f"UPDATE {keyspace}.metric_pages SET body = 0x{bit.hex()} {where}"
    yield f"UPDATE {keyspace}.metric_pages SET newest = 7 {where}"
    yield f"UPDATE {keyspace}.metric_pages SET newest = {newest} {where}"
    yield f"DELETE FROM {keyspace}.metric_pages {where}"


def test_whatever_happens_to_a_page_is_named_and_mended(
    tmp_path: Path, shipped: tuple[Path, UUID, UUID], keyspace5: Settings
) -> None:
    log_dir, run_id, _ = shipped
    rows = query(
        keyspace5, "SELECT run_id, stream, metric, level, chunk, page, newest, body FROM {}.metric_pages"
    )
    lowest = min((row for row in rows if row[2] == "loss"), key=lambda row: (row[3], row[5]))
    for change in spoilt_pages(keyspace5.keyspace, lowest):
        query(keyspace5, change)
        for where in (log_dir, tmp_path / "elsewhere"):
            proof = prove(where, keyspace5, run_id)
            assert (code(proof), proof.streams[0].pages) == (1, ["loss"]), change
        assert code(mend(log_dir, keyspace5, run_id)) == 0


@pytest.mark.parametrize("seq", [LAST + 1, 0, 1500])
def test_an_added_row_is_named_and_removed_on_request(
    tmp_path: Path, shipped: tuple[Path, UUID, UUID], keyspace5: Settings, seq: int
) -> None:
    log_dir, run_id, stream_id = shipped
    query(
        keyspace5,
        "INSERT INTO {}.training_metrics (run_id, stream, chunk, seq, kind, step, ts) "
        f"VALUES ({run_id}, {stream_id}, {seq >> 10}, {seq}, 1, 1, 1)",
    )
    for where in (log_dir, tmp_path / "elsewhere"):
        proof = prove(where, keyspace5, run_id)
        (stream,) = proof.streams
        assert (code(proof), stream.added.pairs, stream.complete.pairs) == (1, ((seq, seq),), ((1, LAST),))
    assert code(mend(log_dir, keyspace5, run_id)) == 1
    assert code(mend(log_dir, keyspace5, run_id, remove=True)) == 0
    assert in_cassandra(keyspace5).content == in_log(log_dir)


@pytest.mark.parametrize("announced", [True, False])
def test_a_doubled_stream_is_named_and_removed_on_request(
    shipped: tuple[Path, UUID, UUID], keyspace5: Settings, announced: bool
) -> None:
    log_dir, run_id, stream_id = shipped
    copy = uuid.uuid4()
    with delivery(log_dir, keyspace5) as here:
        session = here.store.session
        for table in (TRAINING_METRICS, *((RUN_STREAMS,) if announced else ())):
            names = [name for name, _ in table.columns]
            into = f"INSERT INTO {keyspace5.keyspace}.{table.name} ({', '.join(names)}) VALUES "
            for row in session.read(f"SELECT {', '.join(names)} FROM {keyspace5.keyspace}.{table.name}"):
                values = [copy if value == stream_id else value for value in row]
                session.write(into + f"({', '.join('?' * len(names))})", values)
        (*known, last) = here.prove_all()
        proof = last if not announced else here.prove(run_id)
        doubled = next(stream for stream in proof.streams if stream.expected.stream_id == copy)
        assert (code(proof), doubled.repeats, doubled.rows) == (1, stream_id, LAST)
        assert last.stray is not announced
        assert all(code(proof) == 0 for proof in known)
    if announced:
        assert code(mend(log_dir, keyspace5, run_id)) == 1
        assert code(mend(log_dir, keyspace5, run_id, remove=True)) == 0
        assert in_cassandra(keyspace5).content == in_log(log_dir)


def test_what_was_truncated_is_sent_again_with_the_same_timestamps(
    shipped: tuple[Path, UUID, UUID], keyspace5: Settings
) -> None:
    log_dir, run_id, _ = shipped
    before = in_cassandra(keyspace5)
    of_pages = "SELECT metric, level, page, body, writetime(body) FROM {}.metric_pages"
    pages = set(query(keyspace5, of_pages))
    for table in ("training_metrics", "metric_pages", "run_segments", "run_streams", "training_runs"):
        query(keyspace5, f"TRUNCATE {{}}.{table}")
    proof = prove(log_dir, keyspace5, run_id)
    assert (code(proof), proof.streams[0].missing.pairs) == (1, ((1, LAST),))
    assert code(mend(log_dir, keyspace5, run_id)) == 0
    after = in_cassandra(keyspace5)
    assert (after.content, after.stamps) == (before.content, before.stamps)
    assert set(query(keyspace5, of_pages)) == pages


def test_pages_and_manifests_that_are_gone_or_wrong_are_named_and_mended(
    shipped: tuple[Path, UUID, UUID], keyspace5: Settings
) -> None:
    log_dir, run_id, stream_id = shipped
    query(keyspace5, "TRUNCATE {}.metric_pages")
    query(
        keyspace5,
        f"UPDATE {{}}.run_segments SET digest = 'ff' WHERE run_id = {run_id} AND stream = {stream_id} "
        "AND segment = 2",
    )
    proof = prove(log_dir, keyspace5, run_id)
    (stream,) = proof.streams
    assert (code(proof), stream.pages, stream.expected.misstated) == (1, ["loss", "nan"], [2])
    assert code(mend(log_dir, keyspace5, run_id)) == 0


def test_what_is_not_delivered_yet_is_backlog(tmp_path: Path, keyspace5: Settings) -> None:
    log_dir = tmp_path / "log"
    journal = open_journal(log_dir)
    for step in range(40):
        log(journal, step, {"loss": 1.0})
    log_topology(journal, 40, {"nodes": 3})
    proof = prove(log_dir, keyspace5, journal.run_id)
    assert (code(proof), proof.streams[0].waiting.pairs) == (2, ((1, 41),))
    ship_what_is_there(log_dir, keyspace5)
    proof = prove(log_dir, keyspace5, journal.run_id)
    assert (code(proof), proof.streams[0].complete.pairs) == (0, ((1, 41),)), "an open segment"
    assert verified(log_dir, journal.stream_id) == 41
    elsewhere = prove(tmp_path / "elsewhere", keyspace5, journal.run_id)
    assert (code(elsewhere), elsewhere.streams[0].unstated.count) == (2, 41), "nobody has stated a digest"
    log(journal, 41, {"loss": 1.0})
    proof = prove(log_dir, keyspace5, journal.run_id)
    assert (code(proof), proof.streams[0].waiting.pairs) == (2, ((42, 42),))
    journal.close("done", 0)


def test_a_killed_trainers_records_are_verified_by_the_syncers_own_seal(
    tmp_path: Path, keyspace5: Settings
) -> None:
    trainer = Trainer(tmp_path, 1_000)
    trainer.kill_after(1, 0.2)
    trainer.wait()
    drain(trainer.log_dir, keyspace5)
    ((run_id, _),) = {key[:2] for key in in_log(trainer.log_dir)}
    for where in (trainer.log_dir, tmp_path / "elsewhere"):
        proof = prove(where, keyspace5, run_id)
        assert (code(proof), proof.streams[0].last_seq) == (0, len(in_log(trainer.log_dir)))


def test_refused_records_are_counted_and_not_missing(tmp_path: Path, keyspace5: Settings) -> None:
    journal = Journal(tmp_path, make_run(), clock_ns=lambda: START_NS, limits=Limits(wal_bytes=1 << 30))
    log(journal, 0, {"loss": 1.0})
    log(journal, 1, {"loss": 1.0}, None, essay="x" * (17 << 20))  # beyond a mutation's 16 MiB
    log(journal, 2, {"loss": 1.0})
    journal.close("done", 0)
    drain(tmp_path, keyspace5)
    proof = prove(tmp_path, keyspace5, journal.run_id)
    (stream,) = proof.streams
    assert (code(proof), stream.rejected.pairs) == (3, ((2, 2),))
    assert stream.complete.pairs == ((1, 1), (3, 3))
    assert verified(tmp_path, journal.stream_id) == 1


def test_rows_that_are_too_old_are_expired_not_missing(tmp_path: Path, cassandra5: Node) -> None:
    with fresh_keyspace(cassandra5) as settings:
        store = connect(target_of(settings))
        schema.create(store.session, settings)
        store.session.driver.execute(
            f"ALTER TABLE {settings.keyspace}.training_metrics WITH default_time_to_live = 2"
        )
        store.close(wait=True)
        log_dir = tmp_path / "log"
        directory = write_segments(log_dir, SIZES)
        drain(log_dir, settings)
        eventually(lambda: query(settings, "SELECT seq FROM {}.training_metrics"), lambda rows: not rows)
        for where in (log_dir, tmp_path / "elsewhere"):
            proof = prove(where, settings, UUID(directory.parent.name))
            assert (code(proof), proof.streams[0].expired.pairs) == (0, ((1, LAST),))


def test_a_deleted_run_is_not_sent_again(tmp_path: Path, keyspace5: Settings) -> None:
    log_dir = tmp_path / "log"
    run = make_run()
    journal = open_journal(log_dir, run)
    log(journal, 0, {"loss": 1.0})
    journal.close("done", 0)
    other = write_segments(log_dir, [10])
    drain(log_dir, keyspace5)
    delete = "UPDATE {{}}.training_runs SET deleted_at = toTimestamp(now()) WHERE run_id = {}"
    query(keyspace5, delete.format(run.run_id))
    with pytest.raises(CannotResend, match="deleted"):
        mend(log_dir, keyspace5, run.run_id)
    query(keyspace5, "TRUNCATE {}.training_metrics")
    for path in log_dir.glob("state.db*"):
        path.unlink()
    outcome = drain(log_dir, keyspace5)
    assert outcome.waiting == 0
    assert {key[1] for key in in_cassandra(keyspace5).content} == {UUID(other.name)}


def test_of_another_cassandra_nothing_is_known(
    shipped: tuple[Path, UUID, UUID], keyspace5: Settings, cassandra5: Node
) -> None:
    log_dir, run_id, _ = shipped
    with fresh_keyspace(cassandra5) as other:
        proof = prove(log_dir, other, run_id)
        assert (code(proof), proof.streams[0].waiting.pairs) == (2, ((1, LAST),))
        with pytest.raises(CannotResend, match="nothing of this run"):
            mend(log_dir, replace(other), uuid.uuid4())
    assert code(prove(log_dir, keyspace5, run_id)) == 0
