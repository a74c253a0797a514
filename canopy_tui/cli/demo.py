"""``canopy demo``: real training runs, a real Cassandra, and the app between them."""

from __future__ import annotations

import click

WHICH_CASSANDRA = click.Choice(["managed", "configured"])


@click.command()
@click.option("--keep", is_flag=True, help="When the app is left, let Cassandra and the shipping go on.")
@click.option("--look", is_flag=True, help="Open the app on what earlier demos left; train nothing.")
@click.option("--clean", is_flag=True, help="Remove what demos left: log, keyspace and node.")
@click.option(
    "--cassandra", "which", type=WHICH_CASSANDRA, default="managed", show_default=True,
    help="A node of the demo's own, or the one in your settings (keyspace cascor_demo).",
)  # fmt: skip
def command(keep: bool, look: bool, clean: bool, which: str) -> None:
    """Watch real training runs grow, on a Cassandra of their own.

    Trains cascade-correlation networks on two spirals: three to watch, nine short ones. Where there is no
    terminal to draw on: trains them all at full speed, ships them, reads every record back from Cassandra,
    and proves that it is the one that was logged.

    Everything lies in a log directory of its own, in the keyspace cascor_demo, on a node named "demo".
    """
    from canopy_tui.demo.crew import DemoError
    from canopy_tui.demo.ending import leave_on_signals
    from canopy_tui.demo.place import Place
    from canopy_tui.demo.proof import NotDelivered
    from canopy_tui.terminal import can_draw
    from wal.cassandra.noderecord import NodeError

    place = Place.of_user(configured=which == "configured")
    leave_on_signals()
    try:
        if clean:
            from canopy_tui.demo.afterwards import clean_up

            clean_up(place, click.echo)
        elif can_draw():
            from canopy_tui.demo.show import run_on_screen

            run_on_screen(place, keep=keep, train=not look, say=click.echo)
        elif look:
            raise click.UsageError("--look opens the app, which needs a terminal; 'canopy ls' does not.")
        else:
            from canopy_tui.demo.plain import run_plain

            run_plain(place, click.echo, _progress)
    except (DemoError, NotDelivered, NodeError) as error:
        raise click.ClickException(str(error)) from None


def _progress(text: str) -> None:
    click.echo(f"canopy demo: {text}", err=True)
