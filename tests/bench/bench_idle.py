"""What the syncer costs while there is nothing for it to do: a real process over a thousand shipped runs.

Three kinds of idleness: nothing lives, a trainer lives and logs nothing, and Cassandra is dead while a record
waits for it.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from bench_ls import RUNS, make_log
from bench_outage import environment
from helpers.logs import log, make_run, open_journal
from helpers.nodes import fresh_keyspace, running_node
from helpers.processes import cpu_seconds, resident_mb
from helpers.waiting import eventually

from wal.reading.acks import Acks
from wal.shipping import daemon
from wal.syncer import QUIET_AFTER_S

WINDOW_S = 40.0
MAX_CPU_PERCENT = 0.2
MAX_RESIDENT_MB = 90.0
SHIPPING_DEADLINE_S = 300.0


def run() -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory(prefix="canopy-bench-") as scratch:
        log_dir = Path(scratch) / "log"
        make_log(log_dir)
        with (
            running_node(Path(scratch) / "node", java_options=()) as node,
            fresh_keyspace(node) as settings,
            environment(settings, Path(scratch)),
        ):
            pid = daemon.spawn(log_dir, Path(scratch), os.environ)
            try:
                wait_until_shipped(log_dir)
                time.sleep(QUIET_AFTER_S)
                rows = [cpu_row("nothing lives", pid)]
                journal = open_journal(log_dir, make_run(name="quiet"), clock_ns=time.time_ns)
                log(journal, 1, {"loss": 1.0})
                wait_until_shipped(log_dir)
                time.sleep(QUIET_AFTER_S)
                rows += [cpu_row("a quiet trainer lives", pid), resident_row(pid)]
                node.kill()
                log(journal, 2, {"loss": 1.0})
                time.sleep(QUIET_AFTER_S)
                rows.append(cpu_row("Cassandra is dead", pid))
                journal.close()
            finally:
                daemon.stop(log_dir)
    return rows


def wait_until_shipped(log_dir: Path) -> None:
    """Until the syncer, told to look now, says that everything on disk is shipped."""
    acks, since_ns = Acks(log_dir), time.time_ns()
    eventually(lambda: daemon.nudge(log_dir))

    def shipped() -> bool:
        acks.poll()
        updated_ns = acks.status.get("updated_ns", 0)
        return bool(acks.status.get("drained")) and isinstance(updated_ns, int) and updated_ns > since_ns

    eventually(shipped, deadline_s=SHIPPING_DEADLINE_S)


def cpu_row(when: str, pid: int) -> dict[str, object]:
    began, used = time.monotonic(), cpu_seconds(pid)
    time.sleep(WINDOW_S)
    spent_s, lasted_s = cpu_seconds(pid) - used, time.monotonic() - began
    percent = 100 * spent_s / lasted_s
    return {
        "name": f"idle syncer, {RUNS:,} runs, {when}", "value": percent, "unit": "% CPU",
        "bar": f"≤ {MAX_CPU_PERCENT} %", "ok": percent <= MAX_CPU_PERCENT,
        "detail": f"{1e3 * spent_s:.0f} ms of one core in {lasted_s:.0f} s",
    }  # fmt: skip


def resident_row(pid: int) -> dict[str, object]:
    resident = resident_mb(pid)
    return {
        "name": f"idle syncer, {RUNS:,} runs, after it shipped them", "value": resident, "unit": "MB RSS",
        "bar": f"≤ {MAX_RESIDENT_MB:.0f} MB", "ok": resident <= MAX_RESIDENT_MB,
    }  # fmt: skip
