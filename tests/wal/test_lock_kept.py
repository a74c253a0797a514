"""A trainer keeps its lock, whatever its script does with the log directory."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from helpers.logs import log, open_journal
from helpers.waiting import wait_until

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
