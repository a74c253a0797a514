"""A stream that was taken for crashed is no lost one: what its writer commits afterwards is shipped too."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from helpers.logs import START_NS
from helpers.scan import in_cassandra, in_log, query
from helpers.syncing import make_syncer, step_until
from helpers.trainer import environment
from helpers.waiting import eventually, wait_until

from wal.catalog import Catalog
from wal.journal import read_meta, segment_paths
from wal.settings import Settings
from wal.shipping.backlog import Backlog
from wal.shipping.crashed import CRASHED_PER_LOOK, NEWEST_CRASHED, CrashedStream, CrashWatch
from wal.shipping.cursors import StreamState
from wal.shipping.doubts import QUIET_S
from wal.shipping.unshipped import Stream
from wal.syncer import Outcome, Syncer

TRAINER = """
import json, shutil, sys, tempfile
from pathlib import Path
from helpers.waiting import wait_until
from wal.segments import upkeep
from wal.segments.liveness import hold_lock
from wal.segments.meta import Limits
from wal.training.current import start_run
from wal.training.starting import Wishes

log_dir = Path(sys.argv[1])
# The background thread would take the lock again within a second: here it waits until it is told to.
upkeep.hold_lock = lambda descriptor: None
run = start_run(log_dir, Wishes(project="p", name="n"), limits=Limits(records=int(sys.argv[2])))
journal = run._journal
wait_until(lambda: journal._next is not None)
print(json.dumps([str(run.run_id), str(run.stream_id)]), flush=True)
for line in sys.stdin:
    word, _, number = line.strip().partition(" ")
    if word == "log":
        for _ in range(int(number)):
            assert run.log({"loss": 1.0}) is not None
    elif word == "lose":  # the kernel drops the lock when the copier closes the file
        with tempfile.TemporaryDirectory() as elsewhere:
            shutil.copytree(journal.directory, Path(elsewhere, "copy"))
    elif word == "hold":
        hold_lock(journal._lock)
    else:
        run.finish(int(number))
    print("done", flush=True)
"""


class Trainer:
    """A trainer in a process of its own that does as it is told."""

    def __init__(self, log_dir: Path, records_per_segment: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", TRAINER, str(log_dir), str(records_per_segment)],
            env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.run_id, self.stream_id = map(UUID, json.loads(self._line()))
        self.directory = log_dir / str(self.run_id) / str(self.stream_id)

    def tell(self, *words: str) -> None:
        assert self.process.stdin is not None
        for word in words:
            self.process.stdin.write(f"{word}\n")
            self.process.stdin.flush()
            assert self._line() == "done\n"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[int], Trainer]]:
    """Starts trainers with segments of so many records; they end with the test."""
    started: list[Trainer] = []

    def start(records_per_segment: int) -> Trainer:
        started.append(Trainer(tmp_path / "log", records_per_segment))
        return started[-1]

    yield start
    for trainer in started:
        trainer.end()


@pytest.fixture
def trainer(start: Callable[[int], Trainer]) -> Trainer:
    return start(8_000)


def all_shipped(syncer: Syncer) -> None:
    """Step until everything on disk is shipped and said."""
    step_until(
        syncer, lambda outcome: not outcome.waiting and syncer.shipper.idle and syncer.backlog.all_seen
    )


class Skipping:
    """The clock, and what a test does not wait for."""

    skipped_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.skipped_s


def until_nothing_is_left(syncer: Syncer, clock: Skipping) -> None:
    """Step until everything is shipped and nothing of it is doubtful any more."""

    def holds(outcome: Outcome) -> bool:
        if outcome.drained and syncer.backlog.streams:
            clock.skipped_s += QUIET_S
        return outcome.drained and not syncer.backlog.streams

    step_until(syncer, holds)


def said(syncer: Syncer, settings: Settings, **columns: object) -> None:
    """Step until the stream's row and the run's say so."""
    names = ", ".join(columns)
    wanted = [tuple(columns.values())]

    def holds(_: object) -> bool:
        return query(settings, f"SELECT {names} FROM {{}}.run_streams") == wanted

    step_until(syncer, holds)
    step_until(
        syncer,
        lambda _: query(settings, "SELECT status FROM {}.training_runs") == [(columns["status"],)],
    )


def assert_all_there(log_dir: Path, settings: Settings) -> None:
    scan = in_cassandra(settings)
    assert scan.doubles == []
    assert scan.content == in_log(log_dir)


# -- by one syncer -----------------------------------------------------------------------------------


def test_a_trainer_whose_lock_was_lost_for_a_while_is_shipped_to_its_end(
    tmp_path: Path, trainer: Trainer, keyspace5: Settings
) -> None:
    log_dir, clock = tmp_path / "log", Skipping()
    syncer = make_syncer(log_dir, keyspace5, monotonic=clock)
    trainer.tell("log 10", "lose")
    said(syncer, keyspace5, status="crashed", records=10)
    until_nothing_is_left(syncer, clock)
    trainer.tell("log 7")  # still without its lock
    said(syncer, keyspace5, status="crashed", records=17)
    trainer.tell("hold")
    said(syncer, keyspace5, status="running", records=17)
    assert syncer.link.store is not None
    (row,) = syncer.link.store.stream_rows(trainer.run_id)
    assert (row.state.value, row.ended_ns) == ("running", None)
    trainer.tell("log 3")
    said(syncer, keyspace5, status="running", records=20)
    trainer.tell("finish 0")
    said(syncer, keyspace5, status="done", exit_code=0, records=20, paged_seq=20)
    step_until(syncer, lambda outcome: outcome.drained)
    syncer.close()

    assert_all_there(log_dir, keyspace5)
    meta = read_meta(segment_paths(trainer.directory)[-1])
    assert meta is not None
    assert meta.seal is not None
    assert meta.end is not None
    segments = query(keyspace5, "SELECT last_seq, count, digest FROM {}.run_segments")
    assert segments == [(20, 20, meta.seal.digest)]
    assert query(keyspace5, "SELECT ended_ns FROM {}.run_streams") == [(meta.end.ended_ns,)]


def test_its_state_is_told_though_no_record_more_is_logged(
    tmp_path: Path, trainer: Trainer, keyspace5: Settings
) -> None:
    syncer = make_syncer(tmp_path / "log", keyspace5)
    trainer.tell("log 10")
    for _ in range(2):
        trainer.tell("lose")
        said(syncer, keyspace5, status="crashed", records=10)
        trainer.tell("hold")
        said(syncer, keyspace5, status="running", records=10)
    trainer.tell("finish 3")
    said(syncer, keyspace5, status="failed", exit_code=3, records=10)
    step_until(syncer, lambda outcome: outcome.drained)
    syncer.close()


def ship_for_certain(log_dir: Path, settings: Settings) -> None:
    """A syncer that ships everything, and stays until nothing of it is doubtful."""
    clock = Skipping()
    syncer = make_syncer(log_dir, settings, monotonic=clock)
    until_nothing_is_left(syncer, clock)
    syncer.close()


# -- by a later syncer -------------------------------------------------------------------------------


def test_a_later_syncer_finds_what_was_logged_since_and_opens_nothing_else(
    tmp_path: Path, start: Callable[[int], Trainer], keyspace5: Settings
) -> None:
    log_dir = tmp_path / "log"
    trainers = [start(20) for _ in range(3)]
    dead, grown, held = trainers
    for trainer in trainers:
        trainer.tell("log 30", "lose")
    dead.end()
    ship_for_certain(log_dir, keyspace5)
    assert query(keyspace5, "SELECT status FROM {}.run_streams") == [("crashed",)] * 3

    grown.tell("log 40")  # over the end of its segment
    held.tell("hold")
    syncer = make_syncer(log_dir, keyspace5)
    step_until(syncer, lambda _: syncer.backlog.all_seen and syncer.link.store is not None)
    assert set(syncer.backlog.streams) == {grown.stream_id, held.stream_id}
    says = "SELECT stream, status, records FROM {}.run_streams"
    wanted = {
        (dead.stream_id, "crashed", 30), (grown.stream_id, "crashed", 70), (held.stream_id, "running", 30)
    }  # fmt: skip
    step_until(syncer, lambda _: set(query(keyspace5, says)) == wanted)
    for trainer in (grown, held):
        trainer.tell("hold", "finish 0")
    syncer.close()
    ship_for_certain(log_dir, keyspace5)
    assert_all_there(log_dir, keyspace5)
    assert all(a == b for a, b in query(keyspace5, "SELECT records, paged_seq FROM {}.run_streams"))
    counts = query(keyspace5, "SELECT stream, count FROM {}.run_segments")
    assert {stream: sum(n for s, n in counts if s == stream) for stream, _ in counts} == {
        dead.stream_id: 30, grown.stream_id: 70, held.stream_id: 30
    }  # fmt: skip


# -- without a Cassandra -----------------------------------------------------------------------------


def test_one_that_is_not_shipped_yet_is_watched_as_well(trainer: Trainer, tmp_path: Path) -> None:
    """With Cassandra away the stream stays in the backlog, as crashed."""
    backlog = Backlog(tmp_path / "log")
    trainer.tell("log 10", "lose")
    for run_id, stream_id, directory in backlog.find(START_NS):
        backlog.adopt(Stream(run_id, stream_id, directory, StreamState(stream_id, run_id)), START_NS)
    (stream,) = backlog.streams.values()
    assert (stream.state.value, stream.newest, backlog.live) == ("crashed", 10, False)
    assert not backlog.look(START_NS)
    trainer.tell("log 5")
    assert backlog.look(START_NS)
    assert (stream.state.value, stream.newest, stream.waiting) == ("crashed", 15, 15)
    trainer.tell("hold")
    assert backlog.look(START_NS)
    assert (stream.state.value, backlog.live) == ("running", True)
    trainer.tell("finish 0")
    assert backlog.look(START_NS)
    assert (stream.state.value, stream.exit_code, backlog.live) == ("done", 0, False)
    assert stream.remains is None
    assert not backlog.look(START_NS)


def test_the_list_of_this_machine_takes_a_crash_back(trainer: Trainer, tmp_path: Path) -> None:
    def shows(state: str, records: int) -> bool:
        (row,) = catalog.run_rows()
        return (row.state.value, row.records, row.ended_ns is None) == (state, records, state == "running")

    catalog = Catalog(tmp_path / "log")
    trainer.tell("log 10", "lose")
    assert shows("crashed", 10)
    # From then on the directory's own time tells that nothing changed, and it is not looked into.
    wait_until(lambda: catalog.run_rows() and settled(catalog))
    trainer.tell("log 5")
    assert shows("crashed", 15)
    wait_until(lambda: catalog.run_rows() and settled(catalog))
    trainer.tell("hold")
    assert shows("running", 15)
    trainer.tell("finish 0")
    assert shows("done", 15)
    catalog.close()


def settled(catalog: Catalog) -> bool:
    return all(s.settled_mtime_ns for run in catalog._tree.runs.values() for s in run.streams.values())


def test_however_many_crashed_a_look_is_at_a_few_and_finds_each_in_the_end(tmp_path: Path) -> None:
    watch = CrashWatch()
    count = 10 * CRASHED_PER_LOOK
    for number in range(count):
        watch.add(CrashedStream(UUID(int=1), UUID(int=number), tmp_path / str(number), "1:0:0:0:0"))
    assert list(watch.changed()) == [], "as they were: there is no file"
    grown = tmp_path / "7"
    grown.mkdir()
    (grown / "000001.db").write_bytes(b"more")
    newest = tmp_path / str(count - 1)
    newest.mkdir()
    (newest / "000001.db").write_bytes(b"more")
    assert NEWEST_CRASHED < CRASHED_PER_LOOK
    assert [stream.directory for stream in watch.changed()] == [newest], "the newest at once"
    assert eventually(lambda: list(watch.changed()))[0].directory == grown
    assert list(watch.changed()) == []
    (tmp_path / "8").mkdir()
    (tmp_path / "8" / "000001.db").write_bytes(b"more")
    watch.look_at_all()
    assert [stream.directory.name for stream in watch.changed()] == ["8"]
