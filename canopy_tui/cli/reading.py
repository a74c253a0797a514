"""What the commands without a screen read from: the log at once, and Cassandra where one is in use."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from canopy_tui.cli.pick import pruned_runs
from canopy_tui.format import plural
from wal.link import Finder, Target
from wal.local import LocalSource
from wal.paths import log_dir
from wal.settings import Endpoint
from wal.source import Connection, RunRow

if TYPE_CHECKING:
    from wal.merged import MergedSource

ANSWER_S = 2.0
"""How long a command waits for Cassandra before it goes on with what this machine has."""


def listed_runs() -> list[RunRow]:
    """Every run, newest first. Without a Cassandra neither numpy nor the driver is imported."""
    target = Finder(os.environ, Path.cwd())()
    if target.endpoint is None:
        _warn(target)
        source = LocalSource(log_dir())
        try:
            return list(source.runs())
        finally:
            source.close()
    with reading(target) as source:
        return list(source.runs())


@contextmanager
def reading(target: Target | None = None) -> Generator[MergedSource]:
    """A source over the log and Cassandra. When Cassandra does not answer in time, stderr says so and the
    source reads the log alone."""
    from wal.merged import MergedSource

    target = target or Finder(os.environ, Path.cwd())()
    source = MergedSource(log_dir(), find=lambda: target)
    try:
        if target.endpoint is not None:
            _wait_for_cassandra(source, target.endpoint)
        else:
            _warn(target)
        yield source
    finally:
        source.close()


def _wait_for_cassandra(source: MergedSource, endpoint: Endpoint) -> None:
    ready = source.wait_ready(ANSWER_S)
    status = source.status()
    if status.connection in (Connection.UP, Connection.CATCHING_UP):
        return
    if (
        ready and status.connection is Connection.TROUBLE
    ):  # it answered, and somebody must act on what it said
        said = f"{status.detail} {status.remedy}".rstrip()
    else:
        why = f": {status.detail}" if ready and status.detail else f" within {ANSWER_S:.0f} s."
        said = f"Cassandra {endpoint.label} did not answer{why}"
    click.echo(f"canopy: {said}", err=True)
    click.echo("canopy: what follows is what this machine has.", err=True)
    _tell_of_pruned()


def _tell_of_pruned(how: str = "") -> None:
    """Say how many runs there would be with a Cassandra."""
    pruned = len(pruned_runs())
    if pruned:
        said = f"canopy: {plural(pruned, 'run')} pruned here can be read from Cassandra only"
        click.echo(f"{said}{how and ': '}{how or '.'}", err=True)


def _warn(target: Target) -> None:
    if target.connection is Connection.TROUBLE:
        click.echo(f"canopy: {target.detail} Only this machine's runs are read.", err=True)
        _tell_of_pruned()
    else:
        _tell_of_pruned(f"{target.detail}. {target.remedy}" if target.detail else "")
