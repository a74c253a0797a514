"""A disk that takes nothing, a directory that is deleted, no descriptors left: training goes on."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.logs import make_run, open_journal
from helpers.trainer import environment, run_script
from helpers.waiting import stream_records, streams_in, wait_until

from wal.journal import Journal, Limits, read_meta, segment_paths
from wal.record import Kind, packer
from wal.segments import notice
from wal.segments.spill import Call, Spill, call_of


@pytest.fixture(autouse=True)
def _warn_anew() -> None:
    notice.forget()


def log(journal: Journal, number: int) -> int | None:
    """One call, numbered by its value."""
    return journal.append(Kind.LOG, None, 0, ("n",), packer(1).pack(number))


def numbers(journal: Journal) -> list[int]:
    """The values of the log() calls that are committed, in order."""
    records = stream_records(journal.directory)
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    return [int(record.values["n"]) for record in records if record.kind is Kind.LOG]


def set_pages(journal: Journal, pages: int) -> None:
    """Let the live segment grow to so many pages and no further: SQLite then finds its disk full."""
    journal._open[-1].connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()


def fill(journal: Journal, start: int = 0) -> int:
    """Log until a call has to wait; the number of the first such call comes back."""
    number = start
    while log(journal, number) is not None:
        number += 1
    return number


def test_calls_wait_in_order_while_the_disk_is_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = open_journal(tmp_path)
    set_pages(journal, 16)
    first_waiting = fill(journal)
    assert [log(journal, first_waiting + i) for i in range(1, 50)] == [None] * 49
    assert numbers(journal) == list(range(first_waiting))
    set_pages(journal, 1_000_000)
    assert journal.flush()
    assert numbers(journal) == list(range(first_waiting + 50))
    assert log(journal, first_waiting + 50) == first_waiting + 51
    journal.close()
    steps = [record.step for record in stream_records(journal.directory)]
    assert steps == list(range(first_waiting + 51)), "a step belongs to the call, not to its commit"
    warning = capsys.readouterr().err
    assert warning.count("cannot be written") == 1
    assert "kept in memory, up to 64 MiB" in warning


def test_waiting_calls_are_committed_by_the_background(tmp_path: Path) -> None:
    journal = Journal(tmp_path, make_run(), limits=Limits(tick_seconds=0.02))
    set_pages(journal, 16)
    count = fill(journal) + 1
    set_pages(journal, 1_000_000)
    wait_until(lambda: journal.last_seq == count)
    wait_until(lambda: log(journal, count) is not None)
    journal.close()
    assert numbers(journal)[: count + 1] == [*range(count), count]


def test_what_memory_cannot_hold_becomes_one_gap(tmp_path: Path) -> None:
    journal = Journal(tmp_path, make_run(), limits=Limits(spill_bytes=10_000))
    set_pages(journal, 16)
    first_waiting = fill(journal)
    for i in range(1, 1000):
        log(journal, first_waiting + i)
    set_pages(journal, 1_000_000)
    assert journal.flush()
    journal.close()
    kept = numbers(journal)
    records = stream_records(journal.directory)
    assert kept == list(range(len(kept)))
    assert records[-1].kind is Kind.GAP, "the gap stands where the calls are missing: behind the kept ones"
    assert records[-1].values == {"dropped": first_waiting + 1000 - len(kept)}
    assert "could not be written" in records[-1].texts["reason"]
    meta = read_meta(segment_paths(journal.directory)[-1])
    assert meta is not None
    assert meta.seal is not None
    assert meta.seal.dropped == first_waiting + 1000 - len(kept)


def test_the_queue_drops_until_half_of_it_is_free() -> None:
    queue = Spill(10_000)

    def call() -> Call:
        return (Kind.LOG, 0, 0, ("n",), bytes(467))  # 700 bytes of account

    for _ in range(30):
        queue.add(call())
    assert len(queue) == 15, "fourteen calls and one gap"
    for _ in range(3):
        queue.remove(queue.head)
    queue.add(call())
    assert len(queue) == 12, "still dropping"
    for _ in range(5):
        queue.remove(queue.head)
    queue.add(call())
    kinds = []
    while head := queue.head:
        kinds.append(call_of(head)[0])
        queue.remove(head)
        queue.remove(head)  # a second time does nothing
    assert kinds == [Kind.LOG] * 6 + [Kind.GAP] + [Kind.LOG]


def test_a_process_that_ends_on_a_full_disk_says_what_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = open_journal(tmp_path)
    set_pages(journal, 16)
    fill(journal)
    assert not journal.close()
    assert "1 calls could not be written" in capsys.readouterr().err


class FlakyConnection(sqlite3.Connection):
    """A disk that answers EIO while ``broken`` is set."""

    broken = False

    def cursor(self, factory: type[sqlite3.Cursor] | None = None) -> sqlite3.Cursor:
        return super().cursor(factory or FlakyCursor)


class FlakyCursor(sqlite3.Cursor):
    def execute(self, sql: str, parameters: object = ()) -> sqlite3.Cursor:  # type: ignore[override]
        if FlakyConnection.broken and sql.startswith("INSERT INTO record"):
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, parameters)  # type: ignore[arg-type]


def test_an_input_output_error_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(path: str, **how: object) -> sqlite3.Connection:
        return sqlite3.connect(path, factory=FlakyConnection, **how)  # type: ignore[arg-type]

    journal = open_journal(tmp_path, connect=connect)
    assert log(journal, 0) == 1
    monkeypatch.setattr(FlakyConnection, "broken", True)
    assert log(journal, 1) is None
    monkeypatch.setattr(FlakyConnection, "broken", False)
    assert journal.flush()
    assert log(journal, 2) == 3
    journal.close()
    assert numbers(journal) == [0, 1, 2]


LIMITED = """
import resource, sys, time
from pathlib import Path
from wal.training.current import start_run
from wal.segments.meta import Limits
from wal.training.starting import Wishes

run = start_run(Path(sys.argv[1]), Wishes(project="p", name="n"), limits=Limits(tick_seconds=0.02))
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
seqs = [run.log({"n": n}) for n in range(2000)]
assert None in seqs and seqs[0] == 1
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
deadline = time.monotonic() + 30
while run.log({"n": -1}) is None:
    assert time.monotonic() < deadline
    time.sleep(0.01)
run.finish()
"""


def test_a_real_write_error_of_the_system(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes write() fail as a full disk does, under SQLite."""
    finished = run_script(LIMITED, str(tmp_path))
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.count("cannot be written") == 1
    (stream,) = streams_in(tmp_path)
    records = stream_records(stream)
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    assert [record.values["n"] for record in records][:2000] == list(range(2000))


NO_DESCRIPTORS = """
import resource, sys, time
from pathlib import Path
from wal.training.current import start_run
from wal.segments.meta import Limits
from wal.training.starting import Wishes

limits = Limits(records=20, tick_seconds=0.02)
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
run = start_run(Path(sys.argv[1]), Wishes(project="p", name="n"), limits=limits)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
for n in range(500):
    assert run.log({"n": n}) == n + 1
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
deadline = time.monotonic() + 30
folder = next(Path(sys.argv[1]).glob("*/*/"))
while len(list(folder.glob("*.db"))) < 4:
    assert time.monotonic() < deadline
    n += 1
    assert run.log({"n": n}) == n + 1
    time.sleep(0.001)
run.finish()
"""


def test_without_descriptors_the_present_segment_goes_on(tmp_path: Path) -> None:
    finished = run_script(NO_DESCRIPTORS, str(tmp_path))
    assert finished.returncode == 0, finished.stderr
    (stream,) = streams_in(tmp_path)
    values = [record.values["n"] for record in stream_records(stream)]
    assert values == list(range(len(values)))
    assert len(segment_paths(stream)) >= 3


def remove_at_once(directory: Path) -> None:
    """Delete a directory that somebody is writing to, so that nothing is made in it meanwhile."""
    doomed = directory.with_name("doomed")
    os.rename(directory, doomed)
    shutil.rmtree(doomed)


@pytest.mark.parametrize("how", ["deleted", "moved", "one file"])
def test_a_directory_that_goes_away_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    journal = Journal(tmp_path / "log", make_run(), limits=Limits(tick_seconds=0.02))
    for number in range(5):
        log(journal, number)
    if how == "deleted":
        remove_at_once(tmp_path / "log")
    elif how == "moved":
        os.rename(tmp_path / "log", tmp_path / "elsewhere")
    else:
        segment_paths(journal.directory)[0].unlink()

    def new_segment() -> bool:
        try:
            return any(read_meta(path) is not None for path in segment_paths(journal.directory))
        except FileNotFoundError:  # the one that was made ahead has just been taken away
            return False

    wait_until(new_segment)
    for number in range(5, 10):
        log(journal, number)
    assert journal.flush()
    journal.close()
    (path,) = segment_paths(journal.directory)
    meta = read_meta(path)
    assert meta is not None
    assert meta.number > 1
    records = stream_records(journal.directory)
    assert records[0].seq == meta.first_seq == 6
    assert records[0].kind is Kind.GAP
    assert records[0].values == {"dropped": 5}
    assert records[0].texts["reason"] == "records 1 to 5 were deleted or moved away with their files"
    assert [int(record.values["n"]) for record in records[1:]] == [5, 6, 7, 8, 9]
    assert meta.seal is not None
    assert (meta.seal.count, meta.seal.dropped) == (6, 5)
    assert capsys.readouterr().err.count("was deleted while in use") == 1
    if how == "moved":
        (moved,) = streams_in(tmp_path / "elsewhere")
        assert [record.seq for record in stream_records(moved)] == [1, 2, 3, 4, 5]


def test_a_log_directory_that_cannot_come_back_makes_calls_wait(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log", make_run(), limits=Limits(tick_seconds=0.02))
    log(journal, 0)

    def blocked() -> bool:
        remove_at_once(tmp_path / "log")
        try:
            (tmp_path / "log").write_text("a file is in the way")
        except IsADirectoryError:  # the journal was quicker and made a new one
            return False
        return True

    wait_until(blocked)
    wait_until(lambda: log(journal, 1) is None)
    waiting = len(journal._spill)
    (tmp_path / "log").unlink()
    wait_until(journal.flush)
    journal.close()
    assert len(stream_records(journal.directory)) == 1 + waiting


def test_the_warning_reaches_a_stderr_that_is_not_utf8(tmp_path: Path) -> None:
    finished = run_script(
        "import sys, wal; wal.init(project='p', dir=sys.argv[1]); wal.log({'ünï': 1.0}); wal.finish()",
        str(tmp_path), PYTHONIOENCODING="ascii", CANOPY_SILENT="0",
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.isascii()
    assert " -> " in finished.stderr


# -- the end on such a disk ----------------------------------------------------------------------------

ENDS_ON_A_BAD_DISK = """
import json, os, resource, shutil, subprocess, sys
from pathlib import Path
from wal.training.current import start_run
from wal.segments.meta import Limits
from wal.training.starting import Wishes

disk, what, tick = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
log_dir = disk / "log"
run = start_run(log_dir, Wishes(project="p", name="n"), limits=Limits(records=40, tick_seconds=tick))
seqs = [run.log({"n": n}) for n in range(100)]
assert run.flush()
if what == "read-only":
    subprocess.run(["mount", "-o", "remount,abort", str(disk)], check=True)
elif what == "refusing":
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
else:
    while True:
        os.rename(log_dir, disk / "doomed")
        shutil.rmtree(disk / "doomed")
        try:
            log_dir.write_text("a file is in the way")
            break
        except IsADirectoryError:  # the log was quicker and made a new one
            continue
if tick < 1:
    while run.log({"n": 100}) is not None:
        pass
else:
    run.log({"n": 100})
run.config.lr = 0.1
run.finish()
run.finish()
print(json.dumps(seqs))
"""


def end_on_a_bad_disk(disk: Path, what: str, tick: float, *wrapper: str) -> str:
    """What the process says on stderr; it must end by itself, and well."""
    finished = subprocess.run(
        [*wrapper, sys.executable, "-c", ENDS_ON_A_BAD_DISK, str(disk), what, str(tick)],
        env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout) == list(range(1, 101))
    assert all(line.startswith("canopy: ") for line in finished.stderr.splitlines()), "no traceback"
    return finished.stderr


NOTICED = pytest.mark.parametrize("tick", [0.01, 3600.0], ids=["noticed", "unnoticed"])
"""Whether the background has seen what became of the disk when the run ends."""


@NOTICED
def test_a_run_ends_on_a_disk_that_refuses_every_write(tmp_path: Path, tick: float) -> None:
    said = end_on_a_bad_disk(tmp_path, "refusing", tick)
    assert said.count("cannot be written") == 1
    assert "1 calls could not be written" in said
    (stream,) = streams_in(tmp_path / "log")
    assert [record.values["n"] for record in stream_records(stream)] == list(range(100))


@NOTICED
def test_a_run_ends_whose_directory_vanished(tmp_path: Path, tick: float) -> None:
    said = end_on_a_bad_disk(tmp_path, "vanished", tick)
    assert re.search(r"is gone: records 1 to \d{3,} were deleted", said)
    assert "cannot be sealed" not in said
    assert (tmp_path / "log").read_text() == "a file is in the way"


def test_a_run_ends_whose_directory_was_deleted_a_moment_ago(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal(tmp_path / "log", make_run(), limits=Limits(tick_seconds=3600.0))
    for number in range(5):
        log(journal, number)
    wait_until(lambda: journal._next is not None)
    remove_at_once(tmp_path / "log")
    assert journal.close()
    assert "was deleted while in use: records 1 to 5" in capsys.readouterr().err
    (gap,) = stream_records(journal.directory)
    assert (gap.kind, gap.seq, gap.values) == (Kind.GAP, 6, {"dropped": 5})
    meta = read_meta(segment_paths(journal.directory)[-1])
    assert meta is not None
    assert meta.end is not None


@pytest.fixture
def real_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, that can be made to fail as after an error of its device."""
    image, disk = tmp_path / "image", tmp_path / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(16 << 20)
    try:
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may mount a disk, and only where there are loop devices")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@NOTICED
def test_a_run_ends_on_a_disk_that_became_read_only(real_disk: Path, tick: float) -> None:
    said = end_on_a_bad_disk(real_disk, "read-only", tick)
    assert said.count("cannot be written") == 1
    assert "1 calls could not be written" in said
