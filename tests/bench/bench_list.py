"""A store with ten thousand runs against one with ten: the first frame with rows, key presses, and memory.

The rows are written by the store's own writer, with curves as a real run's. The first frame is that of a
process that has looked at this Cassandra before (its rows lie in ``index.db``); the very first look is beside
it. Keys are measured in the real app, headless: from the press to the drawn frame.
"""

from __future__ import annotations

import asyncio
import gc
import math
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(root.parent), str(root)]

from bench_app import environment
from helpers.nodes import fresh_keyspace, running_node
from helpers.processes import resident_mb
from helpers.syncing import target_of
from helpers.terminal import Terminal
from textual import events

from canopy_tui.app import CanopyApp
from canopy_tui.screens.runs import RunsScreen
from wal.cassandra.store import RunWrite, open_store
from wal.cassandra.writes import CatalogueWriter
from wal.merged import MergedSource
from wal.record import uuid7
from wal.settings import Settings
from wal.source import Connection, MetricRow, RunRow, RunState
from wal.summary import MetricSummary

MANY, FEW = 10_000, 10
YEAR_S = 365 * 86_400
METRICS = ("val/loss", "train/loss", "train/acc", "lr")
POINTS = 200
WRITERS = 4
SIZE = (120, 40)
FRAMES = 5
FILTER, SORTS = "loss<0.5 fold-3", 8
"""What is typed as a filter; and how often the list is sorted by the next column."""
NAMES = {"<": "less_than_sign", ".": "full_stop", " ": "space", "-": "minus"}
LOOK_S, PAUSE_S = 0.001, 0.2
"""How often the app is looked at for what a key did; and between two keys of somebody who types fast."""

SETTLE_S = 20.0
"""After the first frame, until what was heard is kept in the index: that is done every ten seconds."""
DEADLINE_S = 180.0
FRAME_BAR, KEY_BAR_MS, MEMORY_BAR_MB = 1.5, 100, 150


def a_run(number: int, runs: int, now_ns: int) -> RunWrite:
    """One of ``runs`` that began evenly spread over the last year; 0 is the newest."""
    started_ns = now_ns - int((number + 1) * YEAR_S / (runs + 1) * 1e9)
    metrics: dict[str, MetricRow] = {}
    for at, name in enumerate(METRICS):
        summary = MetricSummary()
        for step in range(POINTS):
            summary.add(step, math.exp(-step / (20 + number % 97)) + 0.01 * math.sin(step * (at + number)))
        metrics[name] = MetricRow(name, "min", summary, at)
    row = RunRow(
        run_id=uuid7(started_ns), project=f"project-{number % 5}", name=f"run-{number:05}",
        state=RunState.FAILED if number % 9 == 0 else RunState.DONE, host=f"node-{number % 3}",
        started_ns=started_ns, ended_ns=started_ns + 3_600 * 10**9, last_ts_ns=started_ns + 3_600 * 10**9,
        step=POINTS, records=POINTS, metrics=metrics, tags=("sweep", f"fold-{number % 7}"), shipped=True,
    )  # fmt: skip
    return RunWrite(row, stamp_us=started_ns // 1_000, config={"lr": 0.1, "seed": number}, main="val/loss")


def fill(store: CatalogueWriter, runs: int) -> float:
    """Seconds to write them."""
    began, now_ns = time.perf_counter(), time.time_ns()
    with ThreadPoolExecutor(WRITERS) as pool:
        written = [pool.submit(store.write_run, a_run(number, runs, now_ns)) for number in range(runs)]
        for one in written:
            one.result()  # raises what the write raised
    return time.perf_counter() - began


# -- as a process ------------------------------------------------------------------------------------


def contact(settings: Settings) -> dict[str, str]:
    return {
        "CASCOR_CASSANDRA_CONTACT_POINTS": settings.contact_points[0],
        "CASCOR_CASSANDRA_PORT": str(settings.port), "CASCOR_CASSANDRA_KEYSPACE": settings.keyspace,
        "CASCOR_CASSANDRA_LOCAL_DC": settings.local_dc or "",
    }  # fmt: skip


def first_frame(scratch: Path, settings: Settings, runs: int, stay_s: float = 0.0) -> tuple[float, float]:
    """Seconds from the start of the process to a frame with rows, and MB of its memory after ``stay_s`` more
    with all of them."""
    terminal = Terminal(
        sys.executable, "-m", "canopy_tui", env=environment(scratch, scratch / "log") | contact(settings),
        columns=SIZE[0], rows=SIZE[1], cwd=Path(__file__).parent.parent.parent,
    )  # fmt: skip
    try:
        seconds = terminal.until(
            lambda lines: any("run-00000" in line for line in lines), "the newest run", DEADLINE_S
        )
        if stay_s:
            all_of_them = f"{runs:,} runs"
            terminal.until(lambda lines: all_of_them in lines[0], all_of_them, DEADLINE_S)
            end = time.monotonic() + stay_s
            while time.monotonic() < end:
                assert terminal.look(), "the app ended"
        return seconds, resident_mb(terminal.process.pid)
    finally:
        terminal.close()


# -- keys --------------------------------------------------------------------------------------------


Times = list[tuple[float, float]]
"""Milliseconds by the clock, and of the screen's thread: a busy neighbour has no part in these."""


async def key_times(source: MergedSource, log_dir: Path, runs: int) -> dict[str, Times]:
    """From each key to its frame."""
    app = CanopyApp(source, log_dir=log_dir, after_start=gc.freeze)  # as the command does
    found: dict[str, Times] = {"filter": [], "sort": []}
    async with app.run_test(size=SIZE) as pilot:
        deadline = time.monotonic() + DEADLINE_S
        while len(app.known) < runs or source.status().connection is not Connection.UP:
            assert time.monotonic() < deadline, "the list never came"
            await asyncio.sleep(0.05)
        assert isinstance(app.screen, RunsScreen)
        await pilot.press("slash")
        for key in FILTER:
            found["filter"].append(await _timed(app, key))
        app.screen.action_clear_filter()
        app.screen.table.focus()
        await pilot.pause()
        for _ in range(SORTS):
            found["sort"].append(await _timed(app, "."))
    return found


async def _timed(app: CanopyApp, key: str) -> tuple[float, float]:
    """From the key going in until the list that it made has been painted.

    Not by the pilot: it waits for an idle process after each key, which takes longer than any of this.
    """
    screen, painted = app.screen, asyncio.Event()
    assert isinstance(screen, RunsScreen)
    shown_at = screen._shown_at  # pyright: ignore[reportPrivateUsage]
    began, worked = time.perf_counter(), time.thread_time()
    app.post_message(events.Key(NAMES.get(key, key), key))
    while screen._shown_at == shown_at:  # pyright: ignore[reportPrivateUsage]
        await asyncio.sleep(LOOK_S)
    screen.call_after_refresh(painted.set)
    await painted.wait()
    elapsed = time.perf_counter() - began, time.thread_time() - worked
    await asyncio.sleep(PAUSE_S)
    return 1e3 * elapsed[0], 1e3 * elapsed[1]


# -- rows --------------------------------------------------------------------------------------------


def run() -> list[dict[str, object]]:
    """The rows of the table that ``make bench`` prints."""
    with (
        tempfile.TemporaryDirectory(prefix="canopy-bench-") as place,
        running_node(Path(place) / "node", java_options=()) as node,
        fresh_keyspace(node) as many,
        fresh_keyspace(node) as few,
    ):
        filled: dict[int, float] = {}
        for settings, runs in ((many, MANY), (few, FEW)):
            target = target_of(settings)
            assert target.endpoint is not None
            with closing(open_store(target.endpoint, settings)) as store:
                filled[runs] = fill(store, runs)
        return [*frame_rows(Path(place), many, few, filled[MANY]), *key_rows(Path(place), many)]


def frame_rows(place: Path, many: Settings, few: Settings, filled_s: float) -> list[dict[str, object]]:
    sides = {MANY: many, FEW: few}
    first, memory = {}, {}
    for runs, settings in sides.items():
        first[runs], memory[runs] = first_frame(place / str(runs), settings, runs, SETTLE_S)
    seconds: dict[int, list[float]] = {MANY: [], FEW: []}
    for _ in range(FRAMES):
        for runs, settings in sides.items():
            seconds[runs].append(first_frame(place / str(runs), settings, runs)[0])
    again = first_frame(place / str(MANY), many, MANY, SETTLE_S)[1]
    ratio = statistics.median(a / b for a, b in zip(seconds[MANY], seconds[FEW], strict=True))
    middle = {runs: statistics.median(found) for runs, found in seconds.items()}
    most = max(memory[MANY], again)
    return [
        {"name": f"list: first frame with rows, {MANY:,} runs against {FEW}", "value": round(ratio, 2),
         "unit": "x", "bar": f"≤ {FRAME_BAR}", "ok": ratio <= FRAME_BAR,
         "detail": f"{middle[MANY]:.2f} s against {middle[FEW]:.2f} s, medians of {FRAMES} in turn; the very "
         f"first time {first[MANY]:.2f} s against {first[FEW]:.2f} s; written in {filled_s:.0f} s"},
        {"name": f"list: memory with {MANY:,} runs in the store", "value": round(most), "unit": "MB RSS",
         "bar": f"≤ {MEMORY_BAR_MB}", "ok": most <= MEMORY_BAR_MB,
         "detail": f"{memory[MANY]:.0f} MB after the first look, {again:.0f} MB after a later one; "
         f"{memory[FEW]:.0f} MB with {FEW}"},
    ]  # fmt: skip


def key_rows(place: Path, many: Settings) -> list[dict[str, object]]:
    log_dir, target = place / str(MANY) / "log", target_of(many)
    source = MergedSource(log_dir, find=lambda: target)
    try:
        found = asyncio.run(key_times(source, log_dir, MANY))
    finally:
        source.close()
    rows: list[dict[str, object]] = []
    for what, times in found.items():
        clock, work = zip(*times, strict=True)
        slowest = max(clock)
        rows.append(
            {"name": f"list: a {what} key among {MANY:,} runs", "value": round(slowest), "unit": "ms",
             "bar": f"≤ {KEY_BAR_MS}", "ok": slowest <= KEY_BAR_MS,
             "detail": f"the slowest of {len(times)}, median {statistics.median(clock):.0f} ms; processor "
             f"time {max(work):.0f} ms, median {statistics.median(work):.0f} ms"}
        )  # fmt: skip
    return rows


if __name__ == "__main__":
    for row in run():
        print(row)
