"""Where the records are: the verdict over every state of things, and what is read of a real log."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import pytest
from helpers.logs import START_NS, Ticking, log, make_run, open_journal, write_run
from helpers.syncing import make_syncer
from helpers.trainer import run_script
from helpers.waiting import wait_until

from wal.link import Target
from wal.merged import MergedSource
from wal.reading.storage import StorageReport, StreamStorage, SyncerState, Verdict, judge
from wal.reading.storagelook import LISTED
from wal.settings import Settings
from wal.shipping.daemon import Lock
from wal.source import Connection, RunState, SourceError, StoreStatus

NOW_NS = START_NS + 10 * 10**9
NOBODY = SyncerState()
UP = StoreStatus(Connection.UP)
ROOT = Path(__file__).parents[2]


def stream(
    committed: int = 100, waiting: int = 0, rejected: int = 0, verified: int = 0, ships: bool = True,
    problem: str = "",
) -> StreamStorage:  # fmt: skip
    return StreamStorage(
        UUID(int=1), UUID(int=2), "spirals", "train-1", 0, "node-1", RunState.DONE, True, ships, committed,
        committed, committed - waiting - rejected, verified, waiting if ships else 0, rejected,
        problem=problem,
    )  # fmt: skip


def syncer(connection: Connection, **fields: object) -> SyncerState:
    return SyncerState(pid=7, connection=connection, **fields)  # type: ignore[arg-type]


WAITING = [stream(waiting=40)]

VERDICTS = {
    "nothing": ([], NOBODY, UP, Verdict.NOTHING),
    "verified": ([stream(verified=100)], NOBODY, UP, Verdict.VERIFIED),
    "delivered": ([stream(verified=99)], NOBODY, UP, Verdict.DELIVERED),
    "rejected": ([stream(rejected=1, verified=99)], NOBODY, UP, Verdict.REJECTED),
    "catching up": (WAITING, syncer(Connection.CATCHING_UP), UP, Verdict.CATCHING_UP),
    "nobody ships": (WAITING, NOBODY, UP, Verdict.UNATTENDED),
    "nobody ships and it is away": (WAITING, NOBODY, StoreStatus(Connection.OFFLINE), Verdict.OFFLINE),
    "offline": (WAITING, syncer(Connection.OFFLINE), UP, Verdict.OFFLINE),
    "starting": (WAITING, syncer(Connection.STARTING), UP, Verdict.STARTING),
    "parked": (WAITING, syncer(Connection.TROUBLE), UP, Verdict.PARKED),
    "local only": (WAITING, NOBODY, StoreStatus(Connection.LOCAL_ONLY), Verdict.LOCAL_ONLY),
    "told to stay here": ([stream(ships=False)], NOBODY, UP, Verdict.LOCAL_ONLY),
    "damaged": ([stream(waiting=4, problem="x is damaged")], syncer(Connection.UP), UP, Verdict.DAMAGED),
    "damaged and more": (
        [stream(waiting=4, problem="x is damaged"), *WAITING], syncer(Connection.UP), UP, Verdict.CATCHING_UP
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", VERDICTS)
def test_the_verdict(case: str) -> None:
    streams, writer, store, verdict = VERDICTS[case]
    assert judge(streams, writer, store).verdict is verdict


def test_who_ships_is_believed_before_who_reads() -> None:
    writer = syncer(Connection.TROUBLE, detail="It is so.", remedy="Do that: x", since_ns=5)
    judgement = judge(WAITING, writer, StoreStatus(Connection.OFFLINE, "no answer", since_ns=9))
    assert (judgement.reason, judgement.remedy, judgement.since_ns) == ("It is so.", "Do that: x", 5)


def test_who_looks_only_now_takes_the_last_syncers_word_for_since_when() -> None:
    gone = dataclasses.replace(syncer(Connection.OFFLINE, since_ns=5), pid=None)
    away = StoreStatus(Connection.OFFLINE, "no answer", since_ns=9)
    judgement = judge(WAITING, gone, away)
    assert (judgement.reason, judgement.since_ns) == ("no answer", 5)
    other = dataclasses.replace(gone, connection=Connection.UP)
    assert judge(WAITING, other, away).since_ns == 9


def look(
    log_dir: Path, now_ns: int = NOW_NS, connection: Connection = Connection.LOCAL_ONLY
) -> StorageReport:
    source = MergedSource(log_dir, find=lambda: Target(Settings(), None, connection))
    try:
        source.wait_ready()
        return source.storage(now_ns)
    finally:
        source.close()


def test_a_stream_is_followed_from_the_disk_to_cassandra(tmp_path: Path) -> None:
    clock = Ticking()
    journal = open_journal(tmp_path, clock_ns=clock)
    for step in range(10):
        log(journal, step, {"loss": 1.0})
    assert journal.flush()
    acknowledge(tmp_path, journal.stream_id, 1, 6, rejected=2)
    (shown,) = look(tmp_path).streams
    assert (shown.committed, shown.durable, shown.acknowledged, shown.waiting) == (10, 10, 4, 4)
    assert (shown.rejected, shown.problem) == (2, "it is too large")
    assert shown.lag_s == 4.0  # record 7 has step 6, logged 6 s after the start: 4 s before now
    assert shown.disk_bytes is not None
    assert shown.disk_bytes > 4096
    journal.close()


def acknowledge(log_dir: Path, stream_id: UUID, first: int, last: int, rejected: int = 0) -> None:
    """What a syncer wrote down when this much was acknowledged; of it some records were refused."""
    syncer = make_syncer(log_dir, Settings(enabled=False))
    syncer.state.commit()
    syncer.close()
    with sqlite3.connect(log_dir / "state.db") as db:
        db.execute("INSERT INTO cursor VALUES (?, 1, ?, ?, 0)", (str(stream_id), first, last))
        rows = [(str(stream_id), seq, "it is too large", seq) for seq in range(first, first + rejected)]
        db.executemany("INSERT INTO rejected VALUES (?, ?, ?, ?)", rows)
    db.close()


def test_thousands_of_streams_are_a_count_and_the_ones_that_matter(tmp_path: Path) -> None:
    journals = [open_journal(tmp_path, make_run(name=f"run-{n}")) for n in range(3)]
    for n, journal in enumerate(journals):
        for step in range(n + 1):
            log(journal, step, {"loss": 1.0})
    for n in range(LISTED + 10):
        write_run(tmp_path, [{"loss": 1.0}], make_run(name=f"done-{n}"))
    before = look(tmp_path)
    assert (len(before.streams), before.unlisted, before.totals.streams) == (LISTED, 13, LISTED + 13)
    assert before.streams[0].waiting == 3  # what lacks most comes first
    assert before.totals.waiting == before.totals.committed == 6 + LISTED + 10
    for journal in journals:
        journal.close()


def test_offline_streams_wait_for_nothing(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, mode="offline")
    log(journal, 1, {"loss": 1.0})
    journal.close()
    report = look(tmp_path)
    assert (report.verdict, report.totals.kept_local, report.totals.waiting) == (Verdict.LOCAL_ONLY, 1, 0)


def test_a_closed_stream_is_on_the_disk_whole_and_a_killed_one_as_far_as_it_said(tmp_path: Path) -> None:
    write_run(tmp_path, [{"loss": 1.0}] * 5)
    code = (
        "import os, sys, wal; run = wal.init(dir=sys.argv[1], project='p', mode='offline')\n"
        "for n in range(7): run.log({'x': n})\n"
        "run.flush()\n"
        "run.log({'x': 7}); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False, capture_output=True)
    report = look(tmp_path, time.time_ns())
    done, *others = [s for s in report.streams if s.ships]
    assert (done.committed, done.durable, others) == (5, 5, [])
    source = MergedSource(tmp_path, find=lambda: Target(Settings(), None, Connection.LOCAL_ONLY))
    crashed = next(row for row in source.runs() if row.project == "p")
    (shown,) = source.storage(time.time_ns(), crashed.run_id).streams
    source.close()
    assert (shown.state, shown.committed) == (RunState.CRASHED, 8)
    assert shown.durable in (7, 8)  # the background thread may have synced the last one as well


def test_a_write_ahead_log_that_is_gone_is_named(tmp_path: Path) -> None:
    code = (
        "import os, sys, wal; run = wal.init(dir=sys.argv[1], project='p')\n"
        "for n in range(7): run.log({'x': n})\n"
        "run.flush(); os._exit(9)"
    )
    finished = run_script(code, str(tmp_path))
    assert finished.returncode == 9, finished.stderr
    (before,) = look(tmp_path, time.time_ns()).streams
    assert before.problem == ""
    for path in tmp_path.rglob("*.db-*"):
        path.unlink()
    (after,) = look(tmp_path, time.time_ns()).streams
    assert after.committed == 0
    assert "lacks records 1 to 7, which were on disk" in after.problem


def test_the_syncer_and_its_last_words(tmp_path: Path) -> None:
    write_run(tmp_path, [{"loss": 1.0}] * 5)
    syncer = make_syncer(tmp_path, Settings(enabled=False))
    syncer.step()
    syncer.close()
    code = (
        "import sys, pathlib, time; from wal.shipping.daemon import Lock\n"
        "assert Lock(pathlib.Path(sys.argv[1])).acquire(); print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        said = look(tmp_path).syncer
        assert (said.pid, said.connection) == (holder.pid, Connection.LOCAL_ONLY)
    finally:
        holder.kill()
        holder.communicate()
    wait_until(lambda: look(tmp_path).syncer.pid is None)


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_state_that_cannot_be_read_is_no_failure(tmp_path: Path, content: bytes) -> None:
    write_run(tmp_path, [{"loss": 1.0}] * 5)
    (tmp_path / "state.db").write_bytes(content)
    report = look(tmp_path)
    assert (report.totals.waiting, report.verdict) == (5, Verdict.LOCAL_ONLY)


def test_looking_leaves_everything_as_it_is(tmp_path: Path) -> None:
    write_run(tmp_path, [{"loss": 1.0}] * 5)
    lock = Lock(tmp_path)
    assert lock.acquire()
    lock.release()
    look(tmp_path)  # makes index.db, its own
    before = contents(tmp_path)
    look(tmp_path)
    assert contents(tmp_path) == before


def contents(log_dir: Path) -> dict[str, tuple[int, bytes]]:
    paths = [path for path in log_dir.rglob("*") if path.is_file() and not path.name.startswith("index")]
    return {str(path): (os.stat(path).st_mtime_ns, path.read_bytes()) for path in paths}


def test_a_log_directory_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file")
    with pytest.raises(SourceError):
        look(tmp_path / "log")
