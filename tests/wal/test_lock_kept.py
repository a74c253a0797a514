"""A trainer keeps its lock, whatever its script does with the log directory."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.logs import log, open_journal
from helpers.trainer import environment
from helpers.waiting import stream_records, wait_until

from wal.journal import read_meta, read_records, segment_paths

IMPORT = "import sys; from pathlib import Path; from wal.segments.liveness import lock_holder\n"


def held_elsewhere(lock: Path) -> bool:
    """What another process is told of the lock."""
    program = IMPORT + "sys.exit(lock_holder(Path(sys.argv[1])) is None)"
    root = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", program, str(lock)], cwd=root).returncode == 0


def test_a_script_that_copies_its_log_directory_is_not_taken_for_dead(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "log")
    log(journal, 1, {"loss": 1.0})
    shutil.copytree(
        journal.directory, tmp_path / "copy"
    )  # opens and closes the lock file: the kernel drops it
    wait_until(lambda: held_elsewhere(journal.directory / "lock"))
    journal.close()
    assert not held_elsewhere(journal.directory / "lock")


COPIES = """
import shutil, sys, tempfile, threading
from pathlib import Path
from wal.training.current import start_run
from wal.segments.meta import Limits
from wal.training.starting import Wishes

limits = Limits(records=50, tick_seconds=0.02)
run = start_run(Path(sys.argv[1]), Wishes(project="p", name="n"), limits=limits)
directory = Path(sys.argv[1], str(run.run_id), str(run.stream_id))
print(directory, flush=True)
sys.stdin.readline()

def copy():
    for _ in range(40):
        with tempfile.TemporaryDirectory() as elsewhere:
            try:
                shutil.copytree(directory, Path(elsewhere, "copy"))
            except shutil.Error:  # a segment was made plain meanwhile
                pass

copier = threading.Thread(target=copy)
copier.start()
returned = []
while copier.is_alive():
    returned.append(run.log({"n": len(returned)}))
    assert returned[-1] == len(returned)
run.finish()
print(len(returned), flush=True)
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has locks that a close elsewhere does not drop"
)
def test_a_script_that_copies_its_log_directory_beside_readers_loses_nothing(tmp_path: Path) -> None:
    """Copying closes the files, which drops SQLite's own locks: a reader would take itself for the first and
    truncate the -shm that the writer has mapped."""
    trainer = subprocess.Popen(
        [sys.executable, "-c", COPIES, str(tmp_path)], env=environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert trainer.stdin is not None
    assert trainer.stdout is not None
    directory = Path(trainer.stdout.readline().strip())
    trainer.stdin.write("\n")
    trainer.stdin.flush()
    while trainer.poll() is None:
        for path in segment_paths(directory)[-4:]:
            try:
                meta = read_meta(path)
                if meta is not None:
                    records = read_records(path)
                    assert [r.seq for r in records] == list(
                        range(meta.first_seq, meta.first_seq + len(records))
                    )
            except FileNotFoundError:
                pass
    output, errors = trainer.communicate()
    assert (trainer.returncode, errors) == (0, "")
    count = int(output)
    records = stream_records(directory)
    assert [record.seq for record in records] == list(range(1, count + 1))
    assert [record.values["n"] for record in records] == list(range(count))
