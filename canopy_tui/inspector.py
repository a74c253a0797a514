"""One run in a column of text: facts, metrics, config; for the preview and for ``canopy show``. Pure."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from canopy_tui import format as fmt
from canopy_tui.chartlines import is_guide, overlay_legend, plot_lines
from canopy_tui.charts.glyphs import Glyphs
from canopy_tui.charts.sparkline import Mark, spark_text, sparkline
from canopy_tui.families import look_of
from canopy_tui.filtering import duration_ns, sync_word
from canopy_tui.listing import BAD_STATES, Cell, Piece, is_bad, state_text
from wal.source import MetricRow, RunDetail, RunRow, RunState

if TYPE_CHECKING:
    from canopy_tui.growth import Overlay
    from wal.pyramid import Series

Line = list[Piece]

LABEL_WIDTH = 9
"""Cells of a fact's name and the gap after it: ``duration`` is the longest."""

VALUE_WIDTH = 7
METRIC_NAME_LEAST = 8
LONGEST_VALUE = 400
"""Characters of a config value that are shown: a list of ten thousand layers says nothing more."""


def spark_cell(metric: MetricRow, row: RunRow, width: int, glyphs: Glyphs) -> Cell:
    """The sparkline of a metric; a live run that knows its end fills its share only."""
    total_steps = row.total_steps if row.state is RunState.RUNNING else None
    cells = sparkline(metric.summary, width, total_steps=total_steps, glyphs=glyphs)
    if not metric.summary.non_finite:
        return (Piece(spark_text(cells), "curve"),)
    return tuple(
        Piece(spark_text(list(alike)), "bad" if bad else "curve")
        for bad, alike in groupby(cells, lambda cell: cell.mark is Mark.BAD)
    )


# -- facts ------------------------------------------------------------------------------------------


Fact = tuple[str, str, str]
"""Name, value and tone."""


def facts(row: RunRow, now_ns: int, unicode: bool, exit_code: int | None = None) -> list[Fact]:
    """What the run is and where it stands; what it does not have is left out."""
    dot = "·" if unicode else "-"
    state = state_text(row.state, unicode)
    if exit_code:
        state += f" {dot} exit code {exit_code}"
    step = fmt.count(row.step) + (f" of {fmt.count(row.total_steps)}" if row.total_steps else "")
    found = [
        ("problem", row.problem, "bad"),
        ("state", state, "bad" if row.state in BAD_STATES else ""),
        ("project", row.project, ""),
        ("host", row.host, ""),
        ("started", started_text(row.started_ns, now_ns), ""),
        ("duration", fmt.duration(duration_ns(row, now_ns)), ""),
        ("step", step if row.records else "", ""),
        ("records", f"{fmt.count(row.records)} {dot} {_sync_sentence(row)}", ""),
        ("streams", fmt.count(row.streams) if row.streams > 1 else "", ""),
        ("group", row.group, ""),
        ("job", row.job_type, ""),
        ("tags", " ".join(row.tags), ""),
        ("notes", row.notes, ""),
        ("id", str(row.run_id), "muted"),
    ]
    return [(name, fmt.clean(value), tone) for name, value, tone in found if value]


def fact_lines(
    row: RunRow,
    now_ns: int,
    width: int,
    unicode: bool,
    exit_code: int | None = None,
    only: Collection[str] | None = None,
) -> list[Line]:
    """The facts, or ``only`` those of these names, ``name value`` a line."""
    return [
        _fact(name, value, tone, width, unicode)
        for name, value, tone in facts(row, now_ns, unicode, exit_code)
        if only is None or name in only
    ]


def _fact(name: str, value: str, tone: str, width: int, unicode: bool) -> Line:
    room = max(width - LABEL_WIDTH, 1)
    return [
        Piece(name.ljust(LABEL_WIDTH), "muted"),
        Piece(fmt.middle_ellipsis(value, room, "…" if unicode else "~"), tone),
    ]


def _sync_sentence(row: RunRow) -> str:
    match sync_word(row):
        case "shipped":
            return "all in Cassandra"
        case "waiting":
            return f"{fmt.count(row.unshipped)} to ship"
        case _:
            return "on this machine only"


def started_text(ns: int, now_ns: int) -> str:
    """``2026-11-23 04:12 (3 h ago)``, in local time."""
    return f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(ns / 1e9))} ({fmt.age(now_ns - ns)} ago)"


# -- metrics ----------------------------------------------------------------------------------------


def metric_lines(
    row: RunRow, metrics: Sequence[MetricRow], width: int, glyphs: Glyphs, unicode: bool
) -> list[Line]:
    """A heading, then ``name sparkline last best`` a line."""
    name_width, spark_width = _metric_widths(metrics, width)
    heading = f"{'metric':<{name_width}} {'':<{spark_width}} {'last':>{VALUE_WIDTH}} {'best':>{VALUE_WIDTH}}"
    lines: list[Line] = [[Piece(heading, "muted")]]
    for metric in metrics:
        name = fmt.middle_ellipsis(fmt.clean(metric.name), name_width, "…" if unicode else "~")
        best = metric.best
        lines.append(
            [
                Piece(name + " " * (name_width - fmt.cells(name) + 1)),
                *spark_cell(metric, row, spark_width, glyphs),
                Piece(" "),
                _value(metric.summary.last),
                Piece(" "),
                _value(None if best is None else best[0]),
            ]
        )
    return lines


def _metric_widths(metrics: Sequence[MetricRow], width: int) -> tuple[int, int]:
    longest = max((fmt.cells(fmt.clean(metric.name)) for metric in metrics), default=METRIC_NAME_LEAST)
    room = width - 2 * (VALUE_WIDTH + 1) - 1
    name_width = max(min(longest, room - 8, 32), METRIC_NAME_LEAST)
    return name_width, max(min(room - name_width, 32), 1)


def _value(value: float | None) -> Piece:
    if value is None:
        return Piece("-".rjust(VALUE_WIDTH), "muted")
    return Piece(fmt.number(value, VALUE_WIDTH).rjust(VALUE_WIDTH), "bad" if is_bad(value) else "")


def in_order(metrics: Mapping[str, MetricRow], main: str | None) -> list[MetricRow]:
    """The metrics by first logging, the main one on top."""
    return sorted(metrics.values(), key=lambda metric: (metric.name != main, metric.order, metric.name))


def exit_code_of(detail: RunDetail) -> int | None:
    """The exit code that a failed run ended with; an attempt that a resume went on from says nothing."""
    if detail.row.state is not RunState.FAILED:
        return None
    return next((stream.exit_code for stream in reversed(detail.streams) if stream.exit_code), None)


# -- config -----------------------------------------------------------------------------------------


def config_lines(config: Mapping[str, object], width: int, unicode: bool) -> list[Line]:
    """``key value`` a line, nested keys joined by a dot; sorted, so that two runs read alike."""
    flat = dict(sorted(flatten(config)))
    key_width = min(max((fmt.cells(key) for key in flat), default=0), max(width // 2, 1))
    ellipsis = "…" if unicode else "~"
    lines: list[Line] = []
    for key, value in flat.items():
        name = fmt.middle_ellipsis(key, key_width, ellipsis)
        text = fmt.middle_ellipsis(value, max(width - key_width - 1, 1), ellipsis)
        lines.append([Piece(name + " " * (key_width - fmt.cells(name) + 1), "muted"), Piece(text)])
    return lines


def flatten(config: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """(dotted key, value as text) of every leaf, safe to show."""
    pairs: list[tuple[str, str]] = []
    for key, value in config.items():
        name = f"{prefix}{fmt.clean(str(key), 80)}"
        if isinstance(value, Mapping) and value:
            pairs += flatten(value, f"{name}.")  # pyright: ignore[reportUnknownArgumentType]
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            pairs.append((name, fmt.clean(text, LONGEST_VALUE)))
    return pairs


# -- chart ------------------------------------------------------------------------------------------


def chart_lines(
    series: Sequence[Series],
    row: RunRow,
    width: int,
    height: int,
    glyphs: Glyphs,
    *,
    over: Overlay | None = None,
    guides: bool = True,
) -> list[Line]:
    """The chart of a metric, ``height`` lines; a live run that knows its end leaves room for it. Below it a
    line says what the signs of ``over`` mean.

    Without ``guides`` no line is drawn at the ticks: where nothing makes it faint it would read as data.
    """
    import numpy as np

    from canopy_tui.charts.parts import Curve
    from canopy_tui.charts.plot import plot

    if not row.shipped:  # a run that Cassandra never heard of is local, not late: nothing of it is on its way
        series = [replace(one, unshipped=np.zeros_like(one.unshipped)) for one in series]
    steps: tuple[int, int] | None = None
    edges = [one.columns.edges for one in series if len(one.columns)]
    if row.state is RunState.RUNNING and row.total_steps and edges:
        first = min(int(edge[0]) for edge in edges)
        last = max(int(edge[-1]) - 1 for edge in edges)
        steps = (min(first, 0), max(last, row.total_steps))
    curves = [Curve(one, *look_of(one.metric)) for one in series]
    marks, phases = (over.marks, over.phases) if over is not None else ((), ())
    drawn = plot(curves, width, height, shown=steps, marks=marks, phases=phases, glyphs=glyphs)
    lines = plot_lines(drawn)
    lines += [[Piece(words, "muted")] for words in overlay_legend([drawn], glyphs)]
    if not guides:
        lines = [[Piece(" " * len(p.text)) if is_guide(p) else p for p in line] for line in lines]
    return lines
