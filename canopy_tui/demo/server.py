"""The demo's Cassandra, and the verbs of canopy that the demo runs as processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence

from canopy_tui.demo.crew import DemoError
from canopy_tui.demo.place import NODE, Place

CUT_SHORT_SECONDS = 10.0
"""A verb that is interrupted gets this long; a node's start first ends the node that it was starting."""


class Verbs:
    """Runs verbs of canopy, each in a process that can be cut short at any moment.

    ``hear`` gets the lines that they write on stderr: how far they are, and what goes wrong. Their results
    are what a user would do next, which is not what the demo does. Methods may be called from any thread.
    """

    def __init__(self, environment: Mapping[str, str], hear: Callable[[str], None]) -> None:
        self._environment = dict(environment)
        self._hear = hear
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, *arguments: str) -> None:
        """Run a verb to its end. Raises :class:`DemoError` when it fails; a stopped one does not."""
        with tempfile.TemporaryFile("w+", encoding="utf-8") as results:
            with self._lock:
                if self._stopped:
                    return
                process = subprocess.Popen(
                    [sys.executable, "-m", "canopy_tui", *arguments],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=results,
                    stderr=subprocess.PIPE,
                    encoding="utf-8",
                    errors="replace",
                    start_new_session=True,
                )
                self._running.add(process)
            heard = self._listen(process)
            code = process.wait()
            self._running.discard(process)
            if code != 0 and not self._stopped:
                results.seek(0)
                raise DemoError(_failure(arguments, [*heard, *results.read().splitlines()]))

    def _listen(self, process: subprocess.Popen[str]) -> list[str]:
        """The lines that a verb writes on stderr, to its end; one that was stopped is not listened to."""
        lines: list[str] = []
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                lines.append(line.rstrip())
                if lines[-1] and not self._stopped:
                    self._hear(lines[-1])
        return lines

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


def _failure(arguments: Sequence[str], lines: Sequence[str]) -> str:
    """A sentence with the verb's own: the one that it marks as an error, else its last."""
    said = [line for line in lines if line] or ["it said nothing"]
    errors = [line.removeprefix("Error: ") for line in said if line.startswith("Error: ")]
    return f"'canopy {' '.join(arguments)}' failed: {(errors or said)[-1]}"


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
