"""The loop around the syncer, and the process that nobody asked for: it ends by itself."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

from wal.link import Finder, Target
from wal.paths import make_private_file
from wal.shipping import daemon
from wal.syncer import Outcome, Syncer

if TYPE_CHECKING:
    from wal.cassandra.store import CassandraStore

log = logging.getLogger("wal.syncer")

LINGER_S = 600.0
"""A syncer that nobody asked for ends this long after the last stream ended with nothing left to ship."""

GONE_S = 1.5
"""How often the watchdog looks whether the log directory is still there. It acts on the second look: the loop
itself ends more gently when it is not held up by a request."""

UPGRADE_S = 30.0
"""How often a syncer looks whether the files it runs from were replaced."""

LONGEST_WAIT_S = 2.0
"""The loop looks at what ends it at least this often."""

LOG_BYTES = 1 << 20
LOG_FILES = 2
"""Size at which ``syncer.log`` is rotated, and how many old ones are kept."""


def connect(target: Target) -> CassandraStore:
    """A store for a target. Raises :class:`wal.cassandra.trouble.StoreError`."""
    from wal.cassandra.store import open_store

    assert target.endpoint is not None
    return open_store(target.endpoint, target.settings)


def run(
    syncer: Syncer,
    finished: Callable[[Outcome], bool],
    stop: threading.Event,
) -> Outcome:
    """Step until ``finished`` says so or ``stop`` is set; returns the last outcome."""
    while True:
        outcome = syncer.step()
        if stop.is_set() or finished(outcome):
            return outcome
        syncer.wait(min(max(outcome.wake_in_s, 0.0), LONGEST_WAIT_S))


class Patience:
    """When a syncer that nobody asked for has nothing to do any more."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, linger_s: float = LINGER_S) -> None:
        self._monotonic = monotonic
        self._linger_s = linger_s
        self._idle_since: float | None = None

    def is_over(self, outcome: Outcome, *, has_target: bool) -> bool:
        """True once nothing lives and nothing is left for :data:`LINGER_S`.

        Where no Cassandra is named at all, nothing can be shipped and only the pages are waited for: the app
        or the next run starts a syncer again.
        """
        if outcome.live or outcome.unpaged or (has_target and not outcome.drained):
            self._idle_since = None
            return False
        if self._idle_since is None:
            self._idle_since = self._monotonic()
        return self._monotonic() - self._idle_since >= self._linger_s


class Watchdog:
    """Ends the process when its log directory is gone, even while a request holds up the loop."""

    def __init__(self, lock: daemon.Lock) -> None:
        self._lock = lock
        self._thread = threading.Thread(target=self._watch, name="canopy-watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _watch(self) -> None:
        sightings = 0
        while True:
            time.sleep(GONE_S)
            sightings = sightings + 1 if self._lock.gone else 0
            if sightings >= 2:
                os._exit(0)  # state.db is gone with the directory: there is nothing to save


def fingerprint() -> tuple[int, ...]:
    """What changes when the program's files are replaced by another version."""
    package = Path(__file__).parent.parent
    files = (Path(__file__), package / "syncer.py", package / "__init__.py")
    try:
        return tuple(value for path in files for value in (path.stat().st_mtime_ns, path.stat().st_ino))
    except OSError:
        return ()


class _PrivateLog(RotatingFileHandler):
    """A log file that only its owner reads."""

    def _open(self) -> TextIOWrapper:
        make_private_file(self.baseFilename)
        return super()._open()


def log_to_file(log_dir: Path) -> logging.Handler:
    """Send the syncer's log, and nothing of the driver's but what it warns of, to ``syncer.log``."""
    handler = _PrivateLog(
        log_dir / daemon.LOG_FILE, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s: %(message)s"))
    logger = logging.getLogger("wal")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # The driver logs every reconnection attempt with its traceback; the syncer says it in a sentence.
    driver = logging.getLogger("cassandra")
    driver.addHandler(logging.NullHandler())
    driver.propagate = False
    return handler


def main(arguments: list[str] | None = None) -> int:
    """``python -m wal.syncer --auto --log-dir D --cwd C``: what ``init()`` and the app start detached.

    Returns the exit code: 0 also for the loser of a race for the lock.
    """
    parser = argparse.ArgumentParser(prog="python -m wal.syncer")
    parser.add_argument("--auto", action="store_true", help="end by itself when nothing is left to do")
    parser.add_argument("--log-dir", type=Path, required=True)
    parser.add_argument("--cwd", type=Path, default=Path.cwd(), help="where the settings are looked for")
    options = parser.parse_args(arguments)
    lock = daemon.Lock(options.log_dir)
    try:
        if not lock.acquire(replaceable=True) and not daemon.take_over(lock, options.log_dir):
            return 0
    except OSError as error:  # the directory is gone, or it is not ours to write
        print(f"canopy: {options.log_dir} cannot be synced: {error.strerror}.", file=sys.stderr)
        return 1
    log_to_file(options.log_dir)
    Watchdog(lock).start()
    upgraded = False
    try:
        upgraded = _serve(options.log_dir, options.cwd, lock, ends=options.auto)
    except Exception:  # nobody sees a daemon's stderr: the reason must be in its log
        log.exception("The syncer failed and ends; the next run or the app starts it again.")
        return 1
    finally:
        lock.release()
    if upgraded:
        daemon.spawn(options.log_dir, options.cwd)
    return 0


def _serve(log_dir: Path, cwd: Path, lock: daemon.Lock, *, ends: bool) -> bool:
    """Sync until there is a reason to end. True when the reason is that the program was upgraded."""
    stop = threading.Event()
    syncer = Syncer(log_dir, connect, Finder(os.environ, cwd), include_offline=False)

    def on_signal(*_: object) -> None:
        stop.set()
        syncer.wake()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
    signal.signal(signal.SIGUSR1, lambda _number, _frame: syncer.nudge())
    patience = Patience()
    files, look_at, upgraded = fingerprint(), time.monotonic() + UPGRADE_S, False

    def finished(outcome: Outcome) -> bool:
        nonlocal look_at, upgraded
        if lock.gone:
            return True
        if time.monotonic() >= look_at:
            look_at = time.monotonic() + UPGRADE_S
            upgraded = fingerprint() != files
        target = syncer.link.target
        has_target = target is not None and target.endpoint is not None
        return upgraded or (ends and patience.is_over(outcome, has_target=has_target))

    log.info("Syncer %s started for %s (pid %d)", daemon.version(), log_dir, os.getpid())
    try:
        run(syncer, finished, stop=stop)
    finally:
        if not lock.gone:
            syncer.close()
    log.info("Syncer ended: %s", "it was upgraded" if upgraded else "asked to" if stop.is_set() else "idle")
    return upgraded
