"""What a syncer does beside shipping: it watches how much disk the log takes, and prunes by age where the
settings ask for that. Both happen in a thread that only reads; what is to be done comes back by the inbox."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from wal.paths import bytes_below, write_private
from wal.segments.notice import DISK_WARNING
from wal.settings import Settings
from wal.shipping import inbox
from wal.shipping.pruning import DAY_S

if TYPE_CHECKING:
    from wal.cassandra.store import CassandraStore

log = logging.getLogger("wal.syncer")

MEASURE_S = 60.0
"""How often the log directory is measured: some 10 ms per thousand streams."""

PRUNE_FIRST_S, PRUNE_S = 60.0, 3600.0
"""When a syncer looks for old runs, after its start and from then on."""

GB = 1e9


class Housekeeper:
    """The chores of one log directory. ``warning`` is a sentence for the user, empty for none."""

    def __init__(self, log_dir: Path, monotonic: Callable[[], float], clock_ns: Callable[[], int]) -> None:
        self.warning = ""
        self._log_dir = log_dir
        self._monotonic = monotonic
        self._clock_ns = clock_ns
        self._used: int | None = None  # until it was measured
        self._said: bool | None = None
        self._measure_at = 0.0
        self._prune_at = monotonic() + PRUNE_FIRST_S
        self._chore: threading.Thread | None = None

    def tick(self, settings: Settings, waiting: int, store: CassandraStore | None) -> None:
        """Begin what is due. ``waiting``: records that are not shipped; ``store`` None while nothing is to be
        pruned: no connection, or a backlog on its way."""
        self._warn(settings, waiting)
        now = self._monotonic()
        if self._chore is not None and self._chore.is_alive():
            return
        if now >= self._measure_at:
            self._measure_at = now + MEASURE_S
            self._begin(self._measure)
        elif settings.prune_after_days and store is not None and now >= self._prune_at:
            self._prune_at = now + PRUNE_S
            self._begin(lambda: self._prune(store, settings.prune_after_days * DAY_S))

    def _begin(self, chore: Callable[[], None]) -> None:
        self._chore = threading.Thread(target=chore, name="canopy-chores", daemon=True)
        self._chore.start()

    # -- the disk ------------------------------------------------------------------------------------

    def _measure(self) -> None:
        self._used = bytes_below(self._log_dir)

    def _warn(self, settings: Settings, waiting: int) -> None:
        """Say it where the app and the trainers look when the log is larger than it should get, and pruning
        cannot help because records are not shipped."""
        if self._used is None:
            return
        limit = settings.disk_limit_gb * GB
        too_much = bool(limit) and self._used >= limit and waiting > 0
        if too_much is self._said:
            return
        self._said, self.warning = too_much, ""
        if too_much:
            self.warning = (
                f"the log takes {self._used / GB:.1f} GB (disk_limit_gb: {settings.disk_limit_gb:g}) and "
                "records in it are not shipped; logging goes on. canopy status says what holds them up"
            )
            log.warning("%s: %s", self._log_dir, self.warning)
        path = self._log_dir / DISK_WARNING
        try:
            if too_much:
                write_private(path, self.warning + "\n")
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s cannot be written: %s", path, error)

    # -- age -----------------------------------------------------------------------------------------

    def _prune(self, store: CassandraStore, age_s: float) -> None:
        from wal.shipping.clearing import UNDER_WAY, clear, clear_segments
        from wal.shipping.delivery import Delivery
        from wal.source import SourceError

        try:
            delivery, now_ns = Delivery(self._log_dir, store, tell=inbox.post), self._clock_ns()
            found = clear(delivery, now_ns, age_s)
            going = {candidate.run_id for candidate in found if candidate.kept in ("", UNDER_WAY)}
            clear_segments(delivery, now_ns, age_s, but=going)
        except (SourceError, sqlite3.Error, OSError) as error:
            log.warning("Old runs cannot be pruned now: %s", error)
            return
        for candidate in found:
            if candidate.kept and any(stream.directory.exists() for stream in candidate.streams):
                log.info("Run %s is old and kept: %s", candidate.run_id, candidate.kept)
