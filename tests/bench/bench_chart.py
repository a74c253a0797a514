"""From a trainer's ``log()`` returning to the value in drawn strips: from the local log, and from Cassandra
on "another machine" (an empty log directory).

The trainer is a process of its own that logs at irregular times and says when each call returned; the app is
the real one, headless, and a value counts as drawn when the compositor has asked the chart for its strips.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(root.parent), str(root)]

from helpers.nodes import fresh_keyspace, running_node
from helpers.syncing import target_of
from helpers.trainer import environment

from canopy_tui.app import CanopyApp
from canopy_tui.screens.run import RunScreen
from canopy_tui.widgets.chart import Chart
from wal.link import Target
from wal.merged import MergedSource
from wal.settings import Settings
from wal.shipping import daemon

RECORDS = 40
GAP_S = (0.4, 0.9)
"""Between two records: a trainer's validation, or its steps where one takes its time."""

SIZE = (120, 40)
LOOK_S = 0.002
LOCAL_BAR_MS, REMOTE_BAR_S = 150, 2.0
DEADLINE_S = 120.0

_TRAINER = """
import sys, time, wal
log_dir, gaps = sys.argv[1], sys.argv[2:]
run = wal.init(project="bench", name="latency", dir=log_dir)
print(run.run_id, flush=True)
sys.stdin.readline()
for step, gap in enumerate(gaps):
    time.sleep(float(gap))
    run.log({"loss": 1000.0 + step}, step=step)
    print(time.monotonic_ns(), flush=True)
sys.stdin.readline()
run.finish()
"""


class TrainerProcess:
    """Logs 1000, 1001, … as ``loss``; ``logged_ns`` says when each call had returned."""

    def __init__(self, log_dir: Path) -> None:
        dice = random.Random(7)
        gaps = [f"{dice.uniform(*GAP_S):.3f}" for _ in range(RECORDS)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TRAINER, str(log_dir), *gaps],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
        )  # fmt: skip
        assert self.process.stdout is not None
        self.run_id = UUID(self.process.stdout.readline().strip())
        self.logged_ns: list[int] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.logged_ns.append(int(line))

    def go_on(self) -> None:
        """Let it begin; later, let it end."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


def latencies_ms(source: MergedSource, log_dir: Path, trainer: TrainerProcess) -> list[float]:
    """Milliseconds from each ``log()`` returning to its value, or a newer one, in the strips of a chart."""
    app = CanopyApp(source, log_dir=log_dir, open_run=trainer.run_id)

    async def watch() -> list[int]:
        async with app.run_test(size=SIZE) as pilot:
            await pilot.pause()
            return await _drawn_ns(app, trainer)

    drawn_ns = asyncio.run(watch())
    source.close()
    trainer.go_on()
    trainer.process.wait(30)
    return [(drawn - logged) / 1e6 for drawn, logged in zip(drawn_ns, trainer.logged_ns, strict=True)]


async def _drawn_ns(app: CanopyApp, trainer: TrainerProcess) -> list[int]:
    trainer.go_on()
    drawn_ns: list[int] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(drawn_ns) < RECORDS:
        await asyncio.sleep(LOOK_S)
        assert time.monotonic() < deadline, f"only {len(drawn_ns)} of {RECORDS} values were ever drawn"
        shown = _value_on(app)
        now_ns = time.monotonic_ns()
        while shown is not None and len(drawn_ns) <= shown - 1000:
            drawn_ns.append(now_ns)
    return drawn_ns


def _value_on(app: CanopyApp) -> int | None:
    """The newest value in the strips that the compositor was given; None while there are none."""
    if not isinstance(app.screen, RunScreen):
        return None
    title = app.screen.query(Chart).first()._strips.get(0)  # pyright: ignore[reportPrivateUsage]
    words = [] if title is None else title.text.split()
    return next((int(word) for word in words if word.isdigit()), None)


def local() -> dict[str, object]:
    with tempfile.TemporaryDirectory() as place:
        log_dir = Path(place)
        trainer = TrainerProcess(log_dir)
        source = MergedSource(log_dir, find=lambda: Target(Settings(), None))
        found = latencies_ms(source, log_dir, trainer)
    median = statistics.median(found)
    return {
        "name": "chart: log() to drawn strips, from the local log, p50", "value": round(median), "unit": "ms",
        "bar": f"≤ {LOCAL_BAR_MS}", "ok": median <= LOCAL_BAR_MS, "detail": _spread(found, "ms"),
    }  # fmt: skip


@contextmanager
def syncing(log_dir: Path, settings: Settings, place: Path) -> Iterator[None]:
    """A syncer process as a user has it, with its settings in a file."""
    (place / "conf").mkdir()
    (place / "conf" / "cassandra_config.yaml").write_text(
        f"cassandra:\n  contact_points: [{settings.contact_points[0]}]\n  port: {settings.port}\n"
        f"  keyspace: {settings.keyspace}\n"
    )
    pid = daemon.spawn(log_dir, place, environment())
    try:
        yield
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


def remote() -> dict[str, object]:
    with tempfile.TemporaryDirectory() as place, running_node(Path(place) / "node", java_options=()) as node:
        here, there = Path(place) / "here", Path(place) / "there"
        there.mkdir()
        with fresh_keyspace(node) as settings:
            trainer = TrainerProcess(there)
            with syncing(there, settings, Path(place)):
                source = MergedSource(here, find=lambda: target_of(settings))
                found = [ms / 1000 for ms in latencies_ms(source, here, trainer)]
    median = statistics.median(found)
    return {
        "name": "chart: log() to drawn strips, through Cassandra, p50", "value": round(median, 2),
        "unit": "s", "bar": f"≤ {REMOTE_BAR_S:g}", "ok": median <= REMOTE_BAR_S,
        "detail": _spread(found, "s"),
    }  # fmt: skip


def _spread(found: list[float], unit: str) -> str:
    ordered = sorted(found)
    digits = 0 if unit == "ms" else 2
    p90 = ordered[int(len(ordered) * 0.9)]
    return (
        f"{len(found)} records; min {ordered[0]:.{digits}f}, p90 {p90:.{digits}f}, "
        f"max {ordered[-1]:.{digits}f} {unit}"
    )


def run() -> list[dict[str, object]]:
    """The rows of the table that ``make bench`` prints."""
    return [local(), remote()]


if __name__ == "__main__":
    for row in run():
        print(row)
