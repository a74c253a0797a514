"""The log grew: a word from the file system, so that a screen need not wait for its next poll.

Only a hint. A file system that tells nothing (NFS), a missing directory or a full table of watches costs half
a second of delay and nothing else: the poll stays.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

STEP_MS = 10
"""Events are looked for this often: 0.4 % of a core for 15 ms less from ``log()`` to the screen."""

DEBOUNCE_MS = 50
"""A trainer that logs without a pause is reported after this time at the latest."""

LEAST_SECONDS = 0.2
"""Between two words: a screen redraws four times a second at most."""


class Watcher:
    """Calls ``grew`` on a daemon thread of its own after something below ``directory`` has changed."""

    def __init__(self, directory: Path, grew: Callable[[], object]) -> None:
        self._directory = directory
        self._grew = grew
        self._stop = threading.Event()
        self._seen: dict[str, tuple[int, int]] = {}
        self._thread = threading.Thread(target=self._run, name="canopy-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Say nothing more. Does not wait: the thread ends by itself."""
        self._stop.set()

    def _run(self) -> None:
        from watchfiles import watch  # 68 ms, which the first frame need not wait for

        try:
            for changes in watch(
                self._directory, watch_filter=None, step=STEP_MS, debounce=DEBOUNCE_MS,
                stop_event=self._stop, raise_interrupt=False,
            ):  # fmt: skip
                if self._stop.is_set():
                    return
                written = [path for _, path in changes if self._is_news(path)]
                if written:
                    self._grew()
                    self._stop.wait(LEAST_SECONDS)
        except (OSError, RuntimeError):
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
