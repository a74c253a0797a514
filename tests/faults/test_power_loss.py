"""A loss of power at any instant: what was synced is there, and what is there is what was logged.

The log is written by the product's writer, ``state.db`` by its syncer while it ships to a real node; both on
the VFS of :mod:`faults.powerloss`.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import apsw
import pytest
from helpers.syncing import drain, make_syncer, step_until
from helpers.waiting import stream_records

from faults.oracles import Direct
from faults.powerloss import Create, Delete, Event, Kept, Recorder, Sync, Truncate, after_loss, put_files
from faults.records import content, record
from faults.trainer import log_seeded
from wal.cassandra.server import Node
from wal.journal import read_meta, read_records, segment_paths
from wal.segments.liveness import LOCK_NAME, durable_seq
from wal.segments.meta import Limits
from wal.segments.writing import FIRST_TO_LOOK_FOR_SHARERS
from wal.settings import Settings
from wal.shipping import saving
from wal.shipping.cursors import STATE_FILE, State
from wal.training.current import start_run
from wal.training.starting import Wishes

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="what is synced past SQLite is named by Linux' /proc"
)

SEED = 11
RECORDS, RECORDS_PER_SEGMENT = 400, 60
FLUSH_EVERY = 70
PACE_S, TICK_S = 0.0005, 0.02
"""Of the trainer and of the thread that syncs: it is to rotate, seal and sync while records come."""

INSTANTS = 30
"""Losses that are looked at, of each kind: half of them beside a sync, a truncation or a change of names."""


def instants(events: Sequence[Event], rng: random.Random) -> list[int]:
    """Lengths of beginnings of ``events``."""
    rare = [at for at, event in enumerate(events) if isinstance(event, Sync | Truncate | Create | Delete)]
    beside = [at + rng.randrange(2) for at in rng.choices(rare, k=INSTANTS // 2)]
    return beside + rng.choices(range(len(events)), k=INSTANTS // 2)


# -- the log ---------------------------------------------------------------------------------------------


class Promise(NamedTuple):
    """The newest seq that ``log()`` had returned, and the one up to which all was said to be durable."""

    committed: int
    durable: int


class Recorded(NamedTuple):
    log_dir: Path
    stream: Path
    recorder: Recorder

    def broken_at(self, at: int, files: Mapping[str, bytes], disk: Path) -> list[str]:
        """Lay these files down on ``disk``: which promises of before event ``at`` are not kept there."""
        put_files(files, self.log_dir, disk)
        promises = self.recorder.marks(at)
        committed = max((promise.committed for promise in promises), default=0)
        durable = max((promise.durable for promise in promises), default=0)
        found: list[str] = []
        seqs: list[int] = []
        for path in segment_paths(self.on(disk)):
            meta = read_meta(path)
            if meta is None:
                continue
            records = read_records(path)
            if [one.seq - meta.first_seq for one in records] != list(range(len(records))):
                found.append(f"{path.name} holds no beginning of its records")
            found += [
                f"{one} is not what was logged"
                for one in records
                if content(*one[2:]) != record(SEED, one.seq).content
            ]
            seqs += [one.seq for one in records]
        if seqs[:durable] != list(range(1, durable + 1)):
            found.append(f"of {durable} durable records there are {len(seqs)}")
        if seqs and seqs[-1] > committed + 1:
            found.append(f"record {seqs[-1]} is there, and {committed} were committed")
        return found

    def on(self, disk: Path) -> Path:
        """The stream's directory on another disk."""
        return disk / self.stream.relative_to(self.log_dir)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A run of seven segments with its syncs, rotations, seals and its end."""
    log_dir = tmp_path_factory.mktemp("recorded") / "log"
    recorder = Recorder("the log")
    with recorder.watching():
        run = start_run(
            log_dir, Wishes(project="faults", name="power"), connect=recorder.connect,
            limits=Limits(records=RECORDS_PER_SEGMENT, tick_seconds=TICK_S),
        )  # fmt: skip
        stream = log_dir / str(run.run_id) / str(run.stream_id)

        def note(seq: int) -> None:
            if seq % FLUSH_EVERY == 0:
                assert run.flush()
                recorder.mark(Promise(seq, seq))
            recorder.mark(Promise(seq, durable_seq(stream) or 0))
            time.sleep(PACE_S)

        log_seeded(run, SEED, RECORDS, note)
        run.finish()
    return Recorded(log_dir, stream, recorder)


@pytest.mark.parametrize("kept", Kept)
def test_what_was_durable_is_there_and_the_rest_is_a_beginning(
    tmp_path: Path, recorded: Recorded, kept: Kept
) -> None:
    rng = random.Random(f"{SEED} {kept}")
    events = recorded.recorder.events
    for at in instants(events, rng):
        found = recorded.broken_at(at, after_loss(events[:at], kept, rng), tmp_path / str(at))
        assert found == [], (at, len(events))


def test_without_its_syncs_the_promise_is_seen_to_break(tmp_path: Path, recorded: Recorded) -> None:
    rng = random.Random(SEED)
    events = recorded.recorder.events

    def counts(sync: Sync) -> bool:
        return not sync.path.endswith("-wal")

    assert any(
        recorded.broken_at(at, after_loss(events[:at], Kept.NOTHING, rng, counts=counts), tmp_path / str(at))
        for at in instants(events, rng)
    )


def test_segments_become_plain_with_a_sqlite_that_looks_for_sharers(recorded: Recorded) -> None:
    """SQLite 3.51 and later stay in WAL mode while anybody else holds a lock on the -shm, as we do."""
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= FIRST_TO_LOOK_FOR_SHARERS
    names = {path.name for path in recorded.stream.iterdir()}
    assert names == {LOCK_NAME, *(f"{number:06d}.db" for number in range(1, 8))}


def test_what_a_loss_left_is_delivered_beyond_a_hole_too(
    tmp_path: Path, recorded: Recorded, keyspace5: Settings, cassandra5: Node
) -> None:
    """Of two segments that were not synced, a kernel may have written back the younger one alone."""
    events, rng = recorded.recorder.events, random.Random(SEED)
    for at in range(len(events)):
        disk = tmp_path / str(at)
        put_files(after_loss(events[:at], Kept.FILES, rng), recorded.log_dir, disk)
        left = [one.seq for one in stream_records(recorded.on(disk))]
        if left and left[-1] > len(left):
            break
    else:
        pytest.fail("no loss left a hole")
    (recorded.on(disk) / LOCK_NAME).touch()  # nobody holds it: the writer is dead
    assert drain(disk, keyspace5).rejected == 0
    with Direct(cassandra5.endpoint) as direct:
        scan = direct.scan(keyspace5.keyspace)
    assert sorted(seq for _, _, seq in scan.rows) == left
    (stated,) = scan["run_streams"]
    first, hole_begins, goes_on, last = stated.acknowledged
    assert [*range(first, hole_begins + 1), *range(goes_on, last + 1)] == left, "and it says what is lacking"


# -- the syncer's store ----------------------------------------------------------------------------------

Cursors = dict[tuple[UUID, int], tuple[int, int]]
"""First and newest acknowledged seq by stream and segment."""


class Began(NamedTuple):
    """A commit begins: the records that Cassandra has, by stream."""

    there: Mapping[UUID, set[int]]


class Committed(NamedTuple):
    cursors: Cursors


def cursors_of(state: State) -> Cursors:
    return {
        (stream_id, segment.segment): (segment.first_seq, segment.acked)
        for stream_id in state.streams()
        for segment in state.segments(stream_id)
    }


@pytest.fixture
def shipped(
    tmp_path: Path, keyspace5: Settings, cassandra5: Node, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Recorder]:
    """Two streams of three segments, shipped with Cassandra looked at before each commit."""
    log_dir, recorder = tmp_path / "log", Recorder(STATE_FILE)
    for seed in range(2):
        run = start_run(log_dir, Wishes(project="faults", name=f"{seed}"), limits=Limits(records=150))
        log_seeded(run, seed, 350)
        run.finish()
    ordinary = sqlite3.connect

    def connect(path: str | Path, **how: object) -> sqlite3.Connection:
        return recorder.connect(path) if Path(path).name == STATE_FILE else ordinary(path, **how)  # type: ignore[call-overload]

    monkeypatch.setattr(sqlite3, "connect", connect)
    monkeypatch.setattr(saving, "SAVE_S", 0.0)  # all of it is shipped within two of them
    with recorder.watching(), Direct(cassandra5.endpoint) as direct:
        syncer = make_syncer(log_dir, replace(keyspace5, batch_size=20))
        commit = syncer.state.commit

        def observed() -> None:
            there: defaultdict[UUID, set[int]] = defaultdict(set)
            for row in direct.execute(f"SELECT stream, seq FROM {keyspace5.keyspace}.training_metrics"):
                there[row.stream].add(row.seq)
            recorder.mark(Began(there))
            commit()
            recorder.mark(Committed(cursors_of(syncer.state)))

        monkeypatch.setattr(syncer.state, "commit", observed)
        step_until(syncer, lambda outcome: outcome.drained)
        syncer.close()
    monkeypatch.undo()
    return log_dir, recorder


def test_the_cursor_is_as_it_was_committed_and_never_ahead_of_cassandra(
    tmp_path: Path, shipped: tuple[Path, Recorder]
) -> None:
    (log_dir, recorder), rng = shipped, random.Random(SEED)
    events = recorder.events
    assert len([mark for mark in recorder.marks() if isinstance(mark, Committed) and mark.cursors]) > 3
    for kept in Kept:
        for at in instants(events, rng):
            disk = tmp_path / f"{kept.value} {at}"
            put_files(after_loss(events[:at], kept, rng), log_dir, disk)
            assert_as_committed(disk, recorder, at)

    with pytest.raises(AssertionError):  # as it would be, were nothing of it synced
        assert_as_committed(tmp_path / "nothing", recorder, len(events))


def assert_as_committed(disk: Path, recorder: Recorder, at: int) -> None:
    disk.mkdir(exist_ok=True)
    state = State(disk)
    found, streams = cursors_of(state), state.streams()
    state.close()
    before = [mark.cursors for mark in recorder.marks(at) if isinstance(mark, Committed)]
    all_of_them = [mark.cursors for mark in recorder.marks() if isinstance(mark, Committed)]
    under_way = all_of_them[len(before) : len(before) + 1]
    assert found in [before[-1] if before else {}, *under_way], at
    assert not (before and list(disk.glob("*.damaged-*"))), at
    began = [mark.there for mark in recorder.marks(at) if isinstance(mark, Began)]
    there = began[-1] if began else {}
    for (stream_id, _), (first, acked) in found.items():
        assert there[stream_id].issuperset(range(first, acked + 1)), at
    for stream_id in there:
        assert streams[stream_id].base_us is not None, "a base was used that is not kept"
