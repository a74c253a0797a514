"""``canopy verify``: read back what was shipped and prove that nothing is missing, changed or doubled."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from canopy_tui.cli.proving import all_runs, as_dict, delivering, name_of, run_lines
from canopy_tui.format import count, plural

if TYPE_CHECKING:
    from wal.shipping.proof import RunProof


@click.command()
@click.argument("run", metavar="[RUN]", required=False)
@click.option("--all", "everything", is_flag=True, help="Every run, and rows that belong to none.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a run, a line each.")
@click.pass_context
def command(ctx: click.Context, run: str | None, everything: bool, as_json: bool) -> None:
    """Prove from Cassandra's rows that a run was delivered whole.

    Reads the rows back and compares them, by count, digest and timestamp, with the log, or, on another
    machine, with what the run's own machine stated; and every page with those that the rows make. RUN is
    named as in 'canopy show'.

    Ends with 0 when everything is verified, 2 when something is not delivered yet, 3 when the server refused
    records, 1 when rows or pages are missing, changed or added, and for any other error.
    """
    from canopy_tui.cli.pick import pick_run
    from wal.shipping.delivery import exit_code

    if (run is None) is not everything:
        raise click.UsageError("name a run, or --all for every one.")
    with delivering() as delivery:
        rows = all_runs(delivery)
        names = {row.run_id: row.name for row in rows}
        found: Iterable[RunProof]
        found = [delivery.prove(pick_run(rows, run).run_id)] if run is not None else delivery.prove_all()
        tally = _Tally()
        for proof in found:
            tally.add(proof)
            name = name_of(names, proof.run_id)
            if as_json:
                click.echo(json.dumps(as_dict(proof, name), ensure_ascii=False))
            else:
                for line in run_lines(proof, name):
                    click.echo(line)
    if not as_json:
        click.echo(tally.sentence(run))
    ctx.exit(exit_code(tally.faults > 0, tally.open > 0, tally.rejected))


class _Tally:
    """What all runs come to."""

    def __init__(self) -> None:
        self.runs = self.records = self.faults = self.open = self.rejected = 0

    def add(self, proof: RunProof) -> None:
        self.runs += not proof.stray
        self.records += proof.complete
        self.faults += proof.faults
        self.open += proof.open
        self.rejected += proof.rejected

    def sentence(self, run: str | None) -> str:
        runs = plural(self.runs, "run")
        verified = f"{plural(self.records, 'record')} of {runs} verified"
        if self.faults:
            how = f"'canopy resend {run}' sends" if run else "'canopy resend RUN' sends a run"
            return (
                f"{plural(self.faults, 'run')} not as logged; {verified}. "
                f"{how} it again from the log of the machine that logged it."
            )
        if self.open:
            return f"{verified}; the rest is not delivered yet: canopy status says how far it is."
        if self.rejected:
            return f"{verified}; {plural(self.rejected, 'record')} refused: canopy rejected list names them."
        return f"All {count(self.records)} records of {runs} are in Cassandra as they were logged."
