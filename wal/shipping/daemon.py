"""The syncer as a process: one per log directory, started detached, asked to stop. Standard library only.

The lock is ``fcntl.lockf`` on ``syncer.lock``. Closing any descriptor of that file inside the holder would
drop it, so nothing else opens the file in that process; others only ask who holds it (``F_GETLK``).
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from wal.paths import open_private
from wal.segments.liveness import boot_id, host_name, lock_holder, start_ticks

if TYPE_CHECKING:
    import subprocess

LOCK_FILE = "syncer.lock"
LOG_FILE = "syncer.log"

STOP_SECONDS = 30.0
"""A syncer that was asked to stop first lets the driver give up its last request (20 s by default)."""

POLL_S = 0.05
"""How often it is looked whether a syncer has gone."""

_SCRUBBED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_", "SLURM_PROCID", "OMPI_", "PMI_", "CUDA_", "NCCL_",
             "OMP_", "MKL_", "LD_PRELOAD", "PYTHONSTARTUP", "PYTHONPROFILEIMPORTTIME")  # fmt: skip
"""What is meant for the trainer and would cost or confuse the syncer."""

_children: list[subprocess.Popen[bytes]] = []
"""Kept: a Popen that is dropped while its child runs complains, and a child that ended must be reaped."""


class Lock:
    """The right to be the syncer of a log directory, held until :meth:`release` or the process' end."""

    def __init__(self, log_dir: Path) -> None:
        self._path = log_dir / LOCK_FILE
        self._descriptor = -1

    def acquire(self, *, replaceable: bool = False) -> bool:
        """Take the lock. False when another process has it. Raises OSError when the file cannot be made.

        A ``replaceable`` holder states its version, and :func:`take_over` may ask it to go.
        """
        _survive_nudges()
        stated = _identity(os.getpid()) + (f"{version()}\n" if replaceable else "")
        descriptor = open_private(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        except OSError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, stated.encode())
        self._descriptor = descriptor
        return True

    @property
    def gone(self) -> bool:
        """The log directory was deleted or moved away under us: there is nothing left to be the syncer of."""
        try:
            ours, there = os.fstat(self._descriptor), os.stat(self._path)
        except OSError:
            return True
        return (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino)

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _identity(pid: int) -> str:
    """The first line of the lock file: a pid alone may be another host's or another boot's."""
    return f"{pid} {start_ticks(pid)} {boot_id()} {host_name()}\n"


def _survive_nudges() -> None:
    """Whoever holds the lock may be sent SIGUSR1 at once (see :func:`nudge`), which would end the process."""
    in_main = threading.current_thread() is threading.main_thread()  # the only one that may ask for this
    if in_main and signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def version() -> str:
    """The installed version of Canopy; "0" when it runs from files that were never installed."""
    from importlib import metadata  # only here: it costs a trainer's start 20 ms

    try:
        return metadata.version("canopy-tui")
    except metadata.PackageNotFoundError:
        return "0"


def is_newer(ours: str, theirs: str) -> bool:
    """Whether version ``ours`` is newer than ``theirs``; anything that is not a number counts as 0."""

    def key(text: str) -> tuple[int, ...]:
        return tuple(int(part) if part.isdecimal() else 0 for part in text.split("."))

    return key(ours) > key(theirs)


def holder(log_dir: Path) -> int | None:
    """The pid of the syncer of a log directory, None when there is none. Never ask inside the syncer."""
    return lock_holder(log_dir / LOCK_FILE)


def stop(log_dir: Path, seconds: float = STOP_SECONDS) -> bool:
    """Ask the syncer of a log directory to stop, and wait. True when none runs any more."""
    deadline = time.monotonic() + seconds
    asked = None
    while (pid := holder(log_dir)) is not None and time.monotonic() < deadline:
        if pid != asked and _signal(log_dir, signal.SIGTERM):
            asked = pid
        time.sleep(POLL_S)
    return pid is None


def take_over(lock: Lock, log_dir: Path) -> bool:
    """Replace a background syncer of an older version. True when the lock is ours.

    Only the one that states an older version is asked to go, nobody who takes the lock after it: that may be
    a ``canopy sync --once``, which must get through.
    """
    older, theirs = holder(log_dir), running_version(log_dir)
    if older is None or theirs is None or not is_newer(version(), theirs):
        return False
    if not _signal(log_dir, signal.SIGTERM):
        return False
    deadline = time.monotonic() + STOP_SECONDS
    while holder(log_dir) == older and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return lock.acquire(replaceable=True)


def nudge(log_dir: Path) -> bool:
    """Tell the syncer of a log directory to look and to try again now. False when none runs."""
    return _signal(log_dir, signal.SIGUSR1)


def _signal(log_dir: Path, number: signal.Signals) -> bool:
    """Send a signal to the syncer of a log directory, if it is a process of this machine and of ours."""
    try:
        pid = holder(log_dir)
        if pid is None or pid <= 0 or not (log_dir / LOCK_FILE).read_text().startswith(_identity(pid)):
            return False
        os.kill(pid, number)
    except (OSError, UnicodeDecodeError):
        return False
    return True


def spawn(log_dir: Path, cwd: Path, environ: Mapping[str, str] = os.environ) -> int:
    """Start a detached syncer for ``log_dir``; returns its pid at once.

    It finds its settings from ``cwd`` and the environment, outlives this process, and writes to
    ``syncer.log`` only. The loser of a race for the lock ends without a word.
    """
    env = {name: value for name, value in environ.items() if not name.startswith(_SCRUBBED)}
    # It starts in "/", so as to hold no mount: a checkout that is not installed must still be found.
    root = str(Path(__file__).resolve().parents[2])
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (root, env.get("PYTHONPATH"))))
    import subprocess  # only here: a trainer whose syncer runs already need not wait for it

    child = subprocess.Popen(
        [sys.executable, "-m", "wal.syncer", "--auto", "--log-dir", str(log_dir), "--cwd", str(cwd)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=env,
        start_new_session=True,
    )
    _children[:] = [other for other in _children if other.poll() is None]
    _children.append(child)
    return child.pid


def wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a syncer may be started without being asked for: not with ``CANOPY_SYNC=0``, not in a test."""
    if environ.get("CANOPY_SYNC", "1").strip().lower() in ("0", "off", "false", "no"):
        return False
    return "PYTEST_CURRENT_TEST" not in environ and "pytest" not in sys.modules


def ensure_running(log_dir: Path, cwd: Path | None = None, *, replace_older: bool = False) -> bool:
    """Start the syncer of ``log_dir`` when one is wanted and none runs, else nudge it. True if started.

    With ``replace_older``, one of an older version is asked to go by the one that is started: the app asks
    for that, a trainer does not take the time. (A syncer whose own files are upgraded goes by itself.)
    """
    if not wanted() or not log_dir.is_dir():
        return False
    if holder(log_dir) is not None:
        theirs = running_version(log_dir) if replace_older else None
        if theirs is None or not is_newer(version(), theirs):
            nudge(log_dir)
            return False
    spawn(log_dir, cwd or Path.cwd())
    return True


def running_version(log_dir: Path) -> str | None:
    """The version that the background syncer of a log directory states; None when none runs, or it has yet
    to."""
    try:
        pid = holder(log_dir)
        said = (log_dir / LOCK_FILE).read_text()
    except (OSError, UnicodeDecodeError):
        return None
    if pid is None or not said.startswith(_identity(pid)):
        return None
    return said.removeprefix(_identity(pid)).strip() or None
