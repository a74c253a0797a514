"""What the app costs while it is just looked at: a dozen live charts, and a long list in which nothing moves.

The whole app, a process in a terminal of its own; a trainer and a syncer are others beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(root.parent), str(root)]

from bench_app import environment
from bench_ls import RUNS, make_log
from helpers.processes import cpu_seconds
from helpers.terminal import Terminal
from helpers.trainer import environment as trainer_environment

from wal.shipping import daemon

METRICS, RECORDS_A_S = 12, 10
BEGUN_WITH = 3_000
"""Records that are there when the app is opened: a curve, pages and a tail."""
SIZES = {(120, 40): 6, (200, 60): 12}
"""Terminals, and how many of the charts are on the screen at once."""
LIST_SIZE = (120, 40)
SETTLE_S, WINDOW_S = 5.0, 30.0
LIVE_BAR_PERCENT, IDLE_BAR_PERCENT = 10.0, 3.0

_TRAINER = """
import math, sys, time, wal
log_dir, metrics, begun_with, gap_s = sys.argv[1], *map(float, sys.argv[2:])
run = wal.init(project="bench", name="a-dozen", dir=log_dir)
def log(step):
    run.log({f"metric/{at}": math.exp(-step / 900) * at + math.sin(step * at) / 9
             for at in range(int(metrics))}, step=step)
for step in range(int(begun_with)):
    log(step)
print("begun", flush=True)
due = time.monotonic()
while True:
    step, due = step + 1, due + gap_s
    time.sleep(max(due - time.monotonic(), 0))
    log(step)
"""


@contextmanager
def app_in_terminal(scratch: Path, log_dir: Path, size: tuple[int, int]) -> Generator[Terminal]:
    terminal = Terminal(
        sys.executable, "-m", "canopy_tui", env=environment(scratch, log_dir), columns=size[0], rows=size[1],
        cwd=Path(__file__).parent.parent.parent,
    )  # fmt: skip
    try:
        yield terminal
    finally:
        terminal.close()


def percent_of_core(terminal: Terminal) -> float:
    """Processor time of the app over a window, once it has settled."""
    _watch(terminal, SETTLE_S)
    began, used = time.monotonic(), cpu_seconds(terminal.process.pid)
    _watch(terminal, WINDOW_S)
    return 100 * (cpu_seconds(terminal.process.pid) - used) / (time.monotonic() - began)


def _watch(terminal: Terminal, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert terminal.look(), "the app ended"


def _titles(lines: list[str]) -> int:
    return "\n".join(lines).count("metric/")


def live_row(size: tuple[int, int]) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="canopy-bench-") as place:
        scratch, log_dir = Path(place), Path(place) / "log"
        trainer = subprocess.Popen(
            [sys.executable, "-c", _TRAINER, str(log_dir), str(METRICS), str(BEGUN_WITH),
             str(1 / RECORDS_A_S)],
            stdout=subprocess.PIPE, env=trainer_environment() | {"CANOPY_SYNC": "0"},
        )  # fmt: skip
        try:
            assert trainer.stdout is not None
            trainer.stdout.readline()
            syncer = daemon.spawn(log_dir, scratch, environment(scratch, log_dir))
            with app_in_terminal(scratch, log_dir, size) as terminal:
                terminal.until_shown("a-dozen")
                terminal.press("\r")
                terminal.until(lambda lines: _titles(lines) >= SIZES[size], "the charts")
                used = cpu_seconds(syncer)
                percent = percent_of_core(terminal)
                beside = 100 * (cpu_seconds(syncer) - used) / (SETTLE_S + WINDOW_S)
        finally:
            trainer.kill()
            trainer.wait()
            daemon.stop(log_dir)
    return {
        "name": f"app: {SIZES[size]} live charts of {METRICS} at {size[0]}×{size[1]}, {RECORDS_A_S} rec/s",
        "unit": "% CPU",
        "value": round(percent, 1), "bar": f"≤ {LIVE_BAR_PERCENT:g}", "ok": percent <= LIVE_BAR_PERCENT,
        "detail": f"of one core, the whole process, over {WINDOW_S:.0f} s; a syncer beside: {beside:.1f} %",
    }  # fmt: skip


def idle_row() -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="canopy-bench-") as place:
        log_dir = Path(place) / "log"
        make_log(log_dir)
        with app_in_terminal(Path(place), log_dir, LIST_SIZE) as terminal:
            terminal.until_shown("train-")
            percent = percent_of_core(terminal)
    return {
        "name": f"app: an idle list of {RUNS:,} local runs", "unit": "% CPU",
        "value": round(percent, 1), "bar": f"≤ {IDLE_BAR_PERCENT:g}", "ok": percent <= IDLE_BAR_PERCENT,
        "detail": f"of one core, the whole process, over {WINDOW_S:.0f} s",
    }  # fmt: skip


def run() -> list[dict[str, object]]:
    """The rows of the table that ``make bench`` prints."""
    return [*map(live_row, SIZES), idle_row()]


if __name__ == "__main__":
    print(f"load {os.getloadavg()}")
    for row in run():
        print(row)
