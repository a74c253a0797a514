"""``canopy cql``: a run's own CQL, ready to paste, and a look into Cassandra without any other client."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from wal.cassandra.cql import Answer, Statement
    from wal.settings import Settings

WIDEST_CELL = 48
"""Cells of a value in a table on a terminal; ``--wide`` and a pipe get it whole."""

LONGEST_TEXT = 1 << 20
"""Characters of a text that are printed even with ``--wide``."""

CONNECT_S = 5.0


@click.command()
@click.argument("run", metavar="RUN", required=False)
@click.option("-e", "--execute", "statement", metavar="STATEMENT", help="Run one SELECT or DESCRIBE.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=1_000, show_default=True, help="Rows.")
@click.option("--wide", is_flag=True, help="Do not cut long values.")
def command(run: str | None, statement: str | None, limit: int, wide: bool) -> None:
    """Print CQL that reads a run, ready to paste; or run one statement that only reads.

    RUN is a name, an id, the beginning of an id, its last four characters or more, or @last. What is printed
    works in any CQL client, and in 'canopy cql -e "STATEMENT"', which needs none.
    """
    if (run is None) == (statement is None):
        raise click.UsageError("give a RUN whose CQL to print, or -e STATEMENT to run one.")
    if run is not None:
        _print_statements(run)
    elif statement is not None:
        _execute(statement, limit, wide or not sys.stdout.isatty())


def _print_statements(text: str) -> None:
    from canopy_tui import format as fmt
    from canopy_tui.cli.pick import pick_run, short_id
    from canopy_tui.cli.reading import reading
    from wal.cassandra.cql import statements
    from wal.link import Finder
    from wal.reading.goals import main_metric

    target = Finder(os.environ, Path.cwd())()
    with reading(target) as source:
        row = pick_run(list(source.runs()), text)
        try:
            detail, topologies = source.run(row.run_id), source.topologies(row.run_id)
        except KeyError:
            raise click.ClickException("the run was deleted while it was being read.") from None
    click.echo(f"-- {fmt.clean(row.name)} ({short_id(row)}), project {fmt.clean(row.project)}")
    if row.unshipped:
        click.echo(f"-- {fmt.plural(row.unshipped, 'record')} not yet in Cassandra")
    for one in statements(target.settings.keyspace, detail, topologies, main_metric(detail.metrics)):
        click.echo(f"\n{_pasteable(one)}")


def _pasteable(statement: Statement) -> str:
    return f"-- {statement.shows}\n{statement.cql};"


def _execute(statement: str, limit: int, whole: bool) -> None:
    from canopy_tui.cli.nocassandra import no_cassandra
    from wal.cassandra.cql import NotReadOnly, read_only, run
    from wal.cassandra.session import connect
    from wal.settings import load, resolve

    try:
        read_only(statement)  # before anything is connected
    except NotReadOnly as error:
        raise click.ClickException(str(error)) from None
    settings: Settings = load()
    endpoint = resolve(settings)
    if endpoint is None:
        raise no_cassandra()
    session = connect(endpoint, settings, timeout=CONNECT_S)
    try:
        answer = run(session, statement, limit)
    finally:
        session.close(wait=False)
    for line in answer_lines(answer, whole):
        click.echo(line)


def answer_lines(answer: Answer, whole: bool = False) -> list[str]:
    """An answer as lines: a DESCRIBE's statements as they are, all else as an aligned table."""
    from canopy_tui import format as fmt

    if "create_statement" in answer.columns:
        at = answer.columns.index("create_statement")
        return [fmt.clean(line, LONGEST_TEXT) for row in answer.rows for line in str(row[at]).splitlines()]
    cells = [[_cell(value) for value in row] for row in answer.rows]
    if not whole:
        cells = [[fmt.middle_ellipsis(cell, WIDEST_CELL) for cell in row] for row in cells]
    names = [fmt.clean(name) for name in answer.columns]
    widths = [max(map(fmt.cells, column)) for column in zip(names, *cells, strict=True)]
    lines = [_line(names, widths), "-+-".join("-" * width for width in widths)]
    lines += [_line(row, widths) for row in cells]
    more = "; there are more (--limit)" if answer.more else ""
    return [*lines, f"({fmt.plural(len(cells), 'row')}{more})"]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    from canopy_tui import format as fmt

    padded = (cell + " " * (width - fmt.cells(cell)) for cell, width in zip(row, widths, strict=True))
    return " | ".join(padded).rstrip()


def _cell(value: object) -> str:
    """A value on one line, much as CQL would write it. Control characters never reach the terminal."""
    from canopy_tui import format as fmt

    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, datetime):
        return f"{value.isoformat(sep=' ', timespec='milliseconds')}+0000"
    if isinstance(value, float):
        return repr(value).replace("nan", "NaN").replace("inf", "Infinity")
    if value is None:
        return "null"
    items = getattr(value, "items", None)
    if callable(items):
        return "{" + ", ".join(f"{_inner(key)}: {_inner(item)}" for key, item in items()) + "}"  # pyright: ignore
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inner, value)) + "]"  # pyright: ignore
    return fmt.clean(str(value), LONGEST_TEXT)


def _inner(value: object) -> str:
    return f"'{_cell(value)}'" if isinstance(value, str) else _cell(value)
