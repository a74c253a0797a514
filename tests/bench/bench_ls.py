"""Listing a thousand local runs, and reading points from the log."""

from __future__ import annotations

import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from uuid import UUID

from helpers.logs import SECOND, START_NS, log, make_run, open_journal, write_run

from wal.local import LocalSource
from wal.record import uuid7

RUNS = 1_000
WRITTEN = 20
"""Runs that the journal writes; the others are copies of them under new ids."""
RECORDS = 200
METRICS = 8
LIVE = 3
REPEATS = 9
POINTS = 400_000
HEAVY = ("textual", "numpy", "cassandra", "sqlite_utils")


def run() -> list[dict[str, object]]:
    """The figures; see :mod:`__main__` for a row's keys."""
    with tempfile.TemporaryDirectory(prefix="canopy-bench-") as scratch:
        directory = Path(scratch) / "log"
        make_log(directory)
        rows = [*listing(directory), polling(directory)]
        return [*rows, reading_points(Path(scratch) / "points")]


def values(step: int, run: int) -> dict[str, float]:
    loss = math.exp(-step / (20 + run)) + 0.01 * math.sin(step)
    return {"val/loss": loss, **{f"metric/{at}": loss * at for at in range(1, METRICS)}}


def make_log(directory: Path) -> None:
    """A thousand finished runs of two projects."""
    for at in range(WRITTEN):
        started = START_NS + at * SECOND
        info = make_run(f"project-{at % 2}", f"train-{at}", started, config={"total_steps": RECORDS})
        records = (values(step, at) for step in range(1, RECORDS + 1))
        write_run(directory, records, info, clock_ns=lambda started=started: started)
    written = sorted(directory.iterdir())
    for at in range(WRITTEN, RUNS):
        copy = directory / str(uuid7(START_NS + at * SECOND))
        (source,) = written[at % WRITTEN].iterdir()
        shutil.copytree(source, copy / str(uuid7()))


def listing(directory: Path) -> list[dict[str, object]]:
    first = seconds_of_ls(directory)
    times = [seconds_of_ls(directory) for _ in range(REPEATS)]
    blank = [seconds([sys.executable, "-c", "import click"], {}) for _ in range(REPEATS)]
    middle = statistics.median(times)
    detail = f"best {min(times):.3f} s; python that imports click and ends: {statistics.median(blank):.3f} s"
    heavy = heavy_modules(directory)
    return [
        {"name": f"canopy ls, {RUNS:,} local runs, whole process", "value": middle, "unit": "s",
         "bar": "≤ 0.4 s", "ok": middle <= 0.4, "detail": detail},
        {"name": "the same, the first time ever (no cache)", "value": first, "unit": "s"},
        {"name": "heavy modules that canopy ls imports", "value": len(heavy), "unit": "", "bar": "0",
         "ok": not heavy, "detail": ", ".join(heavy)},
    ]  # fmt: skip


def environment(directory: Path) -> dict[str, str]:
    state = str(directory.parent / "state")
    return {"CANOPY_DIR": str(directory), "XDG_STATE_HOME": state, "XDG_CONFIG_HOME": state, "COLUMNS": "120"}


def seconds(command: list[str], variables: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=os.environ | variables, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def seconds_of_ls(directory: Path) -> float:
    return seconds([sys.executable, "-m", "canopy_tui", "ls"], environment(directory))


def heavy_modules(directory: Path) -> list[str]:
    """What one ``canopy ls`` had imported when it ended."""
    code = (
        "import atexit, sys; sys.argv = ['canopy', 'ls']\n"
        f"atexit.register(lambda: print(*(m for m in {HEAVY} if m in sys.modules), file=sys.stderr))\n"
        "from canopy_tui.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment(directory), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stderr.split()


def polling(directory: Path) -> dict[str, object]:
    """What the app's poll costs with three runs that grow."""
    journals = [open_journal(directory, make_run(name=f"live-{at}")) for at in range(LIVE)]
    source = LocalSource(directory)
    source.runs()
    time.sleep(2.5)  # directories count as settled after 2 s: what a screen that has been up for a while pays
    source.runs()
    times: list[float] = []
    for step in range(1, 21):
        for journal in journals:
            log(journal, step, values(step, 0))
        started = time.perf_counter()
        source.runs()
        times.append(time.perf_counter() - started)
    source.close()
    for journal in journals:
        journal.close()
    return {
        "name": f"a poll of {RUNS + LIVE:,} runs, {LIVE} of them live",
        "value": 1e3 * statistics.median(times),
        "unit": "ms",
    }  # fmt: skip


def reading_points(directory: Path) -> dict[str, object]:
    journal = open_journal(directory)
    for step in range(1, POINTS + 1):
        log(journal, step, {"a": 1.0, "loss": 1 / step, "z": 2.0})
    journal.close()
    run_id, stream_id = journal.run.run_id, journal.stream.stream_id
    rates = [points_per_second(directory, run_id, stream_id) for _ in range(REPEATS)]
    rate = statistics.median(rates) / 1e6
    return {
        "name": f"points of one metric read from the log ({POINTS:,} records)", "value": rate, "unit": "M/s",
        "bar": "≥ 1.5 M/s", "ok": rate >= 1.5, "detail": f"best {max(rates) / 1e6:.2f} M/s",
    }  # fmt: skip


def points_per_second(directory: Path, run_id: UUID, stream_id: UUID) -> float:
    source = LocalSource(directory)
    source.points(run_id, stream_id, "none")  # the segments are known
    started = time.perf_counter()
    found = source.points(run_id, stream_id, "loss")
    elapsed = time.perf_counter() - started
    assert len(found) == POINTS
    return POINTS / elapsed
