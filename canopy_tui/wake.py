"""The log grew: a word from the file system, so that a screen need not wait for its next poll.

Only a hint. A file system that tells nothing (NFS), a missing directory or a full table of watches costs half
a second of delay and nothing else: the poll stays.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from uuid import UUID

STEP_MS = 10
"""Events are looked for this often: 0.4 % of a core for 15 ms less from ``log()`` to the screen."""

DEBOUNCE_MS = 50
"""A trainer that logs without a pause is reported after this time at the latest."""

LEAST_SECONDS = 0.2
"""Between two words: a screen redraws four times a second at most."""

AGAIN_SECONDS = 1.0
"""After a watch that ended or could not begin, and in quiet: what is to be watched is looked for again."""


class Watcher:
    """Calls ``grew`` on a daemon thread of its own after something that it follows has been written.

    It watches directories one by one, and only those of runs that can grow: a log directory of ten thousand
    runs would take a second and most of the system's table of watches.
    """

    def __init__(self, log_dir: Path, grew: Callable[[], object]) -> None:
        self._log_dir = log_dir
        self._grew = grew
        self._new_runs = False
        self._runs: frozenset[UUID] = frozenset()
        self._other = threading.Event()
        """Other directories are to be watched than now, or none any more."""
        self._closed = False
        self._seen: dict[str, tuple[int, int]] = {}
        self._thread = threading.Thread(target=self._run, name="canopy-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Say nothing more. Does not wait: the thread ends by itself."""
        self._closed = True
        self._other.set()

    def follow(self, runs: Iterable[UUID], *, new_runs: bool) -> None:
        """Follow the streams of these runs and, with ``new_runs``, whatever appears in the log directory."""
        wanted = frozenset(runs)
        if (wanted, new_runs) != (self._runs, self._new_runs):
            self._runs, self._new_runs = wanted, new_runs
            self._other.set()

    # -- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._other.clear()
            if self._closed:  # asked after the event was cleared: close() sets this first
                return
            self._seen.clear()
            try:
                self._watch(list(self._directories()))
            except (OSError, RuntimeError):  # one has gone meanwhile, or no watches are left
                pass
            self._other.wait(AGAIN_SECONDS)

    def _directories(self) -> Iterator[Path]:
        if self._new_runs and self._log_dir.is_dir():
            yield self._log_dir
        for run_id in self._runs:
            directory = self._log_dir / str(run_id)
            try:
                streams = [path for path in directory.iterdir() if path.is_dir()]
            except OSError:  # another machine's run, or one that is gone
                continue
            yield from (directory, *streams)

    def _watch(self, directories: Sequence[Path]) -> None:
        """Report what is written in the directories until others are to be watched."""
        from watchfiles import Change, watch  # 68 ms, which the first frame need not wait for

        if not directories:
            return
        for changes in watch(
            *directories, watch_filter=None, step=STEP_MS, debounce=DEBOUNCE_MS, recursive=False,
            stop_event=self._other, raise_interrupt=False,
            rust_timeout=int(AGAIN_SECONDS * 1_000), yield_on_timeout=True,
        ):  # fmt: skip
            appeared = any(change is Change.added and os.path.isdir(path) for change, path in changes)
            # What appears while a watch is being set up is no event.
            if appeared or (not changes and set(self._directories()) != set(directories)):
                self._other.set()  # a stream, or a run, to be watched from now on
            written = [path for _, path in changes if self._is_news(path)]
            if written and not self._closed:
                self._grew()
                self._other.wait(LEAST_SECONDS)
            if self._other.is_set():
                return

    def _is_news(self, path: str) -> bool:
        """Whether a file was written since it was last looked at.

        SQLite opens files for writing to read them, and closing them is an event: without this, the screen's
        own readings would wake it for ever.
        """
        if path.endswith("-shm"):  # readers note there how far they have read
            return False
        try:
            found = os.stat(path)
        except OSError:
            return self._seen.pop(path, None) is not None
        state = (found.st_mtime_ns, found.st_size)
        news = self._seen.get(path) != state
        self._seen[path] = state
        return news
