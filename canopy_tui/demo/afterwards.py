"""What remains to be done after a demo: stopping what ``--keep`` kept, and removing everything."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from canopy_tui import format as fmt
from canopy_tui.demo.crew import DemoError
from canopy_tui.demo.place import KEYSPACE, NODE, Place
from wal.local import LocalSource
from wal.shipping import daemon
from wal.source import RunState

SYNCER_SECONDS = 10.0


def clean_up(place: Place, say: Callable[[str], None]) -> None:
    """Stop whatever of a demo still runs, then remove its log directory, keyspace and node.

    Raises :class:`DemoError` when another demo is running, and what a configured Cassandra says.
    """
    from wal.cassandra import node

    with place.entered():
        _stop_trainers(place.log_dir)
        stop_syncer(place.log_dir)
        freed = place.bytes_used()
        if place.configured:
            _drop_keyspace()
        else:
            node.down(NODE)
        place.remove()
    where = f"the keyspace {KEYSPACE}" if place.configured else f"the node {NODE!r}"
    say(f"removed {place.log_dir} and {where}: {fmt.data_size(freed)}.")


def stop_syncer(log_dir: Path) -> None:
    """Stop the syncer of a log directory, if one runs. Raises :class:`DemoError` when it does not end."""
    if not daemon.stop(log_dir, SYNCER_SECONDS):
        raise DemoError(f"the syncer of {log_dir} does not stop: see {log_dir / daemon.LOG_FILE}.")


def _stop_trainers(log_dir: Path) -> None:
    """End the runs that an earlier ``--keep`` left training here."""
    source = LocalSource(log_dir)
    try:
        rows = [row for row in source.runs() if row.state is RunState.RUNNING and row.local]
        pids = {
            stream.pid
            for row in rows
            for stream in source.run(row.run_id).streams
            if stream.state is RunState.RUNNING
        }
    finally:
        source.close()
    for pid in pids:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass


def _drop_keyspace() -> None:
    from wal.cassandra import schema
    from wal.cassandra.session import connect
    from wal.settings import load, resolve

    settings = load()
    endpoint = resolve(settings)
    if endpoint is None:  # Place.entered() has seen one: it was unset this moment
        return
    session = connect(endpoint, settings)
    try:
        schema.drop(session, KEYSPACE)
    finally:
        session.close()
