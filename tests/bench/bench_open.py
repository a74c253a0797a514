"""Opening the Run screen of a long run and of a short one: how long until its charts stand, and how much
memory; from the log, and from Cassandra on another machine (an empty log directory).

The long run is made once through the real log and the real syncer, and kept in the user's cache directory
(``CANOPY_BENCH_POINTS`` makes a smaller one). Both runs are opened in turn in one process that has imported
everything, each time by a new app that has read nothing of them yet.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import UUID

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(root.parent), str(root)]

from bench_app import environment
from helpers.drivercount import counted
from helpers.logs import make_run, write_run
from helpers.nodes import fresh_keyspace, running_node
from helpers.processes import resident_mb
from helpers.reading import wait_for
from helpers.syncing import drain, target_of
from helpers.terminal import Terminal
from platformdirs import user_cache_dir

from canopy_tui.app import CanopyApp
from canopy_tui.charts.plot import plot_columns
from canopy_tui.screens.run import RunScreen
from canopy_tui.widgets.chart import Chart
from wal.cassandra.store import CassandraStore, open_store
from wal.link import Target
from wal.merged import MergedSource, connect_reader
from wal.paging.levels import level_of, page_range
from wal.pyramid import TAIL_RECORDS, exponent_for
from wal.settings import Settings
from wal.source import Ask, Connection
from wal.syncer import Syncer

METRICS = 8
WARM = 2_000
"""Points of a third run, which is opened first: an app that is warm has shown a run before."""
LONG, SHORT = int(float(os.environ.get("CANOPY_BENCH_POINTS", "1e7"))), 10_000
LISTED = ("long", "short", "warm")
"""The runs as the list shows them, newest first."""
SIZE, ON_SCREEN = (120, 40), 6
"""Of the terminal, and how many of the charts it shows at once."""
ROUNDS = 7
LOOK_S = 0.002
DEADLINE_S = 120.0
LEVELS = 8
"""That a run of this length has below the one of a chart, at most."""
RATIO_BAR, OPEN_BAR_S, MEMORY_BAR = 1.5, 0.150, 1.2

Runs = dict[str, tuple[UUID, UUID]]
"""(run id, stream id) by name."""


# -- the runs ----------------------------------------------------------------------------------------


def the_log() -> tuple[Path, Runs]:
    """The directory with both runs and their pages; made when it is not there."""
    log_dir = Path(user_cache_dir("canopy")) / "bench" / f"open-{LONG}"
    if not (log_dir / "made").exists():
        for name, points in zip(reversed(LISTED), (WARM, SHORT, LONG), strict=True):
            values = (_values(step) for step in range(points // METRICS))
            write_run(log_dir, values, make_run("bench", name, time.time_ns()), clock_ns=time.time_ns)
        (log_dir / "made").touch()
    syncer = Syncer(log_dir, lambda _: sys.exit("nothing to connect to"), lambda: Target(Settings(), None))
    while syncer.step().unpaged or not syncer.backlog.all_seen:
        pass
    syncer.close()
    with closing(MergedSource(log_dir, find=lambda: Target(Settings(), None))) as source:
        details = [source.run(row.run_id) for row in source.runs()]
    return log_dir, {one.row.name: (one.row.run_id, one.streams[0].stream_id) for one in details}


def _values(step: int) -> dict[str, float]:
    noise = (step * 2_654_435_761 & 0xFFFF) / 0xFFFF
    return {f"metric/{at}": at + 1 / (1 + step * 1e-4) + 0.1 * noise for at in range(METRICS)}


# -- opening -----------------------------------------------------------------------------------------


def seconds_to_open(log_dir: Path, target: Target, warm: UUID, run_id: UUID) -> float:
    """From the key press to strips with the curves of all charts, in an app that has shown another run."""
    source = MergedSource(log_dir, find=lambda: target)
    app = CanopyApp(source, log_dir=log_dir)

    async def open_it() -> float:
        async with app.run_test(size=SIZE) as pilot:
            await _until(lambda: len(app.listed) == 3 and not app.background.busy())
            if target.endpoint is not None:
                await _until(lambda: source.status().connection is Connection.UP)
            app.open_run(warm)
            await _until(lambda: _is_drawn(app))
            app.pop_screen()
            await _until(lambda: not app.background.busy())
            await pilot.pause()
            gc.collect()
            began = time.perf_counter()
            app.open_run(run_id)
            await _until(lambda: _is_drawn(app))
            return time.perf_counter() - began

    try:
        return asyncio.run(open_it())
    finally:
        source.close()


async def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not reached():
        assert time.monotonic() < deadline, "the screen never came to it"
        await asyncio.sleep(LOOK_S)


def _is_drawn(app: CanopyApp) -> bool:
    screen = app.screen
    if not isinstance(screen, RunScreen) or not screen.is_mounted:
        return False
    charts = [chart for chart in screen.query(Chart) if chart.display and chart.visible]
    return len(charts) == ON_SCREEN and all(
        chart.plot is not None and chart._strips  # pyright: ignore[reportPrivateUsage]
        for chart in charts
    )


def in_turn(log_dir: Path, target: Target, runs: Runs) -> dict[str, list[float]]:
    """Both runs, one after the other, after a round that warms up."""
    found: dict[str, list[float]] = {"long": [], "short": []}
    for number in range(ROUNDS + 1):
        for name in sorted(found, reverse=bool(number % 2)):
            seconds = seconds_to_open(log_dir, target, runs["warm"][0], runs[name][0])
            if number:
                found[name].append(seconds)
    return found


# -- cold, and memory --------------------------------------------------------------------------------


def cold(scratch: Path, log_dir: Path, extra: dict[str, str], name: str) -> tuple[float, float]:
    """Seconds from the start of a process to its settled charts, and MB of its memory then."""
    repository = Path(__file__).parent.parent.parent
    terminal = Terminal(
        sys.executable, "-m", "canopy_tui", env=environment(scratch, log_dir) | extra, columns=SIZE[0],
        rows=SIZE[1], cwd=repository,
    )  # fmt: skip
    try:
        terminal.until_shown("short")
        terminal.press("j" * LISTED.index(name) + "\r")
        terminal.until(_charts_stand, "all charts", DEADLINE_S)
        return terminal.seconds, resident_mb(terminal.process.pid)
    finally:
        terminal.close()


def _charts_stand(lines: list[str]) -> bool:
    """Titles with values, and an axis each."""
    text = "\n".join(lines)
    return text.count("metric/") >= ON_SCREEN and text.count("└") >= ON_SCREEN


# -- beside it: a bare loop --------------------------------------------------------------------------


def bare_loop(store: CassandraStore, run: tuple[UUID, UUID]) -> float:
    """Seconds for the driver alone to fetch the pages that the charts show: a request per chunk of pages,
    all metrics at once."""
    detail = store.run(run[0])
    paged = store.paged(*run)
    assert paged is not None
    last = detail.streams[0].last_step
    columns = plot_columns(SIZE[0] // 2 - 2)
    level = level_of(exponent_for(0, last, columns), paged.shift)
    first, final = page_range(0, last, paged.shift + max(level, 1))
    began = time.perf_counter()
    futures = [
        store.session.driver.execute_async(
            f"SELECT page, body FROM {store.settings.keyspace}.metric_pages WHERE run_id = %s AND stream = %s"
            " AND metric = %s AND level = %s AND chunk = %s AND page >= %s AND page <= %s",
            (*run, f"metric/{at}", max(level, 1), chunk, first, final),
        )
        for at in range(ON_SCREEN)
        for chunk in range(first >> 8, (final >> 8) + 1)
    ]
    for future in futures:
        list(future.result())
    return time.perf_counter() - began


# -- beside it: what crosses the driver --------------------------------------------------------------


def rows_of_a_chart(scratch: Path, target: Target, run_id: UUID, columns: int) -> tuple[int, int, bool]:
    """Pages and records that one chart of the whole run costs a machine that has read nothing of it, and
    whether it shows single points."""
    stores: list[CassandraStore] = []

    def connect(target: Target) -> CassandraStore:
        stores.append(connect_reader(target))
        return stores[-1]

    with closing(MergedSource(scratch, find=lambda: target, connect=connect)) as source:
        wait_for(source, Connection.UP)
        detail = source.run(run_id)
        with counted(stores[-1]) as rows:
            (series,) = source.series(run_id, Ask("metric/0", columns), wait_s=DEADLINE_S)
        assert series.points == detail.row.records, "not the whole chart"
        return rows["metric_pages"], rows["training_metrics"], series.resolution == 1


def driver_rows(place: Path, target: Target, runs: Runs) -> list[dict[str, object]]:
    """Pages and records of one chart, for runs of every size."""
    columns = plot_columns(SIZE[0] // 2 - 2)
    page_bar = columns // 4 + 2 + 8 * LEVELS
    found = {
        name: rows_of_a_chart(place / f"count {name}", target, runs[name][0], columns)
        for name in ("warm", "short", "long")
    }
    each = "; ".join(f"{name} run: {pages} and {records}" for name, (pages, records, _) in found.items())
    pages = max(pages for pages, _, _ in found.values())
    fits = all(
        records <= (16 * columns if is_single else TAIL_RECORDS) for _, records, is_single in found.values()
    )
    return [
        {"name": "open: pages of Cassandra that one chart costs", "value": pages, "unit": "rows",
         "bar": f"≤ {page_bar}", "ok": pages <= page_bar,
         "detail": f"and records, counted at the driver, of {WARM:,}, {SHORT:,} and {LONG:,} points: {each}"},
        {"name": "open: records of Cassandra that a chart of the long run costs", "value": found["long"][1],
         "unit": "rows", "bar": f"≤ {TAIL_RECORDS}", "ok": fits,
         "detail": f"of the others, which show single points, at most {16 * columns:,}"},
    ]  # fmt: skip


# -- rows --------------------------------------------------------------------------------------------


def open_rows(
    place: str, found: dict[str, list[float]], bar_s: float, detail: str
) -> list[dict[str, object]]:
    long, short = statistics.median(found["long"]), statistics.median(found["short"])
    ratio = statistics.median(a / b for a, b in zip(found["long"], found["short"], strict=True))
    both = f"{1e3 * long:.0f} ms against {1e3 * short:.0f} ms, medians of {ROUNDS} in turn{detail}"
    return [
        {"name": f"open: Run of {LONG:.0e} points against {SHORT:.0e}, {place}", "value": round(ratio, 2),
         "unit": "x", "bar": f"≤ {RATIO_BAR}", "ok": ratio <= RATIO_BAR, "detail": both},
        {"name": f"open: Run of {LONG:.0e} points, {place}", "value": round(1e3 * long), "unit": "ms",
         "bar": f"≤ {1e3 * bar_s:.0f} ms", "ok": long <= bar_s},
    ]  # fmt: skip


def cold_rows(place: str, scratch: Path, log_dir: Path, extra: dict[str, str]) -> list[dict[str, object]]:
    found = {name: [cold(scratch, log_dir, extra, name) for _ in range(3)] for name in ("short", "long")}
    seconds = {name: statistics.median(one for one, _ in each) for name, each in found.items()}
    memory = {name: statistics.median(one for _, one in each) for name, each in found.items()}
    ratio = memory["long"] / memory["short"]
    return [
        {"name": f"open: cold, process start to charts, {place}", "value": round(seconds["long"], 2),
         "unit": "s", "detail": f"{seconds['short']:.2f} s for the short run, through the list"},
        {"name": f"open: memory with the long run against the short, {place}", "value": round(ratio, 2),
         "unit": "x", "bar": f"≤ {MEMORY_BAR}", "ok": ratio <= MEMORY_BAR,
         "detail": f"{memory['long']:.0f} MB against {memory['short']:.0f} MB"},
    ]  # fmt: skip


def local_rows(log_dir: Path, runs: Runs) -> list[dict[str, object]]:
    found = in_turn(log_dir, Target(Settings(), None), runs)
    with tempfile.TemporaryDirectory(prefix="canopy-bench-") as scratch:
        return [
            *open_rows("from the log", found, OPEN_BAR_S, ""),
            *cold_rows("from the log", Path(scratch), log_dir, {}),
        ]


def remote_rows(log_dir: Path, runs: Runs) -> list[dict[str, object]]:
    with (
        tempfile.TemporaryDirectory(prefix="canopy-bench-") as place,
        running_node(Path(place) / "node", java_options=()) as node,
        fresh_keyspace(node) as settings,
    ):
        for path in log_dir.glob("state.db*"):  # another Cassandra each time
            path.unlink()
        began = time.perf_counter()
        drain(log_dir, settings)
        shipped_s = time.perf_counter() - began
        target, elsewhere = target_of(settings), Path(place) / "elsewhere"
        assert target.endpoint is not None
        with closing(open_store(target.endpoint, settings)) as store:
            bare_loop(store, runs["long"])
            bare_s = statistics.median(bare_loop(store, runs["long"]) for _ in range(ROUNDS))
        found = in_turn(elsewhere, target, runs)
        contact = {
            "CASCOR_CASSANDRA_CONTACT_POINTS": settings.contact_points[0],
            "CASCOR_CASSANDRA_PORT": str(settings.port), "CASCOR_CASSANDRA_KEYSPACE": settings.keyspace,
            "CASCOR_CASSANDRA_LOCAL_DC": settings.local_dc or "",
        }  # fmt: skip
        detail = f"; a bare loop for the same pages {1e3 * bare_s:.0f} ms; shipped in {shipped_s:.0f} s"
        return [
            *open_rows("from Cassandra", found, OPEN_BAR_S + 2 * bare_s, detail),
            *driver_rows(Path(place), target, runs),
            *cold_rows("from Cassandra", Path(place), elsewhere, contact),
        ]


def run() -> list[dict[str, object]]:
    """The rows of the table that ``make bench`` prints."""
    log_dir, runs = the_log()
    return [*local_rows(log_dir, runs), *remote_rows(log_dir, runs)]


if __name__ == "__main__":
    log_dir, runs = the_log()
    for row in local_rows(log_dir, runs):
        print(row)
    if "--local" not in sys.argv:
        for row in remote_rows(log_dir, runs):
            print(row)
