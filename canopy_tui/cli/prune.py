"""``canopy prune``: take runs off this machine that Cassandra provably has."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from canopy_tui.format import clean, count, data_size, plural

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from wal.shipping.clearing import Shortened
    from wal.shipping.pruning import Candidate

EXIT_KEPT = 1
"""The run that was named has to be kept."""


@click.command()
@click.argument("run", metavar="[RUN]", required=False)
@click.option(
    "--older-than", "days", type=click.FloatRange(min=0), default=0.0, metavar="DAYS",
    help="Only what was logged more than so many days ago.  [default: an hour]",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would go and what is kept, and why.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a run, a line each.")
@click.pass_context
def command(ctx: click.Context, run: str | None, days: float, dry_run: bool, as_json: bool) -> None:
    """Take runs off this machine that Cassandra provably has.

    A run goes once its segments are acknowledged, read back and verified, its pages delivered, and nothing
    was logged to it for an hour. From then on it is read from Cassandra alone. Of a run that goes on, or has
    to be kept, the sealed segments go of which all of that holds: its curves stay here, its single records
    are read from Cassandra. What the server refused, what was changed there and what is not delivered is
    kept; without a Cassandra everything is.

    The syncer does this by itself with prune_after_days in the settings.

    Ends with 1 when the RUN that is named has to be kept, and for any error.
    """
    from canopy_tui.cli.pick import pick_run
    from canopy_tui.cli.proving import all_runs, delivering
    from canopy_tui.cli.shipping import settle
    from wal.shipping.clearing import clear, clear_segments
    from wal.shipping.pruning import DAY_S, plan

    now_ns, age_s = time.time_ns(), days * DAY_S
    with delivering() as delivery:
        only = {pick_run(all_runs(delivery), run).run_id} if run is not None else None
        if not dry_run and any(one.settling for one, _ in plan(delivery.log_dir, now_ns, age_s, only)):
            settle(delivery.log_dir)
        found = clear(delivery, now_ns, age_s, only=only, dry_run=dry_run)
        going = {candidate.run_id for candidate in found if not candidate.kept}
        shortened = clear_segments(delivery, now_ns, age_s, only=only, but=going, dry_run=dry_run)
    for candidate in found:
        if as_json:
            click.echo(json.dumps(_as_dict(candidate), ensure_ascii=False))
        else:
            click.echo(_line(candidate, "would go" if dry_run else "pruned"))
    for one in shortened:
        if as_json:
            click.echo(json.dumps(_shortened_as_dict(one), ensure_ascii=False))
        else:
            click.echo(_shortened_line(one, "would go" if dry_run else "pruned"))
    if run is not None and only is not None and not found and not shortened:
        _say_why_not(delivery.log_dir, run, only)
    gone = [candidate for candidate in found if not candidate.kept]
    if not as_json:
        size, verb = data_size(sum(one.size for one in gone)), "would go" if dry_run else "went"
        click.echo(f"{plural(len(gone), 'run')} {verb} ({size}), {len(found) - len(gone)} kept.")
        if shortened:
            parts, size = sum(one.segments for one in shortened), sum(one.size for one in shortened)
            click.echo(f"{plural(parts, 'segment')} of runs that stay {verb} ({data_size(size)}).")
    ctx.exit(EXIT_KEPT if run is not None and not shortened and len(gone) < len(found) else 0)


def _say_why_not(log_dir: Path, run: str, only: set[UUID]) -> None:
    """A run of which there is nothing to prune here. Raises click's error unless that was done already."""
    from wal.segments.segment import stream_dirs
    from wal.shipping.ledger import read_ledger
    from wal.shipping.pruning import UNDELIVERED

    name = clean(run, 60)
    if only & read_ledger(log_dir).pruned.keys():
        click.echo(f"'{name}' was pruned from this machine already.", err=True)
    elif any(of_run in only for of_run, _, _ in stream_dirs(log_dir)):
        raise click.ClickException(f"'{name}' is kept: {UNDELIVERED}.")
    else:
        raise click.ClickException(f"'{name}' was logged on another machine: that one can prune it.")


def _named(run: Candidate | Shortened) -> str:
    return f"{clean(run.name or str(run.run_id))}  {run.run_id.hex[-6:]}"


def _line(candidate: Candidate, verb: str) -> str:
    name = _named(candidate)
    if candidate.kept:
        return f"{'kept':<8}  {name}: {clean(candidate.kept, 1000)}"
    return f"{verb:<8}  {name}: {count(candidate.records)} records, {data_size(candidate.size)}"


def _shortened_line(run: Shortened, verb: str) -> str:
    what = plural(run.segments, "segment")
    return f"{verb:<8}  {_named(run)}: {what}, {count(run.records)} records, {data_size(run.size)}"


def _shortened_as_dict(run: Shortened) -> dict[str, object]:
    return {
        "run_id": str(run.run_id), "name": run.name, "segments": run.segments, "records": run.records,
        "bytes": run.size,
    }  # fmt: skip


def _as_dict(candidate: Candidate) -> dict[str, object]:
    return {
        "run_id": str(candidate.run_id), "project": candidate.project, "name": candidate.name,
        "records": candidate.records, "bytes": candidate.size, "kept": candidate.kept,
    }  # fmt: skip
