"""The demo's Cassandra, and the verbs of canopy that the demo runs as processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from canopy_tui.demo.crew import DemoError
from canopy_tui.demo.place import NODE, Place

CUT_SHORT_SECONDS = 10.0
"""A verb that is interrupted gets this long; a node's start first ends the node that it was starting."""


class Verbs:
    """Runs verbs of canopy, each in a process that can be cut short at any moment.

    What they say goes to ``output``, or on to this process' stderr. Methods may be called from any thread.
    """

    def __init__(self, environment: Mapping[str, str], output: Path | None = None) -> None:
        self._environment = dict(environment)
        self._output = output
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, *arguments: str) -> None:
        """Run a verb to its end. Raises :class:`DemoError` when it fails; a stopped one does not."""
        with ExitStack() as stack:
            sink = sys.stderr if self._output is None else stack.enter_context(self._output.open("ab"))
            with self._lock:
                if self._stopped:
                    return
                process = subprocess.Popen(
                    [sys.executable, "-m", "canopy_tui", *arguments],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=sink,
                    start_new_session=True,
                )
                self._running.add(process)
            code = process.wait()
        self._running.discard(process)
        if code != 0 and not self._stopped:
            raise DemoError(f"'canopy {' '.join(arguments)}' failed{self._last_line()}")

    def stop(self) -> None:
        """Interrupt what runs, as ctrl-c would, and run nothing more."""
        with self._lock:
            self._stopped = True
            running = [process for process in self._running if process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGINT)
        for process in running:
            try:
                process.wait(CUT_SHORT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _last_line(self) -> str:
        if self._output is None:
            return ": see above."
        lines = self._output.read_text(encoding="utf-8", errors="replace").splitlines()
        return f": {lines[-1]}" if lines else "."


class Server:
    """The demo's own node; or the configured Cassandra, which gets the demo's keyspace and goes on."""

    def __init__(self, place: Place, verbs: Verbs) -> None:
        self._own = not place.configured
        self._verbs = verbs

    def start(self) -> None:
        """Download, start, make the tables; returns when Cassandra is ready. Raises :class:`DemoError`."""
        if self._own:
            self._verbs.run("cassandra", "up", "--name", NODE)
        else:
            self._verbs.run("cassandra", "schema")

    def kill(self) -> None:
        """kill -9 the node; the next :meth:`start` finds its data whole."""
        from wal.cassandra import node

        if self._own:
            node.kill(NODE)

    def stop(self) -> None:
        """Stop the node."""
        from wal.cassandra import node

        if self._own:
            node.down(NODE)
