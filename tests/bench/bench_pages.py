"""Pages: how fast they are built, from arrays and from the log, and what they add to shipping a backlog.

The first two are of processor time: what a busy neighbour does to the clock says nothing of the code. The
backlog is shipped twice by the same syncer to the same node, in turn, with its pages and without: whoever
keeps none is a syncer whose :class:`wal.shipping.pager.Pager` is never shown a stream.

``python tests/bench/bench_pages.py --points 1000000`` does the backlog in another size.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(root.parent), str(root)]

import numpy as np
from bench_sync import METRICS, write_backlog
from helpers.nodes import fresh_keyspace, running_node
from helpers.pages import MemoryPages
from helpers.syncing import make_syncer

from wal.link import Target
from wal.paging.buckets import parents
from wal.paging.pagefile import delete_pages, read_state
from wal.paging.pages import encode
from wal.pyramid import Batch, Builder, decode, from_points
from wal.segments.segment import stream_dirs
from wal.settings import Settings
from wal.shipping.pager import SLICE_RECORDS
from wal.syncer import Syncer

ROUNDS = 5
ARRAY_POINTS = 1 << 20
LOG_RECORDS = 125_000
BACKLOG_POINTS = 10_000_000
WARMING_POINTS = 250_000
BACKLOG_ROUNDS = 3


def best(measure: Callable[[], float]) -> float:
    """The median of some rounds, after one that warms up."""
    measure()
    return statistics.median(measure() for _ in range(ROUNDS))


# -- from arrays -------------------------------------------------------------------------------------


def arrays() -> Batch:
    """2^20 points of 8 metrics, as a slice of a log gives them."""
    rng = np.random.default_rng(1)
    each = ARRAY_POINTS // METRICS
    steps = np.tile(np.arange(each, dtype=np.int64), METRICS)
    return Batch(
        metric=np.repeat(np.arange(METRICS, dtype=np.int64), each), seq=steps + 1, step=steps,
        us=1_790_000_000_000_000 + 700 * steps, value=rng.normal(size=ARRAY_POINTS),
    )  # fmt: skip


def level_rows() -> list[dict[str, object]]:
    """A base level from points, and a level from the one below; both with the bytes of its pages."""
    batch = arrays()
    base = from_points(batch, 1)

    def base_level() -> float:
        began = time.process_time()
        encode(from_points(batch, 1), 1, 1)
        return time.process_time() - began

    def upper_level() -> float:
        began = time.process_time()
        encode(parents(base), 2, 2)
        return time.process_time() - began

    def all_levels() -> float:
        store = MemoryPages()
        began = time.process_time()
        Builder(store, 0).add(batch)
        return time.process_time() - began

    def read_back() -> float:
        began = time.process_time()
        decode(pages, 1)
        return time.process_time() - began

    pages = [(page.metric, page.number, page.body) for page in encode(base, 1, 1)]
    found = [
        ("pages: base level from arrays", best(base_level), 5.0),
        ("pages: the next level, of the points below it", best(upper_level), 5.0),
        ("pages: all levels of a batch at once", best(all_levels), None),
        ("pages: decoding a base level", best(read_back), None),
    ]
    return [
        {
            "name": name, "value": round(ARRAY_POINTS / seconds / 1e6, 2), "unit": "M points/s",
            "bar": f"≥ {bar:g}" if bar else None,
            "ok": ARRAY_POINTS / seconds / 1e6 >= bar if bar else None,
            "detail": f"{ARRAY_POINTS:,} points of {METRICS} metrics; processor time, median of {ROUNDS}",
        }
        for name, seconds, bar in found
    ]  # fmt: skip


# -- from the log ------------------------------------------------------------------------------------


def log_row() -> dict[str, object]:
    """The real pager of a real syncer, from segments to ``pages.db``."""
    with tempfile.TemporaryDirectory() as place:
        log_dir = Path(place)
        run_id, stream_id = write_backlog(log_dir, LOG_RECORDS)
        directory = log_dir / str(run_id) / str(stream_id)
        clock: list[float] = []

        def build() -> float:
            for path in log_dir.glob("state.db*"):
                path.unlink()
            delete_pages(directory)
            target = Target(Settings(), None)
            syncer = Syncer(log_dir, lambda _: sys.exit("nothing to connect to"), lambda: target)
            syncer.keeper.look()
            began, wall = time.process_time(), time.perf_counter()
            while syncer.step().unpaged or not syncer.backlog.all_seen:
                pass
            seconds = time.process_time() - began
            clock.append(time.perf_counter() - wall)
            syncer.close()
            state = read_state(directory)
            assert state is not None
            assert state.paged_seq == LOG_RECORDS
            return seconds

        seconds = best(build)
        size = (directory / "pages.db").stat().st_size
    points = LOG_RECORDS * METRICS
    rate = points / seconds / 1e6
    return {
        "name": "pages: from the log, everything", "value": round(rate, 2), "unit": "M points/s",
        "bar": "≥ 1.5", "ok": rate >= 1.5,
        "detail": f"{points:,} points in slices of {SLICE_RECORDS:,} records, reading, building and writing; "
        f"processor time, {points / statistics.median(clock) / 1e6:.2f} by the clock; "
        f"{size / points:.1f} B a point on disk",
    }  # fmt: skip


# -- a backlog ---------------------------------------------------------------------------------------


def ship(log_dir: Path, settings: Settings, *, pages: bool) -> tuple[float, float]:
    """Ship a log with a new syncer; seconds, and processor seconds of this process, from its first look until
    all of it is acknowledged."""
    syncer = make_syncer(log_dir, settings)
    if not pages:
        syncer.keeper.look = lambda: None  # type: ignore[method-assign]
    try:
        syncer.link.tick()
        began, worked = time.perf_counter(), time.process_time()
        outcome = syncer.step()
        while outcome.waiting or not syncer.stored or not (syncer.keeper.done or not pages):
            syncer.wait(min(max(outcome.wake_in_s, 0.0), 0.05))
            outcome = syncer.step()
        return time.perf_counter() - began, time.process_time() - worked
    finally:
        syncer.close()


def backlog_row(settings: Settings, points: int) -> dict[str, object]:
    """Both ways in turn, each with a log of its own."""
    sides: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as place:  # warms the node up
        write_backlog(Path(place), WARMING_POINTS // METRICS)
        ship(Path(place), settings, pages=True)
    for number in range(BACKLOG_ROUNDS):
        for pages in (True, False) if number % 2 else (False, True):
            with tempfile.TemporaryDirectory() as place:
                log_dir = Path(place)
                write_backlog(log_dir, points // METRICS)
                assert len(list(stream_dirs(log_dir))) == 1
                sides[pages].append(ship(log_dir, settings, pages=pages))
    ratio = statistics.median(a[0] / b[0] for a, b in zip(sides[True], sides[False], strict=True))
    whole, bare = (statistics.median(seconds for seconds, _ in sides[pages]) for pages in (True, False))
    work = [statistics.median(worked for _, worked in sides[pages]) for pages in (True, False)]
    return {
        "name": f"pages: a backlog of {points:.0e} points, against records alone", "value": round(ratio, 2),
        "unit": "x", "bar": "≤ 1.3", "ok": ratio <= 1.3,
        "detail": f"{whole:.1f} s with pages, {bare:.1f} s for the records alone "
        f"({points / whole:,.0f} and {points / bare:,.0f} points/s); processor time of the syncer "
        f"{work[0]:.1f} and {work[1]:.1f} s; medians of {BACKLOG_ROUNDS} rounds in turn",
    }  # fmt: skip


def run(points: int = BACKLOG_POINTS) -> list[dict[str, object]]:
    """The rows of the table that ``make bench`` prints."""
    rows = [*level_rows(), log_row()]
    with (
        tempfile.TemporaryDirectory() as place,
        running_node(Path(place), java_options=()) as node,
        fresh_keyspace(node) as settings,
    ):
        return [*rows, backlog_row(settings, points)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=BACKLOG_POINTS)
    for row in run(parser.parse_args().points):
        print(row)
