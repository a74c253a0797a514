"""kill -9 of the real syncer at a named step: ``python -m faults.crashpoints POINT NTH SYNCER-ARGUMENTS``.

The process is the syncer that ``init()`` starts, but that one function of it is wrapped: at the NTH call it
kills itself, before or after doing it. The product has no hook for this. Without arguments it forks a syncer
for each order of :class:`helpers.victims.Victims`: (point, nth, log directory).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from typing import Any, NamedTuple

from helpers.victims import fork_for_orders


class Point(NamedTuple):
    """A function by module and dotted name, and on which side of it the kill comes."""

    module: str
    name: str
    after: bool = False


_STORE, _WRITES, _STATE = "wal.cassandra.store", "wal.cassandra.writes", "wal.shipping.cursors"
_PAGES, _LANES = "wal.paging.pagefile", "wal.shipping.pagelanes"

POINTS = {
    # ship
    "the stream is known here, not there": Point(_WRITES, "CatalogueWriter.register_stream"),
    "the stream is registered": Point(_WRITES, "CatalogueWriter.register_stream", after=True),
    "a batch is read, not sent": Point(_STORE, "CassandraStore.send"),
    "a batch is in flight": Point(_STORE, "CassandraStore.send", after=True),
    # acknowledge
    "a batch is acknowledged, nothing noted": Point("wal.syncer", "Syncer._acknowledge"),
    "a batch is acknowledged and noted": Point("wal.syncer", "Syncer._acknowledge", after=True),
    "the cursor is about to move": Point(_STATE, "State.commit"),
    "the cursor has moved": Point(_STATE, "State.commit", after=True),
    # page
    "pages are made, not committed": Point(_PAGES, "PageFile.commit"),
    "pages are committed": Point(_PAGES, "PageFile.commit", after=True),
    "pages are written in part": Point(_PAGES, "PageFile.write", after=True),
    "pages are acknowledged, nothing noted": Point(_LANES, "PageLanes.acknowledge"),
    "pages are acknowledged and noted": Point(_LANES, "PageLanes.acknowledge", after=True),
    "pages are about to be told": Point(_WRITES, "CatalogueWriter.write_paged"),
    "pages are told, nothing noted": Point(_WRITES, "CatalogueWriter.write_paged", after=True),
    # catalogue
    "a segment is about to be stated": Point(_WRITES, "CatalogueWriter.write_segment"),
    "a segment is stated, nothing noted": Point(_WRITES, "CatalogueWriter.write_segment", after=True),
    "a metric is told": Point(_WRITES, "CatalogueWriter.write_metrics", after=True),
    "the stream's state is told": Point(_WRITES, "CatalogueWriter.write_stream_state", after=True),
    "the run is about to be told": Point(_WRITES, "CatalogueWriter.write_run"),
    "the run is told, nothing noted": Point(_WRITES, "CatalogueWriter.write_run", after=True),
    "the acknowledged ranges are told": Point(_WRITES, "CatalogueWriter.beat_stream", after=True),
}

_PRUNER = "wal.shipping.pruning"

PRUNING = {
    "a run may go": Point(_PRUNER, "Pruner.prune"),
    "a stream is noted as pruned, not durably": Point(_STATE, "State.put_pruned", after=True),
    "a directory is out of the readers' way": Point("pathlib", "Path.rename", after=True),
    "what is out of the way is about to go": Point(_PRUNER, "Pruner.sweep"),
    "a file is gone": Point("pathlib", "Path.unlink", after=True),
    "a run is gone, its errand is still there": Point(_PRUNER, "Pruner.prune", after=True),
}


def arm(point: Point, nth: int) -> None:
    """Have this process kill itself at the ``nth`` call."""
    *path, last = point.name.split(".")
    owner = reduce(getattr, path, import_module(point.module))
    original: Callable[..., Any] = getattr(owner, last)
    calls = 0

    def wrapped(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and not point.after:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = original(*arguments, **options)
        if calls == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, last, wrapped)


def _serve(point: str, nth: int, arguments: list[str]) -> int:
    from wal.shipping.loop import main as serve

    arm((POINTS | PRUNING)[point], nth)
    return serve(arguments)


def _serve_directory(point: str, nth: int, log_dir: str) -> int:
    return _serve(point, nth, ["--auto", "--log-dir", log_dir, "--cwd", log_dir])


def main() -> int:
    if len(sys.argv) == 1:
        modules = {"wal.shipping.loop", "wal.cassandra.place", *(point.module for point in POINTS.values())}
        for module in modules:
            import_module(module)
        fork_for_orders(_serve_directory)
        return 0
    return _serve(sys.argv[1], int(sys.argv[2]), sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
