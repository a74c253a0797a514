"""``canopy rejected``: the records that the server refused, which stay in the log."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from canopy_tui.cli.nocassandra import readable_state
from canopy_tui.cli.printing import json_number
from canopy_tui.format import ago, clean, count, plural

if TYPE_CHECKING:
    from wal.shipping.ledger import Rejected

_run_option = click.option("--run", "run", metavar="RUN", help="Only those of this run.")


@click.group()
def command() -> None:
    """Records that the server refused and that were set aside, so that the others go on.

    They stay in the log, and their segments are never pruned.
    """


@command.command("list")
@_run_option
def list_(run: str | None) -> None:
    """Name them, each with the server's reason."""
    rows = _rejected(run)
    now_ns = time.time_ns()
    for row in rows:
        when = ago(now_ns - row.at_ns)
        click.echo(f"record {count(row.seq)} of stream {row.stream_id}, {when}: {clean(row.reason, 1000)}")
    click.echo(f"{plural(len(rows), 'record')} set aside." if rows else "No record was refused.")


@command.command()
@_run_option
@click.pass_context
def retry(ctx: click.Context, run: str | None) -> None:
    """Send them once more: after the server's limits were raised, say. Ends like 'canopy sync --once'."""
    from canopy_tui.cli.shipping import ship_once
    from wal.paths import log_dir
    from wal.shipping import setaside

    rows = _rejected(run)
    if not rows:
        click.echo("No record was refused.")
        return
    with readable_state(log_dir()):
        answered = setaside.retry(log_dir(), rows)
    if not answered:
        raise click.ClickException("the syncer does not answer; it will retry them as soon as it does.")
    ctx.exit(ship_once(log_dir()))


@command.command()
@_run_option
def export(run: str | None) -> None:
    """Print them as JSON lines; numbers that JSON lacks are "NaN", "Infinity"."""
    from wal.paths import log_dir
    from wal.shipping import setaside

    for row, record in setaside.with_records(log_dir(), _rejected(run)):
        line: dict[str, object] = {
            "run_id": str(row.run_id), "stream_id": str(row.stream_id), "seq": row.seq,
            "reason": row.reason, "refused_ns": row.at_ns,
        }  # fmt: skip
        if record is not None:
            line |= {
                "kind": record.kind.name.lower(), "step": record.step, "ts": record.ts,
                "values": {name: json_number(value) for name, value in record.values.items()},
                "texts": dict(record.texts),
            }  # fmt: skip
        click.echo(json.dumps(line))


def _rejected(run: str | None) -> list[Rejected]:
    from canopy_tui.cli.pick import pick_run
    from wal.local import LocalSource
    from wal.paths import log_dir
    from wal.shipping import setaside

    run_id = None
    if run is not None:
        source = LocalSource(log_dir())
        try:
            run_id = pick_run(list(source.runs()), run).run_id
        finally:
            source.close()
    with readable_state(log_dir()):
        return setaside.rejected(log_dir(), run_id)
