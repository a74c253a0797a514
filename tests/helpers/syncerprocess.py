"""The syncer as a process of its own, to be killed, frozen and started again."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from helpers.trainer import environment
from helpers.waiting import wait_until
from wal.settings import Settings
from wal.shipping import daemon


def process_environment(settings: Settings, state: Path, **more: str) -> dict[str, str]:
    """Environment of a process that finds the settings' keyspace and nothing else."""
    return environment(
        CASCOR_CASSANDRA_CONTACT_POINTS=",".join(settings.contact_points),
        CASCOR_CASSANDRA_PORT=str(settings.port),
        CASCOR_CASSANDRA_KEYSPACE=settings.keyspace,
        CANOPY_NODE="none",
        XDG_STATE_HOME=str(state),
        XDG_CONFIG_HOME=str(state / "config"),
        **more,
    )


def start_syncer(
    log_dir: Path, env: Mapping[str, str], program: Sequence[str] = ("-m", "wal.syncer")
) -> subprocess.Popen[bytes]:
    """A syncer as ``init()`` starts it, but ours to wait for. ``program``: what Python runs instead."""
    return subprocess.Popen(
        [sys.executable, *program, "--auto", "--log-dir", str(log_dir), "--cwd", str(log_dir)],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def sync_once(log_dir: Path, env: Mapping[str, str], cwd: Path) -> None:
    """``canopy sync --once``, which must ship all that is there."""
    once = subprocess.run(
        [sys.executable, "-m", "canopy_tui", "sync", str(log_dir), "--once"],
        env=env, cwd=cwd, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert once.returncode == 0, f"{log_dir}: {once.stdout} {once.stderr}"


class SyncerProcess:
    """The syncer of one log directory, one process after the other. End it with :meth:`kill`."""

    def __init__(self, log_dir: Path, env: Mapping[str, str]) -> None:
        self.log_dir = log_dir
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the process that runs; 0 when none does."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        """Start it if it does not run, and wait until it is the directory's."""
        if not self.alive:
            process = self._process = start_syncer(self.log_dir, self._env)
            wait_until(lambda: daemon.holder(self.log_dir) == process.pid or process.poll() is not None)
            assert self.alive, process.communicate()

    def send(self, number: signal.Signals) -> None:
        if self.alive:
            assert self._process is not None
            self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9; it had nothing to say."""
        if self._process is not None:
            self._process.kill()
            printed, _ = self._process.communicate()
            self._process = None
            assert printed == b"", printed

    def stop(self) -> None:
        """Ask it to end, as ``canopy`` does, and wait."""
        if self._process is not None:
            self._process.terminate()
            printed, _ = self._process.communicate(timeout=daemon.STOP_SECONDS)
            code = self._process.returncode
            assert (code, printed) == (0, b""), f"ended with {code}: {printed}"
            self._process = None
