"""What ``log()`` costs, against a bare SQLite INSERT of the same bytes, in one process and in turn."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers.waiting import wait_until

from wal.record import packer
from wal.segments.segment import SCHEMA
from wal.shipping import daemon
from wal.training.starting import Wishes

REPETITIONS = 5
CALLS = 20_000
"""Per repetition: two and a half segments, so that rotation and sealing are in the tail."""

STARTS = 15
FLOATS = 8
MAX_RATIO = 1.5
MAX_TAIL = 10.0
MAX_START_MS = 60.0

_START = """
import time
before = time.perf_counter()
import wal
wal.init(project="bench")
print(1e3 * (time.perf_counter() - before))
"""


_LOGGING = """
import os, wal
run = wal.init(project="bench")
os.getppid()  # marks the trace
for step in range(30_000):
    run.log({"loss": 1.0, "step": step})
os.getppid()
"""


def run() -> list[dict[str, Any]]:
    """Rows of {"name", "value", "unit", "bar", "ok", "detail"}."""
    os.environ["CANOPY_SILENT"] = "1"
    rounds = [_one_round() for _ in range(REPETITIONS)]
    ours, bare, tail, preempted = (statistics.median(column) for column in zip(*rounds, strict=True))
    starts = [(_start_ms(), _start_ms(spawning=True)) for _ in range(STARTS)]
    alone, spawning = zip(*starts, strict=True)
    return [
        _row(
            "log() of 8 floats, p50 / bare INSERT p50", ours / bare, "x", MAX_RATIO,
            f"{ours:.1f} us / {bare:.1f} us, medians of {REPETITIONS} x {CALLS} calls in turn",
        ),
        _row(
            "log() p99.9 of calls not preempted / p50", tail / ours, "x", MAX_TAIL,
            f"{tail:.0f} us / {ours:.1f} us; {preempted:.2%} of the calls were preempted and do not count",
        ),
        _start_row("import wal and init(), spawning the syncer", spawning),
        _start_row("import wal and init(), no syncer wanted", alone),
        _system_calls(),
    ]  # fmt: skip


def _row(name: str, value: float, unit: str, bar: float, detail: str) -> dict[str, Any]:
    text = f"≤ {bar:g} {unit}".rstrip()
    return {"name": name, "value": value, "unit": unit, "bar": text, "ok": value <= bar, "detail": detail}


def _start_row(name: str, starts_ms: Sequence[float]) -> dict[str, Any]:
    detail = f"median of {STARTS} fresh processes, {min(starts_ms):.0f} to {max(starts_ms):.0f} ms"
    return _row(name, statistics.median(starts_ms), "ms", MAX_START_MS, detail)


def _system_calls() -> dict[str, Any]:
    """Syncs and network calls made by the thread that calls log(), counted by strace over three rotations."""
    name = "syncs and network calls of the logging thread"
    strace = shutil.which("strace")
    if strace is None:
        return {"name": name, "value": 0, "unit": "", "bar": "0", "ok": None, "detail": "no strace here"}
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        calls = "trace=fsync,fdatasync,sync_file_range,msync,socket,connect,sendto,sendmsg,execve,getppid"
        command = [strace, "-f", "-o", str(trace), "-e", calls, sys.executable, "-c", _LOGGING]
        subprocess.run(command, env=_environment(folder), check=True, capture_output=True)
        lines = [line.split(None, 1) for line in trace.read_text().splitlines()]
    main = lines[0][0]
    mine = [call for thread, call in lines if thread == main]
    first, last = (place for place, call in enumerate(mine) if call.startswith("getppid("))
    others = sum("sync(" in call for thread, call in lines if thread != main)
    return {
        "name": name, "value": last - first - 1, "unit": "", "bar": "0", "ok": last - first == 1,
        "detail": f"strace of 30,000 calls of log() over three rotations; {others} syncs in the background",
    }  # fmt: skip


def _preemptions() -> int:
    """Times that the scheduler took the processor from any thread of this process: also one that holds the
    interpreter while this one waits for it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _one_round() -> tuple[float, float, float, float]:
    """p50 of log(), p50 of the bare INSERT, p99.9 of log() calls not preempted, all in microseconds; and the
    share of calls that were preempted."""
    from wal.training.current import start_run

    names = [f"train/metric_{i}" for i in range(FLOATS)]
    clock = time.perf_counter_ns
    with tempfile.TemporaryDirectory() as folder:
        bare = _bare_connection(Path(folder) / "bare.db")
        log_run = start_run(Path(folder) / "log", Wishes(project="bench", name="bench"))
        ours_ns: list[int] = []
        undisturbed_ns: list[int] = []
        bare_ns: list[int] = []
        pack = packer(FLOATS).pack
        for step in range(CALLS):
            data = {name: step + i / 7 for i, name in enumerate(names)}
            before = _preemptions()
            start = clock()
            seq = log_run.log(data)
            took = clock() - start
            ours_ns.append(took)
            if _preemptions() == before:
                undisturbed_ns.append(took)
            body = pack(*data.values())
            start = clock()
            bare.execute("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?)", (seq, 1, 1, step, start, body))
            bare_ns.append(clock() - start)
        log_run.finish()
        bare.close()
    tail = sorted(undisturbed_ns)[int(len(undisturbed_ns) * 0.999)]
    preempted = 1 - len(undisturbed_ns) / CALLS
    return statistics.median(ours_ns) / 1e3, statistics.median(bare_ns) / 1e3, tail / 1e3, preempted


def _bare_connection(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA page_size = 1024")  # ours: the default of 4096 would make the INSERT slower
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("PRAGMA synchronous = NORMAL")
    # Its checkpoints' syncs do not change its p50, and would hold up the next log() in the file system.
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.executescript(SCHEMA)
    return connection


def _start_ms(*, spawning: bool = False) -> float:
    """How long a fresh process takes to have a run; its syncer, if it started one, has ended after this."""
    with tempfile.TemporaryDirectory() as folder:
        log_dir = Path(folder) / "log"
        output = subprocess.run(
            [sys.executable, "-c", _START], env=_environment(str(log_dir), spawning=spawning),
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        if spawning:
            wait_until(lambda: daemon.holder(log_dir) is not None, what="the spawned syncer")
            assert daemon.stop(log_dir)
        return float(output)


def _environment(log_dir: str, *, spawning: bool = False) -> dict[str, str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("CANOPY_")}
    environ |= {"CANOPY_DIR": log_dir, "CANOPY_SYNC": "01"[spawning], "CANOPY_SILENT": "1"}
    environ |= {"CANOPY_NODE": "none", "XDG_CONFIG_HOME": log_dir}  # the syncer finds no Cassandra
    root = str(Path(__file__).resolve().parents[2])
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environ.get("PYTHONPATH"))))
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    return environ


if __name__ == "__main__":
    for row in run():
        print(f"{row['name']}: {row['value']:.2f} {row['unit']} (bar {row['bar']}; {row['detail']})")
