"""``canopy ls``: the run list without a screen."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Sequence

import click

from canopy_tui import format as fmt
from canopy_tui.charts.glyphs import ASCII, BRAILLE
from canopy_tui.cli.printing import in_colour, json_number, print_lines, width
from canopy_tui.cli.reading import listed_runs
from canopy_tui.filtering import Context, FilterError, duration_ns, last_sign_ns, parse, sync_word
from canopy_tui.inspector import spark_cell
from canopy_tui.listing import (
    SORT_KEYS,
    Cell,
    Listing,
    Order,
    cell,
    columns_for,
    natural_order,
    row_of,
    sort_rows,
    title_cell,
)
from canopy_tui.terminal import unicode_ok
from canopy_tui.view import View
from wal.paths import log_dir
from wal.source import MetricRow, RunRow


@click.command()
@click.option("--project", help="Only runs of this project.")
@click.option(
    "--filter", "filter_text", default="", metavar="TEXT", help="As '/' in the app: loss<0.1 -tag:old …"
)
@click.option(
    "--sort", "sort_key", type=click.Choice(list(SORT_KEYS)), default="start", show_default=True,
    help="By this column: the best, the newest, the most first.",
)  # fmt: skip
@click.option("--reverse", is_flag=True, help="Sort the other way round.")
@click.option("--limit", type=click.IntRange(min=0), help="At most so many runs.")
@click.option(
    "--json", "as_json", is_flag=True, help='A JSON list; numbers JSON lacks are "NaN", "Infinity".'
)
@click.option(
    "--plain", is_flag=True, help="ASCII without colours or sparklines, for a pipe or a screen reader."
)
def command(
    project: str | None,
    filter_text: str,
    sort_key: str,
    reverse: bool,
    limit: int | None,
    as_json: bool,
    plain: bool,
) -> None:
    """List runs, newest first: this machine's, and every machine's where a Cassandra is in use."""
    gc.disable()  # a process that prints and ends: collecting would be a quarter of its time
    click.get_current_context().call_on_close(_collect_again)
    try:
        wanted = parse(filter_text)
    except FilterError as error:
        raise click.BadParameter(str(error), param_hint="--filter") from None
    now_ns = time.time_ns()
    listing = Listing.of(listed_runs(), View.load().main_metrics)
    rows = wanted.apply(listing.rows, Context(now_ns, listing.main_metrics))
    if project is not None:
        rows = [row for row in rows if row.project == project]
    shown = listing.narrow(rows)
    order = natural_order(sort_key, shown) if sort_key != "start" else Order()
    if reverse:
        order = Order(order.key, not order.descending)
    rows = sort_rows(rows, order, shown, now_ns)[:limit]
    if as_json:
        click.echo(json.dumps([as_dict(row, listing, now_ns) for row in rows], indent=1))
    elif rows:
        _print_table(rows, shown, order, now_ns, plain)
    else:
        _say_nothing(len(listing.rows))


def _collect_again() -> None:
    gc.freeze()  # what is there by now is let go by the end of the process, not looked through once more
    gc.enable()


def _print_table(rows: Sequence[RunRow], listing: Listing, order: Order, now_ns: int, plain: bool) -> None:
    unicode = not plain and unicode_ok()
    glyphs = BRAILLE if unicode else ASCII
    # The rightmost column stays free: many terminals wrap a line that fills them.
    columns = [c for c in columns_for(width() - 1, listing) if not (plain and c.key == "spark")]

    def draw(metric: MetricRow, row: RunRow, cells: int) -> Cell:
        return spark_cell(metric, row, cells, glyphs)

    lines = [row_of(columns, [title_cell(column, order, unicode) for column in columns])]
    lines += [
        row_of(columns, [cell(column, row, listing, now_ns, draw, unicode) for column in columns])
        for row in rows
    ]
    print_lines(lines, in_colour(plain))


def _say_nothing(runs: int) -> None:
    if runs:
        click.echo(f"no run matches; without a filter there are {fmt.plural(runs, 'run')}.", err=True)
    else:
        click.echo(f"no runs yet in {fmt.clean(str(log_dir()))}; 'canopy demo' makes some.", err=True)


def as_dict(row: RunRow, listing: Listing, now_ns: int) -> dict[str, object]:
    """A run for a machine. Times are nanoseconds since the epoch, the duration seconds."""
    metric = listing.main_of(row)
    best = None if metric is None else metric.best
    return {
        "id": str(row.run_id),
        "project": row.project,
        "name": row.name,
        "state": row.state.value,
        "host": row.host,
        "started_ns": row.started_ns,
        "ended_ns": row.ended_ns,
        "last_sign_ns": last_sign_ns(row),
        "duration_s": duration_ns(row, now_ns) / 1e9,
        "step": row.step,
        "total_steps": row.total_steps,
        "records": row.records,
        "streams": row.streams,
        "main_metric": None if metric is None else metric.name,
        "last": None if metric is None else json_number(metric.summary.last),
        "best": None if best is None else best[0],
        "best_step": None if best is None else best[1],
        "sync": sync_word(row),
        "unshipped": row.unshipped,
        "tags": list(row.tags),
        "group": row.group,
        "job_type": row.job_type,
        "notes": row.notes,
        "problem": row.problem or None,
    }
