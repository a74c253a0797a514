"""``canopy demo`` on a terminal: from the command to the first rows, and to curves that move.

The node's jars are in the cache, as at a user's second start; the node is started all the same, and trainers
with it, on the same cores.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

from helpers.demo import CANOPY, ROOT, clean_up, curves, dots, user_environment
from helpers.terminal import Terminal

from canopy_tui.demo.plan import LIVE
from wal.cassandra import jars

REPETITIONS = 5
BAR_S = 5.0


def run() -> list[dict[str, object]]:
    jars.fetch("5.0")
    starts = [first_seconds() for _ in range(REPETITIONS)]
    names = ("the first rows", "a sparkline that moves", "a live run's chart that moves")
    rows: list[dict[str, object]] = []
    for name, found in zip(names, zip(*starts, strict=True), strict=True):
        seconds = [round(each, 2) for each in found]
        rows.append(
            {"name": f"demo: from the command to {name}", "value": median(seconds), "unit": "s",
             "bar": f"≤ {BAR_S:.0f} s", "ok": median(seconds) <= BAR_S, "detail": f"all: {sorted(seconds)}"}
        )  # fmt: skip
    return rows


def first_seconds() -> tuple[float, float, float]:
    """Seconds from a start in an empty place to the rows of the live runs, to a curve in the list of which
    two states were seen, and to the same of the chart below or beside the list."""
    with tempfile.TemporaryDirectory(prefix="canopy-bench-") as directory:
        scratch = Path(directory)
        terminal = Terminal(CANOPY, "demo", env=user_environment(scratch), cwd=ROOT)
        try:
            rows = terminal.until(_shows_live_runs, "the live runs")
            sparkline = chart = 0.0
            known, drawn = dict[str, str](), set[tuple[str, ...]]()

            def moved(lines: list[str]) -> bool:
                nonlocal sparkline, chart
                seconds = terminal.seconds
                now = curves(lines)
                if not sparkline and any(now[name] != known[name] for name in known.keys() & now.keys()):
                    sparkline = seconds
                known.update(now)
                drawn.add(dots(lines))
                if not chart and len(drawn - {()}) > 1:
                    chart = seconds
                return bool(sparkline and chart)

            terminal.until(moved, "a sparkline and a chart that move")
            terminal.press("q")
            terminal.wait()
            return rows, sparkline, chart
        finally:
            terminal.close()
            clean_up(scratch)


def _shows_live_runs(lines: list[str]) -> bool:
    return all(any(f" {training.name} " in line for line in lines) for training in LIVE)
