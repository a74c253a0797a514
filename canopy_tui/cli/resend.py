"""``canopy resend``: send a run again from this machine's log."""

from __future__ import annotations

import click

from canopy_tui.cli.proving import all_runs, delivering, name_of, run_lines


@click.command()
@click.argument("run", metavar="RUN")
@click.option(
    "--remove",
    is_flag=True,
    help="First delete rows of the run that this machine's log knows to be wrong, or logged by nobody.",
)
@click.pass_context
def command(ctx: click.Context, run: str, remove: bool) -> None:
    """Send a run again from this machine's log, where 'canopy verify' finds it wanting.

    What is in Cassandra already is written once more with the same timestamps and does not change. RUN is
    named as in 'canopy show'. Ends like 'canopy verify'.
    """
    from canopy_tui.cli.pick import pick_run
    from canopy_tui.cli.shipping import ship_once
    from wal.shipping.delivery import exit_code

    with delivering() as delivery:
        rows = all_runs(delivery)
        run_id = pick_run(rows, run).run_id
        proof = delivery.mend(run_id, lambda: ship_once(delivery.log_dir), remove=remove)
        for line in run_lines(proof, name_of({row.run_id: row.name for row in rows}, run_id)):
            click.echo(line)
    if proof.faults:
        click.echo("Some rows cannot be mended from here; what is left of it stands above.")
        if not remove and any(s.added or s.differing or s.repeats for s in proof.streams):
            click.echo(
                f"Rows that are wrong or logged by nobody are deleted by: canopy resend {run} --remove"
            )
    else:
        click.echo("Everything that the log has of the run is in Cassandra as it was logged.")
    ctx.exit(exit_code(proof.faults, proof.open, proof.rejected))
