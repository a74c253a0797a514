"""After a long outage: 10^7 points wait and a run is live. How soon is that run whole on another machine, and
how much memory does the syncer take?

The backlog is the long run of :mod:`bench_open`, the link a proxy that refuses until the outage ends, the
other machine a real app in a terminal with an empty log directory and no proxy.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(root.parent), str(root)]

from bench_open import LONG, METRICS, the_log
from faults.proxy import Mode, Proxy, proxied
from helpers.nodes import fresh_keyspace, running_node
from helpers.syncerprocess import process_environment
from helpers.syncing import target_of
from helpers.terminal import Terminal
from helpers.trainer import environment as trainer_environment
from helpers.waiting import wait_until

from wal.cassandra.store import CassandraStore, open_store
from wal.paging.pagefile import PAGES_FILE
from wal.reading.acks import Acks
from wal.settings import Settings
from wal.shipping import daemon

NAME = "a-live-run"
BEGUN_WITH, RECORDS_A_S = 20_000, 10
NEWEST_BAR_S, CURVE_BAR_S, MEMORY_BAR_MB = 5.0, 15.0, 150.0
WINDOW_S = 45.0
"""How long the syncer ships on before its largest size is read."""

DEADLINE_S = 120.0
POLL_S = 0.05
BEHIND = 512
"""Records by which the pages that are written may be behind: a reader completes them from the records."""

_TRAINER = """
import math, os, sys, time, wal
run = wal.init(project="bench", name=sys.argv[2], dir=sys.argv[1])
written = os.open(sys.argv[5], os.O_WRONLY | os.O_CREAT)
def log(step):
    run.log({"loss": math.exp(-step / 9000), "accuracy": 1 - math.exp(-step / 9000)}, step=step)
    os.pwrite(written, b"%012d" % step, 0)
for step in range(int(sys.argv[3])):
    log(step)
print(run.id, flush=True)
while True:
    step += 1
    time.sleep(float(sys.argv[4]))
    log(step)
"""


@dataclass
class Scene:
    """The machine that was cut off, and what is known of its live run."""

    log_dir: Path
    steps: Path
    run_id: UUID
    syncer: int

    def newest_step(self) -> int:
        return int(self.steps.read_text())

    def waiting(self) -> int:
        acks = Acks(self.log_dir)
        acks.poll()
        return int(str(acks.status.get("waiting", 0)))

    def is_offline_and_paged(self) -> bool:
        acks = Acks(self.log_dir)
        acks.poll()
        return acks.status.get("connection") == "offline" and acks.status.get("unpaged") == 0

    def largest_mb(self) -> float:
        said = Path(f"/proc/{self.syncer}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", said)[0]) / 1024


@contextmanager
def cut_off(scratch: Path, settings: Settings) -> Generator[Scene]:
    """The backlog, a trainer that goes on logging, and a syncer that does not reach the settings' node."""
    log_dir, steps = scratch / "log", scratch / "step"
    kept, runs = the_log()
    run_id, _ = runs["long"]
    no_pages = shutil.ignore_patterns(f"{PAGES_FILE}*")  # the syncer builds them while it is cut off
    shutil.copytree(kept / str(run_id), log_dir / str(run_id), ignore=no_pages)
    trainer = subprocess.Popen(
        [sys.executable, "-c", _TRAINER, str(log_dir), NAME, str(BEGUN_WITH), str(1 / RECORDS_A_S),
         str(steps)],
        stdout=subprocess.PIPE, text=True, env=trainer_environment(),
    )  # fmt: skip
    try:
        assert trainer.stdout is not None
        live = UUID(trainer.stdout.readline().strip())
        env = process_environment(settings, scratch / "state")
        scene = Scene(log_dir, steps, live, daemon.spawn(log_dir, scratch, env))
        wait_until(scene.is_offline_and_paged, DEADLINE_S, "the pages of everything")
        yield scene
    finally:
        trainer.kill()
        trainer.communicate()
        daemon.stop(log_dir)


def heal(scene: Scene, proxy: Proxy, settings: Settings, scratch: Path) -> tuple[float, float, int]:
    """Seconds until the newest record is on the other screen, and until the whole curve can be read; and how
    many records wait then."""
    elsewhere, target = scratch / "elsewhere", target_of(settings)
    assert target.endpoint is not None
    terminal = Terminal(
        sys.executable, "-m", "canopy_tui",
        env=process_environment(settings, elsewhere, CANOPY_DIR=str(elsewhere / "log")),
        columns=120, rows=30, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        with closing(open_store(target.endpoint, settings)) as store:
            terminal.until_shown(" up")  # it is connected
            step, began = scene.newest_step(), time.monotonic()
            proxy.switch(Mode.FORWARD)
            newest_s = curve_s = 0.0
            while not (newest_s and curve_s):
                assert terminal.look()
                passed = time.monotonic() - began
                assert passed < DEADLINE_S, "\n".join(terminal.lines)
                if not newest_s and shown_step(terminal.lines) >= step:
                    newest_s = passed
                if not curve_s and coarse_seq(store, scene.run_id) > step - BEHIND:
                    curve_s = passed
        return newest_s, curve_s, scene.waiting()
    finally:
        terminal.close()


def shown_step(lines: list[str]) -> int:
    """The step that the list shows of the live run; -1 while it is not listed."""
    row = next((line for line in lines if NAME in line), "")
    numbers = (int(text.replace(",", "")) for text in re.findall(r"(?<![\d.])\d[\d,]*(?![\d.])", row))
    return max((number for number in numbers if number >= BEGUN_WITH - 1), default=-1)


def coarse_seq(store: CassandraStore, run_id: UUID) -> int:
    """How far the coarse pages of the run's stream go; 0 while there is none."""
    try:
        paged = [store.paged(run_id, stream.stream_id) for stream in store.stream_rows(run_id)]
    except KeyError:
        return 0
    return max((known.coarse_seq for known in paged if known is not None), default=0)


def run() -> list[dict[str, object]]:
    """The rows of the table that ``make bench`` prints."""
    with (
        tempfile.TemporaryDirectory(prefix="canopy-bench-") as place,
        running_node(Path(place) / "node", java_options=()) as node,
        fresh_keyspace(node) as settings,
        proxied(node.endpoint) as proxy,
    ):
        proxy.switch(Mode.REFUSE)
        with cut_off(Path(place), replace(settings, port=proxy.port)) as scene:
            newest_s, curve_s, waiting = heal(scene, proxy, settings, Path(place))
            time.sleep(WINDOW_S)
            left, largest_mb = scene.waiting(), scene.largest_mb()
    backlog = f"{LONG:,} points in {LONG // METRICS:,} records wait; {waiting:,} of them still did then"
    return [
        row("newest record of a live run on another screen", newest_s, "s", NEWEST_BAR_S, backlog),
        row("its whole curve (pages of level ≥ 3) readable there", curve_s, "s", CURVE_BAR_S, backlog),
        row("largest resident size of the syncer", largest_mb, "MB", MEMORY_BAR_MB,
            f"from its start, through the outage and all the paging, to {left:,} records left"),
    ]  # fmt: skip


def row(name: str, value: float, unit: str, bar: float, detail: str) -> dict[str, object]:
    return {
        "name": f"backlog: {name}", "value": round(value, 2), "unit": unit, "bar": f"≤ {bar:g} {unit}",
        "ok": value <= bar, "detail": detail,
    }  # fmt: skip


if __name__ == "__main__":
    for found in run():
        print(found)
