"""The user's own Cassandra node: :func:`up`, :func:`down`, :func:`kill`, :func:`managed`.

A node of a name keeps its data in the platform's data directory and its record in the state directory, and
goes on when the process that started it ends.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from wal.cassandra.handshake import free_port, in_use
from wal.cassandra.nodeconfig import NodeSpec
from wal.cassandra.noderecord import (
    NodeError,
    NodeRecord,
    NodeState,
    check_name,
    managed,
    nodes_dir,
    process_identity,
    read_record,
    write_record,
)
from wal.cassandra.pinned import DEFAULT_VERSION, pinned
from wal.cassandra.server import (
    LOOPBACK,
    NATIVE_PORT,
    POLL_SECONDS,
    STOP_SECONDS,
    STORAGE_PORT,
    Node,
    cluster,
    data_version,
    new_node,
)
from wal.paths import bytes_below, make_private_directory, open_private

__all__ = [
    "Node",
    "NodeError",
    "NodeRecord",
    "cluster",
    "data_dir",
    "down",
    "kill",
    "managed",
    "new_node",
    "up",
]

# How often the record is rewritten while jars come: often enough for a bar, seldom enough for a disk.
RECORD_SECONDS = 0.25

# The servers that this process started, by pid: as their parent it has to hear of their end.
_children: dict[int, Node] = {}


def data_dir(name: str) -> Path:
    """Where the node of that name keeps everything."""
    from platformdirs import user_data_dir

    return Path(user_data_dir("canopy")) / "nodes" / name


def up(
    name: str = "default",
    version: str | None = None,
    host: str = LOOPBACK,
    port: int | None = None,
    progress: Callable[[NodeRecord], None] = lambda _record: None,
) -> NodeRecord:
    """Start the node of that name, or find it running; returns when it answers CQL. Raises NodeError.

    ``version`` is "5.0" or "4.1" (default: what its data was written by, else ``CANOPY_CASSANDRA_VERSION``,
    else 5.0). ``port`` None takes the last one, else 9042, else a free one. ``progress`` is called with the
    record at every change. Safe to call from several processes: one starts it, the others wait.
    """
    check_name(name)
    if version is not None:
        pinned(version)  # an unknown version is refused, whatever runs
    with _only_starter(name, progress):
        running = managed(name)
        if running is not None and running.state == "up":
            if version not in (None, running.version) or port not in (None, running.port):
                raise NodeError(
                    f"The node {name!r} runs already, Cassandra {running.version} at {running.label}: stop "
                    "it before it is started otherwise, or use another --name."
                )
            return running
        return _Start(name, version, host, port, progress).run()


class _Start:
    """One start of a managed node: keeps its record true at every moment."""

    def __init__(
        self,
        name: str,
        version: str | None,
        host: str,
        port: int | None,
        progress: Callable[[NodeRecord], None],
    ) -> None:
        directory = data_dir(name)
        version = (
            version
            or data_version(directory)
            or os.environ.get("CANOPY_CASSANDRA_VERSION")
            or DEFAULT_VERSION
        )
        pinned(version)  # an unknown version is refused before anything is written
        if port and in_use(host, port):
            raise NodeError(f"Port {port} of {host} is in use: stop what listens there, or leave --port out.")
        before = read_record(name)
        last_port = before.port if before else None
        spec = NodeSpec(
            directory=directory,
            version=version,
            host=host,
            port=port or free_port(host, last_port, NATIVE_PORT),
            storage_port=free_port(host, STORAGE_PORT),
        )
        self._node = Node(spec)
        self._progress = progress
        self._last_write = 0.0
        self._record = NodeRecord(
            name=name,
            state="downloading",
            host=host,
            port=spec.port,
            version=version,
            data_dir=str(directory),
            log_file=str(spec.log_file),
            pid=os.getpid(),
            identity=process_identity(os.getpid()),
            started_ns=time.time_ns(),
        )

    def run(self) -> NodeRecord:
        """Download, start, wait. Whatever ends it early leaves no process and a record that says why."""
        try:
            self._node.start(self._downloaded)
            pid = self._node.pid
            _children[pid] = self._node
            self._set("starting", "0 s", pid=pid, identity=process_identity(pid), started_ns=time.time_ns())
            self._node.wait_ready(tick=lambda seconds: self._set("starting", f"{seconds:.0f} s"))
            self._set("up", "")
        except BaseException as error:
            self._node.kill()
            why = error.sentence if isinstance(error, NodeError) else "its start was interrupted"
            self._set("failed", why, pid=0, identity=None)
            raise
        return self._record

    def _downloaded(self, done_bytes: int, total_bytes: int) -> None:
        now = time.monotonic()
        if done_bytes < total_bytes and now - self._last_write < RECORD_SECONDS:
            return
        self._last_write = now
        detail = f"{done_bytes // 10**6}/{total_bytes // 10**6} MB"
        self._set("downloading", detail, done_bytes=done_bytes, total_bytes=total_bytes)

    def _set(self, state: NodeState, detail: str, **changes: int | str | None) -> None:
        self._record = replace(self._record, state=state, detail=detail, **changes)  # pyright: ignore[reportArgumentType]
        write_record(self._record)
        self._progress(self._record)


def down(name: str = "default", seconds: float = STOP_SECONDS) -> NodeRecord | None:
    """Stop the node: asked first, so that it writes everything down, killed after ``seconds``.

    Returns its record, None when there never was one. Raises NodeError when the process is another user's.
    """
    return _end(name, signal.SIGTERM, seconds, "")


def kill(name: str = "default") -> NodeRecord | None:
    """kill -9 the node, as a crash would; its data is whole at the next :func:`up`. Returns its record."""
    return _end(name, signal.SIGKILL, STOP_SECONDS, "killed")


def _end(name: str, first_signal: signal.Signals, seconds: float, detail: str) -> NodeRecord | None:
    check_name(name)
    record = managed(name)
    if record is None or record.state in ("down", "failed"):
        if record is not None:
            write_record(record)  # what managed() found out, for those who read the file
        return record
    _signal(record, first_signal)
    _signal(record, signal.SIGCONT)  # a frozen process would not hear it
    if not _gone(record, seconds):
        _signal(record, signal.SIGKILL)
        if not _gone(record, STOP_SECONDS):
            raise NodeError(f"Process {record.pid} of the node {name!r} does not end, not even when killed.")
    if child := _children.pop(record.pid, None):
        child.kill()  # it is gone: this reaps it
    ended = replace(record, state="down", detail=detail, pid=0, identity=None)
    write_record(ended)
    return ended


def _signal(record: NodeRecord, number: signal.Signals) -> None:
    if process_identity(record.pid) != record.identity:
        return
    try:
        os.kill(record.pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise NodeError(
            f"Process {record.pid} of the node {record.name!r} belongs to another user."
        ) from None


def _gone(record: NodeRecord, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while process_identity(record.pid) == record.identity:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


@contextmanager
def _only_starter(name: str, progress: Callable[[NodeRecord], None]) -> Generator[None]:
    """Hold the right to start this node; while another process holds it, pass on what that one reports."""
    folder = nodes_dir()
    try:
        make_private_directory(folder)
        descriptor = open_private(folder / f"{name}.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    except OSError as error:
        raise NodeError(f"The record of the node cannot be written in {folder}: {error.strerror}.") from None
    with os.fdopen(descriptor, "wb") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if (record := managed(name)) is not None:
                    progress(record)
                time.sleep(RECORD_SECONDS)
        yield


def memory_bytes(record: NodeRecord) -> int | None:
    """Resident memory of the node's process; None when it does not run."""
    if process_identity(record.pid) is None or process_identity(record.pid) != record.identity:
        return None
    try:
        answer = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(record.pid)],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
        return int(answer.stdout) * 1024
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def disk_bytes(record: NodeRecord) -> int:
    """Disk space of everything the node keeps; files that go while it is counted do not count."""
    return bytes_below(Path(record.data_dir))
