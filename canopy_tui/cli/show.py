"""``canopy show``: one run without a screen."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from canopy_tui import format as fmt
from canopy_tui.charts.glyphs import ASCII, BRAILLE
from canopy_tui.cli.ls import as_dict
from canopy_tui.cli.pick import pick_run
from canopy_tui.cli.printing import in_colour, json_number, json_value, print_lines, width
from canopy_tui.cli.reading import reading
from canopy_tui.inspector import (
    Line,
    chart_lines,
    config_lines,
    exit_code_of,
    fact_lines,
    in_order,
    metric_lines,
)
from canopy_tui.listing import Listing, Piece, run_name
from canopy_tui.pointrows import point_rows, with_rows
from canopy_tui.terminal import unicode_ok
from canopy_tui.view import View
from wal.source import Ask, SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from canopy_tui.growth import Unit
    from wal.merged import MergedSource
    from wal.reading.runlook import RunLook
    from wal.source import MetricRow, RunDetail, StreamRow, TopologyRow

WIDEST = 110
"""Columns of the page: beyond it lines are hard to follow by eye."""

CHART_HEIGHT = 14

PATIENCE_S = 20.0
"""How long a command that prints once waits for the points of a run that Cassandra is reading."""


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--plain", is_flag=True, help="ASCII without colours, for a pipe or a screen reader.")
@click.option(
    "--json", "as_json", is_flag=True, help='A JSON object; numbers it lacks are "NaN", "Infinity".'
)
def command(run: str, plain: bool, as_json: bool) -> None:
    """Show one run: its facts, metrics, the chart of its main metric, its config.

    RUN is a name, an id, the beginning of an id, its last four characters or more, or @last.
    """
    with reading() as source:
        listing = Listing.of(source.runs(), View.load().main_metrics)
        row = pick_run(listing.rows, run)
        main = listing.main_metrics.get(row.project, "")
        try:
            look = source.look(row.run_id)
        except KeyError:
            raise click.ClickException("the run was deleted while it was being read.") from None
        detail = _by_points(look, main)
        if as_json:
            click.echo(json.dumps(_as_dict(detail, listing), indent=1))
        else:
            unicode = not plain and unicode_ok()
            topologies = _topologies(source, row.run_id)
            print_lines(_page(look, detail, topologies, main, unicode), in_colour(plain))


def _topologies(source: MergedSource, run_id: UUID) -> Sequence[TopologyRow]:
    """The run's snapshots; none where they cannot be read: the chart does without their marks."""
    try:
        return source.topologies(run_id)
    except (KeyError, SourceError):
        return ()


def _by_points(look: RunLook, main: str) -> RunDetail:
    """The run with its metrics made from their points, as the charts are."""
    names = [metric.name for metric in in_order(look.detail.metrics, main)]
    return with_rows(look.detail, point_rows(look, names, time.monotonic() + PATIENCE_S, {}))


def _page(
    look: RunLook, detail: RunDetail, topologies: Sequence[TopologyRow], main: str, unicode: bool
) -> list[Line]:
    columns = min(width() - 1, WIDEST)
    now_ns = time.time_ns()
    row, glyphs = detail.row, BRAILLE if unicode else ASCII
    lines: list[Line] = [[Piece(run_name(row), "accent")], []]
    lines += fact_lines(row, now_ns, columns, unicode, exit_code_of(detail))
    if detail.metrics:
        metrics = in_order(detail.metrics, main)
        lines += [[], *metric_lines(row, metrics, columns, glyphs, unicode)]
        lines += [[], *_chart(look, metrics[0], topologies, columns, unicode)]
    if detail.config:
        lines += [[], [Piece("config", "muted")], *config_lines(detail.config, columns, unicode)]
    if detail.summary:
        lines += [[], [Piece("summary", "muted")], *config_lines(detail.summary, columns, unicode)]
    return (
        lines if unicode else [[Piece(fmt.ascii_only(text), tone) for text, tone in line] for line in lines]
    )


def _chart(
    look: RunLook, metric: MetricRow, topologies: Sequence[TopologyRow], columns: int, unicode: bool
) -> list[Line]:
    """The chart of a metric under a line that says the same in words, for who cannot see it."""
    from canopy_tui.growth import Overlay, candidate_phases, growth_of  # numpy: not for --help

    glyphs, row = BRAILLE if unicode else ASCII, look.detail.row
    ask = Ask(metric.name, columns * glyphs.columns)
    growth = growth_of(topologies, look.detail)
    try:
        series = look.series(ask, wait_s=PATIENCE_S)
        candidates = growth.candidates
        found = look.series(replace(ask, metric=candidates), wait_s=PATIENCE_S) if candidates else []
    except SourceError as error:
        return [[Piece(in_words(metric))], [], [Piece(f"no chart: {error}", "bad")]]
    over = Overlay(growth.marks(ask.x), candidate_phases(growth, ask.x, found))
    chart = chart_lines(series, row, columns, CHART_HEIGHT, glyphs, over=over, guides=False)
    return [[Piece(in_words(metric, growth.units))], [], *chart]


def in_words(metric: MetricRow, units: Sequence[Unit] = ()) -> str:
    """``val/loss: last 0.412 at step 9,990; best 0.398 at step 8,200; 3 values not finite; unit 20 added at
    step 9,100``."""
    summary = metric.summary
    last, step = fmt.number(summary.last), fmt.count(summary.last_step)
    said = [f"{fmt.clean(metric.name)}: last {last} at step {step}"]
    if metric.best is not None:
        value, step = metric.best
        said.append(f"best {fmt.number(value)} at step {fmt.count(step)}")
    if summary.non_finite:
        said.append(f"{fmt.plural(summary.non_finite, 'value')} not finite")
    if units:
        said.append(f"hidden unit {fmt.count(units[-1].last)} added at step {fmt.count(units[-1].step)}")
    return "; ".join(said)


def _as_dict(detail: RunDetail, listing: Listing) -> dict[str, object]:
    return {
        **as_dict(detail.row, listing, time.time_ns()),
        "config": json_value(detail.config),
        "summary": json_value(detail.summary),
        "metrics": [_metric(metric) for metric in in_order(detail.metrics, None)],
        "streams": [_stream(stream) for stream in detail.streams],
    }


def _metric(metric: MetricRow) -> dict[str, object]:
    summary, best = metric.summary, metric.best
    return {
        "name": metric.name,
        "goal": metric.goal,
        "points": summary.n,
        "nan": summary.n_nan,
        "inf": summary.n_pinf + summary.n_ninf,
        "first_step": summary.first_step,
        "last_step": summary.last_step,
        "last": json_number(summary.last),
        "min": json_number(summary.min),
        "min_step": summary.min_step,
        "max": json_number(summary.max),
        "max_step": summary.max_step,
        "best": None if best is None else best[0],
        "best_step": None if best is None else best[1],
    }


def _stream(stream: StreamRow) -> dict[str, object]:
    return {
        "id": str(stream.stream_id),
        "rank": stream.rank,
        "host": stream.host,
        "pid": stream.pid,
        "after": str(stream.after) if stream.after else None,
        "state": stream.state.value,
        "exit_code": stream.exit_code,
        "started_ns": stream.started_ns,
        "ended_ns": stream.ended_ns,
        "records": stream.records,
        "acked": [list(span) for span in stream.acked] if stream.acked is not None else None,
    }
