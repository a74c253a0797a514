"""The background of a log: what fails there is tried again or given up alone, and the rest goes on."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.logs import log, make_run
from helpers.waiting import wait_until

from wal.journal import Journal, Limits, read_meta, read_records, segment_paths
from wal.segments import notice, upkeep
from wal.segments.writing import sync_directory

NEVER_S = 3600.0


@pytest.fixture(autouse=True)
def _warn_anew() -> None:
    notice.forget()


@contextmanager
def reader_of(path: Path) -> Iterator[None]:
    """Somebody reads the segment, so that it cannot be made plain."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM record").fetchall()
    yield
    connection.close()


def fill_a_segment(journal: Journal) -> None:
    """Log until the next segment is the live one."""
    wait_until(lambda: journal._next is not None)
    live = journal._open[-1]
    while journal._open[-1] is live:
        log(journal, journal.last_seq, {"x": 1.0})


# -- syncing -----------------------------------------------------------------------------------------


def test_a_directory_that_could_not_be_synced_is_synced_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    synced: list[Path] = []
    broken = True

    def flaky(directory: Path) -> None:
        if broken:
            raise OSError(5, "Input/output error")
        sync_directory(directory)
        synced.append(directory)

    monkeypatch.setattr(upkeep, "sync_directory", flaky)
    journal = Journal(tmp_path, make_run(), limits=Limits(tick_seconds=NEVER_S))
    log(journal, 0, {"x": 1.0})
    assert [journal.flush() for _ in range(3)] == [False] * 3
    broken = False
    assert journal.flush()
    assert synced == [journal.directory, journal.directory.parent, tmp_path]
    assert journal.flush()
    assert len(synced) == 3, "once is enough"
    journal.close()
    assert capsys.readouterr().err.count("cannot be synced to disk") == 1


def test_a_sealed_segment_that_is_not_plain_yet_is_synced_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    sync = os.fdatasync
    journal = Journal(tmp_path, make_run(), limits=Limits(records=5, tick_seconds=NEVER_S))
    with reader_of(journal._open[0].path):
        fill_a_segment(journal)
        wait_until(lambda: journal._unplain)
        monkeypatch.setattr(os, "fdatasync", lambda file: (sync(file), synced.append(file)))
        log(journal, 100, {"x": 1.0})
        assert journal.flush()
        assert set(synced) == {journal._unplain[0].wal, journal._open[0].wal}
    journal.close()


# -- making plain ------------------------------------------------------------------------------------


class Damaged(sqlite3.Connection):
    """A file of which SQLite finds, when it is sealed, that its content is damaged."""

    name = "000001.db"

    def cursor(self, factory: type[sqlite3.Cursor] | None = None) -> sqlite3.Cursor:
        return super().cursor(factory or _DamagedCursor)


class _DamagedCursor(sqlite3.Cursor):
    def execute(self, sql: str, parameters: object = ()) -> sqlite3.Cursor:  # type: ignore[override]
        if sql.startswith("PRAGMA wal_checkpoint"):
            raise sqlite3.DatabaseError("database disk image is malformed")
        return super().execute(sql, parameters)  # type: ignore[arg-type]


def test_a_segment_that_can_never_be_plain_holds_up_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def connect(path: str, **how: object) -> sqlite3.Connection:
        factory = Damaged if path.endswith("000001.db") else sqlite3.Connection
        return sqlite3.connect(path, factory=factory, **how)  # type: ignore[arg-type]

    limits = Limits(records=5, tick_seconds=0.02)
    journal = Journal(tmp_path, make_run(), limits=limits, connect=connect)
    for _ in range(4):
        fill_a_segment(journal)
    wait_until(lambda: len(journal._open) == 1 and not journal._unplain, what="sealing of the others")
    assert journal.close()
    for path in segment_paths(journal.directory):
        meta = read_meta(path)
        assert meta is not None
        assert meta.seal is not None, path
        assert Path(f"{path}-wal").exists() == (path.name == "000001.db")
    said = capsys.readouterr().err
    assert said.count("stays as it is beside its -wal") == 1
    assert len(said.splitlines()) == 1


# -- the end -----------------------------------------------------------------------------------------


def test_a_disk_that_hangs_does_not_keep_a_process_from_ending(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def connect(path: str, **how: object) -> sqlite3.Connection:
        if path.endswith("000002.db"):
            hangs.set()
            goes_on.wait()
        return sqlite3.connect(path, **how)  # type: ignore[arg-type]

    journal = Journal(tmp_path, make_run(), limits=Limits(stop_seconds=0.2), connect=connect)
    assert hangs.wait(60)
    assert log(journal, 1, {"x": 1.0}) == 1
    assert not journal.close()
    assert "has not answered for 0.2 s" in capsys.readouterr().err
    goes_on.set()
    journal._thread.join(60)
    assert not journal._thread.is_alive()
    for segment in journal._segments():
        segment.close()
    (path, *_) = segment_paths(journal.directory)
    assert [record.seq for record in read_records(path)] == [1]
