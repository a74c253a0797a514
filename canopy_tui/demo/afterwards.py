"""What remains after a demo: saying how to look again, stopping what ``--keep`` kept, removing everything."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from canopy_tui import format as fmt
from canopy_tui.demo.crew import STOP_SECONDS, DemoError
from canopy_tui.demo.place import KEYSPACE, NODE, Place
from wal.local import LocalSource
from wal.shipping import daemon
from wal.source import RunState

SYNCER_SECONDS = 10.0
POLL_SECONDS = 0.05


def run_ids(log_dir: Path) -> set[UUID]:
    """The runs of a log directory."""
    source = LocalSource(log_dir)
    try:
        return {row.run_id for row in source.runs()}
    finally:
        source.close()


def closing_lines(place: Place, kept: bool = False) -> tuple[str, ...]:
    """What there is now and what to do with it, each command ready to paste."""
    runs = fmt.plural(len(run_ids(place.log_dir)), "run")
    size = fmt.data_size(place.bytes_used()) + (" on disk" if place.configured else " with Cassandra's data")
    demo = f"{program()} demo"
    option = " --cassandra configured" if place.configured else ""
    return (
        f"{runs} in {_short(place.log_dir)}, {size}",
        "what was started goes on" if kept else "what was started is stopped",
        f"look again: {demo} --look{option}",
        f"remove all: {demo} --clean{option}",
    )


def program() -> str:
    """What to type for ``canopy`` here: ``make demo`` runs the one of a checkout, which no PATH leads to."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m canopy_tui"
    found = shutil.which(called.name)
    return (
        called.name
        if found and called.exists() and os.path.samefile(found, called)
        else shlex.quote(str(called))
    )


def _short(path: Path) -> str:
    try:
        return f"~/{path.relative_to(Path.home())}"
    except ValueError:
        return str(path)


def clean_up(place: Place, say: Callable[[str], None]) -> None:
    """Stop whatever of a demo still runs, then remove its log directory, keyspace and node.

    Raises :class:`DemoError` when another demo is running, and what a configured Cassandra says.
    """
    from wal.cassandra import node

    with place.entered():
        stop_trainers(place.log_dir)
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


def stop_trainers(log_dir: Path) -> None:
    """End the runs that an earlier ``--keep`` left training here, as a demo ends its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in _training(log_dir):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        deadline = time.monotonic() + STOP_SECONDS
        while _training(log_dir) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def _training(log_dir: Path) -> set[int]:
    """The processes of this machine that log here."""
    source = LocalSource(log_dir)
    try:
        rows = [row for row in source.runs() if row.state is RunState.RUNNING and row.local]
        return {
            stream.pid
            for row in rows
            for stream in source.run(row.run_id).streams
            if stream.state is RunState.RUNNING
        }
    finally:
        source.close()


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
