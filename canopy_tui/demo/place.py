"""Where the demo keeps its things, and the environment that keeps everything it starts to itself."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from canopy_tui.demo.crew import DemoError
from wal.paths import bytes_below, make_private_directory, open_private, state_dir, write_private

NODE = "demo"
KEYSPACE = "cascor_demo"
OUTPUT = "output"
"""Folder in the log directory for what trainers print and for checkpoints. Not a UUID, so no run."""

_SETTINGS_FILE = "cassandra_config.yaml"
_SETTINGS = f"""\
# Written by 'canopy demo': its own keyspace on its own node, whatever the settings elsewhere say.
cassandra:
  keyspace: {KEYSPACE}
"""

_FOREIGN_PREFIXES = ("CASCOR_CASSANDRA_", "CASSANDRA_")
_FOREIGN_NAMES = ("CANOPY_PROJECT", "CANOPY_RUN_ID", "CANOPY_SYNC", "CANOPY_SILENT")


@dataclass(frozen=True, slots=True)
class Place:
    """The demo's log directory, and which Cassandra it uses: its own node, or the configured one."""

    log_dir: Path
    configured: bool = False

    @classmethod
    def of_user(cls, configured: bool = False) -> Place:
        """The place in the user's state directory. Nothing is created.

        Each kind of Cassandra has a log directory of its own: one demo's runs are never shipped to the other.
        """
        return cls(state_dir().absolute() / ("demo-configured" if configured else "demo"), configured)

    def environment(self, base: Mapping[str, str] = os.environ) -> dict[str, str]:
        """``base`` for the demo: its log directory, keyspace and node, and nothing of the user's settings.

        With a configured Cassandra the user's settings stay as they are, but for the keyspace.
        """
        dropped = _FOREIGN_NAMES if self.configured else (*_FOREIGN_NAMES, *_own(base, _FOREIGN_PREFIXES))
        environment = {name: value for name, value in base.items() if name not in dropped}
        environment["CANOPY_DIR"] = str(self.log_dir)
        if self.configured:
            environment |= {"CASCOR_CASSANDRA_KEYSPACE": KEYSPACE, "CANOPY_NODE": "none"}
        else:
            environment |= {"CANOPY_CONFIG": str(self.log_dir / _SETTINGS_FILE), "CANOPY_NODE": NODE}
        return environment

    @contextmanager
    def entered(self) -> Generator[dict[str, str]]:
        """Make the place, keep a second demo out of it, and make this process' environment the demo's.

        Yields that environment. Raises :class:`DemoError` when another demo runs here, or when there is no
        configured Cassandra to use.
        """
        make_private_directory(self.log_dir.parent)
        before = dict(os.environ)
        with self._alone():
            environment = self.environment()
            self._check_configured(environment)
            make_private_directory(self.log_dir)
            write_private(self.log_dir / _SETTINGS_FILE, _SETTINGS)
            _become(environment)
            try:
                yield environment
            finally:
                _become(before)

    def _check_configured(self, environment: Mapping[str, str]) -> None:
        from wal.settings import load, resolve

        if self.configured and resolve(load(environment), environment) is None:
            raise DemoError(
                "no Cassandra is configured: name yours in conf/cassandra_config.yaml or in "
                "CASCOR_CASSANDRA_CONTACT_POINTS, or leave '--cassandra configured' out."
            )

    @contextmanager
    def _alone(self) -> Generator[None]:
        # Beside the log directory, not in it: `--clean` removes that while it holds the lock.
        with open(self.log_dir.with_suffix(".lock"), "a", opener=open_private) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DemoError("another canopy demo is running: quit it first.") from None
            yield

    def bytes_used(self) -> int:
        """Bytes that the log directory and the node's data take on disk."""
        from wal.cassandra import node

        return bytes_below(self.log_dir) + (0 if self.configured else bytes_below(node.data_dir(NODE)))

    def remove(self) -> None:
        """Remove the log directory and, with it, the node's data and record. The node must be down."""
        from wal.cassandra import node
        from wal.cassandra.noderecord import nodes_dir

        shutil.rmtree(self.log_dir, ignore_errors=True)
        if not self.configured:
            shutil.rmtree(node.data_dir(NODE), ignore_errors=True)
            (nodes_dir() / f"{NODE}.json").unlink(missing_ok=True)


def _own(names: Mapping[str, str], prefixes: tuple[str, ...]) -> list[str]:
    return [name for name in names if name.startswith(prefixes)]


def _become(environment: Mapping[str, str]) -> None:
    """Make ``environment`` this process' own."""
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)
