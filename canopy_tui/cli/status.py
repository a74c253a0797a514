"""``canopy status``: where the records are, how the syncer and the nodes do, what is set up wrong."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from wal.merged import MergedSource
    from wal.reading.storage import StorageReport

FORMAT = 1
"""Version of the shape that ``--json`` prints. It grows when a key goes or means something else."""

ANSWER_S = 2.0
"""How long Cassandra is waited for before what this machine knows is printed."""

REDRAW_S = 1.0

_HOME_AND_CLEAR = "\x1b[H\x1b[J"


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; with --watch, one a line.")
@click.option("--watch", is_flag=True, help="Draw it anew every second, until Ctrl-C.")
@click.option(
    "--check", is_flag=True, help="Look at everything that can be set up wrong, each with a remedy."
)
@click.pass_context
def command(ctx: click.Context, path: Path | None, as_json: bool, watch: bool, check: bool) -> None:
    """Say where the records are: on disk, on their way, delivered, verified.

    Listed are the streams that are open, that wait, or that have a problem; the others are counted. Nothing
    that runs is disturbed. PATH is a log directory, by default this user's.

    --check looks at the log directory, the disk, the terminal, the Python, the settings, the connection, the
    login, the keyspace and its replication. It ends with 0 when all is well, 2 when something works less
    well than it could, 1 when something does not work.
    """
    from wal.paths import log_dir

    directory = log_dir(path)
    if check:
        if watch:
            raise click.UsageError("--check looks once: use it without --watch.")
        from canopy_tui.cli.check import check_everything

        ctx.exit(check_everything(directory, as_json))
    with _source(directory) as source:
        if watch:
            _watch(source, as_json)
        else:
            _print(source.storage(time.time_ns()), as_json)


@contextmanager
def _source(directory: Path) -> Generator[MergedSource]:
    """The log directory, and Cassandra as far as it answers in time."""
    from wal.link import Finder
    from wal.merged import MergedSource

    source = MergedSource(directory, find=Finder(os.environ, Path.cwd()))
    try:
        source.wait_ready(ANSWER_S)
        yield source
    finally:
        source.close()


def _watch(source: MergedSource, as_json: bool) -> None:
    """Print it again and again. Ctrl-C is how one leaves: nothing is said about it."""
    on_terminal = sys.stdout.isatty() and not as_json
    try:
        while True:
            report = source.storage(time.time_ns())
            if as_json:
                click.echo(json.dumps(as_dict(report), ensure_ascii=False, default=str))
            else:
                _print(report, as_json, top=on_terminal)
            time.sleep(REDRAW_S)
    except KeyboardInterrupt:
        return


def _print(report: StorageReport, as_json: bool, *, top: bool = False) -> None:
    from canopy_tui.cli.printing import in_colour, print_lines, width
    from canopy_tui.runlines import ascii_pieces
    from canopy_tui.storagelines import storage_page
    from canopy_tui.terminal import unicode_ok

    if as_json:
        click.echo(json.dumps(as_dict(report), ensure_ascii=False, indent=1, default=str))
        return
    unicode = unicode_ok()
    lines = storage_page(report, width(), unicode, facts=[("log", str(report.log_dir))])
    if not unicode:
        lines = [ascii_pieces(line) for line in lines]
    if top:
        height = os.get_terminal_size().lines - 1  # the cursor stands below
        click.echo(_HOME_AND_CLEAR, nl=False)
        lines = lines[:height]
    print_lines(lines, in_colour(False))


def as_dict(report: StorageReport) -> dict[str, object]:
    """The report as JSON has it: the fields of :class:`wal.reading.storage.StorageReport` by their names."""
    from canopy_tui.storagelines import sentence

    fields = asdict(report)
    verdict = fields.pop("verdict")
    return {"format": FORMAT, "verdict": verdict, "sentence": sentence(report), **fields}
