"""One stream: what is appended is what anyone reads, over rotation, sealing and the end."""

from __future__ import annotations

import math
import os
import sqlite3
import struct
import threading
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest
from helpers.logs import log, log_special, log_topology, make_run, open_journal
from helpers.waiting import stream_records, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st

from wal.journal import (
    Journal,
    Limits,
    Liveness,
    last_seq,
    liveness,
    read_meta,
    read_records,
    read_rows,
    read_summaries,
    segment_paths,
    stream_dirs,
)
from wal.record import Kind, Record, canonical_bytes, digest, unpack_topology
from wal.segments.meta import starts_of
from wal.segments.sealing import _PlainRecords  # pyright: ignore[reportPrivateUsage]
from wal.summary import MetricSummary


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def test_what_is_appended_is_read_back_bit_by_bit(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    odd = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308]
    odd.append(struct.unpack("<d", b"\x01\x00\x00\x00\x00\x00\xf8\xff")[0])  # a NaN with a payload
    for step, value in enumerate(odd):
        assert log(journal, step, {"b": value, "a": 1.0, "é": 2.0}) == step + 1
    path = segment_paths(journal.directory)[0]
    for record, value in zip(read_records(path), odd, strict=True):
        assert list(record.values) == ["a", "b", "é"]
        assert bits(record.values["b"]) == bits(value)
    journal.close()
    assert [bits(record.values["b"]) for record in read_records(path)] == [bits(value) for value in odd]


def test_every_kind_of_record_has_its_place_in_the_order(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    log(journal, 1, {"loss": 1.0}, phase="warm-up")
    log_special(journal, Kind.SUMMARY, 1, {"best": 0.5})
    log_topology(journal, 1, {"units": [1, 2], "inputs": 2})
    log_special(journal, Kind.ALERT, 1, {}, title="t", text="x", level="WARN")
    log(journal, 2, {"loss": 0.5})
    journal.close()
    (path,) = segment_paths(journal.directory)
    records = read_records(path)
    assert [record.seq for record in records] == [1, 2, 3, 4, 5]
    assert [record.kind for record in records] == [
        Kind.LOG,
        Kind.SUMMARY,
        Kind.TOPOLOGY,
        Kind.ALERT,
        Kind.LOG,
    ]
    assert records[0].texts == {"phase": "warm-up"}
    assert unpack_topology(read_rows(path, 2, 1).rows[0][5]) == {"units": [1, 2], "inputs": 2}
    assert records[3].texts == {"title": "t", "text": "x", "level": "WARN"}
    assert list(read_summaries(path)) == ["loss"], "a curve is made of log() calls alone"


def test_a_step_of_none_is_the_last_one_plus_one(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, first_step=7)
    for step in (None, None, 100, None, 3, None):
        journal.append(Kind.LOG, step, 0, (), b'{"a":"b"}')
    steps = [record.step for record in stream_records(journal.directory)]
    assert steps == [7, 8, 100, 101, 3, 4]
    journal.close()


def test_reading_after_a_seq_and_up_to_a_limit(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for step in range(10):
        log(journal, step, {"loss": float(step)} if step % 2 else {"acc": float(step)})
    path = segment_paths(journal.directory)[0]
    assert last_seq(path) == 10
    assert [row[0] for row in read_rows(path, 4, 3).rows] == [5, 6, 7]
    assert read_rows(path, 10).rows == []
    assert sorted(read_rows(path).keysets.values()) == [(), ("acc",), ("loss",)]
    journal.close()


def next_is_ready(journal: Journal) -> bool:
    return journal._next is not None


def fill(journal: Journal, records: int) -> None:
    """Log slowly enough for the next segment to be ready whenever one is full."""
    for step in range(records):
        wait_until(lambda: next_is_ready(journal))
        log(journal, step, {"loss": 1.0 / (step + 1), "lr": 0.1})


def test_rotation_seals_each_segment_into_one_plain_file(tmp_path: Path) -> None:
    run = make_run()
    journal = open_journal(tmp_path, run, records_per_segment=50)
    fill(journal, 175)
    first = segment_paths(journal.directory)[0]
    wait_until(lambda: not Path(f"{first}-wal").exists(), what="the first segment to be sealed while logging")
    assert journal.close()

    paths = segment_paths(journal.directory)
    metas = [read_meta(path) for path in paths]
    assert [meta and (meta.number, meta.first_seq) for meta in metas] == [(1, 1), (2, 51), (3, 101), (4, 151)]
    assert set(os.listdir(journal.directory)) == {"lock", *(path.name for path in paths)}
    assert [record.seq for record in stream_records(journal.directory)] == list(range(1, 176))
    for path, meta in zip(paths, metas, strict=True):
        assert meta is not None
        assert meta.run == run
        assert meta.seal is not None
        records = read_records(path)
        assert int(meta.seal.digest, 16) == digest(records)
        assert (meta.seal.count, meta.seal.last_seq) == (len(records), records[-1].seq)
        assert (meta.seal.min_step, meta.seal.max_step) == (records[0].step, records[-1].step)
    assert [meta and meta.end is not None for meta in metas] == [False, False, False, True]


def test_a_sealed_segment_summarises_the_whole_stream_up_to_its_end(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, records_per_segment=40)
    fill(journal, 90)
    journal.close("failed", 3)
    for path, count in zip(segment_paths(journal.directory), (40, 80, 90), strict=True):
        expected = MetricSummary()
        for step in range(count):
            expected.add(step, 1.0 / (step + 1))
        position, summary = read_summaries(path)["loss"]
        assert (position, summary.pack()) == (0, expected.pack())
    meta = read_meta(segment_paths(journal.directory)[-1])
    assert meta is not None
    assert meta.end is not None
    assert (meta.end.state, meta.end.exit_code, meta.end.last_seq) == ("failed", 3, 90)


def test_a_large_body_fills_a_segment_by_bytes(tmp_path: Path) -> None:
    journal = Journal(tmp_path, make_run(), limits=Limits(wal_bytes=100_000))
    for _ in range(3):
        wait_until(lambda: next_is_ready(journal))
        journal.append(Kind.TOPOLOGY, 0, 0, (), bytes(60_000))
    journal.close()
    assert [last_seq(path) for path in segment_paths(journal.directory)] == [2, 3]


def test_an_old_segment_is_rotated_by_the_background(tmp_path: Path) -> None:
    journal = Journal(tmp_path, make_run(), limits=Limits(age_seconds=0.0, tick_seconds=0.01))
    log(journal, 0, {"loss": 1.0})
    wait_until(lambda: len(segment_paths(journal.directory)) == 3, what="the live segment, and one ahead")
    log(journal, 1, {"loss": 1.0})
    journal.close()
    assert [record.seq for record in stream_records(journal.directory)] == [1, 2]


def test_a_full_segment_goes_on_growing_until_the_next_one_is_ready(tmp_path: Path) -> None:
    ready = threading.Event()

    def connect(path: str, **how: object) -> sqlite3.Connection:
        if path.endswith("000002.db"):
            assert ready.wait(30)
        return sqlite3.connect(path, **how)  # type: ignore[arg-type]

    journal = open_journal(tmp_path, records_per_segment=10, connect=connect)
    for step in range(25):
        log(journal, step, {"loss": 1.0})
    ready.set()
    wait_until(lambda: next_is_ready(journal))
    log(journal, 25, {"loss": 1.0})
    log(journal, 26, {"loss": 1.0})
    journal.close()
    assert [last_seq(path) for path in segment_paths(journal.directory)] == [26, 27]


def test_a_premade_segment_is_not_part_of_the_stream_and_goes_with_its_end(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    wait_until(lambda: next_is_ready(journal))
    ahead = segment_paths(journal.directory)[1]
    assert read_meta(ahead) is None
    journal.close()
    assert [path.name for path in segment_paths(journal.directory)] == ["000001.db"]


def test_changes_of_the_run_are_in_the_live_segment_at_once_and_in_every_later_one(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, records_per_segment=10)
    wait_until(lambda: next_is_ready(journal))
    metrics = {"loss": {"goal": "min", "step_metric": None}}
    journal.update_run(journal.run._replace(config={"lr": 0.1}, tags=("a",), metrics=metrics))
    meta = read_meta(segment_paths(journal.directory)[0])
    assert meta is not None
    assert (meta.run.config, meta.run.tags, meta.run.metrics, meta.run.version) == (
        {"lr": 0.1},
        ("a",),
        metrics,
        2,
    )
    fill(journal, 12)
    meta = read_meta(segment_paths(journal.directory)[1])
    assert meta is not None
    assert meta.run.config == {"lr": 0.1}
    journal.close()


def test_thirty_two_threads_share_one_stream_without_a_hole(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, records_per_segment=300)
    returned: list[list[int]] = [[] for _ in range(32)]

    def work(mine: list[int]) -> None:
        mine.extend(log(journal, step, {"loss": float(step)}) for step in range(100))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in returned]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    assert sorted(seq for mine in returned for seq in mine) == list(range(1, 3201))
    assert all(mine == sorted(mine) for mine in returned)
    assert [record.seq for record in stream_records(journal.directory)] == list(range(1, 3201))


def test_closing_twice_and_appending_afterwards_do_nothing(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    log(journal, 0, {"loss": 1.0})
    assert journal.close()
    assert journal.close("failed", 1)
    assert journal.append(Kind.LOG, 1, 0, (), b'{"a":"b"}') is None
    assert [record.seq for record in stream_records(journal.directory)] == [1]


def test_flush_makes_everything_durable_and_says_so(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    log(journal, 0, {"loss": 1.0})
    assert journal.flush()
    assert journal.flush(durable=False)
    journal.close()


def test_streams_are_found_and_other_names_passed_over(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    (tmp_path / "names").mkdir()
    (tmp_path / "state.db").touch()
    (tmp_path / str(journal.run_id) / "not-a-stream").mkdir()
    (journal.directory / "notes.db").touch()
    assert list(stream_dirs(tmp_path)) == [(journal.run_id, journal.stream_id, journal.directory)]
    assert list(stream_dirs(tmp_path / "absent")) == []
    journal.close()
    assert [path.name for path in segment_paths(journal.directory)] == ["000001.db"]


def test_readers_never_see_half_a_segment_while_it_is_sealed(tmp_path: Path) -> None:
    """A reader in a loop, through rotations and the step from a write-ahead log to a plain file."""
    journal = open_journal(tmp_path, records_per_segment=60)
    stop = threading.Event()
    problems: list[str] = []

    def read() -> None:
        seen = 0
        while not stop.is_set():
            acked = journal.last_seq
            try:
                seqs = [record.seq for record in stream_records(journal.directory)]
            except Exception as error:  # noqa: BLE001 - any error is the finding
                problems.append(repr(error))
                return
            if seqs != list(range(1, len(seqs) + 1)) or len(seqs) < max(seen, acked):
                problems.append(f"{len(seqs)} records after {acked} were committed and {seen} read")
            seen = len(seqs)

    reader = threading.Thread(target=read)
    reader.start()
    fill(journal, 600)
    stop.set()
    reader.join()
    journal.close()
    assert problems == []


def test_an_own_stream_is_alive_and_an_ended_one_is_not(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    assert liveness(journal.directory, journal.stream) is Liveness.ALIVE
    journal.close()
    assert liveness(journal.directory, journal.stream) is Liveness.DEAD


def test_death_is_claimed_only_where_it_can_be_known(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.close()
    elsewhere = journal.stream._replace(host="another-host")
    assert liveness(journal.directory, elsewhere) is Liveness.UNKNOWN
    rebooted = journal.stream._replace(boot_id="00000000-0000-0000-0000-000000000000")
    assert liveness(journal.directory, rebooted) is Liveness.DEAD
    (journal.directory / "lock").unlink()
    assert liveness(journal.directory, journal.stream) is Liveness.UNKNOWN


def test_a_stream_that_cannot_be_started_leaves_nothing_behind(tmp_path: Path) -> None:
    def refuse(path: str, **how: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    with pytest.raises(sqlite3.OperationalError):
        open_journal(tmp_path, connect=refuse)
    assert list(tmp_path.iterdir()) == []


names = st.lists(st.text(max_size=8), max_size=5, unique=True)
int64 = st.integers(-(1 << 63), (1 << 63) - 1)


@settings(deadline=None)  # a shared machine may stop anywhere
@given(names=names, seq=st.integers(1, 1 << 40), step=int64, ts=int64, data=st.data())
def test_the_fast_canonical_bytes_are_the_canonical_bytes(
    names: list[str], seq: int, step: int, ts: int, data: st.DataObject
) -> None:
    ordered = tuple(sorted(names, key=lambda name: name.encode("utf-8", "surrogatepass")))
    values = tuple(data.draw(st.floats()) for _ in ordered)
    record = Record(seq, Kind.LOG, step, ts, dict(zip(ordered, values, strict=True)))
    assert _PlainRecords(ordered).canonical_bytes(seq, step, ts, values) == canonical_bytes(record)


class Began(NamedTuple):
    stream_id: UUID
    started_ns: int
    after: UUID | None = None


def test_a_stream_begins_after_the_one_it_goes_on_from_whatever_the_clocks_say() -> None:
    a, b, c, d = (UUID(int=number) for number in range(4))
    chain = [Began(c, 50, b), Began(a, 100), Began(b, 7, a), Began(d, 60)]
    assert starts_of(chain) == {a: 100, b: 101, c: 102, d: 60}
    assert starts_of([Began(b, 7, a)]) == {b: 7}  # the other is not here
    # Each after the other: no endless way.
    assert starts_of([Began(a, 5, b), Began(b, 3, a)]).keys() == {a, b}
