"""Making acknowledgements durable, now and then, and saying in the log how many there were."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable

from wal.shipping.cursors import State

log = logging.getLogger("wal.syncer")

SAVE_S = 0.25
"""Acknowledgements become durable together, four times a second: one fsync each time."""

SAVE_AGAIN_S = 5.0
"""How long to wait after ``state.db`` could not be written (disk full)."""

REPORT_S = 10.0
"""How often the number of stored records is logged while there is one."""


class Saver:
    """Commits ``state`` when that is due. ``due_at`` is when (monotonic)."""

    def __init__(self, state: State, monotonic: Callable[[], float]) -> None:
        self._state = state
        self._monotonic = monotonic
        self._report_at = 0.0
        self._reported = 0
        self.due_at = 0.0

    def save(self, stored: int) -> None:
        """Commit if there is something to commit and it is time. ``stored``: records acknowledged so far."""
        now = self._monotonic()
        if now < self.due_at or not self._state.dirty:
            return
        try:
            self._state.commit()
            self.due_at = now + SAVE_S
        except sqlite3.Error as error:
            log.warning("state.db cannot be written (%s): it is tried again", error)
            self.due_at = now + SAVE_AGAIN_S
        if now >= self._report_at:
            self._report_at = now + REPORT_S
            self.report(stored)

    def report(self, stored: int) -> None:
        """Log how many records were stored since the last time."""
        if stored > self._reported:
            log.info("Stored %d metrics to Cassandra", stored - self._reported)
            self._reported = stored
